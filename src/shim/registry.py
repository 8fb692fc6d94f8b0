"""Patches as values, and the two things that are done with them: apply and restore."""

from __future__ import annotations

import re
import sys
from operator import attrgetter
from types import ModuleType
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple

from packaging.specifiers import SpecifierSet

from . import guards
from .layout import Layout, weight_decay_of
from .lookalike import is_plain, wrap_like


class Target(NamedTuple):
    """A place to patch.

    ``path`` is a module and a dotted attribute, ``"torch.optim.adam:Adam"``. A ``*`` in place of a class stands for
    every class that the module holds and its package defines, of optimizers those that take weight_decay. ``kind``
    says what is done there:

    - ``"constructor"``, ``"step"``: the None guard of an optimizer class;
    - ``"functional"``: the None guard of a function, in every module that holds it;
    - ``"submodule"``: the attribute is given the module of that name, which torch has deleted from its package;
      where there is none any more, the one that ``how()`` makes;
    - ``"attribute"``: the attribute is given what ``how(owner)`` returns;
    - ``"wrapper"``: ``how(wrapped, instance, args, kwargs)`` is called in place of the function, as in wrapt;
    - ``"arguments"``: the same with all the arguments, those left out too, and with the very parameters to be seen.

    >>> import shim
    >>> shim.Target("step", "acme.optim:Acme").path
    'acme.optim:Acme'
    """

    kind: str
    path: str
    #: The object itself, where it may not be found by its path: a class that a function defines, say.
    value: Any = None
    how: Callable[..., Any] | None = None


class Patch(NamedTuple):
    """A named, reversible change to one or more targets.

    The None guards for an optimizer, for one; ``shim.patch`` makes a patch out of a function.

    >>> import shim
    >>> targets = tuple(shim.Target(kind, "acme.optim:Acme") for kind in ("constructor", "step"))
    >>> shim.Patch("acme", "Acme computes with weight_decay", targets).versions
    ''
    """

    name: str
    reason: str
    targets: tuple[Target, ...]
    #: The torch releases that it is for, as a specifier of the ``packaging`` library; empty for all.
    versions: str = ""
    #: Another package that must be installed, and its releases: ``"acme>=1.2,<2"``.
    package: str = ""
    #: Applied only where SHIM_PATCHES or ``shim.activate(name)`` names it.
    optional: bool = False
    #: What the outcome adds: with which releases of the package it was run, say.
    note: str = ""
    #: The error messages that it is the answer to, as regular expressions.
    answers: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What became of a patch here."""

    patch: str
    #: ``"applied"``, ``"skipped"`` or ``"failed"``; ``"planned"`` from a dry run
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
        #: What is to be said of patches that are not here, by name.
        self.absent: dict[str, Outcome] = {}
        for patch in patches:
            self.add(patch)

    def add(self, patch: Patch) -> None:
        """Append a patch to the table; it takes effect when the table is applied next."""
        if patch.name in self._patches:
            raise ValueError(f"a patch named {patch.name!r} is registered already")
        self._patches[patch.name] = patch

    def extend(self, patch: Patch) -> None:
        """Add the targets of a patch to those of the one that has its name; append it if there is none."""
        known = self._patches.get(patch.name, patch._replace(targets=()))
        new = (target for target in patch.targets if target not in known.targets)
        self._patches[patch.name] = known._replace(targets=(*known.targets, *new))

    def __iter__(self) -> Iterator[Patch]:
        return iter(list(self._patches.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._patches or name in self.absent

    def modules(self) -> list[str]:
        """List the modules that the targets lie in."""
        return sorted({target.path.partition(":")[0] for patch in self for target in patch.targets})

    def outcomes(self) -> tuple[Outcome, ...]:
        """Tell what became of each patch, in the order of the table."""
        here = (self._outcomes.get(patch.name, Outcome(patch.name, "skipped", "not applied yet")) for patch in self)
        return (*here, *self.absent.values())

    def plan(self, layout: Layout, skip: Mapping[str, str]) -> tuple[Outcome, ...]:
        """Tell what ``apply`` would do as things are, and change nothing. The arguments are those of ``apply``."""
        return (*(self._plan(patch, layout, skip) for patch in self), *self.absent.values())

    def apply(self, layout: Layout, skip: Mapping[str, str], only: str | None = None) -> None:
        """Apply every patch as far as its targets are there; what is applied already stays as it is.

        Nothing that goes wrong in a patch gets out of here: the patch is taken back and its outcome says why.

        Args:
            layout: of the torch that is loaded.
            skip: the names of patches to leave out, each with the reason.
            only: the name of the one patch to apply; None for all.
        """
        swaps: list[tuple[Any, Any]] = []
        for patch in self if only is None else (self._patches[only],):
            swaps += self._apply_one(patch, layout, skip)
        guards.swap_everywhere(swaps)

    def restore(self) -> None:
        """Put everything back as it was, wherever it is still ours."""
        self._take_back([self._applied.pop(name) for name in reversed(list(self._applied))])
        self._outcomes.clear()

    def _plan(self, patch: Patch, layout: Layout, skip: Mapping[str, str]) -> Outcome:
        if patch.name in self._applied:
            return self._outcomes[patch.name]
        try:
            misfit = _misfit(patch, layout, skip)
            if misfit:
                return Outcome(patch.name, "skipped", misfit)
            found = [target for target in _expanded(patch.targets) if resolve(target) is not None]
        except Exception as error:
            return Outcome(patch.name, "failed", in_words(error))
        return Outcome(patch.name, "planned" if found else "skipped", _places(found) or _missing(patch.targets))

    def _apply_one(self, patch: Patch, layout: Layout, skip: Mapping[str, str]) -> list[tuple[Any, Any]]:
        """Apply a patch but for its functionals, whose swaps are returned, to be made for all patches at once."""
        applied = self._applied.get(patch.name) or _Applied(guards.Switch(), [])
        new: list[_Change] = []
        try:
            misfit = _misfit(patch, layout, skip)
            if misfit:
                self._set(patch, "skipped", misfit)
                return []
            for target in _expanded(patch.targets):
                found = resolve(target)
                if found is not None and not _is_done(target, found, applied.changes + new):
                    new.append(_change(target, found, applied.switch, layout))
        except BaseException as error:
            self._applied.pop(patch.name, None)
            self._take_back([_Applied(applied.switch, applied.changes + new)])
            if isinstance(error, KeyboardInterrupt):  # the user's; every other is the patch's own
                raise
            self._set(patch, "failed", in_words(error))
            return []
        applied.changes.extend(new)
        if applied.changes:
            self._applied[patch.name] = applied
            note = f" ({patch.note})" if patch.note else ""
            self._set(patch, "applied", _places([change.target for change in applied.changes]) + note)
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


def in_words(error: BaseException) -> str:
    """Name an error of somebody's, which may not even be able to say what it is."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _misfit(patch: Patch, layout: Layout, skip: Mapping[str, str]) -> str:
    """Say why a patch is not for here, whatever its targets; nothing if it is."""
    if patch.name in skip:
        return skip[patch.name]
    if patch.versions and not SpecifierSet(patch.versions).contains(layout.version, prereleases=True):
        return f"for torch {patch.versions}, this is {layout.version}"
    if patch.package:
        from importlib.metadata import PackageNotFoundError, version

        name, specifier = re.findall(r"^([\w.-]+)(.*)", patch.package)[0]
        try:
            installed = version(name)
        except PackageNotFoundError:
            return f"{name} is not installed"
        if not SpecifierSet(specifier).contains(installed, prereleases=True):
            return f"for {patch.package}, this is {installed}"
    return ""


def _expanded(targets: tuple[Target, ...]) -> Iterator[Target]:
    """Yield the targets, each with a ``*`` once for every class that it stands for."""
    for target in targets:
        module_name, _, path = target.path.partition(":")
        if not path.startswith("*"):
            yield target
            continue
        for name, value in list(getattr(sys.modules.get(module_name), "__dict__", {}).items()):
            if not isinstance(value, type) or not f"{value.__module__}.".startswith(module_name + "."):
                continue
            if _name(target) in vars(value) or (path == "*" and _takes_weight_decay(value)):
                yield target._replace(path=f"{module_name}:{name}{path[1:]}")


def _takes_weight_decay(cls: Any) -> bool:
    return issubclass(cls, sys.modules["torch.optim"].Optimizer) and weight_decay_of(cls.__init__) is not None


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
            return (owner, target.how or sys.modules[f"{module_name}.{path}"]) if name not in vars(owner) else None
        if target.kind == "attribute":
            return (owner, vars(owner).get(name))
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
    if target.kind in ("constructor", "step"):
        return any(value is change.old for change in same_kind)
    return any(owner is change.owner and _name(target) == _name(change.target) for change in same_kind)


def _change(target: Target, found: tuple[Any, Any], switch: guards.Switch, layout: Layout) -> _Change:
    owner, value = found
    name = _name(target)
    if target.kind == "functional":
        return _Change(target, owner, value, guards.functional(value, switch, layout), undo=None)
    if target.kind in ("constructor", "step"):
        guard = {"constructor": guards.constructor, "step": guards.step}[target.kind]
        return _Change(target, owner, value, None, guard(value, switch, layout))
    if target.kind in ("wrapper", "arguments"):
        value = _unbound(owner, name, value)
        new = _wrapped(value, target, switch, isinstance(owner, type))
        return _Change(target, owner, value, new, guards.replace(owner, name, new))
    new = target.how(owner) if target.how else value
    undo = guards.replace(owner, name, new)
    return _Change(target, owner, value, new, _with_entry(new, undo) if isinstance(new, ModuleType) else undo)


def _unbound(owner: Any, name: str, value: Any) -> Any:
    """Return the function, staticmethod or classmethod itself, which a look at the class would bind."""
    for base in owner.__mro__ if isinstance(owner, type) else ():
        if name in vars(base):
            return vars(base)[name]
    return value


def _wrapped(value: Any, target: Target, switch: guards.Switch, in_class: bool) -> Any:
    how: Any = target.how
    exact = target.kind == "arguments"
    if isinstance(value, (staticmethod, classmethod)) and is_plain(value.__func__):
        method = isinstance(value, classmethod)
        return type(value)(wrap_like(value.__func__, how, lambda: switch.on, method, exact))
    if is_plain(value):
        return wrap_like(value, how, lambda: switch.on, in_class, exact)
    from wrapt import FunctionWrapper

    return FunctionWrapper(value, how, enabled=lambda: switch.on)


def _with_entry(module: ModuleType, undo: guards.Undo) -> guards.Undo:
    """Make a module importable under its name; the returned function takes that back, and calls ``undo``."""
    added = module.__name__ not in sys.modules
    sys.modules.setdefault(module.__name__, module)

    def undo_both() -> None:
        undo()
        if added and sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]

    return undo_both


def _name(target: Target) -> str:
    return target.path.partition(":")[2].rpartition(".")[2]


def _places(targets: list[Target]) -> str:
    """Name what is changed, each module once: ``torch.optim.adam: Adam, _single_tensor_adam; …``."""
    names: dict[str, dict[str, None]] = {}
    for target in targets:
        module, _, name = target.path.partition(":")
        names.setdefault(module, {})[name] = None
    return "; ".join(f"{module}: {', '.join(_some(list(inside)))}" for module, inside in names.items())


def _some(names: list[str]) -> list[str]:
    return names if len(names) <= 20 else [*names[:3], f"and {len(names) - 3} more"]


def _missing(targets: tuple[Target, ...]) -> str:
    modules = sorted({target.path.partition(":")[0] for target in targets})
    if any(name in sys.modules for name in modules):
        return f"{targets[0].path} is not in this torch"
    return f"{modules[0]} is not imported" + (f", nor are {len(modules) - 1} more" if modules[1:] else "")
