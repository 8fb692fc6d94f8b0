"""The patches of newer arguments of functions written in C compute what a torch that takes the arguments computes."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from shim.releases import release
from shim.rows import arguments_newer_c as patches
from shim.rows import newer

HERE = release(torch.__version__).numbers
pytestmark = [
    pytest.mark.skipif(HERE < (2, 2), reason="this torch does not have all of these arguments"),
    pytest.mark.filterwarnings("ignore:Using padding='same'|Degrees of freedom|(std|var)"),
]

NAN = float("nan")
TENSORS = {
    "no dimension": torch.tensor(1.5),
    "a row": torch.tensor([2.0, -1.0, 0.5, 2.0, -1.0]),
    "a matrix": torch.tensor([[3.0, 1.0, 1.0], [-0.0, 0.0, NAN]], dtype=torch.float64),
    "a block": torch.arange(24.0).sin().mul(9).round().reshape(2, 3, 4),
    "nothing": torch.ones(2, 0, 3),
}


def gradients(results, tensors):
    """Return the gradients of a weighted sum of all results."""
    weighted = [
        (each * torch.arange(1.0, each.numel() + 1).reshape(each.shape)).sum() for each in results if each.requires_grad
    ]
    return torch.autograd.grad(sum(weighted), tensors, allow_unused=True) if weighted else []


def same(new, patch, tensors, *args, **kwargs):
    """Assert that a patched function returns what torch returns, with the same gradients. Without grad: integers."""
    tensors = [each.clone().requires_grad_(each.is_floating_point()) for each in tensors]
    found = []
    for function in (new, lambda *args, **kwargs: patch(new, *args, **kwargs)):
        result = function(*tensors, *args, **kwargs)
        results = [result] if isinstance(result, torch.Tensor) else [*result]
        leaves = [each for each in tensors if each.requires_grad]
        found.append((type(result), results, gradients(results, leaves)))
    (kind, *native), (ours, *patched) = found
    assert kind is ours
    for one, other in zip(itertools.chain(*native), itertools.chain(*patched)):
        assert (one is None) is (other is None)
        if one is not None:
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert torch.allclose(one.double(), other.double(), equal_nan=True)


@pytest.mark.parametrize("name", TENSORS)
class TestOf:
    @pytest.mark.parametrize("function", ["std", "var", "std_mean", "var_mean"])
    @pytest.mark.parametrize("correction", [0, 1, None, 2, 0.5, -1])
    def test_correction(self, name, function, correction):
        x = TENSORS[name]
        for dim, keepdim in itertools.product((None, 0, -1, (0, -1), [0]), (False, True)):
            dims = (
                range(x.dim())
                if dim is None
                else {each % max(x.dim(), 1) for each in ([dim] if isinstance(dim, int) else dim)}
            )
            count = 1
            for each in dims if x.dim() else ():
                count *= x.shape[each]
            one_twice = isinstance(dim, tuple) and x.dim() < 2
            if one_twice or count <= (1 if correction is None else correction):
                continue
            same(getattr(torch, function), patches.spread, [x], dim=dim, correction=correction, keepdim=keepdim)

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("dtype", [None, torch.int64, torch.bool, torch.uint8])
    def test_a_stable_order(self, name, descending, dtype):
        x = TENSORS[name]
        x = x if dtype is None else x.nan_to_num().to(dtype)
        for dim in range(-max(x.dim(), 1), max(x.dim(), 1)):
            same(torch.sort, patches.sort, [x], stable=True, dim=dim, descending=descending)
            same(torch.argsort, patches.argsort, [x], stable=True, dim=dim, descending=descending)

    def test_gelu_and_round(self, name):
        same(nn.functional.gelu, patches.gelu, [TENSORS[name]], approximate="tanh")
        for decimals in (2, 0, -1):
            same(torch.round, patches.round_, [TENSORS[name] * 12.345], decimals=decimals)

    def test_clamp(self, name):
        x = TENSORS[name].nan_to_num()
        limit = x * 0 + 0.25  # no element is at a limit, and none is a NaN: there, 2.14 has another gradient
        for low, high in ((x - 1, None), (None, limit), (limit - 2, limit), (limit, limit - 2), (x - 2, x - 1)):
            same(torch.clamp, patches.clamp, [x], low, high)
            if low is not None and high is not None:
                same(torch.clamp, patches.clamp, [x, low.detach(), high.detach()])
        not_a_number = torch.tensor([NAN, 1.0, NAN])
        for low, high in ((not_a_number, None), (None, not_a_number), (torch.tensor([0.0, NAN, 0.0]), not_a_number)):
            same(torch.clamp, patches.clamp, [torch.arange(3)], low, high)
            ours = patches.clamp(torch.clamp, not_a_number.flip(0), low, high)
            assert torch.equal(ours.isnan(), torch.clamp(not_a_number.flip(0), low, high).isnan())

    def test_where(self, name):
        x = TENSORS[name]
        for tensor, number in itertools.product((x, x.nan_to_num().long()), (0.5, 2, True)):
            same(torch.Tensor.where, newer.tensor_where, [tensor], x > 0, number)

    def test_no_dimension_for_all(self, name):
        x = TENSORS[name]
        for keepdim in (False, True):
            for function in (
                (torch.sum, torch.mean) if x.dim() == 0 or not x.numel() else (torch.sum, torch.mean, torch.std)
            ):
                same(function, patches.of_everything, [x], None, keepdim=keepdim)
            same(torch.any, patches.any_or_all, [x > 0], None, keepdim)

    def test_several_dimensions(self, name):
        x = TENSORS[name]
        every = [dims for n in (1, 2, 3) for dims in itertools.combinations(range(-x.dim(), 0), n)]
        for dims, keepdim in itertools.product(every, (False, True)):
            for tensor in (x > 0, x.nan_to_num().to(torch.uint8)):
                same(torch.any, patches.any_or_all, [tensor], dims, keepdim)
                same(torch.all, patches.any_or_all, [tensor], dim=[*dims], keepdim=keepdim)
            same(torch.squeeze, patches.squeeze, [x[..., :1]] if x.dim() else [x], dims)


def test_convolutions():
    for count, size, dilation, groups in itertools.product((1, 2, 3), (1, 2, 3, 4), (1, 3), (1, 2)):
        x, bias = torch.arange(4.0 * 6**count).sin().reshape(2, 2, *[6] * count).double(), torch.ones(2).double()
        weight = torch.arange(2.0 * (2 // groups) * size**count).cos().reshape(2, 2 // groups, *[size] * count).double()
        convolution = getattr(nn.functional, f"conv{count}d")
        for padding, dilated in itertools.product(("same", "valid"), (dilation, (1,) * (count - 1) + (dilation,))):
            if padding == "same" or size <= 2:
                same(convolution, patches.convolution, [x, weight, bias], 1, padding, dilated, groups)


def test_a_tensor_becomes_an_array_by_force():
    numpy = pytest.importorskip("numpy")
    for x in (torch.ones(2, requires_grad=True) * 3, torch.tensor([1 + 2j]).conj(), torch.tensor([1 + 2j]).conj().imag):
        assert numpy.array_equal(patches.numpy(torch.Tensor.numpy, x, force=True), x.numpy(force=True))


@pytest.mark.parametrize(
    "options",
    [{"side": "right"}, {"side": "left"}, {"right": True}, {"side": "right", "right": True, "out_int32": True}],
)
def test_searchsorted(options):
    edges, x = torch.tensor([[3, 1, 1], [5, 9, 7]]), torch.tensor([[1, 0, 3, 4], [5, 8, 9, 7]])
    same(torch.searchsorted, patches.searchsorted, [edges, x], sorter=edges.argsort(1), **options)
    same(torch.searchsorted, patches.searchsorted, [edges.sort(1)[0], x], sorter=None, **options)


@pytest.mark.parametrize(
    "call",
    [
        lambda: patches.of_everything(torch.sum, torch.ones(2), 5),
        lambda: patches.of_everything(torch.sum, torch.ones(2)),
        lambda: patches.clamp(torch.Tensor.clamp_, torch.tensor([1]), min=torch.tensor([1.5])),
        lambda: patches.clamp(torch.Tensor.clamp_, torch.ones(1), torch.ones(2, 1)),
        lambda: patches.clamp(torch.clamp, torch.ones(2), torch.ones(2), 3.0),
        lambda: patches.clamp(torch.clamp, torch.ones(2), None, None),
        lambda: patches.any_or_all(torch.any, torch.ones(2, 2), (0, 0)),
        lambda: patches.any_or_all(torch.any, torch.ones(2, 2), (0, 5)),
        lambda: patches.any_or_all(torch.any, torch.ones(2, 2), ()),
        lambda: patches.squeeze(torch.squeeze, torch.ones(1, 1), (0, -2)),
        lambda: patches.convolution(nn.functional.conv1d, torch.ones(1, 1, 3), torch.ones(1, 1, 3), None, 2, "same"),
        lambda: patches.convolution(nn.functional.conv1d, torch.ones(1, 1, 3), torch.ones(1, 1, 3), None, 1, "full"),
    ],
)
def test_what_torch_does_not_take_is_left_to_it(call):
    assert call() is None


@pytest.mark.parametrize(
    "function, patch, args, argument",
    [
        ("std", patches.spread, (torch.ones(2),), {"correction": 2}),
        ("std", patches.spread, (torch.ones(2, 2), "N"), {"correction": 0.5}),
        ("std", patches.spread, (torch.ones(2),), {"correction": 1, "unbiased": True}),
        ("searchsorted", patches.searchsorted, (torch.ones(2), torch.ones(2)), {"side": "up"}),
        ("searchsorted", patches.searchsorted, (torch.ones(2), torch.ones(2)), {"side": "left", "right": True}),
        ("searchsorted", patches.searchsorted, (torch.ones(2), torch.ones(2)), {"sorter": torch.tensor([0])}),
        ("gelu", patches.gelu, (torch.ones(2),), {"approximate": "sigmoid"}),
        ("round", patches.round_, (torch.ones(2).half(),), {"decimals": 1}),
        ("sort", patches.sort, (torch.ones(2),), {"stable": True, "out": ()}),
    ],
)
def test_an_argument_that_cannot_be_computed_is_given_to_the_older_release(function, patch, args, argument):
    def older(*args, **kwargs):
        raise TypeError(f"{function}() got {sorted(kwargs)}")

    older.__name__ = function
    with pytest.raises(TypeError, match=rf"^{function}\(\) got .*{next(iter(argument))}"):
        patch(older, *args, **argument)
