"""The kinds of targets: a small class for each, which finds the place in the loaded modules and changes it.

Here are those of the guards, which every process needs. The others are in ``row_kinds``.
"""

from __future__ import annotations

import inspect
import sys
from operator import attrgetter
from types import ModuleType
from typing import Any, Iterator

from . import guards
from .modules import add_to_class
from .record import Record
from .replace import Undos
from .targets import Target, expanded


class Change(Record):
    """A target that was found and changed.

    With ``swap``, the registry replaces ``old`` by ``new`` in every module that holds it, by identity, for all changes
    at once.
    """

    target: Target
    owner: Any
    old: Any
    new: Any
    swap: bool = False


class Kind:
    """How targets of one kind are found and changed. By default they are found by their path."""

    def find(self, target: Target) -> tuple[Any, Any] | None:
        """Return the owner of the last attribute, and the value of the attribute; None if it does not exist."""
        if target.value is not None:
            return target.value, target.value
        module = sys.modules.get(target.module)
        if module is None:
            return None
        owner_path, _, name = target.path.partition(":")[2].rpartition(".")
        try:
            return self.read(attrgetter(owner_path)(module) if owner_path else module, name)
        except (AttributeError, KeyError, TypeError):
            return None

    def read(self, owner: Any, name: str) -> tuple[Any, Any] | None:
        """Return the owner and its attribute of that name."""
        return owner, getattr(owner, name)

    def is_done(self, target: Target, found: tuple[Any, Any], changes: list[Change]) -> bool:
        """Tell whether this place is patched already."""
        done = [(id(change.owner), change.target.attribute) for change in changes]
        return (id(found[0]), target.attribute) in done

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Change the target. ``undos`` gets what undoes it, except for a swap."""
        raise NotImplementedError


class Guard(Kind):
    """The None guard of an optimizer class, in its constructor or in its step."""

    def __init__(self, guard: str) -> None:
        self._guard = guard

    def find(self, target: Target) -> tuple[Any, Any] | None:
        """Return the owner and the class; None for anything else of this name, as in a stub of the package."""
        found = super().find(target)
        return found if found and isinstance(found[1], type) and hasattr(found[1], "step") else None

    def is_done(self, target: Target, found: tuple[Any, Any], changes: list[Change]) -> bool:
        """Tell whether the class is guarded already, through this path or an alias."""
        return id(found[1]) in [id(change.old) for change in changes]

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Guard the class."""
        owner, value = found
        getattr(guards, self._guard)(value, switch, layout, undos)
        return Change(target, owner, value, None)


class Functional(Kind):
    """The None guard of a function, which several modules may hold."""

    def is_done(self, target: Target, found: tuple[Any, Any], changes: list[Change]) -> bool:
        """Tell whether the function is guarded already, or the function that torch has wrapped in it."""
        value = found[1]
        if guards.is_dispatcher(value):
            return True
        done = [id(each) for change in changes for each in (change.new, change.old)]
        while value is not None:
            if id(value) in done:
                return True
            value = vars(value).get("__wrapped__") if hasattr(value, "__dict__") else None
        return False

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Make the guard, which the registry swaps in."""
        owner, value = found
        return Change(target, owner, value, guards.functional(value, switch, layout), swap=True)


class Submodule(Kind):
    """A submodule that torch has deleted from its package after importing it.

    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/__init__.py#L38

    Programs search ``vars(torch.optim)`` for optimizers by a name in lower case, and would take the module for one. So
    the module can be accessed as an attribute, but is not in ``vars`` and ``dir``. A call of it calls ``how(package)``.
    """

    def find(self, target: Target) -> tuple[Any, Any] | None:
        """Return the package and the submodule, if the package lacks it."""
        owner = sys.modules.get(target.module)
        module = sys.modules.get(f"{target.module}.{target.attribute}")
        return (owner, module) if owner and module and target.attribute not in vars(owner) else None

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Give the class of the package the attribute, and the submodule a call."""
        owner, module = found

        def call(self: ModuleType, *args: Any, **kwargs: Any) -> Any:
            return target.how(owner)(*args, **kwargs)

        signature = property(lambda self: inspect.signature(target.how(owner)))
        add_to_class(owner, undos, **{target.attribute: module})
        add_to_class(module, undos, __call__=call, __signature__=signature)
        return Change(target, owner, None, module)


KINDS: dict[str, Kind] = {
    "constructor": Guard("constructor"),
    "step": Guard("step"),
    "functional": Functional(),
    "submodule": Submodule(),
}


def kind_of(target: Target) -> Kind:
    """Return the kind of a target. Those that the guards do not need are loaded when a target is of one of them."""
    if target.kind not in KINDS:
        from . import row_kinds

        KINDS.update(row_kinds.KINDS)
    return KINDS[target.kind]


def find(target: Target) -> tuple[Any, Any] | None:
    """Return the owner of a target's last attribute, and its value; None if it does not exist."""
    return kind_of(target).find(target)


def guarded_by(wanted: tuple[Target, ...]) -> Iterator[Any]:
    """Yield what the None guards among the targets guard: classes, and names of functional forms."""
    for target in expanded(wanted):
        found = find(target) if isinstance(kind_of(target), (Guard, Functional)) else None
        if found is not None:
            yield found[1] if isinstance(found[1], type) else target.attribute
