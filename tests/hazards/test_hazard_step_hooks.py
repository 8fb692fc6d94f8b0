"""Step pre- and post-hooks fire once, and the profiler records a step once"""

from __future__ import annotations

import importlib

from hazard_observer import DOOR, NONE, observation


def _built(cls=None, **keywords):
    import torch

    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), 0.5)
    return (cls or torch.optim.Adam)([parameter], lr=0.1, **keywords)


def _subclass():
    import torch

    class Mine(torch.optim.Adam):
        pass

    return Mine


def _fired(optimizer, log):
    """Take a step and return which hooks fired, in order."""
    del log[:]
    optimizer.step()
    return list(log)


def _hooked(optimizer, log):
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: log.append("pre"))
    optimizer.register_step_post_hook(lambda optimizer, args, kwargs: log.append("post"))
    return optimizer


@observation
def step_hooks():
    import torch

    if not hasattr(torch.optim.Optimizer, "register_step_pre_hook"):
        return None
    log = []
    subclass = _subclass()
    early = {
        "Adam": _hooked(_built(), log),
        "SGD": _hooked(_built(torch.optim.SGD), log),
        "subclass": _hooked(_built(subclass), log),
    }
    fired = [{name: _fired(optimizer, log) for name, optimizer in early.items()}]
    yield
    for optimizer in early.values():
        optimizer.param_groups[0]["weight_decay"] = NONE
    late = {"Adam": _hooked(_built(), log), "subclass": _hooked(_built(_subclass(), weight_decay=NONE), log)}
    fired += [{name: _fired(optimizer, log) for name, optimizer in each.items()} for each in (early, late)]
    yield
    fired += [{name: _fired(optimizer, log) for name, optimizer in each.items()} for each in (early, late)]
    fired.append(_fired(_hooked(_built(), log), log))
    return fired


@observation
def global_step_hooks():
    optimizer_module = importlib.import_module("torch.optim.optimizer")
    register = getattr(optimizer_module, "register_optimizer_step_pre_hook", None)
    if register is None:
        return None
    log = []
    handle = register(lambda optimizer, args, kwargs: log.append("pre"))
    early = _built()
    fired = [_fired(early, log)]
    yield
    late = _built(weight_decay=NONE)
    fired += [_fired(early, log), _fired(late, log)]
    yield
    fired += [_fired(early, log), _fired(late, log)]
    handle.remove()
    fired.append(_fired(early, log))
    return fired


@observation
def profiler_records():
    import torch

    def recorded(optimizer):
        with torch.autograd.profiler.profile() as profile:
            optimizer.step()
        return sum(event.name.startswith("Optimizer.step#") for event in profile.function_events)

    early = _built()
    seen = [recorded(early)]
    yield
    late = _built(weight_decay=NONE)
    seen += [recorded(early), recorded(late)]
    yield
    return [*seen, recorded(early), recorded(late)]


@observation
def activated_twice():
    if DOOR != "without":
        import shim

        shim.activate()
    import torch

    optimizer = _built(weight_decay=NONE)
    if not hasattr(optimizer, "register_step_pre_hook"):
        return None
    log = []
    return [*_fired(_hooked(optimizer, log), log), type(torch.optim.Adam.step).__name__]


@observation
def what_a_closure_returns():
    """Return how often a closure is called, and the loss that step returns."""

    def stepped(optimizer):
        calls = []
        return [optimizer.step(lambda: calls.append(1) or 0.25), len(calls)]

    early = [_built(), _built(_subclass())]
    seen = [stepped(optimizer) for optimizer in early]
    yield
    built = [*early, _built(weight_decay=NONE), _built(_subclass(), weight_decay=NONE)]
    seen += [stepped(optimizer) for optimizer in built]
    yield
    return [*seen, *(stepped(optimizer) for optimizer in built)]


def test_the_hooks_of_an_optimizer_fire_once(same):
    same(step_hooks)


def test_global_hooks_fire_once(same):
    same(global_step_hooks)


def test_the_profiler_records_a_step_once(same):
    same(profiler_records)


def test_a_closure_is_called_once_and_its_loss_returned(same):
    assert same(what_a_closure_returns) == [[0.25, 1]] * 10


def test_activating_twice_fires_hooks_once(same):
    same(activated_twice)
