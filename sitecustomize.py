"""Door: with this file's directory on PYTHONPATH, shim waits for torch in every Python process that starts.

`shim enable` has every Python of an environment run it, under a name that says so. It runs before everything else, in
whatever Python comes along, even one that shim does not support: there it does nothing. Hence nothing is imported that
Python has not loaded, and no syntax that an old Python cannot read.
"""

import sys

# Not os: it would live as long as this module, which sys.modules does not keep alone, and Python, when it ends, clears
# what is left name by name. That was a third of what we cost.


def _arm(here):
    """Find shim by its location, and wait for torch: this module stands in sys.meta_path until it comes."""
    import os

    global _shim
    _shim = os.path.dirname(here)  # installed: this file lies alone in shim/site
    if not os.path.exists(os.path.join(_shim, "bootstrap.py")):
        _shim = os.path.join(here, "src", "shim")  # a checkout: it lies at the top
    root = os.path.dirname(_shim)
    # Installed into an environment that is not this interpreter's: not ours to touch.
    if os.path.basename(root) in ("site-packages", "dist-packages") and root not in sys.path:
        return
    if not any(hasattr(finder, "_shim") for finder in sys.meta_path):  # of another copy
        sys.meta_path.insert(0, _finder)
        # Rows may be of what programs written for another torch import before it, or without it.
        if os.environ.get("SHIM_FOR", written_for) or os.environ.get("SHIM_PATCHES"):
            Finder.awaited += ("numpy", "PIL", "torchvision", "torchaudio")
        if "torch.optim" in sys.modules:  # a .pth file's doing
            _finder.find_spec("torch.optim")


#: The release of torch that the programs of this environment were written for, as `shim enable --for` was told.
written_for = globals().get("written_for", "")


class Finder(object):
    """The entry in sys.meta_path, until the first module arrives that is waited for."""

    _shim = "armed"  # by which another copy's sitecustomize knows us
    awaited = ("torch.optim", "shim.adopt", "shim", "preimport")

    def find_spec(self, fullname, path=None, target=None):
        """Hand over to shim's own finder, which most processes never need, for the modules that it knows."""
        if fullname not in self.awaited:
            return None
        try:
            bootstrap = _load()
            if self in sys.meta_path and bootstrap.FINDER not in sys.meta_path:
                sys.meta_path[sys.meta_path.index(self)] = bootstrap.FINDER
            import os

            bootstrap.arm(__name__, "" if "SHIM_FOR" in os.environ else written_for)
        except Exception as error:
            if sys.stderr is not None:
                sys.stderr.write("shim: torch goes on unguarded, because of %s: %s\n" % (type(error).__name__, error))
            return None
        return bootstrap.FINDER.find_spec(fullname, path, target)

    def __deepcopy__(self, memo):
        return self

    def invalidate_caches(self):
        """Do nothing: there are none."""


_finder = Finder()


def _load():
    import os
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import spec_from_file_location

    name = "shim.bootstrap"
    if name not in sys.modules:
        spec = spec_from_file_location(name, os.path.join(_shim, "bootstrap.py"))
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules.setdefault(name, module)  # of two threads that import torch, one is first
    return sys.modules[name]


def _complain(error):
    """Say what went wrong to those who ask for it: shim is never the reason that a program fails."""
    import os

    level = os.environ.get("SHIM_LOG", "").strip().lower()
    if level in ("debug", "info", "warning", "error") and sys.stderr is not None:
        sys.stderr.write("shim: not armed, because of %s: %s\n" % (type(error).__name__, error))


def _run_shadowed(path):
    """Run the sitecustomize that ours stands in front of, just as the interpreter would have."""
    if sys.version_info[0] == 2:
        import imp

        try:
            found = imp.find_module("sitecustomize", path)
        except ImportError:
            return
        imp.load_module("sitecustomize", *found)
        return
    from _frozen_importlib_external import PathFinder

    spec = PathFinder.find_spec("sitecustomize", _worth_searching(path))
    if spec is not None and spec.loader is not None:
        from _frozen_importlib import module_from_spec

        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _worth_searching(path):
    """Leave out the directories where Python's finder would find nothing, but list all that is there: half our cost."""
    import _imp
    import os

    if len(sys.path_hooks) > 2:  # somebody's own, beside Python's for zip files and directories
        return path
    suffixes = ["", ".py", ".pyc"]
    suffixes.extend(_imp.extension_suffixes())
    kept = []
    for entry in path:
        other = not isinstance(entry, str) or entry in sys.path_importer_cache or not os.path.isdir(entry)
        if other or any(os.access(entry + "/sitecustomize" + suffix, os.F_OK) for suffix in suffixes):
            kept.append(entry)
    return kept


def _main():
    import os

    here = os.path.dirname(__file__)  # spelled as in sys.path, whose entries Python has made absolute and plain
    behind = []
    if __name__ == "sitecustomize":
        behind = sys.path[sys.path.index(here) + 1 :] if here in sys.path else []
        # The program is to find the sys.path that it would have without us; children inherit PYTHONPATH, not this.
        sys.path[:] = [entry for entry in sys.path if entry != here]
    off = os.environ.get("SHIM_DISABLE", "").strip().lower() in ("1", "true", "t", "yes", "y", "on")
    if sys.version_info >= (3, 8) and not off:
        try:
            _arm(here)
        except Exception as error:
            _complain(error)
    if __name__ == "sitecustomize":
        _run_shadowed(behind)


_main()
