"""Names that a module of torch imported or made for its own use, and lost: most are one line."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Callable

from .messages import lost
from .row import row

_Make = Callable[[], Any]


def _assert(condition: Any, message: str) -> None:
    assert condition, message


def _empty_meta(*size: Any, **kwargs: Any) -> Any:
    return sys.modules["torch"].empty(*size, **{**kwargs, "device": "meta"})


def _raise_from(value: BaseException, from_value: BaseException) -> None:
    raise value from from_value


def _reraising(function: Any) -> Any:
    return function


def _of(module: str, name: str) -> _Make:
    return lambda: getattr(import_module(module), name)


_C10D = "torch.distributed.distributed_c10d"
#: The module; the releases that have the names; the releases on which the row can restore them; the reason; name ->
#: a function that makes the object.
_WERE: tuple[tuple[str, str, str, str, dict[str, _Make]], ...] = (
    (
        "torch",
        "<1.11",
        "",
        "the bases of the classes of storages are these classes themselves since 1.11",
        {f"{each}Base": _of("torch", each) for each in ("HalfStorage", "QInt32Storage", "QInt8Storage")},
    ),
    (
        "torch",
        ">=1.10,<1.12",
        ">=1.12",
        "torch.autocast_mode is torch.amp.autocast_mode since 1.12",
        {"autocast_mode": lambda: import_module("torch.amp.autocast_mode")},
    ),
    (
        "torch",
        ">=1.6,<1.9",
        ">=1.9",
        "empty_meta is empty with the device meta since 1.9",
        {"empty_meta": lambda: _empty_meta},
    ),
    (
        "torch",
        ">=1.7,<1.8",
        ">=1.8",
        "torch.Assert was an assertion as a function",
        {"Assert": lambda: _assert},
    ),
    (
        "torch",
        ">=2.0,<2.5",
        ">=2.5",
        "py_int and py_float are Python's int and float",
        {"py_int": lambda: int, "py_float": lambda: float},
    ),
    (
        "torch.cuda",
        "<1.7",
        "",
        "raise_from was torch._six's, for Python 2",
        {"raise_from": lambda: _raise_from},
    ),
    (
        "torch.distributed",
        "<2.1",
        "",
        "dist_backend is torch.distributed.Backend",
        {"dist_backend": _of("torch.distributed", "Backend")},
    ),
    (
        "torch.distributed",
        "<1.13",
        "",
        "torch.distributed also had what distributed_c10d imports for its own use, up to 1.12",
        {"string_classes": lambda: (str, bytes)},
    ),
    (
        "torch.distributed",
        ">=1.8,<1.13",
        ">=1.13",
        "torch.distributed had names that distributed_c10d needs for itself up to 1.12",
        {
            "STORE_BASED_BARRIER_PREFIX": lambda: "store_based_barrier_key",
            "PG_WRAPPER_STORE_PREFIX": lambda: "pg_wrapper",
            "logger": _of(_C10D, "logger"),
        },
    ),
    (
        "torch.distributed",
        ">=2.0,<2.1",
        ">=2.1",
        "exception_handler of 2.0 logged the errors of a function, and raised them",
        {"exception_handler": lambda: _reraising},
    ),
    (
        "torch.linalg",
        ">=1.7,<2.7",
        ">=2.7",
        "torch.linalg imported Tensor for itself up to 2.6",
        {"Tensor": _of("torch", "Tensor")},
    ),
    (
        "torch.onnx",
        "<1.11",
        "",
        "ir_version was the version of the format that torch.onnx.export wrote",
        {"ir_version": lambda: 6},
    ),
    (
        "torch.onnx",
        ">=1.6,<1.11",
        ">=1.11",
        "constants are folded for every opset that torch can export",
        {"constant_folding_opset_versions": lambda: [*range(9, 14)]},
    ),
)


def _giving(given: dict[str, _Make]) -> Callable[[], dict[str, Any]]:
    """Return a function that makes those of the names whose source exists in this release."""

    def give() -> dict[str, Any]:
        found = {}
        for name, make in given.items():
            try:
                found[name] = make()
            except (AttributeError, ImportError):
                continue
        return found

    return give


for _module, _works, _versions, _reason, _given in _WERE:
    _first = next(iter(_given))
    row(
        "names",
        (_module,),
        _giving(_given),
        None,
        {
            "called": f"{_module}.{_first}",
            "works": _works,
            "versions": _versions,
            "reason": _reason,
            "says": lost(_module, *_given),
            "example": f"import {_module}\nprint({_module}.{_first} is not None)",
        },
    )

row(
    "name",
    ("torch:Tensor.is_ort",),
    property(lambda tensor: tensor.device.type == "ort"),
    None,
    {
        "works": ">=1.10,<2.4",
        "versions": ">=2.4",
        "reason": "is_ort said whether a tensor is on the device of ONNX Runtime's own training",
        "says": r"'(?:Tensor|Parameter)' object has no attribute 'is_ort'",
        "example": "import torch\nprint(torch.ones(1).is_ort)",
    },
)
