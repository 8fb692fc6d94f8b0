"""Frameworks and ways of training, given None: they fail without shim, and train as with 0.0 with it."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

SCRIPTS = Path(__file__).with_name("scripts")
CHECKOUT = SCRIPTS.parents[2]
TORCH = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
ACCELERATE = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes=1")


class Client(NamedTuple):
    """A training of a script in ``scripts``, and its requirements."""

    script: str
    training: str
    packages: tuple[str, ...] = ()
    torch: tuple[int, int] = (0, 0)
    launcher: tuple[str, ...] = ()

    def missing(self):
        """Return the reason why it cannot run here, or None."""
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                return f"{package} is not installed: nox -s clients"
        if self.torch > TORCH:
            return f"torch {torch.__version__}: came with {self.torch[0]}.{self.torch[1]}"
        if self.launcher == TORCHRUN and TORCH < (2, 0) and sys.version_info >= (3, 11):
            return f"torchrun of torch {torch.__version__} does not start on Python 3.11, with or without shim"
        return None

    def __str__(self):
        return "-".join((self.script, self.training, *(["launch"] if self.launcher == ACCELERATE else [])))


CLIENTS = (
    Client("torch_alone", "nanotron"),
    Client("torch_alone", "detectron2"),
    Client("torch_alone", "detectron2_clipped"),
    Client("torch_alone", "detectron2_reclassed"),
    Client("torch_alone", "in_backward", torch=(2, 1)),
    Client("torch_alone", "compiled", torch=(2, 0)),
    Client("torch_alone", "scaled", torch=(2, 4)),
    Client("torch_alone", "resumed"),
    Client("torch_alone", "spawned"),
    Client("torch_parallel", "ddp", launcher=TORCHRUN),
    Client("torch_parallel", "zero", launcher=TORCHRUN),
    Client("torch_parallel", "fsdp2", torch=(2, 6), launcher=TORCHRUN),
    Client("transformers_trainer", "arguments", ("transformers", "accelerate")),
    Client("transformers_trainer", "from_json", ("transformers", "accelerate")),
    Client("lightning_trainer", "groups", ("lightning",)),
    Client("lightning_trainer", "cli", ("lightning", "jsonargparse")),
    Client("lightning_trainer", "cli_optimizer", ("lightning", "jsonargparse")),
    Client("accelerate_prepare", "prepare", ("accelerate",)),
    Client("accelerate_prepare", "prepare", ("accelerate",), launcher=ACCELERATE),
    Client("hydra_config", "node", ("hydra",)),
    Client("hydra_config", "override", ("hydra",)),
    Client("skorch_net", "regressor", ("skorch",)),
    Client("mmengine_runner", "wrapper", ("mmengine",)),
    Client("mmengine_runner", "runner", ("mmengine",)),
    Client("timm_factory", "factory", ("timm", "torchvision")),
    Client("deepspeed_json", "config", ("deepspeed",)),
)

#: Trainings in which None has a meaning for the optimizer.
MEANINGFUL = (Client("meaningful_none", "freezing"), Client("meaningful_none", "pruning"))

#: The doors. Each script runs through one of them.
RUN, PATH = "run", "PYTHONPATH"
DOORS = {script: (RUN, PATH)[n % 2] for n, script in enumerate(dict.fromkeys(client.script for client in CLIENTS))}


def process(client, trainings, given, door=None):
    """Run trainings of the client's script in a new process, with the given weight decays."""
    command = [*client.launcher, str(SCRIPTS / (client.script + ".py")), ",".join(trainings), *map(json.dumps, given)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.update(OMP_NUM_THREADS="1", PYTHONWARNINGS="default")
    if door == RUN:
        command = ["-m", "shim", "run", *command]
    if door is not None:
        environment["PYTHONPATH"] = str(CHECKOUT / "src" if door == RUN else CHECKOUT)
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=str(SCRIPTS), capture_output=True, text=True, timeout=600
    )


@functools.lru_cache(maxsize=None)
def trained(script, launcher, given, door):
    """Return the finished process that ran all trainings of a script that can run here."""
    clients = [client for client in CLIENTS + MEANINGFUL if (client.script, client.launcher) == (script, launcher)]
    names = [client.training for client in clients if client.missing() is None]
    result = process(clients[0], names, given, door)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def digests(client, given, door):
    """Return, for each weight decay, the digests of the parameters that the processes printed."""
    result = trained(client.script, client.launcher, given, door)
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith(f"trained {client.training} ")]
    return [sorted(digest for _, _, text, digest in lines if text == json.dumps(value)) for value in given]


def each(clients):
    def unless_missing(client):
        reason = client.missing()
        return pytest.param(client, id=str(client), marks=[pytest.mark.skip(reason=reason)] if reason else [])

    return pytest.mark.parametrize("client", [unless_missing(client) for client in clients])


@each(CLIENTS)
def test_without_shim_none_is_the_type_error_that_users_know(client):
    result = process(client, [client.training], [None])
    assert result.returncode != 0
    assert "TypeError: " in result.stderr and "NoneType" in result.stderr


@each(CLIENTS)
def test_with_shim_none_trains_as_zero_does_without(client):
    guarded, _ = digests(client, (None, 0.01), DOORS[client.script])
    plain, _ = digests(client, (0.0, 0.01), None)
    assert len(guarded) == (2 if client.launcher == TORCHRUN else 1)
    assert guarded == plain


@each(CLIENTS)
def test_a_number_trains_to_the_same_bits_with_and_without_shim(client):
    _, guarded = digests(client, (None, 0.01), DOORS[client.script])
    zero, plain = digests(client, (0.0, 0.01), None)
    assert guarded == plain != zero


@each({(client.script, client.launcher): client for client in CLIENTS if client.missing() is None}.values())
def test_the_warning_is_visible(client):
    assert "got weight_decay=None" in trained(client.script, client.launcher, (None, 0.01), DOORS[client.script]).stderr


@pytest.mark.parametrize("door", [RUN, PATH])
def test_a_none_with_a_meaning_is_not_replaced(door):
    plain, guarded = (trained("meaningful_none", (), (None, 0.01), through) for through in (None, door))
    assert plain.stdout.count("holds [None, 0.01]") == plain.stdout.count(" null ") == len(MEANINGFUL)
    assert (guarded.stdout, guarded.stderr) == (plain.stdout, plain.stderr)
