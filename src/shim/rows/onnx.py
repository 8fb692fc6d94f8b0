"""torch.onnx: the old exporter, and the places where custom symbolics were registered."""

from __future__ import annotations

from typing import Any

from .row import advice, argument, module, names


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
    """torch.onnx.export traced the model, without onnxscript, up to 2.8; since 2.9 that needs dynamo=False."""
    # https://github.com/pytorch/pytorch/blob/v2.9.1/torch/onnx/__init__.py#L72
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
        "register_ops_in_version": lambda domain, version: None,  # they exist once they are accessed
        "register_version": lambda domain, version: None,
    }


def _registry() -> Any:
    """Return the registry of torch's own symbolics."""
    from importlib import import_module

    try:
        found: Any = import_module("torch.onnx._internal.torchscript_exporter.registration")  # 2.9 and later
    except ImportError:
        found = import_module("torch.onnx._internal.registration")
    import_module("torch.onnx.utils")  # this import registers them
    return found.registry


#: The arguments of export that had no effect any more when they were removed.
_NO_LONGER = ("_retain_param_name", "enable_onnx_checker", "example_outputs", "strip_doc_string")


@argument(
    "torch.onnx:export",
    called="torch.onnx.export.example_outputs",
    works="<1.11",
    says=rf"\bexport\(\) got an unexpected keyword argument '({'|'.join(_NO_LONGER)}|use_external_data_format)'",
    # No example: every exporter since 2.0 wants the package onnx.
)
def without_old_arguments(original: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.onnx.export took example_outputs, enable_onnx_checker and other arguments up to 1.10."""
    # https://github.com/pytorch/pytorch/blob/v1.10.2/torch/onnx/__init__.py#L35
    given = {key: value for key, value in kwargs.items() if key not in (*_NO_LONGER, "use_external_data_format")}
    return original(*args, **given)


_OF_ONNX = ("ONNX_ARCHIVE_MODEL_PROTO_NAME", "PYTORCH_ONNX_CAFFE2_BUNDLE", "_optimize_trace", "set_training")
_EXPORTERS = ("_export", "_run_symbolic_function", "export_to_pretty_string")


@names(
    "torch.onnx",
    called="torch.onnx._export",
    works="<2.5",
    says=(
        rf"module 'torch\.onnx' has no attribute '({'|'.join(_EXPORTERS)})'",
        rf"cannot import name '({'|'.join(_EXPORTERS)})' from 'torch\.onnx'",
    ),
    example="import torch\nprint(callable(torch.onnx._export), callable(torch.onnx._run_symbolic_function))",
)
def exporters() -> dict[str, Any]:
    """torch.onnx._export and similar functions are in torch.onnx.utils."""
    return _of_utils(*_EXPORTERS)


def _of_utils(*some: str) -> dict[str, Any]:
    """Return functions that call those of torch.onnx.utils, and import that module first."""
    from functools import partial

    def call(function: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(_of_the_tracer("utils"), function)(*args, **kwargs)

    return {each: partial(call, each) for each in some}


def _of_the_tracer(module: str) -> Any:
    """Return a module of the tracing exporter."""
    from importlib import import_module

    try:
        return import_module(f"torch.onnx._internal.torchscript_exporter.{module}")  # 2.9 and later
    except ImportError:
        return import_module(f"torch.onnx.{module}")


@names(
    "torch.onnx",
    called="torch.onnx._optimize_trace",
    works="<1.12",
    says=(
        rf"module 'torch\.onnx' has no attribute '({'|'.join(_OF_ONNX)})'",
        rf"cannot import name '({'|'.join(_OF_ONNX)})' from 'torch\.onnx'",
    ),
    example="""
import torch
print(callable(torch.onnx._optimize_trace), torch.onnx.PYTORCH_ONNX_CAFFE2_BUNDLE)
""",
)
def older_names() -> dict[str, Any]:
    """torch.onnx had _optimize_trace, set_training and the names of Caffe2's archives up to 1.11."""
    import contextlib

    def _optimize_trace(graph: Any, operator_export_type: Any) -> Any:
        return _of_utils("_optimize_graph")["_optimize_graph"](graph, operator_export_type)

    @contextlib.contextmanager
    def set_training(model: Any, mode: bool) -> Any:
        before = None if mode is None else model.training
        if before is not None and before != mode:
            model.train(mode)
        try:
            yield
        finally:
            if before is not None and before != mode:
                model.train(before)

    return {
        "ONNX_ARCHIVE_MODEL_PROTO_NAME": "__MODEL_PROTO",
        "PYTORCH_ONNX_CAFFE2_BUNDLE": False,
        "_optimize_trace": _optimize_trace,
        "set_training": set_training,
    }


_HELPER = r"torch\.onnx(\._internal\.torchscript_exporter)?\.symbolic_helper"


def setters() -> dict[str, Any]:
    """_set_opset_version set what torch.onnx._globals holds."""
    # https://github.com/pytorch/pytorch/blob/v2.1.2/torch/onnx/symbolic_helper.py#L1721
    settings: Any = _of_the_tracer("_globals").GLOBALS

    def _set_opset_version(opset_version: int) -> None:
        settings.export_onnx_opset_version = opset_version

    def _set_operator_export_type(operator_export_type: Any) -> None:
        settings.operator_export_type = operator_export_type

    return {"_set_opset_version": _set_opset_version, "_set_operator_export_type": _set_operator_export_type}


names(
    "torch.onnx.symbolic_helper",
    called="torch.onnx.symbolic_helper._set_opset_version",
    works="<2.2",
    says=(
        rf"module '{_HELPER}' has no attribute '_(set_opset_version|set_operator_export_type)'",
        rf"cannot import name '_(set_opset_version|set_operator_export_type)' from '{_HELPER}'",
    ),
    example="""
from torch.onnx import symbolic_helper
symbolic_helper._set_opset_version(11)
print(callable(symbolic_helper._set_operator_export_type))
""",
)(setters)
# The object that torch.onnx has under the name of that module since 2.9:
# https://github.com/pytorch/pytorch/blob/v2.9.1/torch/onnx/__init__.py#L30
names(
    "torch.onnx._internal.torchscript_exporter.symbolic_helper",
    called="torch.onnx.symbolic_helper._set_opset_version.of 2.9",
    works="<2.2",
)(setters)


advice(
    "torch.jit.get_trace_graph",
    "It returned a trace up to 1.3, and torch.jit._get_trace_graph returns the graph and the outputs, so that the "
    "caller must change with it; torch.jit.trace(model, args).graph is the documented way.",
    r"module 'torch\.jit' has no attribute 'get_trace_graph'|cannot import name 'get_trace_graph' from 'torch\.jit'",
    works="<1.4",
)
