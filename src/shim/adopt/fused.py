"""Step with the native kernel on the CPU and with Triton's on a GPU, and in blocks where neither can."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor

from . import blocked, native
from .common import _NO_LAMBDA_ON_GPU, Clip, _check_storages, _check_weight_decay, _found_inf, _real
from .low_precision import is_widened
from .memory import at, begin_together
from .single import _single_tensor_adopt


def _fused_adopt(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
    *,
    has_complex: bool,
    compensations: list[Tensor | None] | None = None,
    beta1: float,
    beta2: float,
    lr: float | Tensor,
    clip_exp: float | None = None,
    clip_lambda: Clip | None,
    weight_decay: float,
    decouple: bool,
    eps: float,
    maximize: bool,
    capturable: bool,
    differentiable: bool,
) -> None:
    if differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    _check_weight_decay(weight_decay)
    in_order: Callable[..., None] = _single_tensor_adopt
    lists: Any = [params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations or [None] * len(params)]
    options: dict[str, Any] = {
        "beta1": beta1,
        "beta2": beta2,
        "lr": lr,
        "clip_exp": clip_exp,
        "weight_decay": weight_decay,
        "decouple": decouple,
        "eps": eps,
        "maximize": maximize,
    }
    if has_complex:
        lists = _as_reals(lists)
    if any(p.is_cuda for p in params):
        if clip_lambda is not None:
            raise RuntimeError(_NO_LAMBDA_ON_GPU)
        from . import cuda  # which imports Triton, where it is there

        on_gpu = [i for i, p in enumerate(params) if p.is_cuda]
        cuda.fused_step_(*at(on_gpu, lists), grad_scale=grad_scale, found_inf=found_inf, **options)
        lists = at([i for i, p in enumerate(params) if not p.is_cuda], lists)
    if not lists[0] or _found_inf(found_inf, capturable=False):
        return
    if any(c is None and is_widened(p, m) for p, m, c in zip(lists[0], lists[2], lists[5])):
        # Rounded stochastically: the position in the lists is what makes a parameter's random numbers its own.
        _check_storages(lists)
        options.update(clip_lambda=clip_lambda, has_complex=False, capturable=False, differentiable=False)
        in_order(*lists[:5], grad_scale, None, compensations=lists[5], **options)
        return
    others = native.step_(*lists, grad_scale=grad_scale, clip_lambda=clip_lambda, **options)
    if others:
        lists = at(others, lists)
        _check_storages(lists)
        options.update(clip_lambda=clip_lambda, has_complex=False, capturable=False, differentiable=False)
        if begin_together(lists):
            in_order(*lists[:5], grad_scale, None, compensations=lists[5], **options)
        else:
            blocked.step_(in_order, *lists, grad_scale=grad_scale, **options)


def _as_reals(lists: list[Any]) -> Any:
    """Return the lists with pairs of reals for complex numbers, where all tensors of a parameter are complex.

    What cannot be seen so is left to the single-tensor form, as is a parameter that is still to be conjugated.
    """
    lists = [list(column) for column in lists]
    for i, (param, grad, *averages) in enumerate(zip(*lists[:4])):
        written = (param, *averages)
        if all(isinstance(t, Tensor) and torch.is_complex(t) for t in (grad, *written)) and not any(
            hasattr(t, "is_conj") and t.is_conj() for t in written
        ):
            views = (torch.view_as_real(param), _real(grad), *map(torch.view_as_real, averages))
            for column, view in zip(lists, views):
                column[i] = view
    return lists


def _check_fused(params: list[Tensor]) -> None:
    """Raise where fused=True asks for a kernel that is not there."""
    kinds = {p.device.type for p in params}
    reason = None
    if not kinds <= {"cpu", "cuda"} or not all(torch.is_floating_point(p) or torch.is_complex(p) for p in params):
        reason = "all the params must be floating point Tensors on the CPU or a GPU"
    if reason is None and "cpu" in kinds:
        reason = native.why_not() and f"there is no native kernel for the CPU: {native.why_not()}"
    if reason is None and "cuda" in kinds:
        from . import cuda

        reason = cuda.why_not([p for p in params if p.is_cuda])
    if reason:
        raise RuntimeError(f"fused=True is not possible here, please use fused=None: {reason}")
