"""Activate and deactivate: the registry of this process, applied to the torch of this process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Iterable, Iterator, TypeVar

from . import import_hook, plugins, releases, switches, uncaught
from .layout import NEWEST_KNOWN, Layout, probe
from .modules import is_being_imported
from .patches.torch_optim import newcomers
from .process import PROCESS, REGISTRY, choice, is_known, known_names, release_written_for, rows_for, table
from .registry import Choice, Outcome, Patch, Registry
from .targets import Target

if TYPE_CHECKING:
    from .report import Status

_Class = TypeVar("_Class", bound=type)
_log = logging.getLogger("shim")


def activate(*patches: str, written_for: str | None = None) -> None:
    """Apply the guards in this process, now or as soon as torch is imported. A second call changes nothing.

    Args:
        patches: the names of optional patches to apply, too, as in SHIM_PATCHES.
        written_for: the release of torch that the program was written for, ``"1.7"``. What worked there and does not
            work with the installed torch works again, as with ``--for`` and SHIM_FOR.

    Raises:
        ValueError: if there is no patch of such a name, or no such release of torch. Then nothing was done.
        TypeError: if a name or the release is not a string.

    Examples:
        >>> import shim
        >>> shim.activate()
        >>> shim.activate("verbose", written_for="1.7")
    """
    if written_for is not None:
        releases.written_for(written_for)
    _check_names(patches)
    if written_for is not None:
        import_hook.state["written_for"] = written_for
    if patches or written_for is not None:
        _add_rows({*patches}, every=written_for is not None)
    PROCESS.named.update(patches)
    if "torch.optim" in sys.modules:
        import torch.optim  # noqa: F401  # if another thread imports it, wait here, before PROCESS.lock is taken
    import_hook.arm("activate", written_for)


def _check_names(patches: tuple[str, ...]) -> None:
    for name in patches:
        if not isinstance(name, str):
            raise TypeError(
                f"give the names of optional patches as strings, 'verbose', not {name!r}; "
                "the release of torch that the program was written for is another argument, written_for='1.7'"
            )
        if not is_known(name):
            raise ValueError(f"there is no patch {name!r}; {known_names(name)}")


def deactivate() -> None:
    """Undo all patches, and remove the import hook. A second call changes nothing.

    Examples:
        >>> import torch, shim
        >>> original = torch.optim.AdamW.__init__
        >>> shim.activate()
        >>> shim.deactivate()
        >>> torch.optim.AdamW.__init__ is original
        True
    """
    with PROCESS.lock:
        import_hook.disarm()
        REGISTRY.restore()
        if PROCESS.active and "torch._dynamo" in sys.modules and probe().compiled_reads_closures:
            # Code that was compiled with guards raises an error without them, because it looks into their closures:
            # https://github.com/pytorch/pytorch/blob/v2.3.1/torch/_dynamo/variables/functions.py#L229
            sys.modules["torch._dynamo"].reset()
        if PROCESS.rows:
            REGISTRY.remove(PROCESS.rows)
            PROCESS.rows.clear()
        PROCESS.named.clear()
        PROCESS.active = False
        atexit.unregister(_report)


@contextmanager
def activated() -> Iterator[None]:
    """Guard the code inside the ``with``, and restore the state before it at the end.

    Examples:
        >>> import shim
        >>> with shim.activated():
        ...     pass  # train
    """
    before = import_hook.state["door"]
    activate()
    try:
        yield
    finally:
        if before is None:
            deactivate()


def status() -> Status:
    """Return what shim does in this process, without changing anything.

    Examples:
        >>> import torch, shim
        >>> with shim.activated():
        ...     {outcome.patch: outcome.state for outcome in shim.status().outcomes}["adam"]
        'applied'
    """
    from .report import FoundNone, Status
    from .warning import NONES

    error = import_hook.state["error"]
    program = release_written_for()
    layout = probe() if "torch.optim" in sys.modules else None
    outcomes = REGISTRY.outcomes()
    if PROCESS.active and program is not None and layout is not None:
        outcomes += _unregistered(table()).plan(layout, choice())
    return Status(
        active=PROCESS.active,
        door=import_hook.state["door"],
        late=import_hook.state["late"],
        layout=layout,
        outcomes=outcomes,
        written_for=None if program is None else str(program),
        fired=tuple(FoundNone(name, where, line, times) for (name, where, line), times in list(NONES.times.items())),
        error=None if error is None else f"{type(error).__name__}: {error}",
    )


def plan(*patches: str, written_for: str | None = None) -> tuple[Outcome, ...]:
    """Return what ``activate`` with the same arguments would do in this process, without doing it: a dry run.

    Raises:
        RuntimeError: if torch.optim has not been imported in this process.
        ValueError: if there is no patch of such a name, or no such release of torch.
        TypeError: if a name or the release is not a string.

    Examples:
        >>> import torch, shim
        >>> {outcome.state for outcome in shim.plan()} <= {"planned", "applied", "skipped", "failed"}
        True
    """
    layout = probe()
    _load_plugins()
    program = release_written_for() if written_for is None else releases.written_for(written_for)
    _check_names(patches)
    chosen = choice()
    planned = Choice(chosen.left_out, chosen.named | {*patches}, program)
    with PROCESS.lock:
        rows = table() if program is not None else rows_for(None, planned.named)
        return (*REGISTRY.plan(layout, planned), *_unregistered(rows).plan(layout, planned))


def _unregistered(rows: Iterable[Patch]) -> Registry:
    """Return a registry of the rows that this process did not register, to plan an outcome for them, too."""
    return Registry(row for row in rows if row.name not in REGISTRY)


def patch_adam_optimizer() -> bool:
    """Import torch, activate, and return whether Adam is guarded.

    For code that calls a function of this name. Returns False if torch cannot be imported, or if SHIM_DISABLE or
    SHIM_SKIP turns Adam's guards off.

    Examples:
        >>> import shim
        >>> shim.patch_adam_optimizer()
        True
    """
    try:
        import torch.optim  # noqa: F401
    except ImportError:
        return False
    activate()
    return any(outcome.patch == "adam" and outcome.state == "applied" for outcome in REGISTRY.outcomes())


def guard(optimizer: _Class) -> _Class:
    """Guard your own optimizer class as torch's optimizers are guarded. Can be used as a decorator.

    A None for weight_decay, in the constructor or in a parameter group, is then taken as 0.0. Do not use it on an
    optimizer in which None has a meaning. The class is kept alive until ``deactivate``.

    Args:
        optimizer: a subclass of torch.optim.Optimizer.

    Returns:
        The class itself. It is guarded from now on, also if torch's own optimizers are not, unless SHIM_DISABLE is set.

    Raises:
        TypeError: if it is not a subclass of torch.optim.Optimizer.

    Examples:
        >>> import torch, shim
        >>> @shim.guard
        ... class Plain(torch.optim.SGD):
        ...     pass
    """
    base = getattr(sys.modules.get("torch.optim"), "Optimizer", ())
    if not (isinstance(optimizer, type) and issubclass(optimizer, base)):
        raise TypeError(f"shim.guard takes a subclass of torch.optim.Optimizer, not {optimizer!r}")
    path = f"{optimizer.__module__}:{optimizer.__qualname__}"
    with PROCESS.lock:
        targets = tuple(Target(kind, path, optimizer) for kind in ("constructor", "step"))
        REGISTRY.extend(Patch(path, "registered by shim.guard()", targets))
        if not import_hook.switched_on("SHIM_DISABLE"):
            REGISTRY.apply(probe(), choice(), [path])
            _log_outcomes(path)
    return optimizer


def apply(module: str, just_run: bool) -> None:
    """Apply the registry to the targets that are there. Called whenever an awaited module was imported.

    Args:
        module: the name of that module.
        just_run: it has just been executed: only modules that were imported since can hold its objects.
    """
    _set_up_logging()
    torch_is_there = "torch.optim" in sys.modules and not _is_being_imported("torch.optim")
    if torch_is_there and not _is_being_imported("torch"):
        _load_plugins()
    with PROCESS.lock:
        chosen = choice()
        _add_rows(chosen.named, every=chosen.written_for is not None)
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
            _log_outcomes()
            if not PROCESS.active and import_hook.switched_on("SHIM_REPORT"):
                atexit.register(_report)
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


def _log_outcomes(only: str = "") -> None:
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


def _add_rows(named: Iterable[str], every: bool) -> None:
    for row in rows_for(release_written_for() if every else None, named):
        if row.name not in REGISTRY:
            REGISTRY.add(row)
            PROCESS.rows.append(row.name)


def _load_plugins() -> None:
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
        _load_plugins()
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


def _report() -> None:
    """Print, at exit, where the guards found a None in this process."""
    places = status().fired
    lines = [str(place) for place in places] or ["the guards found no weight_decay=None"]
    sys.stderr.write("".join(f"shim[{os.getpid()}]: {line}\n" for line in lines))
