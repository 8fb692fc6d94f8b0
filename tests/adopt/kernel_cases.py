"""Write cases for kernel_driver.c: the inputs of steps of ADOPT's kernel, and their results on this machine.

    python tests/adopt/kernel_cases.py FILE

The driver compares its results bit for bit. The results on this machine are first compared with the oracle, within the
rounding of their dtype.
"""

from __future__ import annotations

import itertools
import math
import struct
import sys
from pathlib import Path

import torch
from adopt_oracle import Oracle, assert_close

from shim.adopt.optimizer import ADOPT

#: Sizes of the parameters of a case: one element, sizes around the width of any vector, more than a block.
SIZES = (1, 7, 33, 200)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2}
EXTREMES = (0.0, -0.0, 1e-40, -1e-40, 1e-30, 3e38, -3e38, math.inf, -math.inf, math.nan)


def raw(tensor):
    """Return the bytes of a tensor."""
    return b"" if tensor is None else bytes(tensor.detach().reshape(-1).view(torch.uint8).tolist())


def cases():
    """Yield the bytes of each case."""
    from shim.adopt import native

    assert native._kernel is not None, native.in_words()
    native._inspects = False  # the kind of the tensors is then known before the kernel is called
    seen = []
    kernel = native._kernel

    def spy(kind, count, table, options, clips, threads, parallel, columns, python):
        seen.append((kind, clips))
        return kernel(kind, count, table, options, clips, threads, parallel, columns, python)

    native._kernel = spy
    options = itertools.product(
        (torch.float32, torch.float64, torch.bfloat16),
        ({}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decouple": True}),
        ({}, {"maximize": True}),
        ({}, {"clip_exp": None}, {"clip_lambda": lambda step: 0.3 + step / 7}),
        (False, True),
    )
    for dtype, decay, maximize, clip, extreme in options:
        generator = torch.Generator().manual_seed(1)
        params = [torch.nn.Parameter(torch.randn(n, generator=generator, dtype=torch.float64).to(dtype)) for n in SIZES]
        oracles = [Oracle(p) for p in params]
        optimizer = ADOPT(params, lr=0.05, fused=True, **decay, **maximize, **clip)
        group = optimizer.param_groups[0]
        for number in range(4):
            for p, oracle in zip(params, oracles):
                p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype)
                if extreme and number == 2 and len(p) > len(EXTREMES):
                    p.grad[: len(EXTREMES)] = torch.tensor(EXTREMES).to(dtype)
                exponent = group["clip_exp"]
                bound = group["clip_lambda"] or (None if exponent is None else lambda t, e=exponent: t**e)
                oracle.step(p.grad, 0.05, group["betas"], group["eps"], clip=bound, **decay, **maximize)
            before = [columns(optimizer, p) for p in params]
            seen.clear()
            optimizer.step()
            after = [columns(optimizer, p) for p in params]
            if number and not extreme:
                for p, oracle in zip(params, oracles):
                    assert_close(p, oracle.p, TOLERANCE[dtype])
            if not number:  # the first step begins with a state of zeros
                before = [old[:2] + [bytes(len(part)) for part in new[2:]] for old, new in zip(before, after)]
            if len(seen) == 1:
                yield packed(seen[0][0], group, before, after, number)


def columns(optimizer, param):
    """Return the bytes of all tensors of a parameter that the kernel reads or writes, in the order of its table."""
    state = optimizer.state.get(param, {})
    names = ("exp_avg", "exp_avg_sq", "compensation", "step")
    return [raw(param), raw(param.grad), *(raw(state.get(name)) for name in names)]


def packed(kind, group, before, after, step):
    """Return a case in the format that the driver reads."""
    bound, exponent = group["clip_lambda"], group["clip_exp"]
    clips = b"" if bound is None else struct.pack(f"<{len(before)}d", *[bound(float(step))] * len(before))
    beta1, beta2 = group["betas"]
    options = (beta1, beta2, group["lr"], group["weight_decay"], float(group["decouple"]), group["eps"])
    options += (-1.0 if group["maximize"] else 1.0, -1.0 if exponent is None or bound else exponent)
    transposed = [each for column in zip(*before) for each in column]
    expected = [each for column in zip(*after) for each in column]
    return b"".join(
        [
            struct.pack("<4q", kind, len(before), bool(clips), 0),
            struct.pack("<8d", *options),
            clips,
            struct.pack(f"<{len(before)}q", *SIZES),
            struct.pack(f"<{len(transposed)}q", *map(len, transposed)),
            *transposed,
            *expected,
        ]
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(b"".join(cases()))
