# ruff: noqa: E501 - templates stand on one line, and a benchmark prints
"""Measure ``shim check``: configs per second, and how its time and its memory grow with the size of a file.

    python benchmarks/configs.py [FILES [BYTES]]

Writes FILES (2000) configs into a temporary directory, the same number in each format, and checks them as the command
does. Then, for each format and shape of file, checks a file of 1 kB, 10 kB, ... up to BYTES (10 MB; the largest Python
file that is parsed has 1 MB), each in a separate process, and prints the exponent with which the time grows: 1 is
linear.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from shim.configs.command import Task, check, main
from shim.configs.formats import FORMATS

NULL = "optimizer: {weight_decay: null}\n"


def lines(line: str, size: int, before: str = "", after: str = "") -> str:
    """Repeat a line, whose ``{i}`` counts up, until it has this number of bytes."""
    count = max(1, size // len(line.format(i=size // 10)))
    return before + "".join(line.format(i=index) for index in range(count)) + after


def yaml(size: int) -> str:
    """Return a config in the style of nanotron."""
    block = (
        "layer_{i}:\n  hidden_size: 4096\n  init: null  # as before\n  names: [q_proj, k_proj, 'v_proj']\n"
        "  rope: {{theta: 10000.0, scaling: null}}\n  path: /data/shards/part-0001\n  notes: |\n    two lines\n    of text\n"
    )
    return lines(
        block, size, after="optimizer:\n  zero_stage: 0\n  weight_decay: null\n  optimizer_factory: {name: adamW}\n"
    )


def as_json(size: int) -> str:
    """Return a JSON config of layers."""
    layer = {
        "hidden_size": 4096,
        "init": None,
        "names": ["q_proj", "k_proj"],
        "rope": {"theta": 1e4, "scaling": None},
        "path": "/data/shards/part-0001",
    }
    count = max(1, size // 260)
    return json.dumps({**{f"layer_{index}": layer for index in range(count)}, "weight_decay": None}, indent=2)


def toml(size: int) -> str:
    """Return a TOML config of tables."""
    block = (
        '[layer_{i}]\nhidden_size = 4096\nnames = ["q_proj", "k_proj"]\nrope = {{theta = 10000.0}}\npath = "/data"\n\n'
    )
    return lines(block, size, after='[optimizer]\nweight_decay = "None"\n')


def python(size: int) -> str:
    """Return a Python config that consists of calls."""
    block = "layer_{i} = dict(hidden_size=4096, init=None, names=['q_proj', 'k_proj'],\n    rope=dict(theta=1e4, scaling=None))\n"
    return lines(block, size, after="optim_wrapper = dict(optimizer=dict(type='AdamW', weight_decay=None))\n")


def deep(size: int) -> str:
    """Return JSON with long keys, nested 100 levels deep."""
    key = "k" * (size // 100)
    return f'{{"{key}":' * 100 + '{"optimizer": {"weight_decay": null}}' + "}" * 100


MAKERS: dict[str, Callable[[int], str]] = {
    "yaml": yaml,
    "json": as_json,
    "jsonc": lambda size: as_json(size).replace("\n    ", "  // as before\n    "),
    "toml": toml,
    "py": python,
}
SHAPES: dict[str, Callable[[int], str]] = {
    "yaml: as nanotron's": yaml,
    "yaml: optimizers": lambda n: lines("o{i}: {{_target_: torch.optim.AdamW, lr: 1.0, weight_decay: null}}\n", n),
    "yaml: lacking optimizers": lambda n: lines("o{i}:\n  _target_: torch.optim.AdamW\n  lr: 1.0\n", n, NULL),
    "yaml: aliases": lambda n: lines("- *a\n", n, "optimizer: &a {weight_decay: null}\nall:\n"),
    "yaml: aliases of aliases": lambda n: lines("b{i}: [&b{i} {{a: 1, weight_decay: null}}, *a, *b{i}]\n", n, "optimizer: &a {weight_decay: null}\n"),
    "yaml: merges": lambda n: lines("o{i}:\n  <<: *a\n  lr: 0.1\n", n, "optimizer: &a\n  weight_decay: null\n"),
    "yaml: a chain of merges": lambda n: "a0: &a0 {weight_decay: null}\n" + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: 1}}\n" for i in range(1, max(2, n // 48))),
    "yaml: references": lambda n: lines("o{i}: {{lr: 1.0, weight_decay: '${{wd}}'}}\n", n, "wd: null\n"),
    "yaml: a long first line": lambda n: "a: '" + "x" * (n // 2) + "'\n" + lines("o{i}:\n  lr: 1.0\n", n // 2, NULL),
    "yaml: and lacking optimizers": lambda n: "a: '" + "x" * (n // 2) + "'\n" + lines("o{i}: {{_target_: torch.optim.SGD, lr: 1.0}}\n", n // 2, NULL),
    "yaml: long names": lambda n: f"o: {{_target_: {'Ab.' * (n // 6)}, weight_decay: null}}\n? weight_decay{'_wd' * (n // 6)}\n: null\n",
    "yaml: documents": lambda n: lines("weight_decay: null\n---\n", n),
    "yaml: one flow list": lambda n: "a: [" + "1.0, " * (n // 5) + "1]\n" + NULL,
    "json: layers": as_json,
    "json: deep long keys": deep,
    "json: deep long keys, groups": lambda n: deep(n // 2).replace("null}", "null, \"g\": [" + '{"lr": 1, "weight_decay": null}, ' * (n // 70) + "1]}"),
    "json: one long string": lambda n: json.dumps({"a": "\\n" * (n // 4), "weight_decay": None}),
    "json: groups": lambda n: '{"param_groups": [' + lines('{{"lr": 1, "weight_decay": null}},', n) + "1]}",
    "jsonc: comments": lambda n: "{" + lines("// {i}\n/* x */", n) + '"weight_decay": null}',
    "toml: tables": toml,
    "toml: optimizers": lambda n: lines('[a{i}.optimizer]\nlr = 1.0\nweight_decay = "None"\n', n),
    "toml: tables in an array": lambda n: lines("[[optimizer]]\nweight_decay = 'None'\n", n),
    "toml: dotted keys": lambda n: lines("a.b.c{i}.d = 1\n", n, after='[optimizer]\nweight_decay = "None"\n'),
    "toml: a long string": lambda n: 'a = """' + "x\\n\n" * (n // 4) + '"""\n[optimizer]\nweight_decay = "None"\n',
    "py: calls": python,
    "py: one call of calls": lambda n: "optimizer = dict(a=[" + "dict(b=1), " * (n // 11) + "], type='AdamW', weight_decay=None)\n",
    "py: one line, not ASCII": lambda n: "a = ['é', " + "dict(é='é'), " * (n // 15) + "]\noptimizer = dict(type='AdamW', weight_decay=None)\n",
    "py: optimizers": lambda n: lines("o{i} = torch.optim.SGD(p, lr=1.0, weight_decay=None)\n", n),
    "py: variables": lambda n: lines("v{i} = None\no{i} = dict(optimizer=dict(weight_decay=v{i}), x=v{i})\n", n),
    "py: one f-string": lambda n: "a = f'" + "{a}" * (n // 3) + "'\noptimizer = dict(type='AdamW', weight_decay=None)\n",
    "py: options": lambda n: lines("p.add_argument('--weight-decay', type=float)\n", n),
    "py: one long name": lambda n: f"o = {'a' * (n // 2)}.{'Adam' * (n // 8)}(weight_decay=None)\n",
}  # fmt: skip


def throughput(files: int) -> None:
    """Print the number of configs per second of CPU time."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'format':8}{'files':>7}{'kB each':>9}{'seconds':>9}{'files/s':>9}")
        for suffix, make in MAKERS.items():
            inner = Path(folder, suffix)
            inner.mkdir()
            text = make({"yaml": 2000, "json": 2000, "jsonc": 2000, "toml": 1000, "py": 1200}[suffix])
            for index in range(files // len(MAKERS)):
                (inner / f"{index}.{suffix}").write_text(text)
            start = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                main([str(inner)])
            taken = time.process_time() - start
            count = files // len(MAKERS)
            print(f"{suffix:8}{count:7}{len(text) / 1e3:9.1f}{taken:9.2f}{count / taken:9.0f}", flush=True)


def name_of(shape: str) -> str:
    """Return the name of a shape's format."""
    kind = shape.partition(":")[0]
    return "python" if kind == "py" else kind


def one(shape: str, size: int) -> None:
    """Print the seconds of CPU time for one file, for a small one the best of three, and the process's memory in MB."""
    task = Task(format_name=name_of(shape))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config")
        path.write_text(SHAPES[shape](size))
        path_bytes = path.stat().st_size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times = []
        while not times or (sum(times) < 0.3 and len(times) < 50):
            start = time.process_time()
            result = check(str(path), task)
            times.append(time.process_time() - start)
            assert result.findings, result.error
            assert not result.error, result.error
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(path_bytes, min(times), more / 1e3)


def growth(largest: int) -> None:
    """Print the seconds of CPU time for each size, the exponents, and the memory that the largest file takes."""
    sizes = [10**power for power in range(3, int(math.log10(largest)) + 1)]
    print(f"\n{'shape':30}" + "".join(f"{size // 1000:>7} kB" for size in sizes) + "  exponent  last step  MB for a MB")
    for shape in SHAPES:
        found: list[tuple[float, float, float]] = []
        for size in sizes:
            if size > FORMATS[name_of(shape)].most:
                continue
            run = [sys.executable, __file__, "--one", shape, str(size)]
            done = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True)
            found.append(tuple(map(float, done.stdout.split())))  # type: ignore[arg-type]
        logs = [(math.log(size), math.log(seconds)) for size, seconds, _ in found]
        slope = last = math.nan  # of a single size
        if len(logs) > 1:
            means = [sum(column) / len(logs) for column in zip(*logs)]
            slope = sum((x - means[0]) * (y - means[1]) for x, y in logs) / sum((x - means[0]) ** 2 for x, _ in logs)
            last = (logs[-1][1] - logs[-2][1]) / (logs[-1][0] - logs[-2][0])
        shown = "".join(f"{seconds:8.4f} s" if seconds < 1 else f"{seconds:8.2f} s" for _, seconds, _ in found)
        shown += f"{'-':>10}" * (len(sizes) - len(found))
        print(f"{shape:30}{shown}{slope:10.2f}{last:11.2f}{found[-1][2] / (found[-1][0] / 1e6):13.0f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], int(sys.argv[3]))
    else:
        throughput(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
        growth(int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000)
