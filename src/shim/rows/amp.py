"""torch.amp, whose names take a device, on a torch that has mixed precision for CUDA only, or for CUDA and the CPU.

torch.amp exists since 1.10, with GradScaler since 2.3 and custom_fwd since 2.4.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ContextDecorator, nullcontext
from typing import Any, Callable

from .row import argument, made, module, name


@module(
    "torch.amp",
    works=">=2.4",
    versions=">=1.6",
    says=(
        r"module 'torch' has no attribute 'amp'",
        r"No module named 'torch\.amp'",
        r"module 'torch\.amp' has no attribute '\w+'",
        r"cannot import name '(GradScaler|autocast|custom_\wwd|is_autocast_available)' from 'torch\.amp'",
    ),
    example="""
import torch
from torch import nn
layer, scaler = nn.Linear(2, 1), torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
nn.init.constant_(layer.weight, 0.5)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
for factor in (1.0, float("inf"), 1.0, 1.0):
    optimizer.zero_grad()
    scaler.scale(layer(torch.ones(3, 2)).mean() * factor).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    print(layer.weight.tolist(), scaler.get_scale())
print(sorted(scaler.state_dict()), torch.amp.is_autocast_available("cuda"))

class Twice(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, x):
        return 2 * x
    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, grad):
        return 2 * grad

x = torch.ones(2, requires_grad=True)
Twice.apply(x).sum().backward()
print(x.grad.tolist())
""",
)
def amp() -> dict[str, Any]:
    """torch.amp takes the device as an argument; older releases have torch.cuda.amp."""
    return {
        "GradScaler": _grad_scaler(),
        "autocast": _autocast(),
        "custom_bwd": custom_bwd,
        "custom_fwd": custom_fwd,
        "is_autocast_available": is_autocast_available,
    }


@made(
    "torch:autocast",
    works=">=1.10",
    says=(r"module 'torch' has no attribute 'autocast'", r"cannot import name 'autocast' from 'torch'"),
    example="""
import torch
with torch.autocast("cpu", enabled=False):
    print(torch.ones(1, 1).mm(torch.ones(1, 1)).dtype)

@torch.autocast(device_type="cuda", enabled=False)
def double(x):
    return 2 * x

print(double(3))
import pickle
print(pickle.loads(pickle.dumps(torch.autocast)) is torch.autocast)
""",
)
def autocast(torch: Any) -> Any:
    """torch.autocast came with 1.10; older releases have torch.cuda.amp.autocast, and none for the CPU."""
    return _autocast()


@argument(
    "torch:is_autocast_enabled",
    works=">=2.4",
    versions=">=1.6",
    says=r"is_autocast_enabled\(\) takes no arguments \(1 given\)",
    example="""
import torch
print(torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"), torch.is_autocast_enabled())
""",
)
def is_autocast_enabled(original: Any, device_type: Any = None) -> bool:
    """is_autocast_enabled takes a device since 2.4."""
    return bool(original()) if device_type is None else _is_enabled(device_type, original)


@name(
    "torch:get_autocast_dtype",
    works=">=2.4",
    says=r"module 'torch' has no attribute 'get_autocast_dtype'",
    example="import torch\nprint(torch.get_autocast_dtype('cpu'), torch.get_autocast_dtype('cuda'))",
)
def get_autocast_dtype(device_type: str) -> Any:
    """get_autocast_dtype came with 2.4; older releases have a function for each device."""
    import torch

    kind = torch.device(device_type).type
    older = {
        "cuda": ("get_autocast_gpu_dtype", torch.float16),
        "cpu": ("get_autocast_cpu_dtype", torch.bfloat16),
    }.get(kind)
    if older is None:
        raise RuntimeError(f"unknown device type for autocast in get_autocast_dispatch_key_from_device_type: {kind}")
    return getattr(torch, older[0], lambda: older[1])()


def is_autocast_available(device_type: str) -> bool:
    """Tell whether there is an autocast for the device."""
    import torch

    kind = torch.device(device_type).type
    return (kind == "cuda" and _has_autocast()) or (kind == "cpu" and hasattr(torch, "autocast"))


def _has_autocast() -> bool:
    """Tell whether there is an autocast for CUDA: 1.5 has torch.cuda.amp without it."""
    # https://github.com/pytorch/pytorch/blob/v1.5.0/torch/cuda/amp/__init__.py#L1
    import torch

    return hasattr(getattr(torch.cuda, "amp", None), "autocast")


def _is_enabled(device_type: str, of_cuda: Callable[[], bool] | None = None) -> bool:
    import torch

    kind = torch.device(device_type).type  # raises an error if the word is not a device
    of_cuda = of_cuda or getattr(torch, "is_autocast_enabled", None)
    older: Any = {"cuda": of_cuda, "cpu": getattr(torch, "is_autocast_cpu_enabled", None)}.get(kind)
    return bool(older()) if older is not None else False


@functools.lru_cache(maxsize=None)
def _autocast() -> Any:
    """Return torch's own autocast that names the device, or one for a torch that has none."""
    import torch

    own: Any = getattr(torch, "autocast", None)
    if own is not None:
        return own

    class Autocast(ContextDecorator):
        def __init__(
            self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: Any = None
        ) -> None:
            self._context: Any = nullcontext()
            if device_type == "cuda" and _has_autocast():
                if enabled and dtype not in (None, torch.float16):
                    raise RuntimeError(f"autocast of torch {torch.__version__} computes in float16, not in {dtype}")
                self._context = torch.cuda.amp.autocast(enabled)
            elif enabled:
                raise RuntimeError(f"torch {torch.__version__} has no autocast for {device_type!r}")

        def __enter__(self) -> Any:
            self._context.__enter__()
            return self

        def __exit__(self, *error: Any) -> Any:
            return self._context.__exit__(*error)

    Autocast.__name__ = Autocast.__qualname__ = "autocast"
    Autocast.__module__ = "torch"  # where pickle finds it
    return Autocast


@functools.lru_cache(maxsize=None)
def _grad_scaler() -> Any:
    """Derive the class from that for CUDA. What that refuses, or does in CUDA kernels, is done here in Python."""
    import torch
    import torch.cuda.amp.grad_scaler

    older: Any = torch.cuda.amp.grad_scaler

    class GradScaler(older.GradScaler):  # type: ignore[misc]
        _growth_tracker: Any
        _per_optimizer_states: Any
        _scale: Any

        def __init__(
            self,
            device: str = "cuda",
            init_scale: float = 2.0**16,
            growth_factor: float = 2.0,
            backoff_factor: float = 0.5,
            growth_interval: int = 2000,
            enabled: bool = True,
        ) -> None:
            self._device = device
            self._on_cuda = device == "cuda"
            super().__init__(init_scale, growth_factor, backoff_factor, growth_interval, enabled and self._on_cuda)
            if enabled and not self._on_cuda:
                if growth_factor <= 1.0:
                    raise AssertionError("The growth factor must be > 1.0.")
                if backoff_factor >= 1.0:
                    raise AssertionError("The backoff factor must be < 1.0.")
                self._enabled = True
                self._init_scale = init_scale
                self._growth_factor = growth_factor
                self._backoff_factor = backoff_factor
                self._growth_interval = growth_interval
                self._scale = self._growth_tracker = None
                self._init_growth_tracker = 0
                self._per_optimizer_states = defaultdict(older._refresh_per_optimizer_state)

        def _lazy_init_scale_growth_tracker(self, dev: Any) -> None:
            super()._lazy_init_scale_growth_tracker(dev)
            # A scaled loss keeps its shape, and the CUDA kernels need one element here:
            # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/cuda/amp/grad_scaler.py#L138
            if not self._on_cuda:
                self._scale, self._growth_tracker = self._scale.reshape(()), self._growth_tracker.reshape(())

        def scale(self, outputs: Any) -> Any:
            if self._on_cuda or not self._enabled:
                return super().scale(outputs)
            if isinstance(outputs, torch.Tensor):
                if self._scale is None:
                    self._lazy_init_scale_growth_tracker(outputs.device)
                return outputs * self._scale.to(outputs.device)
            if isinstance(outputs, Iterable):
                scaled = map(self.scale, outputs)
                return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
            raise ValueError("outputs must be a Tensor or an iterable of Tensors")

        def _unscale_grads_(self, optimizer: Any, inv_scale: Any, found_inf: Any, allow_fp16: bool) -> Any:
            if self._on_cuda:
                return super()._unscale_grads_(optimizer, inv_scale, found_inf, allow_fp16)
            with torch.no_grad():
                for param in (param for group in optimizer.param_groups for param in group["params"]):
                    if param.grad is None:
                        continue
                    if not allow_fp16 and param.grad.dtype == torch.float16:
                        raise ValueError("Attempting to unscale FP16 gradients.")
                    grad = param.grad._values() if param.grad.is_sparse else param.grad
                    if not torch.isfinite(grad).all():
                        found_inf.fill_(1.0)
                    grad.mul_(inv_scale.to(grad.device, grad.dtype))
            return {found_inf.device: found_inf}

        def update(self, new_scale: Any = None) -> None:
            if self._on_cuda or not self._enabled:
                super().update(new_scale)
                return
            # In 1.6 it returns nothing:
            # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/cuda/amp/grad_scaler.py#L131
            self._check_scale_growth_tracker("update")
            scale, tracker = self._scale, self._growth_tracker
            if new_scale is not None:
                scale.copy_(torch.as_tensor(new_scale, dtype=torch.float32).reshape(scale.shape))
            else:
                states = self._per_optimizer_states.values()
                found = [float(each) for state in states for each in state["found_inf_per_device"].values()]
                if not found:
                    raise AssertionError("No inf checks were recorded prior to update.")
                if any(found):
                    scale.mul_(self._backoff_factor)
                    tracker.zero_()
                elif int(tracker) + 1 < self._growth_interval:
                    tracker.add_(1)
                else:
                    grown = scale * self._growth_factor
                    if torch.isfinite(grown).all():
                        scale.copy_(grown)
                    tracker.zero_()
            self._per_optimizer_states = defaultdict(older._refresh_per_optimizer_state)

    GradScaler.__module__, GradScaler.__qualname__ = "torch.amp", "GradScaler"
    return GradScaler


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: Any = None) -> Any:
    """Decorate the forward of an autograd Function: it computes as autocast says, or without it in ``cast_inputs``."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorate_fwd(*args: Any, **kwargs: Any) -> Any:
        ctx, enabled = args[0], _is_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = enabled and cast_inputs is None
        if cast_inputs is None or not enabled:
            return fwd(*args, **kwargs)
        with _autocast()(device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return decorate_fwd


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """Decorate the backward of an autograd Function: it computes under the autocast that its forward had."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorate_bwd(*args: Any, **kwargs: Any) -> Any:
        ctx = args[0]
        with _autocast()(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(*args, **kwargs)

    return decorate_bwd


def _cast(value: Any, device_type: str, dtype: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        eligible = value.is_floating_point() and value.device.type == device_type and value.dtype != torch.float64
        return value.to(dtype) if eligible else value
    if isinstance(value, (str, bytes)) or type(value).__module__ == "numpy" or not isinstance(value, Iterable):
        return value
    if isinstance(value, Mapping):
        return {_cast(key, device_type, dtype): _cast(each, device_type, dtype) for key, each in value.items()}
    cast = (_cast(each, device_type, dtype) for each in value)
    return type(value)(cast) if isinstance(value, (list, tuple)) else cast
