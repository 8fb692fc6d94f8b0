"""The kinds of targets of rows, and of the patches of other packages. ``target_kinds`` has those of the guards."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from importlib.machinery import ModuleSpec
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from . import guards, replace
from .modules import add_to_class, can_be_imported, fill_when_asked, is_being_imported
from .releases import is_in, release
from .replace import Undos
from .target_kinds import Change, Kind
from .targets import Target
from .wrapping import is_plain, show_parameters, with_globals_of, wrap_like


class Attribute(Kind):
    """An attribute that is set to the result of ``how(owner)``."""

    def read(self, owner: Any, name: str) -> tuple[Any, Any] | None:
        """Return the owner and its own attribute, which is None if there is none yet."""
        return owner, vars(owner).get(name)

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Set the attribute."""
        owner, value = found
        new = target.how(owner)
        replace.attribute(owner, target.attribute, new, undos)
        return Change(target, owner, value, new)


class Name(Kind):
    """A name that this release has removed, or does not have yet.

    In place of a removed name, torch often has a function that raises an error:

    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_linalg_utils.py#L74
    """

    def read(self, owner: Any, name: str) -> tuple[Any, Any] | None:
        """Return the owner and its own attribute, unless another package has set that."""
        held = vars(owner).get(name)
        package = (owner.__name__ if isinstance(owner, ModuleType) else owner.__module__).partition(".")[0]
        module = getattr(held, "__module__", None) or package  # None for a function written in C
        theirs = held is not None and str(module).partition(".")[0] != package
        return None if theirs else (owner, held)

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Set the attribute. A stub is replaced in every module that holds it."""
        owner, stub = found
        new = self.new(target, owner)
        replace.attribute(owner, target.attribute, new, undos)
        return Change(target, owner, stub, new, swap=isinstance(stub, FunctionType))

    def new(self, target: Target, owner: Any) -> Any:
        """Return the new object."""
        return target.how


class Made(Name):
    """A name whose object is made when its owner is there."""

    def new(self, target: Target, owner: Any) -> Any:
        """Return the new object."""
        return target.how(owner)


class Default(Name):
    """An attribute of a class that some of its objects lack."""

    def new(self, target: Target, owner: Any) -> Any:
        """Return the new attribute of the class."""
        return _Given(target.attribute, target.how)


class _Given:
    """An attribute with a default value. Objects that have set it are read as fast as without it."""

    def __init__(self, name: str, make: Any) -> None:
        self._name, self._make = name, make

    def __get__(self, held: Any, owner: Any) -> Any:
        return self if held is None else vars(held).setdefault(self._name, self._make())


class Names(Kind):
    """Several names of a module."""

    def find(self, target: Target) -> tuple[Any, Any] | None:
        """Return the module twice; None as long as it is not imported."""
        module = sys.modules.get(target.path)
        return None if module is None or is_being_imported(module) else (module, module)

    def is_done(self, target: Target, found: tuple[Any, Any], changes: list[Change]) -> bool:
        """Tell whether the module has been given the names already."""
        return target.path in [change.target.path for change in changes]

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Give the module the names that it lacks."""
        module = found[1]
        # how() comes first: it may make the module's own __getattr__ (PEP 562) add a name.
        given = {name: value for name, value in target.how().items() if name not in vars(module)}
        for name, value in given.items():
            replace.attribute(module, name, value, undos)
        return Change(target, module, module, module)


class Module(Names):
    """A module that was removed, or lacks names. A new one is added to sys.modules, where ``import`` finds it."""

    def find(self, target: Target) -> tuple[Any, Any] | None:
        """Return the package and the module; None as long as the package, or a module that exists, is not imported."""
        package = sys.modules.get(target.path.rpartition(".")[0])
        if package is None or is_being_imported(package):
            return None
        if target.path in sys.modules:
            return super().find(target)
        return None if can_be_imported(target.path) else (package, None)

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Make the module, or give an existing one the names that it lacks."""
        package, module = found
        if module is not None:
            return super().change(target, found, switch, layout, undos)
        new = ModuleType(target.path, f"What {target.path} held in older releases, given back by shim.")
        # importlib.util.find_spec asks the module for it, and importlib.reload finds nothing to run anew.
        new.__spec__ = ModuleSpec(target.path, None, origin="shim")
        fill_when_asked(new, target.how)

        def undo() -> None:
            if sys.modules.get(target.path) is new:
                del sys.modules[target.path]

        undos.append(undo)
        sys.modules[target.path] = new
        name = target.path.rpartition(".")[2]
        # The attribute torch.tensor is a function, also in releases that had a module torch.tensor:
        # https://github.com/pytorch/pytorch/blob/v1.8.1/torch/tensor.py#L50
        if name not in vars(package):
            replace.attribute(package, name, new, undos)
        return Change(target, package, None, new)


class CallableModule(Names):
    """A module that was a function in older releases."""

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Make the module callable."""
        module = found[1]

        def call(self: ModuleType, *args: Any, **kwargs: Any) -> Any:
            return target.how(*args, **kwargs)

        add_to_class(module, undos, __call__=call)
        return Change(target, module, module, module)


class Around(Kind):
    """A function that accepts the arguments of another release, or behaves as it did in another release."""

    def read(self, owner: Any, name: str) -> tuple[Any, Any] | None:
        """Return the owner and the function itself, not bound to the owner."""
        return owner, inspect.getattr_static(owner, name)

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Call ``how`` with the original in its place."""
        owner, held = found
        original = held.__func__ if isinstance(held, (staticmethod, classmethod)) else held
        around = functools.wraps(original)(self.new(target.how, original))
        # pickle finds a function by its module and its name. Those of torch.clamp itself lead to an object in torch._C,
        # which is not this one: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/__init__.py#L2212
        around.__module__, around.__qualname__ = target.path.split(":")
        if isinstance(original, FunctionType):
            show_parameters(original, around)
        # TorchScript cannot compile ``around``. Since torch 2.3, this attribute tells it what to compile instead:
        # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/jit/_script.py#L1201
        vars(around)["__prepare_scriptable__"] = lambda: original
        new: Any = type(held)(around) if original is not held else around
        replace.attribute(owner, target.attribute, new, undos)
        _as_a_builtin_of_torchscript(original, around, undos)
        _with_a_module(original, around, undos)
        return Change(target, owner, held, new, swap=isinstance(owner, ModuleType))

    def new(self, how: Any, original: Any) -> Any:
        """Return the function that is called."""

        def around(*args: Any, **kwargs: Any) -> Any:
            return how(original, *args, **kwargs)

        return with_globals_of(original, around)


class Instead(Around):
    """Like ``Around``, but ``how(original)`` returns the function itself, which saves a call."""

    def new(self, how: Any, original: Any) -> Any:
        """Return the function that is called."""
        return how(original)


def _as_a_builtin_of_torchscript(original: Any, new: Any, undos: Undos) -> None:
    """Let TorchScript use the same operator for ``new`` as for ``original``.

    TorchScript knows functions like torch.stft by their identity, and compiles any other function:
    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/jit/_builtins.py#L203
    """
    builtins = sys.modules.get("torch.jit._builtins")
    table = builtins._get_builtin_table() if builtins is not None else {}
    if id(original) in table:
        undos.append(lambda: table.pop(id(new), None))
        table[id(new)] = table[id(original)]


def _with_a_module(original: Any, new: Any, undos: Undos) -> None:
    """Give a function written in C the name of its module, which it has since torch 1.13.

    Up to 1.12, torch.fx searches for such a function where ``new`` is now:
    https://github.com/pytorch/pytorch/blob/v1.12.1/torch/fx/node.py#L33
    """
    if isinstance(original, BuiltinFunctionType) and original.__module__ is None:

        def undo() -> None:
            original.__module__ = None

        undos.append(undo)
        original.__module__ = new.__module__


class Wrapper(Kind):
    """A function that is wrapped by another one with the signature of a wrapt wrapper.

    ``exact``: with all arguments, also those that the caller left out, and with the original's signature.
    """

    def __init__(self, exact: bool) -> None:
        self._exact = exact

    def change(
        self, target: Target, found: tuple[Any, Any], switch: guards.PatchSwitch, layout: Any, undos: Undos
    ) -> Change:
        """Wrap the function."""
        owner, value = found
        for base in owner.__mro__ if isinstance(owner, type) else ():
            if target.attribute in vars(base):
                value = vars(base)[target.attribute]  # the staticmethod or classmethod object, which getattr has bound
                break
        new = self._wrapped(value, target, switch, isinstance(owner, type))
        replace.attribute(owner, target.attribute, new, undos)
        return Change(target, owner, value, new)

    def _wrapped(self, value: Any, target: Target, switch: guards.PatchSwitch, in_class: bool) -> Any:
        if isinstance(value, (staticmethod, classmethod)) and is_plain(value.__func__):
            method = isinstance(value, classmethod)
            return type(value)(wrap_like(value.__func__, target.how, lambda: switch.on, method, self._exact))
        if is_plain(value):
            return wrap_like(value, target.how, lambda: switch.on, in_class, self._exact)
        return _function_wrapper()(value, target.how, enabled=lambda: switch.on)


def _function_wrapper() -> Any:
    """Import wrapt's class of this name.

    The C extension of wrapt before 1.17 turns the GIL of a free-threaded Python on. There wrapt is imported without it:
    https://github.com/GrahamDumpleton/wrapt/blob/1.17.0/src/wrapt/_wrappers.c#L3397 and
    https://github.com/GrahamDumpleton/wrapt/blob/1.16.0/src/wrapt/__wrapt__.py#L13
    """
    if "wrapt" not in sys.modules and not getattr(sys, "_is_gil_enabled", lambda: True)():
        from importlib.metadata import PackageNotFoundError, version

        with contextlib.suppress(PackageNotFoundError):  # a copy of it, without its metadata
            if is_in(release(version("wrapt")).numbers, "<1.17"):
                sys.modules["wrapt._wrappers"] = None  # type: ignore[assignment]  # wrapt then uses its Python code
    from wrapt import FunctionWrapper

    return FunctionWrapper


KINDS: dict[str, Kind] = {
    "names": Names(),
    "module": Module(),
    "callable": CallableModule(),
    "name": Name(),
    "made": Made(),
    "default": Default(),
    "attribute": Attribute(),
    "around": Around(),
    "instead": Instead(),
    "wrapper": Wrapper(exact=False),
    "arguments": Wrapper(exact=True),
}
