"""Measure what the doors add to the start of Python, compared with other tools that hook into every process.

    python benchmarks/startup.py [--rounds N] [--json FILE] [--chart FILE.png]

Each tool is installed into a separate environment under ``.venv-startup/``, by uv if it is installed, else by pip. A
round runs each command once, or as often as its row says, all in a new random order, so that other load on the machine
affects all of them alike and none always follows another. A time is the median over all runs, a ratio is that of the
medians to the first row of the table. CPU time is that of the process and of the children that it waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]
HOME = CHECKOUT / ".venv-startup"
PASS = HOME / "pass.py"

#: Environment -> the packages that are installed there.
ENVIRONMENTS = {
    "shim": ["--no-deps", str(CHECKOUT)],
    "enabled": ["--no-deps", str(CHECKOUT)],
    "autowrapt": ["autowrapt"],
    "newrelic": ["newrelic"],
    "opentelemetry": ["opentelemetry-distro", "opentelemetry-instrumentation"],
    "ddtrace": ["ddtrace"],
    "gevent": ["gevent"],
    "coverage": ["coverage"],
}

#: Turns the tools on, without messages and network access.
SETTINGS = {
    "AUTOWRAPT_BOOTSTRAP": "none",
    "NEW_RELIC_DEVELOPER_MODE": "true",
    "NEW_RELIC_LOG": os.devnull,
    "NEW_RELIC_PYTHON_PREFIX": str(HOME / "newrelic"),
    "NEW_RELIC_PYTHON_VERSION": "%d.%d" % sys.version_info[:2],
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "DD_TRACE_ENABLED": "false",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
}


class Row(NamedTuple):
    """A measured command, its environment, and its PYTHONPATH."""

    name: str
    environment: str
    command: list[str]
    path: str = ""
    #: How often a round runs it. Quick commands with small differences run more often.
    times: int = 1


EMPTY = ["python", "-c", "pass"]
SCRIPT = ["python", str(PASS)]

#: The measured commands, by table. The other rows of a table are compared with its first one.
TABLES = {
    "every start: python -c pass": [
        Row("bare", "shim", EMPTY, times=8),
        Row("bare, once more", "shim", EMPTY, times=8),
        Row("an empty sitecustomize", "shim", EMPTY, str(HOME / "empty"), times=8),
        Row("shim", "shim", EMPTY, "shim/site", times=8),
        Row("shim enable", "enabled", EMPTY, times=8),
        Row("autowrapt", "autowrapt", EMPTY),
        Row("newrelic", "newrelic", EMPTY, "newrelic/bootstrap"),
        Row("opentelemetry", "opentelemetry", EMPTY, "opentelemetry/instrumentation/auto_instrumentation"),
        Row("ddtrace", "ddtrace", EMPTY, "ddtrace/bootstrap"),
    ],
    "a program through a launcher: pass.py": [
        Row("python pass.py", "shim", SCRIPT, times=8),
        Row("two starts, nothing else", "shim", ["python", "-m", "floor"], str(HOME), times=8),
        Row("shim run", "shim", ["shim", "run", str(PASS)], times=8),
        Row("python -m shim run", "shim", ["python", "-m", "shim", "run", str(PASS)], times=8),
        Row(
            "python -m coverage run",
            "coverage",
            ["python", "-m", "coverage", "run", "--data-file=/dev/null", str(PASS)],
        ),
        Row("python -m gevent.monkey", "gevent", ["python", "-m", "gevent.monkey", str(PASS)]),
        Row("newrelic-admin run-program", "newrelic", ["newrelic-admin", "run-program", *SCRIPT]),
        Row("opentelemetry-instrument", "opentelemetry", ["opentelemetry-instrument", *SCRIPT]),
        Row("ddtrace-run", "ddtrace", ["ddtrace-run", *SCRIPT]),
    ],
    "import torch": [
        Row("bare", "torch", ["python", "-c", "import torch"]),
        Row("bare, once more", "torch", ["python", "-c", "import torch"]),
        Row("shim, activated", "torch", ["python", "-c", "import torch"], str(CHECKOUT / "src" / "shim" / "site")),
    ],
}


class Time(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


def make_environments() -> None:
    """Install the missing packages. Report those that cannot be installed, and continue without them."""
    HOME.mkdir(exist_ok=True)
    PASS.write_text("pass\n")
    (HOME / "floor").mkdir(exist_ok=True)  # a package whose __main__ only starts Python again
    (HOME / "floor" / "__init__.py").touch()
    again = f"import os, sys\nos.execv(sys.executable, [sys.executable, {str(PASS)!r}])\n"
    (HOME / "floor" / "__main__.py").write_text(again)
    (HOME / "empty").mkdir(exist_ok=True)
    (HOME / "empty" / "sitecustomize.py").touch()
    for name, packages in ENVIRONMENTS.items():
        home = HOME / name
        if (home / "complete").exists() and name not in ("shim", "enabled"):
            continue
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(home)], check=True)
        python = str(home / "bin" / "python")
        uv = ["uv", "pip", "install", "--quiet", "--python", python]
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
        if packages and subprocess.run([*(uv if shutil.which("uv") else pip), *packages], check=False).returncode != 0:
            print(f"left out, because it cannot be installed here: {name}", file=sys.stderr)
            shutil.rmtree(home)
            continue
        if name == "enabled":
            subprocess.run([python, "-m", "shim", "enable"], check=True, stdout=subprocess.DEVNULL)
        (home / "complete").touch()
    torch = HOME / "torch" / "bin"
    torch.mkdir(parents=True, exist_ok=True)


def start(row: Row) -> Time:
    """Run a command once, to its end."""
    command, environment = prepared(row)
    before = time.perf_counter()
    null = os.open(os.devnull, os.O_RDWR)
    child = os.posix_spawn(
        command[0], command, environment, file_actions=[(os.POSIX_SPAWN_DUP2, null, stream) for stream in (0, 1, 2)]
    )
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - before
    os.close(null)
    if status != 0:
        raise SystemExit(f"{row.name}: {command} ended with status {status}")
    return Time(wall, used.ru_utime + used.ru_stime)


def prepared(row: Row) -> tuple[list[str], dict[str, str]]:
    """Return the command with its full path, and the environment that it runs in."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SHIM_"))}
    environment.update(SETTINGS)
    if row.environment == "torch":
        executable = Path(sys.executable)
    else:
        executable = HOME / row.environment / "bin" / row.command[0]
        environment["PATH"] = str(executable.parent) + os.pathsep + environment["PATH"]
    if row.path:
        site_packages = next((HOME / row.environment).glob("lib/python*/site-packages"), HOME)
        environment["PYTHONPATH"] = str(site_packages / row.path)  # an absolute path stays unchanged
    return [str(executable), *row.command[1:]], environment


def measure(rows: list[Row], rounds: int) -> dict[str, list[Time]]:
    """Run all rows, round after round, each round in a new random order."""
    times: dict[str, list[Time]] = {row.name: [] for row in rows}
    for row in rows:
        start(row)  # writes the bytecode
    order = [row for row in rows for _ in range(row.times)]
    for _ in range(rounds):
        random.shuffle(order)
        for row in order:
            times[row.name].append(start(row))
    return times


def summary(times: dict[str, list[Time]]) -> list[dict[str, object]]:
    """Return each row's medians, in milliseconds, and their ratios to the first row's."""
    medians = {name: Time(*(statistics.median(values) for values in zip(*row))) for name, row in times.items()}
    first = next(iter(medians.values()))
    return [
        {
            "name": name,
            "runs": len(times[name]),
            "cpu_ms": 1e3 * row.cpu,
            "wall_ms": 1e3 * row.wall,
            "cpu_ratio": row.cpu / first.cpu,
            "wall_ratio": row.wall / first.wall,
        }
        for name, row in medians.items()
    ]


def show(title: str, rows: list[dict[str, object]]) -> None:
    print(f"\n{title:<40}{'runs':>6}{'CPU ms':>9}{'wall ms':>9}{'CPU ratio':>11}{'wall ratio':>12}")
    for row in rows:
        print("{name:<40}{runs:6}{cpu_ms:9.1f}{wall_ms:9.1f}{cpu_ratio:11.3f}{wall_ratio:12.3f}".format(**row))


def draw(tables: dict[str, list[dict[str, object]]], about: str, file: str) -> None:
    """Draw the CPU ratios of the first two tables as horizontal bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [(title, tables[title][1:]) for title in list(TABLES)[:2]]
    shown = [
        (title, sorted((row for row in rows if row["name"] != "bare, once more"), key=lambda row: row["cpu_ratio"]))
        for title, rows in shown
    ]
    figure, axes = pyplot.subplots(
        2, 1, figsize=(8, 5.4), sharex=True, height_ratios=[len(rows) for _, rows in shown], layout="constrained"
    )
    for axis, (title, rows) in zip(axes, shown):
        ratios = [float(row["cpu_ratio"]) for row in rows]
        ours = ["#d1495b" if "shim" in str(row["name"]) else "#9aa5b1" for row in rows]
        bars = axis.barh([str(row["name"]) for row in rows], [ratio - 0.9 for ratio in ratios], left=0.9, color=ours)
        axis.bar_label(bars, [f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}" for ratio in ratios], padding=4)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_xlim(0.9, 1.4 * max(float(row["cpu_ratio"]) for _, rows in shown for row in rows))
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_title(title, loc="left", fontsize=11)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(left=False)
        axis.minorticks_off()
    ticks = [1, 2, 5, 10, 20, 50]
    axes[-1].set_xticks(ticks, [str(tick) for tick in ticks])
    axes[-1].set_xlabel(f"CPU time, as a multiple of Python without any tool\n{about}")
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50, help="of all commands (50)")
    parser.add_argument("--json", metavar="FILE", help="write the figures as data")
    parser.add_argument("--chart", metavar="FILE.png", help="draw them, with matplotlib")
    options = parser.parse_args()

    make_environments()
    has_torch = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, check=False).returncode == 0
    tables = {}
    about = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {options.rounds} rounds"
    print(about)
    for title, rows in TABLES.items():
        rows = [row for row in rows if (HOME / row.environment).exists()]
        if title == "import torch" and not has_torch:
            continue
        tables[title] = summary(
            measure(rows, max(options.rounds // 2, 1) if title == "import torch" else options.rounds)
        )
        show(title, tables[title])
    if options.json:
        Path(options.json).write_text(json.dumps({"about": about, "tables": tables}, indent=2) + "\n")
    if options.chart:
        draw(tables, about, options.chart)


if __name__ == "__main__":
    main()
