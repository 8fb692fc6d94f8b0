"""None becomes 0.0 at every entry of every optimizer, and every other value is unchanged."""

from __future__ import annotations

import copy
import inspect
import io
import pickle

import pytest
import torch
from torch_optimizers import HERE, OPTIMIZERS, builder, parameters_for, warned

import shim
from shim.layout import weight_decay_of


@pytest.mark.parametrize("cls", OPTIMIZERS)
class TestEveryOptimizer:
    def test_none_as_a_keyword_of_the_constructor_is_zero(self, cls, train):
        expected = train(builder(cls, weight_decay=0.0))
        with warned():
            assert torch.equal(train(builder(cls, weight_decay=None)), expected)

    def test_none_at_its_position_in_the_constructor_is_zero(self, cls, train):
        position = weight_decay_of(cls.__init__).position
        defaults = [0.01, *[p.default for p in inspect.signature(cls.__init__).parameters.values()][3:position]]

        def make(weight_decay):
            return lambda parameters: cls(parameters_for(cls, parameters), *defaults, weight_decay)

        expected = train(make(0.0))
        with warned():
            assert torch.equal(train(make(None)), expected)

    def test_none_in_a_given_group_is_zero(self, cls, train):
        def make(weight_decay):
            def build(parameters):
                groups = [{"params": parameters_for(cls, parameters), "weight_decay": weight_decay}]
                return cls(groups, lr=0.01)

            return build

        expected = train(make(0.0))
        with warned():
            assert torch.equal(train(make(None)), expected)

    def test_none_set_in_an_existing_group_is_zero(self, cls, train):
        def put(value):
            return lambda optimizer: optimizer.param_groups[0].__setitem__("weight_decay", value)

        expected = train(builder(cls), put(0.0))
        with warned():
            assert torch.equal(train(builder(cls), put(None)), expected)

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e-3])
    def test_a_number_gives_the_same_bits_as_without_guards(self, cls, value, train):
        with_guards = train(builder(cls, weight_decay=value))
        shim.deactivate()
        assert torch.equal(with_guards, train(builder(cls, weight_decay=value)))

    def test_a_bad_number_is_refused_as_without_guards(self, cls):
        def message():
            try:
                builder(cls, weight_decay=-1.0)([torch.nn.Parameter(torch.zeros(2, 2))])
            except ValueError as error:
                return str(error)
            return "accepted"

        with_guards = message()
        shim.deactivate()
        assert with_guards == message()


def test_none_loaded_with_a_state_dict_is_zero(train):
    def load(optimizer):
        state = optimizer.state_dict()
        state["param_groups"][0]["weight_decay"] = None
        optimizer.load_state_dict(state)

    expected = train(builder(torch.optim.AdamW, weight_decay=0.0))
    with warned():
        assert torch.equal(train(builder(torch.optim.AdamW), load), expected)


def test_none_in_a_group_added_later_is_zero():
    first, later = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([first], lr=0.1, weight_decay=0.0)
    optimizer.add_param_group({"params": [later], "weight_decay": None})
    first.grad, later.grad = torch.ones(2), torch.ones(2)
    with pytest.warns(shim.NoneWeightDecayWarning, match="parameter group 1"):
        optimizer.step()
    assert torch.equal(first, later)


@pytest.mark.parametrize("save", ["pickle", "deepcopy", "torch"])
def test_none_in_an_optimizer_that_was_saved_whole_is_zero(save):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    optimizer.param_groups[0]["weight_decay"] = None
    if save == "pickle":
        loaded = pickle.loads(pickle.dumps(optimizer))
    elif save == "deepcopy":
        loaded = copy.deepcopy(optimizer)
    else:
        file = io.BytesIO()
        torch.save(optimizer, file)
        file.seek(0)
        new = HERE >= (1, 13)  # weights_only came with 1.13
        loaded = torch.load(file, **({"weights_only": False} if new else {}))
    loaded.param_groups[0]["params"][0].grad = torch.ones(2)
    with warned():
        loaded.step()
    assert loaded.param_groups[0]["weight_decay"] == 0.0


def test_none_set_as_a_default_is_zero_in_the_groups_that_inherit_it():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    optimizer.defaults["weight_decay"] = None
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
    optimizer.param_groups[1]["params"][0].grad = torch.ones(2)
    with warned():
        optimizer.step()
    assert optimizer.param_groups[1]["weight_decay"] == 0.0


def test_a_group_without_the_key_fails_as_without_guards():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    del optimizer.param_groups[0]["weight_decay"]
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    with pytest.raises(KeyError, match="weight_decay"):
        optimizer.step()
