"""bfloat16 and float16 parameters move at small learning rates, deterministically, in every rounding."""

import functools
import math

import pytest
import torch
from adopt_oracle import Oracle, assert_close

from shim.adopt import ADOPT
from shim.adopt.low_precision import round_stochastically_

LOW = [torch.bfloat16, torch.float16]
pytestmark = pytest.mark.torch_from(1, 8, "low-precision arithmetic on the CPU is not complete")


def trained(dtype, form, lr, steps, **group):
    p = torch.nn.Parameter(torch.ones(4, dtype=dtype))
    optimizer = ADOPT([{"params": [p], **group}], lr=lr, **form)
    for _ in range(steps):
        p.grad = torch.full((4,), 0.5, dtype=dtype)
        optimizer.step()
    return p, optimizer


@functools.lru_cache(maxsize=None)
def expected(lr, steps):
    oracle = Oracle(torch.ones(4))
    for _ in range(steps):
        oracle.step(torch.full((4,), 0.5), lr=lr)
    return oracle


@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("lr, steps", [(1e-4, 400), (1e-6, 2000)], ids=["1e-4", "1e-6"])
def test_small_updates_move_a_low_precision_weight_as_they_move_a_float32_one(form, dtype, lr, steps):
    oracle = expected(lr, steps)

    p, optimizer = trained(dtype, form, lr, steps)

    if lr == 1e-4:
        assert abs(oracle.p[0].item() - 0.96) < 0.0012
        assert abs(p[0].item() - 0.96) < 0.0096
    # With the compensation the weight is as exact as a float32 weight, which rounds by 2**-25 below 1.
    assert_close(p.double() + optimizer.state[p]["compensation"].double(), oracle.p, steps * 2**-25)


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_the_state_is_float32_and_survives_a_checkpoint(form, dtype):
    p, optimizer = trained(dtype, form, 1e-4, 5)

    restored = ADOPT([p], lr=1e-4, **form)
    restored.load_state_dict(optimizer.state_dict())

    for name in ("exp_avg", "exp_avg_sq", "compensation"):
        assert restored.state[p][name].dtype == torch.float32
        assert torch.equal(restored.state[p][name], optimizer.state[p][name])


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_steps_are_deterministic_and_do_not_use_the_random_generator(form, dtype):
    before = torch.get_rng_state()

    first, _ = trained(dtype, form, 1e-4, 50)
    second, _ = trained(dtype, form, 1e-4, 50)

    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def skip_without_arithmetic(dtype):
    try:
        torch.ones(2, dtype=dtype).sqrt().addcmul_(torch.ones(2, dtype=dtype), torch.ones(2, dtype=dtype))
    except RuntimeError as error:
        pytest.skip(f"torch {torch.__version__} has no such arithmetic on the CPU: {error}")


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_rounding_to_nearest_loses_small_updates_and_keeps_no_compensation(form, dtype):
    skip_without_arithmetic(dtype)

    p, optimizer = trained(dtype, form, 1e-4, 50, rounding="nearest")

    assert p.tolist() == [1.0] * 4, "the rounding eats each update of 1e-4"
    assert set(optimizer.state[p]) == {"step", "exp_avg", "exp_avg_sq"}
    assert optimizer.state[p]["exp_avg"].dtype == dtype


def test_an_infinite_weight_stays_infinite(form):
    p = torch.nn.Parameter(torch.tensor([60000.0, 1.0], dtype=torch.float16))
    optimizer = ADOPT([p], lr=10000.0, clip_exp=None, maximize=True, **form)

    for _ in range(4):
        p.grad = torch.tensor([1.0, 0.0], dtype=torch.float16)
        optimizer.step()

    assert p.tolist() == [float("inf"), 1.0]


def test_parameters_of_mixed_dtypes_in_one_group_move_alike(form):
    params = [torch.nn.Parameter(torch.ones(2, dtype=d)) for d in (torch.float32, torch.bfloat16, torch.float64)]
    optimizer = ADOPT(params, lr=1e-3, **form)

    for _ in range(100):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()

    exact = params[2][0].item()
    assert abs(params[0][0].item() - exact) < 1e-6
    assert abs(params[1][0].item() - exact) < 0.004


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_stochastic_rounding_reaches_the_exact_value_on_average(form, dtype):
    p = torch.nn.Parameter(torch.ones(4096, dtype=dtype))
    optimizer = ADOPT([{"params": [p], "rounding": "stochastic"}], lr=1e-4, **form)

    for _ in range(400):
        p.grad = torch.full_like(p, 0.5)
        optimizer.step()

    assert abs(p.double().mean().item() - 0.96) < 0.0096
    assert set(optimizer.state[p]) == {"step", "exp_avg", "exp_avg_sq"}
    assert optimizer.state[p]["exp_avg"].dtype == torch.float32


def test_stochastic_rounding_is_the_same_in_every_form():
    paths = []
    for form in [{"foreach": False}, {"foreach": True}, {"foreach": False, "capturable": True}]:
        # A parameter of another dtype lies between the two: the second of its dtype is still the third parameter.
        params = [torch.nn.Parameter(torch.ones(64, dtype=d)) for d in (LOW[0], torch.float32, LOW[0])]
        optimizer = ADOPT([{"params": params, "rounding": "stochastic"}], lr=1e-3, clip_exp=None, **form)
        for k in range(20):
            for p in params:
                p.grad = torch.full_like(p, 2.0 ** (k % 3))
            optimizer.step()
        paths.append(torch.stack(params[::2]))

    assert torch.equal(paths[0], paths[1]) and torch.equal(paths[0], paths[2])
    assert not torch.equal(paths[0][0], paths[0][1]), "each parameter has random numbers of its own"


# One value for each kind of neighbours, in both dtypes: normal numbers, either side of a power of 2, subnormals of
# float16, and values between zero and the smallest subnormal.
BETWEEN = [1.0001, -1.0001, 0.9999, 3.1415927, -1e-3, 65503.9, 2.0**-14 * 0.9999, 3.3e-6, 1e-8, -1e-8]


@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("value", BETWEEN)
def test_stochastic_rounding_takes_one_of_the_two_neighbours_and_is_unbiased(dtype, value):
    n = 100_000
    exact = torch.full((n,), value)
    param = torch.empty(n, dtype=dtype)

    round_stochastically_(param, exact, torch.tensor(7.0), 0)

    low, high = param.double().min().item(), param.double().max().item()
    nearest = exact.to(dtype)[0].double().item()
    assert low < exact[0].item() < high and nearest in (low, high)
    assert set(param.double().unique().tolist()) == {low, high}
    assert torch.tensor((low + high) / 2, dtype=torch.float64).to(dtype).double().item() in (low, high), "neighbours"
    # Five standard deviations of the mean of n choices between two values.
    up = (exact[0].item() - low) / (high - low)
    error = abs(param.double().mean().item() - exact[0].double().item())
    assert error < 5 * (high - low) * math.sqrt(up * (1 - up) / n)


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_stochastic_rounding_keeps_representable_values(dtype):
    info = torch.finfo(dtype)
    held = [0.0, 1.0, -2.5, info.tiny, info.max, -info.max, math.inf, -math.inf, math.nan]
    held += [2.0**-24, 5 * 2.0**-24]  # subnormal in float16
    held += [2.0**-130, -(2.0**-126)] if dtype == torch.bfloat16 else []  # subnormal, and nearly subnormal, in bfloat16
    exact = torch.tensor(held).repeat(100)
    param = torch.empty(len(exact), dtype=dtype)

    round_stochastically_(param, exact, torch.tensor(3.0), 1)

    assert_close(param, exact.double(), 0.0)


def test_stochastic_rounding_does_not_overflow_where_nearest_does_not():
    exact = torch.tensor([65504.0 + 15.9, 65504.0 + 16.1]).repeat(1000)
    param = torch.empty(2000, dtype=torch.float16)

    round_stochastically_(param, exact, torch.tensor(1.0), 0)

    assert set(param[::2].tolist()) == {65504.0} and set(param[1::2].tolist()) == {math.inf}


def test_random_numbers_of_stochastic_rounding_differ_by_step_position_and_element():
    exact = torch.full((1000,), 1.0 + 2.0**-8)  # in the middle of two bfloat16
    drawn = []
    for step, position in [(1.0, 0), (2.0, 0), (1.0, 1)]:
        param = torch.empty(1000, dtype=torch.bfloat16)
        round_stochastically_(param, exact, torch.tensor(step), position)
        drawn.append(param > 1)

    for first, second in [(0, 1), (0, 2), (1, 2)]:
        # Independent choices agree in a half of the cases: five standard deviations.
        assert abs((drawn[first] == drawn[second]).double().mean().item() - 0.5) < 5 * 0.5 / math.sqrt(1000)


def test_a_group_can_change_its_rounding_between_steps(form):
    skip_without_arithmetic(torch.bfloat16)
    p = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = ADOPT([p], lr=1e-3, **form)
    expected = {
        "compensated": (torch.float32, True),
        "stochastic": (torch.float32, False),
        "nearest": (torch.bfloat16, False),
    }

    for rounding in ["compensated", "stochastic", "nearest", "compensated"]:
        optimizer.param_groups[0]["rounding"] = rounding
        p.grad = torch.ones_like(p)
        optimizer.step()

        state = optimizer.state[p]
        assert (state["exp_avg"].dtype, "compensation" in state) == expected[rounding]
        assert state["exp_avg_sq"].dtype == state["exp_avg"].dtype
    assert state["step"].item() == 4.0


def test_an_unknown_rounding_is_refused_at_construction_and_at_the_step():
    p = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(
        ValueError, match="rounding must be one of 'compensated', 'stochastic', 'nearest', but got 'up'"
    ):
        ADOPT([{"params": [p], "rounding": "up"}])

    optimizer = ADOPT([p])
    optimizer.param_groups[0]["rounding"] = False
    with pytest.raises(ValueError, match="but got False"):
        optimizer.step()


def test_autograd_goes_through_a_stochastically_rounded_step():
    lr = torch.tensor(1e-2, requires_grad=True)
    start = torch.ones(8, dtype=torch.bfloat16, requires_grad=True)
    p = start.clone()
    optimizer = ADOPT([{"params": [torch.nn.Parameter(p.detach())], "rounding": "stochastic"}], differentiable=True)
    group = optimizer.param_groups[0]
    group["params"], group["lr"] = [p], lr
    p.grad = torch.ones_like(p)

    optimizer.step()
    optimizer.step()
    p.sum().backward()

    # The second step has the gradient of a step of lr * (1 - beta1) without rounding.
    assert abs(lr.grad.item() + 8 * 0.1) < 1e-6
