"""Find where torch's C++ objects keep what the native kernel reads of a tensor, by its memory.

The kernel is built without torch's headers, and one build serves every release. So the offsets of the fields are found
here, in the memory of tensors whose values are known, and must also fit tensors of other kinds. If an offset is not
found, LookupError is raised, and native.py inspects the tensors from Python.

The fields, in torch 2.13:

- ``THPVariable::cdata``, the pointer from the Python object to the TensorImpl:
  https://github.com/pytorch/pytorch/blob/v2.13.0/torch/csrc/autograd/python_variable.h#L17
- ``TensorImpl::storage_``, ``sizes_and_strides_``, ``storage_offset_``, ``data_type_`` and ``key_set_``:
  https://github.com/pytorch/pytorch/blob/v2.13.0/c10/core/TensorImpl.h#L2875
- ``SizesAndStrides``, which holds the number of dimensions, and up to 5 sizes and 5 strides inline:
  https://github.com/pytorch/pytorch/blob/v2.13.0/c10/core/impl/SizesAndStrides.h#L323
- ``StorageImpl::data_ptr_``, ``size_bytes_`` and ``has_mutable_data_ptr_check_``:
  https://github.com/pytorch/pytorch/blob/v2.13.0/c10/core/StorageImpl.h#L378
- ``UniqueVoidPtr::data_`` and ``ctx_``, of which ``data_ptr_`` consists:
  https://github.com/pytorch/pytorch/blob/v2.13.0/c10/util/UniqueVoidPtr.h#L44
- the numbers of the dtypes: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/headeronly/core/ScalarType.h#L110
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor


def dlpack_exchange() -> int:
    """Return the address of ``dltensor_from_py_object_no_sync``, which fills a DLTensor; torch has it since 2.10.

    It is the fifth field of ``DLPackExchangeAPI``, after the header (two 32-bit numbers for the version, and a pointer)
    and three pointers: https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/dlpack.h#L601

    Raises:
        AttributeError, LookupError: there is no exchange, or it is not as expected.

    """
    capsule, name = Tensor.__dlpack_c_exchange_api__, b"dlpack_exchange_api"
    is_valid, to_pointer = ctypes.pythonapi.PyCapsule_IsValid, ctypes.pythonapi.PyCapsule_GetPointer
    is_valid.argtypes = to_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    to_pointer.restype = ctypes.c_void_p
    address = to_pointer(capsule, name) if is_valid(capsule, name) else None
    if not address or ctypes.c_uint32.from_address(address).value != 1:  # another major version has another struct
        raise LookupError("no DLPack 1")
    describe: int | None = ctypes.c_void_p.from_address(address + 40).value
    if not describe:
        raise LookupError("the exchange has no function that describes a tensor")
    return describe


def offsets() -> dict[str, int]:
    """Find the class and the TensorImpl of a Python object, and its keys, its storage and the storage's memory.

    Raises:
        LookupError: an object is not as expected.

    """
    word = ctypes.sizeof(ctypes.c_void_p)

    def reads(address: int, offset: int, value: int) -> bool:
        return ctypes.c_uint64.from_address(address + offset).value == value

    def find(address: int, begin: int, end: int, value: int) -> int:
        offset = next((offset for offset in range(begin, end, word) if reads(address, offset, value)), None)
        if not offset:
            raise LookupError(f"{value} is not in the object")
        return offset

    def fields(tensor: Any) -> tuple[tuple[int, int], ...]:  # key_set_, storage_, data_ptr_, size_bytes_
        storage = tensor.untyped_storage()
        return (
            (tensor._cdata, keys(tensor)),
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
    class_at = object.__basicsize__ - word  # ob_type, the last field of every object
    impl_at = find(id(tensor), object.__basicsize__, Tensor.__basicsize__, tensor._cdata)
    names = ("keys_at", "storage_at", "data_at", "bytes_at")
    # torch's objects begin with the pointer to their virtual functions and the reference count.
    found = [find(address, 2 * word, size, value) for (address, value), size in zip(fields(tensor), (192, 64, 64, 96))]
    for other in (tensor, *others):
        seen = [reads(address, offset, value) for (address, value), offset in zip(fields(other), found)]
        if not (reads(id(other), class_at, id(type(other))) and reads(id(other), impl_at, other._cdata) and all(seen)):
            raise LookupError("torch's objects are not as expected")
    return {"class_at": class_at, "impl_at": impl_at, "checked_at": _place_of_the_check(), **dict(zip(names, found))}


def _place_of_the_check() -> int:
    """Find the byte of a StorageImpl that makes torch raise an error before it writes; 0 if there is none."""

    def content(tensor: Any) -> bytes:
        return bytes((ctypes.c_ubyte * 80).from_address(tensor.untyped_storage()._cdata))

    forbid: Any = getattr(torch._C, "_set_throw_on_mutable_data_ptr", None)
    if forbid is None:
        return 0
    tensor = torch.zeros(3)
    before = content(tensor)
    forbid(tensor)
    return next((place for place, (a, b) in enumerate(zip(before, content(tensor))) if a == 0 < b), 0)


def keys(tensor: Any) -> int:
    """Return the dispatch keys of a tensor as a number.

    Raises:
        LookupError: torch does not return them as a number, and they are not found in the object either.

    """
    found: Any = torch._C._dispatch_keys(tensor)
    if hasattr(found, "raw_repr"):  # torch 2.10
        return int(found.raw_repr())
    return words(tensor)[_place_of_the_keys()]


#: A TensorImpl has at least so many bytes in every release.
_SIZE = 192


def words(tensor: Any) -> list[int]:
    """Return the memory of a TensorImpl, as 64-bit numbers."""
    return list((ctypes.c_uint64 * (_SIZE // 8)).from_address(tensor._cdata))


@functools.lru_cache(None)
def _place_of_the_keys() -> int:
    """Find the word of the TensorImpl that holds the dispatch keys.

    A tensor with a lazy conjugation or negation has one key more than a plain one, and an inference tensor has fewer.

    Raises:
        LookupError: no word fits, or more than one.

    """
    z = torch.zeros(2, dtype=torch.complex64)
    with torch.inference_mode():
        inferred = torch.zeros(3)
    plain = [words(tensor) for tensor in (z, torch.zeros(5), torch.zeros(4, 6)[1:].t(), torch.nn.Parameter(z.real))]
    more = [words(tensor) for tensor in (z.conj(), z.conj().imag)]
    less = words(inferred)
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
            and words(torch._efficientzerotensor(3))[place] & ~keys
        ):
            places.append(place)
    if len(places) != 1:
        raise LookupError("torch's objects are not as expected")
    return places[0]


def version_counter(impl_at: int) -> int | None:
    """Return the address of ``bump_version``, which tells autograd that a tensor was written; None if it is not found.

    It takes a reference to a tensor, which is the address of the pointer in the Python object. Visual C++ gives it
    another name: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/csrc/autograd/variable.h#L172
    """
    try:
        bump = ctypes.CDLL(torch._C.__file__)._ZN5torch8autograd4impl12bump_versionERKN2at6TensorE
    except (AttributeError, OSError):
        return None
    bump.argtypes, bump.restype = [ctypes.c_void_p], None
    tensor = torch.zeros(3)
    before = tensor._version
    bump(id(tensor) + impl_at)
    return ctypes.cast(bump, ctypes.c_void_p).value if tensor._version == before + 1 else None


def description_offsets(storage_at: int, data_at: int, **_: int) -> dict[str, int]:
    """Find what the exchange would return: sizes, strides, offset and dtype, and whether a storage owns its memory.

    Raises:
        LookupError: an object is not as expected.

    """

    def dtype_numbers(tensor: Tensor) -> list[int]:
        return list((ctypes.c_uint16 * (_SIZE // 2)).from_address(tensor._cdata))

    def storage_words(tensor: Tensor) -> list[int]:
        return list((ctypes.c_int64 * 8).from_address(words(tensor)[storage_at // 8]))

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
        if all(has(words(tensor), sizes, offset, tensor) for tensor in tensors)
    ]
    dtypes = [
        place
        for place in range(8, _SIZE // 2)
        if all(dtype_numbers(tensor)[place] == numbers[tensor.dtype] for tensor in tensors)
    ]
    # The context of a storage's UniqueVoidPtr is its address again if the storage alone owns the memory.
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
