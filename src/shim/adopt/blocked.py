"""Step large CPU tensors in blocks that fit into the cache.

Each operation on a whole tensor reads it from memory again. On a block, only the first one does, and the temporaries
are as small as the block.
"""

from __future__ import annotations

from typing import Any

import torch

from . import _torch
from .form import Lists, Options
from .memory import at, is_elementwise, memory_of, overlap
from .single import step_each

# The elements of a block, for one thread and for more. With gradients, state and temporaries they fit into the cache.
BLOCK, BLOCK_FOR_THREADS = 2**15, 2**17


def step_each_block(lists: Lists, options: Options) -> None:
    """Perform a step on each block of each large parameter, and on the other parameters as a whole."""
    size = BLOCK if torch.get_num_threads() == 1 else BLOCK_FOR_THREADS
    everything: Any = list(lists)
    whole = []
    for i, (*tensors, step, c) in enumerate(zip(*everything)):
        dense = [t for t in (*tensors, c) if t is not None]
        columns = [[t] for t in dense]
        # With lr 0, a first step depends on whether all of a gradient is zero, which one block does not tell.
        if (
            tensors[0].numel() <= size
            or options.lr == 0
            or not (_torch.is_plain_eager() and memory_of(columns) and is_elementwise(columns))
            or overlap([*columns, [step]])
        ):
            whole.append(i)
            continue
        blocks = [t.as_strided((t.numel(),), (1,)).split(size) for t in dense]
        steps = [step.clone() for _ in blocks[0]]  # the form adds 1 to the step of each block
        params, grads, exp_avgs, exp_avg_sqs, *compensations = blocks
        step_each(Lists(params, grads, exp_avgs, exp_avg_sqs, steps, *(compensations or [None])), options)
        step.copy_(steps[0])
    step_each(Lists(*at(whole, everything)), options)
