# ruff: noqa: E501 - templates stand on one line, and a benchmark prints
"""Measure ``shim check``: configs per second, and that the cost grows with the bytes.

    python benchmarks/configs.py [FILES]

Writes FILES (2000) configs into a temporary directory, a quarter in each format, checks them as the command
does, and then checks single files of growing size.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

from shim.configs.command import Task, check, main


def yaml(blocks: int) -> str:
    """Return a config of about 3 kB for 10 blocks, as nanotron's are."""
    block = "layer_{}:\n  hidden_size: 4096\n  init: null  # as before\n  names: [q_proj, k_proj, 'v_proj']\n" + (
        "  rope: {{theta: 10000.0, scaling: null}}\n  path: /data/shards/part-0001\n  notes: |\n    two lines\n    of text\n"
    )
    body = "".join(block.format(index) for index in range(blocks))
    return body + "optimizer:\n  zero_stage: 0\n  weight_decay: null\n  optimizer_factory: {name: adamW}\n"


def as_json(blocks: int) -> str:
    """Return a JSON config of about the same size."""
    block = {
        "hidden_size": 4096,
        "init": None,
        "names": ["q_proj", "k_proj"],
        "rope": {"theta": 1e4, "scaling": None},
    }
    data = {f"layer_{index}": {**block, "path": "/data/shards/part-0001"} for index in range(blocks)}
    return json.dumps({**data, "weight_decay": None}, indent=2)


def toml(blocks: int) -> str:
    """Return a TOML config of about the same size."""
    block = (
        '[layer_{}]\nhidden_size = 4096\nnames = ["q_proj", "k_proj"]\nrope = {{theta = 10000.0}}\npath = "/data"\n\n'
    )
    return "".join(block.format(index) for index in range(blocks)) + '[optimizer]\nweight_decay = "None"\n'


def python(blocks: int) -> str:
    """Return a Python config of about the same size."""
    block = "layer_{} = dict(hidden_size=4096, init=None, names=['q_proj', 'k_proj'],\n    rope=dict(theta=1e4, scaling=None))\n"
    body = "".join(block.format(index) for index in range(blocks))
    return body + "optim_wrapper = dict(optimizer=dict(type='AdamW', weight_decay=None))\n"


MAKERS = {"yaml": yaml, "json": as_json, "toml": toml, "py": python}


def seconds(path: str) -> float:
    """Return the best of five checks of one file."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        result = check(path, Task())
        times.append(time.perf_counter() - start)
        assert len(result.findings) == 1, result
    return min(times)


def measure(files: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'format':8}{'files':>7}{'kB each':>9}{'seconds':>9}{'files/s':>9}")
        for suffix, make in MAKERS.items():
            inner = Path(folder, suffix)
            inner.mkdir()
            text = make(10)
            for index in range(files // len(MAKERS)):
                (inner / f"{index}.{suffix}").write_text(text)
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                main([str(inner)])
            taken = time.perf_counter() - start
            count = files // len(MAKERS)
            print(f"{suffix:8}{count:7}{len(text) / 1e3:9.1f}{taken:9.2f}{count / taken:9.0f}")
        print(f"\n{'format':8}" + "".join(f"{n:>7} blocks" for n in (10, 100, 1000)) + "   (microseconds per kB)")
        for suffix, make in MAKERS.items():
            costs = []
            for blocks in (10, 100, 1000):
                path = Path(folder, f"one.{suffix}")
                path.write_text(make(blocks))
                costs.append(seconds(str(path)) * 1e6 / (path.stat().st_size / 1e3))
            print(f"{suffix:8}" + "".join(f"{cost:14.0f}" for cost in costs))


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
