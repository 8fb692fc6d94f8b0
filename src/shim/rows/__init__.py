"""The table of breakages between releases. A row makes one thing work that another release of torch could do.

Each file holds the rows of a module of torch, and beside each row the function that it applies. A file is imported
only if ``--for``, SHIM_PATCHES, a name in SHIM_SKIP that is not a guard's, doctor, scan or the hint needs its rows.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Iterable

from ..registry import Patch, installed_release
from ..releases import Release
from .row import TABLE

#: The files of the table, in the order in which their rows are applied. A file with a condition is imported only if it
#: holds: the rows are about a package, which must be loaded; they give a program what a ``"newer"`` release of torch
#: than the installed one has; or they are ``"advice"``, which is not applied.
FAMILIES = {
    "moved": "",
    "renamed": "",
    "testing": "",
    "linalg": "",
    "fft": "",
    "autograd": "",
    "tensor": "",
    "masks": "",
    "division": "",
    "nn": "",
    "data": "",
    "pickled": "",
    "serialization": "",
    "optim": "",
    "lr_scheduler": "",
    "optimizer": "",
    "distributed": "",
    "distributions": "",
    "onnx": "",
    "extensions": "",
    "python": "",
    "numpy": "",
    "pillow": "PIL",
    "torchvision": "torchvision",
    "torchvision_models": "torchvision",
    "torchaudio": "torchaudio",
    "newer": "newer",
    "amp": "newer",
    "pytree": "newer",
    "devices": "newer",
    "data_newer": "newer",
    "nn_newer": "newer",
    "optim_newer": "newer",
    "internals": "",
    "quantization": "",
    "lost": "advice",
    "newer_advice": "advice",
    "advice": "advice",
}


def load() -> tuple[Patch, ...]:
    """Return all rows."""
    return _rows_of(FAMILIES)


def needed_by(program: Release) -> tuple[Patch, ...]:
    """Return the rows that a program written for a release of torch may need with the packages that are loaded."""
    torch = installed_release("torch")
    holds = {"": True, "newer": torch is not None and program.numbers > torch.numbers, "advice": False}
    return _rows_of(family for family, condition in FAMILIES.items() if holds.get(condition, condition in sys.modules))


def _rows_of(families: Iterable[str]) -> tuple[Patch, ...]:
    return tuple(row for family in families for row in _rows_in(family))


def _rows_in(family: str) -> list[Patch]:
    import_module(f"{__name__}.{family}")
    return TABLE[f"{__name__}.{family}"]


def by_family() -> dict[str, tuple[Patch, ...]]:
    """Return the rows of each file of the table."""
    return {family: tuple(_rows_in(family)) for family in FAMILIES}
