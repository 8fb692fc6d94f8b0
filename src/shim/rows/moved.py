"""Modules of torch that are gone, and names that have moved."""

from __future__ import annotations

from typing import Any

from .messages import gone
from .row import module, name, names


@module(
    "torch._six",
    works="<1.9",
    says=(
        r"No module named 'torch\._six'",
        r"module 'torch' has no attribute '_six'",
        r"cannot import name '\w+' from 'torch\._six'",
        r"module 'torch\._six' has no attribute '\w+'",
    ),
    example="""
from torch._six import container_abcs, inf, int_classes, string_classes
print(issubclass(list, container_abcs.Sequence), inf, isinstance(1, int_classes), isinstance("a", string_classes))
""",
)
def torch_six() -> dict[str, Any]:
    """torch._six held what Python 2 and 3 name differently; 1.9 emptied it and 2.0 removed it."""
    import builtins
    import collections
    import collections.abc
    import inspect
    import io
    import math
    import queue
    import sys
    import types

    return {
        "FileNotFoundError": FileNotFoundError,
        "PY2": False,
        "PY3": True,
        "PY37": True,
        "StringIO": io.StringIO,
        "bind_method": _bind_method,
        "builtins": builtins,
        "collections": collections,
        "container_abcs": collections.abc,
        "get_function_from_type": _get_function_from_type,
        "imap": map,
        "inf": math.inf,
        "int_classes": int,
        "io": io,
        "istuple": _istuple,
        "itertools": __import__("itertools"),
        "math": math,
        "nan": math.nan,
        "queue": queue,
        "raise_from": _raise_from,
        "string_classes": (str, bytes),
        "sys": sys,
        "types": types,
        "with_metaclass": _with_metaclass,
        "inspect": inspect,
    }


def _bind_method(function: Any, instance: Any, cls: type) -> Any:
    return function.__get__(instance, cls)


def _get_function_from_type(cls: type, name: str) -> Any:
    return getattr(cls, name, None)


def _istuple(value: Any) -> bool:
    return isinstance(value, tuple) or type(value).__module__ == "torch.return_types"


def _with_metaclass(meta: Any, *bases: type) -> type:
    """Return a base class whose subclasses are made by ``meta`` and have ``bases``, but not this one, as bases."""
    stand_in = {
        "__new__": lambda _, name, __, namespace: meta(name, bases, namespace),
        "__prepare__": classmethod(lambda _, name, __: meta.__prepare__(name, bases)),
    }
    return type.__new__(type("Metaclass", (meta,), stand_in), "temporary_class", (), {})


def _raise_from(value: BaseException, from_value: BaseException) -> None:
    raise value from from_value


@name(
    "torch._utils:_accumulate",
    works="<2.3",
    says=(
        r"cannot import name '_accumulate' from 'torch\._utils'",
        r"module 'torch\._utils' has no attribute '_accumulate'",
    ),
    example="from torch._utils import _accumulate\nprint([*_accumulate([1, 2, 3])], [*_accumulate([2, 3], max)])",
)
def accumulate(iterable: Any, fn: Any = None) -> Any:
    """_accumulate was itertools.accumulate."""
    import itertools

    return itertools.accumulate(iterable, fn)


@module(
    "torch.cuda.error",
    works="<2.9",
    says=gone("torch.cuda.error"),
    example="import torch.cuda.error\nprint([each for each in vars(torch.cuda.error) if not each.startswith('_')])",
)
def cuda_error() -> dict[str, Any]:
    """The module torch.cuda.error, which was empty, was removed in 2.9."""
    return {}


@names(
    "torch.storage",
    called="torch.storage._UntypedStorage",
    works=">=1.12,<1.13",
    versions=">=1.13",
    says=(
        r"module 'torch(\.storage)?' has no attribute '_(Unt|T)ypedStorage'",
        r"cannot import name '_(Unt|T)ypedStorage' from 'torch(\.storage)?'",
    ),
    example="""
import torch
print(torch.storage._TypedStorage is not None, torch.storage._UntypedStorage(4).nbytes())
""",
)
def storages() -> dict[str, Any]:
    """UntypedStorage and TypedStorage of torch.storage had an underscore in 1.12."""
    import torch

    here: Any = torch.storage
    return {f"_{each}": getattr(here, each) for each in ("TypedStorage", "UntypedStorage") if hasattr(here, each)}


@names(
    "torch",
    called="torch._UntypedStorage",
    works=">=1.11,<1.13",
    versions=">=1.13",
    example="""
import torch
print(isinstance(torch.ones(2).storage(), torch._TypedStorage), torch._UntypedStorage(4).nbytes())
""",
)
def storages_of_torch() -> dict[str, Any]:
    """torch._UntypedStorage and torch._TypedStorage are now in torch.storage, without the underscore."""
    found: dict[str, Any] = storages()
    return found


@name(
    "torch.storage:TypedStorage._untyped",
    "torch.storage:UntypedStorage._untyped",
    works=">=1.11,<1.13",
    versions=">=1.13",
    example="import torch\nprint(torch.ones(2).storage()._untyped().nbytes())",
)
def untyped(storage: Any) -> Any:
    """_untyped is called untyped since 1.13."""
    return storage.untyped()
