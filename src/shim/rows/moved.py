"""Modules of torch that are gone, and names that have moved."""

from __future__ import annotations

from typing import Any

from .row import module


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
    import math
    import queue
    from types import new_class

    return {
        "FileNotFoundError": FileNotFoundError,
        "PY2": False,
        "PY3": True,
        "PY37": True,
        "builtins": builtins,
        "collections": collections,
        "container_abcs": collections.abc,
        "get_function_from_type": lambda cls, name: getattr(cls, name, None),
        "imap": map,
        "inf": math.inf,
        "int_classes": int,
        "istuple": lambda value: isinstance(value, tuple),
        "itertools": __import__("itertools"),
        "nan": math.nan,
        "queue": queue,
        "raise_from": _raise_from,
        "string_classes": (str, bytes),
        "with_metaclass": lambda meta, *bases: new_class("temporary_class", bases, {"metaclass": meta}),
        "inspect": inspect,
    }


def _raise_from(value: BaseException, from_value: BaseException) -> None:
    raise value from from_value
