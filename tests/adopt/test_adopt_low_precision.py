"""bfloat16 and float16 parameters move at small learning rates, deterministically."""

import pytest
import torch
from adopt_oracle import Oracle, assert_close

from shim.adopt import ADOPT

LOW = [torch.bfloat16, torch.float16]
pytestmark = pytest.mark.torch_from(1, 8, "low-precision arithmetic on the CPU is not complete")


def trained(dtype, form, lr, steps, **group):
    p = torch.nn.Parameter(torch.ones(4, dtype=dtype))
    optimizer = ADOPT([{"params": [p], **group}], lr=lr, **form)
    for _ in range(steps):
        p.grad = torch.full((4,), 0.5, dtype=dtype)
        optimizer.step()
    return p, optimizer


@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("lr, steps", [(1e-4, 400), (1e-6, 2000)], ids=["1e-4", "1e-6"])
def test_a_weight_does_not_stand_still(form, dtype, lr, steps):
    oracle = Oracle(torch.ones(4))
    for _ in range(steps):
        oracle.step(torch.full((4,), 0.5), lr=lr)

    p, optimizer = trained(dtype, form, lr, steps)

    if lr == 1e-4:
        assert abs(oracle.p[0].item() - 0.96) < 0.0012
        assert abs(p[0].item() - 0.96) < 0.0096
    # With the compensation the weight is as good as a float32 one, which rounds by 2**-25 below 1.
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
def test_it_is_deterministic_and_leaves_the_random_generator_alone(form, dtype):
    before = torch.get_rng_state()

    first, _ = trained(dtype, form, 1e-4, 50)
    second, _ = trained(dtype, form, 1e-4, 50)

    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_compensate_false_is_the_plain_behaviour(form, dtype):
    try:
        torch.ones(2, dtype=dtype).sqrt().addcmul_(torch.ones(2, dtype=dtype), torch.ones(2, dtype=dtype))
    except RuntimeError as error:
        pytest.skip(f"torch {torch.__version__} has no such arithmetic on the CPU: {error}")

    p, optimizer = trained(dtype, form, 1e-4, 50, compensate=False)

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


def test_mixed_dtypes_in_one_group(form):
    params = [torch.nn.Parameter(torch.ones(2, dtype=d)) for d in (torch.float32, torch.bfloat16, torch.float64)]
    optimizer = ADOPT(params, lr=1e-3, **form)

    for _ in range(100):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()

    exact = params[2][0].item()
    assert abs(params[0][0].item() - exact) < 1e-6
    assert abs(params[1][0].item() - exact) < 0.004
