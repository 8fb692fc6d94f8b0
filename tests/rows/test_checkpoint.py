"""checkpoint(use_reentrant=False) on a torch that lacks it computes what a newer one computes."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint as of_torch

from shim.rows.checkpoint import use_reentrant

OLD = tuple(int(number) for number in torch.__version__.split("+")[0].split(".")[:2]) < (1, 11)
pytestmark = [
    pytest.mark.skipif(not OLD, reason="checkpoint has use_reentrant since torch 1.11"),
    pytest.mark.filterwarnings("ignore:User provided device_type"),  # of 1.10 without a GPU
]


def checkpoint(*args, **kwargs):
    return use_reentrant(of_torch, *args, use_reentrant=False, **kwargs)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.5), torch.nn.Tanh())


def outcome(run, layer, x):
    """Return the output, the gradients, and where the random numbers are afterwards."""
    torch.manual_seed(1)
    y = run(x)
    y.sum().backward()
    return [y, *(each.grad for each in [*layer.parameters(), *([x] if x.requires_grad else [])]), torch.get_rng_state()]


CASES = {
    "a module": lambda call, layer: lambda x: call(layer, x),
    "a method": lambda call, layer: lambda x: call(layer.forward, x),
    "a closure": lambda call, layer: lambda x: call(lambda x: layer(x), x),
    "a closure with a tensor": lambda call, layer: lambda x: call((lambda bias: lambda x: layer(x) + bias)(2 * x), x),
    "a dictionary": lambda call, layer: lambda x: call(lambda x: {"y": layer(x)}, x)["y"],
    "a tuple": lambda call, layer: lambda x: call(lambda x: (x, layer(x)), x)[1],
    "a list": lambda call, layer: lambda xs: call(lambda xs: layer(xs[0]), [xs]),
    "keywords": lambda call, layer: lambda x: call(lambda x, *, to: layer(x) * to, x, to=x * 2),
    "two segments": lambda call, layer: lambda x: call(layer, call(layer, x)),
}


@pytest.mark.parametrize("needs_gradient", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_without_checkpoint(layer, case, needs_gradient):
    found = []
    for call in (lambda function, *args, **kwargs: function(*args, **kwargs), checkpoint):
        layer.zero_grad()
        x = torch.arange(6.0).reshape(2, 3).div(10).requires_grad_(needs_gradient)
        found.append([each.clone() for each in outcome(CASES[case](call, layer), layer, x)])
    for plain, checkpointed in zip(*found):
        assert torch.equal(plain, checkpointed)


def test_the_activations_are_not_kept_where_they_can_be_computed_again(layer):
    runs = []

    def block(x):
        runs.append(torch.is_grad_enabled())
        return x.sin()

    checkpoint(block, torch.ones(2, requires_grad=True)).sum().backward()
    assert runs == [True]  # its closure holds the list, in which a tensor may be
    runs.clear()
    layer.register_forward_hook(lambda module, args, output: runs.append(torch.is_grad_enabled()))
    checkpoint(layer, torch.ones(2, 3, requires_grad=True)).sum().backward()
    assert runs == [False, True]
