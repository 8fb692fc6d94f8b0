"""The fused form: the native kernel on the CPU, Triton's on a GPU, and Python in blocks for other tensors."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from . import blocked, native
from .common import _NO_LAMBDA_ON_GPU, _check_storages, _check_weight_decay, _found_inf, _real
from .form import Clip, Lists, Options, form
from .low_precision import is_widened
from .memory import at, overlap
from .single import step_each


def step_fused(lists: Lists, options: Options) -> None:
    """Perform a step with a kernel, and without one in blocks."""
    if options.differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    _check_weight_decay(options.weight_decay)
    grad_scale, found_inf, clip_lambda = options.grad_scale, options.found_inf, options.clip_lambda
    numbers = dict(zip(NUMBERS, _numbers(options)))
    columns: Any = [*lists[:5], lists.compensations or [None] * len(lists.params)]
    if options.has_complex:
        columns = _as_reals(columns)
    if any(p.is_cuda for p in lists.params):
        if clip_lambda is not None:
            raise RuntimeError(_NO_LAMBDA_ON_GPU)
        from . import cuda  # imports Triton

        on_gpu = [i for i, p in enumerate(lists.params) if p.is_cuda]
        cuda.fused_step_(*at(on_gpu, columns), grad_scale=grad_scale, found_inf=found_inf, **numbers)
        columns = at([i for i, p in enumerate(lists.params) if not p.is_cuda], columns)
    if not columns[0] or _found_inf(found_inf, capturable=False):
        return
    # Stochastic rounding makes random numbers of a parameter's position in the lists, so these stay whole and in order.
    stochastic = any(c is None and is_widened(p, m) for p, m, c in zip(columns[0], columns[2], columns[5]))
    if not stochastic:
        left = native.step_(*columns, grad_scale=grad_scale, clip_lambda=clip_lambda, **numbers)
        if not left:
            return
        columns = at(left, columns)
    _check_storages(columns)
    step = step_each if stochastic or overlap(columns) else blocked.step_each_block
    step(Lists(*columns), options._replace(found_inf=None, capturable=False))


_fused_adopt = form("_fused_adopt", step_fused)

# The options that the kernels take.
NUMBERS = ("beta1", "beta2", "lr", "clip_exp", "weight_decay", "decouple", "eps", "maximize")
_numbers = itemgetter(*map(Options._fields.index, NUMBERS))


def _as_reals(lists: list[Any]) -> Any:
    """Return the lists with complex tensors viewed as pairs of reals, if all tensors of a parameter are complex.

    Other parameters are left to ``step_each``, also those with a lazy conjugation.
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


def _check_fused(params: list[Tensor], clip_lambda: Clip | None) -> None:
    """Raise if fused=True is given and there is no kernel for these parameters, or none with this clip."""
    if clip_lambda is not None and any(p.is_cuda for p in params):
        raise RuntimeError(_NO_LAMBDA_ON_GPU)
    kinds = {p.device.type for p in params}
    reason = None
    if not kinds <= {"cpu", "cuda"} or not all(p.dtype.is_floating_point or p.dtype.is_complex for p in params):
        reason = "all the params must be floating point Tensors on the CPU or a GPU"
    if reason is None and "cpu" in kinds:
        reason = native.why_not() and f"there is no native kernel for the CPU: {native.why_not()}"
    if reason is None and "cuda" in kinds:
        from . import cuda

        reason = cuda.why_not([p for p in params if p.is_cuda])
    if reason:
        raise RuntimeError(f"fused=True is not possible here, please use fused=None: {reason}")
