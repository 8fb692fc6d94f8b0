"""Replace an object by another: in one attribute, or in every module that holds it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Callable, Iterable, List

#: The functions that undo a patch, in the order of its changes. Each one is appended before its change is made, because
#: a Ctrl-C or a MemoryError can come between any two lines.
Undos = List[Callable[[], None]]


def attribute(owner: Any, name: str, new: Any, undos: Undos) -> None:
    """Set an attribute.

    Args:
        owner: a module or a class.
        name: the name of the attribute.
        new: its value.
        undos: gets a function that restores the old object, unless other code has set the attribute since.
    """
    absent = name not in vars(owner)
    old = vars(owner).get(name)

    def undo() -> None:
        if vars(owner).get(name) is not new:
            return  # other code has wrapped the new object. That stays in the wrapper, and its PatchSwitch is off
        if absent:
            delattr(owner, name)
        else:
            setattr(owner, name, old)

    undos.append(undo)
    setattr(owner, name, new)


#: The files of rows hold the new objects. They are not replaced there when the old ones are given back.
_ROWS = __name__.rpartition(".")[0] + ".rows."

#: Returns the dictionary of a module. ``vars`` would import a module of importlib.util.LazyLoader:
#: https://github.com/python/cpython/blob/v3.11.7/Lib/importlib/util.py#L226
_names_in = vars(ModuleType)["__dict__"].__get__


def everywhere(pairs: Iterable[tuple[Any, Any]], made_by: str = "") -> None:
    """Replace each old object by the new one in every module that holds it.

    The old object is found by identity, because aliases and imports have other names.

    Args:
        pairs: the old and the new objects.
        made_by: the module that defines the old objects, if it has just been executed. Only this module and those that
            were imported since it began can hold them.
    """
    new_for = {id(old): new for old, new in pairs if old is not new}
    if not new_for:
        return
    for old, new in new_for.items():
        while id(new) in new_for:  # two patches of one function: the second one wraps the result of the first one
            new = new_for[id(new)]
        new_for[old] = new
    modules = list(sys.modules)
    for each in modules[modules.index(made_by) if made_by in modules else 0 :]:
        module = None if each.startswith(_ROWS) else sys.modules.get(each)
        if isinstance(module, ModuleType) and not new_for.keys().isdisjoint(map(id, list(_names_in(module).values()))):
            held = [(name, id(value)) for name, value in list(_names_in(module).items()) if id(value) in new_for]
            for name, old in held:
                setattr(module, name, new_for[old])
