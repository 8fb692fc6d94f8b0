"""Property-based: any problem, in any form, follows the oracle."""

import pytest
import torch
from adopt_oracle import Oracle, assert_close

from shim.adopt import ADOPT

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

# The tolerance relative to the size of the numbers. A bfloat16 parameter is compared with its compensation added.
TOLERANCE = {torch.float64: 1e-14, torch.float32: 2e-6, torch.bfloat16: 2e-6}

problems = st.fixed_dictionaries(
    {
        "lr": st.floats(0.0, 0.1),
        "betas": st.tuples(st.floats(0.0, 0.999), st.floats(0.0, 0.9999)),
        "eps": st.floats(1e-8, 1.0),
        "weight_decay": st.one_of(st.just(0.0), st.floats(0.0, 0.5)),
        "decouple": st.booleans(),
        "maximize": st.booleans(),
        "clip_exp": st.one_of(st.none(), st.floats(0.0, 1.0)),
    }
)
# For each parameter, its size and the steps in which it has a gradient.
presence = st.lists(
    st.tuples(st.integers(0, 70), st.lists(st.booleans(), min_size=12, max_size=12)), min_size=1, max_size=5
)


@pytest.mark.torch_from(1, 8, "low-precision arithmetic on the CPU is not complete")
@hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    # The form is the same for all examples.
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(
    options=problems,
    presence=presence,
    dtype=st.sampled_from(sorted(TOLERANCE, key=str)),
    seed=st.integers(0, 2**20),
    magnitude=st.integers(-8, 8),
)
def test_any_problem_follows_the_oracle(form, options, presence, dtype, seed, magnitude):
    generator = torch.Generator().manual_seed(seed)
    params = [torch.randn(n, generator=generator).to(dtype).requires_grad_() for n, _ in presence]
    oracles = [Oracle(p) for p in params]
    optimizer = ADOPT(params, **options, **form)
    oracle_options = dict(options)
    exponent = oracle_options.pop("clip_exp")
    clip = None if exponent is None else lambda t: t**exponent

    for k in range(12):
        for p, oracle, (n, present) in zip(params, oracles, presence):
            grad = (torch.randn(n, generator=generator).double() * 10.0**magnitude).to(dtype) if present[k] else None
            p.grad = grad
            oracle.step(grad, clip=clip, **oracle_options)
        optimizer.step()

    for p, oracle in zip(params, oracles):
        rest = optimizer.state[p]["compensation"] if dtype == torch.bfloat16 and p in optimizer.state else 0.0
        # Without a clip a quotient may be as large as |g| / eps, and its rounding error is larger by the same factor.
        scale = max(1.0, oracle.m.abs().max().item() if oracle.m.numel() else 1.0)
        assert_close(p.detach().double() + rest, oracle.p, TOLERANCE[dtype] * scale)


@hypothesis.settings(max_examples=50, deadline=None, derandomize=True)
@hypothesis.given(options=problems, seed=st.integers(0, 2**20))
def test_any_state_survives_a_state_dict(options, seed):
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(4, generator=generator).requires_grad_()
    optimizer = ADOPT([p], **options)
    for _ in range(3):
        p.grad = torch.randn(4, generator=generator)
        optimizer.step()
    q = p.detach().clone().requires_grad_()
    restored = ADOPT([q])

    restored.load_state_dict(optimizer.state_dict())
    for _ in range(3):
        p.grad = torch.randn(4, generator=generator)
        q.grad = p.grad.clone()
        optimizer.step()
        restored.step()

    assert torch.equal(p, q)
