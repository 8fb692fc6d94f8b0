"""Reach the native kernel, one pass over memory for all CPU tensors of a group, where it was built.

The kernel is plain C (native.c) and knows nothing of torch: what it gets is checked here, and what it cannot take
is left to others.
"""

from __future__ import annotations

import ctypes
from array import array
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter, methodcaller
from pathlib import Path
from typing import Any, Callable, Mapping

import torch
from torch import Tensor

from . import _torch
from .low_precision import LOW_PRECISION
from .memory import PLAIN, Columns, at, is_elementwise, is_negated, is_plain, on_cpu

LIBRARY = Path(__file__).with_name("_native.abi3.so")

# The dtypes of param, grad, exp_avg, exp_avg_sq and compensation that the kernel knows, and its numbers for them.
KINDS = {
    (torch.float32, torch.float32, torch.float32, torch.float32, None): 0,
    (torch.float64, torch.float64, torch.float64, torch.float64, None): 1,
    (torch.bfloat16, torch.bfloat16, torch.float32, torch.float32, torch.float32): 2,
}

_dtype = attrgetter("dtype")
_grad = attrgetter("grad")
_compensation = methodcaller("get", "compensation")


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


def _load_look() -> Callable[[int, int, int], int] | None:
    """Return what looks at tensors in C, or None for a torch without DLPack's C exchange, which came with 2.10.

    https://dmlc.github.io/dlpack/latest/c_api.html has the struct behind the capsule: two 32-bit numbers for the
    version, and pointers.
    """
    try:
        capsule = Tensor.__dlpack_c_exchange_api__
        look = ctypes.PyDLL(str(LIBRARY)).shim_adopt_look_2  # which keeps the GIL
        to_pointer, list_item = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyList_GetItem
    except (AttributeError, OSError):
        return None
    to_pointer.restype, to_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = to_pointer(capsule, b"dlpack_exchange_api")
    if ctypes.c_uint32.from_address(address).value != 1:  # another major version has another struct
        return None
    describe = ctypes.c_void_p.from_address(address + 40).value  # dltensor_from_py_object_no_sync
    objects = _objects()
    if objects is None:
        return None
    look.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 5]
    return lambda count, columns, table: int(look(count, columns, table, objects, list_item, describe))


def _objects() -> ctypes.Array[ctypes.c_int64] | None:
    """Return the library's Objects, or None where an object does not begin as expected."""
    tensor, pointer = torch.zeros(()), ctypes.sizeof(ctypes.c_void_p)

    def holds(offset: int, address: int) -> bool:
        return ctypes.c_void_p.from_address(id(tensor) + offset).value == address

    class_at = object.__basicsize__ - pointer  # the last field that every object has
    if not holds(class_at, id(Tensor)):
        return None
    own = range(object.__basicsize__, Tensor.__basicsize__, pointer)
    impl_at = next((offset for offset in own if holds(offset, getattr(tensor, "_cdata", 0))), 0)
    return (ctypes.c_int64 * 4)(*map(id, PLAIN), class_at, impl_at)


def _find_parallel() -> int | None:
    """Return the address of GOMP_parallel in the OpenMP runtime that torch has loaded, if it has one.

    GNU's has, and on Linux LLVM's and Intel's. A second runtime would compete with torch's for the cores.
    """
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value
    except (OSError, AttributeError, TypeError):  # TypeError: Windows, which has no CDLL(None)
        return None


_kernel, _missing = _load()
_look = _load_look()
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
    everything: Columns = (params, grads, exp_avgs, exp_avg_sqs, compensations, state_steps)
    by_dtype: dict[torch.dtype, list[int]] = {}
    for i, dtype in enumerate(map(_dtype, params)):
        by_dtype.setdefault(dtype, []).append(i)
    left = []
    for indices in by_dtype.values():
        batch = everything if len(by_dtype) == 1 else at(indices, everything)
        if not _run(batch, packed, clip_lambda):  # because of one of them, or because they share memory
            left += [i for i in indices if not _run(at([i], everything), packed, clip_lambda)]
    return sorted(left)


def step_group(group: dict[str, Any], state: Mapping[Tensor, dict[str, Any]]) -> bool:
    """Perform a step on a parameter group if the kernel can take all of it at once, else return False.

    It then does not need a line of Python for each parameter, which takes as long as the step does where the
    parameters are many and small. Whatever is unusual is left to those who go through the group one by one.
    """
    if (
        not _torch.is_plain_eager()
        or _kernel is None
        or _look is None
        or not (group["fused"] or group["fused"] is group["foreach"] is None)
        or group["capturable"]
        or group["differentiable"]
        or group["clip_lambda"] is not None
        or group["rounding"] != "compensated"
        or group["weight_decay"] is None
    ):
        return False
    params = group["params"]
    if not params or not on_cpu(params[0]):
        return False
    grads = list(map(_grad, params))
    if type(None) in map(type, grads):  # frozen, or not reached by this backward pass
        params = [param for param, grad in zip(params, grads) if grad is not None]
        grads = [grad for grad in grads if grad is not None]
    # Where these are all the parameters that there are, none needs to be looked up, which calls Tensor.__hash__.
    alone = len(state) == len(params) and all(map(is_, state, params))
    states: list[Any] = list(state.values() if alone else map(state.get, params))
    try:
        exp_avgs, exp_avg_sqs, steps = map(list, zip(*map(itemgetter("exp_avg", "exp_avg_sq", "step"), states)))
    except (KeyError, TypeError, ValueError):  # a parameter without state, or no parameter
        return False
    compensations = list(map(_compensation, states)) if params[0].dtype in LOW_PRECISION else [None] * len(params)
    beta1, beta2 = group["betas"]
    names = ("lr", "clip_exp", "weight_decay", "decouple", "eps", "maximize")
    options = _options(None, beta1=beta1, beta2=beta2, **{name: group[name] for name in names})
    return _run((params, grads, exp_avgs, exp_avg_sqs, compensations, steps), options, None)


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
) -> array[float]:
    """Return the kernel's Options."""
    factor = (-1.0 if maximize else 1.0) / (1.0 if grad_scale is None else grad_scale.item())
    lr = lr.item() if isinstance(lr, Tensor) else lr
    exponent = -1.0 if clip_exp is None else clip_exp
    return array("d", [beta1, beta2, lr, weight_decay, decouple, eps, factor, exponent])


def _run(columns: Columns, options: array[float], clip_lambda: Callable[[float], float] | None) -> bool:
    """Run the kernel on these parameters, or return False and change no value."""
    assert _kernel is not None
    if len(set(map(len, columns))) != 1:  # the library reads as many of each; others say what is missing
        return False
    look = _look_from_python if _look is None else _look_in_c
    plain: Columns | None = columns
    seen = look(columns)
    if seen is None:
        plain = _local(columns)
        seen = None if plain is None else look(plain)
    if plain is None or seen is None:
        return False
    kind, table = seen
    clips = None
    if clip_lambda is not None:
        steps = [step.item() for step in plain[-1]]
        by_step = {step: clip_lambda(step) for step in set(steps) if step != 0}
        clips = array("d", [by_step.get(step, 0.0) for step in steps])
    # Before the kernel: it drives what is known of the tensors out of the cache. If it refuses, others write to them.
    for params, _, *state in (columns,) if plain is columns else (columns, plain):
        _torch.increment_version(chain(params, *(column for column in state if column[0] is not None)))
    refused = _kernel(
        *(kind, len(plain[0]), table.buffer_info()[0], options.buffer_info()[0], clips and clips.buffer_info()[0]),
        *(torch.get_num_threads(), _parallel),
    )
    return not refused


def _look_in_c(columns: Columns) -> tuple[int, array[int]] | None:
    """Return the one kind of all these parameters and the kernel's table, or None if it cannot take them."""
    assert _look is not None
    lists = [column if isinstance(column, list) else list(column) for column in columns]
    addresses = array("q", [0 if column[0] is None else id(column) for column in lists])
    count = len(columns[0])
    table = array("q", bytes(addresses.itemsize * count * (len(columns) + 1)))
    try:
        kind = _look(count, addresses.buffer_info()[0], table.buffer_info()[0])
    except Exception:  # no tensor, or one without memory: sparse, on another device, wrapped by torch.func
        return None
    return None if kind < 0 or any(map(is_negated, (*columns[0], *columns[1]))) else (kind, table)


def _look_from_python(columns: Columns) -> tuple[int, array[int]] | None:
    """Return the same without DLPack's C exchange."""
    if not is_plain(columns):
        return None
    *tensors, compensations, steps = columns
    dtypes = [set(map(_dtype, column)) for column in tensors] + [{c if c is None else c.dtype for c in compensations}]
    kind = KINDS.get(tuple(column.pop() for column in dtypes))
    if kind is None or any(dtypes):  # more than one in a column
        return None
    if compensations[0] is not None:
        tensors.append(compensations)
    one_number = set(map(_dtype, steps)) == {torch.float32} and set(map(Tensor.numel, steps)) == {1}
    if not (one_number and all(map(on_cpu, steps)) and is_elementwise(tensors)):
        return None
    table = array("q", map(Tensor.numel, columns[0]))
    try:
        for column in columns:
            table.extend(repeat(0, len(column)) if column[0] is None else map(Tensor.data_ptr, column))
    except RuntimeError:  # what torch.func wraps has no memory of its own
        return None
    return kind, table


def _local(columns: Columns) -> Columns | None:
    """Return the local parts of DTensors, if for each parameter all are laid out alike, else None."""
    *tensors, steps = columns
    for row in zip(*tensors):
        layouts = {(getattr(t, "device_mesh", None), getattr(t, "placements", None)) for t in row if t is not None}
        if len(layouts) != 1 or (None, None) in layouts:
            return None
    return [*([t if t is None else t.to_local() for t in column] for column in tensors), steps]
