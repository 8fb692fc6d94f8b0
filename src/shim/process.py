"""The patches of this process, what the user has chosen, and what was done so far.

Other state stays where it is used, because this module imports those modules: what is guarded in ``guards.GUARDED``,
which Nones were found in ``warning.NONES``. The import hook's is in ``import_hook``, which is loaded before this
package can be imported. Caches, such as ``adopt.cuda._tables``, stay beside the functions that fill them.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Iterable

from . import import_hook, releases, switches
from .layout import Layout
from .patches import PATCHES
from .registry import Choice, Patch, Registry
from .releases import Release

#: The patches of this process, and their states.
REGISTRY = Registry(PATCHES)


class Process:
    """What was done in this process. How it was armed is in ``import_hook.state``."""

    def __init__(self) -> None:
        #: Held by the thread that activates or deactivates.
        self.lock = threading.RLock()
        #: The patches are applied.
        self.active = False
        #: The layout of the loaded torch, probed when torch or a module of torch.optim was imported.
        self.layout: Layout | None = None
        #: The names of the optional patches that ``activate`` was given.
        self.named: set[str] = set()
        #: The names of the rows of the table of breakages that were added to the registry.
        self.rows: list[str] = []
        #: The entry points of other packages were looked for.
        self.plugins_loaded = False
        #: There are such entry points.
        self.has_plugins = False
        #: The exception that ends this process is watched for.
        self.watched = False
        #: What was reported: wrong values of environment variables, a torch that is too new. Each is reported once.
        self.complained: set[str] = set()


PROCESS = Process()


def _unlock() -> None:
    """Make a new lock in a forked process: the thread that holds the old one may not be there."""
    PROCESS.lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_unlock)


def choice() -> Choice:
    """Return what the user has chosen, by environment variables and by ``activate``."""
    named = {*PROCESS.named, *switches.names("SHIM_PATCHES")}
    left_out = {*switches.names("SHIM_SKIP")}
    program = release_written_for()
    for row in _rows(program if left_out else None, named):
        # A name also selects the rows whose names begin with it: `torchvision` for `torchvision.transforms.Scale`.
        family = {row.name[:end] for end, letter in enumerate(row.name) if letter == "."}
        if not row.optional and named & family:
            named.add(row.name)
        if left_out & family:
            left_out.add(row.name)
    return Choice(dict.fromkeys(left_out, "left out by SHIM_SKIP"), frozenset(named), program)


def release_written_for() -> Release | None:
    """Return the release of torch that the program was written for; None if it was not given."""
    text = import_hook.state["written_for"] or switches.text("SHIM_FOR")
    if not text:
        return None
    try:
        return releases.written_for(text)
    except ValueError as error:
        if text not in PROCESS.complained:
            from .rank import is_rank_0

            PROCESS.complained.add(text)
            # If PYTHONPATH or `shim enable` armed this process, it armed torchrun, too, which has printed this already:
            # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/distributed/run.py#L238
            by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ and import_hook.state["door"] in (
                "sitecustomize",
                "enabled",
            )
            if is_rank_0() and not by_torchrun:
                logging.getLogger("shim").warning("SHIM_FOR is ignored: %s", error)
        return None


def is_known(name: str) -> bool:
    """Tell whether there is a patch or a row of this name, or a family of rows."""
    return name in REGISTRY or bool([known for known in _names_of_rows() if f"{known}.".startswith(f"{name}.")])


def known_names(wrong: str) -> str:
    """Return the end of a message about an unknown name: the nearest names, patches, and families of rows."""
    import difflib

    patches = [patch.name for patch in REGISTRY if patch.targets]
    rows = _names_of_rows()
    near = difflib.get_close_matches(wrong, [*patches, *rows], 3)
    listed = dict.fromkeys([*patches, *(name.partition(".")[0] for name in rows if "." in name and " " not in name)])
    single = [name for name in rows if name.partition(".")[0] not in listed]
    start = "did you mean %s? There are: " % " or ".join(near) if near else "there are: "
    return f"{start}{', '.join(listed)}, and {len(single)} more rows, which docs/compatibility.md lists"


def _names_of_rows() -> list[str]:
    from .rows.index import ROWS

    return [name for rows in ROWS.values() for name, _, _ in rows]


def table() -> tuple[Patch, ...]:
    """Return the table of breakages, which most processes never import."""
    from .rows import load

    return load()


def rows_for(program: Release | None, named: Iterable[str]) -> list[Patch]:
    """Return the rows to register: those that a program of this release may need, and the named ones."""
    named = {*named}
    return [row for row in _rows(program, named) if program is not None or row.name in named]


def _rows(program: Release | None, names: Iterable[str]) -> tuple[Patch, ...]:
    if program is None and not names:
        return ()
    from .rows import some

    return some(program, names)
