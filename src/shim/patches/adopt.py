"""ADOPT, bundled with shim: a row like every other."""

from __future__ import annotations

from ..registry import Patch
from ..targets import Target

_OPTIMIZER = __name__.partition(".")[0] + ".adopt.optimizer"

PATCHES = (
    Patch(
        name="adopt",
        reason="ADOPT computes with weight_decay, as Adam does",
        targets=(
            Target("constructor", f"{_OPTIMIZER}:ADOPT"),
            Target("step", f"{_OPTIMIZER}:ADOPT"),
            Target("functional", f"{_OPTIMIZER}:_single_tensor_adopt"),
            Target("functional", f"{_OPTIMIZER}:_multi_tensor_adopt"),
            Target("functional", f"{_OPTIMIZER}:_fused_adopt"),
        ),
    ),
)
