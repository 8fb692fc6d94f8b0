"""What the forms of ADOPT share: checks, the clip, and the rule for a first step that does not count."""

from __future__ import annotations

import math
from array import array
from typing import Any, Iterable

import torch
from torch import Tensor

from . import _torch
from .form import Clip
from .memory import FREED, check_memory, reaches_beyond

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
    """Say whether this first step does not count: its gradient and its lr are zero.

    torch.distributed.checkpoint makes the state of a new optimizer by such a step. The state is made, and the step
    counter stays 0: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/distributed/checkpoint/state_dict.py#L629

    Returns:
        A tensor if `step` is one; None if lr is a number other than 0, with which every step counts.
    """
    if isinstance(step, Tensor):
        return (step == 0) & (lr == 0) & ~(grad != 0).any() if isinstance(lr, Tensor) or lr == 0 else None
    return bool(step == 0 and lr == 0 and not (grad != 0).any())


def _power(step: float, exponent: float) -> float:
    """Return the clip; inf if it overflows, NaN for a negative step, for which Python's own power would be complex."""
    try:
        return math.pow(step, exponent)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _real(grad: Tensor) -> Tensor:
    """Return a complex gradient as pairs of reals, after a lazy conjugation."""
    return torch.view_as_real(grad.resolve_conj() if hasattr(grad, "resolve_conj") else grad)


def _clip_of(clip_lambda: Clip, step: Any, lists: Iterable[Iterable[Tensor | None]]) -> Any:
    """Return the clip of a step. The function is the user's, and may free tensors that this step still writes."""
    clip = clip_lambda(float(step))
    _check_storages(lists)
    check_memory("what clip_lambda returned", clip)
    if isinstance(clip, (Tensor, int, float)):
        return clip
    try:
        return array("d", [clip])[0]  # a Decimal or a Fraction, for example, which torch does not take
    except TypeError:
        raise TypeError(f"clip_lambda must return a number, but got {clip!r}") from None


def _check_storages(lists: Iterable[Iterable[Tensor | None]]) -> None:
    """Raise if torch's own operations would crash the process, because a storage was freed.

    https://github.com/pytorch/pytorch/issues/171676
    """
    if any(any(map(reaches_beyond, tensors)) for tensors in lists):
        raise RuntimeError(f"A parameter, its gradient or its state {FREED}")


def _check_weight_decay(weight_decay: object) -> None:
    if weight_decay is None:
        raise TypeError(_NO_DECAY)


def _check_capturable(params: list[Tensor], state_steps: list[Tensor]) -> None:
    if not _torch.is_compiling() and any(p.device != step.device for p, step in zip(params, state_steps)):
        raise AssertionError("If capturable=True, params and state_steps must be on the same device.")


def _found_inf(found_inf: Tensor | None, capturable: bool) -> bool:
    """Say whether GradScaler found inf or NaN in the gradients. Then the step must not change anything."""
    if found_inf is None:
        return False
    if capturable:
        raise RuntimeError("found_inf cannot be read with capturable=True, let the GradScaler skip the step")
    return bool(found_inf.item())


def _to_scalar(x: float | Tensor) -> float | Tensor:
    return x.reshape(()) if isinstance(x, Tensor) else x
