"""Carry what rounding to bfloat16 or float16 would lose from one step to the next.

A bfloat16 weight near 1.0 changes in steps of 1/256 or 1/128, so an update of 1e-4 rounds to nothing and the
weight stands still for ever. Each such weight therefore has a float32 companion, its compensation (Kahan,
CACM 8(1), 1965): the exact weight is ``param + compensation``, updates go to that sum, and what the parameter
cannot hold goes back to the compensation. It costs 4 bytes for each parameter, draws no random numbers, and,
unlike a float32 master copy, lets the user overwrite the parameter: the compensation is at most half a unit
in its last place.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOW_PRECISION = (torch.bfloat16, torch.float16)


def widen(param: Tensor, compensation: Tensor) -> Tensor:
    """Return the exact weight, in the compensation's dtype."""
    return compensation + param


def narrow_(param: Tensor, compensation: Tensor, weight: Tensor) -> None:
    """Store the exact `weight` as its rounding in `param` and the rest in `compensation`."""
    param.copy_(weight)
    rest = weight.detach() - param.detach()
    # inf - inf is NaN, and an overflow to inf leaves -inf: both would make an infinite weight NaN at the next
    # step.
    compensation.copy_(rest.masked_fill_(~torch.isfinite(rest), 0.0))
