"""The native kernel releases the GIL, uses torch's threads, lets signals through, and runs on every processor."""

from __future__ import annotations

import ctypes
import platform
import sysconfig
import threading
import time
from pathlib import Path

import pytest
import torch
from native_steps import NEEDS_KERNEL, OPTIONS, as_parameters, steps

from shim.adopt import ADOPT, native

pytestmark = NEEDS_KERNEL


def test_an_error_of_a_signal_handler_after_the_kernel_is_raised_and_the_step_is_made_once(monkeypatch):
    kernel = native._kernel

    def interrupted(*args):
        assert kernel(*args) == 0
        raise RuntimeError("time is up")  # Python calls the handler when the call of the kernel returns

    p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optim, _ = (steps([each], [torch.ones(3)], count, fused=True) for each, count in ((p, 2), (q, 3)))
    p.grad = torch.full((3,), 3.0)

    monkeypatch.setattr(native, "_kernel", interrupted)
    with pytest.raises(RuntimeError, match="time is up"):
        optim.step()

    assert torch.equal(p, q) and int(optim.state[p]["step"]) == 3


def test_the_kernel_releases_the_gil(monkeypatch):
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

    # If the kernel held the GIL, the other thread could count at most once at each end of a call.
    assert max(sum(begin < at < end for at in seen) for begin, end in inside) > 2


def test_two_threads_that_step_two_optimizers_at_once_compute_what_one_thread_does():
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
def test_a_free_threaded_python_stays_without_a_gil(python):
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
def test_the_kernel_uses_torchs_threads_and_their_number(python):
    if native._parallel is None:
        pytest.skip("this torch has no OpenMP runtime with GOMP_parallel")

    said = python(NEIGHBOUR, door="src", env={"OMP_NUM_THREADS": "1"})

    assert said.returncode == 0, said.stderr
    # With three threads there are two more, which torch's own operation then uses. With two there is one less, which
    # may end late. A DataLoader's worker stays single-threaded. No other OpenMP runtime is loaded.
    assert said.stdout == "[(0, 0), (2, 0), (-1, 0)] [[0.0, 1.0], [0.0, 1.0]] True 1\n"


@pytest.fixture
def use_set():
    """Return the function that selects an instruction set of the kernel and returns the selected one."""
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
