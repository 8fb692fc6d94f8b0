"""Optimizers of other packages: each crashes on None without us, and equals 0.0 with us.

None of them gives None a meaning; one that does gets no row here. The table says with which releases each was run,
or that it was read only.
"""

from __future__ import annotations

from ..registry import Patch
from ..targets import Target

#: package, what was done with it, the optimizers: those of a module by ``*``, or one by its name
FAMILIES = (
    ("apex", "commit 6424da3 read, not run: it needs a GPU", ("apex.optimizers:*",)),
    ("bitsandbytes", "run with 0.50.2, on the CPU", ("bitsandbytes.optim:*",)),
    (
        "deepspeed",
        "0.19.8 read, not run: it compiles for the machine",
        ("deepspeed.ops.adagrad:*", "deepspeed.ops.adam:*", "deepspeed.ops.lamb:*", "deepspeed.ops.lion:*"),
    ),
    ("lion-pytorch", "run with 0.2.5", ("lion_pytorch:Lion",)),
    ("prodigyopt", "run with 1.1.2", ("prodigyopt:Prodigy",)),
    ("pytorch_optimizer", "run with 4.1.0", ("pytorch_optimizer:*",)),
    ("schedulefree", "run with 1.4.1", ("schedulefree:*",)),
    ("timm", "run with 1.0.31", ("timm.optim:*",)),
    ("torch-optimi", "run with 0.3.3", ("optimi:*",)),
    ("transformers", "run with 5.23.0", ("transformers.optimization:Adafactor",)),
)

PATCHES = tuple(
    Patch(
        name=package,
        reason=f"the optimizers of {package} compute with weight_decay: None is a TypeError in them",
        targets=tuple(Target(kind, path) for path in paths for kind in ("constructor", "step")),
        note=note,
    )
    for package, note, paths in FAMILIES
)
