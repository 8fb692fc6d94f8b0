"""ADOPT's Triton kernels give the numbers of the oracle and of the other forms; run by test_adopt_triton.py."""

from __future__ import annotations

import math

import pytest
import torch
from adopt_oracle import Oracle, assert_close
from test_adopt_oracle import CLIPS, DECAYS, EXTREMES, check, layouts, randn, run
from triton_pairs import BLOCK, DEVICE, INTERPRETED, Fused, on_device, pair, step_both

from shim.adopt import ADOPT

# The interpreter computes with numpy, which warns about NaN and overflow.
on_purpose = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize("maximize", [False, True], ids=["minimize", "maximize"])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("clip", ["default", "exponent", "none"])
def test_agrees_with_the_oracle(clip, decay, maximize):
    clip_options, clip_function = CLIPS[clip]
    generator = torch.Generator().manual_seed(0)
    params = [on_device(randn(generator, *shape)) for shape in [(3, 4), (0, 2), (5,)]]
    shared = {"lr": 3e-3, "betas": (0.9, 0.99), "maximize": maximize, **DECAYS[decay]}

    optimizer, oracles = run(
        params,
        {**shared, **clip_options},
        {},
        {**shared, "clip": clip_function},
        lambda k, i, p: (randn(generator, *p.shape) * 10 ** (k % 5 - 2)).to(DEVICE),
        steps=25 if INTERPRETED else 200,
        make=Fused,
    )

    check(params, optimizer, oracles)


def test_parameters_that_join_late_leave_and_come_back():
    present = [lambda k: True, lambda k: k >= 50, lambda k: not 100 <= k < 150, lambda k: False]
    generator = torch.Generator().manual_seed(1)
    params = [on_device(randn(generator, 4)) for _ in present]

    optimizer, oracles = run(
        params,
        {"lr": 3e-3},
        {},
        {"lr": 3e-3},
        lambda k, i, p: randn(generator, 4).to(DEVICE) if present[i](k) else None,
        make=Fused,
    )

    check(params, optimizer, oracles)
    assert [oracle.t for oracle in oracles] == [200, 150, 150, 0]


@pytest.mark.parametrize("decay", DECAYS)
def test_layouts_and_sizes_around_a_block_agree_with_the_oracle(decay):
    generator = torch.Generator().manual_seed(3)
    tensors = [t for _, t in layouts(generator, torch.float32)]
    tensors += [randn(generator, n) for n in (BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK)]
    flat = randn(generator, 2 * BLOCK + 4)
    tensors += [flat[:3], flat[3 : BLOCK + 3], flat[BLOCK + 3 :]]  # not aligned
    # (A move to the same device keeps the strides and the views.)
    params = [t.detach().to(DEVICE).requires_grad_() for t in tensors]
    strides = [p.stride() for p in params]

    def gradient(k, i, p):
        grad = torch.randn(p.shape, generator=generator).to(DEVICE)
        return grad if k % 2 else torch.empty_like(p).detach().copy_(grad)  # in the memory order of its parameter

    optimizer, oracles = run(
        params, {"lr": 3e-3, **DECAYS[decay]}, {}, {"lr": 3e-3, **DECAYS[decay]}, gradient, steps=6, make=Fused
    )

    check(params, optimizer, oracles)
    assert [p.stride() for p in params] == strides


def test_a_state_in_another_memory_order_than_its_parameter_gives_the_same_numbers():
    ours, fused, theirs, single = pair([(4, 6)])
    step_both(ours, fused, theirs, single, steps=2)
    state = fused.state[ours[0]]
    state["exp_avg"] = state["exp_avg"].t().contiguous().t()

    step_both(ours, fused, theirs, single)

    assert_close(ours[0], theirs[0], 1e-6)
    assert not state["exp_avg"].is_contiguous()
    assert_close(state["exp_avg"], single.state[theirs[0]]["exp_avg"], 1e-6)


def test_parameters_that_share_memory_step_one_after_the_other():
    base, other = (torch.linspace(-1, 1, 3 * BLOCK).to(DEVICE) for _ in range(2))
    ours, theirs = ([t[: 2 * BLOCK].requires_grad_(), t[BLOCK:].requires_grad_()] for t in (base, other))

    step_both(ours, Fused(ours, lr=0.1), theirs, ADOPT(theirs, lr=0.1, foreach=False, capturable=True), steps=3)

    assert_close(base, other, 1e-6)


@on_purpose
@pytest.mark.parametrize("clip", ["default", "none"])
@pytest.mark.parametrize("decay", DECAYS)
def test_extreme_gradients_go_through_as_in_the_oracle(decay, clip):
    clip_options, clip_function = CLIPS[clip]
    generator = torch.Generator().manual_seed(5)
    extremes = EXTREMES[torch.float32]
    whens = (0, 1, 7)
    params = [on_device(randn(generator, len(extremes))) for _ in whens]
    options = {"lr": 1e-3, **DECAYS[decay]}

    def gradient(k, i, p):
        return (torch.tensor(extremes) if k == whens[i] else randn(generator, len(p))).to(DEVICE)

    optimizer, oracles = run(
        params,
        {**options, **clip_options},
        {},
        {**options, "clip": clip_function},
        gradient,
        steps=12,
        make=Fused,
    )

    check(params, optimizer, oracles)


def test_found_inf_changes_nothing_at_all():
    ours, fused, theirs, single = pair([(3,), (2, 2)], dtype=torch.bfloat16, weight_decay=0.1)
    step_both(ours, fused, theirs, single)
    before = [[t.clone() for t in (p, *fused.state[p].values())] for p in ours]

    for p in ours:
        p.grad = torch.full_like(p, math.inf)
    fused.found_inf = torch.ones((), device=DEVICE)
    fused.step()

    for p, tensors in zip(ours, before):
        assert all(torch.equal(a, b) for a, b in zip((p, *fused.state[p].values()), tensors))

    fused.found_inf = torch.zeros((), device=DEVICE)
    fused.step()
    assert fused.state[ours[0]]["step"].item() == 6.0


def test_the_gradients_are_divided_by_grad_scale_and_left_alone():
    ours, fused, theirs, single = pair([(7,)])
    fused.grad_scale = torch.tensor(3.0, device=DEVICE)
    for k in range(5):
        theirs[0].grad = torch.sin(torch.arange(7.0) + k).to(DEVICE)
        scaled = theirs[0].grad * 3.0
        ours[0].grad = scaled.clone()
        fused.step()
        single.step()

    assert torch.equal(ours[0].grad, scaled)
    assert_close(ours[0], theirs[0], 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_learning_rate_in_a_tensor_is_read_at_each_step(dtype):
    lr = torch.tensor([0.1], dtype=dtype, device=DEVICE)
    p = on_device(torch.ones(3))
    oracle = Oracle(p)
    optimizer = Fused([p], lr=lr)

    for k in range(6):
        lr.fill_(0.1 / (k + 1))
        p.grad = torch.full((3,), 0.5, device=DEVICE)
        optimizer.step()
        oracle.step(p.grad, lr=0.1 / (k + 1))

    assert_close(p, oracle.p, 1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_compensated_weight_is_as_good_as_a_float32_one(dtype):
    p = on_device(torch.ones(5, dtype=dtype))
    optimizer, (oracle,) = run(
        [p],
        {"lr": 1e-4, "weight_decay": 0.1},
        {},
        {"lr": 1e-4, "weight_decay": 0.1},
        lambda k, i, p: torch.full_like(p, 0.5),
        make=Fused,
    )

    state = optimizer.state[p]
    assert_close(p.double() + state["compensation"].double(), oracle.p, 2e-6)
    # Triton's interpreter truncates to bfloat16; a GPU rounds.
    units = 1.0 if INTERPRETED and dtype == torch.bfloat16 else 0.5
    assert (p.double() - oracle.p).abs().max().item() <= units * torch.finfo(dtype).eps / 2 + 2e-6
    assert {state[name].dtype for name in ("exp_avg", "exp_avg_sq", "compensation")} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_stochastic_rounding_is_that_of_the_other_forms(dtype):
    # A float32 parameter lies between the two: the second bfloat16 parameter is the third one.
    shapes = [(BLOCK + 5,), (3, 3), (100,)]
    ours, fused, theirs, single = pair(shapes, dtype=dtype, rounding="stochastic", clip_exp=None)
    for params in (ours, theirs):
        params[1].data = params[1].data.float()

    step_both(ours, fused, theirs, single, steps=10)

    for p, q in zip(ours, theirs):
        # The averages may differ in a last place of float32, which hardly ever shows.
        assert (p != q).double().mean().item() < 0.01
        assert_close(p, q, 4 * torch.finfo(p.dtype).eps)
    assert set(fused.state[ours[0]]) == {"step", "exp_avg", "exp_avg_sq"}


@on_purpose
def test_stochastic_rounding_in_extremes_is_that_of_the_other_forms():
    values = [0.0, 1e-7, -3e-8, 6e-5, 65504.0, -65504.0, math.inf, -math.inf, math.nan]
    ours, theirs = ([on_device(torch.tensor(values, dtype=torch.float16).repeat(50))] for _ in range(2))
    group = {"lr": 1e-7, "rounding": "stochastic", "clip_exp": None}

    step_both(
        ours,
        Fused([{"params": ours, **group}]),
        theirs,
        ADOPT([{"params": theirs, **group}], foreach=False, capturable=True),
    )

    assert_close(ours[0], theirs[0].double(), 0.0)


def test_rounding_to_nearest_keeps_the_state_in_the_parameters_dtype():
    ours, fused, theirs, single = pair([(50,)], dtype=torch.float16, rounding="nearest")

    step_both(ours, fused, theirs, single)

    # The other forms round after each operation, the kernel once.
    assert_close(ours[0], theirs[0], 8 * torch.finfo(torch.float16).eps)
    assert fused.state[ours[0]]["exp_avg"].dtype == torch.float16


@pytest.mark.parametrize("rounding", ["compensated", "stochastic"])
def test_the_first_step_leaves_the_parameter_and_waits_even_for_a_nan(rounding):
    ours, fused, _, _ = pair([(9,)], dtype=torch.bfloat16, rounding=rounding, weight_decay=0.1, decouple=True)
    before = ours[0].clone()

    ours[0].grad = torch.full_like(ours[0], math.nan)
    fused.step()

    assert torch.equal(ours[0], before)
    assert fused.state[ours[0]]["exp_avg_sq"].isnan().all() and not fused.state[ours[0]]["exp_avg"].any()


@pytest.mark.parametrize("lr", [0.0, "tensor"])
def test_a_first_step_with_neither_lr_nor_gradient_makes_the_state_and_does_not_count(lr):
    params = [on_device(torch.ones(n)) for n in (3, 2 * BLOCK + 1, 4, 0)]
    lr = torch.zeros((), device=DEVICE) if lr == "tensor" else lr
    optimizer = Fused(params, lr=lr, weight_decay=0.1)
    for p in params:
        p.grad = torch.zeros_like(p)
    params[1].grad[-1] = 1.0  # nonzero in the second block only
    params[2].grad[0] = math.nan
    optimizer.step()

    states = [optimizer.state[p] for p in params]
    assert [state["step"].item() for state in states] == [0.0, 1.0, 1.0, 0.0]
    assert not states[0]["exp_avg_sq"].any() and states[1]["exp_avg_sq"].all()

    optimizer.step()
    assert [state["step"].item() for state in states] == [0.0, 2.0, 2.0, 0.0]


@pytest.mark.parametrize("t", [-1.0, math.nan])
def test_an_impossible_step_count_gives_the_numbers_of_the_other_forms(t):
    ours, fused, theirs, single = pair([(3,)])
    step_both(ours, fused, theirs, single, steps=1)
    for optimizer, params in ((fused, ours), (single, theirs)):
        optimizer.state[params[0]]["step"].fill_(t)

    step_both(ours, fused, theirs, single, steps=1)

    assert ours[0].isnan().all() and theirs[0].isnan().all()


def test_a_step_count_set_back_to_zero_starts_the_state_anew():
    ours, fused, theirs, single = pair([(3,)])
    step_both(ours, fused, theirs, single)
    for optimizer, params in ((fused, ours), (single, theirs)):
        optimizer.state[params[0]]["step"].zero_()

    step_both(ours, fused, theirs, single)

    assert_close(ours[0], theirs[0], 1e-6)
