"""Decide whether a kernel may read and write the memory of tensors itself, without torch's operations.

It may if the memory of each tensor is its value. Such a tensor

- is a plain `Tensor` or `Parameter`, not of a class that gives the memory another meaning;
- has the dispatch keys of an ordinary tensor: it has no lazy conjugation or negation, is no ZeroTensor, is not wrapped
  by functionalization, a transform (`torch.func`) or a mode, and, if it is written to, is no inference tensor
  (https://github.com/pytorch/pytorch/blob/v2.13.0/c10/core/DispatchKey.h);
- has memory, aligned, on the CPU, in a storage that is as large as its sizes and strides require. torch copies a lazily
  cloned (copy-on-write) storage when it is asked for memory to write to
  (https://github.com/pytorch/pytorch/blob/v2.13.0/c10/core/impl/COW.h);
- has no gaps or overlaps among its elements, and these are in the same order in a parameter, its gradient and its
  state.

`_torch.is_plain_eager` checks that nothing records, compiles or transforms operations. The kernel checks that no two
tensors share memory. Where torch's objects can be read from C, native.c checks all of the above (`inspect`, with
`native_tensor.h`) right before the kernel, when no other code can run in between. The functions below check it from
Python.

They take columns: the list of parameters, the list of their gradients, and the lists of their state, in the same order.
They map functions that are written in C over a column, because a group may have many small tensors, and a few lines of
Python for each of them would take as long as the step.
"""

from __future__ import annotations

from functools import reduce
from itertools import chain, compress, repeat
from operator import add, attrgetter, le, methodcaller, mul, not_, or_
from typing import Any, Callable, Iterator, Sequence

import torch
from torch import Tensor

Columns = Sequence[Sequence[Any]]

# The only classes whose memory is taken for the value.
PLAIN = (Tensor, torch.nn.Parameter)

# Tensor.is_cpu came in torch 1.13.
on_cpu: Callable[[Tensor], bool] = (
    attrgetter("is_cpu") if hasattr(Tensor, "is_cpu") else lambda tensor: tensor.device.type == "cpu"
)

# New in torch 1.10 and 1.9. (The data of a ZeroTensor or of a functional wrapper has no address.)
_is_negated: Callable[[Tensor], bool] | None = getattr(Tensor, "is_neg", None)
_is_inference: Callable[[Tensor], bool] | None = getattr(Tensor, "is_inference", None)
# Named tensors were removed in torch 2.13.
_has_names: Callable[[Tensor], bool] | None = getattr(Tensor, "has_names", None)

_is_functional: Callable[[Tensor], bool] = getattr(torch, "_is_functional_tensor", lambda tensor: False)

# The fastest one of each release. Tensor.storage is written in Python in 1.11 and 1.12, and would be slow there:
# https://github.com/pytorch/pytorch/blob/v1.12.1/torch/_tensor.py#L196
_storage: Callable[[Tensor], Any] = getattr(Tensor, "untyped_storage", getattr(Tensor, "_storage", Tensor.storage))
# By its name, because a TorchFunctionMode changes the class of the storage in torch 1.13: Tensor._storage gives it
# Tensor.storage to call, https://github.com/pytorch/pytorch/blob/v1.13.1/torch/_tensor.py#L260
_storage_bytes: Callable[[Any], int] = (
    methodcaller("nbytes")
    if hasattr(_storage(torch.zeros(())), "nbytes")
    else lambda storage: int(storage.size() * storage.element_size())
)


def at(indices: Sequence[int], columns: Columns) -> list[list[Any]]:
    """Return the columns with these indices only."""
    return [[column[i] for i in indices] for column in columns]


def memory_of(columns: Columns) -> tuple[list[list[int]], object] | None:
    """Return the addresses of these tensors, and the storages that hold the memory.

    Returns None if the memory of a tensor is not its value.

    :func:`is_elementwise` checks for gaps. The second column holds the gradients. Each column has one dtype, and
    complex tensors are given as pairs of reals.
    """
    if not all({*PLAIN}.issuperset(map(type, column)) for column in columns):
        return None
    for k, column in enumerate(columns):
        if column[0].is_complex() or (_is_negated and any(map(_is_negated, column))):
            return None
        # torch cannot tell autograd that these are written: Tensor.transpose_ takes none with names, see
        # https://github.com/pytorch/pytorch/blob/01a450f208e03b107261837cda6de8ec0779eb81/docs/source/name_inference.rst
        if _has_names and any(map(_has_names, column)):
            return None
        if _is_inference and k != 1 and any(map(_is_inference, column)):
            return None
    try:
        addresses = [list(map(Tensor.data_ptr, column)) for column in columns]
        storages = [list(map(_storage, column)) for column in columns]
        return (addresses, storages) if all(map(_lie_in, columns, addresses, storages)) else None
    except (RuntimeError, NotImplementedError):  # sparse tensors, and those wrapped by torch.func, have no own memory
        return None


def _lie_in(column: Sequence[Tensor], addresses: Sequence[int], storages: Sequence[Any]) -> bool:
    size = column[0].element_size()
    ends = map(add, map(Tensor.storage_offset, column), map(Tensor.numel, column))
    return (
        all(map(le, map(mul, ends, repeat(size)), map(_storage_bytes, storages)))
        and not reduce(or_, addresses) & (size - 1)  # a power of 2
        and (all(addresses) or not any(map(_is_elsewhere, compress(column, map(not_, addresses)))))
    )


def _is_elsewhere(tensor: Tensor) -> bool:
    """Say whether a tensor without memory has values nevertheless, or wraps a tensor that may have some."""
    return bool(tensor.numel() or _is_functional(tensor))


def is_elementwise(columns: Columns) -> bool:
    """Say whether the tensors at each index have their elements in the same order, without gaps, on the CPU.

    The columns are parameters, gradients, and then state. For all of them :func:`memory_of` has returned addresses.
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
    """Say whether some plain tensor has a lazy negation, so that its memory is -value, like z.conj().imag."""
    return _is_negated is not None and any(any(map(_is_negated, _plain(column))) for column in columns)


def overlap(columns: Columns) -> bool:
    """Say whether a plain tensor that is written shares memory with another one, so that the order matters.

    The columns are parameters, gradients, and then everything else that is written. The answer may be True for
    tensors that have gaps, if another one lies in these.
    """
    params, grads, *others = map(_plain, columns)
    try:
        written, read = _spans([*params, *chain(*others)]), _spans([*grads])
    except RuntimeError:  # no memory of its own
        return True
    starts, ends = map(sorted, zip(*written, *read)) if written or read else ([], [])
    if all(map(le, ends, starts[1:])):  # no two share memory
        return False
    end = written_end = 0
    for start, stop, is_written in sorted([(*span, True) for span in written] + [(*span, False) for span in read]):
        if start < (end if is_written else written_end):
            return True
        end = max(end, stop)
        written_end = max(written_end, stop) if is_written else written_end
    return False


def _spans(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Return the first address of each tensor that has elements, and the one after its last."""
    starts = list(map(Tensor.data_ptr, tensors))
    gapless = all(map(Tensor.is_contiguous, tensors))
    sizes = map(mul, map(Tensor.numel if gapless else _reach, tensors), map(Tensor.element_size, tensors))
    return [span for span in zip(starts, map(add, starts, sizes)) if span[0] != span[1]]


def _reach(tensor: Tensor) -> int:
    """Return how many elements lie from the first to the last one of a tensor in memory."""
    if tensor.numel() == 0:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))


def _plain(column: Sequence[Any]) -> Iterator[Any]:
    return compress(column, map({*PLAIN}.__contains__, map(type, column)))


def reaches_beyond(tensor: Any) -> bool:
    """Say whether torch's operations would read or write beyond the memory of a tensor, which can crash the process.

    https://github.com/pytorch/pytorch/issues/171676

    Anything but a plain tensor on the CPU is taken for safe.
    """
    if type(tensor) not in PLAIN or tensor.numel() == 0 or not on_cpu(tensor):
        return False
    try:
        end = tensor.storage_offset() + _reach(tensor)
        return bool(end * tensor.element_size() > _storage_bytes(_storage(tensor)))
    except (RuntimeError, NotImplementedError):
        return False


FREED = "has less memory than its sizes say: its storage was freed"


def check_memory(name: str, value: Any) -> None:
    """Raise if reading the value of an option, or those in it, would read beyond the memory of a tensor.

    Raises:
        ValueError: names the option.

    """
    for item in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(item, Tensor) and reaches_beyond(item):
            raise ValueError(f"{name} {FREED}")


def _is_dense(tensor: Tensor) -> bool:
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
