"""The tables of the None guards: which optimizers are guarded, and why.

``layout`` finds out which of them the loaded torch has, and in which position they take weight_decay. The guards
themselves are in ``guards``, and ``target_kinds`` puts them in place.
"""

from __future__ import annotations

from ..registry import Patch
from ..targets import Target
from . import third_party, torch_optim

_ADOPT = __name__.partition(".")[0] + ".adopt"

ADOPT = Patch(
    name="adopt",
    reason="ADOPT computes with weight_decay, as Adam does",
    targets=(
        Target("constructor", f"{_ADOPT}.optimizer:ADOPT"),
        Target("step", f"{_ADOPT}.optimizer:ADOPT"),
        Target("functional", f"{_ADOPT}.functional:_single_tensor_adopt"),
        Target("functional", f"{_ADOPT}.functional:_multi_tensor_adopt"),
        Target("functional", f"{_ADOPT}.functional:_fused_adopt"),
    ),
)

#: In the order in which they are applied.
PATCHES: tuple[Patch, ...] = (
    *torch_optim.PATCHES,
    ADOPT,
    *third_party.PATCHES,
)
