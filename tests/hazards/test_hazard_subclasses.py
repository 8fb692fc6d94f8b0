"""Subclasses that override step or not train the same, defined before or after activation; super().step() works"""

from __future__ import annotations

import torch
from hazard_observer import NONE, observation


def _subclasses(base):
    class Bare(base):
        pass

    class BareOfBare(Bare):
        pass

    class Calls(base):
        """A subclass whose step calls the guarded step."""

        def step(self, closure=None):
            return super().step(closure)

    class Skips(base):
        """A subclass in which a None freezes its group."""

        def step(self, closure=None):
            groups, self.param_groups = (
                self.param_groups,
                [g for g in self.param_groups if g["weight_decay"] is not None],
            )
            try:
                return super().step(closure)
            finally:
                self.param_groups = groups

    class Marks(base):
        """A subclass in which None has a meaning; it replaces None by a number during super().step()."""

        def step(self, closure=None):
            marked = [group for group in self.param_groups if group["weight_decay"] is None]
            for group in marked:
                group["weight_decay"] = 0.0
            super().step(closure)
            for group in marked:
                group["weight_decay"] = None

    class Own(base):
        """A subclass whose step does not call torch's step."""

        def step(self, closure=None):
            for group in self.param_groups:
                for parameter in group["params"]:
                    factor = 2.0 if group["weight_decay"] is None else 1.0
                    parameter.data.sub_(parameter.grad * group["lr"] * factor)

    return [Bare, BareOfBare, Calls, Skips, Marks, Own]


def _build(cls):
    return cls([torch.nn.Parameter(torch.ones(2))], lr=0.1)


def _step(optimizer, weight_decay):
    parameter = optimizer.param_groups[0]["params"][0]
    parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.param_groups[0]["weight_decay"] = weight_decay
    optimizer.step()
    return parameter.tolist()


#: The subclasses that pass a None to torch's step, whose guard replaces it.
MENDED = ("Bare", "BareOfBare", "Calls")


def _stepped(optimizers):
    seen = {}
    for optimizer in optimizers:
        name = type(optimizer).__name__
        seen[name] = [_step(optimizer, NONE if name in MENDED else None)]
        if name not in MENDED:
            seen[name].append(optimizer.param_groups[0]["weight_decay"])  # the None must still be in the group
        seen[name].append(_step(optimizer, 0.1))
    return seen


def _through_the_ages(name):
    base = getattr(torch.optim, name)
    classes = _subclasses(base)
    early = [_build(cls) for cls in classes]
    for optimizer in early[1::2]:
        _step(optimizer, 0.1)  # these optimizers have been used before activation
    yield
    seen = [_stepped(early), _stepped([_build(cls) for cls in classes])]
    late = _subclasses(base)
    seen.append(_stepped([_build(cls) for cls in late]))
    yield
    return [*seen, [_step(_build(cls), 0.1) for cls in classes + late]]


@observation
def adam():
    return (yield from _through_the_ages("Adam"))


@observation
def adamw():
    return (yield from _through_the_ages("AdamW"))


@observation
def sgd():
    return (yield from _through_the_ages("SGD"))


@observation
def asgd():
    """Up to torch 1.9 ASGD has no functional form, whose guard could hide a missing guard of the step."""
    return (yield from _through_the_ages("ASGD"))


@observation
def a_none_that_reaches_super_step_is_there_afterwards():
    """Return whether a subclass that sets None finds it in its group after super().step()."""
    found = []
    for base in (torch.optim.Adam, torch.optim.SGD):

        class Looks(base):
            def step(self, closure=None):
                self.param_groups[0]["weight_decay"] = NONE
                super().step(closure)
                found.append(self.param_groups[0]["weight_decay"] == NONE)

        _step(_build(Looks), 0.1)
    return found


def test_subclasses_of_adam_train_the_same_with_guards(same):
    same(adam)


def test_subclasses_of_adamw_train_the_same_with_guards(same):
    same(adamw)


def test_subclasses_of_sgd_train_the_same_with_guards(same):
    same(sgd)


def test_subclasses_of_asgd_train_the_same_with_guards(same):
    same(asgd)


def test_a_none_that_reaches_super_step_is_in_the_group_afterwards(same):
    same(a_none_that_reaches_super_step_is_there_afterwards)
