"""clamp, 1 - mask and loss.data[0] give the results of torch 1.7.1 and 1.1.0."""

from __future__ import annotations

import pytest
import torch

import shim
from shim.releases import release

HERE = release(torch.__version__).numbers


@pytest.fixture
def row(request):
    shim.activate(request.param)
    yield request.param
    shim.deactivate()


def some():
    return torch.tensor([-3, 1, 5])


def numpy():
    return pytest.importorskip("numpy")


#: Each with the dtype and the values of torch 1.7.1.
CLAMPED = {
    "in place": (lambda: some().clamp_(0, 2.9), torch.int64, [0, 1, 2]),
    "in place, by a tensor": (lambda: some().clamp_(0, torch.tensor(3.7) - 1), torch.int64, [0, 1, 2]),
    "a negative bound": (lambda: torch.clamp(some(), -1.5, 2.9), torch.int64, [-1, 1, 2]),
    "by keyword": (lambda: torch.clamp(input=some(), min=0, max=2.9), torch.int64, [0, 1, 2]),
    "int32": (lambda: some().int().clamp_(0.9, 1.9), torch.int32, [0, 1, 1]),
    "uint8": (lambda: some().to(torch.uint8).clamp(0, 2.9), torch.uint8, [2, 1, 2]),
    "one bound": (lambda: some().clamp(max=torch.tensor(2.9)), torch.int64, [-3, 1, 2]),
    "clamp_min": (lambda: torch.clamp_min(some(), 0.5), torch.int64, [0, 1, 5]),
    "clamp_max_": (lambda: some().clamp_max_(2.5), torch.int64, [-3, 1, 2]),
    "clip_": (lambda: some().clip_(0, 2.9), torch.int64, [0, 1, 2]),
    "out": (lambda: torch.clamp(some(), 0, 2.9, out=some()), torch.int64, [0, 1, 2]),
    "empty": (lambda: some()[:0].clamp(0, 1.5), torch.int64, []),
    "no dimension": (lambda: torch.tensor(5).clamp(0, 2.9), torch.int64, 2),
    "integers": (lambda: some().clamp(0, 2), torch.int64, [0, 1, 2]),
    "by a float of NumPy": (lambda: some().clamp(0, numpy().float32(2.9)), torch.int64, [0, 1, 2]),
    "by an integer of NumPy": (lambda: torch.clamp(some(), max=numpy().int64(2)), torch.int64, [-3, 1, 2]),
    "floats": (lambda: some().double().clamp(0, 2.5), torch.float64, [0.0, 1.0, 2.5]),
}


@pytest.mark.skipif(HERE < (1, 12, 0), reason="clamp works without shim up to 1.11")
@pytest.mark.parametrize("row", ["torch.clamp"], indirect=True)
@pytest.mark.parametrize("name", CLAMPED)
def test_clamp_of_integers_gives_the_dtype_and_values_of_1_11(row, name):
    clamped, dtype, values = CLAMPED[name]
    found = clamped()
    assert (found.dtype, found.tolist()) == (dtype, values)


@pytest.mark.skipif(HERE < (1, 12, 0), reason="clamp works without shim up to 1.11")
@pytest.mark.parametrize("row", ["torch.clamp"], indirect=True)
def test_clamp_of_floats_keeps_its_gradient_and_accepts_tensors(row):
    x = torch.tensor([-1.0, 0.5, 9.0], requires_grad=True)
    torch.clamp(x, torch.zeros(3), torch.tensor([1.0, 1.0, 2.0])).sum().backward()
    assert x.grad.tolist() == [0, 1, 0]


@pytest.mark.parametrize("row", ["1 - mask"], indirect=True)
def test_one_minus_a_mask_is_the_opposite_and_nothing_else_is_subtracted_from_one(row):
    mask = torch.tensor([[True, False]])
    assert (1 - mask).tolist() == (1.0 - mask).tolist() == torch.rsub(mask, 1).tolist() == [[False, True]]
    assert (1 - torch.tensor([0.25, 2.0])).tolist() == [0.75, -1.0]
    # As torch 1.1, whose comparisons returned uint8.
    assert (2 - mask).tolist() == (2.0 - mask).tolist() == [[1, 2]] and (2 - mask).dtype == torch.uint8
    for wrong in (lambda: 2.5 - mask, lambda: mask - 1, lambda: mask - mask):
        with pytest.raises(RuntimeError, match="bool tensor"):
            wrong()


@pytest.mark.parametrize("row", ["loss.data[0]"], indirect=True)
def test_index_zero_of_a_loss_is_the_loss(row):
    loss = torch.tensor(2.5, requires_grad=True)
    assert loss.data[0].item() == 2.5 and "%.1f" % loss.data[0] == "2.5"
    assert torch.arange(3)[0].item() == 0 and torch.arange(4).reshape(2, 2)[1, 0].item() == 2
    for wrong in (lambda: loss[1], lambda: loss[0, 0]):
        with pytest.raises(IndexError):
            wrong()


def test_deactivation_restores_indexing():
    before = "__getitem__" in vars(torch.Tensor)
    shim.activate("loss.data[0]")
    shim.deactivate()
    assert ("__getitem__" in vars(torch.Tensor)) == before
    with pytest.raises(IndexError):
        torch.tensor(1.0)[0]
