"""Measure what the guards add to an optimizer's step.

    python benchmarks/step_overhead.py [--rounds N] [--json FILE] [WORD ...]

Run it with the Python of an environment that has the torch to be measured; shim need not be installed there. In each
round every variant takes its steps, in a new random order and on the same optimizer: without guards, with guards of one
kind only, and with all. A time is CPU time, the median over the rounds. A ratio is the median of the ratios within a
round, so that other load on the machine affects both sides alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from shim.layout import probe, weight_decay_of
from shim.patches import PATCHES
from shim.registry import Choice, Registry

#: The optimizers of this torch.
OPTIMIZERS = sorted(
    name
    for name, value in vars(torch.optim).items()
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
)

#: The measured steps: optimizer, number of groups, number of parameters in each. The parameters are small, so that the
#: arithmetic does not hide the cost of a guard.
MODELS = {
    **{f"{name}, 1 group of 4 parameters": (name, 1, 4) for name in OPTIMIZERS},
    "Adam, 2 groups of 74 parameters, as GPT-2 has": ("Adam", 2, 74),
    "Adam, 300 groups of 1 parameter": ("Adam", 300, 1),
    "Adam, 300 groups of 4 parameters": ("Adam", 300, 4),
}

#: The variants: which guards are on.
VARIANTS = {
    "none": (),
    "none, once more": (),
    "step": ("step",),
    "functional": ("functional",),
    "all": ("constructor", "step", "functional"),
}

#: Seconds of steps of one variant in a round.
BLOCK = 0.02


def registry(kinds: tuple[str, ...]) -> Registry:
    """Return a registry with the targets of these kinds only."""
    found = (
        (patch, tuple(target for target in patch.targets if target.kind in kinds))
        for patch in PATCHES
        if not patch.optional
    )
    return Registry(patch._replace(targets=targets) for patch, targets in found if targets)


def built(name: str, groups: int, parameters: int) -> torch.optim.Optimizer:
    cls = getattr(torch.optim, name)
    tensors = [[torch.nn.Parameter(torch.ones(4, 4)) for _ in range(parameters)] for _ in range(groups)]
    for group in tensors:
        for parameter in group:
            parameter.grad = torch.ones(4, 4).to_sparse() if name == "SparseAdam" else torch.ones(4, 4)
    options = {"weight_decay": 0.01} if weight_decay_of(cls.__init__) else {}
    given = tensors[0] if name == "LBFGS" else [{"params": group} for group in tensors]  # LBFGS takes one group only
    return cls(given, lr=1e-6, **options)


def seconds(optimizer: torch.optim.Optimizer, steps: int) -> float:
    """Return the CPU time of a step: wall time includes other load on the machine."""
    arguments = [lambda: torch.ones(())] if isinstance(optimizer, torch.optim.LBFGS) else []
    before = time.thread_time()
    for _ in range(steps):
        optimizer.step(*arguments)
    return (time.thread_time() - before) / steps


def measure(model: tuple[str, int, int], rounds: int) -> list[dict[str, object]]:
    layout = probe()
    optimizer = built(*model)
    steps = max(1, round(BLOCK / min(seconds(optimizer, 3) for _ in range(5))))
    tables = {variant: registry(kinds) for variant, kinds in VARIANTS.items()}
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant in random.sample(list(VARIANTS), len(VARIANTS)):
            if VARIANTS[variant]:
                tables[variant].apply(layout, Choice())
            seconds(optimizer, max(1, steps // 10))  # the first steps look names up again after a change of the guards
            times[variant].append(seconds(optimizer, steps))
            tables[variant].restore()
    return [
        {
            "guards": variant,
            "ns": 1e9 * statistics.median(times[variant]),
            "added_ns": 1e9 * statistics.median(one - none for one, none in zip(times[variant], times["none"])),
            "ratio": statistics.median(one / none for one, none in zip(times[variant], times["none"])),
        }
        for variant in VARIANTS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=150, help="of all variants (150)")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only the rows that begin with one of these: SGD, …")
    parser.add_argument("--json", metavar="FILE", help="write the figures as data")
    options = parser.parse_args()

    def chosen(name: str) -> bool:
        return name.startswith(tuple(options.words or ("",)))

    torch.set_num_threads(1)
    wrapper = {"hook": "torch's own step pre-hook", "function": "a replaced step"}[probe().step_wrapper]
    about = f"torch {torch.__version__}, Python {platform.python_version()}, one thread, {options.rounds} rounds"
    print(f"{about}; a step is guarded by {wrapper}")
    tables = {name: measure(model, options.rounds) for name, model in MODELS.items() if chosen(name)}
    for name, rows in tables.items():
        print(f"\n{name:<48}{'ns per step':>14}{'added ns':>11}{'ratio':>9}")
        for row in rows:
            print("  guards: {guards:<38}{ns:14.0f}{added_ns:11.0f}{ratio:9.4f}".format(**row))
    if options.json:
        Path(options.json).write_text(json.dumps({"about": about, "tables": tables}, indent=2) + "\n")


if __name__ == "__main__":
    main()
