"""Division of integer tensors, which truncated the result, and the dtype of torch.full."""

from __future__ import annotations

import functools
import sys
from numbers import Integral, Number
from typing import Any

from ..releases import release
from .messages import IN_THIS_LINE
from .row import advice, behaviour, often

#: Python files of new code, which expect the division of today.
_OF_TODAY = {"torch", "torchvision", "torchaudio"}
_OURS = __name__.partition(".")[0]

#: The functions of torch that run the nodes of a graph, which is the program's code: torch.compile calls them.
#: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/fx/interpreter.py#L377 and
#: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_dynamo/utils.py#L4231
_RUN_GRAPHS = {
    ("torch.fx.interpreter", "call_function"),
    ("torch.fx.interpreter", "call_method"),
    ("torch._dynamo.utils", "run_node"),
}


def by_torch() -> bool:
    """Tell whether torch itself calls the patched function that called this function's caller."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        of_today = _of_today(module)
        if of_today is not None:
            return of_today and (module, frame.f_code.co_name) not in _RUN_GRAPHS
        frame = frame.f_back
    return False


@functools.lru_cache(maxsize=None)
def _of_today(module: str) -> bool | None:
    """Tell whether a module is new code; None if it is part of shim."""
    package = module.partition(".")[0]
    return None if package == _OURS else package in _OF_TODAY


def _whole(value: Any) -> bool:
    kind = type(value)
    if kind is float or kind is int:  # the most frequent case; the checks below take longest for it
        return kind is int
    if isinstance(value, sys.modules["torch"].Tensor):
        dtype: Any = value.dtype
        return not (dtype.is_floating_point or dtype.is_complex)
    return isinstance(value, Integral)


def _truncated() -> Any:
    """Return the division that rounds towards zero: div with rounding_mode since 1.8, floor_divide before.

    Not torch.div and torch.floor_divide, which may be patched themselves.
    """
    torch: Any = sys.modules["torch"]
    functions = torch._C._VariableFunctions
    if release(torch.__version__).numbers < (1, 8, 0):
        return functions.floor_divide
    return functools.partial(functions.div, rounding_mode="trunc")


_NO_FLOAT = r"RuntimeError: result type Float can't be cast to the desired output type [A-Z]\w+"
_NO_INDICES = r"IndexError: tensors used as indices must be long, (?:int, )?byte or bool tensors"
_BY_DIVISION = rf"\[[^:]*?[\w)\]] ?/ ?[\w(]{IN_THIS_LINE}{_NO_INDICES}"


@often(
    "torch:div",
    "torch:Tensor.div",
    "torch:Tensor.div_",
    "torch:Tensor.__truediv__",
    "torch:Tensor.__itruediv__",
    works="<1.6",
    says=(
        r"Integer division of tensors using div or / is no longer supported",
        rf"(/=|\bdiv_\(){IN_THIS_LINE}{_NO_FLOAT}",
        _BY_DIVISION,
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
def division(original: Any) -> Any:
    """Division of integers by integers was truncated to an integer up to 1.5, and returns floats since 1.7."""
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/_torch_docs.py#L2016
    torch: Any = sys.modules["torch"]
    written = original.__name__
    name = {"__truediv__": "div", "__itruediv__": "div_", "__idiv__": "div_"}.get(written, written)
    rounds_already = release(torch.__version__).numbers < (1, 8, 0)  # floor_divide, towards zero

    def divide(*args: Any, **kwargs: Any) -> Any:
        for each in args:
            if not _whole(each):
                return original(*args, **kwargs)
        if not all(map(_whole, kwargs.values())) or by_torch():
            return original(*args, **kwargs)
        if rounds_already:
            function = getattr(torch if name == "div" else type(args[0]), f"floor_{name}".replace("_div", "_divide"))
            return function(*args, **kwargs)
        function = original if name == written else getattr(type(args[0]), name)
        return function(*args, **kwargs, rounding_mode="trunc")

    return divide


advice(
    "indices by division",
    "The / of integers gives floats since 1.5. Write torch.div(a, b, rounding_mode='trunc'), or run the program with "
    "--for 1.4.",
    rf"^(?!.*{_BY_DIVISION}).*{_NO_INDICES}",
    works="<1.5",
    only_if="the index was computed with / from integers",
)


@often(
    "torch:Tensor.__rtruediv__",
    "torch:Tensor.__rdiv__",
    called="torch.div of a number",
    works="<1.7",
    example="import torch\nprint((7 / torch.tensor([2, -2, 7])).tolist(), (1.5 / torch.tensor([1])).dtype)",
)
def number_by_tensor(original: Any) -> Any:
    """A number divided by an integer tensor was truncated to integers of its dtype up to 1.6."""
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/tensor.py#L402

    def divide(tensor: Any, number: Any) -> Any:
        if not _whole(tensor) or not isinstance(number, Number) or isinstance(number, complex) or by_torch():
            return original(tensor, number)
        return (tensor.double().reciprocal() * number).type_as(tensor)

    return divide


@often(
    "torch:floor_divide",
    "torch:Tensor.floor_divide",
    "torch:Tensor.floor_divide_",
    "torch:Tensor.__floordiv__",
    "torch:Tensor.__ifloordiv__",
    "torch:Tensor.__rfloordiv__",
    works="<1.13",
    example="""
import torch
x = torch.tensor([7, -7, 5])
print((x // 2).tolist(), (x // torch.tensor(-2)).tolist(), (x // torch.tensor([2, 2, 2])).dtype)
""",
)
def floor_divide(original: Any) -> Any:
    """The // of tensors rounded towards zero up to 1.12, and rounds down since."""
    # https://github.com/pytorch/pytorch/blob/v1.13.1/torch/_torch_docs.py#L4216
    torch: Any = sys.modules["torch"]
    name = original.__name__
    turned_around = name == "__rfloordiv__"
    in_place = name in ("floor_divide_", "__ifloordiv__")
    # Not torch.div and Tensor.div_, which may be patched themselves.
    div, div_ = torch._C._VariableFunctions.div, torch.Tensor.__base__.div_
    Tensor = torch.Tensor  # noqa: N806

    def divide(input: Any, other: Any, **kwargs: Any) -> Any:
        if by_torch():
            return original(input, other, **kwargs)
        if turned_around:
            input, other = other, input
        if in_place:
            # The row of views of leaves is one of Tensor.div_.
            return (torch.Tensor.div_ if input.requires_grad else div_)(input, other, rounding_mode="trunc")
        if not isinstance(input, (Tensor, int, float)):
            input = torch.tensor(input, device=other.device)
        return div(input, other, rounding_mode="trunc", **kwargs)

    return divide


@often(
    "torch:Tensor.__rfloordiv__",
    called="// of a number",
    works="<1.7",
    example="import torch\nprint((-7 // torch.tensor([2, -2])).tolist(), (7.5 // torch.tensor([2])).tolist())",
)
def number_by_tensor_cut_off(original: Any) -> Any:
    """The // of a number by an integer tensor returned integers of its dtype up to 1.6."""
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/tensor.py#L428
    return number_by_tensor(original)


@often(
    "torch:Tensor.__ifloordiv__",
    called="//= of tensors",
    works="<1.5",
    example="""
import torch
x = first = torch.tensor([7, 5])
x //= 2
print(x.tolist(), first.tolist())
""",
)
def floor_divide_into_another(original: Any) -> Any:
    """The //= of a tensor made a new tensor up to 1.4, which could be float, and changes the tensor in place since."""
    # There was no __ifloordiv__, only this: https://github.com/pytorch/pytorch/blob/v1.4.0/torch/tensor.py#L420
    truncated = _truncated()

    def divide(tensor: Any, other: Any) -> Any:
        return original(tensor, other) if by_torch() else truncated(tensor, other)

    return divide


_POWERS = ("torch:pow", "torch:Tensor.pow", "torch:Tensor.pow_", "torch:Tensor.__pow__")


@often(
    *_POWERS,
    works="<1.6",
    example="import torch\nx = torch.tensor([4, 7])\nprint((x**0.5).tolist(), x.pow(1.5).tolist(), x.pow_(0.5).dtype)",
)
def power(original: Any) -> Any:
    """Integers to the power of a float were truncated to integers of their dtype up to 1.5."""
    # https://github.com/pytorch/pytorch/pull/37098
    Tensor = sys.modules["torch"].Tensor  # noqa: N806
    in_place = original.__name__ == "pow_"

    def power(input: Any, exponent: Any, **kwargs: Any) -> Any:
        cut_off = type(exponent) is float and isinstance(input, Tensor) and _whole(input)
        if not cut_off or kwargs or by_torch():
            return original(input, exponent, **kwargs)
        if exponent.is_integer() and exponent >= 0:
            return original(input, int(exponent))
        found = (input.double() ** exponent).long().to(input.dtype)
        return input.copy_(found) if in_place else found

    return power


@often(
    "torch:Tensor.__rpow__",
    called="torch.pow of a number",
    works="<1.6",
    example="import torch\nprint((2.5 ** torch.tensor([2, 3])).tolist())",
)
def power_of_a_number(original: Any) -> Any:
    """A float to the power of an integer tensor was itself truncated to an integer first, up to 1.5."""
    # https://github.com/pytorch/pytorch/blob/v1.5.1/torch/tensor.py#L426

    def power(tensor: Any, number: Any) -> Any:
        cut_off = type(number) is float and _whole(tensor) and not by_torch()
        return original(tensor, int(number) if cut_off else number)

    return power


@often(
    *("torch:remainder", "torch:Tensor.remainder", "torch:Tensor.remainder_", "torch:Tensor.__mod__"),
    *("torch:fmod", "torch:Tensor.fmod", "torch:Tensor.fmod_", "torch:Tensor.__imod__"),
    works="<1.8",
    says=rf"(%=|\b(fmod|remainder)_\(){IN_THIS_LINE}{_NO_FLOAT}",
    example="""
import torch
x = torch.tensor([7, -7, 5])
print((x % 2.5).tolist(), torch.fmod(x, 2.5).tolist(), x.remainder(-2.5).dtype, (x.float() % 2.5).tolist())
x %= 2.5
print(x.tolist(), x.fmod_(1.5).tolist())
""",
)
def remainder(original: Any) -> Any:
    """The remainder of integers by a float truncated the float to an integer up to 1.7, and is a float since 1.8."""
    # https://github.com/pytorch/pytorch/issues/47779

    def remainder(input: Any, other: Any, **kwargs: Any) -> Any:
        cut_off = type(other) is float and _whole(input) and not by_torch()
        return original(input, int(other) if cut_off else other, **kwargs)

    return remainder


@often(
    "torch:addcdiv",
    "torch:Tensor.addcdiv",
    "torch:Tensor.addcdiv_",
    works="<1.6",
    says=r"Integer division with addcdiv is no longer supported",
    example="""
import torch
x, y = torch.tensor([7, -7, 5]), torch.tensor([2, 2, 2])
print(torch.addcdiv(x, x, y).tolist(), torch.addcdiv(x, 3, x, y).tolist(), x.addcdiv(x, y, value=3).tolist())
print(x.clone().addcdiv_(2, x, y).tolist(), torch.addcdiv(x.float(), x.float(), y.float()).tolist())
""",
)
def addcdiv(original: Any) -> Any:
    """torch.addcdiv of integer tensors truncated the quotient up to 1.5, and raises an error since."""
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/_torch_docs.py#L303
    truncated = _truncated()
    in_place = original.__name__ == "addcdiv_"

    def addcdiv(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not _whole(input):
            return original(input, *args, **kwargs)
        *value, one, other = args if len(args) > 1 else (input, 0.0)
        if not (_whole(one) and _whole(other)) or kwargs.keys() - {"value"} or by_torch():
            return original(input, *args, **kwargs)
        value = value[0] if value else kwargs.get("value", 1)
        found = truncated(one * value, other)
        return input.add_(found) if in_place else input + found

    return addcdiv


@behaviour(
    "torch:full",
    works="<1.6",
    says=r"Providing a bool or integral fill value without setting the optional `dtype` or `out` arguments",
    example="import torch\nprint(torch.full((2,), 1).tolist(), torch.full((1,), True).dtype)",
)
def full(original: Any, size: Any, fill_value: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.full of an integer or a bool returned floats up to 1.5, and the dtype of the value since 1.7."""
    # https://github.com/pytorch/pytorch/pull/40364
    says_nothing = not args and "out" not in kwargs and kwargs.get("dtype") is None
    if isinstance(fill_value, int) and says_nothing and not by_torch():
        kwargs["dtype"] = sys.modules["torch"].get_default_dtype()
    return original(size, fill_value, *args, **kwargs)
