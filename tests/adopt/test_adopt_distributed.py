"""Two gloo processes train the same parameters as one process, with every kind of torch's data parallelism."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from adopt_oracle import Oracle, assert_close

import shim

RANKS = Path(__file__).with_name("adopt_ranks.py")
SOURCE = Path(shim.__file__).parent.parent

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch is built without distributed")

TORCH = tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2])
# The release since which each way runs on a CPU. In torch 2.6, FSDP2 uses a GPU stream when a model is called.
SINCE = {
    "ddp": (1, 8),
    "zero": (1, 12),
    "fsdp1": (2, 4),
    "fsdp2": (2, 7),
    "fsdp2_foreach": (2, 7),
    "fsdp2_bfloat16": (2, 6),
    "save": (2, 7),
}


def launch(ways, folder, ranks):
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environment["OMP_NUM_THREADS"] = "1"
    arguments = [str(RANKS), ",".join(ways), str(folder / "result"), str(folder / "store")]
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments, str(rank)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in ranks
    ]
    try:
        said = [process.communicate(timeout=180)[0].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(ranks), "\n".join(said)
    options = {"weights_only": True} if TORCH >= (1, 13) else {}
    return torch.load(str(folder / f"result.{ranks[0]}"), **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the trained parameters of each way: first in two processes, then in one, from their checkpoint."""
    folder = tmp_path_factory.mktemp("ranks")
    ways = [way for way, since in SINCE.items() if since <= TORCH]
    if not ways:
        pytest.skip(f"torch {torch.__version__}: too old for all of the ways")
    results = launch(ways, folder, [0, 1])
    results.update(launch(["one", "load"] if "save" in ways else ["one"], folder, [-1]))
    return results


def assert_same(ours, expected):
    assert set(ours) == set(expected)
    for name, p in expected.items():
        assert_close(ours[name], p, 1e-12)


def skip_unless(way):
    if SINCE[way] > TORCH:
        pytest.skip(f"torch {torch.__version__}: {way} does not exist, or not on a CPU")


@pytest.mark.parametrize("way", ["ddp", "zero", "fsdp1", "fsdp2", "fsdp2_foreach"])
def test_two_processes_train_as_one(way, trained):
    skip_unless(way)

    assert_same(trained[way], trained["one"])


def test_sharded_bfloat16_weights_move(trained):
    skip_unless("fsdp2_bfloat16")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))

    for name, p in model.double().to(torch.bfloat16).named_parameters():
        oracle = Oracle(p)
        for _ in range(20):
            oracle.step(torch.ones(p.shape), lr=1e-4)
        assert_close(trained["fsdp2_bfloat16"][name], oracle.p, 1e-6)


def test_a_checkpoint_of_two_processes_loads_on_one(trained):
    skip_unless("save")

    assert_same(trained["load"], trained["one"])
