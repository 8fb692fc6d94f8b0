"""Python's standard library: names that 3.8 to 3.12 removed, and that programs with torch use.

The names of a module of ``import_hook.OF_PYTHON`` are given when one of them is asked for. The other patches are
applied when torch, NumPy, Pillow, torchvision or torchaudio is imported, not before.
"""

from __future__ import annotations

import re
from typing import Any

from .messages import lost
from .row import advice, argument, behaviour, name, names

_OF_ABC = re.findall(
    r"\w+",
    "AsyncGenerator AsyncIterable AsyncIterator Awaitable ByteString Callable Collection Container Coroutine Generator "
    "Hashable ItemsView Iterable Iterator KeysView Mapping MappingView MutableMapping MutableSequence MutableSet "
    "Reversible Sequence Set Sized ValuesView",
)


@names(
    "collections",
    called="collections.Iterable",
    works="<3.10",
    of="python",
    says=lost("collections", *_OF_ABC),
    example="""
import collections, torch
from collections import Mapping
print(isinstance([1], collections.Iterable), isinstance({}, Mapping), collections.Sequence is collections.abc.Sequence)
""",
)
def abstract_classes() -> dict[str, Any]:
    """Iterable, Mapping and other abstract classes are only in collections.abc since Python 3.10."""
    import collections.abc

    return {each: getattr(collections.abc, each) for each in _OF_ABC if hasattr(collections.abc, each)}


@names(
    "inspect",
    called="inspect.getargspec",
    works="<3.11",
    of="python",
    says=lost("inspect", "ArgSpec", "getargspec"),
    example="""
import inspect, torch

def call(a, b=2, *args, **kwargs):
    pass

print(inspect.getargspec(call))
try:
    inspect.getargspec(lambda a, *, b: a)
except ValueError:
    print("ValueError")
""",
)
def argspec() -> dict[str, Any]:
    """Python 3.11 removed inspect.getargspec; getfullargspec also returns keyword-only arguments and annotations."""
    import inspect
    from collections import namedtuple

    ArgSpec = namedtuple("ArgSpec", "args varargs keywords defaults")

    def getargspec(func: Any) -> Any:
        args, varargs, keywords, defaults, keyword_only, _, annotations = inspect.getfullargspec(func)
        if (keyword_only or annotations) and not _is_of_torch(func):
            raise ValueError(
                "Function has keyword-only parameters or annotations, use inspect.signature() API which can support "
                "them"
            )
        return ArgSpec(args, varargs, keywords, defaults)

    return {"ArgSpec": ArgSpec, "getargspec": getargspec}


def _is_of_torch(func: Any) -> bool:
    return str(getattr(func, "__module__", "")).partition(".")[0] == "torch"


@behaviour(
    "inspect:getargspec",
    called="inspect.getargspec(torch)",
    works="<1.11",
    of="torch",
    says=r"ValueError: Function has keyword-only parameters or annotations, use ",
    only_if="the function is one of torch, such as the __init__ of an optimizer",
    # No example: since Python 3.11 it dies with the message of the row above, which does this, too.
)
def argspec_of_torch(original: Any, func: Any) -> Any:
    """The optimizers and functions of torch had neither annotations nor keyword-only parameters up to 1.10."""
    # https://github.com/pytorch/pytorch/blob/v1.11.0/torch/optim/adam.py#L68
    if not _is_of_torch(func):
        return original(func)
    import inspect

    old: Any = inspect
    return old.ArgSpec(*inspect.getfullargspec(func)[:4])


@names(
    "fractions",
    called="fractions.gcd",
    works="<3.9",
    of="python",
    says=lost("fractions", "gcd"),
    example="import fractions, torch\nprint([fractions.gcd(a, b) for a, b in ((12, 18), (12, -18), (-4, 0), (0, 0))])",
)
def gcd_of_fractions() -> dict[str, Any]:
    """fractions.gcd has been math.gcd, which is never negative, since Python 3.9."""
    import math

    def gcd(a: Any, b: Any) -> Any:
        if type(a) is int is type(b):
            return -math.gcd(a, b) if (b or a) < 0 else math.gcd(a, b)
        while b:
            a, b = b, a % b
        return a

    return {"gcd": gcd}


@names(
    "time",
    called="time.clock",
    works="<3.8",
    of="python",
    says=lost("time", "clock"),
    example="import time, torch\nbefore = time.clock()\nprint(time.clock() >= before, type(before) is float)",
)
def clock() -> dict[str, Any]:
    """time.clock returned the CPU time of the process, on Windows the elapsed time, up to Python 3.7."""
    import sys
    import time

    return {"clock": time.perf_counter if sys.platform == "win32" else time.process_time}


@name(
    "threading:Thread.isAlive",
    works="<3.9",
    of="python",
    says=r"'\w+' object has no attribute 'isAlive'",
    example="""
import threading, torch
thread = threading.Thread(target=print)
print(thread.isAlive(), threading.current_thread().isAlive())
""",
)
def is_alive(self: Any) -> bool:
    """Thread.isAlive has been is_alive since Python 3.9."""
    return bool(self.is_alive())


@names(
    "base64",
    called="base64.encodestring",
    works="<3.9",
    of="python",
    says=lost("base64", "encodestring", "decodestring"),
    example="import base64, torch\nprint(base64.encodestring(b'shim'), base64.decodestring(b'c2hpbQ==\\n'))",
)
def base64_of_bytes() -> dict[str, Any]:
    """base64.encodestring and decodestring have been encodebytes and decodebytes since Python 3.9."""
    import base64

    return {"encodestring": base64.encodebytes, "decodestring": base64.decodebytes}


@argument(
    "json:loads",
    "json:load",
    called="json.loads.encoding",
    works="<3.9",
    of="python",
    says=r"JSONDecoder\.__init__\(\) got an unexpected keyword argument 'encoding'|"
    r"json/(?:(?!\bFile ).)*__init__\(\) got an unexpected keyword argument 'encoding'",
    example="""
import io, json, torch
print(json.loads('{"a": [1]}', encoding="utf-8"), json.load(io.StringIO("2"), parse_int=float))
""",
)
def without_encoding(original: Any, *args: Any, **kwargs: Any) -> Any:
    """json.loads took the argument encoding, and ignored it, up to Python 3.8."""
    # https://github.com/python/cpython/blob/v3.8.18/Lib/json/__init__.py#L345
    kwargs.pop("encoding", None)
    return original(*args, **kwargs)


advice(
    "distutils",
    "Python 3.12 removed distutils. Install setuptools, which brings one, or write packaging.version.parse for "
    "LooseVersion and shutil.copytree for copy_tree.",
    (r"No module named 'distutils(\.\w+)*'", r"module 'distutils' has no attribute '\w+'(?<!'version')"),
    works="<3.12",
    of="python",
)
advice(
    "imp",
    "Python 3.12 removed the module imp: write importlib.util.spec_from_file_location and module_from_spec for "
    "imp.load_source, importlib.reload for imp.reload; or use Python 3.11.",
    r"No module named 'imp'",
    works="<3.12",
    of="python",
)
