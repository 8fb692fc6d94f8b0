"""The release of this torch, the names of its optimizers, and functions that step them."""

from __future__ import annotations

import torch
from packaging.version import Version

RELEASE = Version(torch.__version__).release[:3]

OPTIMIZERS = sorted(
    name
    for name, value in vars(torch.optim).items()
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
)


def parameters(count=1):
    return [torch.nn.Parameter(torch.ones(3, 2)) for _ in range(count)]


def step(optimizer, times=1):
    for _ in range(times):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.full_like(parameter, 0.5)
        optimizer.step()
