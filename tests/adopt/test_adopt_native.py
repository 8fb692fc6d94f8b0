"""The native kernel of ADOPT steps the parameters that it supports, and leaves the others to another form."""

from __future__ import annotations

import random

import pytest
import torch
from adopt_oracle import assert_close
from native_steps import NEEDS_KERNEL, OPTIONS, as_parameters, ordinary, steps

from shim.adopt import ADOPT, adopt, native
from shim.adopt.low_precision import LOW_PRECISION

pytestmark = NEEDS_KERNEL


@pytest.fixture
def refused(monkeypatch):
    """Return a list to which each group adds the number of parameters that the kernel left to another form."""
    counts = []
    step, try_group = native.step_, native.try_group

    def counting(*args, **kwargs):
        left = step(*args, **kwargs)
        counts.append(len(left))
        return left

    def counting_groups(*args):
        whole = try_group(*args)
        counts.extend([0] * whole)
        return whole

    monkeypatch.setattr(native, "step_", counting)
    monkeypatch.setattr(native, "try_group", counting_groups)
    return counts


@pytest.fixture(params=["in C", "in Python"])
def looked_at(request, monkeypatch):
    """Inspect the tensors from C and from Python. With an old torch it is possible only from Python."""
    if request.param == "in Python":
        monkeypatch.setattr(native, "_inspects", False)
    elif not native._inspects:
        pytest.skip(f"torch {torch.__version__}: tensors are not read directly")


def float16():
    return as_parameters([t.half() for t in ordinary()])


def strided():
    return as_parameters([torch.zeros(8, 6)[::2, ::2].copy_(t) for t in ordinary()])


def of_a_class():
    class Marked(torch.nn.Parameter):
        pass

    return [Marked(t) for t in ordinary()]


def sharing():
    base = ordinary()[0]
    return as_parameters([base, base[1:], base[:2]])


def of_all_kinds():
    a, b, c = ordinary()
    channels_last = torch.ones(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    return as_parameters([a.t(), a, b.double(), c.bfloat16(), channels_last])


# Kind of the parameters -> how many of them the kernel leaves to another form.
CASES = {of_all_kinds: 0, sharing: 0, float16: 3, strided: 3, of_a_class: 3}


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_parameters_that_the_kernel_cannot_take_get_the_same_result_another_way(make, refused, looked_at):
    params, others = make(), make()
    with torch.no_grad():
        for p, q in zip(params, others):
            q.copy_(p)
    grads = [torch.ones_like(p) for p in params]

    steps(params, grads, fused=True)
    steps(others, grads, foreach=False)

    assert refused == [CASES[make]] * 4
    for p, q in zip(params, others):
        assert_close(p, q.detach(), 1e-3 if p.dtype in LOW_PRECISION else 2e-6)


def odd_gradients():
    p = ordinary()[0]
    yield "expanded", torch.ones(4, 1).expand(4, 3)
    yield "transposed", torch.ones(3, 4).t()
    yield "every other", torch.arange(48.0).reshape(8, 6)[::2, ::2]
    if hasattr(torch.Tensor, "is_neg"):
        yield "negated lazily", torch.randn(4, 3, dtype=torch.complex64).conj().imag
    yield "the parameter itself", p


@pytest.mark.parametrize("name, grad", list(odd_gradients()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_gradient_in_another_layout_gives_the_same_numbers(name, grad, refused, looked_at):
    p, q = (torch.nn.Parameter(ordinary()[0]) for _ in range(2))

    optimizers = ADOPT([p], **OPTIONS, fused=True), ADOPT([q], **OPTIONS, foreach=False)
    for _ in range(3):
        p.grad, q.grad = grad, grad.clone()
        for optim in optimizers:
            optim.step()

    assert_close(p, q.detach(), 2e-6)
    assert refused == [0 if name == "the parameter itself" else 1] * 3


def reshaped(p):
    p.data = p.data.view(3, 4)


def shortened(p):
    p.data = p.data[:2]


def of_another_dtype(p):
    p.grad.data = p.grad.data.double()


def sparse(p):
    p.grad = p.grad.to_sparse()


def without_gradient(p):
    p.grad = None


def in_low_precision(p):
    p.data = p.data.bfloat16()


@pytest.mark.parametrize(
    "change",
    [reshaped, shortened, of_another_dtype, sparse, without_gradient, in_low_precision],
    ids=lambda f: f.__name__,
)
def test_changes_of_a_tensor_between_two_steps_are_detected(change):
    def run(**form):
        params = as_parameters(ordinary())
        optim = steps(params, [torch.ones_like(p) for p in params], **form)
        change(params[1])
        try:
            optim.step()
        except RuntimeError as error:
            return str(error)
        return [p.detach().float() for p in params]

    fused, single = run(fused=True), run(foreach=False)

    assert type(fused) is type(single)
    if isinstance(single, str):
        assert fused == single
    else:
        for p, q in zip(fused, single):
            assert_close(p, q, 1e-2 if change is in_low_precision else 2e-6)


def test_a_step_runs_no_line_of_python_per_parameter(monkeypatch):
    if not native._inspects:
        pytest.skip(f"torch {torch.__version__}: tensors are not read directly")
    params = as_parameters(ordinary())
    optim = steps(params, [torch.ones_like(p) for p in params], fused=True)
    monkeypatch.setattr(optim, "_init_group", lambda *args: pytest.fail("went through the group"))
    before = [p.detach().clone() for p in params]

    optim.step()
    params[1].grad = None  # also if one of them has no gradient
    optim.step()

    assert [int(optim.state[p]["step"]) for p in params] == [6, 5, 6]
    assert not any(torch.equal(p, q) for p, q in zip(params, before))


def test_frozen_parameters_stay_and_run_no_line_of_python(monkeypatch):
    if not native._inspects:
        pytest.skip(f"torch {torch.__version__}: tensors are not read directly")
    params = as_parameters(ordinary())
    params[0].requires_grad_(False)
    frozen = params[0].clone()
    optim = ADOPT(params, **OPTIONS, fused=True)
    for k in range(3):
        optim.zero_grad()
        sum((p * p).sum() for p in params).backward()
        if k > 0:
            monkeypatch.setattr(optim, "_init_group", lambda *args: pytest.fail("went through the group"))
        optim.step()

    assert torch.equal(params[0], frozen)
    assert [params[0] in optim.state, *(int(optim.state[p]["step"]) for p in params[1:])] == [False, 3, 3]


def test_gradients_that_share_memory_are_only_read(refused, looked_at):
    params, grad = as_parameters(ordinary()), torch.ones(4, 3)

    steps(params, [grad] * 3, fused=True)

    assert refused == [0] * 4


def functional(params, grads, exp_avgs, exp_avg_sqs, state_steps, **form):
    adopt(
        *(params, grads, exp_avgs, exp_avg_sqs, state_steps),
        beta1=0.9,
        beta2=0.99,
        lr=0.1,
        clip_lambda=None,
        **{"weight_decay": 0.0, "decouple": False, "eps": 1e-6, "maximize": False, **form},
    )


@pytest.mark.parametrize("form", ["fused", "foreach"])
@pytest.mark.parametrize(
    "shared",
    [
        "a step",
        "exp_avg and exp_avg_sq",
        "a parameter and the next one's gradient",
        "half of exp_avg",
        "half of a parameter",
        "a corner of a parameter",
        "half of a parameter and of the next one's gradient",
        "nothing, but the parameters are interleaved",
    ],
)
def test_tensors_that_share_memory_are_stepped_one_after_the_other(shared, form):
    def run(**form):
        params, grads, m, v = ([t.clone() for t in ordinary(seed)] for seed in range(4))
        v = [t.abs() for t in v]
        counts = [torch.tensor(2.0) for _ in params]
        whole = torch.linspace(0.5, 1.5, 48).view(8, 6)
        if shared == "a step":
            counts = [counts[0]] * 3
        elif shared == "exp_avg and exp_avg_sq":
            m = v
        elif shared == "half of exp_avg":
            m[0], m[1] = whole[:4, :3], whole[2:6, :3]
        elif shared == "half of a parameter":
            params[0], params[1] = whole.view(-1)[:12].view(4, 3), whole.view(-1)[6:18].view(4, 3)
        elif shared == "a corner of a parameter":
            params[0], params[1] = whole[:4, :3], whole[3:7, 2:5]
        elif shared == "half of a parameter and of the next one's gradient":
            params[0], grads[1] = whole.view(-1)[:12].view(4, 3), whole.view(-1)[6:18].view(4, 3)
        elif shared == "nothing, but the parameters are interleaved":
            params[0], params[1] = whole[:4, ::2], whole[:4, 1::2]
        else:
            grads[1] = params[0]
        with torch.no_grad():
            functional(params, grads, m, v, counts, weight_decay=0.1, decouple=True, **form)
        return [*params, *m, *v, *counts]

    for other, single in zip(run(**{form: True}), run(foreach=False)):
        assert_close(other, single.detach(), 2e-6)


@pytest.mark.parametrize("seed", range(5))
def test_an_overlap_is_found_wherever_the_tensors_lie(seed, monkeypatch):
    draw = random.Random(seed)
    answers = []
    kernel = native._kernel
    monkeypatch.setattr(native, "_kernel", lambda *args: answers.append(kernel(*args)) or answers[-1])

    def step(starts):
        # Tensors of one buffer each, and of many buffers: their addresses differ in high digits and in low digits.
        buffers = [torch.zeros(16 * 64 + 1 + draw.randrange(9999)) for _ in range(8)]
        params = [torch.nn.Parameter(buffer[start : start + 16]) for buffer in buffers for start in starts]
        draw.shuffle(params)
        for p in params:
            p.grad = torch.ones(16)
        ADOPT(params, fused=True).step()

    starts = [16 * k for k in range(64)]
    step(starts)
    assert answers == [0]

    starts[draw.randrange(63)] += 1
    step(starts)
    assert answers[1:] == [1] + [0] * 8 * 64  # and then each parameter in a separate call


def test_a_state_of_another_shape_is_an_error():
    params, grads, m, v = (ordinary(seed) for seed in range(4))
    m[1] = m[1].reshape(3, 4)

    with torch.no_grad(), pytest.raises(RuntimeError):
        functional(params, grads, m, v, [torch.tensor(2.0)] * 3, fused=True)


@pytest.mark.parametrize("column", range(1, 5))
def test_a_list_that_is_too_short_is_an_error(column, looked_at):
    columns = [[torch.ones(4) for _ in range(12)] for _ in range(4)] + [[torch.tensor(2.0) for _ in range(12)]]
    del columns[column][8:]

    with torch.no_grad(), pytest.raises(IndexError):
        functional(*columns, fused=True)


def test_with_grad_enabled_a_step_on_a_leaf_is_an_error():
    params, grads, m, v = (ordinary(seed) for seed in range(4))

    with pytest.raises(RuntimeError, match="leaf"):
        functional(as_parameters(params), grads, m, v, [torch.tensor(2.0) for _ in m], fused=True)


@pytest.mark.parametrize("count", [1, 2], ids=["first step", "second step"])
def test_autograd_notices_that_a_parameter_was_changed(count):
    p = torch.nn.Parameter(torch.ones(3))
    optim = steps([p], [torch.ones(3)], count, fused=True)
    loss = (p * p).sum()
    before = [t._version for t in optim.state[p].values()]
    p.grad = torch.ones(3)

    optim.step()

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    assert all(t._version > version for t, version in zip(optim.state[p].values(), before))
    assert p.grad._version == 0, "the gradient is only read"


def test_a_clip_is_called_once_for_each_step(refused):
    seen = []
    params = as_parameters(ordinary())
    optim = ADOPT(params, fused=True, clip_lambda=lambda t: seen.append(t) or 1.0)
    for k in range(3):
        for p in params[: 2 if k == 0 else 3]:  # the third parameter joins late
            p.grad = torch.ones_like(p)
        optim.step()

    assert seen == [1.0, 2.0, 1.0] or seen == [1.0, 1.0, 2.0]


def test_in_a_batch_the_kernel_is_called_once_for_each_dtype(monkeypatch):
    calls = []
    kernel = native._kernel
    monkeypatch.setattr(native, "_kernel", lambda *args: calls.append((kernel(*args), args[1])))
    params = as_parameters([t.to(d) for d in (torch.float32, torch.bfloat16, torch.float64) for t in ordinary()])

    steps(params, [torch.ones_like(p) for p in params], 1, fused=True)

    assert calls == [(0, 3)] * 3
