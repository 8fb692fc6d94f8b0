"""The tables of the None guards: which optimizers are guarded, and why. The code is in ``guards``, ``target_kinds``."""

from __future__ import annotations

from ..registry import Patch
from . import adopt, distributed, third_party, torch_optim

#: In the order in which they are applied.
PATCHES: tuple[Patch, ...] = (
    *torch_optim.PATCHES,
    *distributed.PATCHES,
    *adopt.PATCHES,
    *third_party.PATCHES,
)
