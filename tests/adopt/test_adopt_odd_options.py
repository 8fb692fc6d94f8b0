"""A program may set any value in a group: every form computes the same with it, or raises the same error.

An option that chooses the form is left out if its value chooses another form than the compared one.
"""

import decimal
import fractions
import math
import random

import pytest
import torch
from adopt_oracle import assert_close

from shim.adopt import ADOPT, adopt

CASES = 60
OPTIONS = list(ADOPT([torch.ones(1)]).defaults)

#: A value of each kind that a program may set by mistake, each made from a number.
KINDS = (
    lambda x: None,
    lambda x: x,
    lambda x: -x,
    lambda x: int(x * 10),
    lambda x: x > 0.5,
    lambda x: math.nan,
    lambda x: math.inf * (x - 0.5),
    lambda x: 10.0 ** int(600 * x - 300),
    lambda x: 10**400,
    lambda x: complex(x, x),
    lambda x: str(x),
    lambda x: b"x",
    lambda x: "",
    lambda x: [x],
    lambda x: (x, x / 2),
    lambda x: (str(x), str(x)),
    lambda x: (x, None),
    lambda x: {x: x},
    lambda x: object(),
    lambda x: lambda t: x,
    lambda x: lambda t: None,
    lambda x: lambda t: 10.0 ** int(600 * x - 300),
    lambda x: lambda t: -(10.0 ** int(600 * x - 300)),
    lambda x: lambda t: 10**400,
    lambda x: lambda t: decimal.Decimal(x),
    lambda x: lambda t: fractions.Fraction(x),
    lambda x: lambda t: "x",
    lambda x: decimal.Decimal(x),
    lambda x: fractions.Fraction(x),
    lambda x: torch.tensor(x),
    lambda x: torch.tensor([x]),
    lambda x: torch.tensor([x, x / 2]),
    lambda x: torch.tensor(x > 0.5),
    lambda x: torch.tensor(int(x * 10)),
    lambda x: (torch.tensor(x), torch.tensor(x)),
    lambda x: "nearest",
)


def functional(optimizer):
    """Perform a step with adopt(), on the state of an optimizer."""
    for group in optimizer.param_groups:
        lists = [[] for _ in range(6)]
        optimizer._init_group(group, *lists)
        beta1, beta2 = group["betas"]
        names = ("lr", "clip_exp", "clip_lambda", "weight_decay", "decouple", "eps", "maximize")
        chosen = {name: group[name] for name in (*names, "foreach", "capturable", "differentiable", "fused")}
        with torch.no_grad():
            adopt(*lists[:5], compensations=lists[5], beta1=beta1, beta2=beta2, **chosen)


def run(options, take, dtype, decouple, name, value, since):
    """Return the parameters after some steps, and the class of the error that ended the steps."""
    params = [torch.nn.Parameter(torch.linspace(-1, 1, size).to(dtype)) for size in (3, 5)]
    optimizer = ADOPT(params, lr=0.1, weight_decay=0.01, decouple=decouple, **options)
    for k in range(4):
        if k == since:
            optimizer.param_groups[0][name] = value
        for p in params:
            p.grad = torch.linspace(1, 2, p.numel()).to(dtype) * (k + 1)
        try:
            take(optimizer)
        except Exception as error:
            return type(error), k, params
    return None, None, params


def truth(value):
    try:
        return bool(value)
    except (ValueError, RuntimeError):
        return None


def compares(options, name, value):
    """Return whether a form can be compared with foreach=False when an option has this value."""
    if name in ("foreach", "fused"):
        return not options.get("foreach") and not (name == "foreach" and options.get("fused"))
    if options.get("foreach") or options.get("fused"):
        # These forms raise a different error for values that they do not support.
        return not (name == "differentiable" and truth(value)) and not (
            options.get("foreach") and name == "lr" and isinstance(value, torch.Tensor)
        )
    return True


@pytest.mark.torch_from(1, 12, "its operations have other errors of their own")
@pytest.mark.parametrize("take", [ADOPT.step, functional], ids=["class", "functional"])
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.filterwarnings("ignore")
def test_an_odd_option_of_a_group_is_the_same_in_every_form(name, take, native_kernel):
    chance = random.Random(name)
    for number in range(CASES):
        value = KINDS[number % len(KINDS)](chance.random())
        case = (chance.choice([torch.float32, torch.bfloat16]), chance.random() < 0.5, name, value, chance.randrange(4))
        error, when, expected = run({"foreach": False}, ADOPT.step, *case)
        for options in ({}, {"foreach": True}, {"foreach": False}, {"fused": True}):
            if compares(options, name, value):
                got, at, params = run(options, take, *case)
                assert (got, at) == (error, when), (options, case)
                for p, q in zip(params, expected) if error is None else ():
                    assert_close(p, q.detach(), 1e-2 if case[0] is torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("form", [{}, {"foreach": False}, {"foreach": True}, {"fused": True}], ids=str)
@pytest.mark.parametrize(
    "name, value, message",
    [
        ("lr", None, "lr must be a number, but got None"),
        ("eps", "1e-6", "eps must be a number, but got '1e-6'"),
        ("betas", (0.9, None), "beta2 must be a number, but got None"),
        ("weight_decay", "0.1", "weight_decay must be a number, but got '0.1'"),
        ("clip_exp", [], r"clip_exp must be a number, but got \[\]"),
    ],
)
def test_an_option_that_is_no_number_is_named_before_anything_moves(form, name, value, message, native_kernel):
    params = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = ADOPT(params, **form)
    for p in params:
        p.grad = torch.ones(3)
    for _ in range(2):
        optimizer.step()
    before = [t.clone() for p in params for t in (p, *optimizer.state[p].values())]
    optimizer.param_groups[0][name] = value

    with pytest.raises(TypeError, match=message):
        optimizer.step()

    assert all(map(torch.equal, before, [t for p in params for t in (p, *optimizer.state[p].values())]))


@pytest.mark.parametrize("form", [{"foreach": True}, {"fused": True}], ids=str)
def test_an_unsupported_option_of_a_group_raises_the_error_of_the_constructor(form, native_kernel):
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = ADOPT([p], **form)
    p.grad = torch.ones(3)
    optimizer.param_groups[0]["differentiable"] = 1

    with pytest.raises(RuntimeError, match="does not support `differentiable`"):
        optimizer.step()


def test_a_clip_too_large_for_a_number_does_not_clip(form):
    params = []
    for clip_exp in (1e5, None):
        p = torch.nn.Parameter(torch.ones(3))
        optimizer = ADOPT([p], lr=0.1, **form)
        optimizer.param_groups[0]["clip_exp"] = clip_exp
        for gradient in (1.0, 1.0, 9.0, -1.0):  # the clip of step 1 is 1
            p.grad = torch.full_like(p, gradient)
            optimizer.step()
        params.append(p)

    assert torch.equal(*params)


@pytest.mark.parametrize("options", [{"lr": 1e39, "weight_decay": -1e39}, {"eps": 1e39, "lr": -1e39}], ids=str)
def test_two_options_too_large_for_float32_whose_sum_is_not_give_the_same_numbers(options, native_kernel):
    found = []
    for form in ({}, {"foreach": False}):
        p = torch.nn.Parameter(torch.ones(2))
        optimizer = ADOPT([p], **form)
        optimizer.param_groups[0].update(options)
        p.grad = torch.ones(2)
        try:
            optimizer.step()
            optimizer.step()
            found.append(p.tolist())
        except RuntimeError as error:
            found.append(str(error))
    assert found[0] == found[1]


@pytest.mark.parametrize("form", [{}, {"foreach": False}, {"fused": True}], ids=str)
@pytest.mark.parametrize("name", ["lr", "eps", "weight_decay", "clip_exp"])
def test_an_option_without_memory_is_an_error_and_not_a_crash(form, name, native_kernel):
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = ADOPT([p], **form)
    p.grad = torch.ones(2)
    optimizer.step()
    freed = torch.ones(())
    freed.storage().resize_(0)
    optimizer.param_groups[0][name] = freed

    with pytest.raises(ValueError, match=f"{name} has less memory than its sizes say"):
        optimizer.step()
    with pytest.raises(ValueError, match=f"{name} has less memory than its sizes say"):
        ADOPT([p], **{name: freed}, **form)
    assert torch.equal(p, torch.ones(2))
