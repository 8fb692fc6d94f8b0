"""The tables of the None guards: which optimizers are guarded, and why.

``layout`` finds out which of them the loaded torch has, and in which position they take weight_decay. The guards
themselves are in ``guards``, and ``target_kinds`` puts them in place.
"""

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
