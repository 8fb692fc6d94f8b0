"""Keep updates that rounding to bfloat16 or float16 would lose.

The bfloat16 numbers near 1.0 are 1/256 or 1/128 apart, so an update of 1e-4 rounds to nothing, and the weight never
changes. A group's ``"rounding"`` selects what is done about it:

- ``"compensated"``: each weight has a float32 compensation (Kahan, CACM 8(1), 1965). The exact weight is ``param +
  compensation``. The update is added to that sum, and the part that the parameter cannot hold is stored in the
  compensation. It costs 4 bytes for each parameter. Unlike with a float32 master copy, the user can overwrite the
  parameter, because the compensation is at most half a unit in its last place.
- ``"stochastic"``: a weight is rounded up or down at random, to the nearer neighbour more often, so that it is right on
  average (Forsythe, SIAM Review 1(1), 1959). It costs no memory, but adds noise. The random numbers are a hash of the
  step, the parameter's position and the element's index. So a run can be repeated bit for bit, replicas stay equal, and
  torch's generators are not used.
- ``"nearest"``: nothing is done, and the averages have the parameter's dtype, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOW_PRECISION = (torch.bfloat16, torch.float16)
ROUNDINGS = ("compensated", "stochastic", "nearest")


def is_widened(param: Tensor, exp_avg: Tensor) -> bool:
    """Say whether the step is computed in float32, for a parameter of lower precision."""
    return param.dtype in LOW_PRECISION and exp_avg.dtype == torch.float32


def widen(param: Tensor, compensation: Tensor | None) -> Tensor:
    """Return the exact weight, in float32."""
    return param.to(torch.float32) if compensation is None else compensation + param


def narrow_(param: Tensor, compensation: Tensor | None, weight: Tensor, step: Tensor, position: int) -> None:
    """Store the exact float32 `weight` in `param` and `compensation`; round stochastically if that is None."""
    if compensation is None:
        round_stochastically_(param, weight, step, position)
    else:
        round_compensated_(param, compensation, weight)


def round_compensated_(param: Tensor, compensation: Tensor, weight: Tensor) -> None:
    """Store the exact `weight`: rounded in `param`, and the rest in `compensation`."""
    param.copy_(weight)
    rest = weight.detach() - param.detach()
    # inf - inf is NaN, and an overflow to inf leaves -inf. Both would make an infinite weight NaN at the next step.
    compensation.copy_(rest.masked_fill_(~torch.isfinite(rest), 0.0))


def round_stochastically_(param: Tensor, weight: Tensor, step: Tensor, position: int) -> None:
    """Store the float32 `weight` in `param` as one of its two neighbours there, such that it is right on average.

    Some weights are rounded to nearest: those that are not finite, those that have no neighbour above, and, in
    bfloat16, those below 1.5e-36, where the distance of neighbours is not a normal float32.

    Args:
        param: where to store it; bfloat16 or float16.
        weight: what to store, of the same shape.
        step: the number of the step, a scalar.
        position: the parameter's position in the list of the step, so that parameters get different random numbers.

    """
    uniform = _uniform(weight, step, position)
    info = torch.finfo(param.dtype)
    exact = weight.detach()
    power = (exact.view(torch.int32) & 0x7F800000).view(torch.float32)  # |weight| rounded down to a power of 2
    ulp = power.clamp_(min=info.tiny).mul_(info.eps)
    units = exact / ulp
    low = units.floor()
    up = uniform < units.sub_(low)
    shift = low.add_(up).mul_(ulp).sub_(exact)
    param.copy_(weight + shift.masked_fill_((exact.abs() >= info.max) | (ulp < 2.0**-126), 0.0))


def _uniform(like: Tensor, step: Tensor, position: int) -> Tensor:
    """Return random numbers from [0, 1) in the shape of `like`, multiples of 2**-24."""
    seed = _mix_(_mix_(torch.full_like(step, position, dtype=torch.int64)).add_(step.to(torch.int64)))
    index = torch.arange(like.numel(), device=like.device).reshape(like.shape)
    return (_mix_(index.add_(seed)) >> 8).to(torch.float32).mul_(2.0**-24)


def _mix_(bits: Tensor) -> Tensor:
    """Hash the lower 32 bits of each int64, in place. The factors have 31 bits, so the products do not overflow.

    The constants are the best ones that https://github.com/skeeto/hash-prospector has found.
    """
    bits.bitwise_and_(0xFFFFFFFF)
    bits.bitwise_xor_(bits >> 16).mul_(0x21F0AAAD).bitwise_and_(0xFFFFFFFF)
    bits.bitwise_xor_(bits >> 15).mul_(0x735A2D97).bitwise_and_(0xFFFFFFFF)
    return bits.bitwise_xor_(bits >> 15)
