"""Parameters for tests of ADOPT's native kernel, and a function that steps them."""

from __future__ import annotations

import pytest
import torch

from shim.adopt import ADOPT

#: The markers of files with tests of the kernel.
NEEDS_KERNEL = [
    pytest.mark.usefixtures("native_kernel"),
    pytest.mark.torch_from(1, 8, "no views of complex numbers, no complete low precision"),
]

OPTIONS = {"lr": 0.1, "weight_decay": 0.1}


def steps(params, grads, count=4, **form):
    """Take steps with the gradients times 1, 2, 3, ...; return the optimizer."""
    optim = ADOPT(params, **OPTIONS, **form)
    for k in range(1, count + 1):
        for p, grad in zip(params, grads):
            p.grad = grad * k if grad.is_contiguous() else grad
        optim.step()
    return optim


def ordinary(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 3, generator=generator) for _ in range(3)]


def as_parameters(tensors):
    return [torch.nn.Parameter(t) for t in tensors]
