"""Tensors: operations that treated dtypes, or tensors without dimensions, differently."""

from __future__ import annotations

import math
import sys
from numbers import Real
from typing import Any

from .messages import IN_THIS_LINE
from .row import argument, behaviour, often

_CLAMPS = ("clamp", "clamp_", "clamp_min", "clamp_min_", "clamp_max", "clamp_max_", "clip", "clip_")


@often(
    *(f"torch:{owner}{each}" for each in _CLAMPS for owner in ("Tensor.", "")),
    called="torch.clamp",
    works="<1.12",
    says=(
        rf"\b(clamp|clip)(_min|_max)?_?\({IN_THIS_LINE}"
        r"RuntimeError: result type \w+ can't be cast to the desired output type [a-z ]+",
        r"result type Float can't be cast to the desired output type (long int|__int64|int64_t)\b",
    ),
    example="""
import torch
grid = torch.tensor([-3, 1, 5])
print(grid.clamp(-1.5, 2.9).tolist(), torch.clamp(grid, max=torch.tensor(2.9)).tolist())
print(grid.clone().clamp_(0, torch.tensor(3.7) - 1).tolist(), torch.clamp_(grid[:0], 0.5, 1.5).dtype)
print(torch.clamp_min(grid.int(), 0.5).tolist(), grid.float().clamp(0, 2.5).tolist(), grid.clamp(0, 2).tolist())
""",
)
def clamp(original: Any) -> Any:
    """torch.clamp of an integer tensor truncated its bounds to integers up to 1.11, and returns floats since."""
    # https://github.com/pytorch/pytorch/pull/77035
    Tensor = sys.modules["torch"].Tensor  # noqa: N806

    def clamp(*args: Any, **kwargs: Any) -> Any:
        tensor = args[0] if args else kwargs.get("input")
        if not isinstance(tensor, Tensor) or tensor.dtype.is_floating_point or tensor.dtype.is_complex:
            return original(*args, **kwargs)
        args = (*args[:1], *(_whole(each, Tensor) for each in args[1:]))
        kwargs = {key: _whole(value, Tensor) if key in _BOUNDS else value for key, value in kwargs.items()}
        return original(*args, **kwargs)

    return clamp


_BOUNDS = ("min", "max")


def _whole(bound: Any, kind: type) -> Any:
    if isinstance(bound, kind):
        tensor: Any = bound
        if tensor.is_floating_point() and tensor.dim() == 0 and not tensor.requires_grad:
            bound = tensor.item()
    if type(bound).__module__ == "numpy" and isinstance(bound, Real):
        bound = float(bound)  # as torch itself treated a scalar of NumPy
    return int(bound) if isinstance(bound, float) and math.isfinite(bound) else bound


@argument(
    "torch:linspace",
    "torch:logspace",
    works="<1.11",
    says=r"\b(lin|log)space\(\) (received an invalid combination of arguments - got \((int|float), (int|float)"
    r"(, \w+=[^,()]*)*\)|missing 1 required positional arguments?: \"steps\")",
    example="""
import torch
print(torch.linspace(0, 99).tolist() == [*range(100)], torch.logspace(0, 1).shape, torch.linspace(0, 1, 3).tolist())
print(torch.linspace(start=0, end=99, dtype=torch.float64)[-1], torch.linspace(0, 1, steps=2).tolist())
""",
)
def without_steps(original: Any, *args: Any, **kwargs: Any) -> Any:
    """The steps of linspace and logspace were 100 if none were given up to 1.10, and must be given since."""
    # https://github.com/pytorch/pytorch/blob/v1.11.0/torch/_torch_docs.py#L5153
    if len(args) < 3:
        kwargs.setdefault("steps", 100)
    return original(*args, **kwargs)


@behaviour(
    "torch:Tensor.__rsub__",
    "torch:rsub",
    called="1 - mask",
    works="<1.2",
    # In a traceback, only a number minus a mask counts: to subtract a mask from a tensor was an error up to 1.1, too.
    says=r"(?:^(?!.*\bFile ).*?|(?<![\w)\].])\d[\d.]* ?- ?[\w(](?:[^\"]|\"[^\"]*/torch/[^\"]*\")*?|\brsub\([^\"]*?)"
    r"Subtraction, the `-` operator, with a bool tensor is not supported\. If you are trying to invert a mask",
    example="""
import torch
x = torch.tensor([0.5, 2.0, 3.0])
mask = x > 1
rest = 1 - mask
print(x[rest].tolist(), (x * rest.float()).tolist(), int(rest.sum()), rest.tolist() == [1, 0, 0])
print((1 - rest).nonzero().tolist(), x.masked_fill(1.0 - mask, -1.0).tolist(), (1 - mask[:0]).numel())
""",
)
def one_minus_mask(original: Any, tensor: Any, other: Any, *args: Any, **kwargs: Any) -> Any:
    """A comparison returned uint8 up to 1.1, so that 1 - mask inverted it; with this row it inverts a bool mask."""
    # https://github.com/pytorch/pytorch/pull/21113
    import torch

    whole = isinstance(other, (int, float)) and other == int(other)
    if whole and not args and not kwargs and isinstance(tensor, torch.Tensor) and tensor.dtype == torch.bool:
        return tensor.logical_not() if other == 1 else original(tensor.to(torch.uint8), int(other))
    return original(tensor, other, *args, **kwargs)


@often(
    "torch:Tensor.__getitem__",
    called="loss.data[0]",
    # torch 0.4 was the last release on which this works, with a warning. None of these releases can be installed today,
    # so there is no recorded output.
    works="<0.5",
    says=r"invalid index of a 0-dim tensor\. Use `?tensor\.item\(\)`?",
    more="While this row is on, torch.tensor([x]) fails for an x without dimensions, which torch takes for a sequence.",
)
def zeroth_of_none(original: Any) -> Any:
    """A loss was a tensor of shape [1] up to 0.3; with this row x[0] of a 0-dimensional tensor is x."""
    # https://github.com/pytorch/pytorch/blob/v2.4.1/aten/src/ATen/TensorIndexing.h#L243

    def item(tensor: Any, index: Any) -> Any:
        if type(index) is int and index == 0 and tensor.dim() == 0:
            return tensor
        return original(tensor, index)

    return item


@often(
    "torch:Tensor.view",
    works="<1.7",
    says=r"view size is not compatible with input tensor's size and stride",
    only_if="it is a view of a comparison of transposed tensors, as in the accuracy() of ImageNet examples",
    example="""
import torch
scores = torch.arange(20.0).reshape(4, 5).sin()
_, predicted = scores.topk(5, 1, True, True)
predicted = predicted.t()
correct = predicted.eq(torch.tensor([1, 2, 0, 3]).view(1, -1).expand_as(predicted))
print([correct[:k].view(-1).float().sum(0).item() for k in (1, 3)], scores.view(5, 4).shape)
""",
)
def view(original: Any) -> Any:
    """Comparisons of transposed tensors were contiguous up to 1.6, so that their result had a view."""
    boolean = sys.modules["torch"].bool

    def view(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except RuntimeError as error:
            # Only for these, because what is written to the copy does not reach the tensor.
            if args[0].dtype is not boolean or "view size is not compatible" not in str(error):
                raise
            return original(args[0].contiguous(), *args[1:], **kwargs)

    return view


@often(
    *(
        f"torch:{owner}{each}{end}"
        for each in ("clamp", "clip", "clamp_min", "clamp_max")
        for owner, end in (("", ""), ("Tensor.", ""), ("", "_"), ("Tensor.", "_"))
    ),
    called="gradient of clamp",
    works="<2.14",
    example="""
import torch
x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
one = torch.tensor(1.0)
for y in (x.clamp(0, 1), torch.clamp(x, min=0.0), x.clamp_max(1), torch.clip(x, max=one), (x * 1).clamp_(0, 1)):
    print(y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist())
print(x.detach().clamp(0, 1).tolist())
""",
)
def gradient_at_limits(original: Any) -> Any:
    """An element at a limit of clamp had the whole gradient up to 2.13, and has none or half of it since."""
    torch: Any = sys.modules["torch"]
    name = original.__name__

    def clamp(*args: Any, **kwargs: Any) -> Any:
        if not args or not args[0].requires_grad or not torch.is_grad_enabled():
            return original(*args, **kwargs)
        limits = limits_of(name, args[1:], kwargs)
        if not limits:
            return original(*args, **kwargs)
        found = args[0]
        for limit, value in limits.items():
            outside = found.detach() < value if limit == "min" else found.detach() > value
            if not name.endswith("_"):
                found = torch.where(outside, value, found)
            elif torch.is_tensor(value):
                found.copy_(torch.where(outside, value, found))
            else:
                found.masked_fill_(outside, value)
        return found

    return clamp


def limits_of(name: str, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the limits that a call of clamp, clamp_min or another of them gives after the tensor; none if in doubt.

    min is first: where it is above max, max counts.
    """
    names = [name[6:9]] if name.startswith(("clamp_min", "clamp_max")) else ["min", "max"]
    limits = {**dict(zip(names, args)), **kwargs}
    if len(args) > len(names) or limits.keys() - {*names}:
        return {}
    return {limit: value for limit, value in sorted(limits.items(), reverse=True) if value is not None}
