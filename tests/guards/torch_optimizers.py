"""The optimizers of this torch and their functional forms, and helpers that build and call them."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys

import pytest
import torch

import shim
import shim.layout
from shim.layout import weight_decay_of

HERE = shim.layout.probe().version.numbers


def warned():
    """Return a context in which shim must warn about a None."""
    return pytest.warns(shim.NoneWeightDecayWarning)


def optimizers():
    """List the optimizers of this torch whose signatures have weight_decay."""
    found = [value for value in vars(torch.optim).values() if isinstance(value, type)]
    return [cls for cls in found if issubclass(cls, torch.optim.Optimizer) and weight_decay_of(cls.__init__)]


OPTIMIZERS = [pytest.param(cls, id=cls.__name__) for cls in optimizers()]


def parameters_for(cls, parameters):
    """Return the parameters that an optimizer accepts: Muon accepts only matrices."""
    return [p for p in parameters if p.dim() == 2] if cls.__name__ == "Muon" else parameters


def builder(cls, **keywords):
    return lambda parameters: cls(parameters_for(cls, parameters), lr=0.01, **keywords)


FUNCTIONALS = [callee.paths[0] for callee in shim.layout.probe().functionals]

#: Prefix of a functional form -> the arguments with which an optimizer calls that form.
REACHED_BY = {
    "_single_tensor_": {"foreach": False},
    "_multi_tensor_": {"foreach": True},
    "_fused_": {"fused": True},
}


def recorded_call(path, train, monkeypatch):
    """Return the arguments with which a real step calls the functional form at ``path``."""
    module, _, name = path.partition(":")
    if module == "torch.optim.functional" and HERE >= (2, 15):
        # The module whose functions torch.optim.functional wraps.
        module = "torch.optim." + {"adafactor": "_adafactor", "muon": "_muon"}.get(name, name)
    prefix = next((prefix for prefix in REACHED_BY if name.startswith(prefix)), "")
    cls = {cls.__name__.lower(): cls for cls in optimizers()}[name[len(prefix) :]]
    if module.startswith("torch.optim._multi_tensor."):  # torch 1.10 and 1.11 have separate classes for these forms
        cls = getattr(importlib.import_module("torch.optim._multi_tensor"), cls.__name__)
    options = {key: value for key, value in REACHED_BY.get(prefix, {}).items() if _takes(cls, key)}
    if name == "adamw" and issubclass(cls, torch.optim.Adam):
        module, name = "torch.optim.adam", "adam"  # since 2.7 AdamW calls adam, and adamw exists for other callers
    calls = []

    def spy(*args, **kwargs):
        calls.append(copy.deepcopy((list(args), kwargs)))
        return original(*args, **kwargs)

    original = getattr(sys.modules[module], name)
    monkeypatch.setattr(sys.modules[module], name, spy)
    try:
        train(builder(cls, **options))
    except (RuntimeError, TypeError) as error:
        if prefix == "_fused_":
            pytest.skip(f"no fused form for the CPU in torch {torch.__version__}: {error}")
        raise
    finally:
        monkeypatch.undo()
    args, kwargs = calls[-1]
    if path.endswith(":adamw"):
        kwargs.pop("decoupled_weight_decay", None)
    return args, kwargs


def _takes(cls, keyword):
    return keyword in inspect.signature(cls.__init__).parameters


def look_up(path):
    module, _, name = path.partition(":")
    return getattr(sys.modules[module], name)


def one_parameter():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    return parameter


def build(**keywords):
    return torch.optim.AdamW([one_parameter()], **keywords)
