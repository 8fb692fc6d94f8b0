"""Arm: wait for torch with an import hook, at no cost until it comes.

This is all of shim that runs in a process without torch, so it imports ``sys`` and ``os`` and nothing else (the
annotations are strings because even ``from __future__`` loads a module). It is also loaded by its location, from
``sitecustomize.py``, where the package itself may not be importable.
"""

# Built into the interpreter and already loaded: the import system itself is made of them.
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

#: The modules whose arrival is waited for. A patch adds those of its targets that are not there yet; the ones named
#: here must be known before torch comes, because they import torch themselves while they are being imported.
AWAITED: "Set[str]" = {"torch.optim", "shim.adopt"}

#: What programs written for another torch import before it, or without it; waited for under SHIM_FOR and SHIM_PATCHES.
BESIDE_TORCH = ("numpy", "PIL", "torchvision", "torchaudio")

#: The awaited modules that are being run. A lazy import does not say so in the module's spec.
RUNNING: "Set[str]" = set()
#: Those that have run, while we are told of it: the import system still takes them for unfinished.
ARRIVING: "Set[str]" = set()

#: How this process was armed: the door, whether torch.optim was there before it was, and the release of torch that the
#: program was written for, if the door or ``activate`` says so.
state: "Dict[str, Any]" = {"door": None, "late": False, "error": None, "written_for": None}


def switched_on(name: "str") -> "bool":
    """Tell whether the environment variable ``name`` is 1, true, yes or on; what is none of them is as not set."""
    return os.environ.get(name, "").strip().lower() in ("1", "true", "t", "yes", "y", "on")


def arm(door: "str", written_for: "Optional[str]" = None) -> "None":
    """Wait for torch.optim, and activate when it arrives; at once if it is there already.

    Args:
        door: who arms, for the status: ``"sitecustomize"``, ``"enabled"``, ``"preimport"`` or ``"activate"``.
        written_for: the release of torch that the program was written for, where it is not for SHIM_FOR to say.
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
    if written_for or os.environ.get("SHIM_FOR") or os.environ.get("SHIM_PATCHES"):
        AWAITED.update(BESIDE_TORCH)
        for name in BESIDE_TORCH:
            if name in sys.modules:
                arrived(name)
    if "torch.optim" in sys.modules:
        arrived("torch.optim")


def disarm() -> "None":
    """Wait no longer."""
    state.update(door=None, late=False, written_for=None)
    if FINDER in sys.meta_path:
        sys.meta_path.remove(FINDER)


def arrived(name: "str", just_run: "bool" = False) -> "None":
    """Apply the patches, now that the module ``name`` is there. What goes wrong in it stays in here."""
    if state["door"] is None:
        return
    ARRIVING.add(name)
    try:
        _import_ours("activation").apply(name, just_run)
        state["error"] = None
    except Exception as error:
        _failed(error)
    except BaseException as error:  # a Ctrl-C is the program's, and the status tells of it
        state["error"] = error
        raise
    finally:
        ARRIVING.discard(name)


def _failed(error: "Exception") -> "None":
    """Note what went wrong in us, and say so; torch goes on as if we were not there."""
    state["error"] = error
    if sys.stderr is not None:
        sys.stderr.write("shim: torch goes on unguarded, because of %s: %s\n" % (type(error).__name__, error))


def _import_ours(submodule: "str") -> "Any":
    """Import a submodule of this package, wherever it lies and whatever else is called ``shim`` here.

    A bare checkout is not on sys.path, and a project may have a ``shim`` of its own; that one keeps its name.
    """
    name = "shim"
    package = sys.modules.get(name)
    spec = package.__spec__ if package else FINDER.find_elsewhere(name, None, None)
    if spec is not None and not _is_a_copy(spec):
        name = "_torch_shim"
    if name not in sys.modules:
        sys.modules[name + ".bootstrap"] = sys.modules[__name__]
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
    """Tell this package, here or installed elsewhere, from a project's own of the same name."""
    directory = os.path.dirname(os.path.abspath(spec.origin or ""))
    return directory == PACKAGE or os.path.exists(os.path.join(directory, "site", "sitecustomize.py"))


def _own_spec(name: "str") -> "ModuleSpec":
    """Return the spec of our package, or of ``preimport`` beside it, by location."""
    if name == "preimport":
        file, submodules = os.path.join(os.path.dirname(PACKAGE), "preimport.py"), None
    else:
        file, submodules = os.path.join(PACKAGE, "__init__.py"), [PACKAGE]
    spec = _frozen_importlib_external.spec_from_file_location(name, file, submodule_search_locations=submodules)
    assert spec is not None
    return spec


class Finder:
    """The entry in sys.meta_path: lets the other finders find, and asks to be told when the module has run."""

    _shim = PACKAGE  # by which another copy's sitecustomize knows us

    def __init__(self) -> "None":
        self._asking: "Set[Tuple[str, int]]" = set()

    def __deepcopy__(self, memo: "object") -> "Finder":
        """Return this very one: there is one in a process, as of the finders of Python, which are classes."""
        return self

    def invalidate_caches(self) -> "None":
        """Do nothing: there are none."""

    def find_spec(
        self,
        fullname: "str",
        path: "Optional[Sequence[str]]" = None,
        target: "Optional[ModuleType]" = None,
    ) -> "Optional[ModuleSpec]":
        """Return the spec that the other finders have for an awaited module, with its loader wrapped.

        What goes wrong here is not the program's: Python then asks the other finders itself, and if it was one of
        them that failed, it says so again.
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
            # Whoever has a module of this name keeps it; of several copies of ours, the one that is armed serves.
            busy = (fullname, _thread.get_ident()) in self._asking
            found = self.find_elsewhere(fullname, path, target)
            theirs = found is not None and (fullname == "preimport" or not _is_a_copy(found))
            return found if theirs or busy else _own_spec(fullname)
        return None

    def find_elsewhere(
        self, fullname: "str", path: "Optional[Sequence[str]]", target: "Optional[ModuleType]"
    ) -> "Optional[ModuleSpec]":
        """Ask the other finders in turn, handing on what we were asked.

        Not through importlib.util.find_spec: that imports the parent package, which deadlocks when the parent is
        being imported by a thread that waits for this one. Another tool's finder may ask us in turn: once is enough.
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
    """A module's own loader, which reports once the module has run."""

    def __init__(self, loader: "Any") -> "None":
        self._loader = loader

    def __getattr__(self, name: "str") -> "Any":
        return getattr(self._loader, name)

    def create_module(self, spec: "ModuleSpec") -> "Optional[ModuleType]":
        """Create the module as its own loader does."""
        create: "Any" = getattr(self._loader, "create_module", None)
        module: "Optional[ModuleType]" = create(spec) if create else None
        return module

    def exec_module(self, module: "ModuleType") -> "None":
        """Run the module with its own loader in its place, as if we had never been there, and report."""
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


# Python leaves the frames of the import system out of a traceback, by their file (remove_importlib_frames in
# Python/import.c). Ours stand between them, and would let all of them be shown.
_frozen = _frozen_importlib_external.spec_from_file_location.__code__.co_filename
Loader.exec_module.__code__ = Loader.exec_module.__code__.replace(co_filename=_frozen)

FINDER = Finder()
