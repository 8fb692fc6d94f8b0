"""The table of breakages between releases: what a program written for another torch needs, a row each.

A file holds a family, named after the module of torch where its names are, and each row stands beside what it does.
Nothing of this is imported unless ``--for``, SHIM_PATCHES, doctor or the hint asks.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ..registry import Patch
from .row import TABLE

#: The files of the table, in the order in which their rows are applied.
FAMILIES = (
    "moved",
    "linalg",
    "fft",
    "data",
    "optim",
    "newer",
    "amp",
    "pytree",
    "devices",
    "data_newer",
    "nn_newer",
    "optim_newer",
    "serialization",
    "newer_advice",
    "advice",
)

#: What the examples printed on a release where they work, and which release that was.
PRINTED = Path(__file__).with_name("printed.json")


def load() -> tuple[Patch, ...]:
    """Return all rows."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
    return tuple(TABLE)
