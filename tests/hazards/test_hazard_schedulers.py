"""LR schedulers, GradScaler and SWA work the same, built before or after activation, without new warnings"""

from __future__ import annotations

import sys
import warnings

from hazard_observer import NONE, observation

LIMIT = {"limit": "a scheduler built before activation goes on calling the unguarded step"}


def _model():
    import torch

    torch.manual_seed(0)
    return torch.nn.Linear(2, 2)


def _train(model, optimizer, scheduler=None, steps=3):
    import torch

    rates = []
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return [rates, model.weight.tolist()]


def _warned(caught):
    return sorted({str(w.message) for w in caught if w.category.__name__ != "NoneWeightDecayWarning"})


def _pair(name, weight_decay=0.0):
    import torch

    model = _model()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1, weight_decay=weight_decay)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)


def _scheduler_before(name, then):
    model, optimizer, scheduler = _pair(name)
    fresh = _pair(name)  # its scheduler has not seen a step yet, and checks for one
    seen = [_train(model, optimizer, scheduler)]
    yield
    optimizer.param_groups[0]["weight_decay"] = then
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen += [_train(model, optimizer, scheduler), _train(*fresh)]
    seen.append(_warned(caught))
    yield
    optimizer.param_groups[0]["weight_decay"] = 0.0
    return [*seen, _train(model, optimizer, scheduler)]


def _looks_its_functional_up(name):
    """Return whether the step of this release looks up a functional form at each call."""
    modules = [sys.modules.get("torch.optim." + module) for module in ("functional", "_functional", name.lower())]
    return any(callable(getattr(module, name.lower(), None)) for module in modules)


@observation
def scheduler_before():
    return (yield from _scheduler_before("SGD", 0.0))


@observation
def none_after_a_scheduler_adam():
    if not _looks_its_functional_up("Adam"):
        return LIMIT
    return (yield from _scheduler_before("Adam", NONE))


@observation
def none_after_a_scheduler_sgd():
    if not _looks_its_functional_up("SGD"):
        return LIMIT
    return (yield from _scheduler_before("SGD", NONE))


def _scheduler_after(name):
    early = _model()
    import torch

    # The optimizer is built before activation, and its scheduler after it.
    optimizer = getattr(torch.optim, name)(early.parameters(), lr=0.1)
    seen = [_train(early, optimizer)]
    yield
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.param_groups[0]["weight_decay"] = NONE
    late = _pair(name, NONE)
    seen += [_train(early, optimizer, scheduler), _train(*late)]
    yield
    for each in (optimizer, late[1]):
        each.param_groups[0]["weight_decay"] = 0.0
    return [*seen, _train(early, optimizer, scheduler), _train(*late)]


@observation
def scheduler_after():
    return (yield from _scheduler_after("Adam"))


@observation
def scheduler_after_asgd():
    """Up to torch 1.9 ASGD has no functional form, whose guard could hide a missing guard of the step."""
    return (yield from _scheduler_after("ASGD"))


@observation
def warnings_of_a_training_run():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _train(*_pair("Adam", NONE))
        _train(*_pair("SGD", NONE))
        model, optimizer, scheduler = _pair("AdamW", NONE)
        scheduler.step()  # before optimizer.step(): torch warns
        _train(model, optimizer, scheduler)
    return _warned(caught)


@observation
def grad_scaler():
    import torch

    amp = getattr(torch, "amp", None)
    if hasattr(amp, "GradScaler"):
        scaler = amp.GradScaler("cpu", init_scale=4.0)
    elif hasattr(torch.cuda, "amp") and hasattr(torch.cuda.amp, "GradScaler"):
        scaler = torch.cuda.amp.GradScaler(enabled=False)
    else:
        return None
    early = _pair("Adam")
    yield
    early[1].param_groups[0]["weight_decay"] = NONE
    seen = []
    for model, optimizer, _ in (early, _pair("Adam", NONE), _fused(NONE)):
        for batch in (
            1.0,
            float("inf"),
            1.0,
        ):  # with an infinite gradient the scaler skips the step and lowers the scale
            optimizer.zero_grad()
            scaler.scale(model(torch.full((1, 2), batch)).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        seen.append([str(model.weight.tolist()), scaler.get_scale()])  # as text, because a NaN must equal itself
    return seen


def _fused(weight_decay):
    """Return a pair as _pair does, with a fused Adam, which unscales by itself, if the release has one for the CPU."""
    import torch

    model = _model()
    try:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, weight_decay=weight_decay, fused=True)
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    except (TypeError, RuntimeError):  # there is no such argument, or it works only on GPUs
        return _pair("Adam", weight_decay)
    return model, optimizer, None


@observation
def swa():
    import torch

    if not hasattr(torch.optim, "swa_utils"):
        return None
    model, optimizer, _ = _pair("SGD", NONE)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    scheduler = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)
    for _ in range(3):
        _train(model, optimizer, scheduler, steps=1)
        averaged.update_parameters(model)
    return [averaged.module.weight.tolist(), optimizer.param_groups[0]["lr"]]


def test_a_scheduler_built_before_activation_trains_the_same_with_guards(same):
    same(scheduler_before)


def test_a_none_set_in_adam_after_an_early_scheduler_trains_as_zero(same):
    same(none_after_a_scheduler_adam)


def test_a_none_set_in_sgd_after_an_early_scheduler_trains_as_zero(same):
    same(none_after_a_scheduler_sgd)


def test_a_scheduler_built_after_activation_trains_the_same_with_guards(same):
    same(scheduler_after)


def test_a_scheduler_built_after_activation_for_asgd_trains_the_same_with_guards(same):
    same(scheduler_after_asgd)


def test_there_are_no_new_warnings(same):
    same(warnings_of_a_training_run)


def test_a_grad_scaler_skips_and_scales_the_same_with_guards(same):
    same(grad_scaler)


def test_averaged_models_train_the_same_with_guards(same):
    same(swa)
