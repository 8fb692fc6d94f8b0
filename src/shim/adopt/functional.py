"""ADOPT as a function of lists of tensors. It chooses the form that computes the step."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from . import _torch, native
from .common import _check_storages
from .form import Clip
from .fused import _fused_adopt
from .memory import on_cpu
from .multi import _multi_tensor_adopt
from .options import as_number
from .single import _single_tensor_adopt

__all__ = ["adopt"]


def adopt(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    capturable: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    has_complex: bool = False,
    compensations: list[Tensor | None] | None = None,
    clip_exp: float | None = None,
    *,
    beta1: float,
    beta2: float,
    lr: float | Tensor,
    clip_lambda: Clip | None,
    weight_decay: float,
    decouple: bool,
    eps: float,
    maximize: bool,
) -> None:
    r"""Perform one ADOPT step on lists of tensors, in place.

    The lists have one entry for each parameter. A clip is ``clip_lambda(step)``, or ``step ** clip_exp`` if
    there is no `clip_lambda`, or none if both are None. `compensations` holds a float32 tensor for each
    parameter whose rounding is compensated, else None; a bfloat16 or float16 parameter with averages in float32
    and no compensation is rounded stochastically. See :class:`ADOPT` for details.

    Examples:
        >>> import torch
        >>> from shim.adopt import adopt
        >>> param, grad, exp_avg, exp_avg_sq = (torch.full((2,), value) for value in (1.0, 0.5, 0.0, 0.0))
        >>> step = torch.tensor(0.0)
        >>> options = dict(clip_lambda=None, weight_decay=0.0, decouple=False, eps=1e-6, maximize=False)
        >>> for _ in range(2):
        ...     adopt([param], [grad], [exp_avg], [exp_avg_sq], [step], beta1=0.9, beta2=0.9999, lr=0.1, **options)
        >>> step, param
        (tensor(2.), tensor([0.9900, 0.9900]))
    """
    # This check is slow during compilation.
    if not _torch.is_compiling() and not all(isinstance(t, Tensor) for t in state_steps):
        raise RuntimeError("API has changed, `state_steps` argument must contain a list of singleton tensors")

    if not _torch.is_compiling():  # else they are constants of the graph
        decouple, maximize, capturable, differentiable = map(bool, (decouple, maximize, capturable, differentiable))
        beta1, beta2, lr, clip_exp, weight_decay, eps = (
            as_number(name, value, differentiable)
            for name, value in (
                *(("beta1", beta1), ("beta2", beta2), ("lr", lr)),
                *(("clip_exp", clip_exp), ("weight_decay", weight_decay), ("eps", eps)),
            )
        )

    if foreach is None and fused is None:
        foreach, fused = _default_form(params, lr, capturable, differentiable)
        if not (foreach or fused or _torch.is_compiling()):
            _check_storages([params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations or []])

    if fused and not _torch.is_compiling():  # torch.compile fuses the operations itself
        func = _fused_adopt
    elif foreach:
        func = _multi_tensor_adopt
    else:
        func = _single_tensor_adopt

    func(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        state_steps,
        grad_scale,
        found_inf,
        has_complex=has_complex,
        compensations=compensations,
        beta1=beta1,
        beta2=beta2,
        lr=lr,
        clip_exp=clip_exp,
        clip_lambda=clip_lambda,
        weight_decay=weight_decay,
        decouple=decouple,
        eps=eps,
        maximize=maximize,
        capturable=capturable,
        differentiable=differentiable,
    )


def _default_form(
    params: list[Tensor], lr: float | Tensor, capturable: bool, differentiable: bool
) -> tuple[bool, bool]:
    """Return whether the foreach form is the fastest that is safe here, and whether the fused form is."""
    foreach = not differentiable and _torch.foreach_by_default(params, capturable)
    # foreach does not support an lr that is a Tensor without capturable=True:
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/adam.py#L581
    if foreach and isinstance(lr, Tensor) and not capturable:
        foreach = False
    # On the CPU the fused form is the fastest, also without the native kernel.
    fused = not (foreach or differentiable or capturable or _torch.is_compiling()) and all(map(on_cpu, params))
    return foreach, fused


def _form_in_words(group: dict[str, Any]) -> str:
    foreach, fused = group["foreach"], group["fused"]
    if foreach is None and fused is None:
        foreach, fused = _default_form(group["params"], group["lr"], group["capturable"], group["differentiable"])
    if not fused:
        return "foreach" if foreach else "single tensor"
    return "fused, " + (native.in_words() if all(map(on_cpu, group["params"])) else "on the GPU")
