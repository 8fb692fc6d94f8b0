"""ZeroRedundancyOptimizer trains a None as zero"""

from __future__ import annotations

import importlib

from hazard_observer import NONE, observation


def _stepped(optimizer, model, steps=2):
    import torch

    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    return model.weight.tolist()


def _model():
    import torch

    torch.manual_seed(0)
    return torch.nn.Linear(2, 2)


@observation
def zero_redundancy():
    import torch
    import torch.distributed as dist

    module = importlib.import_module("torch.distributed.optim")
    if not hasattr(module, "ZeroRedundancyOptimizer"):
        return None
    yield
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        seen = []
        for cls in (torch.optim.Adam, torch.optim.SGD):
            model = _model()
            optimizer = module.ZeroRedundancyOptimizer(model.parameters(), cls, lr=0.1, weight_decay=NONE)
            seen.append(_stepped(optimizer, model))
            for group in optimizer.param_groups:
                group["weight_decay"] = NONE
            seen.append(_stepped(optimizer, model))
        return seen
    finally:
        dist.destroy_process_group()


def test_zero_redundancy_optimizer_trains_a_none_as_zero(same):
    same(zero_redundancy)
