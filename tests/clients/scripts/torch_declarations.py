"""Run every optimizer as torch declares its inputs, and print digests of parameters and state.

For each optimizer, each declared configuration, each implementation that can be chosen and each dtype: a digest, or
the error with which torch refuses the combination.
"""

from __future__ import annotations

import copy
import hashlib
import json
import warnings

import torch
from torch.testing._internal.common_optimizers import optim_db

STEPS = 3
REAL = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
COMPLEX = (torch.complex64, torch.complex128)


def implementations(info):
    flags = [{}]
    if "foreach" in info.supported_impls:
        flags += [{"foreach": False}, {"foreach": True}]
    if "fused" in info.supported_impls and "cpu" in getattr(info, "supports_fused_on", ("cpu",)):
        flags += [{"fused": True}]
    if "differentiable" in info.supported_impls:
        flags += [{"differentiable": True}]
    return flags


def update(digest, value):
    """Add all tensors and numbers of a state to a digest, in their order."""
    if isinstance(value, torch.Tensor):
        value = torch.view_as_real(value) if value.is_complex() else value
        digest.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        for key in value:
            update(digest, value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            update(digest, item)
    else:
        digest.update(repr(value).encode())


def train(info, kwargs, dtype):
    """Step towards a target. The gradients are set by hand, so that differentiable steps may change parameters."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (3, 2))  # Muon accepts only matrices
    params, targets = ([torch.randn(s, generator=generator).to(dtype) for s in shapes] for _ in range(2))
    optimizer = info.optim_cls(params, **copy.deepcopy(kwargs))

    def closure():
        for param, target in zip(params, targets):
            grad = param.detach() - target
            param.grad = grad.to_sparse() if info.only_supports_sparse_grads else grad
        return sum((param.detach() - target).abs().pow(2).sum() for param, target in zip(params, targets))

    for _ in range(STEPS):
        optimizer.step(closure)
    digest = hashlib.sha256()
    update(digest, params)
    update(digest, optimizer.state_dict()["state"])
    return digest.hexdigest()


def outcomes():
    for info in optim_db:
        for given in info.optim_inputs_func(device="cpu"):
            for flags in implementations(info):
                for dtype in REAL + COMPLEX * info.supports_complex:
                    name = f"{info.optim_cls.__name__} {given.kwargs} {flags} {dtype}"
                    try:
                        yield name, train(info, {**given.kwargs, **flags}, dtype)
                    except (RuntimeError, ValueError, NotImplementedError) as error:
                        yield name, {"refused": f"{type(error).__name__}: {error}"}


def guarded():
    """Return whether the guards are active in this process."""
    try:
        torch.optim.AdamW([torch.ones(1)], weight_decay=None)
    except TypeError:
        return False
    return True


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(json.dumps({"outcomes": dict(outcomes()), "guarded": guarded()}))
