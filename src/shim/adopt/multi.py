"""The foreach form: all tensors of a group at once, operation by operation, with torch's list operations.

The operations are in the same order as in single.py, so the two can be read side by side; only complex tensors become
pairs of reals earlier here. Each of the two forms is one long function, because the order of its operations is the
algorithm.
"""

from __future__ import annotations

from typing import Any, Sequence

import torch
from torch import Tensor

from . import _torch
from .common import (
    _NO_TENSOR_LR,
    _check_capturable,
    _check_weight_decay,
    _clip_of,
    _found_inf,
    _power,
    _real,
    _to_scalar,
    _waits,
)
from .form import Lists, Options, form
from .low_precision import LOW_PRECISION, is_widened, narrow_, widen
from .memory import at, is_negated, overlap
from .single import step_each


def step_lists(lists: Lists, options: Options) -> None:
    """Perform a step with torch's list operations."""
    params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations = lists
    (grad_scale, found_inf, has_complex, beta1, beta2, lr, clip_exp, clip_lambda, weight_decay,
     decouple, eps, maximize, capturable, differentiable) = options  # fmt: skip
    if len(params) == 0:
        return
    _check_weight_decay(weight_decay)
    if isinstance(lr, Tensor):
        if not capturable:
            raise RuntimeError(_NO_TENSOR_LR)
        if lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
    if differentiable:
        raise RuntimeError("`foreach` does not support `differentiable`")
    if _found_inf(found_inf, capturable):
        return
    written = (exp_avgs, exp_avg_sqs, state_steps, compensations or ())
    if not _torch.is_compiling() and (
        _torch.in_dual_level()
        or torch._C._get_tracing_state()
        or is_negated((params, *written))
        or overlap((params, grads, *written))
    ):
        # torch's list operations drop tangents: https://github.com/pytorch/pytorch/pull/100695
        # They take no list of tensors with a lazy negation that they change:
        # https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/native/MathBitsFallback.h#L44
        # They crash in torch.jit.trace (tests/adopt/test_adopt_torch_features.py; no issue is known), and define no
        # order for memory that tensors share.
        step_each(lists, options)
        return
    masked = (capturable or _torch.is_compiling()) and clip_lambda is None
    if masked:
        _check_capturable(params, state_steps)
    lr = _to_scalar(lr)
    l2 = weight_decay != 0 and not decouple

    # torch's list operations return tuples.
    weights: Sequence[Tensor]
    grads_: Sequence[Tensor]
    normed_grads: Sequence[Tensor]
    lr_: Any = lr
    for step, (params_, grads_, exp_avgs_, exp_avg_sqs_, steps_, compensations_, positions) in _grouped(
        params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations, by_step=not masked, halves=l2
    ):
        widened = is_widened(params_[0], exp_avgs_[0])
        weights = params_
        if widened:
            weights = [widen(p, c) for p, c in zip(params_, compensations_)]
            grads_ = [g.to(w.dtype) for g, w in zip(grads_, weights)]
        if grad_scale is not None:
            grads_ = [g / grad_scale.to(g.device) for g in grads_]
        unscaled = [grads[i] for i in positions]
        if has_complex and torch.is_complex(weights[0]):
            grads_ = [_real(g) for g in grads_]
            weights, exp_avgs_, exp_avg_sqs_ = (
                [torch.view_as_real(t) for t in tensors] for tensors in (weights, exp_avgs_, exp_avg_sqs_)
            )
        # With L2 the gradient is negated before the decay is added. Otherwise the normalized gradient is negated later,
        # in place.
        negate = maximize
        if l2:
            if maximize:
                grads_ = torch._foreach_neg(grads_)
                torch._foreach_add_(grads_, weights, alpha=weight_decay)
                negate = False
            else:
                grads_ = torch._foreach_add(grads_, weights, alpha=weight_decay)

        if masked:
            real = weights[0].dtype
            steps = [step_t.to(real) for step_t in steps_]
            started = [(step_t != 0).to(real) for step_t in steps]  # 0-d: 0.0 in the first step, then 1.0
            waiting = [_waits(step_t, lr, g) for step_t, g in zip(steps, unscaled)]
            if waiting[0] is not None:
                grads_ = [g.masked_fill(waits, 0.0) for g, waits in zip(grads_, waiting)]
        elif step == 0:
            counted = [k for k, g in enumerate(unscaled) if not _waits(step, lr, g)]
            if counted:
                exp_avgs_, exp_avg_sqs_, grads_, steps_ = at(counted, (exp_avgs_, exp_avg_sqs_, grads_, steps_))
                for average in (*exp_avgs_, *exp_avg_sqs_):
                    average.zero_()
                torch._foreach_addcmul_(exp_avg_sqs_, grads_, grads_)
                torch._foreach_add_(steps_, 1)
            continue

        if weight_decay != 0 and decouple:
            # Not a product with 1 - lr * weight_decay: its rounding, the same in each step, would add up.
            if masked:
                torch._foreach_sub_(weights, [w * (lr * weight_decay * s) for w, s in zip(weights, started)])
            else:
                torch._foreach_add_(weights, weights, alpha=-lr_ * weight_decay)

        # One list of temporaries, as in Adam: first the denominator, then its reciprocal, then the quotient.
        normed_grads = torch._foreach_sqrt(exp_avg_sqs_)
        _torch.foreach_clamp_min_(normed_grads, eps)
        if normed_grads[0].dtype in LOW_PRECISION:
            # These have too few bits for a reciprocal, and 1 / eps is inf in float16.
            normed_grads = torch._foreach_div(grads_, normed_grads)
        else:
            torch._foreach_reciprocal_(normed_grads)
            torch._foreach_mul_(normed_grads, grads_)
        if negate:
            torch._foreach_neg_(normed_grads)
        if clip_lambda is not None:
            _torch.foreach_clamp_(normed_grads, _clip_of(clip_lambda, step, (params, grads, *written)))
        elif clip_exp is not None and not masked:
            _torch.foreach_clamp_(normed_grads, _power(step, clip_exp))
        elif clip_exp is not None:
            clips = [step_t**clip_exp for step_t in steps]
            torch._foreach_maximum_(normed_grads, [-clip for clip in clips])
            torch._foreach_minimum_(normed_grads, clips)
        if masked:
            # Not a product: 0 * NaN is NaN, and a first step changes no parameter, even if the gradient is NaN.
            for normed_grad, s in zip(normed_grads, started):
                normed_grad.masked_fill_(s == 0, 0.0)

        # Two operations where one lerp_ would do: its inf - inf would make an infinite average NaN.
        # https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/native/Lerp.h#L32
        torch._foreach_mul_(exp_avgs_, beta1)
        if masked:
            torch._foreach_mul_(exp_avgs_, started)
        torch._foreach_add_(exp_avgs_, normed_grads, alpha=1 - beta1)
        del normed_grads

        if isinstance(lr, Tensor):
            torch._foreach_sub_(weights, [lr * exp_avg for exp_avg in exp_avgs_])
        else:
            torch._foreach_add_(weights, exp_avgs_, alpha=-lr)

        if masked:
            # The factors are 0 and 1 in the first step. 1 - beta2 is taken in double precision.
            torch._foreach_mul_(exp_avg_sqs_, [beta2 * s for s in started])
            scaled_grads = torch._foreach_mul(grads_, [(1 - beta2) * s + (1 - s) for s in started])
            torch._foreach_addcmul_(exp_avg_sqs_, grads_, scaled_grads)
        else:
            torch._foreach_mul_(exp_avg_sqs_, beta2)
            torch._foreach_addcmul_(exp_avg_sqs_, grads_, grads_, 1 - beta2)

        if widened:
            for narrowed in zip(params_, compensations_, weights, steps_, positions):
                narrow_(*narrowed)
        if masked and waiting[0] is not None:
            for step_t, waits in zip(steps_, waiting):
                step_t += ~waits
        else:
            torch._foreach_add_(steps_, 1)


_multi_tensor_adopt = form("_multi_tensor_adopt", step_lists)


def _grouped(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    compensations: list[Tensor | None] | None,
    *,
    by_step: bool,
    halves: bool,
) -> list[tuple[float, tuple[list[Any], ...]]]:
    """Split the lists into those that one list operation can handle, each with its step, and their positions.

    Parameters are grouped by step, too, because one that was added later, or frozen for a while, has another step than
    the rest. Without `by_step` the host does not read the steps, and the step returned means nothing.

    L2 needs two lists of temporaries where Adam needs one. With `halves`, each group is stepped in two halves, so that
    the two lists take the memory of one.
    """
    found: dict[Any, tuple[float, tuple[list[Any], ...]]] = {}
    for i, param in enumerate(params):
        step_t = state_steps[i]
        step = step_t.item() if by_step else -1.0
        compensation = compensations[i] if compensations else None
        dtypes = (param.dtype, exp_avgs[i].dtype, grads[i].dtype)
        key = (param.device, dtypes, compensation is None, step, i % 2 if halves else 0)
        if key not in found:
            found[key] = (step, ([], [], [], [], [], [], []))
        row = (param, grads[i], exp_avgs[i], exp_avg_sqs[i], step_t, compensation, i)
        for column, entry in zip(found[key][1], row):
            column.append(entry)
    return list(found.values())
