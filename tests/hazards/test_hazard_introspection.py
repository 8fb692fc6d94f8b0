"""Signature, name, qualname, module, docs and source, as inspect and IDEs see them"""

from __future__ import annotations

import importlib
import inspect
import pydoc
import sys

from hazard_observer import observation
from test_hazard_compile import _class
from test_hazard_torchscript import _functional_optimizers


def _attempt(function, value):
    try:
        return function(value)
    except (OSError, TypeError, ValueError) as error:
        return type(error).__name__


def _seen(value):
    return [
        _attempt(lambda value: str(inspect.signature(value)), value),
        [getattr(value, name, None) for name in ("__name__", "__qualname__", "__module__", "__doc__")],
        str(getattr(value, "__annotations__", None)),
        str(getattr(value, "__defaults__", None)) if inspect.isclass(value) else None,
        _attempt(inspect.getsource, value),
        _attempt(lambda value: inspect.getsourcefile(inspect.unwrap(value)), value),
        inspect.getdoc(value),
        inspect.isfunction(value),
        inspect.isroutine(value),
        _attempt(pydoc.plaintext.document, value) if inspect.isfunction(value) else None,
    ]


@observation
def classes():
    import torch

    found = {
        f"{module.__name__}.{name}": cls
        for module in _modules_of_torch_optim()
        for name, cls in sorted(vars(module).items())
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)
    }
    found.update(_functional_optimizers())
    return {name: _seen_in(cls) for name, cls in found.items()}


def _seen_in(cls):
    return [_seen(cls), _seen(cls.__init__), _seen(cls.step)]


def _modules_of_torch_optim():
    for name in ("functional", "_functional", "_multi_tensor"):
        try:
            importlib.import_module("torch.optim." + name)
        except ImportError:
            continue
    return [sys.modules[name] for name in sorted(sys.modules) if f"{name}.".startswith("torch.optim.")]


@observation
def functionals():
    seen = {}
    for module in _modules_of_torch_optim():
        for name, value in sorted(vars(module).items()):
            if inspect.isroutine(value) and "weight_decay" in str(_attempt(inspect.signature, value)):
                seen[f"{module.__name__}.{name}"] = _seen(value)
    return seen or None


@observation
def adopt():
    cls = _class("ADOPT")
    module = sys.modules[cls.__module__]
    forms = [name for name in sorted(vars(module)) if name.endswith("adopt") and inspect.isroutine(vars(module)[name])]
    return [_seen_in(cls), *(_seen(getattr(module, name)) for name in forms)]


@observation
def instances():
    import torch

    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=0.1)
    return [repr(optimizer), sorted(vars(optimizer)), str(inspect.signature(optimizer.step)), optimizer.step.__name__]


def test_classes_and_their_methods(same):
    same(classes)


def test_functionals(same):
    same(functionals)


def test_adopt(same):
    same(adopt)


def test_instances(same):
    same(instances)
