"""Checkpoints of other ADOPT implementations load. Those that cannot be continued are refused with a remedy.

The dictionaries below have the names that torch-adopt 0.1.0, timm 1.0.31 and pytorch_optimizer 4.1.0 write.
"""

import copy

import numpy
import pytest
import torch
from adopt_oracle import Oracle, assert_close

from shim.adopt import ADOPT
from shim.adopt._torch import HAS_FOREACH

GRADS = [torch.tensor([1.0, -2.0, 0.5]) * s for s in (1, -3, 2, 0.5, 4, -1)]
COMMON = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1, "params": [0]}
FLAGS = {"maximize": False, "foreach": None, "capturable": False, "differentiable": False}


def interrupted(clip):
    """Return an oracle after three steps, and its state as a checkpoint has it."""
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
    """Return a clip as in pytorch_optimizer, which counts the step before it clips."""
    return (t + 1) ** 0.25


WRITERS = {
    "reference": (reference, {}, lambda t: t**0.25),
    "older reference": (older_reference, {}, lambda t: t**0.25),
    "timm": (timm, {}, lambda t: t**0.333),
    "pytorch_optimizer": (pytorch_optimizer, {"clip_lambda": one_later}, one_later),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_checkpoint_of_another_implementation_continues(writer):
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
def test_missing_keys_and_none_are_replaced(damage):
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

    with pytest.raises(ValueError, match="Load the model only"):
        ADOPT([p]).load_state_dict(adam.state_dict())


def test_a_checkpoint_of_an_unknown_optimizer_says_what_to_do():
    p = torch.nn.Parameter(torch.ones(3))
    sgd = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = torch.ones(3)
    sgd.step()

    with pytest.raises(ValueError, match="momentum_buffer.*Load the model only"):
        ADOPT([p]).load_state_dict(sgd.state_dict())


@pytest.mark.parametrize("key", ["caution", "cautious", "stable_adamw", "fixed_decay", "corrected_weight_decay"])
def test_a_checkpoint_of_a_different_algorithm_is_refused(key):
    saved = timm(interrupted(None)[1])
    saved["param_groups"][0][key] = True

    with pytest.raises(ValueError, match=key):
        ADOPT([torch.nn.Parameter(torch.ones(3))]).load_state_dict(saved)


def trained():
    """Return an optimizer of two named parameters after two steps, in two groups."""
    params = [torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(4))]
    optimizer = ADOPT([{"params": [p], "param_names": [n]} for p, n in zip(params, ("weight", "bias"))], lr=0.5)
    for _ in range(2):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    return optimizer


def put(name, value):
    def damage(saved):
        state = saved["state"][saved["param_groups"][1]["params"][0]]  # torch 1.4 does not number the parameters
        state[name] = value(state[name]) if callable(value) else value

    return damage


def put_state(value):
    return lambda saved: saved["state"].update({saved["param_groups"][1]["params"][0]: value})


def emptied(value):
    """Return a tensor whose memory was freed: torch itself would read beyond it."""
    value = value.clone()
    value.storage().resize_(0)
    return value


def put_option(**options):
    return lambda saved: saved["param_groups"][1].update(options)


# Fault of a checkpoint -> a function that makes it, and the message of the error.
PARAMETER, GROUP = r"of parameter 1 \('bias'\) in the state_dict", r"param_groups\[1\] of the state_dict"
DAMAGES = {
    "shape": (put("exp_avg", torch.ones(5)), f"exp_avg {PARAMETER} has the shape \\[5\\], the parameter \\[4\\]"),
    "shape that broadcasts": (put("exp_avg_sq", torch.ones(())), f"exp_avg_sq {PARAMETER} has the shape"),
    "shape of the compensation": (put("compensation", lambda _: torch.ones(5)), f"compensation {PARAMETER} has"),
    "integers": (put("exp_avg", lambda v: v.long()), f"exp_avg {PARAMETER} has the dtype torch.int64"),
    "sparse": (put("exp_avg", lambda v: v.to_sparse()), f"exp_avg {PARAMETER} is a Tensor with torch.sparse_coo"),
    "a list": (put("exp_avg", [1.0] * 4), f"exp_avg {PARAMETER} is not a tensor, but of type list"),
    "negative step": (put("step", torch.tensor(-1.0)), f"step {PARAMETER} is not a number of steps"),
    "NaN step": (put("step", float("nan")), f"step {PARAMETER} is not a number of steps: nan"),
    "infinite step": (put("step", torch.tensor(float("inf"))), f"step {PARAMETER} is not a number of steps"),
    "half a step": (put("step", 2.5), f"step {PARAMETER} is not a number of steps"),
    "two steps": (put("step", torch.ones(2)), f"step {PARAMETER} is not a number of steps"),
    "a number in text": (put("step", "3"), f"step {PARAMETER} is not a number of steps: '3'"),
    "a number in bytes": (put("step", b"3"), f"step {PARAMETER} is not a number of steps: b'3'"),
    "two answers": (put_option(decouple=torch.ones(2)), f"{GROUP}: decouple must be True or False"),
    "a word": (put("step", "many"), f"step {PARAMETER} is not a number of steps"),
    "fused and foreach": (put_option(fused=True, foreach=True), f"{GROUP}: `fused` and `foreach`"),
    "fused and differentiable": (put_option(fused=True, differentiable=True), f"{GROUP}: `fused` does not"),
    "foreach and differentiable": (put_option(foreach=True, differentiable=True), f"{GROUP}: `foreach` does not"),
    "capturable and differentiable": (put_option(capturable=True, differentiable=True), f"{GROUP}: `capturable`"),
    "foreach and a tensor lr": (put_option(foreach=True, lr=torch.tensor(0.1)), f"{GROUP}: lr as a Tensor"),
    "two clips": (put_option(clip_lambda=one_later, clip_exp=0.5), f"{GROUP}: clip_lambda and clip_exp"),
    "capturable and a callable": (put_option(clip_lambda=one_later, clip_exp=None, capturable=True), "needs the step"),
    "more steps than the state can hold": (put("step", 1e39), f"step {PARAMETER} is not a number of steps: 1e\\+39"),
    "more steps than a float can be": (put("step", 10**400), f"step {PARAMETER} is not a number of steps"),
    "no memory": (put("exp_avg", emptied), f"exp_avg {PARAMETER} has less memory than its sizes say"),
    "a step without memory": (put("step", emptied), f"step {PARAMETER} has less memory than its sizes say"),
    "an lr without memory": (put_option(lr=emptied(torch.ones(()))), f"lr of {GROUP} has less memory"),
    "a beta without memory": (put_option(betas=(0.9, emptied(torch.ones(())))), f"betas of {GROUP} has less memory"),
    "a flag without memory": (put_option(maximize=emptied(torch.ones(()))), f"maximize of {GROUP} has less memory"),
    "another's flag without memory": (put_option(caution=emptied(torch.ones(()))), f"caution of {GROUP} has less"),
    "more decay than a float can be": (put_option(weight_decay=10**400), f"{GROUP}: Invalid weight_decay value"),
    "no state": (put_state(None), r"state of parameter 1 \('bias'\) in the state_dict is not a dict"),
    "one beta": (put_option(betas=(0.9,)), f"{GROUP}: betas must be two numbers"),
    "betas of text": (put_option(betas="xy"), f"{GROUP}: "),
    "betas that are none": (put_option(betas=5), f"{GROUP}: "),
    "betas out of range": (put_option(betas=(0.9, 2.0)), f"{GROUP}: Invalid beta parameter at index 1: 2.0"),
    "lr of text": (put_option(lr="x"), f"{GROUP}: "),
    "two lr": (put_option(lr=torch.ones(2)), f"{GROUP}: Tensor lr must be 1-element"),
    "negative lr": (put_option(lr=-1.0), f"{GROUP}: Invalid learning rate: -1.0"),
    "NaN lr": (put_option(lr=float("nan")), f"{GROUP}: Invalid learning rate: nan"),
    "negative eps": (put_option(eps=-1.0), f"{GROUP}: Invalid epsilon value: -1.0"),
    "negative weight decay": (put_option(weight_decay=-1.0), f"{GROUP}: Invalid weight_decay value: -1.0"),
    "negative clip": (put_option(clip_exp=-1.0), f"{GROUP}: Invalid clip_exp value: -1.0"),
    "a clip that is no callable": (put_option(clip_lambda=5), f"{GROUP}: clip_lambda must be a callable"),
    "rounding": (put_option(rounding="up"), f"{GROUP}: rounding must be one of"),
    "fewer parameters": (put_option(params=[]), "doesn't match the size"),
}
META = {
    "nested": (
        put("exp_avg", lambda v: torch.nested.nested_tensor([v[:1], v[1:]])),
        f"exp_avg {PARAMETER} is a nested tensor",
    ),
    "complex": (put("exp_avg_sq", lambda v: v.to(torch.complex64)), f"exp_avg_sq {PARAMETER} has the dtype"),
    "state on meta": (put("exp_avg", lambda v: v.to("meta")), f"exp_avg {PARAMETER} is on the meta device"),
    "step on meta": (put("step", lambda v: v.to("meta")), f"step {PARAMETER} is not a number of steps"),
}


@pytest.mark.parametrize(
    "name", [*DAMAGES, *(pytest.param(n, marks=pytest.mark.torch_from(2, 0, "meta")) for n in META)]
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_mismatch_is_named_and_changes_nothing(name):
    damage, message = {**DAMAGES, **META}[name]
    optimizer = trained()
    saved = optimizer.state_dict()
    saved["state"] = {i: {"compensation": None, **state} for i, state in copy.deepcopy(saved["state"]).items()}
    saved["param_groups"][0]["lr"] = 0.125
    saved["state"][saved["param_groups"][0]["params"][0]]["exp_avg"] += 1
    damage(saved)
    before = [{n: t.clone() for n, t in state.items()} for state in optimizer.state.values()]
    same = list(optimizer.state.values())

    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(saved)

    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
    assert all(old is new for old, new in zip(same, optimizer.state.values()))
    assert all(torch.equal(b[n], state[n]) for b, state in zip(before, optimizer.state.values()) for n in b)


#: Places in a checkpoint whose object is replaced by another one, or removed.
PLACES = {
    "all": (),
    "state": ("state",),
    "groups": ("param_groups",),
    "group": ("param_groups", 1),
    "params": ("param_groups", 1, "params"),
    "param": ("param_groups", 1, "params", 0),
    "betas": ("param_groups", 1, "betas"),
    "entry": ("state", 1),
    "moment": ("state", 1, "exp_avg_sq"),
    "average": ("state", 1, "exp_avg"),
    "step": ("state", 1, "step"),
}
ABSENT = object()
OTHERS = [
    ABSENT,
    None,
    5,
    0.5,
    "x",
    b"x",
    True,
    [],
    [5],
    [[5]],
    {},
    {"x": 5},
    {5: 5},
    (),
    ([5],),
    set(),
    object(),
    iter("x"),
]


def with_another(container, path, other):
    """Return a container with another object in a place."""
    if not path:
        return other
    changed = copy.copy(container)
    if path[1:]:
        other = with_another(container[path[0]], path[1:], other)
    if other is ABSENT:
        del changed[path[0]]
    else:
        changed[path[0]] = other
    return changed


@pytest.mark.parametrize("without", [None, "exp_avg", "step"])
@pytest.mark.parametrize("place", PLACES)
def test_any_checkpoint_loads_or_the_error_says_what_is_wrong(place, without):
    refused = 0
    for other in OTHERS:
        optimizer = trained()
        saved = optimizer.state_dict()
        saved["state"] = {number: dict(state) for number, (_, state) in enumerate(saved["state"].items())}
        for number, group in enumerate(saved["param_groups"]):
            group.update(params=[number], lr=0.125)
        if without and without not in PLACES[place]:
            del saved["state"][1][without]
        before = [{n: t.clone() for n, t in state.items()} for state in optimizer.state.values()]
        if other is ABSENT and not PLACES[place]:
            continue
        try:
            optimizer.load_state_dict(with_another(saved, PLACES[place], other))
        except (ValueError, TypeError) as error:
            refused += 1
            words = str(error)
            assert "state_dict" in words or "state dict" in words or "Load the model only" in words, (other, words)
            assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
            assert all(torch.equal(b[n], s[n]) for b, s in zip(before, optimizer.state.values()) for n in b)
        else:
            assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]

    assert refused


@pytest.mark.torch_from(2, 1, "no hooks of load_state_dict")
def test_hooks_see_a_state_before_it_is_checked_and_after_it_is_loaded():
    optimizer, other = trained(), trained()
    saved = optimizer.state_dict()
    saved["state"] = {i: {"momentum": s["exp_avg"], **s} for i, s in saved["state"].items()}  # ADOPT refuses it
    seen = []

    def before(_, state_dict):
        return {**state_dict, "state": {i: without(s, "momentum") for i, s in state_dict["state"].items()}}

    def after(optimizer):
        seen.extend(state["exp_avg"] for state in optimizer.state.values())

    other.register_load_state_dict_pre_hook(before)
    other.register_load_state_dict_post_hook(after)
    other.load_state_dict(saved)
    other.load_state_dict(saved)

    assert [a is b["exp_avg"] for a, b in zip(seen[2:], other.state.values())] == [True, True]
    assert len(other._optimizer_load_state_dict_pre_hooks) == len(other._optimizer_load_state_dict_post_hooks) == 1


def without(state, name):
    return {n: value for n, value in state.items() if n != name}


def test_state_of_no_parameter_is_loaded_as_it_is():
    optimizer = trained()
    saved = optimizer.state_dict()
    saved["state"]["epoch"] = 3

    optimizer.load_state_dict(saved)

    assert optimizer.state["epoch"] == 3


@pytest.mark.parametrize("form", [{}, {"foreach": False}, {"foreach": True}], ids=["default", "single", "foreach"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("key", [7, "ema"])
def test_state_of_no_parameter_is_no_obstacle_to_a_step(key, first, form):
    if form.get("foreach") and not HAS_FOREACH:
        pytest.skip("torch's own list operations came with 1.8")
    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = ADOPT(parameters, lr=0.5, **form)
    for round_ in range(3):
        for parameter in parameters:
            parameter.grad = torch.ones(3)
        optimizer.step()
        if round_ == 0:
            stray = {key: {name: value.clone() for name, value in optimizer.state[parameters[0]].items()}}
            states = {**stray, **optimizer.state} if first else {**optimizer.state, **stray}
            optimizer.state.clear()
            optimizer.state.update(states)
    assert [optimizer.state[parameter]["step"].item() for parameter in parameters] == [3, 3]
    assert optimizer.state[key]["step"].item() == 1


@pytest.mark.parametrize("name", ["lr", "betas", "eps", "weight_decay", "clip_exp"])
def test_an_option_that_no_step_takes_is_refused_when_it_is_loaded(name):
    """Otherwise a step would raise the error after the groups before it have moved."""
    optimizer = trained()
    for value in (numpy.array([0.1]), numpy.array(["0.1"]), [0.1], "0.1", torch.ones(2), 1j):
        saved = copy.deepcopy(optimizer.state_dict())
        saved["param_groups"][1][name] = (0.9, value) if name == "betas" else value
        try:
            optimizer.load_state_dict(saved)
        except ValueError as error:
            assert "param_groups[1]" in str(error) and optimizer.param_groups[1][name] is not value
        else:  # NumPy before 2.5 takes an array of one element for a number, and so does the step
            optimizer.step()
            assert type(value) is numpy.ndarray and float(value)


def test_a_refused_checkpoint_changes_nothing():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = ADOPT([p], lr=0.5)
    saved = timm(interrupted(None)[1])
    saved["param_groups"][0]["caution"] = True

    with pytest.raises(ValueError):
        optimizer.load_state_dict(saved)

    assert optimizer.param_groups[0]["lr"] == 0.5 and len(optimizer.state) == 0
