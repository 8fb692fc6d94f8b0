"""Observe the same things with and without shim, each time in a fresh process, for the tests to compare.

An observation is a function that returns an object which JSON can represent. It may be a generator: then shim is
activated at its first yield and deactivated at its second one, and it returns at the end. It runs in three processes:

- "without": shim is not installed, and the yields do nothing;
- "armed": the checkout is on PYTHONPATH, so shim is active from the start, up to the second yield;
- "late": shim is activated at the first yield, in a process that has used torch before.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
DOORS = {"without": "", "armed": str(CHECKOUT), "late": str(CHECKOUT / "src")}

#: The folder in which scripts/wrong_wrappers caches the observations without shim, for its many runs.
KEPT = os.environ.get("SHIM_HAZARD_KEPT")

#: The modules whose observations are quick and share processes. Each other module has its own processes.
TOGETHER = () if KEPT else (
    "test_hazard_torchscript",
    "test_hazard_step_hooks",
    "test_hazard_schedulers",
    "test_hazard_saving",
    "test_hazard_introspection",
    "test_hazard_undo",
    "test_hazard_subclasses",
    "test_hazard_names",
    "test_hazard_multi_tensor",
    "test_hazard_distributed",
    "test_hazard_functional_training",
)  # fmt: skip

DOOR = os.environ.get("SHIM_HAZARD_DOOR", "without")
#: No weight decay: None in the processes in which shim replaces a None, else 0.0.
NONE = 0.0 if DOOR == "without" else None

_observations = {}


def observation(function):
    """Register a function of a test module as an observation, by its name."""
    _observations[f"{Path(function.__code__.co_filename).stem}.{function.__name__}"] = function
    return function


@functools.lru_cache(maxsize=None)
def observed(modules, door, executable=sys.executable):
    """Run the observations of these modules in a fresh process, and return their results by name."""
    kept = Path(KEPT, modules[0]) if KEPT and door == "without" else None
    if kept is not None and kept.exists():
        return json.loads(kept.read_text())
    environment = {
        **os.environ,
        "PYTHONPATH": DOORS[door],
        "SHIM_HAZARD_DOOR": door,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [executable, str(HERE / "hazard_observer.py"), *modules],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = done.stdout.strip().splitlines()[-1]
    if kept is not None:
        kept.write_text(seen)
    return json.loads(seen)


def _observe(modules):
    """Run the observations of these modules. All of them reach a yield before any continues behind it."""
    if DOOR == "late":
        import torch.optim  # noqa: F401
    for module in modules:
        importlib.import_module(module)
    running, results = {}, {}
    observations = {name: each for name, each in _observations.items() if name.partition(".")[0] in modules}
    for name, function in observations.items():
        if inspect.isgeneratorfunction(function):
            running[name] = function()
    _go_on(running, results)
    if DOOR == "late":
        import shim

        shim.activate()
    for name, function in observations.items():
        if name not in running and name not in results:
            results[name] = _attempt(function)
    _go_on(running, results)
    if DOOR != "without":
        import shim

        shim.deactivate()
    _go_on(running, results)
    return results


def _go_on(running, results):
    for name, generator in list(running.items()):
        try:
            next(generator)
        except StopIteration as end:
            results[name] = running.pop(name) and end.value
        except Exception as error:
            results[name] = _failure(error)
            del running[name]


def _attempt(function):
    try:
        return function()
    except Exception as error:
        return _failure(error)


def _failure(error):
    return {"raised": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}


if __name__ == "__main__":
    # This file is one module, whether it runs as a program or the test modules import it.
    sys.modules["hazard_observer"] = sys.modules["__main__"]
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(HERE))
    print(json.dumps(_observe(sys.argv[1:])))
