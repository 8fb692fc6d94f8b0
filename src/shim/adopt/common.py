"""Hold what the forms of ADOPT share: their checks, the clip, and the rule for a first step that measures nothing."""

from __future__ import annotations

import math
from typing import Any, Callable, Iterable

import torch
from torch import Tensor

from . import _torch
from .memory import reaches_beyond

Clip = Callable[[float], float]
_NO_LAMBDA_ON_GPU = (
    "clip_lambda needs the step as a number, which the fused form keeps on the GPU: use clip_exp, or fused=False"
)
_NO_TENSOR_LR = "lr as a Tensor is not supported for capturable=False and foreach=True"
_NO_DECAY = (
    "weight_decay=None is not a number, and ADOPT does not guess what it means: write weight_decay=0.0 for "
    "no weight decay, or activate shim (`shim.activate()`, `import preimport` or `python -m shim run`), "
    "which turns None into 0.0"
)


def _waits(step: Any, lr: float | Tensor, grad: Tensor) -> Any:
    """Say whether this first step measures nothing, with a tensor where `step` is one, None where none can.

    That is how torch.distributed.checkpoint makes the state of a fresh optimizer: with gradients of zero and an lr of
    zero. The state is made, and the first step is still to come.
    """
    if isinstance(step, Tensor):
        return (step == 0) & (lr == 0) & ~(grad != 0).any() if isinstance(lr, Tensor) or lr == 0 else None
    return bool(step == 0 and lr == 0 and not (grad != 0).any())


def _power(step: float, exponent: float) -> float:
    """Return the clip; NaN for a step that there cannot be, where Python's own power would be complex."""
    try:
        return math.pow(step, exponent)
    except ValueError:
        return math.nan


def _real(grad: Tensor) -> Tensor:
    """Return a complex gradient as pairs of reals; it may still have to be conjugated."""
    return torch.view_as_real(grad.resolve_conj() if hasattr(grad, "resolve_conj") else grad)


def _check_storages(lists: Iterable[Iterable[Tensor | None]]) -> None:
    """Raise where torch's own operations would end the process, which its fused Adam says, too."""
    if any(any(map(reaches_beyond, tensors)) for tensors in lists):
        raise RuntimeError(
            "A parameter, its gradient or its state has less memory than its sizes say: its storage was freed"
        )


def _check_weight_decay(weight_decay: object) -> None:
    if weight_decay is None:
        raise TypeError(_NO_DECAY)


def _check_capturable(params: list[Tensor], state_steps: list[Tensor]) -> None:
    if not _torch.is_compiling() and any(p.device != step.device for p, step in zip(params, state_steps)):
        raise AssertionError("If capturable=True, params and state_steps must be on the same device.")


def _found_inf(found_inf: Tensor | None, capturable: bool) -> bool:
    """Say whether GradScaler found inf or NaN among the gradients: then nothing at all may change."""
    if found_inf is None:
        return False
    if capturable:
        raise RuntimeError("found_inf cannot be read with capturable=True, let the GradScaler skip the step")
    return bool(found_inf.item())


def _to_scalar(x: float | Tensor) -> float | Tensor:
    return x.reshape(()) if isinstance(x, Tensor) else x
