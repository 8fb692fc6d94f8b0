"""Deactivation restores the original objects; optimizers built before work on"""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
from hazard_observer import NONE, observation

MODULES = [
    "optim",
    "optim.adam",
    "optim.adamw",
    "optim.sgd",
    "optim.functional",
    "optim._functional",
    "optim._multi_tensor",
]


def _objects():
    """Return every class, constructor, step, function and global hook of torch.optim, by its path."""
    seen = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "")
        if not isinstance(name, str) or not name.startswith(("torch.optim", "torch.distributed.optim")):
            continue
        for attribute, value in list(vars(module).items()):
            if callable(value):
                seen[name, attribute] = value
            if isinstance(value, type) and issubclass(value, torch.optim.Optimizer):
                seen.update({(name, attribute, method): vars(value).get(method) for method in ("__init__", "step")})
    for registered in ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"):
        for key, value in getattr(sys.modules["torch.optim.optimizer"], registered, {}).items():
            seen[registered, key] = value
    return seen


@pytest.fixture
def loaded():
    """Load the modules with aliases, and let torch wrap the steps. Deactivation must keep the wrappers of torch."""
    for module in MODULES:
        if module != "optim.adam" and module != "optim.adamw" and module != "optim.sgd":
            try:
                importlib.import_module("torch." + module)
            except ImportError:
                continue
    for name in ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "ASGD", "NAdam", "RAdam", "Muon"):
        if hasattr(torch.optim, name):
            getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(2, 2))], lr=0.1)


def test_deactivation_restores_the_original_objects(loaded):
    import shim

    before = _objects()
    with shim.activated():
        during = _objects()
        torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
    after = _objects()

    assert {place for place in before if before[place] is not during[place]}, "nothing was patched"
    assert {place for place in set(before) | set(after) if before.get(place) is not after.get(place)} == set()


def test_a_wrapper_around_a_guard_stays_and_the_guard_inside_is_off(loaded):
    import shim

    original = torch.optim.Adam.__init__
    with shim.activated():
        guarded = torch.optim.Adam.__init__

        def theirs(self, *args, **kwargs):
            guarded(self, *args, **kwargs)

        torch.optim.Adam.__init__ = theirs
    try:
        assert torch.optim.Adam.__init__ is theirs
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
        with pytest.raises(TypeError):
            _steps(optimizer, None)
        with pytest.raises(TypeError):  # raised by the constructor, or if that accepts None, by the step
            given = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))], weight_decay=None)
            _steps(given, given.defaults["weight_decay"])
    finally:
        torch.optim.Adam.__init__ = original


def _steps(optimizer, weight_decay=0.1):
    parameter = optimizer.param_groups[0]["params"][0]
    optimizer.param_groups[0]["weight_decay"] = weight_decay
    for _ in range(2):
        parameter.grad = torch.full_like(parameter, 0.5)
        optimizer.step()
    return parameter.tolist()


def _new(name):
    return getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(2))], lr=0.1)


NAMES = ("Adam", "AdamW", "SGD", "RMSprop")


@observation
def optimizers_that_exist_throughout():
    early = {name: _new(name) for name in NAMES}
    seen = [{name: _steps(optimizer) for name, optimizer in early.items()}]
    yield
    during = {name: _new(name) for name in NAMES}
    seen += [{name: _steps(optimizer, NONE) for name, optimizer in each.items()} for each in (early, during)]
    yield
    after = {name: _new(name) for name in NAMES}
    seen += [{name: _steps(optimizer) for name, optimizer in each.items()} for each in (early, during, after)]
    return seen


@observation
def none_after_undo():
    """Return whether an optimizer that was built with guards refuses a None after deactivation, as without shim."""
    during = {}
    yield
    during.update({name: _new(name) for name in NAMES})
    yield
    dies = {}
    for name, optimizer in during.items():
        try:
            _steps(optimizer, None)
            dies[name] = False
        except TypeError:
            dies[name] = True
    return dies


def test_optimizers_that_exist_during_activation_and_deactivation_keep_working(same):
    same(optimizers_that_exist_throughout)


def test_none_is_refused_again_after_deactivation(same):
    same(none_after_undo)
