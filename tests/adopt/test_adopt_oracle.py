"""Every form of ADOPT against the oracle, 200 steps, over the options, layouts and extreme gradients."""

import functools
import math

import pytest
import torch
from adopt_oracle import Oracle, assert_close, real

from shim.adopt import ADOPT

STEPS = 200
TOLERANCE = {torch.float64: 1e-14, torch.float32: 2e-6}


def sqrt_clip(t):
    assert type(t) is float, "a clip gets a float in every form"
    return math.sqrt(t)


def constant_clip(t):
    return 0.7


DECAYS = {
    "no decay": {},
    "L2": {"weight_decay": 0.1},
    "decoupled": {"weight_decay": 0.1, "decouple": True},
}
CLIPS = {
    "default": ({}, lambda t: t**0.25),
    "constant": ({"clip_lambda": constant_clip}, constant_clip),
    "callable": ({"clip_lambda": sqrt_clip}, sqrt_clip),
    "exponent": ({"clip_exp": 0.333}, lambda t: t**0.333),
    "none": ({"clip_lambda": None}, None),
    "none, by exponent": ({"clip_exp": None}, None),
}


def randn(generator, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=generator).to(dtype)


def run(params, options, form, oracle_options, gradient, steps=STEPS, make=ADOPT):
    """Step ADOPT and one oracle for each parameter with the same gradients; return the oracles."""
    optimizer = make(params, **options, **form)
    oracles = [Oracle(real(p)) for p in params]
    for k in range(steps):
        for i, (p, oracle) in enumerate(zip(params, oracles)):
            p.grad = gradient(k, i, p)
            oracle.step(None if p.grad is None else real(p.grad), **oracle_options)
        optimizer.step()
    return optimizer, oracles


def check(params, optimizer, oracles):
    for p, oracle in zip(params, oracles):
        tolerance = TOLERANCE[real(p).dtype]
        assert_close(real(p), oracle.p, tolerance)
        if oracle.t:
            state = optimizer.state[p]
            assert state["step"].item() == oracle.t
            # A float32 kernel rounds beta2 by up to 3e-8 in each of 200 steps, as Adam's does. The averages show
            # that. The parameter is lr times as sensitive and does not show it.
            assert_close(real(state["exp_avg"]), oracle.m, tolerance * 3)
            assert_close(real(state["exp_avg_sq"]), oracle.v, tolerance * 3)


def skip_if_not_capturable(form, options):
    if form.get("capturable") and options.get("clip_lambda"):
        pytest.skip("capturable and a callable clip exclude each other")


@functools.lru_cache(maxsize=None)
def expected(clip, decay, maximize):
    """Return parameters, options, the gradients of each step, and the oracles. They are the same for every form."""
    generator = torch.Generator().manual_seed(0)
    params = [
        randn(generator, *shape, dtype=dtype).requires_grad_()
        for dtype in TOLERANCE
        for shape in [(3, 4), (5,), (2, 1, 3)]
    ]
    options = {"lr": 3e-3, "betas": (0.9, 0.99), "maximize": maximize, **DECAYS[decay]}
    steps = [[randn(generator, *p.shape, dtype=p.dtype) * 10 ** (k % 5 - 2) for p in params] for k in range(STEPS)]
    oracles = [Oracle(p) for p in params]
    for grads in steps:
        for grad, oracle in zip(grads, oracles):
            oracle.step(grad, **options, clip=clip)
    return params, options, steps, oracles


@pytest.mark.parametrize("maximize", [False, True], ids=["minimize", "maximize"])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("clip", CLIPS)
def test_agrees_with_the_oracle(form, clip, decay, maximize):
    clip_options, clip_function = CLIPS[clip]
    skip_if_not_capturable(form, clip_options)
    starts, options, steps, oracles = expected(clip_function, decay, maximize)
    params = [p.detach().clone().requires_grad_() for p in starts]

    optimizer = ADOPT(params, **options, **clip_options, **form)
    for grads in steps:
        for p, grad in zip(params, grads):
            p.grad = grad.clone()
        optimizer.step()

    check(params, optimizer, oracles)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_parameters_that_join_late_leave_and_come_back(form, dtype):
    # The first always has a gradient, the second from step 50 on, the third except in steps 100..150, the fourth never.
    present = [lambda k: True, lambda k: k >= 50, lambda k: not 100 <= k < 150, lambda k: False]
    generator = torch.Generator().manual_seed(1)
    params = [randn(generator, 4, dtype=dtype).requires_grad_() for _ in present]

    optimizer, oracles = run(
        params,
        {"lr": 3e-3},
        form,
        {"lr": 3e-3},
        lambda k, i, p: randn(generator, 4, dtype=dtype) if present[i](k) else None,
    )

    check(params, optimizer, oracles)
    assert [oracle.t for oracle in oracles] == [200, 150, 150, 0]
    assert params[3] not in optimizer.state


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_groups_keep_their_own_settings(form, dtype):
    generator = torch.Generator().manual_seed(2)
    settings = [
        {"lr": 1e-2, "weight_decay": 0.1},
        {"betas": (0.5, 0.9), "eps": 1e-3, "maximize": True},
        {"clip_exp": 0.5, "weight_decay": 0.1, "decouple": True},
        {"clip_exp": None},
    ]
    oracle_clips = [lambda t: t**0.25, lambda t: t**0.25, lambda t: t**0.5, None]
    params = [randn(generator, 3, dtype=dtype).requires_grad_() for _ in settings]
    optimizer = ADOPT([{"params": [p], **setting} for p, setting in zip(params, settings)], **form)
    oracles = [Oracle(p) for p in params]

    for _ in range(STEPS):
        for p, oracle, setting, clip in zip(params, oracles, settings, oracle_clips):
            p.grad = randn(generator, 3, dtype=dtype)
            oracle.step(p.grad, clip=clip, **{k: v for k, v in setting.items() if k != "clip_exp"})
        optimizer.step()

    check(params, optimizer, oracles)


def layouts(generator, dtype):
    base = randn(generator, 6, 8, dtype=dtype)
    yield "0-d", randn(generator, 1, dtype=dtype)[0].clone()
    yield "empty", torch.zeros(0, 3, dtype=dtype)
    yield "one element", randn(generator, 1, dtype=dtype)
    yield "transposed", base.t().clone(memory_format=torch.preserve_format)
    yield "strided view", base[::2, ::2]
    yield (
        "channels-last",
        randn(generator, 2, 3, 4, 4, dtype=dtype).contiguous(memory_format=torch.channels_last),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("decay", DECAYS)
def test_parameters_of_any_memory_layout_keep_their_strides(form, decay, dtype):
    generator = torch.Generator().manual_seed(3)
    params = [t.detach().requires_grad_() for _, t in layouts(generator, dtype)]
    strides = [p.stride() for p in params]

    optimizer, oracles = run(
        params,
        {"lr": 3e-3, **DECAYS[decay]},
        form,
        {"lr": 3e-3, **DECAYS[decay]},
        lambda k, i, p: randn(generator, *p.shape, dtype=dtype) if p.dim() else torch.tensor(math.sin(k), dtype=dtype),
    )

    check(params, optimizer, oracles)
    assert [p.stride() for p in params] == strides


@pytest.mark.torch_from(1, 8, "complex parameters are not settled")
@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64], ids=str)
@pytest.mark.parametrize("decay", DECAYS)
def test_complex_parameters_are_pairs_of_reals(form, decay, dtype):
    generator = torch.Generator().manual_seed(4)
    real_dtype = torch.float64 if dtype == torch.complex128 else torch.float32

    def complex_randn(*shape):
        return torch.view_as_complex(randn(generator, *shape, 2, dtype=real_dtype))

    params = [complex_randn(3, 2).requires_grad_(), complex_randn(4).requires_grad_()]
    options = {"lr": 3e-3, **DECAYS[decay]}

    optimizer, oracles = run(params, options, form, options, lambda k, i, p: complex_randn(*p.shape))

    check(params, optimizer, oracles)


def test_empty_groups_and_models_without_gradients_do_nothing(form):
    p = torch.ones(2, requires_grad=True)
    optimizer = ADOPT([{"params": []}, {"params": [p]}], **form)

    optimizer.step()

    assert p.tolist() == [1.0, 1.0] and len(optimizer.state) == 0


# One element each. The square of huge is finite in the dtype; the square of tiny is zero in it, far below eps.
EXTREMES = {
    torch.float32: [0.0, 1e15, -1e15, 1e-30, math.inf, -math.inf, math.nan],
    torch.float64: [0.0, 1e120, -1e120, 1e-300, math.inf, -math.inf, math.nan],
}


@pytest.mark.parametrize("clip", ["default", "none"])
@pytest.mark.parametrize("decay", DECAYS)
def test_extreme_gradients_go_through_as_in_the_oracle(form, decay, clip):
    clip_options, clip_function = CLIPS[clip]
    generator = torch.Generator().manual_seed(5)
    cases = [(dtype, when) for dtype in TOLERANCE for when in (0, 1, 7)]
    params = [randn(generator, len(EXTREMES[dtype]), dtype=dtype).requires_grad_() for dtype, _ in cases]
    options = {"lr": 1e-3, **DECAYS[decay]}

    def gradient(k, i, p):
        dtype, when = cases[i]
        return torch.tensor(EXTREMES[dtype], dtype=dtype) if k == when else randn(generator, len(p), dtype=dtype)

    optimizer, oracles = run(
        params, {**options, **clip_options}, form, {**options, "clip": clip_function}, gradient, steps=12
    )

    check(params, optimizer, oracles)


def test_all_gradients_zero_leave_the_parameter_alone(form):
    p = torch.tensor([1.0, -0.0, 2.0], requires_grad=True)
    optimizer = ADOPT([p], **form)

    for _ in range(3):
        p.grad = torch.zeros(3)
        optimizer.step()

    assert p.tolist() == [1.0, -0.0, 2.0]
