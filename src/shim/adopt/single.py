"""The single-tensor form: one tensor after the other. Every other form must give the same numbers.

It is one long function, because the order of its operations is the algorithm.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _torch
from .common import (
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
from .low_precision import is_widened, narrow_, widen


def step_each(lists: Lists, options: Options) -> None:
    """Perform a step, one tensor after the other."""
    params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations = lists
    (grad_scale, found_inf, _, beta1, beta2, lr, clip_exp, clip_lambda, weight_decay,
     decouple, eps, maximize, capturable, differentiable) = options  # fmt: skip
    _check_weight_decay(weight_decay)
    if _found_inf(found_inf, capturable):
        return
    # The host must not read the step here. So the first step is computed like any other, with masks that undo it.
    masked = (capturable or _torch.is_compiling()) and clip_lambda is None
    if masked:
        _check_capturable(params, state_steps)
    lr = _to_scalar(lr)

    # Numbers, or 0-d tensors if the host must not read them.
    step: Any
    started: Any
    clip: Any
    waits: Tensor | None
    for i, param in enumerate(params):
        exp_avg = exp_avgs[i]
        exp_avg_sq = exp_avg_sqs[i]
        step_t = state_steps[i]
        compensation = compensations[i] if compensations else None

        widened = is_widened(param, exp_avg)
        weight = widen(param, compensation) if widened else param
        grad = grads[i].to(weight.dtype) if widened else grads[i]
        if grad_scale is not None:
            grad = grad / grad_scale.to(grad.device)
        if maximize:
            grad = -grad
        if weight_decay != 0 and not decouple:
            grad = grad.add(weight, alpha=weight_decay)

        if torch.is_complex(weight):
            weight = torch.view_as_real(weight)
            grad = _real(grad)
            exp_avg = torch.view_as_real(exp_avg)
            exp_avg_sq = torch.view_as_real(exp_avg_sq)

        waits = None
        if masked:
            step = step_t.to(weight.dtype)
            started = (step != 0).to(weight.dtype)  # 0-d: 0.0 in the first step, then 1.0
            waits = _waits(step, lr, grads[i])
            if waits is not None:
                grad = grad.masked_fill(waits, 0.0)
        else:
            step = step_t.item()
            if step == 0:
                if not _waits(step, lr, grads[i]):
                    exp_avg.zero_()
                    exp_avg_sq.zero_().addcmul_(grad, grad)
                    step_t += 1
                continue
            started = 1.0

        if weight_decay != 0 and decouple:
            # Not a product with 1 - lr * weight_decay: its rounding, the same in each step, would add up.
            if masked or isinstance(lr, Tensor):
                # (A copy, because autograd keeps the product's factors.)
                weight.sub_(weight.clone() * (lr * weight_decay * started))
            else:
                weight.add_(weight, alpha=-lr * weight_decay)

        if differentiable:
            # v is clamped before the root, which has an infinite slope at 0, and copied, because v is changed below.
            denom = exp_avg_sq.clone().clamp(min=eps * eps).sqrt()
        else:
            denom = exp_avg_sq.sqrt().clamp_(min=eps)
        normed_grad = grad / denom
        if clip_lambda is not None:
            tensors = (param, grads[i], exp_avg, exp_avg_sq, step_t, compensation)
            normed_grad = _torch.clamp(normed_grad, _clip_of(clip_lambda, step, [tensors]))
        elif clip_exp is not None and not masked:
            normed_grad = _torch.clamp(normed_grad, _power(step, clip_exp))
        elif clip_exp is not None:
            clip = step**clip_exp
            normed_grad = torch.minimum(torch.maximum(normed_grad, -clip), clip)
        if masked:
            # Not a product: 0 * NaN is NaN, and a first step changes no parameter, even if the gradient is NaN.
            normed_grad = normed_grad.masked_fill(started == 0, 0.0)

        # Two operations where one lerp_ would do: its inf - inf would make an infinite average NaN.
        # https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/native/Lerp.h#L32
        exp_avg.mul_(beta1)
        if masked:
            exp_avg.masked_fill_(started == 0, 0.0)
        exp_avg.add_(normed_grad, alpha=1 - beta1)

        if isinstance(lr, Tensor):
            # In differentiable mode autograd keeps the product's factors, and exp_avg will change.
            weight.sub_(lr * (exp_avg.clone() if differentiable else exp_avg))
        else:
            weight.add_(exp_avg, alpha=-lr)

        if masked:
            # The factor is 1 in the first step. 1 - beta2 is taken in double precision.
            exp_avg_sq.mul_(beta2).masked_fill_(started == 0, 0.0).addcmul_(
                grad, grad * ((1 - beta2) * started + (1 - started))
            )
        else:
            exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)

        if widened:
            narrow_(param, compensation, weight, step_t, i)
        step_t += 1 if waits is None else ~waits


_single_tensor_adopt = form("_single_tensor_adopt", step_each)
