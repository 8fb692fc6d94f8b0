"""Module objects: tell whether an import is complete, and add to a module what is not visible in its dictionary."""

from __future__ import annotations

import importlib
import sys
import threading
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Callable

from . import import_hook
from .replace import Undos


def is_being_imported(module: Any) -> bool:
    """Tell whether the import of a module is not complete; False for None."""
    if module is None:
        return False
    # Of importlib.util.LazyLoader, and not executed yet; or just executed, as it keeps this class until its loader has
    # returned. A look at an attribute could execute it.
    # https://github.com/python/cpython/blob/v3.14.0/Lib/importlib/util.py#L174
    if type(module).__name__ == "_LazyModule":
        held = object.__getattribute__(module, "__dict__")
        loading = (getattr(held.get("__spec__"), "loader_state", None) or {}).get("is_loading")
        return not (loading and held.get("__name__") in import_hook.ARRIVING)
    name = getattr(module, "__name__", None)
    if name in import_hook.ARRIVING:
        return False
    return name in import_hook.RUNNING or bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def can_be_imported(name: str) -> bool:
    """Tell whether a loaded package has a file for this submodule."""
    package = sys.modules[name.rpartition(".")[0]]
    return PathFinder.find_spec(name, getattr(package, "__path__", [])) is not None


def add_to_class(module: Any, undos: Undos, **attributes: Any) -> None:
    """Give a module a subclass of its class that has more attributes. ``vars`` of the module does not show them.

    Args:
        module: the module.
        undos: gets a function that removes the attributes, and restores the class unless other code has set one since.
        attributes: methods and others.
    """
    old = type(module)
    # The new class cannot be found by name, so cloudpickle could not pickle the module. It is pickled by its name.
    reduce = {"__reduce__": lambda self: (importlib.import_module, (self.__name__,))}
    new = type(old.__name__, (old,), {"__module__": old.__module__, **reduce, **attributes})

    def undo() -> None:
        for name in attributes:
            delattr(new, name)  # a class of other code may be derived from this one
        if type(module) is new:
            module.__class__ = old

    undos.append(undo)
    module.__class__ = new


def fill_when_asked(module: ModuleType, how: Callable[[], dict[str, Any]]) -> None:
    """Add the names of ``how()`` to a module when a name in it is first looked up, because ``how`` may be slow."""
    lock = threading.RLock()
    begun: list[bool] = []

    def fill() -> None:
        with lock:  # another thread waits until the names are there
            if not begun:  # not again if how() itself looks a name up
                begun.append(True)
                vars(module).update(how())
                as_before.pop()()

    def get(self: ModuleType, name: str) -> Any:
        # Code that goes through sys.modules looks up names such as __file__.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        try:
            fill()
            return vars(self)[name]
        except Exception as error:
            text = "" if isinstance(error, KeyError) else f": {error!r}"
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}{text}") from None

    def names(self: ModuleType) -> list[str]:
        fill()
        return sorted(vars(self))

    as_before: Undos = []
    add_to_class(module, as_before, __getattr__=get, __dir__=names)
