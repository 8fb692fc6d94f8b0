"""The parameters of the three forms of ADOPT, declared once.

A form has the parameters of the forms of torch's optimizers, so it can be called, guarded and inspected like those.
Inside a form they are two values: the lists of tensors, and the options.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from torch import Tensor

Clip = Callable[[float], float]


class Lists(NamedTuple):
    """The tensors of a step. Each list has an entry for each parameter."""

    params: list[Tensor]
    grads: list[Tensor]
    exp_avgs: list[Tensor]
    exp_avg_sqs: list[Tensor]
    state_steps: list[Tensor]
    #: None if there is no compensation for any parameter.
    compensations: list[Tensor | None] | None


class Options(NamedTuple):
    """Everything else that a step depends on. The forms unpack it in this order."""

    grad_scale: Tensor | None
    found_inf: Tensor | None
    has_complex: bool
    beta1: float
    beta2: float
    lr: float | Tensor
    clip_exp: float | None
    clip_lambda: Clip | None
    weight_decay: float
    decouple: bool
    eps: float
    maximize: bool
    capturable: bool
    differentiable: bool


def form(name: str, step: Callable[[Lists, Options], None]) -> Callable[..., None]:
    """Make a form out of a function that performs a step on lists of tensors.

    Args:
        name: the name of the form.
        step: the function.
    """

    def made(
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
        lists = Lists(params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations)
        options = Options(
            grad_scale, found_inf, has_complex, beta1, beta2, lr, clip_exp, clip_lambda, weight_decay,
            decouple, eps, maximize, capturable, differentiable,
        )  # fmt: skip
        step(lists, options)

    made.__code__ = made.__code__.replace(co_name=name)  # tracebacks show it
    made.__module__, made.__name__, made.__qualname__ = step.__module__, name, name
    return made
