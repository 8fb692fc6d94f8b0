"""torch's own data parallelism, with two processes under torchrun."""

from __future__ import annotations

import os

import client
import torch
import torch.distributed as dist


def local(batch):
    """Return this process's part of a batch."""
    return batch[dist.get_rank() :: dist.get_world_size()]


def fit(model, optimizer):
    for batch in client.batches():
        optimizer.zero_grad()
        model(local(batch)).pow(2).mean().backward()
        optimizer.step()
    return model.parameters()


def ddp(weight_decay):
    model = torch.nn.parallel.DistributedDataParallel(client.model())
    groups = [{"params": list(model.parameters()), "weight_decay": weight_decay}]
    return fit(model, torch.optim.AdamW(groups, lr=0.1))


def zero(weight_decay):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model = torch.nn.parallel.DistributedDataParallel(client.model())
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=0.1, weight_decay=weight_decay)
    return fit(model, optimizer)


def fsdp2(weight_decay):
    from torch.distributed.fsdp import fully_shard

    model = client.model()
    fully_shard(model, mesh=dist.init_device_mesh("cpu", (dist.get_world_size(),)))
    groups = [{"params": list(model.parameters()), "weight_decay": weight_decay}]
    return [parameter.full_tensor() for parameter in fit(model, torch.optim.AdamW(groups, lr=0.1))]


if __name__ == "__main__":
    dist.init_process_group("gloo")
    client.run(ddp, zero, fsdp2)
    dist.destroy_process_group()
    # If an object holds the group, gloo's threads outlive it (see tests/doors/test_children.py). Sometimes they abort
    # the process while Python ends, with or without shim. os._exit ends the process without that.
    os._exit(0)
