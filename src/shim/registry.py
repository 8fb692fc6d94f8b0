"""Patches, and the registry that applies and restores them."""

from __future__ import annotations

import re
import sys
from typing import Any, Callable, Iterable, Iterator, Mapping

from . import guards, releases, replace
from .layout import Layout
from .record import Record
from .target_kinds import Change, Kind, guarded_by, kind_of
from .targets import Target, expanded


class Patch(Record):
    """A named, reversible change to one or more targets. A patch without targets is advice.

    For example, the None guards of an optimizer are a patch. ``shim.patch`` makes one out of a function.

    Examples:
        >>> import shim
        >>> targets = tuple(shim.Target(kind, "acme.optim:Acme") for kind in ("constructor", "step"))
        >>> shim.Patch("acme", "Acme computes with weight_decay", targets).versions
        ''
    """

    name: str
    reason: str
    targets: tuple[Target, ...]
    #: The torch releases that it is for, as a version specifier (``releases.is_in``); empty for all.
    versions: str = ""
    #: Another package that must be installed, and its releases: ``"acme>=1.2,<2"``.
    package: str = ""
    #: Applied only if SHIM_PATCHES or ``shim.activate(name)`` names it.
    optional: bool = False
    #: Added to the outcome, for example the releases of the package that it was tested with.
    note: str = ""
    #: The error messages that it fixes, as regular expressions.
    answers: tuple[str, ...] = ()
    #: For a breakage: the releases on which such a program works without shim. The patch is applied if the release that
    #: the program was written for is among them, and the installed one is not.
    works: str = ""
    #: The package whose releases ``works`` is about.
    of: str = "torch"
    #: For a breakage: a program that prints a result on the releases in ``works``, and on others dies with a message
    #: that the patch answers.
    example: str = ""
    #: The condition under which the patch helps, if the message has other causes, too. Then no hint is printed.
    only_if: str = ""
    #: A sentence that explain adds, with the named groups of the expression that matched: ``{unsafe}``.
    more: str = ""
    #: For arguments that only some values can be given: tells of an argument's name and value whether the patch helps.
    #: The value is ``...`` if it is not known. Then ``more`` is the condition.
    helps: Callable[[str, Any], bool] | None = None


class Outcome(Record):
    """The state of a patch in this process."""

    patch: str
    #: ``"applied"``, ``"skipped"`` or ``"failed"``; ``"planned"`` in a dry run. For a breakage also ``"not needed
    #: here"``, ``"not for this program"``, ``"left out"`` and ``"advice"``.
    state: str
    #: Where it is applied, why it was skipped, or the error with which it failed.
    reason: str


#: The states that stay as they are, whatever the program imports later.
FINAL = ("not needed here", "not for this program", "left out")


class Choice(Record):
    """What the user has chosen."""

    #: The names of patches to leave out, each with the reason.
    left_out: Mapping[str, str] = {}
    #: The names of optional patches to apply.
    named: frozenset[str] = frozenset()
    #: The release of torch that the program was written for.
    written_for: releases.Release | None = None


class _Applied(Record):
    switch: guards.PatchSwitch
    changes: list[Change]
    undos: replace.Undos


class Registry:
    """The ordered table of patches, and their states.

    Raises:
        ValueError: if two patches have the same name.
    """

    def __init__(self, patches: Iterable[Patch] = ()) -> None:
        self._patches: dict[str, Patch] = {}
        #: Module -> the names of the patches that touch it.
        self._touching: dict[str, dict[str, None]] = {}
        self._applied: dict[str, _Applied] = {}
        self._outcomes: dict[str, Outcome] = {}
        #: The outcomes of patches that could not be loaded, by name.
        self.absent: dict[str, Outcome] = {}
        for patch in patches:
            self.add(patch)

    def add(self, patch: Patch) -> None:
        """Append a patch to the table. It takes effect when the table is applied next."""
        if patch.name in self._patches:
            raise ValueError(f"a patch named {patch.name!r} is registered already")
        self._set_patch(patch)

    def extend(self, patch: Patch) -> None:
        """Add the targets of a patch to those of the one that has its name; append it if there is none."""
        self.absent.pop(patch.name, None)
        known = self._patches.get(patch.name, patch._replace(targets=()))
        new = (target for target in patch.targets if target not in known.targets)
        self._set_patch(known._replace(targets=(*known.targets, *new)))

    def remove(self, names: Iterable[str]) -> None:
        """Remove patches, which must not be applied, from the table."""
        for name in names:
            del self._patches[name]
            self._outcomes.pop(name, None)
            for touching in self._touching.values():
                touching.pop(name, None)

    def _set_patch(self, patch: Patch) -> None:
        self._patches[patch.name] = patch
        for target in patch.targets:
            self._touching.setdefault(target.module, {})[patch.name] = None
            if target.kind == "module" and "." in target.path:  # it can be made once its package is imported
                self._touching.setdefault(target.path.rpartition(".")[0], {})[patch.name] = None
        if patch.works and patch.targets:  # its release is known when the import of the package is complete
            self._touching.setdefault(patch.of, {})[patch.name] = None

    def __iter__(self) -> Iterator[Patch]:
        return iter(list(self._patches.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._patches or name in self.absent

    def modules(self) -> set[str]:
        """Return the modules of the targets, for the patches that may be applied once these modules are imported."""
        return {
            module
            for module, names in self._touching.items()
            if [name for name in names if name not in self._outcomes or self._outcomes[name].state not in FINAL]
        }

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return the state of each patch, in the order of the table."""
        here = (self._outcomes.get(patch.name, Outcome(patch.name, "skipped", "not applied yet")) for patch in self)
        return (*here, *self.absent.values())

    def plan(self, layout: Layout, choice: Choice) -> tuple[Outcome, ...]:
        """Return what ``apply`` would do now, and change nothing. The arguments are those of ``apply``."""
        return (*(self._plan_one(patch, layout, choice) for patch in self), *self.absent.values())

    def apply(
        self, layout: Layout | None, choice: Choice, names: Iterable[str] | None = None, arriving: str = ""
    ) -> None:
        """Apply every patch to those of its targets that exist. A target that is patched already stays as it is.

        An error in a patch is not raised. The patch is taken back, and its outcome has the error.

        Args:
            layout: the layout of the loaded torch; None if torch is not loaded.
            choice: what the user has chosen.
            names: the names of the patches to apply; None for all.
            arriving: a module that has just been executed.
        """
        changes: list[Change] = []
        for name in list(self._patches) if names is None else names:
            changes += self._apply_one(self._patches[name], layout, choice)
        swaps = [change for change in changes if change.swap]
        # Only modules that were imported after `arriving` can hold its objects. Lists, here and in target_kinds: a
        # generator that any() or all() leaves early swallows the Ctrl-C that comes while it is closed.
        outside = [change for change in swaps if not f"{change.target.module}.".startswith(arriving + ".")]
        replace.everywhere([(change.old, change.new) for change in swaps], "" if outside else arriving)

    def touching(self, module: str) -> list[str]:
        """Return the names of the patches that touch a module."""
        return list(self._touching.get(module, ()))

    def restore(self) -> None:
        """Restore the original objects, except where other code has replaced ours."""
        self._take_back([self._applied.pop(name) for name in reversed(list(self._applied))])
        guards.GUARDED.left_out.clear()
        self._outcomes.clear()

    def _plan_one(self, patch: Patch, layout: Layout, choice: Choice) -> Outcome:
        if patch.name in self._applied:
            return self._outcomes[patch.name]
        try:
            verdict = _verdict(patch, layout, choice)
            return verdict or _outcome(patch, "planned", [target for target, _, _ in _existing(patch)])
        except Exception as error:
            return Outcome(patch.name, "failed", in_words(error))

    def _apply_one(self, patch: Patch, layout: Layout | None, choice: Choice) -> list[Change]:
        """Apply a patch, and return its changes. ``apply`` replaces the old objects of all patches at once."""
        applied = self._applied.get(patch.name) or _Applied(guards.PatchSwitch(), [], [])
        new: list[Change] = []
        before = len(applied.undos)
        cls: Any = None
        # Of the classes that shim.guard was given, one that fails is taken back alone.
        changed = {id(change.target) for change in applied.changes if change.target.value is not None}
        try:
            verdict = _verdict(patch, layout, choice)
            if verdict is not None:
                self._outcomes[patch.name] = verdict
                if patch.name in choice.left_out:  # the patch's classes may share a step or a form with guarded ones
                    guards.GUARDED.left_out.update(dict.fromkeys(guarded_by(patch.targets)))
                return []
            for target, kind, found in _existing(patch):
                if id(target) in changed:
                    continue
                cls = target.value
                alike = [change for change in applied.changes + new if change.target.kind == target.kind]
                if not kind.is_done(target, found, alike):
                    new.append(kind.change(target, found, applied.switch, layout, applied.undos))
        except BaseException as error:
            if changed:
                self._take_back([_Applied(guards.PatchSwitch(), new, applied.undos[before:])])
                del applied.undos[before:]
            else:
                self._applied.pop(patch.name, None)
                self._take_back([applied._replace(changes=applied.changes + new)])
            if isinstance(error, KeyboardInterrupt):  # a Ctrl-C is meant for the program
                raise
            self._outcomes[patch.name] = Outcome(patch.name, "failed", in_words(error))
            if cls is not None:
                self._drop(cls, patch)
            return []
        applied.changes.extend(new)
        if applied.changes:
            self._applied[patch.name] = applied
        places = [change.target for change in applied.changes]
        self._outcomes[patch.name] = _outcome(patch, "applied", places, patch.note)
        return new

    def _drop(self, cls: Any, patch: Patch) -> None:
        """Drop a class that failed, so that the next one of its name can be guarded."""
        kept = tuple(target for target in patch.targets if target.value is not cls)
        if kept:
            self._patches[patch.name] = patch._replace(targets=kept)
        else:
            self.absent[patch.name] = self._outcomes[patch.name]
            self.remove([patch.name])

    @staticmethod
    def _take_back(patches: list[_Applied]) -> None:
        for applied in patches:
            applied.switch.on = False
        for applied in patches:
            for undo in reversed(applied.undos):
                undo()
        changes = [change for applied in patches for change in reversed(applied.changes)]
        replace.everywhere((change.new, change.old) for change in changes if change.swap)


def in_words(error: BaseException) -> str:
    """Return the type and the message of an error. Its ``__str__`` may raise an error itself."""
    try:
        return f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException:  # raised by its own __str__
        return type(error).__name__


def _verdict(patch: Patch, layout: Layout | None, choice: Choice) -> Outcome | None:
    """Return why a patch is not applied here, whether or not its targets exist; None if it is applied."""
    breakage = bool(patch.works)
    if patch.name in choice.left_out:
        return Outcome(patch.name, "left out" if breakage else "skipped", choice.left_out[patch.name])
    if not patch.targets:
        return Outcome(patch.name, "advice", patch.reason)
    named = patch.name in choice.named
    if patch.optional and not named:
        return Outcome(patch.name, "skipped", f"optional: SHIM_PATCHES={patch.name} switches it on")
    if breakage:
        return _verdict_on_breakage(patch, layout, choice, named)
    if layout is None:
        return Outcome(patch.name, "skipped", "torch is not imported")
    if not releases.is_in(layout.version.numbers, patch.versions):
        return Outcome(patch.name, "skipped", f"for torch {patch.versions}, this is {layout.version}")
    if patch.package:
        from importlib.metadata import PackageNotFoundError, version

        name, specifier = re.findall(r"^([\w.-]+)(.*)", patch.package)[0]
        try:
            installed = version(name)
        except PackageNotFoundError:
            return Outcome(patch.name, "skipped", f"{name} is not installed")
        if not releases.is_in(releases.release(installed, name).numbers, specifier):
            return Outcome(patch.name, "skipped", f"for {patch.package}, this is {installed}")
    return None


def _verdict_on_breakage(patch: Patch, layout: Layout | None, choice: Choice, named: bool) -> Outcome | None:
    installed = layout.version if patch.of == "torch" and layout else installed_release(patch.of)
    if installed is None:
        return Outcome(patch.name, "skipped", f"{patch.of} is not imported")
    if releases.is_in(installed.numbers, patch.works):
        return Outcome(patch.name, "not needed here", f"works with {patch.of} {patch.works}, this is {installed}")
    if layout is not None and not releases.is_in(layout.version.numbers, patch.versions):
        return Outcome(patch.name, "skipped", f"for torch {patch.versions}, this is {layout.version}")
    if named:
        return None
    if choice.written_for is None:
        return Outcome(patch.name, "skipped", f"off: SHIM_PATCHES={patch.name} or SHIM_FOR switches it on")
    of_its_time = releases.of_the_time(patch.of, choice.written_for)
    if not releases.is_in(of_its_time, patch.works):
        told = ".".join(map(str, of_its_time))
        return Outcome(
            patch.name, "not for this program", f"works with {patch.of} {patch.works}, it was written for {told}"
        )
    return None


def installed_release(package: str) -> releases.Release | None:
    """Return the release of a package that is loaded; None if it is not."""
    if package == "python":
        return releases.release(sys.version)
    version = getattr(sys.modules.get(package), "__version__", None)
    return None if version is None else releases.release(version, package)


def _existing(patch: Patch) -> Iterator[tuple[Target, Kind, tuple[Any, Any]]]:
    """Yield the targets that exist, each with its kind, and with its owner and value."""
    for target in expanded(patch.targets):
        kind = kind_of(target)
        found = kind.find(target)
        if found is not None:
            yield target, kind, found


def _outcome(patch: Patch, state: str, places: list[Target], note: str = "") -> Outcome:
    """Return the outcome of a patch: the state if there is a place to patch, else why there is none."""
    if not places:
        return Outcome(patch.name, "skipped", _missing(patch.targets))
    return Outcome(patch.name, state, _listed(places) + (f" ({note})" if note else ""))


def _listed(found: list[Target]) -> str:
    """List the places, each module once: ``torch.optim.adam: Adam, _single_tensor_adam; …``."""
    names: dict[str, dict[str, None]] = {}
    for target in found:
        module, _, name = target.path.partition(":")
        names.setdefault(module, {})[name or "the module"] = None
    return "; ".join(f"{module}: {', '.join(_some(list(inside)))}" for module, inside in names.items())


def _some(names: list[str]) -> list[str]:
    return names if len(names) <= 20 else [*names[:3], f"and {len(names) - 3} more"]


def _missing(wanted: tuple[Target, ...]) -> str:
    modules = sorted({target.module for target in wanted})
    if not sys.modules.keys().isdisjoint(modules):
        return f"{wanted[0].path} does not exist in the installed release"
    return f"{modules[0]} is not imported" + (f", nor are {len(modules) - 1} more" if modules[1:] else "")
