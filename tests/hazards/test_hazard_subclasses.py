"""Subclasses with and without a step of their own, built before and after; super().step()"""

from __future__ import annotations

import torch
from hazard_observer import NONE, observation


def _subclasses(base):
    class Bare(base):
        pass

    class BareOfBare(Bare):
        pass

    class Calls(base):
        """Calls the guarded step."""

        def step(self, closure=None):
            return super().step(closure)

    class Skips(base):
        """Gives None a meaning: such a group is frozen."""

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
        """Gives None a meaning, and replaces it by a number during super().step()."""

        def step(self, closure=None):
            marked = [group for group in self.param_groups if group["weight_decay"] is None]
            for group in marked:
                group["weight_decay"] = 0.0
            super().step(closure)
            for group in marked:
                group["weight_decay"] = None

    class Own(base):
        """Never calls torch's step."""

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


#: These pass a None to torch's step, which replaces it.
MENDED = ("Bare", "BareOfBare", "Calls")


def _stepped(optimizers):
    seen = {}
    for optimizer in optimizers:
        name = type(optimizer).__name__
        seen[name] = [_step(optimizer, NONE if name in MENDED else None)]
        if name not in MENDED:
            seen[name].append(optimizer.param_groups[0]["weight_decay"])  # the subclass's own None is still there
        seen[name].append(_step(optimizer, 0.1))
    return seen


def _through_the_ages(name):
    base = getattr(torch.optim, name)
    classes = _subclasses(base)
    early = [_build(cls) for cls in classes]
    for optimizer in early[1::2]:
        _step(optimizer, 0.1)  # some have been used already
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
    """Without a functional form up to 1.9, whose guard would do what the step's should have done."""
    return (yield from _through_the_ages("ASGD"))


@observation
def a_none_that_reaches_super_step_is_there_afterwards():
    """Return what Calls, which has a step of its own, finds in its group after super().step()."""
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
