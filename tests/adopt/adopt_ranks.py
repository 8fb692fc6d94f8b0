"""Train a small model with ADOPT on two gloo ranks, in several ways; rank 0 saves the result.

Run by test_adopt_distributed.py as ``adopt_ranks.py WAY,WAY OUTPUT STORE RANK``. Rank -1 is one process.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from shim.adopt import ADOPT

STEPS, ROWS = 8, 8
OPTIONS = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1, "decouple": True}


def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()


def batch(k, rank, world):
    x = torch.sin(torch.arange(ROWS * 4, dtype=torch.float64).reshape(ROWS, 4) * (k + 1))
    return x if rank < 0 else x[rank * ROWS // world : (rank + 1) * ROWS // world]


def train(model, optimizer, rank, steps=STEPS, start=0):
    for k in range(start, start + steps):
        optimizer.zero_grad()
        model(batch(k, rank, 2)).pow(2).mean().backward()
        optimizer.step()


def full(model):
    return {
        name: (p.full_tensor() if hasattr(p, "full_tensor") else p).detach().clone()
        for name, p in model.named_parameters()
    }


def one(rank, output):
    model = build()
    train(model, ADOPT(model.parameters(), **OPTIONS), rank)
    return full(model)


def ddp(rank, output):
    model = torch.nn.parallel.DistributedDataParallel(build())
    train(model, ADOPT(model.parameters(), **OPTIONS), rank)
    return full(model.module)


def zero(rank, output):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model = torch.nn.parallel.DistributedDataParallel(build())
    train(model, ZeroRedundancyOptimizer(model.parameters(), optimizer_class=ADOPT, **OPTIONS), rank)
    return full(model.module)


def sharded():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = build()
    mesh = init_device_mesh("cpu", (2,))
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=mesh)
    return model


def fsdp2(rank, output):
    model = sharded()
    train(model, ADOPT(model.parameters(), **OPTIONS), rank)
    return full(model)


def fsdp2_foreach(rank, output):
    model = sharded()
    train(model, ADOPT(model.parameters(), foreach=True, **OPTIONS), rank)
    return full(model)


def fsdp2_bfloat16(rank, output):
    model = sharded().to(torch.bfloat16)
    optimizer = ADOPT(model.parameters(), lr=1e-4)
    for _ in range(20):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
    return {
        name: p.full_tensor().double() + optimizer.state[p]["compensation"].full_tensor().double()
        for name, p in model.named_parameters()
    }


def fsdp1(rank, output):
    from torch.distributed.fsdp import FullyShardedDataParallel

    model = FullyShardedDataParallel(build(), device_id=torch.device("cpu"), use_orig_params=True)
    train(model, ADOPT(model.parameters(), **OPTIONS), rank)
    with FullyShardedDataParallel.summon_full_params(model):
        return {name.replace("_fsdp_wrapped_module.", ""): p.detach().clone() for name, p in model.named_parameters()}


def save(rank, output):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict

    model = sharded()
    optimizer = ADOPT(model.parameters(), **OPTIONS)
    train(model, optimizer, rank, STEPS // 2)
    model_state, optimizer_state = get_state_dict(model, optimizer)
    dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=f"{output}.dcp")
    return {}


def load(rank, output):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    model = build()
    optimizer = ADOPT(model.parameters(), **OPTIONS)
    model_state, optimizer_state = get_state_dict(model, optimizer)
    dcp.load({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=f"{output}.dcp")
    set_state_dict(model, optimizer, model_state_dict=model_state, optim_state_dict=optimizer_state)
    train(model, optimizer, rank, STEPS // 2, start=STEPS // 2)
    return full(model)


if __name__ == "__main__":
    ways, output, store, rank = sys.argv[1].split(","), sys.argv[2], sys.argv[3], int(sys.argv[4])
    torch.set_num_threads(1)
    if rank >= 0:
        dist.init_process_group("gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2)
    results = {way: globals()[way](rank, output) for way in ways}
    if rank <= 0:
        torch.save(results, f"{output}.{rank}")
    if rank >= 0:
        dist.barrier()
        dist.destroy_process_group()
        os._exit(0)  # as in tests/clients/scripts/torch_parallel.py: gloo's threads may abort a Python that ends
