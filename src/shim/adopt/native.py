"""Reach the native kernel, one pass over memory for all CPU tensors of a group, where it was built.

The kernel is plain C (native.c). What it gets is looked at here, as memory.py says, and what it cannot take is left to
others.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from itertools import chain
from operator import attrgetter, is_, itemgetter, methodcaller
from pathlib import Path
from typing import Any, Callable, Mapping

import torch
from torch import Tensor

from . import _torch
from .low_precision import LOW_PRECISION
from .memory import PLAIN, Columns, at, begin_together, is_elementwise, memory_of, on_cpu

LIBRARY = Path(__file__).with_name("_native.so")  # no module, so that no interpreter names it, but setup.py

# The dtypes of param, grad, exp_avg, exp_avg_sq and compensation that the kernel knows, and its numbers for them.
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
    """The library's Python: what it is told of the interpreter and of torch. Zero where it does not look itself."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("list_item", "release_gil", "take_gil", "describe")),
        ("plain", ctypes.c_void_p * len(PLAIN)),
        ("keys", ctypes.c_uint64),
        *((name, ctypes.c_int64) for name in ("class_at", "impl_at", "keys_at", "storage_at", "data_at", "bytes_at")),
        *((name, ctypes.c_int64) for name in ("sizes_at", "offset_at", "dtype_at", "owned_at")),
    )


def _load() -> tuple[Callable[..., int] | None, str]:
    """Return the kernel, or None and why there is none."""
    try:
        kernel = ctypes.PyDLL(str(LIBRARY)).shim_adopt_3  # which releases the GIL itself
    except OSError:
        return None, "it was not built, which installing does where there is a C compiler"
    except AttributeError:
        return None, "it was built from another version, and installing builds it anew"
    pointer = ctypes.c_void_p
    kernel.argtypes = [ctypes.c_int, ctypes.c_int64, *[pointer] * 3, ctypes.c_int, *[pointer] * 3]
    return kernel, ""


def _load_look() -> tuple[Callable[[int, int, int], int] | None, _Python]:
    """Return what looks at tensors in C, or None for a torch in which that is not possible, and what it is told."""
    api = ctypes.pythonapi
    calls = (api.PyList_GetItem, api.PyEval_SaveThread, api.PyEval_RestoreThread)
    python = _Python(*(ctypes.cast(call, ctypes.c_void_p) for call in calls))
    try:
        look = ctypes.PyDLL(str(LIBRARY)).shim_adopt_look_4
        python.plain = (ctypes.c_void_p * len(PLAIN))(*map(id, PLAIN))
        offsets = _offsets()
        if hasattr(Tensor, "__dlpack_c_exchange_api__"):
            python.describe = _exchange()
        try:  # which is quicker than to ask, and all that there is before torch 2.10
            offsets.update(_offsets_of_a_description(**offsets))
        except LookupError:
            if not python.describe:
                raise
        for name, offset in offsets.items():
            setattr(python, name, offset)
        python.keys = _keys(torch.zeros(()))
    except (AttributeError, OSError, LookupError, TypeError, ValueError, RuntimeError):
        return None, python
    look.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 3]
    return lambda count, columns, table: int(look(count, columns, table, ctypes.byref(python))), python


def _exchange() -> int:
    """Return the address of the function of DLPack's C exchange that describes a tensor, which came with torch 2.10.

    https://dmlc.github.io/dlpack/latest/c_api.html has the struct behind the capsule: two 32-bit numbers for the
    version, and pointers.

    Raises:
        AttributeError, LookupError: there is no exchange, or one that is not as expected.

    """
    capsule, name = Tensor.__dlpack_c_exchange_api__, b"dlpack_exchange_api"
    is_valid, to_pointer = ctypes.pythonapi.PyCapsule_IsValid, ctypes.pythonapi.PyCapsule_GetPointer
    is_valid.argtypes = to_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    to_pointer.restype = ctypes.c_void_p
    address = to_pointer(capsule, name) if is_valid(capsule, name) else None
    if not address or ctypes.c_uint32.from_address(address).value != 1:  # another major version has another struct
        raise LookupError("no DLPack 1")
    describe: int | None = ctypes.c_void_p.from_address(address + 40).value  # dltensor_from_py_object_no_sync
    if not describe:
        raise LookupError("nothing that describes a tensor")
    return describe


def _offsets() -> dict[str, int]:
    """Find where Python's and torch's objects have what the library reads of them.

    Each is found by a value that torch tells of a tensor and that stands nowhere else in the object, and must then
    hold for tensors of other kinds, too.

    Raises:
        LookupError: an object is not as expected.

    """
    word = ctypes.sizeof(ctypes.c_void_p)

    def reads(address: int, offset: int, value: int) -> bool:
        return ctypes.c_uint64.from_address(address + offset).value == value

    def find(address: int, begin: int, end: int, value: int) -> int:
        offset = next((offset for offset in range(begin, end, word) if reads(address, offset, value)), None)
        if not offset:
            raise LookupError(f"{value} is not where it is expected")
        return offset

    def words(tensor: Any) -> tuple[tuple[int, int], ...]:  # of the keys, the storage, its memory and its bytes
        storage = tensor.untyped_storage()
        return (
            (tensor._cdata, _keys(tensor)),
            (tensor._cdata, storage._cdata),
            (storage._cdata, tensor.data_ptr() - tensor.storage_offset() * tensor.element_size()),
            (storage._cdata, storage.nbytes()),
        )

    tensor = torch.zeros(1031, dtype=torch.float64)
    emptied = torch.zeros(7)
    emptied.untyped_storage().resize_(0)
    others = (
        tensor[5:],
        emptied,
        torch.nn.Parameter(torch.zeros(3)),
        torch.zeros(2, dtype=torch.complex64).conj(),
        torch.zeros(2, dtype=torch.complex64).conj().imag,
    )
    class_at = object.__basicsize__ - word  # the last field that every object has
    impl_at = find(id(tensor), object.__basicsize__, Tensor.__basicsize__, tensor._cdata)
    names = ("keys_at", "storage_at", "data_at", "bytes_at")
    # In torch's objects, what is shared by all of their kind and the count of references come first.
    found = [find(address, 2 * word, size, value) for (address, value), size in zip(words(tensor), (192, 64, 64, 96))]
    for other in (tensor, *others):
        seen = [reads(address, offset, value) for (address, value), offset in zip(words(other), found)]
        if not (reads(id(other), class_at, id(type(other))) and reads(id(other), impl_at, other._cdata) and all(seen)):
            raise LookupError("torch's objects are not as expected")
    return {"class_at": class_at, "impl_at": impl_at, **dict(zip(names, found))}


def _keys(tensor: Any) -> int:
    """Return the dispatch keys of a tensor as a number.

    Raises:
        LookupError: torch does not tell them, and they are not seen either.

    """
    keys: Any = torch._C._dispatch_keys(tensor)
    if hasattr(keys, "raw_repr"):  # torch 2.10
        return int(keys.raw_repr())
    return _words(tensor)[_place_of_the_keys()]


#: The bytes of torch's own object, at least, in all releases that lack the exchange.
_SIZE = 192


def _words(tensor: Any) -> list[int]:
    return list((ctypes.c_uint64 * (_SIZE // 8)).from_address(tensor._cdata))


@functools.lru_cache(None)
def _place_of_the_keys() -> int:
    """Find the set of dispatch keys among the words of torch's own object: it has a bit more for what is lazy."""
    z = torch.zeros(2, dtype=torch.complex64)
    with torch.inference_mode():
        inferred = torch.zeros(3)
    plain = [_words(tensor) for tensor in (z, torch.zeros(5), torch.zeros(4, 6)[1:].t(), torch.nn.Parameter(z.real))]
    more = [_words(tensor) for tensor in (z.conj(), z.conj().imag)]
    less = _words(inferred)
    places = []
    for place in range(2, _SIZE // 8):
        keys = plain[0][place]
        added = {other[place] ^ keys for other in more if other[place] & keys == keys != other[place]}
        if (
            all(other[place] == keys for other in plain)
            and len(added) == len(more)
            and all(bits & (bits - 1) == 0 for bits in added)
            and 0 < less[place] < keys
            and less[place] & keys == less[place]
            and _words(torch._efficientzerotensor(3))[place] & ~keys
        ):
            places.append(place)
    if len(places) != 1:
        raise LookupError("torch's objects are not as expected")
    return places[0]


def _offsets_of_a_description(storage_at: int, data_at: int, **_: int) -> dict[str, int]:
    """Find where torch's objects have what the exchange would tell, in the same way.

    Raises:
        LookupError: an object is not as expected.

    """

    def dtype_numbers(tensor: Tensor) -> list[int]:
        return list((ctypes.c_uint16 * (_SIZE // 2)).from_address(tensor._cdata))

    def storage_words(tensor: Tensor) -> list[int]:
        return list((ctypes.c_int64 * 8).from_address(_words(tensor)[storage_at // 8]))

    def has(seen: list[int], sizes: int, offset: int, tensor: Tensor) -> bool:
        ndim = tensor.dim()
        shape, strides = seen[sizes + 1 : sizes + 1 + ndim], seen[sizes + 6 : sizes + 6 + ndim]
        return [seen[sizes], shape, strides, seen[offset]] == [
            ndim,
            list(tensor.shape),
            list(tensor.stride()),
            tensor.storage_offset(),
        ]

    numbers = {torch.float32: 6, torch.float64: 7, torch.bfloat16: 15}
    tensors = [torch.zeros(1031, dtype=dtype) for dtype in numbers]
    tensors += [torch.zeros(418)[13:].view(5, 9, 9)[:, 1:8], torch.zeros(2, 3, 5, 7, 11).permute(4, 0, 2, 1, 3)[1:]]
    tensors += [torch.zeros(()), torch.zeros(3, 0), torch.nn.Parameter(torch.zeros(4, 6).t())]
    places = range(2, _SIZE // 8 - 11)
    found = [
        (sizes, offset)
        for sizes in places
        for offset in range(2, _SIZE // 8)
        if all(has(_words(tensor), sizes, offset, tensor) for tensor in tensors)
    ]
    dtypes = [
        place
        for place in range(8, _SIZE // 2)
        if all(dtype_numbers(tensor)[place] == numbers[tensor.dtype] for tensor in tensors)
    ]
    # What a storage has of its memory is the address, and how it is freed: for its own alone by the address again.
    owned = [
        place
        for place in range(data_at // 8 + 1, 8)
        if all(storage_words(tensor)[place] == storage_words(tensor)[data_at // 8] for tensor in tensors)
    ]
    lazily = getattr(torch, "_lazy_clone", None)
    if lazily is not None:
        clone = lazily(tensors[0])
        owned = [place for place in owned if storage_words(clone)[place] != storage_words(clone)[data_at // 8]]
    if not len(found) == len(dtypes) == len(owned) == 1:
        raise LookupError("torch's objects are not as expected")
    (((sizes, offset),), (dtype,), (own,)) = found, dtypes, owned
    return {"sizes_at": 8 * sizes, "offset_at": 8 * offset, "dtype_at": 2 * dtype, "owned_at": 8 * own}


def _find_parallel() -> int | None:
    """Return the address of GOMP_parallel in the OpenMP runtime that torch has loaded, if it has one.

    GNU's has, and on Linux LLVM's and Intel's. A second runtime would compete with torch's for the cores.
    """
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value
    except (OSError, AttributeError, TypeError):  # TypeError: Windows, which has no CDLL(None)
        return None


_kernel, _missing = _load()
_look, _python = _load_look()
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
    everything: Columns = (params, grads, exp_avgs, exp_avg_sqs, compensations, state_steps)
    by_dtype: dict[torch.dtype, list[int]] = {}
    for i, dtype in enumerate(map(_dtype, params)):
        by_dtype.setdefault(dtype, []).append(i)
    if len(by_dtype) == 1 and _run(everything, packed, clip_lambda):
        return []
    if begin_together(everything):  # in their order, then
        indices = iter(range(len(params)))
        refused = next((i for i in indices if not _run(at([i], everything), packed, clip_lambda)), None)
        return [] if refused is None else [refused, *indices]
    left = []
    for positions in by_dtype.values():
        # One of them may be in the way of all.
        if len(by_dtype) == 1 or not _run(at(positions, everything), packed, clip_lambda):
            left += [i for i in positions if not _run(at([i], everything), packed, clip_lambda)]
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
        if not params:
            return False
    # Where these are all the parameters that there are, none needs to be looked up, which calls Tensor.__hash__.
    alone = len(state) == len(params) and all(map(is_, state, params))
    states: list[Any] = list(state.values() if alone else map(state.get, params))
    try:
        exp_avgs, exp_avg_sqs, steps = (list(map(value, states)) for value in _state)
    except (KeyError, TypeError, ValueError):  # a parameter without state, or no parameter
        return False
    compensations = list(map(_compensation, states)) if params[0].dtype in LOW_PRECISION else [None] * len(params)
    beta1, beta2 = group["betas"]
    names = ("lr", "clip_exp", "weight_decay", "decouple", "eps", "maximize")
    options = _options(None, beta1=beta1, beta2=beta2, **{name: group[name] for name in names})
    columns = (params, grads, exp_avgs, exp_avg_sqs, compensations, steps)
    return options is not None and _run(columns, options, None)


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
    """Return the kernel's Options; None for what only a changed group has, such as NaN: the other forms then decide."""
    try:
        factor = (-1.0 if maximize else 1.0) / (1.0 if grad_scale is None else grad_scale.item())
        lr = lr.item() if isinstance(lr, Tensor) else lr
        exponent = -1.0 if clip_exp is None else clip_exp
        options = array("d", [beta1, beta2, lr, weight_decay, bool(decouple), eps, factor, exponent])
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, RuntimeError):
        return None
    fits = -3e38 < sum(options) < 3e38  # float32's range, and false for NaN
    return options if fits and (clip_exp is None or clip_exp >= 0) else None


def _run(columns: Columns, options: array[float], clip_lambda: Callable[[float], float] | None) -> bool:
    """Run the kernel on these parameters, or return False and change no value."""
    assert _kernel is not None
    columns = [list(column) for column in columns]  # these hold the tensors, whatever becomes of the caller's
    if len(set(map(len, columns))) != 1:  # the library reads as many of each; others say what is missing
        return False
    clips = None
    if clip_lambda is not None:  # which may change anything: it is called before the look
        steps = [step.item() for step in columns[-1]]
        by_step = {step: clip_lambda(step) for step in set(steps) if step != 0}
        try:
            clips = array("d", [by_step.get(step, 0.0) for step in steps])
        except (TypeError, ValueError, RuntimeError):  # no number
            return False
        if not _torch.is_plain_eager():  # it may have changed the mode, too
            return False
    look = _look_from_python if _look is None else _look_in_c
    plain: Columns | None = columns
    seen = look(columns)
    if seen is None:
        plain = _local(columns)
        seen = None if plain is None else look(plain)
    if plain is None or seen is None:
        return False
    kind, table, held = seen
    # Before the kernel: it drives what is known of the tensors out of the cache. If it refuses, others write to them.
    for params, _, *state in (columns,) if plain is columns else (columns, plain):
        _torch.increment_version(chain(params, *(column for column in state if column[0] is not None)))
    refused = _kernel(
        *(kind, len(plain[0]), table.buffer_info()[0], options.buffer_info()[0], clips and clips.buffer_info()[0]),
        *(torch.get_num_threads(), _parallel),
        *(held.buffer_info()[0] if isinstance(held, array) else None, ctypes.byref(_python)),
    )
    return not refused


def _look_in_c(columns: Columns) -> tuple[int, array[int], array[int]] | None:
    """Return the one kind of all these parameters, the kernel's table and the addresses of the lists.

    None if the kernel cannot take them.
    """
    assert _look is not None
    addresses = array("q", [0 if column[0] is None else id(column) for column in columns])
    count = len(columns[0])
    table = array("q", bytes(addresses.itemsize * count * (len(columns) + 1)))
    try:
        kind = _look(count, addresses.buffer_info()[0], table.buffer_info()[0])
    except Exception:  # without memory, which DLPack says: sparse, on another device
        return None
    return None if kind < 0 else (kind, table, addresses)


def _look_from_python(columns: Columns) -> tuple[int, array[int], object] | None:
    """Return the same from Python, with what holds the memory in place of the addresses."""
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
    """Return the local parts of DTensors, if for each parameter all are laid out alike, else None."""
    *tensors, steps = columns
    for row in zip(*tensors):
        layouts = {(getattr(t, "device_mesh", None), getattr(t, "placements", None)) for t in row if t is not None}
        if len(layouts) != 1 or (None, None) in layouts:
            return None
    return [*([t if t is None else t.to_local() for t in column] for column in tensors), steps]
