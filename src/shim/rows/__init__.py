"""The table of breakages between releases: what a program written for another torch needs, a row each.

A file holds a family, named after the module of torch where its names are, and each row stands beside what it does.
Nothing of this is imported unless ``--for``, SHIM_PATCHES, doctor or the hint asks.
"""

from __future__ import annotations

from importlib import import_module

from ..registry import Patch
from .row import TABLE

#: The files of the table, in the order in which their rows are applied.
FAMILIES = (
    "moved",
    "renamed",
    "testing",
    "linalg",
    "fft",
    "autograd",
    "tensor",
    "masks",
    "division",
    "nn",
    "data",
    "pickled",
    "serialization",
    "optim",
    "lr_scheduler",
    "optimizer",
    "distributed",
    "distributions",
    "onnx",
    "extensions",
    "python",
    "numpy",
    "pillow",
    "torchvision",
    "torchvision_models",
    "torchaudio",
    "newer",
    "amp",
    "pytree",
    "devices",
    "data_newer",
    "nn_newer",
    "optim_newer",
    "oddments",
    "lost",
    "newer_advice",
    "advice",
)


def load() -> tuple[Patch, ...]:
    """Return all rows."""
    return tuple(row for rows in by_family().values() for row in rows)


def by_family() -> dict[str, tuple[Patch, ...]]:
    """Return the rows of each file of the table."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
    return {family: tuple(TABLE[f"{__name__}.{family}"]) for family in FAMILIES}
