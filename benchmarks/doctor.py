"""Measure the wall time of ``doctor``, as a multiple of that of ``import torch``, on two cores.

    python benchmarks/doctor.py [--rounds N] [--python PATH]

A round runs each command once, in a new random order. A time is the median over all rounds, a ratio is that of the
medians to the first row. One more round before them warms the file cache and does not count. CPU time is that of the
process and of its children. On a machine with other load, the ratio of wall times is close to that of CPU times.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
ROWS = {
    "import torch": ["-c", "import torch"],
    "import torch, once more": ["-c", "import torch"],
    "an optimizer's first step": [str(CHECKOUT / "src" / "shim" / "doctor" / "train.py")],
    "doctor": ["-m", "shim", "doctor"],
    "doctor --explain": ["-m", "shim", "doctor", "--explain", "KeyError: 'capturable'"],
}


def run(python: str, arguments: list[str]) -> tuple[float, float]:
    """Return the seconds of wall time, and of CPU time."""
    path = str(CHECKOUT / "src")
    if arguments == ROWS["an optimizer's first step"]:
        path = str(CHECKOUT / "src" / "shim" / "site")  # armed: without guards its None is an error
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    ran = subprocess.run([python, *arguments], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)
    clock = time.perf_counter() - start
    if ran.returncode not in (0, 1):  # 1: doctor reports that a job started here is not guarded
        sys.exit(f"{arguments} ended with {ran.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch, packaging and wrapt")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    for number in range(options.rounds + 1):
        for name in random.sample(list(ROWS), len(ROWS)):
            taken = run(options.python, ROWS[name])
            times[name] += [taken] * (number > 0)
    versions = "import platform, torch; print(f'Python {platform.python_version()}, torch {torch.__version__}')"
    of = subprocess.run([options.python, "-c", versions], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    print(f"{platform.system()} {platform.machine()}, {of}, {options.rounds} rounds")
    clocks, cpus = ({name: statistics.median(each[n] for each in times[name]) for name in ROWS} for n in (0, 1))
    for name in ROWS:
        ratio, cpu = clocks[name] / clocks["import torch"], cpus[name] / cpus["import torch"]
        print(f"{name:<26} {clocks[name]:6.2f} s {ratio:6.2f}    CPU {cpus[name]:6.2f} s {cpu:6.2f}")


if __name__ == "__main__":
    main()
