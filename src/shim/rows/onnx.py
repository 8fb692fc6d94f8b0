"""torch.onnx: the exporter of before, and where symbolics of one's own were registered."""

from __future__ import annotations

from typing import Any

from .row import argument, module


@argument(
    "torch.onnx:export",
    called="torch.onnx.export",
    works="<2.9",
    says=(
        r"/torch/onnx/.*ModuleNotFoundError: No module named 'onnxscript'",
        r"Module onnxscript is not installed!",
    ),
    # No example: every exporter since 2.0 wants the package onnx.
)
def export(original: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.onnx.export was the exporter that traces, and needs no onnxscript; since 2.9 that is dynamo=False."""
    kwargs.setdefault("dynamo", False)
    return original(*args, **kwargs)


@module(
    "torch.onnx.symbolic_registry",
    works="<1.13",
    says=(
        r"No module named 'torch\.onnx\.symbolic_registry'",
        r"cannot import name 'symbolic_registry' from 'torch\.onnx'",
    ),
    example="""
from torch.onnx.symbolic_registry import get_registered_op, is_registered_op, register_op, register_version

def mine(g, x):
    return g.op("Relu", x)

register_version("", 11)
print(is_registered_op("relu", "", 11), is_registered_op("nothing_like_it", "", 11))
print(callable(get_registered_op("add", "", 11)))
register_op("mine", mine, "custom", 11)
print(is_registered_op("mine", "custom", 11), get_registered_op("mine", "custom", 11) is mine)
""",
)
def symbolic_registry() -> dict[str, Any]:
    """torch.onnx.symbolic_registry became internal in 1.13; symbolics are registered by register_custom_op_symbolic."""

    def name_of(opname: str, domain: str) -> str:
        return f"{domain or 'aten'}::{opname}"

    def find(opname: str, domain: str, version: int) -> Any:
        group = _registry().get_function_group(name_of(opname, domain))
        return None if group is None else group.get(version)

    def get_registered_op(opname: str, domain: str, version: int) -> Any:
        found = find(opname, domain, version)
        if found is None:
            raise RuntimeError(f"ONNX export failed on {opname}, which is not registered for opset {version}")
        return found

    def register_op(opname: str, op: Any, domain: str, version: int) -> None:
        _registry().register(name_of(opname, domain), version, op, custom=True)

    return {
        "get_registered_op": get_registered_op,
        "is_registered_op": lambda opname, domain, version: find(opname, domain, version) is not None,
        "is_registered_version": lambda domain, version: version >= 9,
        "register_op": register_op,
        "register_ops_in_version": lambda domain, version: None,  # they are there, as soon as they are asked for
        "register_version": lambda domain, version: None,
    }


def _registry() -> Any:
    """Return where torch itself keeps its symbolics."""
    from importlib import import_module

    try:
        found: Any = import_module("torch.onnx._internal.torchscript_exporter.registration")  # 2.9 and later
    except ImportError:
        found = import_module("torch.onnx._internal.registration")
    import_module("torch.onnx.utils")  # registers them
    return found.registry
