"""Optimizers of other packages that crash on ``weight_decay=None`` without shim, and train as with 0.0 with it.

An optimizer in which None has a meaning gets no row. The table names the release that each package was tested with, or
says that its source was only read.
"""

from __future__ import annotations

from ..registry import Patch
from ..targets import Target

#: package, how it was tested, its optimizers: ``module:*`` for all of a module, ``module:Name`` for one
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
