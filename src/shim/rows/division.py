"""Division of integer tensors, which was rounded towards zero, and the dtype of torch.full."""

from __future__ import annotations

import sys
from numbers import Integral, Number
from typing import Any

from ..releases import release
from .row import behaviour
from .tensor import _IN_THIS_LINE

#: Python files of new code, which expect the division of today.
_OF_TODAY = {"torch", "torchvision", "torchaudio"}


def _by_torch() -> bool:
    """Tell whether torch itself calls the patched function that called this function's caller."""
    frame: Any = sys._getframe(2)
    ours = __name__.rpartition(".rows.")[0]
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(f"{ours}."):
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _OF_TODAY


def _whole(value: Any) -> bool:
    if isinstance(value, sys.modules["torch"].Tensor):
        tensor: Any = value
        return not (tensor.is_floating_point() or tensor.is_complex())
    return isinstance(value, Integral)


@behaviour(
    "torch:div",
    "torch:Tensor.div",
    "torch:Tensor.div_",
    "torch:Tensor.__truediv__",
    "torch:Tensor.__itruediv__",
    works="<1.6",
    says=(
        rf"(/=|\bdiv_\(){_IN_THIS_LINE}"
        r"RuntimeError: result type Float can't be cast to the desired output type [A-Z]\w+",
        rf"\[[^\]]*\w ?/ ?\w{_IN_THIS_LINE}"
        r"IndexError: tensors used as indices must be long, (int, )?byte or bool tensors",
    ),
    example="""
import torch
x = torch.tensor([7, -7, 5])
x /= 2
print(x.tolist(), x.dtype, (x / 2).tolist(), (torch.tensor(7) / 2).item(), (x / 2.0).tolist())
print(x.div(torch.tensor([2, 2, 1])).tolist(), torch.div(x, 2).dtype, x.float().div(2).tolist())
print(torch.arange(5)[x.div_(2)].tolist(), (torch.tensor([7], dtype=torch.uint8) / 2).dtype)
""",
)
def division(original: Any, *args: Any, **kwargs: Any) -> Any:
    """Division of integers by integers was cut off to an integer up to 1.5, and gives floats since 1.7."""
    if not all(map(_whole, (*args, *kwargs.values()))) or _by_torch():
        return original(*args, **kwargs)
    name = {"__truediv__": "div", "__itruediv__": "div_", "__idiv__": "div_"}.get(original.__name__, original.__name__)
    if name != original.__name__:
        original = getattr(type(args[0]), name)
    torch = sys.modules["torch"]
    if release(torch.__version__).numbers < (1, 8, 0):
        original = getattr(torch if name == "div" else type(args[0]), f"floor_{name}".replace("_div", "_divide"))
        return original(*args, **kwargs)  # which rounded towards zero, too, at that time
    return original(*args, **kwargs, rounding_mode="trunc")


@behaviour(
    "torch:Tensor.__rtruediv__",
    "torch:Tensor.__rdiv__",
    called="torch.div of a number",
    works="<1.5",
)
def number_by_tensor(original: Any, tensor: Any, number: Any) -> Any:
    """A number divided by a tensor of integers was cut off to integers of its type up to 1.4."""
    if not _whole(tensor) or not isinstance(number, Number) or isinstance(number, complex) or _by_torch():
        return original(tensor, number)
    return (tensor.double().reciprocal() * number).type_as(tensor)


@behaviour(
    "torch:floor_divide",
    "torch:Tensor.floor_divide",
    "torch:Tensor.floor_divide_",
    "torch:Tensor.__floordiv__",
    "torch:Tensor.__ifloordiv__",
    "torch:Tensor.__rfloordiv__",
    works="<1.13",
)
def floor_divide(original: Any, input: Any, other: Any, **kwargs: Any) -> Any:
    """The // of tensors was cut off towards zero up to 1.12, and goes to the next lower integer since."""
    if _by_torch():
        return original(input, other, **kwargs)
    import torch

    name = original.__name__
    if name == "__rfloordiv__":
        input, other = other, input
    if not isinstance(input, torch.Tensor):
        input = torch.tensor(input, device=other.device)
    if name in ("floor_divide_", "__ifloordiv__"):
        return input.div_(other, rounding_mode="trunc")
    return torch.div(input, other, rounding_mode="trunc", **kwargs)


@behaviour(
    "torch:full",
    works="<1.6",
    says=r"Providing a bool or integral fill value without setting the optional `dtype` or `out` arguments",
)
def full(original: Any, size: Any, fill_value: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.full of an integer or a bool gave floats up to 1.5, and what the value is since 1.7."""
    says_nothing = not args and "out" not in kwargs and kwargs.get("dtype") is None
    if isinstance(fill_value, int) and says_nothing and not _by_torch():
        kwargs["dtype"] = sys.modules["torch"].get_default_dtype()
    return original(size, fill_value, *args, **kwargs)
