"""The first step, unusual states and unusual gradients give the same numbers in every form."""

import math

import pytest
import torch
from adopt_oracle import Oracle, assert_close, real

from shim.adopt import ADOPT

SHAPES = [(4,), (2, 3), (), (0,)]


def make(form, dtype=torch.float32, **options):
    """Return parameters and their optimizer."""
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]
    return params, ADOPT(params, **{"lr": 0.1, **options}, **form)


def step(params, optimizer, gradient):
    for p in params:
        p.grad = torch.full_like(p, gradient)
    optimizer.step()


def lr_of(kind, form):
    if kind == "tensor":
        if form.get("foreach") and not form.get("capturable"):
            pytest.skip("foreach with a tensor lr needs capturable")
        return torch.tensor(0.0)
    return 0.0


DECAYS = {"no decay": {}, "L2": {"weight_decay": 0.1}, "decoupled": {"weight_decay": 0.1, "decouple": True}}


@pytest.mark.torch_from(1, 12, "no tensor lr in the averages' place")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64], ids=str)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("kind", ["number", "tensor"])
def test_a_first_step_without_lr_and_gradient_makes_the_state_and_does_not_count(form, kind, decay, dtype):
    (params, optimizer), (others, untouched) = (make(form, dtype, **DECAYS[decay]) for _ in range(2))

    group = optimizer.param_groups[0]
    lr, group["lr"] = group["lr"], lr_of(kind, form)
    for _ in range(2):
        step(params, optimizer, 0.0)
        assert not any((value != 0).any() for p in params for value in optimizer.state[p].values())
    group["lr"] = lr
    for gradient in (0.5, -1.0, 2.0):
        step(params, optimizer, gradient)
        step(others, untouched, gradient)

    for p, q in zip(params, others):
        assert torch.equal(p, q)
        assert all(torch.equal(optimizer.state[p][name], untouched.state[q][name]) for name in untouched.state[q])


def test_each_parameter_counts_its_own_steps_with_a_gradient_or_an_lr(form):
    (params, optimizer), (others, other) = make(form, lr=0.0), make(form)
    for p in params:
        p.grad = torch.zeros_like(p)
    params[1].grad[-1, -1] = math.nan
    optimizer.step()
    step(others, other, 0.0)

    assert [optimizer.state[p]["step"].item() for p in params] == [0.0, 1.0, 0.0, 0.0]
    assert [other.state[p]["step"].item() for p in others] == [1.0] * 4

    step(params, optimizer, 0.0)
    assert [optimizer.state[p]["step"].item() for p in params] == [0.0, 2.0, 0.0, 0.0]


@pytest.mark.torch_from(2, 4, "no such checkpoints of one process")
def test_torchs_checkpoints_leave_a_fresh_optimizer_fresh(form):
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    def train(touched):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        optimizer = ADOPT(model.parameters(), lr=1e-2, **form)
        if touched:
            saved = get_optimizer_state_dict(model, optimizer)
            assert sorted(saved["state"]) == ["bias", "weight"]
        for _ in range(20):
            optimizer.zero_grad()
            (model(torch.ones(4, 3)) - 5).pow(2).mean().backward()
            optimizer.step()
        return model.weight.detach()

    assert torch.equal(train(True), train(False))


@pytest.mark.parametrize("count", [-1.0, math.nan, 0.5, 1e9])
@pytest.mark.parametrize("clip", [0.25, None])
def test_an_impossible_step_count_gives_the_same_numbers(form, count, clip):
    def run(form):
        params, optimizer = make(form, clip_exp=clip)
        step(params, optimizer, 1.0)
        for p in params:
            optimizer.state[p]["step"].fill_(count)
        step(params, optimizer, 2.0)
        return [*params, *(optimizer.state[p][name].to(p.dtype) for p in params for name in optimizer.state[p])]

    for one, other in zip(run(form), run({"foreach": False})):
        assert_close(one, other.detach(), 2e-6)
    if clip and not count > 0:
        assert torch.isnan(run(form)[0]).all()


def test_a_step_count_set_back_to_zero_starts_the_state_anew(form):
    params, optimizer = make(form)
    for gradient in (1.0, -3.0, 2.0):
        step(params, optimizer, gradient)
    for p in params:
        optimizer.state[p]["step"].zero_()
    oracles = [Oracle(p) for p in params]

    for gradient in (2.0, 0.5, -1.0):
        step(params, optimizer, gradient)
        for p, oracle in zip(params, oracles):
            oracle.step(p.grad, lr=0.1)

    for p, oracle in zip(params, oracles):
        assert_close(p, oracle.p, 2e-6)
        assert_close(optimizer.state[p]["exp_avg_sq"], oracle.v, 4e-6)


@pytest.mark.torch_from(1, 10, "no negative bit")
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq", "step", "compensation"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_state_with_a_pending_negation_gives_the_same_numbers(form, name, dtype):
    def run(negate, form):
        params, optimizer = make(form, dtype)
        for gradient in (1.0, 0.5):
            step(params, optimizer, gradient)
        for p in params:
            state = optimizer.state[p]
            if name in state and negate:
                state[name] = torch._neg_view(state[name].neg())
                assert state[name].is_neg()
        step(params, optimizer, -2.0)
        return [*params, *(optimizer.state[p][name].resolve_neg() for p in params for name in optimizer.state[p])]

    for one, other in zip(run(True, form), run(False, form)):
        assert torch.equal(one, other)


@pytest.mark.torch_from(1, 10, "no conjugate bit")
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("decay", DECAYS)
def test_a_gradient_with_a_pending_conjugation_gives_the_same_numbers(form, decay, maximize):
    start = torch.randn(3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    options = {"lr": 0.1, "maximize": maximize, **DECAYS[decay]}
    p = torch.nn.Parameter(start.clone())
    optimizer, oracle = ADOPT([p], **options, **form), Oracle(real(start))
    for k in range(3):
        p.grad = torch.full((3,), complex(1 + k, 2 - k)).conj()
        assert p.grad.is_conj()
        optimizer.step()
        oracle.step(real(p.grad.resolve_conj()), **options)

    assert_close(real(p), oracle.p, 2e-6)


@pytest.mark.torch_from(2, 0, "no functionalize in torch")
def test_a_step_inside_functionalize_gives_the_same_numbers(form):
    from shim.adopt import adopt

    if form.get("foreach") and not hasattr(torch, "_foreach_rsqrt"):
        pytest.skip("torch has no list operations inside of functionalize")

    if form.get("capturable"):
        form = {**form, "capturable": False}
    options = {"beta1": 0.9, "beta2": 0.99, "lr": 0.1, "weight_decay": 0.0, "decouple": False, "eps": 1e-6}

    def run(p, g, m, v, s):
        adopt([p], [g], [m], [v], [s], clip_lambda=None, maximize=False, **options, **form)
        return p

    with torch.no_grad():
        one, none = torch.ones(4), torch.zeros(4)
        result = torch.func.functionalize(run)(one.clone(), one, none, one.clone(), torch.tensor(2.0))

    assert_close(result, torch.full((4,), 0.99), 1e-6)


def test_a_gradient_that_autograd_makes_without_memory_counts_as_zeros(form):
    p, q = (torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    ours, theirs = ADOPT([p], lr=0.1, weight_decay=0.1, **form), ADOPT([q], lr=0.1, weight_decay=0.1, foreach=False)
    for _ in range(3):
        p.grad = None
        torch.sign(p).sum().backward()
        if hasattr(torch, "sgn"):
            p.grad = None
            torch.sgn(p).sum().backward()
        q.grad = torch.zeros(5)
        ours.step()
        theirs.step()

    assert_close(p, q.detach(), 2e-6)


@pytest.mark.torch_from(2, 0, "another interface")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")  # a FutureWarning since Python 3.14
def test_forward_mode_tangents_go_through_a_step_in_every_form(form):
    import torch.autograd.forward_ad as forward_ad

    from shim.adopt import adopt

    options = {"beta1": 0.9, "beta2": 0.99, "lr": 0.1, "weight_decay": 0.0, "decouple": False, "eps": 1e-6}
    with torch.no_grad(), forward_ad.dual_level():
        p = forward_ad.make_dual(torch.ones(4), torch.full((4,), 3.0))
        state = [torch.zeros(4), torch.ones(4), torch.tensor(2.0)]
        adopt([p], [torch.ones(4)], *([t] for t in state), clip_lambda=None, maximize=False, **options, **form)
        primal, tangent = forward_ad.unpack_dual(p)

    assert_close(primal, torch.full((4,), 0.99), 1e-6)
    assert torch.equal(tangent, torch.full((4,), 3.0))
