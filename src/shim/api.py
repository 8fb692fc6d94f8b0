"""The functions that a program calls: activate, deactivate, and look at what was done."""

from __future__ import annotations

import atexit
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterable, Iterator, TypeVar

from . import import_hook, releases
from .activation import add_rows, load_plugins, log_outcomes, report
from .layout import probe
from .process import PROCESS, REGISTRY, choice, is_known, known_names, release_written_for, rows_for, table
from .registry import Choice, Outcome, Patch, Registry
from .targets import Target

if TYPE_CHECKING:
    from .report import Status

_Class = TypeVar("_Class", bound=type)


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
        add_rows({*patches}, every=written_for is not None)
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
        atexit.unregister(report)


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
    load_plugins()
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
            log_outcomes(path)
    return optimizer
