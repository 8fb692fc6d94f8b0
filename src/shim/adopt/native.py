"""Reach the native kernel, one pass over memory for all CPU tensors of a group, where it was built.

The kernel is plain C (native.c) and knows nothing of torch: what it gets is checked here, and what it cannot take
is left to others.
"""

from __future__ import annotations

import ctypes
from array import array
from itertools import repeat
from operator import attrgetter
from pathlib import Path
from typing import Any, Callable, Sequence

import torch
from torch import Tensor

from . import _torch
from .memory import Columns, at, is_elementwise, is_plain, on_cpu

LIBRARY = Path(__file__).with_name("_native.abi3.so")

# The dtypes of param, grad, exp_avg, exp_avg_sq and compensation that the kernel knows, and its numbers for them.
KINDS = {
    (torch.float32, torch.float32, torch.float32, torch.float32, None): 0,
    (torch.float64, torch.float64, torch.float64, torch.float64, None): 1,
    (torch.bfloat16, torch.bfloat16, torch.float32, torch.float32, torch.float32): 2,
}

_dtype = attrgetter("dtype")


def _load() -> tuple[Callable[..., int] | None, str]:
    """Return the kernel, or None and why there is none."""
    try:
        kernel = ctypes.CDLL(str(LIBRARY)).shim_adopt_1
    except OSError:
        return None, "it was not built, which installing does where there is a C compiler"
    except AttributeError:
        return None, "it was built from another version, and installing builds it anew"
    pointer = ctypes.c_void_p
    kernel.argtypes = [ctypes.c_int, ctypes.c_int64, pointer, pointer, pointer, ctypes.c_int, pointer]
    return kernel, ""


def _find_parallel() -> int | None:
    """Return the address of GOMP_parallel in the OpenMP runtime that torch has loaded, if it has one.

    GNU's has, and on Linux LLVM's and Intel's. A second runtime would compete with torch's for the cores.
    """
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value
    except (OSError, AttributeError, TypeError):  # TypeError: Windows, which has no CDLL(None)
        return None


_kernel, _missing = _load()
_parallel = _find_parallel()


def why_not() -> str | None:
    """Return why there is no native kernel here, or None if there is one."""
    return None if _kernel else _missing


def in_words() -> str:
    """Say how the fused form steps on the CPU."""
    return "native kernel" if _kernel else f"in blocks, without the native kernel: {_missing}"


def step_(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    compensations: list[Tensor | None],
    *,
    grad_scale: Tensor | None,
    beta1: float,
    beta2: float,
    lr: float | Tensor,
    clip_exp: float | None,
    clip_lambda: Callable[[float], float] | None,
    weight_decay: float,
    decouple: bool,
    eps: float,
    maximize: bool,
) -> list[int]:
    """Perform one step on the parameters that the kernel can take, and return the indices of the others."""
    if _kernel is None or not _torch.is_plain_eager():
        return list(range(len(params)))
    factor = (-1.0 if maximize else 1.0) / (1.0 if grad_scale is None else grad_scale.item())
    lr = lr.item() if isinstance(lr, Tensor) else lr
    exponent = -1.0 if clip_exp is None else clip_exp
    options = array("d", [beta1, beta2, lr, weight_decay, decouple, eps, factor, exponent])

    everything: Columns = (params, grads, exp_avgs, exp_avg_sqs, compensations, state_steps)
    by_dtype: dict[torch.dtype, list[int]] = {}
    for i, dtype in enumerate(map(_dtype, params)):
        by_dtype.setdefault(dtype, []).append(i)
    left = []
    for indices in by_dtype.values():
        batch = everything if len(by_dtype) == 1 else at(indices, everything)
        if not _run(batch, options, clip_lambda):  # because of one of them, or because they share memory
            left += [i for i in indices if not _run(at([i], everything), options, clip_lambda)]
    return sorted(left)


def _run(columns: Columns, options: array[float], clip_lambda: Callable[[float], float] | None) -> bool:
    """Run the kernel on these parameters, or return False and change nothing."""
    assert _kernel is not None
    plain = columns if is_plain(columns) else _local(columns)
    kind = None if plain is None else _kind(*plain)
    if plain is None or kind is None:
        return False
    count = len(plain[0])
    table = array("q", map(Tensor.numel, plain[0]))
    try:
        for column in plain:
            table.extend(repeat(0, count) if column[0] is None else map(Tensor.data_ptr, column))
    except RuntimeError:  # what torch.func wraps has no memory of its own
        return False
    clips = None
    if clip_lambda is not None:
        steps = [step.item() for step in plain[-1]]
        by_step = {step: clip_lambda(step) for step in set(steps) if step != 0}
        clips = array("d", [by_step.get(step, 0.0) for step in steps])
    if _kernel(
        *(kind, count, table.buffer_info()[0], options.buffer_info()[0], clips and clips.buffer_info()[0]),
        *(torch.get_num_threads(), _parallel),
    ):
        return False
    for params, _, *state in (columns,) if plain is columns else (columns, plain):
        _torch.increment_version([t for column in (params, *state) for t in column if t is not None])
    return True


def _kind(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    compensations: Sequence[Tensor | None],
    state_steps: Sequence[Tensor],
) -> int | None:
    """Return the one kind of all these parameters, if the kernel can take them."""
    columns: list[Sequence[Any]] = [params, grads, exp_avgs, exp_avg_sqs]
    dtypes = [set(map(_dtype, column)) for column in columns] + [{c if c is None else c.dtype for c in compensations}]
    kind = KINDS.get(tuple(column.pop() for column in dtypes))
    if kind is None or any(dtypes):  # more than one in a column
        return None
    if compensations[0] is not None:
        columns.append(compensations)
    one_number = set(map(_dtype, state_steps)) == {torch.float32} and set(map(Tensor.numel, state_steps)) == {1}
    return kind if one_number and all(map(on_cpu, state_steps)) and is_elementwise(columns) else None


def _local(columns: Columns) -> Columns | None:
    """Return the local parts of DTensors, if for each parameter all are laid out alike, else None."""
    *tensors, steps = columns
    for row in zip(*tensors):
        layouts = {(getattr(t, "device_mesh", None), getattr(t, "placements", None)) for t in row if t is not None}
        if len(layouts) != 1 or (None, None) in layouts:
            return None
    local = [*([t if t is None else t.to_local() for t in column] for column in tensors), steps]
    return local if is_plain(local) else None
