"""A None stays if it has a meaning for a class of the user, and shim.guard() guards such a class."""

from __future__ import annotations

import pytest
import torch
from torch_optimizers import builder, one_parameter, warned

import shim


class Frozen(torch.optim.AdamW):
    """A None in a group means that the group is not trained."""

    def step(self, closure=None):
        self.seen = [group["weight_decay"] for group in self.param_groups]
        frozen = [(p, p.grad) for g in self.param_groups if g["weight_decay"] is None for p in g["params"]]
        for parameter, _ in frozen:
            parameter.grad = None
        super().step()
        for parameter, gradient in frozen:
            parameter.grad = gradient


class Logged(torch.optim.AdamW):
    """Overrides step. None has no meaning for it."""

    def step(self, closure=None):
        return super().step(closure)


class Renamed(torch.optim.AdamW):
    """Does not override step."""


def test_a_subclass_in_which_none_has_a_meaning_keeps_its_none(recwarn):
    trained, frozen = one_parameter(), one_parameter()
    groups = [{"params": [trained], "weight_decay": 0.1}, {"params": [frozen], "weight_decay": None}]
    optimizer = Frozen(groups, lr=0.1)
    for _ in range(3):
        optimizer.step()
    assert optimizer.seen == [0.1, None]
    assert torch.equal(frozen, torch.ones(2))
    assert not torch.equal(trained, torch.ones(2))
    assert not recwarn.list


def test_a_none_that_a_subclass_passes_to_super_is_replaced_there_and_stays_in_its_group(train):
    def make(cls, weight_decay):
        return lambda parameters: cls([{"params": parameters, "weight_decay": weight_decay}], lr=0.1)

    expected = train(make(torch.optim.AdamW, 0.0))
    kept = []
    with warned():
        result = train(make(Logged, None), lambda optimizer: kept.append(optimizer.param_groups[0]["weight_decay"]))
    assert torch.equal(result, expected)
    assert kept == [None, None, None]


def test_a_subclass_without_a_step_is_guarded(train):
    expected = train(builder(torch.optim.AdamW, weight_decay=0.0))
    with warned():
        assert torch.equal(train(builder(Renamed, weight_decay=None)), expected)


def test_an_optimizer_outside_of_torch_keeps_its_none():
    class Own(torch.optim.Optimizer):
        def __init__(self, params, weight_decay=None):
            super().__init__(params, {"weight_decay": weight_decay})

        def step(self, closure=None):
            self.seen = self.param_groups[0]["weight_decay"]

    optimizer = Own([one_parameter()])
    optimizer.step()
    assert optimizer.seen is None


def test_a_users_wrapper_around_a_torch_step_counts_as_the_users():
    import functools

    original = torch.optim.AdamW.step

    class Wrapped(torch.optim.AdamW):
        @functools.wraps(original)
        def step(self, closure=None):
            self.seen = self.param_groups[0]["weight_decay"]

    optimizer = Wrapped([{"params": [one_parameter()], "weight_decay": None}])
    optimizer.step()
    assert optimizer.seen is None


def own_optimizer():
    class Own(torch.optim.Optimizer):
        def __init__(self, params, weight_decay=0.3):
            super().__init__(params, {"weight_decay": 0.0 + weight_decay})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1 - group["weight_decay"])

    return Own


def test_guard_gives_a_class_of_the_user_the_same_guards():
    shim.deactivate()
    Own = shim.guard(own_optimizer())
    with pytest.warns(shim.NoneWeightDecayWarning, match=r"own default is 0\.3"):
        optimizer = Own([one_parameter()], weight_decay=None)
    optimizer.param_groups[0]["weight_decay"] = None
    with warned():
        optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == 0.0
    with pytest.raises(TypeError):
        builder(torch.optim.Adam, weight_decay=None)([one_parameter()]).step()  # a class of torch is left alone


def test_guard_takes_every_class_of_a_name():
    """A factory makes a new class of the same name at each call, as a notebook cell does that is run again."""
    classes = [shim.guard(own_optimizer()) for _ in range(3)]
    assert shim.guard(classes[1]) is classes[1]
    for Own in classes:
        with warned():
            optimizer = Own([one_parameter()], weight_decay=None)
        optimizer.param_groups[0]["weight_decay"] = None
        with warned():
            optimizer.step()
        assert optimizer.param_groups[0]["weight_decay"] == 0.0
    name = f"{own_optimizer.__module__}:own_optimizer.<locals>.Own"
    assert [outcome.state for outcome in shim.status().outcomes if outcome.patch == name] == ["applied"]
    shim.deactivate()
    assert all("_shim_value" not in Own.__init__.__code__.co_freevars for Own in classes)
    shim.activate()
    for Own in classes:
        with warned():
            Own([one_parameter()], weight_decay=None)


def test_guard_refuses_what_is_no_optimizer():
    with pytest.raises(TypeError, match=r"takes a subclass of .*Optimizer, not 3"):
        shim.guard(3)


def test_guard_does_nothing_when_shim_is_off(monkeypatch):
    monkeypatch.setenv("SHIM_DISABLE", "1")
    Own = shim.guard(own_optimizer())
    with pytest.raises(TypeError):
        Own([one_parameter()], weight_decay=None)
