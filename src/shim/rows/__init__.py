"""The table of breakages between releases. A row makes one thing work that another release of torch could do.

Each file holds the rows of a module of torch or of another package, and beside each row the function that it applies.
``index`` lists them. A file is imported only if one of its rows may be applied, or if doctor, scan, the hint,
``shim.status()`` or ``shim.plan()`` reads all of them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Iterable

from ..registry import Patch, installed_release
from ..releases import Release, is_in, of_the_time
from .index import ROWS
from .row import TABLE

#: The files of the table, in the order in which their rows are applied.
FAMILIES = (
    "moved",
    "renamed",
    "arguments",
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
    "pickled_training",
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
    "arguments_newer",
    "checkpoint",
    "arguments_newer_c",
    "internals",
    "quantization",
    "lost",
    "newer_advice",
    "advice",
    "other_packages",
)


def load() -> tuple[Patch, ...]:
    """Return all rows."""
    return tuple(row for family in FAMILIES for row in _rows_in(family))


def some(program: Release | None, names: Iterable[str]) -> tuple[Patch, ...]:
    """Return the rows that ``--for`` may apply, and the named ones.

    Args:
        program: the release of torch that the program was written for; None without ``--for``.
        names: names of rows, or what they begin with: ``torchvision`` for ``torchvision.transforms.Scale``.
    """
    prefixes = tuple(f"{name}." for name in names)
    reasons = {reason: _may_apply(*reason, program) for reason in {row[1:] for rows in ROWS.values() for row in rows}}
    return tuple(
        row
        for family in FAMILIES
        if any([reasons[package, works] or f"{name}.".startswith(prefixes) for name, package, works in ROWS[family]])  # noqa: C419
        for row in _rows_in(family)
    )


def _may_apply(package: str, works: str, program: Release | None) -> bool:
    """Tell whether a row works with the release of the package that the program used, and not with the loaded one."""
    if program is None or not works or not (package == "python" or package in sys.modules):
        return False
    installed = installed_release(package)  # None while the package is being imported
    return is_in(of_the_time(package, program), works) and not (installed and is_in(installed.numbers, works))


def _rows_in(family: str) -> list[Patch]:
    import_module(f"{__name__}.{family}")
    return TABLE[f"{__name__}.{family}"]


def by_family() -> dict[str, tuple[Patch, ...]]:
    """Return the rows of each file of the table."""
    return {family: tuple(_rows_in(family)) for family in FAMILIES}
