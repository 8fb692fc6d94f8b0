"""torch.func.functional_call, stateless steps, swap_in_optimizer_params_and_state"""

from __future__ import annotations

import importlib

from hazard_observer import NONE, observation


def _model():
    import torch

    torch.manual_seed(0)
    return torch.nn.Linear(2, 2)


@observation
def functional_call():
    import torch

    try:
        from torch.func import functional_call
    except ImportError:
        try:
            from torch.nn.utils.stateless import functional_call
        except ImportError:
            return None
    model = _model()
    parameters = {name: torch.nn.Parameter(value.detach().clone()) for name, value in model.named_parameters()}
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=0.1, weight_decay=NONE)
    for _ in range(3):
        optimizer.zero_grad()
        functional_call(model, parameters, (torch.ones(1, 2),)).sum().backward()
        optimizer.step()
    return [value.tolist() for value in parameters.values()]


def _swapped(optimizer, values, state):
    import torch

    with torch.optim.swap_in_optimizer_params_and_state(optimizer, values, state):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.full_like(parameter, 0.5)
        optimizer.step()


@observation
def swapped_in():
    """Step on other parameters and another state, whose groups may hold None."""
    import copy

    import torch

    if not hasattr(torch.optim, "swap_in_optimizer_params_and_state"):
        return None
    seen = []
    for cls in (torch.optim.Adam, torch.optim.SGD):
        model = _model()
        optimizer = cls(model.parameters(), lr=0.1, weight_decay=NONE)
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        state = copy.deepcopy(optimizer.state_dict())
        state["param_groups"][0]["weight_decay"] = NONE
        values = {name: value.detach().clone() for name, value in model.named_parameters()}
        _swapped(optimizer, values, state)
        seen.append([[value.tolist() for value in values.values()], model.weight.tolist()])
    return seen


@observation
def make_functional_step():
    """Call the functional form on plain tensors, as code without optimizers does."""
    import torch

    functional = importlib.import_module("torch.optim._functional")
    tensors = [torch.ones(2)]
    keywords = {"weight_decay": NONE, "lr": 0.1, "momentum": 0.0, "dampening": 0.0, "nesterov": False}
    for more in ({}, {"maximize": False}):
        try:
            functional.sgd(tensors, [torch.full((2,), 0.5)], [None], **keywords, **more)
        except TypeError as error:
            if "maximize" not in str(error):
                raise
    return tensors[0].tolist()


def test_functional_call_trains_a_none_as_zero(same):
    same(functional_call)


def test_swapped_in_parameters_and_state_with_none_train_as_with_zero(same):
    same(swapped_in)


def test_a_functional_step_without_an_optimizer_takes_none_as_zero(same):
    same(make_functional_step)
