"""The import hook: wait until a program imports torch, and then apply the patches.

``sitecustomize.py`` loads this file by its location, because the package may not be importable there: when torch.optim
is imported, or at startup with SHIM_FOR or SHIM_PATCHES. In the second case the process may never import torch. So this
file imports only modules that Python has loaded before it runs any program. The annotations are strings because
``from __future__ import annotations`` would load a module.
"""

# These are built into the interpreter and already loaded: they are the import system.
import _frozen_importlib
import _frozen_importlib_external
import _thread
import os
import sys

TYPE_CHECKING = False  # type checkers take it for True; the typing module stays unloaded
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

PACKAGE = os.path.dirname(os.path.abspath(__file__))

#: The modules that the import hook waits for. A patch adds the modules of its targets that are not loaded yet. The ones
#: listed here must be known before torch is imported, because they import torch while they are being imported.
AWAITED: "Set[str]" = {"torch.optim", "shim.adopt"}

#: Programs written for another torch may import these before torch, or without it. The hook waits for them if SHIM_FOR
#: or SHIM_PATCHES is set.
BESIDE_TORCH = ("numpy", "PIL", "torchvision", "torchaudio")

#: Modules of the standard library. A program written for another torch may take names from them that they no longer
#: have, before it imports torch. Nearly every process uses these modules, so they are patched only when a name that
#: they lack is looked up.
OF_PYTHON = ("base64", "collections", "fractions", "inspect", "time")

#: The awaited modules that are being executed. With importlib.util.LazyLoader, the spec of a module does not tell:
#: https://github.com/python/cpython/blob/v3.11.7/Lib/importlib/util.py#L247
RUNNING: "Set[str]" = set()
#: The awaited modules that have been executed and are being patched. The import system still treats them as unfinished.
ARRIVING: "Set[str]" = set()

#: Holds the name of a module in OF_PYTHON while a name that it lacks is looked up in the table of breakages.
ANSWERING: "Set[str]" = set()

#: How this process was armed: the door, whether torch.optim was loaded before, and the release of torch that the
#: program was written for, if the door or ``activate`` names one. ``error`` is the last error in shim itself.
state: "Dict[str, Any]" = {"door": None, "late": False, "error": None, "written_for": None}


def text(name: "str") -> "str":
    """Return an environment variable without white space around it; an empty string if it is not set."""
    try:
        value = os.environ.get(name, "")
    except Exception:  # a test may put any object in the place of os.environ, with any values
        return ""
    return value.strip() if type(value) is str else ""


def switched_on(name: "str") -> "bool":
    """Tell whether the environment variable ``name`` is 1, true, yes or on. Any other value counts as not set."""
    return text(name).lower() in ("1", "true", "t", "yes", "y", "on")


def arm(door: "str", written_for: "Optional[str]" = None) -> "None":
    """Activate when torch.optim is imported; now, if it is loaded already.

    Args:
        door: the door, for the status: ``"sitecustomize"``, ``"enabled"``, ``"preimport"`` or ``"activate"``.
        written_for: the release of torch that the program was written for; None leaves it to SHIM_FOR.
    """
    if switched_on("SHIM_DISABLE"):
        return
    if state["door"] is None:
        state["door"] = door
        state["late"] = "torch.optim" in sys.modules
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    if written_for:
        state["written_for"] = written_for
    if written_for or text("SHIM_FOR") or text("SHIM_PATCHES"):
        AWAITED.update(BESIDE_TORCH, OF_PYTHON)
        for name in BESIDE_TORCH + OF_PYTHON:
            if name in sys.modules:
                arrived(name)
    if "torch.optim" in sys.modules:
        arrived("torch.optim")


def disarm() -> "None":
    """Remove the import hook."""
    state.update(door=None, late=False, written_for=None)
    if FINDER in sys.meta_path:
        sys.meta_path.remove(FINDER)
    for name in OF_PYTHON:
        held = vars(sys.modules.get(name, object))
        if getattr(held.get("__getattr__"), "__module__", None) == __name__:
            del sys.modules[name].__getattr__


def arrived(name: "str", just_run: "bool" = False) -> "None":
    """Apply the patches for the module ``name``, which was just imported. Their errors do not reach the program."""
    if state["door"] is None:
        return
    if name in OF_PYTHON and name not in ANSWERING and "torch.optim" not in sys.modules:
        _answer_for(sys.modules[name])
        return
    import gc  # built in; few processes come here

    # A collection would search all objects that torch has made, and take longer than everything else here. Nothing that
    # is made here is garbage.
    collects = gc.isenabled()
    gc.disable()
    ARRIVING.add(name)
    try:
        _import_ours("activation").apply(name, just_run)
        state["error"] = None
    except Exception as error:
        _failed(error)
    except BaseException as error:  # a Ctrl-C is meant for the program. It is noted for the status
        state["error"] = error
        raise
    finally:
        ARRIVING.discard(name)
        if collects:
            gc.enable()


def _answer_for(module: "ModuleType") -> "None":
    """Apply the patches for a module of OF_PYTHON when a name that it lacks is looked up (PEP 562)."""
    name = module.__name__

    def missing(attribute: "str") -> "Any":
        if not ANSWERING and attribute[:2] != "__":
            ANSWERING.add(name)
            try:
                arrived(name)
            finally:
                ANSWERING.clear()
        if attribute in vars(module):
            return vars(module)[attribute]
        raise AttributeError("module %r has no attribute %r" % (name, attribute))

    # Up to Python 3.9 collections has a __getattr__ of its own, which still finds the names:
    # https://github.com/python/cpython/blob/v3.9.18/Lib/collections/__init__.py#L55
    vars(module).setdefault("__getattr__", missing)


def _failed(error: "Exception") -> "None":
    """Note an error in shim and print it; torch goes on without guards."""
    state["error"] = error
    if sys.stderr is not None:
        sys.stderr.write(
            "shim: torch runs without guards, because of an error in shim, %s: %s; please report it\n"
            % (type(error).__name__, error)
        )


def _import_ours(submodule: "str") -> "Any":
    """Import a submodule of this package, even if ``import shim`` would not find it.

    A checkout need not be on sys.path. A project may have a module called ``shim``, which keeps that name.
    """
    name = "shim"
    package = sys.modules.get(name)
    spec = package.__spec__ if package else FINDER.find_elsewhere(name, None, None)
    if spec is not None and not _is_a_copy(spec):
        name = "_torch_shim"
    if name not in sys.modules:
        sys.modules[name + ".import_hook"] = sys.modules[__name__]
        own = _own_spec(name)
        package = _frozen_importlib.module_from_spec(own)
        sys.modules[name] = package
        try:
            own.loader.exec_module(package)  # type: ignore[union-attr]
        except BaseException:
            sys.modules.pop(name, None)
            raise
    return __import__(name + "." + submodule, fromlist=[submodule])


def _is_a_copy(spec: "ModuleSpec") -> "bool":
    """Tell whether a spec is that of this package, or of another copy of it, and not of a project's own ``shim``."""
    directory = os.path.dirname(os.path.abspath(spec.origin or ""))
    return directory == PACKAGE or os.path.exists(os.path.join(directory, "site", "sitecustomize.py"))


def _own_spec(name: "str") -> "ModuleSpec":
    """Return the spec of this package, or of ``preimport`` beside it, by location."""
    if name == "preimport":
        file, submodules = os.path.join(os.path.dirname(PACKAGE), "preimport.py"), None
    else:
        file, submodules = os.path.join(PACKAGE, "__init__.py"), [PACKAGE]
    spec = _frozen_importlib_external.spec_from_file_location(name, file, submodule_search_locations=submodules)
    assert spec is not None
    return spec


class Finder:
    """The entry in sys.meta_path: asks the other finders for a module, and wraps the loader that they return."""

    _shim = PACKAGE  # the sitecustomize of another copy recognizes this finder by it

    def __init__(self) -> "None":
        self._asking: "Set[Tuple[str, int]]" = set()

    def __deepcopy__(self, memo: "object") -> "Finder":
        """Return this object: a process has one, like Python's own finders, which are classes."""
        return self

    def invalidate_caches(self) -> "None":
        """Do nothing: there are no caches."""

    def find_spec(
        self,
        fullname: "str",
        path: "Optional[Sequence[str]]" = None,
        target: "Optional[ModuleType]" = None,
    ) -> "Optional[ModuleSpec]":
        """Return the spec that the other finders have for an awaited module, with its loader wrapped.

        An error here does not reach the program. Python then asks the other finders itself; if one of them failed, it
        fails again there.
        """
        try:
            return self._find_spec(fullname, path, target)
        except Exception as error:
            _failed(error)
            return None

    def _find_spec(
        self, fullname: "str", path: "Optional[Sequence[str]]", target: "Optional[ModuleType]"
    ) -> "Optional[ModuleSpec]":
        if fullname in AWAITED:
            spec = self.find_elsewhere(fullname, path, target)
            if spec is not None and hasattr(spec.loader, "exec_module"):
                spec.loader = Loader(spec.loader)  # type: ignore[assignment]
            return spec
        if fullname in ("shim", "preimport"):
            # A project's own module of this name is imported as usual. Of several copies of shim, the one that
            # armed this process is imported.
            busy = (fullname, _thread.get_ident()) in self._asking
            found = self.find_elsewhere(fullname, path, target)
            theirs = found is not None and (fullname == "preimport" or not _is_a_copy(found))
            return found if theirs or busy else _own_spec(fullname)
        return None

    def find_elsewhere(
        self, fullname: "str", path: "Optional[Sequence[str]]", target: "Optional[ModuleType]"
    ) -> "Optional[ModuleSpec]":
        """Ask the other finders in turn.

        importlib.util.find_spec would import the parent package, which deadlocks if a thread that waits for this one is
        importing it: https://github.com/python/cpython/blob/v3.11.7/Lib/importlib/util.py#L94
        The finder of another tool may ask this one again, which then returns None to end the recursion.
        """
        asking = (fullname, _thread.get_ident())
        if asking in self._asking:
            return None
        self._asking.add(asking)
        try:
            others: "List[Any]" = [finder for finder in list(sys.meta_path) if finder is not self]
            for finder in others:
                find_spec = getattr(finder, "find_spec", None)
                spec: "Optional[ModuleSpec]" = find_spec(fullname, path, target) if find_spec else None
                if spec is not None:
                    return spec
            return None
        finally:
            self._asking.discard(asking)


class Loader:
    """A module's own loader, which applies the patches once the module has been executed.

    It shows the attributes of that loader, and sets new ones there. A copy or a pickle of it is one of that loader.
    """

    _loader: "Any"

    def __init__(self, loader: "Any") -> "None":
        object.__setattr__(self, "_loader", loader)

    def __getattr__(self, name: "str") -> "Any":
        return getattr(self._loader, name)

    def __setattr__(self, name: "str", value: "object") -> "None":
        """Set an attribute of the module's own loader. A method that the import system calls is replaced here."""
        if name in ("create_module", "exec_module"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._loader, name, value)

    def __delattr__(self, name: "str") -> "None":
        if name in ("create_module", "exec_module"):
            object.__delattr__(self, name)
        else:
            delattr(self._loader, name)

    @property
    def __dict__(self) -> "Any":  # type: ignore[override]  # SourceFileLoader.__eq__ compares it
        return vars(self._loader)

    @property  # type: ignore[misc]  # only read
    def __class__(self) -> "Any":
        """Return the class of the module's own loader, for isinstance."""
        return type(self._loader)

    def __eq__(self, other: "object") -> "bool":
        return bool(self._loader == getattr(other, "_loader", other))

    def __hash__(self) -> "int":
        return hash(self._loader)

    def __repr__(self) -> "str":
        return repr(self._loader)

    def __reduce_ex__(self, protocol: "Any") -> "Any":
        return self._loader.__reduce_ex__(protocol)

    def create_module(self, spec: "ModuleSpec") -> "Optional[ModuleType]":
        """Create the module as its own loader does."""
        create: "Any" = getattr(self._loader, "create_module", None)
        module: "Optional[ModuleType]" = create(spec) if create else None
        return module

    def exec_module(self, module: "ModuleType") -> "None":
        """Give the module back its own loader, execute it with that, and apply the patches."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        name = module.__name__
        RUNNING.add(name)
        try:
            self._loader.exec_module(module)
        finally:
            RUNNING.discard(name)
        arrived(name, just_run=True)


# Python removes the frames of the import system from a traceback by their file name (remove_importlib_frames in
# https://github.com/python/cpython/blob/v3.11.0/Python/import.c). The frames of this loader stand between them and
# would make all of them visible, so this code gets the same file name.
_frozen = _frozen_importlib_external.spec_from_file_location.__code__.co_filename
Loader.exec_module.__code__ = Loader.exec_module.__code__.replace(co_filename=_frozen)

FINDER = Finder()
