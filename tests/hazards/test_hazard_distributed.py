"""ZeroRedundancyOptimizer, DistributedOptimizer, functional distributed optimizers"""

from __future__ import annotations

import importlib
import os
import tempfile

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
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
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


@observation
def distributed_optimizer():
    """Return what a DistributedOptimizer over RPC makes of its parameters; it picks a functional form where it can."""
    import torch
    import torch.distributed.autograd
    import torch.distributed.rpc as rpc
    from torch.distributed.optim import DistributedOptimizer

    yield
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29577", GLOO_SOCKET_IFNAME="lo", TP_SOCKET_IFNAME="lo")
    with tempfile.TemporaryDirectory() as folder:
        options = {}
        if hasattr(rpc, "TensorPipeRpcBackendOptions"):
            options["rpc_backend_options"] = rpc.TensorPipeRpcBackendOptions(
                init_method=f"file://{folder}/store", _transports=["uv"]
            )
        rpc.init_rpc("worker", rank=0, world_size=1, **options)
        try:
            seen = []
            for cls in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
                model = _model()
                references = [rpc.RRef(parameter) for parameter in model.parameters()]
                optimizer = DistributedOptimizer(cls, references, lr=0.1, weight_decay=NONE)
                for _ in range(2):
                    with torch.distributed.autograd.context() as context:
                        torch.distributed.autograd.backward(context, [model(torch.ones(1, 2)).sum()])
                        optimizer.step(context)
                seen.append(model.weight.tolist())
            return seen
        finally:
            rpc.shutdown()


def test_zero_redundancy_optimizer(same):
    same(zero_redundancy)


def test_distributed_optimizer_with_none(same):
    same(distributed_optimizer)
