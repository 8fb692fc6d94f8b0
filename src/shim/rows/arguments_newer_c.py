"""Arguments that functions written in C take since a later release, for new programs on an older torch."""

from __future__ import annotations

import math
import sys
from typing import Any, Callable

from ..releases import release
from .messages import IN_THIS_LINE, unexpected
from .row import argument, row


def _both(names: str) -> list[str]:
    """Return the paths of functions and of the methods of the same names."""
    return [f"torch:{owner}{name}" for name in names.split() for owner in ("", "Tensor.")]


_SEVERAL = ("dim=tuple", "dim=list", r"tuple\b", r"list\b")


def _got(functions: str, *arguments: str, before: str = r"(?:\w+, )*") -> str:
    """Match what torch says of arguments, written as it writes them: ``correction=``, ``dim=tuple``."""
    given = rf"{before}(?:\w+=\w+, )*(?:{'|'.join(arguments)})"
    return rf"\b(?:{functions})\(\) received an invalid combination of arguments - got \({given}"


def _keyword(keywords: str, *paths: str, **facts: Any) -> Callable[[Any], Any]:
    """Make a row of keywords. The decorated function gets the original and the arguments of a call with one of them."""
    newer = frozenset(keywords.split())

    def decorate(compute: Any) -> Any:
        def how(original: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                if kwargs and not newer.isdisjoint(kwargs):
                    return compute(original, *args, **kwargs)
                return original(*args, **kwargs)

            return call

        return row("instead", paths, how, compute, facts)

    return decorate


def _value(*paths: str, error: Any = TypeError, **facts: Any) -> Callable[[Any], Any]:
    """Make a row of values of other types.

    The decorated function gets the original and the arguments of a call that raised this error. It returns None if it
    cannot help.
    """

    def decorate(compute: Any) -> Any:
        def how(original: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    return original(*args, **kwargs)
                except error:
                    found = compute(original, *args, **kwargs)
                    if found is None:
                        raise
                    return found

            return call

        return row("instead", paths, how, compute, facts)

    return decorate


def _dims(tensor: Any, dim: Any) -> list[int] | None:
    """Return dimensions as numbers from 0, or None if torch would not take them: it then says why."""
    count = max(tensor.dim(), 1)
    given = [dim] if isinstance(dim, int) else dim
    if not isinstance(given, (tuple, list)) or not all(
        isinstance(each, int) and -count <= each < count for each in given
    ):
        return None
    found = [each % count for each in given]
    return found if len(found) == len(set(found)) else None


# --- statistics -------------------------------------------------------------------------------------------------------


@_keyword(
    "correction",
    *_both("std var"),
    "torch:std_mean",
    "torch:var_mean",
    called="std and var with correction",
    works=">=2.0",
    says=_got("(?:std|var)(?:_mean)?", "correction=", before=r"(?:Tensor, )?(?:(?:int|tuple|list|NoneType), )?"),
    example="""
import torch
x = torch.tensor([[1.0, 2.0, 4.0], [3.0, 3.0, 5.0]], requires_grad=True)
for options in ({}, {"dim": 1}, {"dim": (0, -1), "keepdim": True}, {"dim": None, "keepdim": True}):
    for correction in (0, 1, 2, None):
        y = torch.std(x, correction=correction, **options)
        grad, = torch.autograd.grad(y.sum(), x)
        print([round(value, 4) for value in (*y.flatten().tolist(), *grad.flatten().tolist())])
print([[round(value, 4) for value in each.tolist()] for each in torch.var_mean(x.detach(), 1, correction=0)])
print([round(each.item(), 4) for each in torch.std_mean(x.detach(), correction=0)])
print(round(x.var(correction=0).item(), 4), tuple(x.std(1, correction=2, keepdim=True).shape))
print(torch.tensor(1.0).std(correction=0).item(), torch.var(x.detach(), correction=1, out=torch.empty(0)).item())
""",
)
def spread(original: Any, input: Any, dim: Any = None, *, correction: Any = None, **kwargs: Any) -> Any:
    """torch.std, var, std_mean and var_mean take correction since 2.0; older releases have unbiased=."""
    dim = kwargs.pop("axis", dim)
    correction = 1 if correction is None else correction
    every = dim is None or dim == () or dim == []
    dims = [*range(input.dim())] if every else _dims(input, dim)
    count = 0 if dims is None else math.prod(input.shape[each] for each in dims if input.dim())
    known = correction in (0, 1)
    if "unbiased" in kwargs or not (known or count > correction):
        return original(input, dim, correction=correction, **kwargs)
    if kwargs or not every:  # only with dimensions do older releases take keepdim and out
        kwargs["dim"] = dims if every else dim
    found = original(input, unbiased=correction == 1, **kwargs)
    if known:
        return found
    # https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/native/SharedReduceOps.h#L128
    factor = count / (count - correction)
    if original.__name__.startswith("std"):
        factor = math.sqrt(factor)
    if isinstance(found, tuple):
        return type(found)((found[0] * factor, found[1]))
    return found * factor if kwargs.get("out") is None else found.mul_(factor)


@_value(
    *_both("sum mean std var"),
    error=RuntimeError,
    called="sum and mean with dim=None",
    works=">=1.13",
    says=r"Please look up dimensions by name, got: name = None",
    only_if="dim=None was given to sum, mean, std or var",
    example="""
import torch
x = torch.arange(6.0).reshape(2, 3)
for options in ({}, {"keepdim": True}):
    print(x.sum(dim=None, **options), torch.mean(x, None, **options), x.std(dim=None, unbiased=False, **options))
print(torch.sum(x.int(), None), torch.mean(x, dim=None, dtype=torch.float64), torch.tensor(5.0).sum(dim=None))
print(torch.var(x, None, False).item(), x.sum(None, True).shape)
""",
)
def of_everything(original: Any, input: Any, dim: Any = (), *args: Any, **kwargs: Any) -> Any:
    """torch.sum, mean, std and var take None for all dimensions since 1.13."""
    return original(input, [*range(input.dim())], *args, **kwargs) if dim is None else None


# --- the order of elements --------------------------------------------------------------------------------------------


def _stable(unsorted: Any, sort: Any, dim: int) -> Any:
    """Return the indices that sort a tensor along a dimension, with those of equal elements in their order.

    Args:
        unsorted: what ``sort`` returned: values in their order, and their indices.
        sort: torch.sort of the release.
        dim: the dimension.
    """
    values, indices = unsorted
    before, after = values.narrow(dim, 0, values.shape[dim] - 1), values.narrow(dim, 1, values.shape[dim] - 1)
    differs = (before != after) & ((before == before) | (after == after))  # a NaN is as good as another one
    first = indices.narrow(dim, 0, 1) * 0
    group = sys.modules["torch"].cat([first, differs.long().cumsum(dim)], dim) * values.shape[dim]
    return sort(group + indices, dim)[0] - group


_ORDER = """
import torch
x = torch.tensor([3.0, 1.0, 2.0, 1.0, 3.0, float("nan"), 2.0, float("nan")] * 30).reshape(2, 120)
"""


@_keyword(
    "stable",
    *_both("sort"),
    called="sort.stable",
    works=">=1.9",
    says=_got("sort", "stable=", before="(?:Tensor, )?"),
    example=_ORDER
    + """
for options in ({}, {"dim": 0}, {"descending": True}, {"dim": -1, "descending": True}):
    values, indices = torch.sort(x, stable=True, **options)
    print(values[-1, :9].tolist(), indices[-1, :9].tolist(), indices[-1, -9:].tolist())
w = torch.tensor([2.0, 1.0, 2.0], requires_grad=True)
(w.sort(stable=True).values * torch.arange(3.0)).sum().backward()
print(w.grad.tolist(), w.sort(stable=False).values.tolist(), torch.tensor(1).sort(stable=True))
""",
)
def sort(original: Any, *args: Any, stable: bool | None = None, **kwargs: Any) -> Any:
    """torch.sort takes stable since 1.9; it has no fixed order of equal elements before."""
    if not stable:
        return original(*args, **kwargs)
    if not args or kwargs.keys() - {"dim", "descending"}:
        return original(*args, stable=stable, **kwargs)
    found = original(*args, **kwargs)
    dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
    if args[0].numel() < 2 or not isinstance(dim, int):
        return found
    indices = _stable((found[0].detach(), found[1]), original, dim)
    return type(found)((args[0].gather(dim, indices), indices))


@_keyword(
    "stable",
    *_both("argsort"),
    called="argsort.stable",
    works=">=1.13",
    says=_got("argsort", "stable=", before="(?:Tensor, )?"),
    example=_ORDER
    + """
for options in ({}, {"dim": 0}, {"descending": True}, {"dim": -1, "descending": True}):
    indices = torch.argsort(x, stable=True, **options)
    print(indices[-1, :9].tolist(), indices[-1, -9:].tolist(), torch.equal(x.argsort(stable=True, **options), indices))
print(torch.tensor([2, 1]).argsort(stable=False).tolist(), torch.tensor(1).argsort(stable=True))
""",
)
def argsort(original: Any, input: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """torch.argsort takes stable since 1.13; sort takes it since 1.9."""
    if not stable:
        return original(input, dim, descending)
    torch: Any = sys.modules["torch"]
    if release(torch.__version__).numbers < (1, 9):
        return sort(torch.sort, input, stable=True, dim=dim, descending=descending)[1]
    return torch.sort(input, stable=True, dim=dim, descending=descending)[1]


@_keyword(
    "side sorter",
    "torch:searchsorted",
    works=">=1.11",
    versions=">=1.6",
    says=_got("searchsorted", "side=", "sorter="),
    example="""
import torch
edges = torch.tensor([[3.0, 1.0, 2.0], [5.0, 9.0, 7.0]])
order = edges.argsort(1)
x = torch.tensor([[1.0, 2.5], [9.0, 7.0]])
for options in ({}, {"side": "right"}, {"side": "left", "out_int32": True}, {"right": True}):
    found = torch.searchsorted(edges, x, sorter=order, **options)
    print(found.tolist(), found.dtype)
print(torch.searchsorted(torch.tensor([1, 2, 2, 3]), 2, side="right").item())
print(torch.searchsorted(torch.tensor([1, 2, 2, 3]), torch.tensor([2]), side="left", sorter=None).item())
""",
)
def searchsorted(
    original: Any, sorted_sequence: Any, *args: Any, side: str | None = None, sorter: Any = None, **kwargs: Any
) -> Any:
    """torch.searchsorted takes side and sorter since 1.11."""
    torch: Any = sys.modules["torch"]
    right = kwargs.pop("right", False)
    sorts = torch.is_tensor(sorter) and sorter.dtype is torch.long and sorter.shape == sorted_sequence.shape
    if side not in (None, "right", "right" if right else "left") or not (sorts or sorter is None):
        return original(sorted_sequence, *args, side=side, sorter=sorter, right=right, **kwargs)
    if sorts:
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    return original(sorted_sequence, *args, right=right or side == "right", **kwargs)


@_keyword(
    "interpolation",
    *_both("quantile nanquantile"),
    called="quantile.interpolation",
    works=">=1.11",
    versions=">=1.9",
    says=_got("(?:nan)?quantile", "interpolation="),
    example="""
import torch
x = torch.tensor([[3.0, 1.0, 2.0, 7.0], [5.0, 9.0, float("nan"), 8.0]])
for how in ("linear", "lower", "higher", "nearest", "midpoint"):
    print(torch.quantile(x, 0.4, interpolation=how).item(), x.quantile(0.4, 1, interpolation=how).tolist())
    print(torch.nanquantile(x, torch.tensor([0.2, 0.4]), dim=1, keepdim=True, interpolation=how).flatten().tolist())
""",
)
def quantile(
    original: Any,
    input: Any,
    q: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    **kwargs: Any,
) -> Any:
    """torch.quantile and nanquantile take interpolation since 1.11; 1.9 and 1.10 take it after dim and keepdim."""
    given = {} if interpolation == "linear" else {"interpolation": interpolation}
    return original(input, q, dim, keepdim, **given, **kwargs)


@_keyword(
    "output_size",
    *_both("repeat_interleave"),
    works=">=1.10",
    says=_got("repeat_interleave", "output_size="),
    example="""
import torch
x, repeats = torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 2])
print(torch.repeat_interleave(x, repeats, dim=0, output_size=3), torch.repeat_interleave(repeats, output_size=3))
print(x.repeat_interleave(2, output_size=8).tolist(), x.repeat_interleave(repeats, 1, output_size=3).tolist())
""",
)
def repeat_interleave(original: Any, *args: Any, output_size: Any = None, **kwargs: Any) -> Any:
    """repeat_interleave takes output_size since 1.10, which only makes it faster."""
    return original(*args, **kwargs)


# --- numbers ----------------------------------------------------------------------------------------------------------


@argument(
    "torch.nn.functional:gelu",
    called="gelu.approximate",
    works=">=1.12",
    says=r"(?<![\w.])gelu\(\) got an unexpected keyword argument 'approximate'",
    example="""
import torch
import torch.nn.functional as F
x = torch.tensor([-1.5, -0.5, 0.0, 1.0, 20.0], requires_grad=True)
for how in ("tanh", "none"):
    y = F.gelu(x, approximate=how)
    grad, = torch.autograd.grad(y.sum(), x)
    print([round(value, 4) for value in (*y.tolist(), *grad.tolist())])
print(F.gelu(x.detach().bfloat16(), approximate="tanh").dtype, F.gelu(x.detach())[0].item() < 0)
""",
)
def gelu(original: Any, input: Any, approximate: str = "none") -> Any:
    """torch.nn.functional.gelu takes approximate since 1.12."""
    torch: Any = sys.modules["torch"]
    if approximate == "none":
        return original(input)
    if approximate != "tanh" or not input.is_floating_point():
        return original(input, approximate=approximate)
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_refs/nn/functional/__init__.py#L1120
    x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
    y = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return y.to(input.dtype)


_GELU = "torch.nn.modules.activation:GELU"


@argument(
    f"{_GELU}.__init__",
    f"{_GELU}.forward",
    called="GELU.approximate",
    works=">=1.12",
    says=(
        *unexpected("approximate", [f"{_GELU}.__init__"]),
        rf"\bGELU\(['\"]{IN_THIS_LINE}TypeError: __init__\(\) takes 1 positional argument but 2 were given",
    ),
    example="""
import torch
x = torch.tensor([-0.5, 1.0])
for layer in (torch.nn.GELU(approximate="tanh"), torch.nn.GELU("tanh"), torch.nn.GELU("none"), torch.nn.GELU()):
    print(layer.approximate, [round(value, 4) for value in layer(x).tolist()])
""",
)
def gelu_layer(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """GELU takes approximate since 1.12."""
    if original.__name__ == "__init__":
        original(self)
        self.approximate = _only(*args, **kwargs)
        return None
    how = vars(self).get("approximate", "none")  # not there in an object that was pickled
    if how == "none":
        return original(self, *args, **kwargs)
    return gelu(sys.modules["torch"].nn.functional.gelu, *args, **kwargs, approximate=how)


def _only(approximate: str = "none") -> str:
    return approximate


@_keyword(
    "decimals",
    *_both("round"),
    "torch:Tensor.round_",
    called="round.decimals",
    works=">=1.11",
    says=(
        r"(?<![\w.])round\(\) got an unexpected keyword argument 'decimals'",
        r"(?<![\w.])round_?\(\) takes no keyword arguments",
    ),
    only_if="round was given decimals",
    example="""
import torch
x = torch.tensor([0.125, -2.345, 1250.0, float("inf")], requires_grad=True)
for decimals in (2, 0, -2):
    y = torch.round(x, decimals=decimals)
    print(y.tolist(), torch.autograd.grad(y[:3].sum(), x)[0].tolist())
    print(x.detach().clone().round_(decimals=decimals).tolist())
print(x.double().round(decimals=1).tolist())
""",
)
def round_(original: Any, input: Any, *, decimals: int = 0, **kwargs: Any) -> Any:
    """torch.round takes decimals since 1.11."""
    torch: Any = sys.modules["torch"]
    if not decimals:
        return original(input, **kwargs)
    if kwargs or not isinstance(decimals, int) or input.dtype not in (torch.float32, torch.float64):
        return original(input, decimals=decimals, **kwargs)
    # torch divides, too. A product with 0.01 would have other last digits.
    scale = 10.0 ** abs(decimals)
    up, down = ("mul", "div") if decimals > 0 else ("div", "mul")
    in_place = "_" if original.__name__.endswith("_") else ""
    scaled = getattr(input, up + in_place)(scale)
    return getattr(original(scaled), down + in_place)(scale)


def _bounds(names: str) -> list[str]:
    return [*_both(names), *(f"torch:{owner}{name}_" for name in names.split() for owner in ("", "Tensor."))]


@_value(
    *_bounds("clamp clip clamp_min clamp_max"),
    called="clamp with tensors",
    works=">=1.9",
    says=r"(?<![\w.])cl(?:amp|ip)(?:_min|_max)?_?\(\): argument '(?:min|max)' (?:\(position \d\) )?must be Number, "
    r"not (?:Tensor|Parameter)",
    example="""
import torch
x = torch.tensor([0.0, 2.0, 4.0, float("nan")], requires_grad=True)
low, high = torch.tensor([1.0, 1.5, 3.0, 0.0], requires_grad=True), torch.tensor([1.5, 1.75, 3.5, 1.0])
for y in (x.clamp(low), torch.clamp(x, min=low, max=high), torch.clamp(x, None, high), x.clamp_min(low)):
    print(y.tolist(), torch.autograd.grad(y[:3].sum(), x)[0].tolist()[:3])
print(torch.autograd.grad(torch.clamp(x, low, high)[:3].sum(), low)[0].tolist())
print(torch.clamp_max(x[:3], high[:2, None]).tolist(), x.clamp(max=high).tolist())
print(x.detach().clone().clamp_(max=low.detach()).tolist())
""",
)
def clamp(original: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.clamp, clip, clamp_min and clamp_max take tensors since 1.9."""
    torch: Any = sys.modules["torch"]
    from .tensor import limits_of

    name = original.__name__
    limits = limits_of(name, args, kwargs)
    if not limits or not all(map(torch.is_tensor, limits.values())):
        return None
    result = input
    for limit, value in limits.items():
        dtype = torch.result_type(result, value)
        result, value = result.to(dtype), value.to(dtype)
        inside, outside = (result >= value, result < value) if limit == "min" else (result <= value, result > value)
        # Up to 2.13, an element at a limit gets the whole gradient, which torch.max would divide, and a NaN gets none.
        # https://github.com/pytorch/pytorch/blob/v2.13.0/tools/autograd/derivatives.yaml#L423
        nan = (result + value).detach()
        result = torch.where(inside, result, torch.where(outside, value, nan))
    if not name.endswith("_"):
        return result
    return input.copy_(result) if result.shape == input.shape and torch.can_cast(result.dtype, input.dtype) else None


# --- shapes -----------------------------------------------------------------------------------------------------------


@_value(
    *_both("any all"),
    error=(TypeError, RuntimeError),
    called="any and all of several dimensions",
    works=">=2.2",
    says=_got("any|all", *_SEVERAL, before="(?:Tensor, )?"),
    example="""
import torch
x = torch.arange(12).reshape(2, 3, 2) % 5 == 0
for dim in ((0, 1), (-1,), [2, 0], (0, 1, 2)):
    print(x.any(dim=dim).tolist(), torch.all(~x, dim, keepdim=True).tolist())
print(torch.any(x.to(torch.uint8), dim=(0, 2)), x[:0].all(dim=(0, 1)).tolist())
print(x.all(dim=None), torch.any(x[0, 0, 0], dim=None, keepdim=True))
""",
)
def any_or_all(original: Any, input: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
    """torch.any and all take several dimensions since 2.2, and None for all of them."""
    dims = _dims(input, [*range(max(input.dim(), 1))] if dim is None else dim)
    if not dims or kwargs:
        return None
    for each in sorted(dims, reverse=True):
        input = original(input, each, keepdim)
    return input


@_value(
    *_both("squeeze"),
    "torch:Tensor.squeeze_",
    called="squeeze of several dimensions",
    works=">=2.0",
    says=_got("squeeze_?", *_SEVERAL, before="(?:Tensor, )?"),
    example="""
import torch
x = torch.ones(1, 2, 1, 3, 1)
print(x.squeeze((0, 2)).shape, torch.squeeze(x, dim=(-1, 1)).shape, x.squeeze(dim=[4]).shape)
print(x.squeeze_((0, -1)).shape, x.shape)
print(torch.tensor(5).squeeze((0,)))
""",
)
def squeeze(original: Any, input: Any, dim: Any = None) -> Any:
    """torch.squeeze takes several dimensions since 2.0."""
    dims = _dims(input, dim)
    if not dims:
        return None
    for each in sorted(dims, reverse=True):
        input = original(input, each)
    return input


@_keyword(
    "force",
    "torch:Tensor.numpy",
    works=">=1.13",
    says=r"(?<![\w.])numpy\(\) takes no keyword arguments",
    only_if="Tensor.numpy was given force",
    example="""
import torch
x = torch.tensor([1.0, 2.0], requires_grad=True)
print((2 * x).numpy(force=True).tolist())
y = torch.zeros(2)
y.numpy(force=False)[0] = 5
print(y.tolist())
""",
)
def numpy(original: Any, self: Any, *, force: bool = False) -> Any:
    """Tensor.numpy takes force since 1.13."""
    if not force:
        return original(self)
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_tensor_docs.py#L3647
    found = self.detach().cpu()
    for resolve in ("resolve_conj", "resolve_neg"):  # since 1.10: before, no tensor has its bit
        found = getattr(found, resolve, lambda found=found: found)()
    return original(found)


@_value(
    *(f"{owner}:conv{n}d" for n in (1, 2, 3) for owner in ("torch", "torch.nn.functional")),
    called="padding='same'",
    works=">=1.9",
    says=r"(?<![\w.])conv[123]d\(\): argument 'padding' (?:\(position \d\) )?must be tuple of ints, not str",
    example="""
import torch
import torch.nn.functional as F
x, kernel = torch.arange(20.0).reshape(1, 1, 4, 5), torch.arange(6.0).reshape(1, 1, 2, 3)
print(F.conv2d(x, kernel, padding="same").flatten().tolist(), F.conv2d(x, kernel, None, 1, "valid").shape)
print(F.conv2d(x, kernel, padding="same", dilation=(1, 2)).flatten().tolist())
print(torch.conv1d(x[0, :, :1], torch.ones(1, 1, 4), torch.ones(1), padding="same").flatten().tolist())
print(torch.nn.Conv3d(1, 2, 3, padding="same")(torch.ones(1, 1, 3, 4, 5)).shape)
""",
)
def convolution(
    original: Any,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Convolutions take padding='same' and 'valid' since 1.9."""
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/nn/modules/conv.py#L150
    count = weight.dim() - 2
    strides, dilations = ([each] * count if isinstance(each, int) else [*each] for each in (stride, dilation))
    strides, dilations = (
        strides * (count if len(strides) == 1 else 1),
        dilations * (count if len(dilations) == 1 else 1),
    )
    if padding == "valid":
        return original(input, weight, bias, stride, 0, dilation, groups)
    if padding != "same" or any(each != 1 for each in strides):
        return None
    total = [step * (size - 1) for step, size in zip(dilations, weight.shape[2:])]
    more = [each % 2 for each in total]  # on the right side
    if any(more):
        input = sys.modules["torch"].nn.functional.pad(input, [side for each in reversed(more) for side in (0, each)])
    return original(input, weight, bias, 1, [each // 2 for each in total], dilation, groups)
