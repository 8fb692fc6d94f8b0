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
and `shim_adopt_look_4`), and again when no other code can run before the kernel; the functions below do so from Python.

They take columns: a list of parameters, the list of their gradients, those of their state, index for index. They go
through a column with functions of C alone, because a group may have many small tensors, for each of which a few lines
of Python take as long as the step does.
"""

from __future__ import annotations

from functools import reduce
from itertools import compress, repeat
from operator import add, attrgetter, le, mul, not_, or_
from typing import Any, Callable, Iterator, Sequence

import torch
from torch import Tensor

Columns = Sequence[Sequence[Any]]

# In these, and only in these, memory is the value.
PLAIN = (Tensor, torch.nn.Parameter)

# Tensor.is_cpu came in torch 1.13.
on_cpu: Callable[[Tensor], bool] = (
    attrgetter("is_cpu") if hasattr(Tensor, "is_cpu") else lambda tensor: tensor.device.type == "cpu"
)

# These came in torch 1.10 and 1.9. (The numbers of a ZeroTensor or of a functional wrapper have no address.)
_is_negated: Callable[[Tensor], bool] | None = getattr(Tensor, "is_neg", None)
_is_inference: Callable[[Tensor], bool] | None = getattr(Tensor, "is_inference", None)

_is_functional: Callable[[Tensor], bool] = getattr(torch, "_is_functional_tensor", lambda tensor: False)

# The fastest of what a release has; that of 1.11 and 1.12 which is made in Python would be slow.
_storage: Callable[[Tensor], Any] = getattr(Tensor, "untyped_storage", getattr(Tensor, "_storage", Tensor.storage))
_storage_bytes: Callable[[Any], int] = getattr(
    type(_storage(torch.zeros(()))), "nbytes", lambda storage: storage.size() * storage.element_size()
)


def at(indices: Sequence[int], columns: Columns) -> list[list[Any]]:
    """Return the columns with these indices only."""
    return [[column[i] for i in indices] for column in columns]


def memory_of(columns: Columns) -> tuple[list[list[int]], object] | None:
    """Return the addresses of these tensors, and what holds the memory, if the memory is the value, else None.

    That they have no gaps is left to :func:`is_elementwise`. The second column is that of the gradients, and each is of
    one dtype, complex ones seen as pairs of reals.
    """
    if not all({*PLAIN}.issuperset(map(type, column)) for column in columns):
        return None
    for k, column in enumerate(columns):
        if column[0].is_complex() or (_is_negated and any(map(_is_negated, column))):
            return None
        if _is_inference and k != 1 and any(map(_is_inference, column)):
            return None
    try:
        addresses = [list(map(Tensor.data_ptr, column)) for column in columns]
        storages = [list(map(_storage, column)) for column in columns]
    except (RuntimeError, NotImplementedError):  # what torch.func wraps, and what is sparse, has no memory of its own
        return None
    return (addresses, storages) if all(map(_lie_in, columns, addresses, storages)) else None


def _lie_in(column: Sequence[Tensor], addresses: Sequence[int], storages: Sequence[Any]) -> bool:
    size = column[0].element_size()
    ends = map(add, map(Tensor.storage_offset, column), map(Tensor.numel, column))
    return (
        all(map(le, map(mul, ends, repeat(size)), map(_storage_bytes, storages)))
        and not reduce(or_, addresses) & (size - 1)  # a power of 2
        and (all(addresses) or not any(map(_is_elsewhere, compress(column, map(not_, addresses)))))
    )


def _is_elsewhere(tensor: Tensor) -> bool:
    """Say whether a tensor without memory has values all the same, or stands for a tensor that may have some."""
    return bool(tensor.numel() or _is_functional(tensor))


def is_elementwise(columns: Columns) -> bool:
    """Say whether all tensors of an index have the same elements in the same order, without gaps, on the CPU.

    The columns are parameters, gradients, and then state, all for which :func:`memory_of` has an answer.
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


def is_negated(columns: Columns) -> bool:
    """Say whether the memory of some plain tensor is the negative of its value, as of z.conj().imag."""
    return _is_negated is not None and any(any(map(_is_negated, _plain(column))) for column in columns)


def begin_together(columns: Columns) -> bool:
    """Say whether a plain tensor that is written begins where another one does: then the order of steps is of matter.

    The columns are parameters, gradients, and then what else is written.
    """
    params, grads, *others = map(_plain, columns)
    try:
        written = [address for column in (params, *others) for address in map(Tensor.data_ptr, column) if address]
        return len(set(written)) < len(written) or not set(written).isdisjoint(map(Tensor.data_ptr, grads))
    except RuntimeError:  # no memory of its own
        return True


def _plain(column: Sequence[Any]) -> Iterator[Any]:
    return compress(column, map({*PLAIN}.__contains__, map(type, column)))


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
