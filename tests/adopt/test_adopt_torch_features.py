"""ADOPT under autograd, torch.compile and GradScaler; the memory of its foreach form; CUDA graphs on a GPU."""

import subprocess
import sys
import textwrap

import pytest
import torch
from adopt_oracle import Oracle, assert_close

from shim.adopt import ADOPT
from shim.adopt._torch import HAS_FOREACH


@pytest.mark.torch_from(1, 13, "no differentiable optimizers")
@pytest.mark.parametrize("decay", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decouple": True}], ids=str)
@pytest.mark.parametrize("steps_before", [0, 1, 3])
def test_gradcheck_passes_through_a_step(decay, steps_before):
    def stepped(p, grad, exp_avg, exp_avg_sq, lr):
        p, exp_avg, exp_avg_sq = p.clone(), exp_avg.clone(), exp_avg_sq.clone()
        p.grad = grad
        optimizer = ADOPT([p], lr=lr, betas=(0.9, 0.99), clip_exp=None, differentiable=True, **decay)
        step = torch.tensor(float(steps_before))
        optimizer.state[p].update(step=step, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
        optimizer.step()
        optimizer.step()
        return p, exp_avg, exp_avg_sq

    generator = torch.Generator().manual_seed(0)
    p, grad, m, v = (torch.rand(4, generator=generator, dtype=torch.float64) + 0.1 for _ in range(4))
    if steps_before == 0:
        m, v = torch.zeros_like(m), torch.zeros_like(v)
        inputs = [p, grad, m, v, torch.tensor(0.1, dtype=torch.float64)]
        watched = [True, True, False, False, True]
    else:
        inputs = [p, grad, m, v, torch.tensor(0.1, dtype=torch.float64)]
        watched = [True] * 5

    assert torch.autograd.gradcheck(
        stepped, [x.requires_grad_(watch) for x, watch in zip(inputs, watched)], check_undefined_grad=False
    )


@pytest.mark.torch_from(1, 13, "no differentiable optimizers")
def test_a_gradient_of_zero_has_a_finite_derivative():
    start = torch.zeros(2, requires_grad=True)
    p = start.clone()
    optimizer = ADOPT([p], lr=0.1, differentiable=True)
    for _ in range(3):
        p.grad = start * 3.0
        optimizer.step()

    p.sum().backward()

    assert bool(torch.isfinite(start.grad).all())


def compiled(form, calls, lr=0.01):
    """Compile a step with a backend that counts its graphs; return parameters, oracles and the number of graphs."""
    import torch._dynamo

    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    params = [torch.nn.Parameter(torch.ones(n)) for n in (3, 5)]
    oracles = [Oracle(p) for p in params]
    optimizer = ADOPT(params, lr=lr, weight_decay=0.1, decouple=True, **form)
    step = torch.compile(optimizer.step, backend=backend)
    generator = torch.Generator().manual_seed(0)
    for _ in range(calls):
        for p, oracle in zip(params, oracles):
            grad = torch.randn(len(p), generator=generator)
            p.grad = grad if p.grad is None else p.grad.copy_(grad)
            oracle.step(grad, lr=0.01, weight_decay=0.1, decouple=True)
        step()
    return params, oracles, graphs


# torch itself uses deprecated functions.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.torch_from(2, 4, "torch.compile of optimizers that are not torch's own is not settled")
@pytest.mark.parametrize("chosen", [{"foreach": False}, {"foreach": True}, {"fused": True}, {}], ids=str)
@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01)], ids=["lr is a number", "lr is a tensor"])
def test_torch_compile_makes_one_graph_and_no_more_in_20_steps(chosen, lr, native_kernel):
    if isinstance(lr, torch.Tensor) and chosen.get("foreach"):
        pytest.skip("foreach with a tensor lr needs capturable")

    params, oracles, graphs = compiled(chosen, 20, lr)

    assert len(graphs) == 1
    for p, oracle in zip(params, oracles):
        assert_close(p, oracle.p, 2e-6)


@pytest.mark.parametrize("options", [{}, {"foreach": False}, {"foreach": True}], ids=["default", "single", "foreach"])
def test_a_step_inside_a_trace_is_an_error_as_for_adam(options):
    """In a process of its own, because torch's list operations may crash there."""
    code = f"""
        import torch
        from shim.adopt import ADOPT
        for made in (torch.optim.Adam, ADOPT):
            p = torch.nn.Parameter(torch.ones(3))
            p.grad = torch.ones(3)
            optimizer = made([p], **{options if HAS_FOREACH else {}})
            optimizer.step()

            def traced(x):
                optimizer.step()
                return x * 1

            try:
                torch.jit.trace(traced, torch.ones(2), check_trace=False)
                print("traced")
            except RuntimeError as error:
                print("RuntimeError")
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    adam, adopt = ran.stdout.split()
    assert adopt == adam, ran.stderr


@pytest.mark.torch_from(2, 3, "no GradScaler for the CPU")
@pytest.mark.parametrize("in_step", [False, True], ids=["the scaler unscales", "the step unscales"])
@pytest.mark.parametrize("chosen", [{"foreach": False}, {"foreach": True}, {"fused": True}], ids=str)
def test_a_grad_scaler_skips_infinite_gradients_and_leaves_the_others_alone(chosen, in_step, native_kernel):
    p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer, plain = ADOPT([p], lr=0.1, **chosen), ADOPT([q], lr=0.1, **chosen)
    assert getattr(optimizer, "_step_supports_amp_scaling", False) == chosen.get("fused", False)
    optimizer._step_supports_amp_scaling = in_step
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    weights = torch.tensor([1.0, -2.0, 3.0])

    for k in range(6):
        bad = k in (0, 3)
        optimizer.zero_grad()
        scaler.scale((p * weights * (float("inf") if bad else 1.0)).sum()).backward()
        grad = p.grad
        scaled = grad.clone()
        scaler.step(optimizer)
        scaler.update()
        if in_step and not bad:
            assert torch.equal(grad, scaled), "the step divides, it does not change the gradient"
        if not bad:
            q.grad = weights.clone()
            plain.step()

    assert torch.equal(p, q), "steps with inf change nothing, not even the step counter"
    assert optimizer.state[p]["step"].item() == 4.0


@pytest.mark.torch_from(2, 0, "no dispatch mode that sees foreach ops")
@pytest.mark.parametrize(
    "options",
    [{}, {"maximize": True}, {"weight_decay": 0.1, "decouple": True}, {"weight_decay": 0.1}],
    ids=str,
)
def test_foreach_needs_no_more_memory_than_adams(options):
    adam_options = dict(options)
    adam = torch.optim.AdamW if adam_options.pop("decouple", False) else torch.optim.Adam

    ours = peak_of_a_step(ADOPT, {"foreach": True, **options})
    adams = peak_of_a_step(adam, {"foreach": True, **adam_options})

    assert ours <= adams


def peak_of_a_step(kind, options):
    """Return the most bytes of temporaries that are alive at once in a foreach step, after the first two."""
    import weakref

    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten

    class Peak(TorchDispatchMode):
        alive = peak = 0

        def __init__(self, known):
            super().__init__()
            self.known = set(known)

        def release(self, pointer, size):
            self.known.discard(pointer)
            self.alive -= size

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for t in tree_flatten(out)[0]:
                if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() not in self.known:
                    storage = t.untyped_storage()
                    self.known.add(storage.data_ptr())
                    self.alive += storage.nbytes()
                    weakref.finalize(t, self.release, storage.data_ptr(), storage.nbytes())
            self.peak = max(self.peak, self.alive)
            return out

    params = [torch.nn.Parameter(torch.ones(1000)) for _ in range(20)]
    optimizer = kind(params, **options)
    for p in params:
        p.grad = torch.ones_like(p)
    for _ in range(2):
        optimizer.step()
    kept = [t for p in params for t in (p, p.grad, *optimizer.state[p].values())]
    with Peak([t.untyped_storage().data_ptr() for t in kept]) as mode:
        optimizer.step()
    return mode.peak


@pytest.mark.gpu
@pytest.mark.parametrize("foreach", [False, True])
def test_a_cuda_graph_replays_the_step(foreach):
    p = torch.nn.Parameter(torch.ones(4, device="cuda"))
    p.grad = torch.full((4,), 0.5, device="cuda")
    lr = torch.tensor(0.01, device="cuda")
    optimizer = ADOPT([p], lr=lr, capturable=True, foreach=foreach)
    oracle = Oracle(torch.ones(4))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            optimizer.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    for _ in range(10):
        graph.replay()
    for _ in range(13):
        oracle.step(torch.full((4,), 0.5), lr=0.01)

    torch.cuda.synchronize()
    assert_close(p.cpu(), oracle.p, 2e-6)
