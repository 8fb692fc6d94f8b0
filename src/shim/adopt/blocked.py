"""Step large CPU tensors in blocks that fit into the cache.

Each operation on a whole tensor reads it from memory again. On a block, only the first one does, and the temporaries
are as small as the block.
"""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor

from . import _torch
from .memory import at, is_elementwise, memory_of

# The elements of a block, for one thread and for more. With gradients, state and temporaries they fit into the cache.
BLOCK, BLOCK_FOR_THREADS = 2**15, 2**17


def step_(
    form: Callable[..., None],
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    compensations: list[Tensor | None],
    *,
    grad_scale: Tensor | None,
    **options: Any,
) -> None:
    """Run `form` on each block of each large parameter, and on the other parameters as a whole."""
    size = BLOCK if torch.get_num_threads() == 1 else BLOCK_FOR_THREADS
    everything = (params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations)
    whole = []
    for i, (*tensors, step, c) in enumerate(zip(*everything)):
        columns = [[t] for t in (*tensors, c) if t is not None]
        # With lr 0, a first step depends on whether all of a gradient is zero, which one block does not tell.
        if (
            tensors[0].numel() <= size
            or options["lr"] == 0
            or not (_torch.is_plain_eager() and memory_of(columns) and is_elementwise(columns))
        ):
            whole.append(i)
            continue
        blocks = [t.as_strided((t.numel(),), (1,)).split(size) for (t,) in columns]
        steps = [step.clone() for _ in blocks[0]]  # the form adds 1 to the step of each block
        form(*blocks[:4], steps, grad_scale, None, compensations=None if c is None else blocks[4], **options)
        step.copy_(steps[0])
    *lists, whole_compensations = at(whole, everything)
    form(*lists, grad_scale, None, compensations=whole_compensations, **options)
