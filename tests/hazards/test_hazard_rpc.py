"""DistributedOptimizer over RPC, which uses torch's functional optimizers, trains a None as zero"""

from __future__ import annotations

import os

from hazard_observer import NONE, observation


@observation
def distributed_optimizer():
    import torch
    import torch.distributed.autograd
    import torch.distributed.rpc as rpc
    from torch.distributed.optim import DistributedOptimizer

    yield
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29577", GLOO_SOCKET_IFNAME="lo", TP_SOCKET_IFNAME="lo")
    rpc.init_rpc("worker", rank=0, world_size=1)
    try:
        seen = []
        for cls in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
            torch.manual_seed(0)
            model = torch.nn.Linear(2, 2)
            references = [rpc.RRef(parameter) for parameter in model.parameters()]
            optimizer = DistributedOptimizer(cls, references, lr=0.1, weight_decay=NONE)
            for _ in range(2):
                with torch.distributed.autograd.context() as context:
                    torch.distributed.autograd.backward(context, [model(torch.ones(1, 2)).sum()])
                    optimizer.step(context)
            seen.append([type(optimizer).__name__, model.weight.tolist()])
        return seen
    finally:
        rpc.shutdown()


def test_distributed_optimizer_trains_a_none_as_zero(same):
    same(distributed_optimizer)
