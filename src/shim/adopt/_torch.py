"""Functions that only some releases of torch have. Private ones are never imported, only looked up."""

from __future__ import annotations

import functools
import math
from operator import or_
from typing import Any, Callable, Iterable, List, Tuple, TypeVar, Union

import torch
from torch import Tensor
from torch.optim import optimizer as torch_optimizer

from .memory import PLAIN

F = TypeVar("F", bound=Callable[..., Any])
Tensors = Union[List[Tensor], Tuple[Tensor, ...]]

# The operations that the foreach form needs. All of them are new in torch 1.8.
HAS_FOREACH = all(
    hasattr(torch, "_foreach_" + op)
    for op in ("add", "add_", "addcmul_", "mul", "mul_", "neg_", "reciprocal_", "sqrt", "sub_")
)


def _never() -> bool:
    return False


# torch.compile replaces a call of this function by True, because it knows the function object:
# https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_dynamo/variables/torch.py#L298
is_compiling: Callable[[], bool] = getattr(getattr(torch, "compiler", None), "is_compiling", _never)


_forward_ad = getattr(torch.autograd, "forward_ad", None)
_in_inference_mode: Callable[[], bool] = getattr(torch, "is_inference_mode_enabled", _never)
_dispatch_modes: Callable[[], int] = getattr(torch._C, "_len_torch_dispatch_stack", _never)


def _redirections() -> Callable[[], int]:
    """Return a function that tells whether this thread's operations are traced, or transformed as by vmap.

    The keys: https://github.com/pytorch/pytorch/blob/v2.13.0/c10/core/DispatchKey.h#L240
    """
    names = ("FuncTorchDynamicLayerFrontMode", "Functionalize", "Tracer", "PreDispatch")
    parse: Any = getattr(torch._C, "_dispatch_key_parse", str)  # a call with the name would parse it each time
    included: Any = getattr(torch._C, "_dispatch_tls_is_dispatch_key_included", None)
    found = []
    for name in names:
        try:
            key = parse(name)
            included(key)
        except (TypeError, RuntimeError):  # this torch has no such function, or no such key
            continue
        found.append(key)
    if not found:
        return _never
    try:  # the set as a number, which torch 2.10 returns
        every: Any = torch._C._dispatch_tls_local_include_set
        bits = functools.reduce(or_, (torch._C.DispatchKeySet(key).raw_repr() for key in found))
        every().raw_repr()
    except (AttributeError, TypeError):
        return lambda: any(map(included, found))
    return lambda: every().raw_repr() & bits


_is_redirected = _redirections()


def in_dual_level() -> bool:
    """Say whether forward-mode AD is on, so that tensors may have a tangent, which operations would update."""
    return getattr(_forward_ad, "_current_level", -1) >= 0


def is_plain_eager() -> bool:
    """Say whether memory may be written without torch's operations: nothing records, compiles or fakes them."""
    return not (
        is_compiling()
        or torch.is_grad_enabled()
        or _in_inference_mode()
        or _dispatch_modes()
        or in_dual_level()
        or _is_redirected()
    )


def _without_change(tensor: Tensor) -> None:
    tensor.transpose_(0, 0)  # counts as an in-place operation


def _version_counter() -> Callable[[Iterable[Tensor]], None]:
    """Return a function that tells autograd that the memory of tensors was written.

    torch has one since 2.1, which takes a single tensor there, and many tensors in later releases:
    https://github.com/pytorch/pytorch/blob/v2.1.2/torch/autograd/graph.py#L136 and
    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/autograd/graph.py#L245
    """
    count: Any = getattr(getattr(torch.autograd, "graph", None), "increment_version", _without_change)

    def count_each(tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            count(tensor)

    try:
        count(iter([torch.zeros(())]))
    except (AttributeError, TypeError, RuntimeError):  # depends on the release
        return count_each
    return count  # type: ignore[no-any-return]


increment_version = _version_counter()


def _no_grad_unless_differentiable(func: F) -> F:
    @functools.wraps(func)
    def step(self: torch_optimizer.Optimizer, *args: object, **kwargs: object) -> object:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return func(self, *args, **kwargs)

    return step  # type: ignore[return-value]  # the same signature, by construction


# torch's own decorator also tells torch.compile where to break its graphs:
# https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L59
use_grad_for_differentiable: Callable[[F], F] = getattr(
    torch_optimizer, "_use_grad_for_differentiable", _no_grad_unless_differentiable
)


def _no_check(optimizer: torch_optimizer.Optimizer) -> None:
    pass


# Raises if a CUDA graph captures an optimizer that is not capturable. The newer name is looked up first, because the
# older one warns if both exist: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L491
graph_capture_health_check: Callable[[Any], None] = getattr(
    torch_optimizer.Optimizer,
    "_accelerator_graph_capture_health_check",
    getattr(torch_optimizer.Optimizer, "_cuda_graph_capture_health_check", _no_check),
)


def _foreach_broadcasts() -> bool:
    """Say whether list operations take 0-d tensors, which the capturable foreach form needs (torch 1.13)."""
    try:
        torch._foreach_maximum_([torch.zeros(2)], [torch.zeros(())])
        torch._foreach_mul_([torch.zeros(2)], [torch.zeros(())])
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


FOREACH_BROADCASTS = _foreach_broadcasts()


def foreach_by_default(params: Iterable[Tensor], capturable: bool) -> bool:
    """Say whether torch's optimizers would choose the foreach form here: all parameters plain, all on a GPU.

    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L161
    """
    if not HAS_FOREACH or (capturable and not FOREACH_BROADCASTS):
        return False
    utils = getattr(torch.utils, "_foreach_utils", None)
    devices = getattr(utils, "_get_foreach_kernels_supported_devices", lambda: ["cuda"])()
    return all(type(p) in PLAIN and p.device.type in devices for p in params)


def foreach_clamp_min_(tensors: Tensors, low: float) -> None:
    """Raise every element to at least `low`, in place; NaN stays NaN."""
    if hasattr(torch, "_foreach_clamp_min_"):
        torch._foreach_clamp_min_(tensors, low)
    else:
        for tensor in tensors:
            tensor.clamp_(min=low)


def _is_nan(clip: Any) -> bool:
    return isinstance(clip, float) and math.isnan(clip)


def _in_dtype(clip: Any, dtype: torch.dtype) -> Any:
    """Return the clip; infinity for a number that the dtype cannot hold, for which torch raises an error.

    https://github.com/pytorch/pytorch/blob/v2.13.0/c10/util/TypeCast.h#L194
    """
    if not isinstance(clip, (int, float)):
        return clip
    largest = torch.finfo(dtype).max
    return math.inf if clip > largest else -math.inf if clip < -largest else clip


def clamp(tensor: Tensor, clip: Any) -> Tensor:
    """Confine every element to [-clip, clip]. A clip of NaN makes all elements NaN, also where torch ignores it.

    https://github.com/pytorch/pytorch/issues/76795
    """
    clip = _in_dtype(clip, tensor.dtype)
    return tensor * clip if _is_nan(clip) else tensor.clamp(-clip, clip)


def foreach_clamp_(tensors: Tensors, clip: Any) -> None:
    """Do the same as :func:`clamp` for many tensors of one dtype, in place."""
    clip = _in_dtype(clip, tensors[0].dtype)
    if _is_nan(clip):
        torch._foreach_mul_(tensors, clip)
    # It takes no tensor for a number: https://github.com/pytorch/pytorch/issues/106931
    elif isinstance(clip, (int, float)) and hasattr(torch, "_foreach_clamp_min_"):
        torch._foreach_clamp_min_(tensors, -clip)
        torch._foreach_clamp_max_(tensors, clip)
    else:
        for tensor in tensors:
            tensor.clamp_(-clip, clip)
