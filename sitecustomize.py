"""Door: with this file's directory on PYTHONPATH, shim waits for torch in every Python process that starts.

`shim enable` makes every Python of an environment run this file, under the module name "enabled". It runs before
everything else, in any version of Python. In one that shim does not support, it does nothing. So it imports only what
Python has loaded already, and uses no syntax that an old Python cannot parse.
"""

import sys

# os is imported inside functions only. As a global of this module it would make the shutdown of Python slower, which
# clears the globals of the remaining modules one by one. That was a third of the cost of this file.


def _arm(here):
    """Find shim by its location, and put a finder into sys.meta_path that waits for torch."""
    import os

    global _shim
    _shim = os.path.dirname(here)  # installed: this file is in shim/site
    if not os.path.exists(os.path.join(_shim, "import_hook.py")):
        _shim = os.path.join(here, "src", "shim")  # a checkout: this file is at the top
    root = os.path.dirname(_shim)
    # shim is installed into the environment of another interpreter: this one is not to be changed. But one that was
    # enabled is, though shim may be where it looks later (--system-site-packages) or not at all (--user, with -I).
    installed = os.path.basename(root) in ("site-packages", "dist-packages")
    if installed and root not in sys.path and __name__ != "enabled":
        return
    if not any(hasattr(finder, "_shim") for finder in sys.meta_path):  # of another copy of shim
        sys.meta_path.insert(0, _finder)
        # A program written for another torch may want names of Python itself before torch (import_hook.OF_PYTHON).
        for_another = os.environ.get("SHIM_FOR", written_for) or os.environ.get("SHIM_PATCHES")
        if for_another or "torch.optim" in sys.modules:  # imported by a .pth file
            _finder.hand_over()


#: The release of torch that the programs of this environment were written for: the argument of `shim enable --for`.
written_for = globals().get("written_for", "")


class Finder(object):
    """The entry in sys.meta_path, until the first awaited module is imported."""

    _shim = "armed"  # the sitecustomize of another copy recognizes this finder by it
    awaited = ("torch.optim", "shim.adopt", "shim", "preimport")

    def find_spec(self, fullname, path=None, target=None):
        """For an awaited module, let shim's real finder take over. Most processes never need it."""
        finder = self.hand_over() if fullname in self.awaited else None
        return finder and finder.find_spec(fullname, path, target)

    def hand_over(self):
        """Load shim's real finder, which replaces this one; return it, or None after an error."""
        try:
            import_hook = _load()
            if self in sys.meta_path and import_hook.FINDER not in sys.meta_path:
                sys.meta_path[sys.meta_path.index(self)] = import_hook.FINDER
            import os

            import_hook.arm(__name__, "" if "SHIM_FOR" in os.environ else written_for)
        except Exception as error:
            if sys.stderr is not None:
                sys.stderr.write(
                    "shim: torch runs without guards, because of an error in shim, %s: %s; please report it\n"
                    % (type(error).__name__, error)
                )
            return None
        return import_hook.FINDER

    def __deepcopy__(self, memo):
        return self

    def invalidate_caches(self):
        """Do nothing: there are no caches."""


_finder = Finder()


def _load():
    import os
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import spec_from_file_location

    name = "shim.import_hook"
    if name not in sys.modules:
        spec = spec_from_file_location(name, os.path.join(_shim, "import_hook.py"))
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules.setdefault(name, module)  # if two threads import torch, both use the module of the first
    return sys.modules[name]


def _complain(error):
    """Print an error if SHIM_LOG is set. Without it nothing is printed in a process that may never import torch."""
    import os

    level = os.environ.get("SHIM_LOG", "").strip().lower()
    if level in ("debug", "info", "warning", "error") and sys.stderr is not None:
        sys.stderr.write("shim: not armed, because of %s: %s\n" % (type(error).__name__, error))


def _run_shadowed(path):
    """Run the sitecustomize that this one shadows, as the interpreter would have done."""
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
    """Leave out directories without a sitecustomize. Python would list all their files: half the cost of this file."""
    import _imp
    import os

    if len(sys.path_hooks) > 2:  # there are more than Python's two, for zip files and for directories
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

    here = os.path.dirname(__file__)  # spelled as in sys.path, whose entries Python has made absolute
    behind = []
    if __name__ == "sitecustomize":
        behind = sys.path[sys.path.index(here) + 1 :] if here in sys.path else []
        # The program gets the sys.path that it would have without shim. Child processes inherit PYTHONPATH, not this.
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
