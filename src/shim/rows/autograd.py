"""torch.autograd: Functions of the old style, whose instances are called, and views of leaves."""

from __future__ import annotations

import functools
import sys
from typing import Any
from weakref import WeakKeyDictionary

from .division import by_torch
from .row import name, often


@name(
    "torch.autograd.function:Function.__call__",
    called="autograd.Function",
    works="<1.5",
    says=r"Legacy autograd function with non-static forward method is deprecated\.",
    example="""
import torch

class Scaled(torch.autograd.Function):
    def __init__(self, scale):
        self.scale = scale

    def forward(self, x, y):
        self.save_for_backward(x, y)
        positive = x > 0
        self.mark_non_differentiable(positive)
        return x * y * self.scale, x + y, positive

    def backward(self, by_product, by_sum, by_positive):
        x, y = self.saved_tensors
        print(self.needs_input_grad)
        return by_product * y * self.scale + by_sum, None

x = torch.tensor([1.0, -2.0], requires_grad=True)
product, total, positive = Scaled(3.0)(x, torch.tensor([4.0, 5.0]))
(product.sum() * 2 + total[0]).backward()
print(product.tolist(), total.tolist(), positive.tolist(), positive.requires_grad, x.grad.tolist())
""",
)
def call(self: Any, *tensors: Any) -> Any:
    """Up to 1.4, an instance of an autograd.Function was called, and forward and backward were its methods."""
    import torch

    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor):
            raise RuntimeError(f"expected a Variable argument, but got {type(tensor).__name__}")
    if not isinstance(self, _Called):
        self.__class__ = _called(type(self))
    results = _static().apply(self, *tensors)
    return results if self.__dict__.pop("_several") else results[0]


class _Called:
    """Added to the class of a Function when an instance is called. Each call then has a context, which holds its state.

    Up to 1.4 the instance held the state. A second call lost what the first had saved, and the backward of one of them
    raised an error. The context is held during the call only, to avoid a cycle.
    """

    __slots__ = ()

    def save_for_backward(self, *tensors: Any) -> None:
        self._of_the_call.save_for_backward(*tensors)

    def mark_dirty(self, *tensors: Any) -> None:
        self._of_the_call.mark_dirty(*tensors)

    def mark_non_differentiable(self, *tensors: Any) -> None:
        self._of_the_call.mark_non_differentiable(*tensors)

    @property
    def _of_the_call(self) -> Any:
        if "_context" not in self.__dict__:
            raise AttributeError("the state of a call exists only in the forward and backward of an autograd.Function")
        return self.__dict__["_context"]

    @property
    def saved_tensors(self) -> Any:
        return self._of_the_call.saved_tensors

    saved_variables = saved_tensors

    @property
    def needs_input_grad(self) -> Any:
        return self._of_the_call.needs_input_grad[1:]


_classes: WeakKeyDictionary[type, type] = WeakKeyDictionary()


def _called(cls: type) -> type:
    """Return the class of a called instance."""
    if cls not in _classes:
        named = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        _classes[cls] = type(cls)(cls.__name__, (_Called, cls), named)
    return _classes[cls]


@functools.lru_cache(maxsize=None)
def _static() -> Any:
    """Return the Function that runs those of the old style."""
    import torch

    class Legacy(torch.autograd.Function):
        """Runs the methods of an instance."""

        @staticmethod
        def forward(ctx: Any, instance: Any, *tensors: Any) -> Any:
            ctx.instance = instance
            results = _within(ctx, instance.forward, tensors)
            instance.__dict__["_several"] = isinstance(results, tuple)
            results = results if isinstance(results, tuple) else (results,)
            for place, result in enumerate(results):
                if not isinstance(result, torch.Tensor):
                    raise TypeError(
                        f"{type(instance).__name__}.forward: expected Variable (got {type(result).__name__}) "
                        f"for return value {place}"
                    )
            return results

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            # This call was not differentiated: neither its arguments nor its results had a history.
            found = _within(ctx, ctx.instance.backward, map(_without_history, gradients))
            return (None, *map(_without_history, found if isinstance(found, tuple) else (found,)))

    return Legacy


def _within(ctx: Any, method: Any, arguments: Any) -> Any:
    held = ctx.instance.__dict__
    before = held.get("_context")
    held["_context"] = ctx
    try:
        return method(*arguments)
    finally:
        held["_context"] = before
        if before is None:
            del held["_context"]


def _without_history(gradient: Any) -> Any:
    return gradient if gradient is None else gradient.detach()


_CHANGES = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "add_", "sub_", "mul_", "div_", "fill_",
            "zero_", "copy_", "normal_", "uniform_", "clamp_")  # fmt: skip


@often(
    *(f"torch:Tensor.{each}" for each in _CHANGES),
    called="views of leaves",
    works="<1.8",
    says=r"a view of a leaf Variable that requires grad is being used in an in-place operation",
    example="""
import torch
bias = torch.nn.Parameter(torch.zeros(6))
b = bias.view(2, -1)
b[:, 1] += 1.5
b[:, 2].fill_(2.0)
b[0, 0] = 4
b[1].mul_(2).sub_(torch.ones(3))
bias = torch.nn.Parameter(b.view(-1), requires_grad=True)
(bias * torch.arange(6.0)).sum().backward()
print(bias.tolist(), bias.grad.tolist(), bias.is_leaf)
""",
)
def of_a_leaf(original: Any) -> Any:
    """A view of a parameter could be changed in place up to 1.7, to initialize it; this row turns autograd off."""
    # https://github.com/pytorch/pytorch/blob/v1.8.1/torch/csrc/autograd/VariableTypeUtils.h#L58
    no_grad = sys.modules["torch"].no_grad

    def change(*args: Any, **kwargs: Any) -> Any:
        base = args[0]._base if args[0].requires_grad else None
        if (
            base is None
            or not base.is_leaf
            or any(_has_a_history(each, base) for each in (*args[1:], *kwargs.values()))
        ):
            return original(*args, **kwargs)
        with no_grad():
            return original(*args, **kwargs)

    return change


def _has_a_history(value: Any, base: Any) -> bool:
    """Tell whether a value requires a gradient, which would be lost, and is no view of the same leaf."""
    return bool(getattr(value, "requires_grad", False)) and value._base is not base


_PARTS = tuple(f"torch:{owner}{each}" for owner in ("Tensor.", "") for each in ("chunk", "split"))
_ON_A_VIEW_OF_SEVERAL = (
    r"Output \d+ of Split\w* is a view and is being modified in-?place\. "
    r"This view is (?:the|an) output of a function that returns multiple views",
    r"diff_view_meta->output_nr_ == 0 ?INTERNAL ASSERT FAILED",
)


@often(
    *_PARTS,
    called="in-place on a view of several",
    works=">=1.7,<1.9",
    versions=">=1.9",
    says=_ON_A_VIEW_OF_SEVERAL,
    example="""
import torch
x = torch.arange(4.0, requires_grad=True)
y = x * 1
first, second = y.chunk(2)
first.mul_(3)
first.sum().backward()
print(x.grad.tolist(), y.tolist(), second.tolist())
parts = torch.split(torch.ones(5, 2, requires_grad=True) * 2, (2, 3), dim=0)
print([tuple(part.shape) for part in parts], parts[1].requires_grad)
""",
)
def views_of_their_own(original: Any) -> Any:
    """Up to 1.8, results of chunk and split could be changed in place under autograd. Here they are separate."""
    # https://github.com/pytorch/pytorch/pull/58285
    torch: Any = sys.modules["torch"]

    def split(*args: Any, **kwargs: Any) -> Any:
        tensor: Any = args[0] if args else kwargs.get("input", kwargs.get("tensor"))
        if not getattr(tensor, "requires_grad", False) or not torch.is_grad_enabled() or by_torch():
            return original(*args, **kwargs)
        dim = kwargs.get("dim", args[2] if len(args) > 2 else 0)
        with torch.no_grad():
            sizes = [part.shape[dim] for part in original(*args, **kwargs)]
        starts = [sum(sizes[:place]) for place in range(len(sizes))]
        return tuple(tensor.narrow(dim, start, size) for start, size in zip(starts, sizes))

    return split


@often(
    *_PARTS,
    called="in-place on views of several",
    works="<1.7",
    versions=">=1.8",
)
def views_apart(original: Any) -> Any:
    """Up to 1.6, results of chunk and split could be changed in place, unseen by autograd in the whole tensor."""
    # torch itself went back to this for its own code: https://github.com/pytorch/pytorch/pull/46361
    torch: Any = sys.modules["torch"]

    def split(*args: Any, **kwargs: Any) -> Any:
        tensor: Any = args[0] if args else kwargs.get("input", kwargs.get("tensor"))
        if not getattr(tensor, "requires_grad", False) or not torch.is_grad_enabled() or by_torch():
            return original(*args, **kwargs)
        if original.__name__ == "chunk":
            return torch.unsafe_chunk(*args, **kwargs)
        by = args[1] if len(args) > 1 else kwargs.get("split_size_or_sections", kwargs.get("split_size"))
        dim = kwargs.get("dim", args[2] if len(args) > 2 else 0)
        return (torch.unsafe_split if isinstance(by, int) else torch.unsafe_split_with_sizes)(tensor, by, dim)

    return split
