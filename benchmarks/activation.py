"""Measure the CPU time that shim takes while torch is imported, and its parts, in milliseconds.

    python benchmarks/activation.py [--rounds N]

Each round imports torch in a fresh process four times, in a new random order: twice without shim, armed, and armed with
``SHIM_FOR=1.7``. The time is that of the importing thread inside ``shim.import_hook.arrived``, which is called when an
awaited module has been executed. All figures are medians; the ratio is to the CPU time of the plain ``import torch``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

#: The parts, and the functions whose time is added up for each. If one calls another, the time is counted once.
PARTS = {
    "importing shim": ("import_hook:_import_ours",),
    "loading the table of breakages": ("process:table", "process:_rows"),
    "probing torch": ("activation:probe",),
    "replacing in all modules": ("replace:everywhere",),
    "writing guards and rows": ("registry:Registry.apply",),
    "entry points": ("activation:load_plugins",),
    "the rest": ("import_hook:arrived",),
}

#: Without PYTHONDONTWRITEBYTECODE, with which Python would compile shim again for each measurement.
INHERITED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

#: Runs in the fresh process.
PROGRAM = """
import importlib, json, sys, time
parts, times, running = json.loads(sys.argv[1]), {}, []

def timed(function, part):
    def inside(*args, **kwargs):
        now = time.thread_time()
        if running:
            times[running[-1][0]] += now - running[-1][1]
        running.append([part, now])
        times.setdefault(part, 0.0)
        try:
            return function(*args, **kwargs)
        finally:
            now = time.thread_time()
            times[part] += now - running.pop()[1]
            if running:
                running[-1][1] = now
    return inside

def wrap(module, path, part):
    owner, _, name = path.rpartition(".")
    for each in owner.split(".") if owner else ():
        module = getattr(module, each)
    if hasattr(module, name) and not hasattr(getattr(module, name), "timed"):
        wrapped = timed(getattr(module, name), part)
        wrapped.timed = True
        setattr(module, name, wrapped)

def wrap_all():
    for part, places in parts.items():
        for place in places:
            module, _, path = place.partition(":")
            module = sys.modules.get("shim." + module)
            if module is not None:
                wrap(module, path, part)

armed = [finder for finder in sys.meta_path if hasattr(finder, "_shim")]
if armed:
    import_hook = sys.modules[type(armed[0]).__module__]
    if hasattr(import_hook, "_load"):  # the door's own finder; with SHIM_FOR it has handed over already
        import_hook = import_hook._load()
    import_ours = import_hook._import_ours
    def then_wrap(name):
        module = import_ours(name)
        times[running[-1][0]] += time.thread_time() - running[-1][1]
        wrap_all()
        running[-1][1] = time.thread_time()  # the time of wrap_all is not that of shim
        return module
    import_hook._import_ours = then_wrap
    wrap_all()
began = time.process_time()
import torch
print(json.dumps({"import": time.process_time() - began, "parts": times}))
"""


def measure(environment: dict[str, str]) -> dict[str, float]:
    """Import torch in a fresh process, and return the milliseconds of each part, and of the whole import."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(PARTS)],
        env={**INHERITED, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(run.stdout)
    return {"import torch": 1000 * result["import"], **{name: 1000 * t for name, t in result["parts"].items()}}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    door = {"PYTHONPATH": str(CHECKOUT)}
    ways = {"armed": door, "SHIM_FOR=1.7": {**door, "SHIM_FOR": "1.7"}}
    shims = list(ways)
    ways.update({"without shim": {"PYTHONPATH": ""}, "without shim, once more": {"PYTHONPATH": ""}})
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in random.sample(list(ways), len(ways)):
            found[way].append(measure(ways[way]))

    def median(way: str, part: str) -> float:
        return statistics.median(each.get(part, 0.0) for each in found[way])

    print(f"torch {version()}, {rounds} rounds, medians of CPU time in ms")
    print(f"{'':<32}" + "".join(f"{way:>14}" for way in shims))
    for part in PARTS:
        print(f"{part:<32}" + "".join(f"{median(way, part):14.1f}" for way in shims))
    whole = [statistics.median(sum(each.values()) - each["import torch"] for each in found[way]) for way in shims]
    print(f"{'all of it':<32}" + "".join(f"{time:14.1f}" for time in whole))
    plain = median("without shim", "import torch")
    print(f"{'of import torch, ' + f'{plain:.0f} ms':<32}" + "".join(f"{time / plain:14.3f}" for time in whole))
    again = median("without shim, once more", "import torch")
    print(f"import torch, measured twice: {again / plain:.3f}")


def version() -> str:
    """Return the release of torch that is installed."""
    code = "import torch; print(torch.__version__)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
