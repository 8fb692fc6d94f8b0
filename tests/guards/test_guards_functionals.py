"""None becomes 0.0 in every functional form, and its guard packs no arguments."""

from __future__ import annotations

import copy
import inspect
import warnings

import pytest
import torch
from torch_optimizers import FUNCTIONALS, look_up, recorded_call

import shim
from shim.layout import weight_decay_of


@pytest.mark.parametrize("path", FUNCTIONALS)
def test_none_handed_to_a_functional_is_zero(path, train, monkeypatch):
    functional, place = look_up(path), weight_decay_of(look_up(path))
    args, kwargs = recorded_call(path, train, monkeypatch)
    results = []
    for weight_decay in (0.0, None):
        arguments, keywords = copy.deepcopy((args, kwargs))
        if place.position is None or "weight_decay" in keywords:
            keywords["weight_decay"] = weight_decay
        else:
            arguments[place.position] = weight_decay
        with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            functional(*arguments, **keywords)
        assert [w.category for w in caught] == [shim.NoneWeightDecayWarning] * (weight_decay is None)
        results.append(arguments[0][0])
    assert torch.equal(*results)
    assert not torch.equal(results[0], args[0][0]), "the call must have moved the parameter"


@pytest.mark.skipif(not FUNCTIONALS, reason=f"no functional forms in torch {torch.__version__}")
def test_a_guard_packs_no_arguments_that_the_original_does_not_pack():
    functions = [function for function in map(look_up, FUNCTIONALS) if "_shim_value" in function.__code__.co_freevars]
    assert functions
    for function in functions:
        packed = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
        assert function.__code__.co_flags & packed == function.__wrapped__.__code__.co_flags & packed
