"""Print what the torch of this interpreter is, and what shim does with it, as JSON on the last line.

The text of this file is run with ``python -c``, as a job would be started, with shim's directory as argument.
SHIM_DISABLE is set, so that torch is seen as it is without the guards.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import FunctionType
from typing import Any


def look(root: str) -> dict[str, Any]:
    """Import torch, examine it, activate shim from the directory ``root``, and return the state of each patch."""
    at_startup = "torch" in sys.modules
    try:
        import torch.optim
    except BaseException as error:
        return {"missing": f"{type(error).__name__}: {error}"}
    found: dict[str, Any] = {
        "version": str(torch.__version__),
        "location": torch.__file__,
        "imported_at_startup": at_startup,
        "patched_by_others": [],
        "written_for": None,
        "patches": [],
        "error": None,
    }
    os.environ.pop("SHIM_DISABLE", None)
    try:
        sys.path.insert(0, root)
        import shim
        from shim.process import REGISTRY, table

        # Moved to the end, so that what shim imports comes from the packages of this interpreter.
        sys.path.remove(root)
        sys.path.append(root)
        found["patched_by_others"] = patched_by_others()
        shim.activate()
        status = shim.status()
        found["error"] = status.error
        found["written_for"] = status.written_for
        patches = {patch.name: patch for patch in (*(table() if status.written_for else ()), *REGISTRY)}
        found["patches"] = [row(outcome, patches.get(outcome.patch)) for outcome in status.outcomes]
        assert status.layout is not None
        found["known"] = status.layout.known
    except BaseException as error:
        found["error"] = found["error"] or f"{type(error).__name__}: {error}"
    return found


def patched_by_others() -> list[str]:
    """List the targets that another tool has replaced, before shim patches them."""
    from shim.process import REGISTRY
    from shim.target_kinds import find

    foreign = []
    for target in (target for patch in REGISTRY for target in patch.targets):
        found = find(target)
        if found is None or target.kind == "submodule":
            continue
        value = getattr(found[1], {"constructor": "__init__", "step": "step"}.get(target.kind, ""), found[1])
        module = str(getattr(value, "__globals__", {}).get("__name__", "torch"))
        if target.kind in ("constructor", "step", "functional") and type(value) is not FunctionType:
            # For example a proxy of wrapt, which shows the globals of the function that it wraps.
            module = f"{type(value).__module__}.{type(value).__qualname__}"
        if module.partition(".")[0] not in ("torch", "functools"):
            foreign.append(f"the {target.kind} of {target.path}, which is now defined in {module}")
    return foreign


def row(outcome: Any, patch: Any) -> dict[str, Any]:
    """Return the data of a patch, which is None if it could not be loaded.

    If its module is not imported yet, say whether it can be.
    """
    row = {**outcome._asdict(), "works": patch.works if patch else ""}
    row["optional"] = patch is not None and (patch.optional or bool(patch.works) or not patch.targets)
    if patch is None or outcome.state != "skipped" or _is_left_out(patch):
        return row
    modules = sorted({target.path.partition(":")[0] for target in patch.targets})
    if any(name in sys.modules for name in modules):
        return row
    here = [name for name in modules if can_be_imported(name)]
    if here:
        more = f" or one of {len(here) - 1} more" if here[1:] else ""
        done = "applied" if patch.works else "guarded"
        return {**row, "state": "waits", "reason": f"will be {done} when it is imported ({here[0]}{more})"}
    return {**row, "reason": f"{modules[0]} is not installed"}


def _is_left_out(patch: Any) -> bool:
    """Tell whether a patch is skipped for a reason other than that its module is not imported."""
    from shim import status, switches

    must_be_named = patch.optional or (patch.works and status().written_for is None)
    off = must_be_named and patch.name not in switches.names("SHIM_PATCHES")
    return bool(off or patch.versions or patch.package or patch.name in switches.names("SHIM_SKIP"))


def can_be_imported(module: str) -> bool:
    """Tell whether a module is installed, without importing it or its packages."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
        for name in rest:
            spec = spec and PathFinder.find_spec(name, list(spec.submodule_search_locations or ()))
    except (ImportError, ValueError):
        return False
    return spec is not None


if __name__ == "__main__":
    report = look(sys.argv[1])
    sys.stdout.write("\n" + json.dumps(report) + "\n")
