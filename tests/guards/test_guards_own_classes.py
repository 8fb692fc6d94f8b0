"""A None stays if it has a meaning for a class of the user, and shim.guard() guards such a class."""

from __future__ import annotations

import functools
import sys

import pytest
import torch
from torch_optimizers import builder, one_parameter, warned

import shim
from shim.releases import release

HERE = release(torch.__version__).numbers


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


def lowered(optimizer, amount=0.0):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.data -= amount + group["weight_decay"]
    return amount


class Made:
    """A descriptor that makes a function at each access."""

    def __init__(self, function):
        self.function = function

    def __get__(self, instance, owner=None):
        return lambda *args: self.function(*([] if instance is None else [instance]), *args)


#: The step of a class, and the state of its patch.
STEPS = {
    "a function": (lowered, "applied"),
    "a partial method": (functools.partialmethod(lowered, amount=0.5), "applied"),
    "a single dispatch": (functools.singledispatchmethod(lowered), "applied"),
    "a descriptor": (Made(lowered), "failed"),
}


@pytest.mark.parametrize("name", STEPS)
def test_guard_replaces_a_none_before_every_kind_of_step_or_says_that_it_cannot(name):
    step, state = STEPS[name]
    if "single" in name and sys.version_info >= (3, 15):
        pytest.skip("a single dispatch needs an argument after self here, so step() fails without shim, too")
    if HERE < (2, 3, 0) and "single" in name:
        state = "failed"
    Own = type(f"Own{len(name)}", (torch.optim.SGD,), {"step": step, "__module__": __name__})
    shim.guard(Own)
    outcome = next(each for each in shim.status().outcomes if each.patch == f"{__name__}:{Own.__qualname__}")
    assert outcome.state == state, outcome
    if state == "failed":
        assert "step" in outcome.reason
    for cls in (Own, type("Below", (Own,), {})):
        for _ in range(2):  # torch wraps the step when the first instance is made
            parameter = one_parameter()
            optimizer = cls([parameter], lr=0.1)
            assert optimizer.step() == (0.5 if "partial" in name else 0.0)
            optimizer.param_groups[0]["weight_decay"] = None
            if state == "failed":
                with pytest.raises(TypeError):
                    optimizer.step()
            else:
                with pytest.warns(shim.NoneWeightDecayWarning):
                    optimizer.step()


def built(self, params, **options):
    torch.optim.SGD.__init__(self, params, lr=0.5, **options)


class Bound:
    """A descriptor whose functions never take an instance."""

    def __get__(self, instance, owner=None):
        return functools.partial(built, instance)


@pytest.mark.parametrize("made", [Bound(), property(lambda self: functools.partial(built, self))])
def test_guard_leaves_a_constructor_alone_that_is_no_method(made, caplog):
    def own(**attributes):
        return type(f"Own{type(made).__name__}", (torch.optim.SGD,), {"__module__": __name__, **attributes})

    Before, Own, After = shim.guard(own()), shim.guard(own(__init__=made)), shim.guard(own())
    assert Own([one_parameter()], weight_decay=0.25).param_groups[0]["weight_decay"] == 0.25
    assert "__init__ is a " in caplog.text
    shim.deactivate()
    shim.activate()
    for cls in (Before, After):  # a notebook's cell is mended and run again
        with pytest.warns(shim.NoneWeightDecayWarning):
            assert cls([one_parameter()], lr=0.1, weight_decay=None).param_groups[0]["weight_decay"] == 0.0


def test_guard_refuses_what_is_no_optimizer():
    with pytest.raises(TypeError, match=r"takes a subclass of .*Optimizer, not 3"):
        shim.guard(3)


def test_guard_does_nothing_when_shim_is_off(monkeypatch):
    monkeypatch.setenv("SHIM_DISABLE", "1")
    Own = shim.guard(own_optimizer())
    with pytest.raises(TypeError):
        Own([one_parameter()], weight_decay=None)
