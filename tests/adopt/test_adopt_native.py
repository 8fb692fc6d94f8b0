"""The native kernel of ADOPT: what it takes, what it leaves to others, and that it is a good neighbour."""

import ctypes
import platform
import random
import sysconfig
import threading
import time
from pathlib import Path

import pytest
import torch
from adopt_oracle import assert_close

import shim
from shim.adopt import ADOPT, adopt, native
from shim.adopt.low_precision import LOW_PRECISION

pytestmark = [
    pytest.mark.usefixtures("native_kernel"),
    pytest.mark.torch_from(1, 8, "no views of complex numbers, no complete low precision"),
]

OPTIONS = {"lr": 0.1, "weight_decay": 0.1}


def steps(params, grads, count=4, **form):
    """Take steps with the gradients times 1, 2, 3, ...; return the optimizer."""
    optim = ADOPT(params, **OPTIONS, **form)
    for k in range(1, count + 1):
        for p, grad in zip(params, grads):
            p.grad = grad * k if grad.is_contiguous() else grad
        optim.step()
    return optim


@pytest.fixture
def refused(monkeypatch):
    """Return the list of how many parameters of each group the kernel left to others."""
    counts = []
    step, step_group = native.step_, native.step_group

    def counting(*args, **kwargs):
        left = step(*args, **kwargs)
        counts.append(len(left))
        return left

    def counting_groups(*args):
        whole = step_group(*args)
        counts.extend([0] * whole)
        return whole

    monkeypatch.setattr(native, "step_", counting)
    monkeypatch.setattr(native, "step_group", counting_groups)
    return counts


@pytest.fixture(params=["in C", "in Python"])
def looked_at(request, monkeypatch):
    """Check the tensors in each of the two ways, from C and from Python; an old torch has only the latter."""
    if request.param == "in Python":
        monkeypatch.setattr(native, "_inspects", False)
    elif not native._inspects:
        pytest.skip(f"torch {torch.__version__}: its objects are not read")


def ordinary(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 3, generator=generator) for _ in range(3)]


def as_parameters(tensors):
    return [torch.nn.Parameter(t) for t in tensors]


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


# What the parameters are -> how many of them the kernel leaves to others.
CASES = {of_all_kinds: 0, sharing: 0, float16: 3, strided: 3, of_a_class: 3}


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_what_the_kernel_cannot_take_goes_another_way_to_the_same_place(make, refused, looked_at):
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
def test_a_gradient_in_another_layout_counts_as_what_it_says(name, grad, refused, looked_at):
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
def test_what_becomes_of_a_tensor_between_two_steps_is_seen(change):
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


def test_many_parameters_are_gone_through_without_a_line_of_python_for_each(monkeypatch):
    if not native._inspects:
        pytest.skip(f"torch {torch.__version__}: its objects are not read")
    params = as_parameters(ordinary())
    optim = steps(params, [torch.ones_like(p) for p in params], fused=True)
    monkeypatch.setattr(optim, "_init_group", lambda *args: pytest.fail("went through the group"))
    before = [p.detach().clone() for p in params]

    optim.step()
    params[1].grad = None  # nor if one of them has no gradient
    optim.step()

    assert [int(optim.state[p]["step"]) for p in params] == [6, 5, 6]
    assert not any(torch.equal(p, q) for p, q in zip(params, before))


def test_parameters_that_are_frozen_stay_and_cost_no_line_of_python(monkeypatch):
    if not native._inspects:
        pytest.skip(f"torch {torch.__version__}: its objects are not read")
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
        # Of a buffer each, and of many buffers, so that addresses differ in high digits and in low ones.
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
    assert answers[1:] == [1] + [0] * 8 * 64  # and then one by one


def test_a_state_of_another_shape_is_an_error_as_ever():
    params, grads, m, v = (ordinary(seed) for seed in range(4))
    m[1] = m[1].reshape(3, 4)

    with torch.no_grad(), pytest.raises(RuntimeError):
        functional(params, grads, m, v, [torch.tensor(2.0)] * 3, fused=True)


@pytest.mark.parametrize("column", range(1, 5))
def test_a_list_that_is_too_short_is_an_error_as_ever(column, looked_at):
    columns = [[torch.ones(4) for _ in range(12)] for _ in range(4)] + [[torch.tensor(2.0) for _ in range(12)]]
    del columns[column][8:]

    with torch.no_grad(), pytest.raises(IndexError):
        functional(*columns, fused=True)


def test_with_grad_enabled_a_leaf_is_protected_as_ever():
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


def test_a_clip_gets_each_step_once(refused):
    seen = []
    params = as_parameters(ordinary())
    optim = ADOPT(params, fused=True, clip_lambda=lambda t: seen.append(t) or 1.0)
    for k in range(3):
        for p in params[: 2 if k == 0 else 3]:  # the third joins late
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


def test_an_error_of_a_signal_handler_after_the_kernel_is_raised_and_the_step_is_made_once(monkeypatch):
    kernel = native._kernel

    def interrupted(*args):
        assert kernel(*args) == 0
        raise RuntimeError("time is up")  # as Python raises it when the call returns

    p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optim, _ = (steps([each], [torch.ones(3)], count, fused=True) for each, count in ((p, 2), (q, 3)))
    p.grad = torch.full((3,), 3.0)

    monkeypatch.setattr(native, "_kernel", interrupted)
    with pytest.raises(RuntimeError, match="time is up"):
        optim.step()

    assert torch.equal(p, q) and int(optim.state[p]["step"]) == 3


def test_the_gil_is_released(monkeypatch):
    kernel, inside = native._kernel, []

    def timed(*args):
        begin = time.perf_counter()
        refused = kernel(*args)
        inside.append((begin, time.perf_counter()))
        return refused

    monkeypatch.setattr(native, "_kernel", timed)
    seen, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            seen.append(time.perf_counter())
            time.sleep(0.0005)

    p = torch.nn.Parameter(torch.ones(8_000_000))
    optim = ADOPT([p], fused=True)
    p.grad = torch.ones_like(p)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(10):
            optim.step()
    finally:
        stop.set()
        watcher.join()

    # With the GIL held, at most one would be seen at either end of a call.
    assert max(sum(begin < at < end for at in seen) for begin, end in inside) > 2


def test_two_threads_that_step_two_optimizers_at_once_give_the_numbers_of_one():
    def train(seed):
        generator = torch.Generator().manual_seed(seed)
        params = as_parameters([torch.randn(n, generator=generator) for n in (1, 33, 70_000)])
        optim = ADOPT(params, **OPTIONS, fused=True)
        for _ in range(20):
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator)
            optim.step()
        trained[seed].append(params)

    trained = {1: [], 2: []}
    for seed in trained:
        train(seed)
    threads = [threading.Thread(target=train, args=(seed,)) for seed in trained]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for alone, beside in trained.values():
        assert all(torch.equal(p, q) for p, q in zip(alone, beside))


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python needs its GIL")
def test_a_python_without_a_gil_stays_without_one(python):
    code = """
    import sys
    sys.modules["triton"] = None  # torch's first optimizer imports it, and it wants the GIL
    import shim, torch
    shim.activate()
    from shim.adopt import ADOPT, native
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    ADOPT([p], fused=True).step()
    print(native.in_words(), sys._is_gil_enabled())
    """
    assert python(code, door="src", env={"SHIM_FOR": "1.7"}).stdout == "native kernel False\n"


NEIGHBOUR = """
import os, re, threading, time, torch
import shim
from shim.adopt import ADOPT, native
assert not native.why_not() and native._parallel
threads = lambda: len(os.listdir("/proc/self/task"))
runtimes = lambda: sorted({line.split()[-1] for line in open("/proc/self/maps") if re.search("lib[gi]?omp", line)})

p = torch.nn.Parameter(torch.ones(3_000_000))
p.grad = torch.ones_like(p)
optimizer = ADOPT([p], fused=True)
loaded = runtimes()

def torchs():
    with torch.no_grad():
        p.mul_(1.0)

def more(work):
    before = threads()
    work()
    return max(threads() - before, 0)

counts = []
for number in (1, 3):
    torch.set_num_threads(number)
    counts.append((more(optimizer.step), more(torchs)))
torch.set_num_threads(2)
many = threads()
more(optimizer.step)
deadline = time.time() + 20
while threads() >= many and time.time() < deadline:
    time.sleep(0.01)
counts.append((threads() - many, more(torchs)))

class Worker(torch.utils.data.Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, i):
        alone = threads()
        q = torch.nn.Parameter(torch.ones(3_000_000))
        q.grad = torch.ones_like(q)
        other = ADOPT([q], fused=True)
        other.step()
        other.step()
        return threads() - alone, float(q[0] < 1)

# Forked, with the threads of this process, even where that is no longer the default (Python 3.14).
loader = torch.utils.data.DataLoader(Worker(), num_workers=2, batch_size=None, multiprocessing_context="fork")
workers = [[float(n) for n in row] for row in loader]
print(counts, workers, runtimes() == loaded, len(loaded))
"""


@pytest.mark.skipif(not sysconfig.get_platform().startswith("linux"), reason="counts threads in /proc")
def test_threads_are_torchs_own_and_as_many_as_it_says(python):
    if native._parallel is None:
        pytest.skip("this torch has no OpenMP runtime with GOMP_parallel")

    said = python(NEIGHBOUR, door="src", env={"OMP_NUM_THREADS": "1"})

    assert said.returncode == 0, said.stderr
    # Three threads are two more, of which torch's own operation then makes use, and two are one less, which may take
    # its time to end. A DataLoader's worker stays alone. No further runtime is loaded.
    assert said.stdout == "[(0, 0), (2, 0), (-1, 0)] [[0.0, 1.0], [0.0, 1.0]] True 1\n"


@pytest.fixture
def use_set():
    """Return the function that chooses one of the instruction sets of the kernel, and says which it took."""
    use = ctypes.CDLL(str(native.LIBRARY)).shim_adopt_use_3
    yield use
    use(BEST)


BEST = 2**31 - 1


def test_every_instruction_set_gives_the_same_bits(use_set):
    def run(number):
        assert use_set(number) == number
        params = [torch.randn(1001, generator=torch.Generator().manual_seed(1)).to(d) for d in dtypes]
        steps(as_parameters(params), [p.clone() for p in params], fused=True)
        return params

    dtypes = (torch.float32, torch.float64, torch.bfloat16)
    first, *others = [run(number) for number in range(use_set(BEST) + 1)]

    for other in others:
        assert all(torch.equal(p, q) for p, q in zip(first, other))
    assert not torch.equal(first[0], torch.randn(1001, generator=torch.Generator().manual_seed(1)))


@pytest.mark.skipif(platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="no list of flags")
def test_the_best_instruction_set_of_the_processor_is_chosen(use_set):
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()

    assert use_set(BEST) == (2 if "avx512f" in flags else 1 if "avx2" in flags else 0)


def test_a_library_of_another_version_is_not_called(monkeypatch):
    import _ctypes

    monkeypatch.setattr(native, "LIBRARY", _ctypes.__file__)

    assert native._load() == (None, "it was built from another version, and installing builds it anew")


def test_without_the_kernel_fused_is_refused_and_the_default_works(no_native_kernel):
    p = torch.nn.Parameter(torch.ones(3))

    with pytest.raises(RuntimeError, match="please use fused=None: there is no native kernel for the CPU: it was not"):
        ADOPT([p], fused=True)
    steps([p], [torch.ones(3)])

    assert not torch.equal(p, torch.ones(3))


def test_the_form_can_be_seen(request):
    groups = [{"params": as_parameters(ordinary())}, {"params": [torch.nn.Parameter(torch.ones(3))], "foreach": False}]

    assert "Form of group 0: fused, native kernel\nForm of group 1: single tensor\n)" in repr(ADOPT(groups))
    assert "ADOPT on the CPU: native kernel" in str(shim.status())
    request.getfixturevalue("no_native_kernel")
    said = "in blocks, without the native kernel: it was not built"
    assert f"Form of group 0: fused, {said}" in repr(ADOPT(groups))
    assert f"ADOPT on the CPU: {said}" in str(shim.status())


def test_a_run_with_the_kernel_goes_on_where_there_is_none(no_native_kernel):
    p = torch.nn.Parameter(torch.ones(3))
    optim = ADOPT([p], lr=0.1)
    optim.param_groups[0]["fused"] = True  # as a checkpoint says
    for _ in range(3):
        p.grad = torch.ones(3)
        optim.step()

    assert not torch.equal(p, torch.ones(3))


def test_integers_are_refused():
    with pytest.raises(RuntimeError, match="floating point Tensors"):
        ADOPT([torch.ones(3, dtype=torch.int64)], fused=True)


@pytest.mark.torch_from(1, 9, "no inference mode")
def test_tensors_of_inference_mode():
    with torch.inference_mode():
        p, q = torch.ones(3), torch.ones(3)
        steps([p], [torch.ones(3)], fused=True)
        steps([q], [torch.ones(3)], foreach=False)

    assert torch.equal(p, q) and p[0] < 1


@pytest.mark.torch_from(2, 0, "no dispatch modes")
def test_a_mode_that_watches_operations_sees_them():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen += 1
            return func(*args, **(kwargs or {}))

    params = as_parameters(ordinary())
    optim = steps(params, ordinary(), fused=True)

    with Watch() as watch:
        optim.step()

    assert watch.seen > len(params)


TAMPERED = {
    "clip_exp": (-1.0, float("nan"), float("inf"), "x"),
    "eps": (float("nan"), -1.0, "x"),
    "decouple": (None, 0, 2, "x"),
    "maximize": (None, "x"),
    "lr": (1j, float("nan"), float("inf"), 1e308, "x"),
    "weight_decay": (float("nan"), float("-inf"), 10**400, "x"),
    "betas": ((0.9, 2.0), (float("nan"), 0.9), (0.9, "x"), (0.9, float("inf"))),
}


@pytest.mark.parametrize(
    "option, value", [(option, value) for option, values in TAMPERED.items() for value in values], ids=repr
)
def test_an_option_that_no_constructor_takes_does_the_same_in_every_form(option, value):
    def outcome(form):
        p = torch.nn.Parameter(torch.tensor([-1.0, 0.0, 1.0]))
        optim = ADOPT([p], lr=0.1, weight_decay=0.1, foreach=form)
        optim.param_groups[0][option] = value
        try:
            for _ in range(3):
                p.grad = torch.tensor([0.0, 1.0, -2.0])
                optim.step()
        except Exception as error:
            return type(error)
        return p.detach()

    default, single = outcome(None), outcome(False)
    if isinstance(single, type):
        assert default is single
    else:
        assert torch.allclose(default, single, equal_nan=True)


@pytest.mark.parametrize("form", [None, False])
def test_a_clip_that_turns_gradients_on_is_an_error_in_every_form(form):
    def clip(step):
        torch.set_grad_enabled(True)
        return 1.0

    p = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        steps([p], [torch.ones(3)] * 2, clip_lambda=clip, foreach=form)


@pytest.mark.parametrize(
    "clip",
    [lambda t: torch.tensor(0.5), lambda t: torch.tensor([0.5]), lambda t: torch.full((3,), 0.5), lambda t: True],
    ids=["0-dim tensor", "tensor of one", "tensor of all", "bool"],
)
def test_a_clip_that_is_no_float_is_taken_by_every_form(clip):
    found = []
    for form in (None, True, False):
        p = torch.nn.Parameter(torch.ones(3))
        steps(
            [p], [torch.full((3,), 1.0), torch.full((3,), 4.0), torch.full((3,), 2.0)], clip_lambda=clip, foreach=form
        )
        found.append(p.detach())
    assert torch.allclose(found[0], found[2]) and torch.allclose(found[1], found[2])


SHARDED = """
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
import shim
from shim.adopt import ADOPT, native

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
left = []
step = native.step_
native.step_ = lambda *args, **kwargs: left.append(len(step(*args, **kwargs)))
start = torch.arange(12.0).reshape(4, 3)
params = [torch.nn.Parameter(distribute_tensor(start.clone(), mesh, [how])) for how in (Shard(0), Replicate())]
params.append(torch.nn.Parameter(start.clone()))
optimizer = ADOPT(params, lr=0.1, fused=True)
for k in range(4):
    for p in params:
        p.grad = torch.ones_like(p) * (k + 1)
    versions = [p._version for p in params]
    optimizer.step()
    assert all(p._version > version for p, version in zip(params, versions))
values = [getattr(p, "_local_tensor", p).detach() for p in params]
print(left, all(torch.equal(value, values[-1]) for value in values), bool((values[0] < start).all()))
"""


@pytest.mark.torch_from(2, 6, "no public DTensor")
def test_of_a_dtensor_the_local_part_is_stepped(python):
    said = python(SHARDED, door="src", env={"OMP_NUM_THREADS": "1"})

    # gloo says something on stdout, too, in some releases
    assert "[0, 0, 0, 0] True True" in said.stdout.splitlines(), said.stdout + said.stderr


@pytest.mark.parametrize("kind", [list, tuple, set], ids=lambda kind: kind.__name__)
def test_the_parameters_of_a_group_may_be_in_any_container(kind):
    def trained(form):
        p = torch.nn.Parameter(torch.ones(3))
        optim = ADOPT([p], lr=0.1, foreach=form)
        optim.param_groups[0]["params"] = kind([p])
        for _ in range(3):
            p.grad = torch.tensor([1.0, 2.0, 3.0])
            optim.step()
        return p.detach()

    assert torch.equal(trained(None), trained(False))
