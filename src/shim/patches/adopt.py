"""The row of ADOPT, which comes with shim."""

from __future__ import annotations

from ..registry import Patch
from ..targets import Target

_ADOPT = __name__.partition(".")[0] + ".adopt"

PATCHES = (
    Patch(
        name="adopt",
        reason="ADOPT computes with weight_decay, as Adam does",
        targets=(
            Target("constructor", f"{_ADOPT}.optimizer:ADOPT"),
            Target("step", f"{_ADOPT}.optimizer:ADOPT"),
            Target("functional", f"{_ADOPT}.functional:_single_tensor_adopt"),
            Target("functional", f"{_ADOPT}.functional:_multi_tensor_adopt"),
            Target("functional", f"{_ADOPT}.functional:_fused_adopt"),
        ),
    ),
)
