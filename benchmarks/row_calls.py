#!/usr/bin/env python3
"""Measure what a row adds to a call: time the patched function and the original one on the same arguments.

    python benchmarks/row_calls.py [--for RELEASE] [NAME…]

Prints the microseconds that each patched function adds to a call that works with and without the row, the most
expensive first, and the number of patched places for which this file has no call. The two functions are timed in turn,
and the fastest round of each counts.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import shim
from shim import rows
from shim.targets import expanded

X = torch.arange(6.0).reshape(2, 3)
NUMBERS = torch.tensor([7, -7, 5])
MASK = X > 1
LAYER = nn.Linear(3, 3)
OPTIMIZER = torch.optim.SGD(LAYER.parameters(), lr=0.1)

GROUP = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
GROUP.step()  # a scheduler warns of a step before the first one of its optimizer
SCHEDULERS = torch.optim.lr_scheduler
STEP = "torch.optim.lr_scheduler:{}.step"
LONG = torch.arange(64.0)

#: The path of each patched place, and the arguments of a call. The first argument of a method is its object.
CALLS = {
    "torch:div": (X, 2.0),
    "torch:Tensor.div": (X, 2.0),
    "torch:Tensor.div_": (X.clone(), 1.0),
    "torch:Tensor.__truediv__": (X, 2.0),
    "torch:Tensor.__itruediv__": (X.clone(), 1.0),
    "torch:Tensor.__rtruediv__": (X, 2.0),
    "torch:Tensor.__rfloordiv__": (X, 2.0),
    "torch:floor_divide": (X, 2.0),
    "torch:Tensor.floor_divide": (X, 2.0),
    "torch:Tensor.floor_divide_": (X.clone(), 1.0),
    "torch:Tensor.__floordiv__": (X, 2.0),
    "torch:Tensor.__ifloordiv__": (X.clone(), 1.0),
    "torch:pow": (X, 2.0),
    "torch:Tensor.pow": (X, 2.0),
    "torch:Tensor.pow_": (X.clone(), 1.0),
    "torch:Tensor.__pow__": (X, 2.0),
    "torch:Tensor.__rpow__": (X, 2.0),
    "torch:addcdiv": (X, X, X + 1),
    "torch:Tensor.addcdiv": (X, X, X + 1),
    "torch:Tensor.addcdiv_": (X.clone(), X, X + 1),
    "torch:full": ((2,), 1.0),
    "torch:Tensor.__getitem__": (X, 0),
    "torch:Tensor.__setitem__": (X.clone(), 0, 1.0),
    "torch:Tensor.__iadd__": (X.clone(), 1.0),
    "torch:Tensor.__isub__": (X.clone(), 1.0),
    "torch:Tensor.__imul__": (X.clone(), 1.0),
    "torch:Tensor.__rsub__": (X, 1.0),
    "torch:rsub": (X, 1.0),
    "torch:Tensor.add_": (X.clone(), 1.0),
    "torch:Tensor.sub_": (X.clone(), 1.0),
    "torch:Tensor.mul_": (X.clone(), 1.0),
    "torch:Tensor.fill_": (X.clone(), 1.0),
    "torch:Tensor.zero_": (X.clone(),),
    "torch:Tensor.copy_": (X.clone(), X),
    "torch:Tensor.normal_": (X.clone(),),
    "torch:Tensor.uniform_": (X.clone(),),
    "torch:Tensor.clamp_": (X.clone(), 0.0, 1.0),
    **{f"torch:{owner}clamp": (X, 0.0, 1.0) for owner in ("", "Tensor.")},
    **{f"torch:{owner}clip": (X, 0.0, 1.0) for owner in ("", "Tensor.")},
    **{f"torch:{owner}{each}": (X, 0.0) for owner in ("", "Tensor.") for each in ("clamp_min", "clamp_max")},
    **{f"torch:{owner}{each}": (X.clone(), 0.0) for owner in ("", "Tensor.") for each in ("clamp_min_", "clamp_max_")},
    **{f"torch:{owner}masked_fill": (X, MASK, 0.0) for owner in ("", "Tensor.")},
    **{f"torch:{owner}masked_fill_": (X.clone(), MASK, 0.0) for owner in ("Tensor.",)},
    **{f"torch:{owner}masked_select": (X, MASK) for owner in ("", "Tensor.")},
    **{f"torch:{owner}masked_scatter": (X, MASK, X) for owner in ("", "Tensor.")},
    **{f"torch:{owner}index_put": (X, (torch.tensor([0]),), X[0]) for owner in ("", "Tensor.")},
    "torch:Tensor.index_put_": (X.clone(), (torch.tensor([0]),), X[0]),
    "torch:Tensor.masked_scatter_": (X.clone(), MASK, X),
    "torch.nn.functional:interpolate": (X.reshape(1, 1, 2, 3), (4, 4)),
    "torch.nn.functional:nll_loss": (X, torch.tensor([0, 1])),
    "torch.nn.functional:cross_entropy": (X, torch.tensor([0, 1])),
    "torch.functional:stft": (LONG, 16, 8, None, torch.ones(16), True, "reflect", False, True, True),
    STEP.format("LRScheduler"): (SCHEDULERS.StepLR(GROUP, 10),),
    STEP.format("ReduceLROnPlateau"): (SCHEDULERS.ReduceLROnPlateau(GROUP), 1.0),
    STEP.format("CosineAnnealingWarmRestarts"): (SCHEDULERS.CosineAnnealingWarmRestarts(GROUP, 10),),
    "torch.nn.functional:binary_cross_entropy": (X / 6, X / 6),
    "torch.optim.optimizer:Optimizer.zero_grad": (OPTIMIZER,),
    "torch.nn.modules.module:Module.zero_grad": (LAYER,),
    "torch:meshgrid": (NUMBERS, NUMBERS),
    "torch:where": (MASK, X, X),
    "torch:Tensor.where": (X, MASK, X),
    "torch:searchsorted": (NUMBERS.sort()[0], NUMBERS),
    "torch:Tensor.numpy": (X,),
    "torch:Tensor.squeeze_": (X.clone(),),
    "torch:std_mean": (X,),
    "torch:var_mean": (X,),
    **{
        f"torch:{owner}{each}": (X,) for owner in ("", "Tensor.") for each in ("std", "var", "sort", "argsort", "round")
    },
    **{f"torch:{owner}{each}": (X,) for owner in ("", "Tensor.") for each in ("any", "all", "squeeze", "sum", "mean")},
    **{f"torch:{owner}{each}": (X, 0.5) for owner in ("", "Tensor.") for each in ("quantile", "nanquantile")},
    **{f"torch:{owner}repeat_interleave": (X, 2) for owner in ("", "Tensor.")},
    "torch:Tensor.round_": (X.clone(),),
    "torch.nn.functional:gelu": (X,),
    "torch.nn.modules.activation:GELU.forward": (nn.GELU(), X),
    **{f"{owner}:conv1d": (X.reshape(1, 2, 3), torch.ones(1, 2, 1)) for owner in ("torch", "torch.nn.functional")},
    "torch.nn.utils.rnn:pack_padded_sequence": (X.reshape(2, 3, 1), torch.tensor([2, 2, 1])),
    "torch.utils.data.dataset:random_split": ([1, 2, 3], [1, 2]),
}
LOOPS, ROUNDS = 100, 200


def held(path):
    """Return the object at a path."""
    module, _, attributes = path.partition(":")
    found = __import__(module, fromlist=["_"])
    for name in attributes.split("."):
        found = getattr(found, name)
    return found


def seconds(function, arguments):
    """Return the seconds of one call, as the mean of many."""
    start = time.perf_counter()
    for _ in range(LOOPS):
        function(*arguments)
    return (time.perf_counter() - start) / LOOPS


def main():
    """Compare each patched function with the original."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--for", dest="release", default="1.4", help="the release that the program was written for")
    parser.add_argument("names", nargs="*", help="rows to look at; all, if none is named")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    places = {
        target.path: row.name
        for row in rows.load()
        for target in expanded(row.targets)
        if target.kind in ("around", "instead", "wrapper", "arguments")
        and (not options.names or row.name in options.names)
    }
    before = {path: held(path) for path in CALLS if path in places}
    shim.activate(written_for=options.release)
    now = {path: held(path) for path in before}
    applied = {path for path in places if path not in before or now[path] is not before[path]}
    found = []
    for path in before:
        if path not in applied:
            continue
        fastest = {}
        for _ in range(ROUNDS):
            for function in (before[path], now[path]):
                taken = seconds(function, CALLS[path])
                fastest[function] = min(taken, fastest.get(function, taken))
        found.append(((fastest[now[path]] - fastest[before[path]]) * 1e6, path, places[path]))
    for microseconds, path, row in sorted(found, reverse=True):
        print(f"{microseconds:6.2f} us  {path}  ({row})")
    uncounted = sorted(path for path in applied if path not in CALLS)
    print(f"{len(found)} functions compared; {len(uncounted)} patched places have no call here")
    print(f"above 1 us: {sum(microseconds > 1 for microseconds, _, _ in found)}")


if __name__ == "__main__":
    main()
