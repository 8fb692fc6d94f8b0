"""Patches of other packages: a decorator that makes one, and the entry points that name them."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, Callable, Container, Iterable

from .registry import Outcome, Patch, Registry, in_words
from .targets import Target

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The entry-point group in which a package names its patches.
GROUP = "shim.patches"

if TYPE_CHECKING:
    Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]


def patch(
    target: str,
    *,
    reason: str,
    name: str | None = None,
    versions: str = "",
    package: str = "",
    optional: bool = False,
    answers: tuple[str, ...] = (),
) -> Callable[[Wrapper], Patch]:
    r"""Make a patch out of a function that is to be called in place of another.

    The function has wrapt's convention, ``(wrapped, instance, args, kwargs)``. To have the patch applied wherever
    shim is on, name it as an entry point of the group ``shim.patches``; ``examples/patch_package`` is such a package.

    Args:
        target: the module and the dotted attribute, ``"acme.trainer:Trainer.fit"``. It may be imported later.
        reason: why the patch exists, for the status and doctor.
        name: what it is called there and in SHIM_SKIP; by default the name of the function.
        versions: the torch releases that it is for, as a specifier; by default all.
        package: another package that must be installed, and its releases, ``"acme>=1.2,<2"``.
        optional: applied only where SHIM_PATCHES or ``shim.activate(name)`` names it.
        answers: the error messages that it is the answer to, as regular expressions, for ``doctor --explain``.

    Returns:
        A decorator, which returns the patch.

    >>> import shim
    >>> @shim.patch("acme.trainer:Trainer.fit", reason="Trainer.fit takes no seed of 0", package="acme<2")
    ... def seed_of_zero(wrapped, instance, args, kwargs):
    ...     return wrapped(*args, **{**kwargs, "seed": kwargs.get("seed") or 1})
    >>> seed_of_zero.name, seed_of_zero.targets[0].path
    ('seed_of_zero', 'acme.trainer:Trainer.fit')
    """

    def decorator(how: Wrapper) -> Patch:
        targets = (Target("wrapper", target, how=how),)
        return Patch(name or how.__name__, reason, targets, versions, package, optional, answers=answers)

    return decorator


def load(registry: Registry, skip: Container[str]) -> bool:
    """Add the patches that the installed packages name. One that cannot be had is reported as failed, and left out.

    Args:
        registry: to be added to.
        skip: the names of entry points to leave alone.

    Returns:
        Whether there are any.
    """
    try:
        entries = {(entry.name, entry.value): entry for entry in _entry_points()}  # a package may be on the path twice
    except Exception as error:  # metadata that cannot be read, whoever's they are
        registry.absent[GROUP] = Outcome(GROUP, "failed", in_words(error))
        return True
    for entry in entries.values():
        if entry.name in skip:
            registry.absent[entry.name] = Outcome(entry.name, "skipped", "left out by SHIM_SKIP")
            continue
        try:
            named = entry.load()
            for each in (named,) if isinstance(named, Patch) else named:
                if not isinstance(each, Patch):
                    raise TypeError(f"{each!r} is no shim.Patch")
                registry.add(each)
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as error:
            reason = f"{GROUP} = {entry.value}: {in_words(error)}"
            registry.absent[entry.name] = Outcome(entry.name, "failed", reason)
    return bool(entries)


def _entry_points() -> Iterable[EntryPoint]:
    if not _may_be_named():
        return ()
    from importlib.metadata import entry_points

    if sys.version_info >= (3, 10):
        return entry_points(group=GROUP)
    return entry_points().get(GROUP, ())


def _may_be_named() -> bool:
    """Look whether any package names our group; most environments have none, and importlib.metadata takes its time.

    It looks in the same places: where there are others than directories, or other finders than Python's own, it is to
    be asked.
    """
    others = (finder for finder in sys.meta_path if finder is not PathFinder)
    if any(hasattr(finder, "find_distributions") for finder in others):
        return True
    for place in dict.fromkeys(sys.path):
        try:
            names = os.listdir(place or ".")  # noqa: PTH208  # pathlib takes time
        except FileNotFoundError:
            continue
        except (OSError, TypeError):  # an archive
            return True
        for name in names:
            if name.lower().endswith((".dist-info", ".egg-info")) or name == "EGG-INFO":
                try:
                    with open(f"{place or '.'}/{name}/entry_points.txt", "rb", buffering=0) as file:  # noqa: PTH123
                        if GROUP.encode() in file.read():
                            return True
                except OSError:  # it has none, or is a file itself
                    pass
    return False
