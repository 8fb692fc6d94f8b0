"""Processes that a guarded program starts are guarded; those of another Python are not changed."""

from __future__ import annotations

import shutil
import socket
import sys
import venv
from pathlib import Path

import pytest

from shim.launch import SITE

#: Fails without a guard; prints the process that has one.
GUARDED = """
import torch

def weight_decay():
    return torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None).defaults["weight_decay"]
"""


@pytest.fixture
def guarded(python, tmp_path):
    """Return a function that runs a program under ``run``. The program may import ``guarded.weight_decay``."""

    def run(program, *before, door="src", **options):
        (tmp_path / "guarded.py").write_text(GUARDED)
        (tmp_path / "program.py").write_text("from guarded import torch, weight_decay\n" + program)
        env = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", **options.pop("env", {})}
        command = ["-m", "shim", "run"] * (door == "src") + [*before, "program.py"]
        result = python(command, door=door, env=env, **options)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


def test_a_grandchild_through_a_shell_is_guarded(guarded):
    program = """
import subprocess, sys
if sys.argv[1:] == ["child"]:
    print(weight_decay())
else:
    sys.exit(subprocess.call(f'exec "{sys.executable}" program.py child', shell=True))
"""
    assert guarded(program) == "0.0\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader_are_guarded(guarded, method):
    program = f"""
import os

class Dataset(torch.utils.data.Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, index):
        return torch.tensor([weight_decay(), os.getpid()], dtype=torch.float64)

if __name__ == "__main__":
    loader = torch.utils.data.DataLoader(Dataset(), num_workers=1, multiprocessing_context="{method}")
    rows = torch.cat(list(loader))
    print(rows[:, 0].tolist(), os.getpid() in rows[:, 1].tolist())
"""
    assert guarded(program) == "[0.0, 0.0] False\n"


def test_processes_of_torch_multiprocessing_are_guarded(guarded):
    program = """
def work(rank):
    print(rank, weight_decay())

if __name__ == "__main__":
    torch.multiprocessing.spawn(work, nprocs=1)
"""
    assert guarded(program) == "0 0.0\n"


#: Two processes take a step together, and each prints its weight decay. No object may hold the process group when it is
#: destroyed. Otherwise gloo's threads live on, and sometimes abort the process while Python ends, with or without shim
#: (https://github.com/pytorch/pytorch/issues/190489). Building an optimizer imports torch.distributed.nn, whose default
#: arguments hold the group that exists then. DistributedDataParallel holds the group, too.
DISTRIBUTED = """
import os

import torch.distributed.nn

torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
optimizer = torch.optim.AdamW(model.parameters(), weight_decay=None)
model(torch.ones(1, 2)).sum().backward()
optimizer.step()
with open("rank" + os.environ["RANK"], "w") as file:
    file.write(str(optimizer.param_groups[0]["weight_decay"]))
del model, optimizer
torch.distributed.destroy_process_group()
"""


@pytest.fixture
def elastic():
    """Skip if torch's own launcher does not work: that of torch 1.13 fails with the enums of Python 3.11."""
    pytest.importorskip("torch.distributed.run", reason="this torch has no torchrun")
    release = sys.modules["torch"].__version__
    if release.startswith("1.") and sys.version_info >= (3, 11):
        pytest.skip(f"torchrun of torch {release} does not start on Python 3.11, with or without shim")


class TestLaunchers:
    @pytest.fixture
    def both_ranks(self, tmp_path):
        return lambda: [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)]

    def test_two_processes_of_torchrun_are_guarded(self, elastic, guarded, both_ranks):
        where = ["--nnodes=1", "--nproc_per_node=2", "--master_addr=127.0.0.1", f"--master_port={free_port()}"]
        guarded(DISTRIBUTED, "-m", "torch.distributed.run", *where, door="sitecustomize")
        assert both_ranks() == ["0.0", "0.0"]

    def test_processes_of_the_torchrun_command_are_guarded(self, elastic, guarded, both_ranks):
        torchrun = Path(sys.executable).with_name("torchrun")
        if not torchrun.exists():
            pytest.skip("this torch has no torchrun")
        guarded(DISTRIBUTED, torchrun, "--nproc_per_node=2", f"--master_port={free_port()}")
        assert both_ranks() == ["0.0", "0.0"]

    def test_a_process_of_accelerate_launch_is_guarded(self, guarded, environment):
        """With one process: on a CPU accelerate starts several only with MPI."""
        python = environment("accelerate", with_torch=True)
        program = """
from accelerate import Accelerator

accelerator = Accelerator(cpu=True)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.AdamW(model.parameters(), weight_decay=None)
model, optimizer = accelerator.prepare(model, optimizer)
accelerator.backward(model(torch.ones(1, 2)).sum())
optimizer.step()
print("weight decay", optimizer.param_groups[0]["weight_decay"])
"""
        launch = ["--cpu", "--num_processes=1", "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
        assert "weight decay 0.0\n" in guarded(program, "-m", "accelerate.commands.launch", *launch, executable=python)


class TestRay:
    """Ray on one machine: the settings in docs/children.md guard its workers."""

    PROGRAM = """
import ray

@ray.remote
def task():
    from guarded import weight_decay
    return weight_decay()

@ray.remote
class Actor:
    def work(self):
        from guarded import weight_decay
        return weight_decay()

def show(reference):
    try:
        print("weight decay", ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        print("weight decay", type(error.cause).__name__)

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env=JOB)
show(task.options(runtime_env=WORK).remote())
show(Actor.options(runtime_env=WORK).remote().work.remote())
"""

    @pytest.fixture
    def ray(self, guarded, environment):
        python = environment("ray", with_torch=True)

        def run(door, job=None, work=None, more=""):
            program = self.PROGRAM.replace("JOB", repr(job or {})).replace("WORK", repr(work or {})) + more
            settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
            lines = guarded(program, door=door, executable=python, env=settings).splitlines()
            return [line.split()[2] for line in lines if line.startswith("weight decay")]

        return run

    def test_ray_workers_of_a_program_under_a_door_are_guarded(self, ray):
        assert ray("src") == ["0.0", "0.0"]

    def test_a_ray_runtime_environment_with_shims_path_guards_and_one_without_does_not(self, ray):
        found = ray(None, work={"env_vars": {"PYTHONPATH": SITE}}, more="show(task.remote())")
        assert found == ["0.0", "0.0", "TypeError"]

    def test_a_ray_runtime_environment_with_a_setup_hook_guards(self, ray, checkout):
        found = {"PYTHONPATH": str(checkout / "src")}  # shim is not installed there
        assert ray(None, job={"worker_process_setup_hook": "shim.activate", "env_vars": found}) == ["0.0", "0.0"]


class TestAnotherPython:
    """PYTHONPATH affects every Python. In a Python of another environment shim prints and changes nothing."""

    LOOK = "import sys; print(len(sys.meta_path), 'shim.import_hook' in sys.modules, sys.path[1:]); import json"

    def pythons():
        for name in ("2.7", "3.6", "3.7", "3.8", "3.13"):
            found = sorted(Path.home().glob(f".pyenv/versions/{name}.*/bin/python"))
            path = str(found[-1]) if found else shutil.which("python" + name)
            missing = pytest.mark.skip(reason=f"no Python {name} on this machine")
            yield pytest.param(path, id=name, marks=[] if path else [missing])

    @pytest.fixture
    def installed(self, tmp_path, checkout):
        """Copy the package into a site-packages of Python 3.13, and return the directory for PYTHONPATH."""
        package = tmp_path / "env" / "lib" / "python3.13" / "site-packages" / "shim"
        shutil.copytree(str(checkout / "src" / "shim"), str(package), ignore=shutil.ignore_patterns("__pycache__"))
        return str(package / "site")

    @pytest.mark.parametrize("executable", list(pythons()))
    @pytest.mark.parametrize("before", [[], ["-v"], ["-W", "error"]], ids=" ".join)
    def test_the_sitecustomize_of_another_environment_changes_nothing(self, python, installed, executable, before):
        bare = python([*before, "-c", self.LOOK], door=None, executable=executable)
        result = python([*before, "-c", self.LOOK], env={"PYTHONPATH": installed}, executable=executable)
        assert (result.stdout, result.returncode) == (bare.stdout, 0)
        assert "-v" in before or result.stderr == bare.stderr == ""
        assert "Traceback" not in result.stderr

    def test_a_bare_environment_without_torch_is_unchanged(self, python, tmp_path):
        venv.create(str(tmp_path / "bare"))
        bare = tmp_path / "bare" / "bin" / "python"
        code = "import sys, json; print(sys.path[1:], 'shim' in sys.modules); import torch"
        plain = python(code, door=None, executable=bare)
        armed = python(code, env={"PYTHONPATH": SITE}, executable=bare)
        assert (armed.stdout, armed.stderr, armed.returncode) == (plain.stdout, plain.stderr, 1)
        assert plain.stderr.endswith("No module named 'torch'\n")

    def test_an_isolated_child_is_unchanged(self, guarded):
        program = """
import subprocess, sys
for option in ("-I", "-E", "-S"):
    code = "import sys; print(hasattr(sys.meta_path[0], '_shim'))"
    print(subprocess.run([sys.executable, option, "-c", code], stdout=subprocess.PIPE).stdout)
print(weight_decay())
"""
        assert guarded(program) == "b'False\\n'\n" * 3 + "0.0\n"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
