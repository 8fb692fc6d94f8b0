"""Deactivation removes every guard, also from an optimizer that was built with guards."""

from __future__ import annotations

import sys

import pytest
import torch
from torch_optimizers import builder, one_parameter, optimizers

import shim


def everything():
    """Return every object that a guard may replace, by its path."""
    places = {}
    for name, module in list(sys.modules.items()):
        if name.startswith(("torch.optim", "torch.distributed.optim")):
            for key, value in vars(module).items():
                places[name, key] = value
                if isinstance(value, type) and issubclass(value, torch.optim.Optimizer):
                    places.update(((name, key, attribute), inner) for attribute, inner in vars(value).items())
    return places


def test_deactivation_restores_the_same_objects():
    shim.deactivate()
    for cls in optimizers():
        builder(cls)([torch.nn.Parameter(torch.ones(2, 2))])  # torch wraps the step of a class at its first instance
    before = everything()
    shim.activate()
    during = everything()
    shim.deactivate()
    after = everything()
    assert sum(during[place] is not before[place] for place in before) > 0
    assert [place for place in before if after.get(place) is not before[place]] == []
    assert set(after) == set(before)


def test_activating_twice_is_activating_once():
    once = everything()
    shim.activate()
    shim.activate()
    twice = everything()
    assert [place for place in once if twice[place] is not once[place]] == []
    shim.deactivate()
    with pytest.raises(TypeError):
        optimizer = torch.optim.AdamW([one_parameter()])
        optimizer.param_groups[0]["weight_decay"] = None
        optimizer.step()


def test_an_optimizer_built_under_guards_is_unguarded_afterwards():
    optimizer = torch.optim.AdamW([one_parameter()])
    shim.deactivate()
    optimizer.param_groups[0]["weight_decay"] = None
    with pytest.raises(TypeError):
        optimizer.step()
