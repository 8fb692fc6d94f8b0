"""Rows about changed results without an error. The numbers are those of the named release."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import shim
from shim.releases import release

HERE = release(torch.__version__).numbers


@pytest.fixture
def written_for():
    yield lambda text: shim.activate(written_for=text)
    shim.deactivate()


def trained(optimizer_class, **options):
    """Train two weights, one of which has a gradient only in the first step, and return them."""
    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = optimizer_class([first, second], lr=0.1, **options)
    for step in range(4):
        optimizer.zero_grad()
        loss = first.sum() ** 2 + (second.sum() ** 2 if step == 0 else 0)
        loss.backward()
        optimizer.step()
    return [round(weight.item(), 4) for weight in (first, second)]


@pytest.mark.skipif(HERE < (2, 0, 0), reason="the same without shim up to 1.13")
class TestZeroGrad:
    def test_zero_grad_leaves_zeros(self, written_for):
        written_for("1.13")
        layer = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for zero_grad in (optimizer.zero_grad, layer.zero_grad):
            layer(torch.ones(1)).sum().backward()
            zero_grad()
            assert [p.grad.tolist() for p in layer.parameters()] == [[[0.0]], [0.0]]

    def test_an_explicit_set_to_none_gives_none(self, written_for):
        written_for("1.13")
        layer = nn.Linear(1, 1)
        for zero_grad in (torch.optim.SGD(layer.parameters(), lr=0.1).zero_grad, layer.zero_grad):
            for how in ({"set_to_none": True}, {}):
                layer(torch.ones(1)).sum().backward()
                zero_grad(*([True] if not how else []), **how)
                assert layer.weight.grad is None

    #: The results of torch 1.13.1: with a gradient of zeros, momentum and weight decay continue.
    @pytest.mark.parametrize(
        "optimizer_class, options, expected",
        [
            (torch.optim.SGD, {"momentum": 0.9}, [-0.3086, 0.3122]),
            (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}, [-0.3505, 0.241]),
            (torch.optim.AdamW, {}, [0.6006, 0.7353]),
        ],
    )
    def test_a_step_applies_momentum_and_decay_to_zero_gradients(self, written_for, optimizer_class, options, expected):
        written_for("1.13")
        assert trained(optimizer_class, **options) == pytest.approx(expected, abs=1e-4)


@pytest.mark.skipif(HERE < (1, 12, 0), reason="it computes all positions without shim up to 1.11")
@pytest.mark.filterwarnings("ignore")
class TestPaddingInAnEncoder:
    ALL = (-0.049, 0.572, 0.622, 0.055, 0.097, -0.0, 0.327, 0.777, 0.694, 0.472, 0.105, -0.07,
           -0.185, 0.321, 0.622, 0.442, 0.422, -0.048, 0.099, 0.728, 0.589, 0.557, 0.203, -0.148)  # fmt: skip

    @staticmethod
    def encoded():
        layer = nn.TransformerEncoderLayer(4, 2, 4, 0.0, batch_first=True)
        for parameter in layer.parameters():
            nn.init.constant_(parameter, 0.3)
        x = torch.arange(24.0).reshape(2, 3, 4).sin()
        with torch.no_grad():
            encoder = nn.TransformerEncoder(layer, 1).eval()
            return encoder(x, src_key_padding_mask=torch.tensor([[False, False, True]] * 2))

    def test_all_positions_are_computed_as_in_1_8(self, written_for):
        written_for("1.9")
        assert self.encoded().flatten().tolist() == pytest.approx(self.ALL, abs=1e-3)

    def test_no_position_is_cut_off_for_a_program_of_2_1(self, written_for):
        written_for("2.1")
        encoded = self.encoded()
        assert encoded.shape == (2, 3, 4) and encoded[:, 2].abs().sum() == 0
        assert encoded[:, :2].flatten().tolist() == pytest.approx(self.ALL[:8] + self.ALL[12:20], abs=1e-3)

    def test_an_explicit_enable_nested_tensor_is_respected(self, written_for):
        written_for("1.9")
        layer = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)
        for given in ([None, True], [None, False], [None]):
            assert nn.TransformerEncoder(layer, 1, *given).enable_nested_tensor is (True in given)


@pytest.mark.skipif(HERE < (1, 6, 0), reason="the same without shim up to 1.5")
@pytest.mark.filterwarnings("ignore")
class TestInterpolationByAFactor:
    """The expected numbers were printed by torch 1.4.0."""

    X = torch.arange(16.0).view(1, 1, 4, 4)

    def test_the_scale_factor_is_recomputed_from_the_rounded_sizes(self, written_for):
        written_for("1.4")
        found = nn.functional.interpolate(self.X, scale_factor=0.6, mode="bilinear")
        assert found.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
        assert nn.Upsample(scale_factor=0.6)(self.X).flatten().tolist() == [0.0, 2.0, 8.0, 10.0]
        found = nn.functional.interpolate(self.X, None, (0.6, 1.5), "bilinear")
        assert found.flatten().tolist()[:4] == pytest.approx([2.0, 2.5, 3.1667, 3.8333], abs=1e-4)

    @pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
    @pytest.mark.parametrize("factor", [2, 1.5, 0.6, 1.2])
    def test_the_result_is_that_of_recompute_scale_factor(self, written_for, mode, factor):
        written_for("1.4")
        for x in (self.X, torch.arange(35.0).view(1, 1, 5, 7), torch.arange(60.0).view(1, 1, 3, 4, 5)):
            if x.dim() == 4 or mode in ("nearest", "area"):
                expected = nn.functional.interpolate(x, None, factor, mode, None, True)
                assert torch.equal(nn.functional.interpolate(x, scale_factor=factor, mode=mode), expected)

    def test_interpolation_to_a_size_is_unchanged(self, written_for):
        written_for("1.4")
        found = nn.functional.interpolate(self.X, size=(2, 2), mode="bilinear")
        assert found.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


@pytest.mark.skipif(HERE < (1, 8, 0), reason="the same without shim up to 1.7")
class TestAViewOfALeaf:
    def test_the_gradient_of_another_tensor_is_never_lost(self, written_for):
        written_for("1.7")
        bias, other = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(2))
        with pytest.raises(RuntimeError, match="view of a leaf"):
            bias.view(2, 2)[:, 0] += other

    def test_a_view_of_a_computed_tensor_has_its_gradient(self, written_for):
        written_for("1.7")
        weight = nn.Parameter(torch.ones(4))
        computed = weight * 2
        computed.view(2, 2)[:, 0] *= 3
        computed.sum().backward()
        assert weight.grad.tolist() == [6.0, 2.0, 6.0, 2.0]


@pytest.mark.skipif(HERE < (1, 8, 0), reason="the same without shim up to 1.6")
def test_the_weight_of_a_bce_loss_applies_to_a_target_of_another_shape(written_for):
    written_for("1.4")
    loss = nn.BCELoss(weight=torch.tensor([1.0, 2.0]))(torch.tensor([[0.5], [0.2]]), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(0.5697, abs=1e-4)  # printed by torch 1.4.0
    with pytest.raises(ValueError):
        nn.BCELoss()(torch.tensor([[0.5], [0.2]]), torch.tensor([1.0]))


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_attention_to_nothing_gives_zeros_and_finite_gradients(written_for, kind):
    """As torch 2.5 and newer compute it."""
    if HERE < (2, 5, 0):
        written_for("2.13")
    mask = torch.tensor([[True, False, True], [False, False, False], [False, True, True]])
    given = mask if kind == "bool" else torch.zeros(3, 3).masked_fill(~mask, float("-inf"))
    q, k, v = (torch.arange(i, i + 24.0).reshape(1, 2, 3, 4).sin().requires_grad_() for i in range(3))
    found = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=given)
    assert found[:, :, 1].abs().max().item() == 0 and found[:, :, 0].abs().min().item() > 0
    gradients = torch.autograd.grad(found.sum(), (q, k, v))
    assert all(torch.isfinite(each).all() for each in gradients)
    assert gradients[0][:, :, 1].abs().max().item() == 0
