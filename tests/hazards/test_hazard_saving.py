"""pickle, deepcopy, torch.save and torch.load of optimizers, their steps and the functionals"""

from __future__ import annotations

import copy
import importlib
import io
import pickle

from hazard_observer import NONE, observation


def _optimizers():
    import torch

    for name in ("Adam", "AdamW", "SGD", "RMSprop"):
        parameter = torch.nn.Parameter(torch.ones(2))
        parameter.grad = torch.full((2,), 0.5)
        optimizer = getattr(torch.optim, name)([parameter], lr=0.1)
        optimizer.step()
        yield name, optimizer


def _torch_saved(value):
    import torch

    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=False)
    except TypeError:  # before 1.13
        file.seek(0)
        return torch.load(file)


WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
    "torch.save": _torch_saved,
}


def _attempt(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:60]


def _stepped(optimizer, weight_decay=0.0):
    import torch

    for group in optimizer.param_groups:
        group["weight_decay"] = weight_decay
        for parameter in group["params"]:
            parameter.grad = torch.full((2,), 0.5)
    optimizer.step()
    return optimizer.param_groups[0]["params"][0].tolist()


def _copies(weight_decay):
    return {
        f"{name} {way}": _attempt(lambda: _stepped(copied(optimizer), weight_decay))
        for name, optimizer in _optimizers()
        for way, copied in WAYS.items()
    }


@observation
def optimizers():
    early = {f"{name} {way}": copied(optimizer) for name, optimizer in _optimizers() for way, copied in WAYS.items()}
    saved = {name: pickle.dumps(optimizer) for name, optimizer in _optimizers()}
    yield
    seen = [_copies(NONE), {name: _stepped(optimizer, NONE) for name, optimizer in early.items()}]
    seen += [{name: _stepped(pickle.loads(each), NONE) for name, each in saved.items()}]
    late = {name: pickle.dumps(optimizer) for name, optimizer in _optimizers()}
    yield
    return [*seen, {name: _stepped(pickle.loads(each)) for name, each in late.items()}]


@observation
def a_none_that_was_saved():
    """Load a checkpoint and an optimizer with None in them, and return the results of their steps."""
    import torch

    optimizer = next(_optimizers())[1]
    optimizer.param_groups[0]["weight_decay"] = NONE
    saved, checkpoint = pickle.dumps(optimizer), _torch_saved(optimizer.state_dict())
    other = next(_optimizers())[1]
    other.load_state_dict(checkpoint)
    results = []
    for each in (pickle.loads(saved), other):
        each.param_groups[0]["params"][0].grad = torch.full((2,), 0.5)
        each.step()
        results.append(each.param_groups[0]["params"][0].tolist())
    return results


@observation
def bound_steps():
    """Return the parameters of copies of a bound step, or the error if torch itself cannot copy it."""

    def stepped(way):
        optimizer = next(_optimizers())[1]
        return way(optimizer.step).__self__.param_groups[0]["params"][0].tolist()

    return {name: _attempt(stepped, way) for name, way in WAYS.items()}


@observation
def functionals():
    def copied(function, way):
        return way(function) is function

    seen = {}
    for module in ("functional", "_functional", "adam", "adamw", "sgd"):
        try:
            module = importlib.import_module("torch.optim." + module)
        except ImportError:
            continue
        for name in ("adam", "_single_tensor_adam", "_multi_tensor_adam", "_fused_adam", "adamw", "sgd"):
            if callable(getattr(module, name, None)):
                for way in WAYS:
                    function = getattr(module, name)
                    seen[f"{module.__name__}.{name} {way}"] = _attempt(copied, function, WAYS[way])
    return seen or None


@observation
def classes():
    import torch

    return {name: way(torch.optim.Adam) is torch.optim.Adam for name, way in WAYS.items()}


def test_saved_and_copied_optimizers_step_the_same(same):
    same(optimizers)


def test_a_none_that_was_saved_trains_as_zero(same):
    same(a_none_that_was_saved)


def test_bound_steps_can_be_copied_as_without_shim(same):
    same(bound_steps)


def test_pickled_and_copied_functionals_are_the_same_objects(same):
    same(functionals)


def test_pickled_and_copied_classes_are_the_same_objects(same):
    same(classes)
