"""Checkpoints of the other ADOPTs load; what cannot be continued is refused with what to do.

The dictionaries below have the names that torch-adopt 0.1.0, timm 1.0.31 and pytorch_optimizer 4.1.0 write.
"""

import pytest
import torch
from adopt_oracle import Oracle, assert_close

from shim.adopt import ADOPT

GRADS = [torch.tensor([1.0, -2.0, 0.5]) * s for s in (1, -3, 2, 0.5, 4, -1)]
COMMON = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1, "params": [0]}
FLAGS = {"maximize": False, "foreach": None, "capturable": False, "differentiable": False}


def interrupted(clip):
    """Return an oracle after three steps, and a checkpoint's state of it."""
    oracle = Oracle(torch.ones(3))
    for grad in GRADS[:3]:
        oracle.step(grad, lr=0.02, betas=(0.8, 0.95), weight_decay=0.1, decouple=True, clip=clip)
    return oracle, {"exp_avg": oracle.m.float(), "exp_avg_sq": oracle.v.float()}


def reference(state, clip_key="decouple"):
    return {
        "state": {0: {"step": torch.tensor(3.0), **state}},
        "param_groups": [{**COMMON, **FLAGS, clip_key: True, "fused": None}],
    }


def older_reference(state):
    return reference(state, "decoupled")


def timm(state):
    group = {**COMMON, **FLAGS, "decoupled": True, "clip_exp": 0.333, "caution": False}
    group.update(corrected_weight_decay=False, max_lr_snapshot=0.02)
    return {"state": {0: {"step": torch.tensor(3.0), **state}}, "param_groups": [group]}


def pytorch_optimizer(state):
    group = {**COMMON, "weight_decouple": True, "fixed_decay": False, "foreach": None, "step": 3}
    return {"state": {0: state}, "param_groups": [group]}


def one_later(t):
    """Clip as pytorch_optimizer does, which counts the step before it clips."""
    return (t + 1) ** 0.25


WRITERS = {
    "reference": (reference, {}, lambda t: t**0.25),
    "older reference": (older_reference, {}, lambda t: t**0.25),
    "timm": (timm, {}, lambda t: t**0.333),
    "pytorch_optimizer": (pytorch_optimizer, {"clip_lambda": one_later}, one_later),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_run_of_another_implementation_goes_on(writer):
    write, options, clip = WRITERS[writer]
    oracle, state = interrupted(clip)
    p = torch.nn.Parameter(oracle.p.float())
    optimizer = ADOPT([p], **options)

    optimizer.load_state_dict(write(state))
    for grad in GRADS[3:]:
        p.grad = grad.clone()
        optimizer.step()
        oracle.step(grad, lr=0.02, betas=(0.8, 0.95), weight_decay=0.1, decouple=True, clip=clip)

    assert_close(p, oracle.p, 1e-6)
    assert optimizer.state[p]["step"].item() == 6.0


@pytest.mark.parametrize("damage", ["step is a number", "no step", "no exp_avg", "None", "no keys"])
def test_what_is_missing_or_none_is_mended(damage):
    _, state = interrupted(lambda t: t**0.25)
    saved = reference(state)
    if damage == "step is a number":
        saved["state"][0]["step"] = 3
    elif damage == "no step":
        del saved["state"][0]["step"]
    elif damage == "no exp_avg":
        del saved["state"][0]["exp_avg"]
    elif damage == "None":
        saved["state"][0]["step"] = None
        saved["param_groups"][0].update(decouple=None, maximize=None, lr=None)
    else:
        saved["param_groups"] = [{"params": [0]}]
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = ADOPT([p], lr=0.02, decouple=True)

    optimizer.load_state_dict(saved)
    p.grad = torch.ones(3)
    optimizer.step()

    assert bool(torch.isfinite(p).all()) and not torch.equal(p, torch.ones(3))
    assert optimizer.param_groups[0]["lr"] == 0.02 and optimizer.param_groups[0]["decouple"] is True
    assert optimizer.state[p]["step"].item() == (2.0 if damage in ("no step", "None") else 4.0)


@pytest.mark.parametrize("other", [torch.optim.Adam, torch.optim.AdamW])
def test_an_adam_checkpoint_says_what_to_do(other):
    p = torch.nn.Parameter(torch.ones(3))
    adam = other([p])
    p.grad = torch.ones(3)
    adam.step()

    with pytest.raises(ValueError, match="load the model only"):
        ADOPT([p]).load_state_dict(adam.state_dict())


def test_a_checkpoint_of_a_stranger_says_what_to_do():
    p = torch.nn.Parameter(torch.ones(3))
    sgd = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = torch.ones(3)
    sgd.step()

    with pytest.raises(ValueError, match="momentum_buffer.*Load the model only"):
        ADOPT([p]).load_state_dict(sgd.state_dict())


@pytest.mark.parametrize("key", ["caution", "cautious", "stable_adamw", "fixed_decay", "corrected_weight_decay"])
def test_other_mathematics_is_refused(key):
    saved = timm(interrupted(None)[1])
    saved["param_groups"][0][key] = True

    with pytest.raises(ValueError, match=key):
        ADOPT([torch.nn.Parameter(torch.ones(3))]).load_state_dict(saved)


def test_a_refused_checkpoint_changes_nothing():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = ADOPT([p], lr=0.5)
    saved = timm(interrupted(None)[1])
    saved["param_groups"][0]["caution"] = True

    with pytest.raises(ValueError):
        optimizer.load_state_dict(saved)

    assert optimizer.param_groups[0]["lr"] == 0.5 and len(optimizer.state) == 0
