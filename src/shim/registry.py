"""Patches as values, and the two things that are done with them: apply and restore."""

from __future__ import annotations

import sys
from operator import attrgetter
from typing import Any, Callable, Iterable, Iterator, NamedTuple

from packaging.specifiers import SpecifierSet

from . import guards
from .layout import Layout


class Target(NamedTuple):
    """A place to patch.

    ``path`` is a module and a dotted attribute, ``"torch.optim.adam:Adam"``; ``kind`` says what is done there:

    - ``"constructor"``, ``"step"``: the None guard of an optimizer class;
    - ``"functional"``: the None guard of a function, in every module that holds it;
    - ``"submodule"``: the attribute is given the module of that name, which torch has deleted from its package.
    """

    kind: str
    path: str
    #: The object itself, where it may not be found by its path: a class that a function defines, say.
    value: Any = None


class Patch(NamedTuple):
    """A named, reversible change to one or more targets."""

    name: str
    reason: str
    targets: tuple[Target, ...]
    #: The torch releases that it is for, as a specifier of the ``packaging`` library; empty for all.
    versions: str = ""


class Outcome(NamedTuple):
    """What became of a patch here."""

    patch: str
    #: ``"applied"``, ``"skipped"`` or ``"failed"``
    state: str
    #: In words: where it is applied, why it was skipped, which error it failed with.
    reason: str


class _Change(NamedTuple):
    """A target that was found and changed. For a functional ``old`` and ``new`` say what was swapped."""

    target: Target
    owner: Any
    old: Any
    new: Any
    undo: Callable[[], None] | None


class _Applied(NamedTuple):
    switch: guards.Switch
    changes: list[_Change]


class Registry:
    """The ordered table of patches, and what became of them.

    Raises:
        ValueError: if two patches have the same name.
    """

    def __init__(self, patches: Iterable[Patch] = ()) -> None:
        self._patches: dict[str, Patch] = {}
        self._applied: dict[str, _Applied] = {}
        self._outcomes: dict[str, Outcome] = {}
        for patch in patches:
            self.add(patch)

    def add(self, patch: Patch) -> None:
        """Append a patch to the table; it takes effect when the table is applied next."""
        if patch.name in self._patches:
            raise ValueError(f"a patch named {patch.name!r} is registered already")
        self._patches[patch.name] = patch

    def __iter__(self) -> Iterator[Patch]:
        return iter(list(self._patches.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._patches

    def modules(self) -> list[str]:
        """List the modules that the targets lie in."""
        return sorted({target.path.partition(":")[0] for patch in self for target in patch.targets})

    def outcomes(self) -> tuple[Outcome, ...]:
        """Tell what became of each patch, in the order of the table."""
        return tuple(
            self._outcomes.get(patch.name, Outcome(patch.name, "skipped", "not applied yet")) for patch in self
        )

    def apply(self, layout: Layout, skip: Iterable[str] = (), only: str | None = None) -> None:
        """Apply every patch as far as its targets are there; what is applied already stays as it is.

        Nothing that goes wrong in a patch gets out of here: the patch is taken back and its outcome says why.

        Args:
            layout: of the torch that is loaded.
            skip: the names of patches to leave out.
            only: the name of the one patch to apply; None for all.
        """
        skip = set(skip)
        swaps: list[tuple[Any, Any]] = []
        for patch in self if only is None else (self._patches[only],):
            if patch.name in skip:
                self._set(patch, "skipped", "left out by SHIM_SKIP")
            elif not SpecifierSet(patch.versions).contains(layout.version, prereleases=True):
                self._set(patch, "skipped", f"for torch {patch.versions}, this is {layout.version}")
            else:
                swaps += self._apply_one(patch, layout)
        guards.swap_everywhere(swaps)

    def restore(self) -> None:
        """Put everything back as it was, wherever it is still ours."""
        self._take_back([self._applied.pop(name) for name in reversed(list(self._applied))])
        self._outcomes.clear()

    def _apply_one(self, patch: Patch, layout: Layout) -> list[tuple[Any, Any]]:
        """Apply a patch but for its functionals, whose swaps are returned, to be made for all patches at once."""
        applied = self._applied.get(patch.name) or _Applied(guards.Switch(), [])
        new: list[_Change] = []
        try:
            for target in patch.targets:
                found = resolve(target)
                if found is not None and not _is_done(target, found, applied.changes + new):
                    new.append(_change(target, found, applied.switch, layout))
        except BaseException as error:
            self._applied.pop(patch.name, None)
            self._take_back([_Applied(applied.switch, applied.changes + new)])
            if not isinstance(error, Exception):
                raise
            self._set(patch, "failed", f"{type(error).__name__}: {error}")
            return []
        applied.changes.extend(new)
        if applied.changes:
            self._applied[patch.name] = applied
            self._set(patch, "applied", _places(applied.changes))
        else:
            self._set(patch, "skipped", _missing(patch.targets))
        return [(change.old, change.new) for change in new if change.undo is None]

    def _set(self, patch: Patch, state: str, reason: str) -> None:
        self._outcomes[patch.name] = Outcome(patch.name, state, reason)

    @staticmethod
    def _take_back(patches: list[_Applied]) -> None:
        for applied in patches:
            applied.switch.on = False
        changes = [change for applied in patches for change in reversed(applied.changes)]
        for change in changes:
            if change.undo is not None:
                change.undo()
        guards.swap_everywhere((change.new, change.old) for change in changes if change.undo is None)


def resolve(target: Target) -> tuple[Any, Any] | None:
    """Return the owner of a target's last attribute, and what it holds; None if it is not there."""
    if target.value is not None:
        return target.value, target.value
    module_name, _, path = target.path.partition(":")
    module = sys.modules.get(module_name)
    owner_path, _, name = path.rpartition(".")
    try:
        owner = attrgetter(owner_path)(module) if owner_path else module
        if target.kind == "submodule":
            return (owner, sys.modules[f"{module_name}.{path}"]) if name not in vars(owner) else None
        return owner, getattr(owner, name)
    except (AttributeError, KeyError, TypeError):
        return None


def _is_done(target: Target, found: tuple[Any, Any], changes: list[_Change]) -> bool:
    """Tell whether this very object is patched already: through this path, an alias, or before torch wrapped it."""
    owner, value = found
    same_kind = [change for change in changes if change.target.kind == target.kind]
    if target.kind == "functional":
        if guards.hands_on(value):
            return True
        while value is not None:
            if any(value is change.new or value is change.old for change in same_kind):
                return True
            value = vars(value).get("__wrapped__") if hasattr(value, "__dict__") else None
        return False
    if target.kind == "submodule":
        return any(owner is change.owner for change in same_kind)
    return any(value is change.old for change in same_kind)


def _change(target: Target, found: tuple[Any, Any], switch: guards.Switch, layout: Layout) -> _Change:
    owner, value = found
    if target.kind == "functional":
        return _Change(target, owner, value, guards.functional(value, switch, layout), undo=None)
    if target.kind == "submodule":
        name = target.path.partition(":")[2]
        return _Change(target, owner, None, value, guards.replace(owner, name, value))
    guard = {"constructor": guards.constructor, "step": guards.step}[target.kind]
    return _Change(target, owner, value, None, guard(value, switch, layout))


def _places(changes: list[_Change]) -> str:
    """Name what was changed, each module once: ``torch.optim.adam: Adam, _single_tensor_adam; …``."""
    names: dict[str, dict[str, None]] = {}
    for change in changes:
        module, _, name = change.target.path.partition(":")
        names.setdefault(module, {})[name] = None
    return "; ".join(f"{module}: {', '.join(inside)}" for module, inside in names.items())


def _missing(targets: tuple[Target, ...]) -> str:
    modules = sorted({target.path.partition(":")[0] for target in targets})
    if any(name in sys.modules for name in modules):
        return f"{targets[0].path} is not in this torch"
    return f"{modules[0]} is not imported" + (f", nor are {len(modules) - 1} more" if modules[1:] else "")
