"""Two gloo processes train to the parameters of one process, in every way that torch distributes."""

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


def launch(way, folder, ranks):
    output = folder / "result.pt"
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environment["OMP_NUM_THREADS"] = "1"
    processes = [
        subprocess.Popen(
            [sys.executable, str(RANKS), way, str(output), str(folder / f"store-{way}"), str(rank)],
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
    return torch.load(str(output))


def two(way, folder):
    return launch(way, folder, [0, 1])


def one(way, folder):
    return launch(way, folder, [-1])


def assert_same(ours, expected):
    assert set(ours) == set(expected)
    for name, p in expected.items():
        assert_close(ours[name], p, 1e-12)


SINCE = {
    "ddp": (1, 8),
    "zero": (1, 12),
    "fsdp1": (2, 4),
    "fsdp2": (2, 6),
    "fsdp2_foreach": (2, 6),
    "fsdp2_bfloat16": (2, 6),
    "save": (2, 6),
}


@pytest.fixture
def since(request):
    def check(way):
        version = tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2])
        if version < SINCE[way]:
            pytest.skip(f"torch {torch.__version__}: {way} is not there, or not on a CPU")

    return check


@pytest.mark.parametrize("way", ["ddp", "zero", "fsdp1", "fsdp2", "fsdp2_foreach"])
def test_two_processes_train_as_one(way, since, tmp_path):
    since(way)

    assert_same(two(way, tmp_path), one("one", tmp_path))


def test_sharded_bfloat16_weights_move(since, tmp_path):
    since("fsdp2_bfloat16")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))

    ours = two("fsdp2_bfloat16", tmp_path)

    for name, p in model.double().to(torch.bfloat16).named_parameters():
        oracle = Oracle(p)
        for _ in range(20):
            oracle.step(torch.ones(p.shape), lr=1e-4)
        assert_close(ours[name], oracle.p, 5e-3)
        assert bool(((p.detach().double() - ours[name]).abs() > 1e-3).all())


def test_a_checkpoint_of_two_processes_loads_on_one(since, tmp_path):
    since("save")
    two("save", tmp_path)

    assert_same(one("load", tmp_path), one("one", tmp_path))
