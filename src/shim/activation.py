"""Activate: the registry of this process, applied to the torch of this process when a module arrives."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from importlib.machinery import ModuleSpec
from typing import Iterable

from . import import_hook, plugins, switches, uncaught
from .layout import NEWEST_KNOWN, Layout, probe
from .modules import is_being_imported
from .patches.torch_optim import newcomers
from .process import PROCESS, REGISTRY, choice, is_known, known_names, release_written_for, rows_for
from .registry import Choice

_log = logging.getLogger("shim")


def apply(module: str, just_run: bool) -> None:
    """Apply the registry to the targets that are there. Called whenever an awaited module was imported.

    Args:
        module: the name of that module.
        just_run: it has just been executed: only modules that were imported since can hold its objects.
    """
    _set_up_logging()
    torch_is_there = "torch.optim" in sys.modules and not _is_being_imported("torch.optim")
    if torch_is_there and not _is_being_imported("torch"):
        load_plugins()
    with PROCESS.lock:
        chosen = choice()
        add_rows(chosen.named, every=chosen.written_for is not None)
        if not torch_is_there:
            _apply_without_torch(chosen)
            return
        layout = _layout_after(module)
        for patch in newcomers(layout):
            if patch.name not in REGISTRY:
                REGISTRY.add(patch)
        try:
            REGISTRY.apply(layout, chosen, _due(module), module if just_run else "")
            _await({"torch", *REGISTRY.modules()} - import_hook.AWAITED)
            log_outcomes()
            if not PROCESS.active and import_hook.switched_on("SHIM_REPORT"):
                atexit.register(report)
        except BaseException:  # also a Ctrl-C: either all patches are applied or none
            if not PROCESS.active:
                REGISTRY.restore()
            raise
        PROCESS.active = True
    if not _is_being_imported("torch"):
        _watch_for_the_hint()


def _apply_without_torch(chosen: Choice) -> None:
    """Apply the rows of the packages that are imported before torch, or without it, and wait for their modules."""
    rows = [row for row in REGISTRY if row.works and row.of != "torch"]
    REGISTRY.apply(None, chosen, [row.name for row in rows])
    import_hook.AWAITED.update(target.module for row in rows for target in row.targets)


def _layout_after(module: str) -> Layout:
    """Return the layout of the loaded torch, probed anew if this module may have changed it.

    A torch that is newer than any known one is reported once.
    """
    if PROCESS.layout is None or module == "torch" or module.startswith("torch.optim"):
        PROCESS.layout = probe()
    layout = PROCESS.layout
    if not layout.known and str(layout.version) not in PROCESS.complained:
        PROCESS.complained.add(str(layout.version))
        _log.warning(
            "torch %s is newer than any that shim was tested with; the guards for %d.%d are used where they fit",
            layout.version,
            *NEWEST_KNOWN,
        )
    return layout


def log_outcomes(only: str = "") -> None:
    """Log the outcome of each patch, or of one."""
    for outcome in REGISTRY.outcomes():
        if only not in ("", outcome.patch):
            continue
        if outcome.state != "failed":
            level = logging.INFO if outcome.state == "applied" else logging.DEBUG
            _log.log(level, "%s: %s (%s)", outcome.patch, outcome.state, outcome.reason)
        elif str(outcome) not in PROCESS.complained:
            PROCESS.complained.add(str(outcome))
            said = "the patch %s of shim failed and was undone: %s; all others work, and SHIM_SKIP=%s leaves it out"
            _log.warning(said, outcome.patch, outcome.reason, outcome.patch)


def _watch_for_the_hint() -> None:
    """Start to watch for the exception that ends this process. That needs multiprocessing, which torch imports."""
    if import_hook.state["door"] not in (None, "activate"):
        uncaught.watch()


def _due(module: str) -> list[str]:
    """Return the names of the patches to apply now that a module was imported.

    The guards are applied as soon as torch.optim is imported. The rows of compatibility mode are applied when the
    import of torch is complete, so that torch itself never uses a name of an older or newer release.
    """
    everything = not PROCESS.active or module in ("torch", "torch.optim")
    names = [patch.name for patch in REGISTRY] if everything else REGISTRY.touching(module)
    if not _is_being_imported("torch"):
        return names
    return [patch.name for patch in REGISTRY if patch.name in names and not patch.works]


def add_rows(named: Iterable[str], every: bool) -> None:
    """Add rows of the table of breakages to the registry: those of these names, or all that the program may need."""
    for row in rows_for(release_written_for() if every else None, named):
        if row.name not in REGISTRY:
            REGISTRY.add(row)
            PROCESS.rows.append(row.name)


def load_plugins() -> None:
    """Add the patches of other packages, once.

    This runs without the lock, because it imports the packages, and imports take locks, too.
    """
    with PROCESS.lock:
        loaded, PROCESS.plugins_loaded = PROCESS.plugins_loaded, True
    if loaded:
        return
    PROCESS.has_plugins = plugins.load(REGISTRY, switches.names("SHIM_SKIP"))
    for variable in ("SHIM_SKIP", "SHIM_PATCHES"):
        for name in switches.names(variable):
            if not is_known(name) and ":" not in name:  # shim.guard may add a patch called module:Class
                _log.warning("%s names %r, which is not a patch; %s", variable, name, known_names(name))


def _await(modules: set[str]) -> None:
    """Wait for modules that are not imported yet, and for those that are being imported now and import torch."""
    import_hook.AWAITED.update(modules)
    for name in filter(_is_being_imported, modules):
        spec = sys.modules[name].__spec__
        if type(spec) is ModuleSpec:
            spec.__class__ = _SpecInProgress


def _is_being_imported(name: str) -> bool:
    return is_being_imported(sys.modules.get(name))


class _SpecInProgress(ModuleSpec):
    """The spec of a module that is being imported. It notices when the import system marks the import as complete.

    The loader of such a module is running already, so it is too late to wrap that. All that the import system does when
    the module is complete is ``spec._initializing = False``:
    https://github.com/python/cpython/blob/v3.11.7/Lib/importlib/_bootstrap.py#L705
    So this class makes a property of that attribute. The first assignment gives the spec its own class back, and nobody
    sees this one afterwards.
    """

    @property
    def _initializing(self) -> bool:
        return bool(vars(self)["_initializing"])

    @_initializing.setter
    def _initializing(self, value: bool) -> None:
        self.__class__ = ModuleSpec  # type: ignore[assignment]
        self._initializing = value
        _import_completed(self.name)


def _import_completed(name: str) -> None:
    """Apply what is left to be applied to a module whose import was in progress when it was awaited."""
    if name == "torch":
        _watch_for_the_hint()
        if import_hook.state["door"] is None:
            return
        load_plugins()
        # The guards are applied by now. Only patches of other packages and rows of the table can be left.
        if not (PROCESS.has_plugins or PROCESS.rows):
            return
    # Without just_run: by now the import system has moved the module to the end of sys.modules, behind the modules that
    # hold its objects, so replace.everywhere must look through all of them.
    import_hook.arrived(name)


_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _set_up_logging() -> None:
    level = switches.text("SHIM_LOG").upper()
    if level and level not in _LEVELS and level not in PROCESS.complained:
        PROCESS.complained.add(level)
        _log.warning("SHIM_LOG=%s is not a level; there are: %s", level.lower(), ", ".join(_LEVELS).lower())
    if level in _LEVELS and not _log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("shim: %(message)s"))
        _log.addHandler(handler)
        _log.setLevel(level)
        _log.propagate = False


def report() -> None:
    """Print, at exit, where the guards found a None in this process."""
    from .api import status

    places = status().fired
    lines = [str(place) for place in places] or ["the guards found no weight_decay=None"]
    sys.stderr.write("".join(f"shim[{os.getpid()}]: {line}\n" for line in lines))
