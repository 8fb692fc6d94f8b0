"""An ADOPT that steps with its Triton kernels, on a GPU or in the interpreter, and one with the single-tensor form."""

from __future__ import annotations

import os

import pytest
import torch
from test_adopt_oracle import randn

from shim.adopt import ADOPT, cuda, triton_kernels

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
BLOCK = triton_kernels.BLOCK

needs_gpu = pytest.mark.skipif(INTERPRETED, reason="needs a GPU")


class Fused(ADOPT):
    """An ADOPT that steps with the Triton kernels, on any device that Triton supports."""

    def __init__(self, params, **options):
        super().__init__(params, capturable=True, **options)  # step counters on the device

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lists = [[] for _ in range(6)]
            self._init_group(group, *lists)
            cuda.fused_step_(
                *lists,
                grad_scale=getattr(self, "grad_scale", None),
                found_inf=getattr(self, "found_inf", None),
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                **{name: group[name] for name in ("lr", "clip_exp", "weight_decay", "decouple", "eps", "maximize")},
            )


def on_device(tensor):
    return tensor.detach().to(DEVICE).requires_grad_()


def pair(shapes, dtype=torch.float32, **group):
    """Return two copies of equal parameters, with an optimizer that uses the kernels and one that does not."""
    generator = torch.Generator().manual_seed(0)
    start = [randn(generator, *shape, dtype=dtype) for shape in shapes]
    ours, theirs = [[on_device(t.clone()) for t in start] for _ in range(2)]
    group = {"lr": 1e-2, **group}
    return (
        ours,
        Fused([{"params": ours, **group}]),
        theirs,
        ADOPT([{"params": theirs, **group}], foreach=False, capturable=True),
    )


def step_both(ours, fused, theirs, single, steps=5):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for p, q in zip(ours, theirs):
            q.grad = randn(generator, *q.shape, dtype=q.dtype).to(DEVICE)
            p.grad = q.grad.clone()
        fused.step()
        single.step()
