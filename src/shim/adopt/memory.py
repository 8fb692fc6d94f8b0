"""Say whether code may work on the memory of tensors itself, in place of torch's operations on them.

It may where the memory of a tensor is its value. By what torch says of it, such a tensor

- has a plain class, none that gives its memory another meaning;
- has the dispatch keys of an ordinary tensor: no conjugation or negation is still to be done, no zeros are only
  promised, no functionalization, transform or mode of torch stands in front of it, and if it is written to, it is not
  of inference mode;
- has memory, aligned, on the CPU, in a storage that is as large as its sizes and strides say. A lazily cloned storage
  is one that torch copies when it is asked for the memory to be written;
- has no gap or overlap among its elements, and those of a parameter, its gradient and its state are in one order.

That nothing records, compiles or transforms operations is said by `_torch.is_plain_eager`, and that no two tensors
share memory is seen by the kernel. Where torch's objects can be read, native.c looks at all this (`is_plain`, `holds`
and `shim_adopt_look_3`), and again when no other code can run before the kernel; the functions below do so from Python.

They take columns: a list of parameters, the list of their gradients, those of their state, index for index. They go
through a column with functions of C alone, because a group may have many small tensors, for each of which a few lines
of Python take as long as the step does.
"""

from __future__ import annotations

from operator import add, attrgetter, le, methodcaller, mod, mul
from typing import Any, Callable, List, Sequence

import torch
from torch import Tensor

Columns = Sequence[Sequence[Any]]
Storages = List[List[Any]]

# In these, and only in these, memory is the value.
PLAIN = (Tensor, torch.nn.Parameter)

# Tensor.is_cpu came in torch 1.13.
on_cpu: Callable[[Tensor], bool] = (
    attrgetter("is_cpu") if hasattr(Tensor, "is_cpu") else lambda tensor: tensor.device.type == "cpu"
)

# What a release has of these methods, and what says that a tensor is of inference mode, which may be read.
_UNLIKE_MEMORY = [getattr(Tensor, name) for name in ("is_conj", "is_neg", "_is_zerotensor") if hasattr(Tensor, name)]
_is_inference: Callable[[Tensor], bool] | None = getattr(Tensor, "is_inference", None)

# The fastest of what a release has; that of 1.11 and 1.12 which is made in Python would be slow.
_storage: Callable[[Tensor], Any] = getattr(Tensor, "untyped_storage", getattr(Tensor, "_storage", Tensor.storage))
_storage_bytes: Callable[[Any], int] = (
    methodcaller("nbytes")
    if hasattr(_storage(torch.zeros(())), "nbytes")
    else lambda storage: storage.size() * storage.element_size()
)


def at(indices: Sequence[int], columns: Columns) -> list[list[Any]]:
    """Return the columns with these indices only."""
    return [[column[i] for i in indices] for column in columns]


def storages_of(columns: Columns) -> Storages | None:
    """Return the storages, if all of these are plain tensors whose memory is the value, else None.

    That they have no gaps is left to :func:`is_elementwise`. Who keeps the storages holds the memory. The second column
    is that of the gradients.
    """
    if not all({*PLAIN}.issuperset(map(type, column)) for column in columns):
        return None
    if any(any(map(unlike, column)) for unlike in _UNLIKE_MEMORY for column in columns):
        return None
    if _is_inference and any(any(map(_is_inference, column)) for k, column in enumerate(columns) if k != 1):
        return None
    try:
        storages = [list(map(_storage, column)) for column in columns]
        lie_there = all(map(_lie_in, columns, storages))
    except (RuntimeError, NotImplementedError):  # what torch.func wraps, and what is sparse, has no memory of its own
        return None
    return storages if lie_there else None


def _lie_in(column: Sequence[Tensor], storages: Sequence[Any]) -> bool:
    sizes, numels = list(map(Tensor.element_size, column)), list(map(Tensor.numel, column))
    ends = map(mul, map(add, map(Tensor.storage_offset, column), numels), sizes)
    addresses = list(map(Tensor.data_ptr, column))
    return (
        all(map(le, ends, map(_storage_bytes, storages)))
        and not any(map(mod, addresses, sizes))
        and not (0 in addresses and any(numel and not address for address, numel in zip(addresses, numels)))
    )


def is_elementwise(columns: Columns) -> bool:
    """Say whether all tensors of an index have the same elements in the same order, without gaps, on the CPU.

    The columns are parameters, gradients, and then state, all for which :func:`storages_of` has storages.
    """
    params, *others = columns
    sizes = list(map(Tensor.size, params))
    if not all(all(map(on_cpu, column)) for column in columns) or any(
        list(map(Tensor.size, column)) != sizes for column in others
    ):
        return False
    if all(all(map(Tensor.is_contiguous, column)) for column in columns):
        return True
    strides = list(map(Tensor.stride, params))
    return all(list(map(Tensor.stride, column)) == strides for column in others) and all(map(_is_dense, params))


def reaches_beyond(tensor: Tensor | None) -> bool:
    """Say whether torch's operations would reach beyond the memory of a tensor, which ends the process."""
    if tensor is None or type(tensor) not in PLAIN or tensor.numel() == 0 or not on_cpu(tensor):
        return False
    try:
        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
        end = tensor.storage_offset() + last + 1
        return end * tensor.element_size() > _storage_bytes(_storage(tensor))
    except (RuntimeError, NotImplementedError):
        return False


def _is_dense(tensor: Tensor) -> bool:
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
