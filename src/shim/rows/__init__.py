"""The table of breakages between releases. A row makes one thing work that another release of torch could do.

Each file holds the rows of a module of torch, and beside each row the function that it applies. No file is imported
unless ``--for``, SHIM_PATCHES, doctor, scan or the hint needs the table.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

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

#: The output of the examples on a release where they work, and the release.
PRINTED = Path(__file__).with_name("printed.json")


def load() -> tuple[Patch, ...]:
    """Return all rows."""
    return tuple(row for rows in by_family().values() for row in rows)


def by_family() -> dict[str, tuple[Patch, ...]]:
    """Return the rows of each file of the table."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
    return {family: tuple(TABLE[f"{__name__}.{family}"]) for family in FAMILIES}
