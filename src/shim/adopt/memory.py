"""Say whether code may work on the memory of tensors itself, in place of torch's operations on them.

The functions take columns: a list of parameters, the list of their gradients, those of their state, index for index.
They go through a column with functions of C alone, because a group may have many small tensors, for each of which a
few lines of Python take as long as the step does.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Callable, Sequence

import torch
from torch import Tensor

Columns = Sequence[Sequence[Any]]

# In these, and only in these, memory is the value.
PLAIN = (Tensor, torch.nn.Parameter)
_PLAIN_OR_NONE = {*PLAIN, type(None)}  # None stands for a tensor that there is not

# Tensor.is_cpu came in torch 1.13.
on_cpu: Callable[[Tensor], bool] = (
    attrgetter("is_cpu") if hasattr(Tensor, "is_cpu") else lambda tensor: tensor.device.type == "cpu"
)
# A bit that views such as z.conj().imag have since torch 1.10: the negation is still to be done.
is_negated: Callable[[Tensor], bool] = getattr(Tensor, "is_neg", lambda tensor: False)


def at(indices: Sequence[int], columns: Columns) -> list[list[Any]]:
    """Return the columns with these indices only."""
    return [[column[i] for i in indices] for column in columns]


def is_plain(columns: Columns) -> bool:
    """Say whether these are plain tensors, none of a class that gives its memory another meaning."""
    return all(_PLAIN_OR_NONE.issuperset(map(type, column)) for column in columns)


def is_elementwise(columns: Columns) -> bool:
    """Say whether all tensors of an index have the same elements in the same order, without gaps, on the CPU.

    The columns are parameters, gradients, and then state, which ADOPT itself has made.
    """
    params, grads, *_ = columns
    others = columns[1:]
    sizes = list(map(Tensor.size, params))
    if (
        not all(all(map(on_cpu, column)) for column in columns)
        or any(list(map(Tensor.size, column)) != sizes for column in others)
        or any(map(is_negated, params))
        or any(map(is_negated, grads))
    ):
        return False
    if all(all(map(Tensor.is_contiguous, column)) for column in columns):
        return True
    strides = list(map(Tensor.stride, params))
    return all(list(map(Tensor.stride, column)) == strides for column in others) and all(map(_is_dense, params))


def _is_dense(tensor: Tensor) -> bool:
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
