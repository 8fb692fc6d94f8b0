"""torch.load: the default that 2.6 changed, and keywords that came later."""

from __future__ import annotations

import codecs
import pickle
from collections import OrderedDict
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar, Iterator

from .row import advice, argument, names


@argument(
    "torch.serialization:load",
    called="torch.load",
    works="<2.6",
    named=True,
    note="loading a file may run code from it",
    says=(
        r"Weights only load failed\. .*GLOBAL (?P<unsafe>[\w.]+) was not an allowed global by default",
        r"Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch\.load``(?P<unsafe>)",
    ),
    more="a file from others can run any code on this machine when it is loaded in this way, so --for never switches "
    "this on. The safe way for a file of tensors and settings: torch.serialization.add_safe_globals([{unsafe}]) before "
    "torch.load, for each name that you know; for a TorchScript archive: torch.jit.load. torch's own switch for all "
    "files is TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1, with the same risk",
    example="""
import argparse, io, torch
file = io.BytesIO()
torch.save({"settings": argparse.Namespace(lr=0.5), "weight": torch.ones(1)}, file)
file.seek(0)
print(torch.load(file)["settings"].lr)
""",
)
def load(original: Any, *args: Any, weights_only: Any = None, **kwargs: Any) -> Any:
    """torch.load without weights_only loaded any pickle, which can run code, up to 2.5, and loads only data since."""
    # https://github.com/pytorch/pytorch/blob/v2.6.0/torch/serialization.py#L1378
    return original(*args, weights_only=False if weights_only is None else weights_only, **kwargs)


advice(
    "torch.load of a blocked global",
    "The file calls a function of a module that no checkpoint needs, such as os or sys: it may be an attack. "
    "Do not load it, with weights_only=False least of all.",
    r"Trying to load unsupported GLOBAL [\w.]+ whose module \w+ is blocked",
    works="",
)
advice(
    "torch.load of another file",
    "The file is no checkpoint of torch: a plain pickle, a web page, a pointer of Git LFS, or a part of a download. "
    "Look at its first bytes (head -c 200 FILE); `git lfs pull` or a new download mends the last three.",
    (
        r"Weights only load failed\..*Unsupported operand (?:149|118|60|58)\b",
        r"torch/serialization\.py.*UnpicklingError: invalid load key, '[<v]'",
        r"torch/serialization\.py.*RuntimeError: Invalid magic number; corrupt file\?",
    ),
    works="",
)
advice(
    "torch.load by transformers",
    "transformers refuses files of pickles with a torch before 2.6, since their loading was unsafe there even with "
    "weights_only=True. Use a model in safetensors format, or torch 2.6 or newer.",
    r"Due to a serious vulnerability issue in `torch\.load`, even with `weights_only=True`, we now require users",
    works=">=2.6",
)
advice(
    "numpy._core",
    "The file was written with NumPy 2, whose modules have new names. Install numpy>=1.26, which reads both.",
    r"No module named 'numpy\._core'",
    works=">=1.26",
    of="numpy",
)


@argument(
    "torch.serialization:load",
    called="torch.load.weights_only",
    works=">=1.13",
    says=(
        r"'weights_only' is an invalid keyword argument for (?:Unpickler|load)\(\)",
        r"\bload\(\) got an unexpected keyword argument 'weights_only'",
    ),
    example="""
import argparse, io, pickle, torch

def loaded(what, **options):
    file = io.BytesIO()
    torch.save(what, file)
    file.seek(0)
    return torch.load(file, **options)

layer = torch.nn.Linear(2, 1)
state = loaded({"model": layer.state_dict(), "weight": layer.weight, "epoch": 3, "name": "a"}, weights_only=True)
print(type(state["model"]).__name__, torch.equal(state["weight"], layer.weight), state["epoch"], state["name"])
print(type(state["weight"]).__name__, loaded((torch.ones(2).half(), torch.float32), weights_only=True))
print(loaded(argparse.Namespace(lr=1), weights_only=False).lr)
try:
    loaded(argparse.Namespace(lr=1), weights_only=True)
except pickle.UnpicklingError as error:
    print("Weights only load failed" in str(error))
""",
)
def load_weights_only(original: Any, f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
    """torch.load takes weights_only since 1.13."""
    # https://github.com/pytorch/pytorch/blob/v1.13.1/torch/serialization.py#L658
    if not kwargs.pop("weights_only", None):
        return original(f, map_location, *args, **kwargs)
    if args or kwargs.get("pickle_module"):
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    return original(f, map_location, _of_weights())


def _of_weights() -> ModuleType:
    """Make a pickle module for torch.load that loads only tensors, numbers, strings and containers of these."""
    import torch

    storages = torch._storage_classes
    functions = ("_rebuild_parameter", "_rebuild_sparse_tensor", "_rebuild_tensor", "_rebuild_tensor_v2")
    allowed = {
        **{f"{each.__module__}.{each.__name__}": each for each in (*storages, *torch._tensor_classes)},
        **{f"torch._utils.{name}": getattr(torch._utils, name) for name in functions if hasattr(torch._utils, name)},
        **{str(each): each for each in vars(torch).values() if isinstance(each, torch.dtype)},
        # torch.save writes pickles of protocol 2, which use the module names of Python 2:
        # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/serialization.py#L59
        **{f"{of}.{each.__name__}": each for of in ("builtins", "__builtin__") for each in (set, complex, bytearray)},
        "_codecs.encode": codecs.encode,
        "collections.OrderedDict": OrderedDict,
        "torch.Size": torch.Size,
        "torch.Tensor": torch.Tensor,
        "torch.device": torch.device,
        "torch.nn.parameter.Parameter": torch.nn.Parameter,
        "torch.serialization._get_layout": getattr(torch.serialization, "_get_layout", None),
        **_safe(),
    }

    # Python's unpickler, because that in C has no hook for BUILD, which sets the state of an object:
    # https://github.com/python/cpython/blob/v3.11.7/Lib/pickle.py#L1712
    in_python: Any = vars(pickle)["_Unpickler"]

    class Unpickler(in_python):  # type: ignore[misc]
        dispatch: ClassVar = dict(in_python.dispatch)

        def find_class(self, module: str, name: str) -> Any:
            found = allowed.get(f"{module}.{name}")
            if found is None:
                raise pickle.UnpicklingError(
                    f"Weights only load failed. Unsupported global: {module}.{name} is not allowed by default. "
                    "Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can result "
                    "in arbitrary code execution. Do it only if you got the file from a trusted source."
                )
            return found

        def load_build(self) -> None:
            what = self.stack[-2]
            if type(what) not in (OrderedDict, torch.Tensor, torch.nn.Parameter, *_safe().values()):
                raise pickle.UnpicklingError(f"Weights only load failed. Unsupported state of a {type(what)}")
            super().load_build()

        dispatch[pickle.BUILD[0]] = load_build

    module = ModuleType("pickle")
    vars(module).update(
        Unpickler=Unpickler, UnpicklingError=pickle.UnpicklingError, load=lambda f, **kw: Unpickler(f, **kw).load()
    )
    return module


@argument(
    "torch.serialization:load",
    called="torch.load.mmap",
    works=">=2.1",
    says=(
        r"'mmap' is an invalid keyword argument for (?:Unpickler|load)\(\)",
        r"\btorch\.load\([^\"]*\bload\(\) got an unexpected keyword argument 'mmap'",
    ),
    example="""
import os, tempfile, torch
path = os.path.join(tempfile.mkdtemp(), "a.pt")
torch.save({"a": torch.ones(2)}, path)
print(torch.load(path, mmap=True), torch.load(path, map_location="cpu", mmap=None)["a"].sum())
""",
)
def load_mmap(original: Any, *args: Any, mmap: Any = None, **kwargs: Any) -> Any:
    """torch.load takes mmap since 2.1; it saves memory, and the tensors are the same."""
    # https://github.com/pytorch/pytorch/blob/v2.1.2/torch/serialization.py#L862
    return original(*args, **kwargs)


@argument(
    "torch._utils:_rebuild_sparse_tensor",
    called="torch.load of sparse tensors",
    works=">=2.1",
    says=r"_rebuild_sparse_tensor[^\"]*ValueError: too many values to unpack \(expected 3\)",
    example="""
import torch
from torch._utils import _rebuild_sparse_tensor
eye = torch.eye(2).to_sparse().coalesce()
for coalesced in (True, False):
    loaded = _rebuild_sparse_tensor(torch.sparse_coo, (eye._indices(), eye._values(), eye.shape, coalesced))
    print(loaded.to_dense().tolist(), loaded.is_coalesced())
""",
)
def rebuild_sparse(original: Any, layout: Any, data: Any) -> Any:
    """torch.save stores since 2.1 whether a sparse tensor is coalesced, which an older torch.load cannot read."""
    # https://github.com/pytorch/pytorch/blob/v2.1.2/torch/_tensor.py#L336
    import torch

    if layout != torch.sparse_coo or len(data) != 4:
        return original(layout, data)
    tensor = original(layout, data[:3])
    return tensor if data[3] is None else tensor._coalesced_(data[3])


#: The classes and functions that the program has declared safe.
_SAFE: list[Any] = []


def _safe() -> dict[str, Any]:
    named = (each if isinstance(each, tuple) else (each, f"{each.__module__}.{each.__qualname__}") for each in _SAFE)
    return {name: each for each, name in named}


@names(
    "torch.serialization",
    called="add_safe_globals",
    works=">=2.5",
    says=(
        r"module 'torch\.serialization' has no attribute '(add_safe_globals|safe_globals|get_safe_globals)'",
        r"cannot import name '(add_safe_globals|safe_globals|get_safe_globals)' from 'torch\.serialization'",
    ),
    note="what a function or a class makes from its arguments; before 2.4 torch refuses instances with a state",
    example="""
import collections, io, torch
from torch.serialization import add_safe_globals, get_safe_globals, safe_globals

file = io.BytesIO()
torch.save(collections.Counter("aab"), file)
with safe_globals([collections.Counter]):
    file.seek(0)
    print(torch.load(file)["a"])
    print(collections.Counter in get_safe_globals())
print(collections.Counter in get_safe_globals())
add_safe_globals([collections.Counter])
print(collections.Counter in get_safe_globals())
""",
)
def safe() -> dict[str, Any]:
    """torch.load with weights_only=True accepts declared classes since 2.4; safe_globals came with 2.5."""
    from torch import serialization

    theirs = vars(serialization)

    def add_safe_globals(safe_globals: list[Any]) -> None:
        """Declare classes and functions safe for torch.load with weights_only."""
        _SAFE.extend(each for each in safe_globals if each not in _SAFE)
        _widen()

    def clear_safe_globals() -> None:
        """Forget all that were declared safe."""
        for name in _safe():
            _allowed().pop(name, None)
        _SAFE.clear()

    def get_safe_globals() -> list[Any]:
        """List what was declared safe."""
        return list(_SAFE)

    add = theirs.get("add_safe_globals", add_safe_globals)
    get = theirs.get("get_safe_globals", get_safe_globals)
    clear = theirs.get("clear_safe_globals", clear_safe_globals)

    @contextmanager
    def safe_globals(safe_globals: list[Any]) -> Iterator[None]:
        before = list(get())
        add(safe_globals)
        try:
            yield
        finally:
            clear()
            add(before)

    return {
        "add_safe_globals": add_safe_globals,
        "clear_safe_globals": clear_safe_globals,
        "get_safe_globals": get_safe_globals,
        "safe_globals": safe_globals,
    }


def _allowed() -> dict[str, Any]:
    """Return the table of torch's own unpickler of weights, which came with 1.13."""
    try:
        from torch._weights_only_unpickler import _get_allowed_globals
    except ImportError:
        return {}
    table: dict[str, Any] = _get_allowed_globals()  # cached
    return table


def _widen() -> None:
    _allowed().update(_safe())
