"""Fixtures for all tests: fresh processes, with and without a door, and a few steps of training."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

# The tests import shim from this checkout, even if another shim is installed, and start without switches.
sys.path.insert(0, str(CHECKOUT / "src"))
for variable in [name for name in os.environ if name.startswith("SHIM_") or name in ("RANK", "PYTHONPATH")]:
    del os.environ[variable]


@pytest.fixture
def checkout():
    """Return the top directory of the checkout."""
    return CHECKOUT


@pytest.fixture
def python(tmp_path):
    """Return a function that runs a real Python process in an empty directory.

    ``python("code")`` or ``python(["-m", "shim", ...])``. With ``door="sitecustomize"`` PYTHONPATH contains the
    checkout, which arms the process. With ``door="src"`` shim can be imported and nothing is armed. With ``door=None``
    there is no PYTHONPATH.
    """

    def run(what, door="sitecustomize", env=None, executable=sys.executable, **options):
        path = {"sitecustomize": str(CHECKOUT), "src": str(CHECKOUT / "src"), None: ""}[door]
        environment = {**os.environ, "PYTHONPATH": path, **(env or {})}
        if not environment["PYTHONPATH"]:
            del environment["PYTHONPATH"]
        arguments = ["-c", textwrap.dedent(what)] if isinstance(what, str) else [str(part) for part in what]
        return subprocess.run(
            [str(executable), *arguments],
            env=environment,
            cwd=str(options.pop("cwd", tmp_path)),
            capture_output=True,
            text=True,
            timeout=300,
            **options,
        )

    return run


@pytest.fixture
def train():
    """Return a function that takes three steps on a tiny network and returns its parameters, as one vector.

    ``make(parameters)`` builds the optimizer; ``before_step(optimizer)`` is called before each step.
    """
    torch = pytest.importorskip("torch")

    def run(make, before_step=lambda optimizer: None):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 3)
        optimizer = make(list(model.parameters()))
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 4)).pow(2).sum().backward()
            before_step(optimizer)
            optimizer.step()
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    return run


def pytest_terminal_summary(terminalreporter):
    """Print the numbers that tests have recorded, and a table of the skipped tests by reason."""
    passed = [report.nodeid for report in terminalreporter.stats.get("passed", ())]
    checks = [re.split(r"[\[@]", nodeid)[0] for nodeid in passed if "test_adopt_torch_declarations.py" in nodeid]
    if checks:
        terminalreporter.write_line(
            f"generic optimizer checks that ADOPT passes as Adam does: {len({*checks})}, in {len(checks)} runs"
        )
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
    skipped = {}
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped.setdefault(reason.partition("Skipped: ")[2] or reason, []).append(report.nodeid.partition("::")[0])
    if skipped:
        terminalreporter.section(f"{sum(map(len, skipped.values()))} skipped")
    for reason, files in sorted(skipped.items(), key=lambda item: -len(item[1])):
        terminalreporter.write_line(f"{len(files):>5}  {reason}: {', '.join(dict.fromkeys(files))}")


#: Slow files, folders and tests, or prefixes of their paths, the slowest first. On several workers these start first,
#: so that no worker has a slow file left at the end. pytest-xdist has no option for that: it keeps the order of the
#: tests, or its load scope starts with the largest group (see pytest_configure). The groups have no effect with pytest
#: 9.2; pyproject.toml requires an older one.
SLOW = (
    "tests/hazards/test_hazard_compile.py",
    "tests/doors/test_children.py",
    "tests/doors/test_hint",
    "tests/clients/",
    "tests/doors/test_neighbours.py",
    "tests/hazards/",
    "tests/adopt/test_adopt_oracle.py",
    "tests/adopt/test_adopt_triton.py",
    "tests/test_package.py",
    "tests/test_example.py",
    "tests/test_breakages.py",
    "tests/test_written_for",
    "tests/doors/",
    "tests/adopt/",
    "tests/doctor/",
    "tests/test_plugins.py",
    "tests/test_doors.py",
    "tests/test_style.py",
    "tests/test_scripts.py",
    "tests/configs/test_configs_workflow.py",
    "tests/configs/test_configs_properties.py",
    "tests/rows/test_modules.py::test_an_extension_that_asks_for_cpp14_builds",
    "tests/test_timeline.py",
    "tests/test_scan.py::TestThisTorch",
    "tests/test_scan.py::TestTheCommand::test_the_printed_command_runs",
    "tests/rows/test_division.py::test_compiled_code",
    "tests/test_layout.py::test_probe_can_be_imported",
    "tests/test_explain.py::test_additions_of_a_terminal",
    "tests/guards/test_guards_warning.py::TestOncePerPlace::test_the_warning_comes_once_in_a_fresh_process",
    "tests/guards/test_guards_raise_nothing.py::TestAGuardRaisesNothing::test_a_closed_stderr",
    "tests/test_layout.py::test_an_unknown_torch",
    "tests/optional/test_optional.py::test_the_environment_switches",
)

#: Files, or prefixes of their paths, whose classes may run on different workers. So may their functions outside of a
#: class.
DIVISIBLE = (
    "tests/doctor/",
    "tests/doors/test_children.py",
    "tests/doors/test_failures.py",
    "tests/doors/test_hint",
    "tests/doors/test_identity",
    "tests/doors/test_import_hooks.py",
    "tests/doors/test_neighbours.py",
    "tests/doors/test_sitecustomize.py",
    "tests/hazards/test_hazard_threads.py",
    "tests/test_doors.py",
)


def rank(nodeid):
    """Return the position of a test in SLOW; its length for a test that is not slow."""
    return next((position for position, name in enumerate(SLOW) if nodeid.startswith(name)), len(SLOW))


def pytest_ignore_collect(collection_path, config):
    """Leave the slow files out of ``-m "not slow"`` before they are imported."""
    name = collection_path.relative_to(config.rootpath).as_posix() if config.option.markexpr == "not slow" else ""
    return True if rank(name) < len(SLOW) else None


def group(nodeid):
    """Return the name of the group of a test. A group runs on one worker, because its tests share slow fixtures.

    As a rule, the tests of a file are a group. Return None for a test that shares nothing.
    """
    from hazards.hazard_observer import TOGETHER

    file, _, rest = nodeid.partition("::")
    stem = Path(file).stem
    if stem in TOGETHER:
        return "hazards"
    if not file.startswith(DIVISIBLE):
        return stem
    cls, _, method = rest.partition("[")[0].partition("::")
    return f"{stem}.{cls}" if method else None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the markers
def pytest_collection_modifyitems(config, items):
    """Mark the slow tests (``-m "not slow"`` skips them) and the groups of ``--dist loadgroup``, and sort the tests."""
    for item in items:
        if rank(item.nodeid) < len(SLOW):
            item.add_marker("slow")
        if group(item.nodeid):
            item.add_marker(pytest.mark.xdist_group(group(item.nodeid)))
    if getattr(config.option, "loadgroup", False):  # on a worker of xdist
        items.sort(key=lambda item: rank(item.nodeid))


def pytest_configure(config):
    """Make pytest-xdist keep the order of the tests. By default its load scope starts with the largest group."""
    config.option.loadscopereorder = False
