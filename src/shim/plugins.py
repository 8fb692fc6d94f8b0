"""Patches of other packages: a decorator that makes a patch, and the entry points that name patches."""

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
    r"""Make a patch out of a function that is called in place of another one.

    The function has the signature of a wrapt wrapper, ``(wrapped, instance, args, kwargs)``. To have the patch applied
    wherever shim is on, name it as an entry point of the group ``shim.patches``, as in ``examples/patch_package``.

    Args:
        target: the module and the dotted attribute, ``"acme.trainer:Trainer.fit"``. It may be imported later.
        reason: why the patch exists, for the status and doctor.
        name: its name there and in SHIM_SKIP; by default the name of the function.
        versions: the torch releases that it is for, as a version specifier; by default all.
        package: another package that must be installed, and its releases, ``"acme>=1.2,<2"``.
        optional: applied only if SHIM_PATCHES or ``shim.activate(name)`` names it.
        answers: the error messages that it fixes, as regular expressions, for ``doctor --explain``.

    Returns:
        A decorator, which returns the patch.

    Examples:
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
    """Add the patches that the installed packages name. One that cannot be loaded is reported as failed, and left out.

    Args:
        registry: where to add them.
        skip: the names of entry points that are not loaded.

    Returns:
        Whether there are any.
    """
    try:
        entries = {(entry.name, entry.value): entry for entry in _entry_points()}  # a package may be on the path twice
    except Exception as error:  # metadata of some package that cannot be read
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
                    raise TypeError(f"{each!r} is not a shim.Patch")
                registry.add(each)
        except KeyboardInterrupt:  # meant for the program
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
    """Tell whether an installed package may have an entry point of the group.

    Most environments have none, and importlib.metadata is slow. This searches the same directories. The answer is yes
    if there are archives, or finders other than Python's own, which cannot be searched here.
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
