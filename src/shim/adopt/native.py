"""Call the native kernel, which makes one pass over memory for all CPU tensors of a group, if it was built.

The kernel is plain C (native.c). This module checks the tensors first, by the rules in memory.py. What the kernel
cannot take is left to the other forms.
"""

from __future__ import annotations

import ctypes
from array import array
from itertools import chain
from operator import attrgetter, itemgetter, methodcaller
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import torch
from torch import Tensor

from . import _torch, tensor_impl
from .low_precision import LOW_PRECISION
from .memory import PLAIN, Columns, at, is_elementwise, memory_of, on_cpu, overlap, reaches_beyond

LIBRARY = Path(__file__).with_name("_native.so")  # a plain library, so the name has no tag of an interpreter

# The dtypes of param, grad, exp_avg, exp_avg_sq and compensation that the kernel takes -> their index in native.c.
KINDS = {
    (torch.float32, torch.float32, torch.float32, torch.float32, None): 0,
    (torch.float64, torch.float64, torch.float64, torch.float64, None): 1,
    (torch.bfloat16, torch.bfloat16, torch.float32, torch.float32, torch.float32): 2,
}

_dtype = attrgetter("dtype")
_grad = attrgetter("grad")
_state = [itemgetter(name) for name in ("exp_avg", "exp_avg_sq", "step")]
_compensation = methodcaller("get", "compensation")


class _Python(ctypes.Structure):
    """The struct ``Python`` of native.c: the functions and offsets with which the library inspects tensors.

    All zero if it does not inspect them itself. ``tensor_impl`` finds the offsets.
    """

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("list_item", "release_gil", "take_gil", "describe")),
        ("plain", ctypes.c_void_p * len(PLAIN)),
        ("keys", ctypes.c_uint64),
        *((name, ctypes.c_int64) for name in ("class_at", "impl_at", "keys_at", "storage_at", "data_at", "bytes_at")),
        *((name, ctypes.c_int64) for name in ("sizes_at", "offset_at", "dtype_at", "owned_at", "checked_at")),
        *((name, ctypes.c_void_p) for name in ("bump", "clear_error")),
    )


def _load() -> tuple[Callable[..., int] | None, str]:
    """Return the kernel; or None, and the reason."""
    try:
        kernel = ctypes.PyDLL(str(LIBRARY)).shim_adopt_7  # which releases the GIL itself
    except OSError:
        return None, "it was not built. Installing shim builds it if there is a C compiler"
    except AttributeError:
        return None, "it was built from another version of shim. Reinstall shim"
    pointer = ctypes.c_void_p
    kernel.argtypes = [ctypes.c_int, ctypes.c_int64, *[pointer] * 3, ctypes.c_int, *[pointer] * 3]
    return kernel, ""


def _load_python() -> tuple[bool, _Python]:
    """Return whether the library can inspect the tensors of this torch, and its struct."""
    api = ctypes.pythonapi
    calls = (api.PyList_GetItem, api.PyEval_SaveThread, api.PyEval_RestoreThread)
    python = _Python(*(ctypes.cast(call, ctypes.c_void_p) for call in calls))
    python.clear_error = ctypes.cast(api.PyErr_Clear, ctypes.c_void_p)
    try:
        python.plain = (ctypes.c_void_p * len(PLAIN))(*map(id, PLAIN))
        offsets = tensor_impl.offsets()
        if hasattr(Tensor, "__dlpack_c_exchange_api__"):
            python.describe = tensor_impl.dlpack_exchange()
        try:  # faster than DLPack's exchange, which torch has since 2.10 only
            offsets.update(tensor_impl.description_offsets(**offsets))
        except LookupError:
            if not python.describe:
                raise
        for name, offset in offsets.items():
            setattr(python, name, offset)
        python.keys = tensor_impl.keys(torch.zeros(()))
        python.bump = tensor_impl.version_counter(offsets["impl_at"])
    except (AttributeError, OSError, LookupError, TypeError, ValueError, RuntimeError):
        return False, python
    return True, python


def _find_parallel() -> int | None:
    """Return the address of GOMP_parallel in the OpenMP runtime that torch has loaded; None if it has no such function.

    GNU's runtime has it, and on Linux LLVM's and Intel's. A second runtime would compete with torch's for the cores.
    https://github.com/llvm/llvm-project/blob/289e7f5ed615c42bdadc33f27f83bc6c40e12c7c/openmp/runtime/src/kmp_gsupport.cpp
    """
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value
    # TypeError: Windows, which has no CDLL(None): https://github.com/python/cpython/blob/v3.11.7/Lib/ctypes/__init__.py#L366
    except (OSError, AttributeError, TypeError):
        return None


_kernel, _missing = _load()
_inspects, _python = _load_python()
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
    clip_lambda: Callable[[float], float] | None,
    **options: Any,
) -> list[int]:
    """Perform one step on the parameters that the kernel can take, and return the indices of the others.

    The other options are those of :func:`_options`.
    """
    if _kernel is None or not _torch.is_plain_eager():
        return list(range(len(params)))
    packed = _options(grad_scale, **options)
    if packed is None:
        return list(range(len(params)))
    # Copies keep the tensors alive, even if the caller's lists change.
    everything = [list(column) for column in (params, grads, exp_avgs, exp_avg_sqs, compensations, state_steps)]
    by_dtype: dict[torch.dtype, list[int]] = {}
    for i, dtype in enumerate(map(_dtype, params)):
        by_dtype.setdefault(dtype, []).append(i)
    if len(by_dtype) == 1 and _try_run(everything, packed, clip_lambda):
        return []
    if overlap(everything):  # then the order of the parameters matters
        for i in range(len(params)):
            if not _try_run(at([i], everything), packed, clip_lambda):
                return list(range(i, len(params)))
        return []
    left = []
    for positions in by_dtype.values():
        if len(by_dtype) > 1 and _try_run(at(positions, everything), packed, clip_lambda):
            continue
        for i in positions:  # the kernel refused all together, and a single parameter may be the reason
            if not _try_run(at([i], everything), packed, clip_lambda):
                left.append(i)
    return sorted(left)


def step_groups(groups: list[dict[str, Any]], state: Mapping[Tensor, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Perform a step on each parameter group that the kernel can take, and yield each of the others when it is due.

    As a rule the states are in the order of the parameters. Then they need no lookup, which would call Tensor.__hash__.
    """
    owners, states, before = list(state), list(state.values()), 0
    for group in groups:
        these = slice(before, before + len(group["params"]))
        before = these.stop
        if not try_group(group, state, owners[these], states[these]):
            yield group
            owners, states = list(state), list(state.values())  # the user's code may have changed them


def try_group(
    group: dict[str, Any], state: Mapping[Tensor, dict[str, Any]], owners: list[Tensor], states: list[Any]
) -> bool:
    """Perform a step on a parameter group if the kernel can take all of it at once, and return whether it did.

    This runs no Python code per parameter, which would take as long as the step if the parameters are many and small.
    Anything unusual is left to ``ADOPT._init_group``, which goes through the parameters one by one. `states` are those
    of `owners`, which as a rule are the parameters of the group. The kernel refuses them if they are not.
    """
    if (
        not _torch.is_plain_eager()
        or _kernel is None
        or not _inspects
        or not (group["fused"] or group["fused"] is group["foreach"] is None)
        or group["capturable"]
        or group["differentiable"]
        or group["clip_lambda"] is not None
        or group["rounding"] != "compensated"
        or group["weight_decay"] is None
    ):
        return False
    params = group["params"]
    if type(params) is not list or not params or not on_cpu(params[0]):  # a user may have put a set there
        return False
    beta1, beta2 = group["betas"]
    names = ("lr", "clip_exp", "weight_decay", "decouple", "eps", "maximize")
    options = _options(None, beta1=beta1, beta2=beta2, **{name: group[name] for name in names})
    if options is None:
        return False
    grads = list(map(_grad, params))
    columns = _columns(owners, grads, states)
    if columns is not None and _try_run(columns, options, None, params):
        return True
    params = [param for param, grad in zip(params, grads) if grad is not None]  # not frozen, and reached by backward
    columns = _columns(params, [grad for grad in grads if grad is not None], list(map(state.get, params)))
    return columns is not None and _try_run(columns, options, None)


def _columns(params: list[Tensor], grads: list[Tensor], states: list[Any]) -> Columns | None:
    """Return the columns; None if a parameter has no state, or a program keeps something else among the states."""
    try:
        exp_avgs, exp_avg_sqs, steps = (list(map(value, states)) for value in _state)
        low = params and params[0].dtype in LOW_PRECISION
        compensations = list(map(_compensation, states)) if low else [None] * len(params)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return params, grads, exp_avgs, exp_avg_sqs, compensations, steps


def _options(
    grad_scale: Tensor | None,
    *,
    beta1: float,
    beta2: float,
    lr: float | Tensor,
    clip_exp: float | None,
    weight_decay: float,
    decouple: bool,
    eps: float,
    maximize: bool,
) -> array[float] | None:
    """Return the struct ``Options`` of native.c.

    None if a value is not a finite number, which is possible if a program has changed the group. The other forms then
    compute what such a value gives.
    """
    if any(map(reaches_beyond, (grad_scale, beta1, beta2, lr, clip_exp, weight_decay, decouple, eps, maximize))):
        return None
    try:
        factor = (-1.0 if maximize else 1.0) / (1.0 if grad_scale is None else grad_scale.item())
        lr = lr.item() if isinstance(lr, Tensor) else lr
        exponent = -1.0 if clip_exp is None else clip_exp
        options = array("d", [beta1, beta2, lr, weight_decay, bool(decouple), eps, factor, exponent])
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, RuntimeError):
        return None
    fits = sum(map(abs, options)) < 3e38  # the range of float32; false for NaN
    return options if fits and (clip_exp is None or clip_exp >= 0) else None


def _try_run(
    columns: Columns,
    options: array[float],
    clip_lambda: Callable[[float], float] | None,
    wanted: list[Tensor] | None = None,
) -> bool:
    """Run the kernel on these parameters if it can take them, and return whether it did. No value changes otherwise.

    No other code may change the lists. If `wanted` is given, the parameters must be these.
    """
    assert _kernel is not None
    if len(set(map(len, columns if wanted is None else (*columns, wanted)))) != 1 or not columns[0]:
        return False  # the library would read beyond a shorter list. Other forms raise the error
    clips = None
    if clip_lambda is not None:  # it may run any code, so it is called before the tensors are inspected
        steps = [step.item() for step in columns[-1]]
        by_step = {step: clip_lambda(step) for step in set(steps) if step != 0}
        if any(map(reaches_beyond, by_step.values())):
            return False
        try:
            clips = array("d", [by_step.get(step, 0.0) for step in steps])
        except (TypeError, ValueError, OverflowError, RuntimeError):  # no number, or a larger one than any float
            return False
        if not _torch.is_plain_eager():  # clip_lambda may have changed the mode
            return False
    if _try_step(columns, options, clips, wanted):
        return True
    local = None if wanted else _local(columns)
    if local is None or not _try_step(local, options, clips):
        return False
    _count_versions(columns)  # of the DTensors. That of their local parts does not tell autograd enough
    return True


def _try_step(
    columns: Columns, options: array[float], clips: array[float] | None, wanted: list[Tensor] | None = None
) -> bool:
    """Run the kernel on these tensors if it can take them, and return whether it did."""
    assert _kernel is not None
    kind, table, addresses = -1, None, None
    if _inspects:
        addresses = array("q", [0 if column[0] is None else id(column) for column in columns])
        addresses.append(0 if wanted is None else id(wanted))
    else:
        seen = _inspect(columns)
        if seen is None:
            return False
        kind, table, _held = seen  # keeps the memory alive
        _count_versions(columns)  # before the kernel, which evicts the tensor objects from the cache
    refused = _kernel(
        *(kind, len(columns[0]), table and table.buffer_info()[0]),
        *(options.buffer_info()[0], clips and clips.buffer_info()[0]),
        *(torch.get_num_threads(), _parallel),
        *(addresses and addresses.buffer_info()[0], ctypes.byref(_python)),
    )
    if _inspects and not _python.bump and not refused:
        _count_versions(columns)
    return not refused


def _count_versions(columns: Columns) -> None:
    """Tell autograd that the tensors are written."""
    params, _, *state = columns
    _torch.increment_version(chain(params, *(column for column in state if column[0] is not None)))


def _inspect(columns: Columns) -> tuple[int, array[int], object] | None:
    """Return the index in KINDS of all these parameters, the kernel's table, and what keeps the memory alive.

    None if the kernel cannot take them.
    """
    *tensors, compensations, steps = columns
    if not {*PLAIN}.issuperset(map(type, chain(*tensors, steps))):
        return None
    dtypes = [set(map(_dtype, column)) for column in tensors] + [{getattr(c, "dtype", None) for c in compensations}]
    kind = KINDS.get(tuple(column.pop() for column in dtypes))
    if kind is None or any(dtypes):  # more than one in a column
        return None
    one_number = set(map(_dtype, steps)) == {torch.float32} and set(map(Tensor.numel, steps)) == {1}
    present = [column for column in columns if column[0] is not None]
    memory = memory_of(present) if one_number and all(map(on_cpu, steps)) else None
    if memory is None or not is_elementwise(present[:-1]):
        return None
    addresses, held = memory
    if compensations[0] is None:
        addresses.insert(4, [0] * len(steps))
    return kind, array("q", chain(map(Tensor.numel, columns[0]), *addresses)), held


def _local(columns: Columns) -> Columns | None:
    """Return the local parts of DTensors, if all tensors of a parameter are sharded alike, else None."""
    *tensors, steps = columns
    for row in zip(*tensors):
        layouts = {(getattr(t, "device_mesh", None), getattr(t, "placements", None)) for t in row if t is not None}
        if len(layouts) != 1 or (None, None) in layouts:
            return None
    return [*([t if t is None else t.to_local() for t in column] for column in tensors), steps]
