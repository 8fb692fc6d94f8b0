"""What the tests share: fresh processes, with and without a door, and a few steps of training."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

# The tests import shim from this checkout, whatever is installed, and start from a clean set of switches.
sys.path.insert(0, str(CHECKOUT / "src"))
SWITCHES = ("DISABLE", "STRICT", "SKIP", "PATCHES", "LOG", "FOR", "HINT")
for variable in (*(f"SHIM_{switch}" for switch in SWITCHES), "RANK", "PYTHONPATH"):
    os.environ.pop(variable, None)


@pytest.fixture
def checkout():
    """Return the top of the checkout."""
    return CHECKOUT


@pytest.fixture
def python(tmp_path):
    """Return a function that runs a real Python process in an empty directory.

    ``python("code")`` or ``python(["-m", "shim", ...])``, with ``door="sitecustomize"`` for a PYTHONPATH that holds
    the checkout, ``door="src"`` for one from which shim can be imported and nothing is armed, and ``door=None`` for
    none at all.
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
    """Print how many of torch's own kinds of optimizer checks ADOPT passed, wherever they ran, and other numbers."""
    passed = [report.nodeid for report in terminalreporter.stats.get("passed", ())]
    checks = {nodeid.partition("[")[0] for nodeid in passed if "test_adopt_torch_declarations.py" in nodeid}
    if checks:
        runs = sum("test_adopt_torch_declarations.py" in nodeid for nodeid in passed)
        terminalreporter.write_line(
            f"generic optimizer checks that ADOPT passes as Adam does: {len(checks)}, in {runs} runs"
        )
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


#: What is slow, the slowest first. It is begun before all that is quick: no worker is to wait for another at the end.
SLOW = (
    "tests/hazards/test_hazard_compile.py",
    "tests/doors/test_children.py",
    "tests/doors/test_hint.py",
    "tests/clients/",
    "tests/doors/test_neighbours.py",
    "tests/hazards/",
    "tests/adopt/test_adopt_oracle.py",
    "tests/adopt/test_adopt_triton.py",
    "tests/test_package.py",
    "tests/test_example.py",
    "tests/test_written_for.py",
    "tests/doors/",
    "tests/adopt/",
    "tests/test_doctor.py",
    "tests/test_plugins.py",
    "tests/test_doors.py",
    "tests/test_style.py",
    "tests/test_scripts.py",
    "tests/configs/test_configs_workflow.py",
)

#: Files whose classes, and whose functions outside of a class, share nothing that is slow to make.
DIVISIBLE = (
    "tests/doors/test_children.py",
    "tests/doors/test_failures.py",
    "tests/doors/test_hint.py",
    "tests/doors/test_identity.py",
    "tests/doors/test_neighbours.py",
    "tests/hazards/test_hazard_threads.py",
    "tests/test_doctor.py",
    "tests/test_doors.py",
)


def share(nodeid):
    """Name what a test shares a worker with: as a rule its file, whose tests share what was slow to make."""
    from hazards.hazard_observer import TOGETHER

    file, _, rest = nodeid.partition("::")
    if file.startswith("tests/hazards/") and Path(file).stem in TOGETHER:
        return "tests/hazards/"
    if file not in DIVISIBLE:
        return file
    return f"{file}::{rest.partition('::')[0]}" if "::" in rest.partition("[")[0] else nodeid


def rank(scope):
    """Return the place of what share() names in SLOW."""
    return next((place for place, name in enumerate(SLOW) if scope.startswith(name)), len(SLOW))


def pytest_collection_modifyitems(items):
    """Mark what is slow: ``-m "not slow"`` is the quick part."""
    for item in items:
        if rank(share(item.nodeid)) < len(SLOW):
            item.add_marker("slow")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Have --dist loadfile begin with what is slow, and keep together what belongs together, rather than files."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return share(nodeid)

        def _assign_work_unit(self, node):
            self.workqueue.move_to_end(min(self.workqueue, key=rank), last=False)
            super()._assign_work_unit(node)

    return Scheduling(config, log)
