"""With any inputs and in any context ADOPT does the same as with foreach=False, and the process does not crash."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from shim.adopt import ADOPT, native, tensor_impl

pytestmark = pytest.mark.usefixtures("native_kernel")

HERE = Path(__file__).resolve().parent


#: Ways to inspect tensors: the library with all that it can use, the library without a part of it, and Python.
LOOKS = [[], ["--python"], ["--no-exchange"], ["--exchange"]]


@pytest.mark.torch_from(2, 0, "no functional tensors, no vmap")
@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_groups_of_all_kinds_of_tensors_step_as_with_foreach_false(look, python):
    """600 cases of adopt_fuzz.py; `nox -s sanitize` runs many more."""
    seed = str(10**6 * LOOKS.index(look))

    said = python(
        [HERE / "adopt_fuzz.py", "--cases", "600", "--seed", seed, *look], door="src", env={"OMP_NUM_THREADS": "1"}
    )

    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.endswith("600 cases, 0 wrong\n")


def swapped(p):
    p.data = torch.zeros(3)


def freed(p):
    p.untyped_storage().resize_(0)


def shortened(p):
    p.untyped_storage().resize_(40)


@pytest.mark.torch_from(2, 0, "no untyped storage")
@pytest.mark.parametrize("victim", ["param", "grad", "exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize("form", [{}, {"foreach": True}, {"foreach": False}], ids=str)
def test_memory_that_a_clip_frees_is_detected_before_it_is_accessed(form, victim):
    def clip(step):
        for p in params:
            freed({"param": p, "grad": p.grad, **optim.state[p]}[victim])
        return 1.0

    params = [torch.nn.Parameter(torch.ones(100_000)) for _ in range(3)]
    optim = ADOPT(params, clip_lambda=clip, **form)
    for p in params:
        p.grad = torch.ones_like(p)
    optim.step()  # the first step calls no clip

    with pytest.raises(RuntimeError, match="its storage was freed"):
        optim.step()


@pytest.mark.torch_from(2, 0, "no untyped storage")
@pytest.mark.parametrize("change", [swapped, freed, shortened])
def test_changes_by_user_code_right_before_the_kernel_are_detected(change, monkeypatch):
    if not native._inspects:
        pytest.skip(f"torch {torch.__version__}: Python inspects the tensors, and holds their memory")
    optim = stepped(torch.nn.Parameter(torch.ones(1000)), steps=2)
    p = optim.param_groups[0]["params"][0]
    threads, kernel, answers = torch.get_num_threads, native._kernel, []

    def interrupted():  # as a signal handler or a finalizer would be called
        monkeypatch.setattr(torch, "get_num_threads", threads)
        change(p)
        return threads()

    monkeypatch.setattr(native, "_kernel", lambda *args: answers.append(kernel(*args)) or answers[-1])
    monkeypatch.setattr(torch, "get_num_threads", interrupted)
    with pytest.raises(RuntimeError):
        optim.step()

    assert set(answers) == {1}, "the kernel refused, each time that it was asked"


def stepped(*params, steps=3, **options):
    """Return an optimizer after some steps with gradients of one."""
    optim = ADOPT(params, lr=0.1, **options)
    for _ in range(steps):
        for p in params:
            p.grad = torch.ones_like(p)
        optim.step()
    return optim


def many():
    return [torch.nn.Parameter(torch.linspace(0, 1, 5000 + i)) for i in range(30)]


def test_threads_that_step_their_own_optimizers_compute_what_one_thread_does():
    expected = many()
    stepped(*expected, steps=20)
    groups = [many() for _ in range(4)]

    threads = [threading.Thread(target=stepped, args=group, kwargs={"steps": 20}) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(torch.equal(p, q) for group in groups for p, q in zip(group, expected))


SHARED = """
import threading, torch
from shim.adopt import ADOPT

params = [torch.nn.Parameter(torch.ones(5000)) for _ in range(20)]
for p in params:  # beforehand: torch's fused Adam does not survive that threads replace what others step with
    p.grad = torch.ones(5000)
optimizer = ADOPT(params)
errors = []

def work(k):
    try:
        for n in range(150):
            if n % 50 == 49:
                optimizer.state.pop(params[k], None)
            optimizer.step()
    except (RuntimeError, KeyError) as error:  # a dictionary that changed, a state that is half made
        errors.append(error)

threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("alive", all(bool(torch.isfinite(p).all()) for p in params))
"""


def test_threads_that_step_one_optimizer_at_once_leave_the_process_alive(python):
    said = python(SHARED, door="src")

    assert said.returncode == 0 and said.stdout == "alive True\n", said.stdout + said.stderr


FORKED = """
import os, sys, signal, torch
from shim.adopt import ADOPT
torch.set_num_threads(int(sys.argv[1]))
params = [torch.nn.Parameter(torch.ones(200_000)) for _ in range(3)]
for p in params:
    p.grad = torch.ones_like(p)
optimizers = [torch.optim.Adam(params, fused=True), ADOPT(params, fused=True)]
for optimizer in optimizers:
    for _ in range(2):
        optimizer.step()
survived = []
for optimizer in optimizers:
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        optimizer.step()
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        break
    survived.append(type(optimizer).__name__)
print(survived)
"""


@pytest.mark.torch_from(2, 4, "no fused Adam on the CPU")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_after_a_fork_it_steps_wherever_torchs_fused_adam_does(threads, python):
    said = python(["-W", "ignore", "-c", FORKED, threads], door="src")

    assert said.returncode == 0, said.stderr
    if threads == "2" and said.stdout == "[]\n":
        return  # GNU's OpenMP cannot use its threads in a forked child; torch's Adam fails there, too
    assert said.stdout == "['Adam', 'ADOPT']\n"


EXCHANGE = """
import ctypes, torch
api = ctypes.pythonapi
api.PyCapsule_New.restype = ctypes.py_object
api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
new = lambda memory, name=b"dlpack_exchange_api": api.PyCapsule_New(ctypes.addressof(memory), name, None)
words = (ctypes.c_uint64 * 12)({words})
torch.Tensor.__dlpack_c_exchange_api__ = {value}
from shim.adopt import ADOPT, native
p = torch.nn.Parameter(torch.ones(3))
optimizer = ADOPT([p], lr=0.1, fused=True)
for _ in range(3):
    p.grad = torch.ones(3)
    optimizer.step()
print(not native._inspects, bool((p < 1).all()))
"""
EXCHANGES = {
    "an int": ("1", "5"),
    "None": ("1", "None"),
    "another name": ("1", "new(words, b'dltensor')"),
    "another version": ("2", "new(words)"),
    "a null function": ("1", "new(words)"),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_unexpected_exchange_api_is_not_called(name, python):
    words, value = EXCHANGES[name]

    said = python(EXCHANGE.format(words=words, value=value), door="src")

    assert (said.returncode, said.stdout) == (0, "True True\n"), said.stderr


def test_tensors_are_not_read_directly_if_dispatch_keys_are_unexpected(monkeypatch):
    if not native._inspects:
        pytest.skip(f"torch {torch.__version__}: tensors are not read directly")
    keys = SimpleNamespace(raw_repr=lambda: 2**61 + 3)
    monkeypatch.setattr(torch._C, "_dispatch_keys", lambda tensor: keys)

    assert not native._load_python()[0]


@pytest.mark.torch_from(2, 0, "tensors are not read directly")
@pytest.mark.parametrize("words", [0, 6, "offset"])
def test_tensors_are_not_read_directly_if_their_layout_is_unexpected(monkeypatch, words):
    monkeypatch.delattr(torch.Tensor, "__dlpack_c_exchange_api__", raising=False)
    inspects, python = native._load_python()
    assert inspects
    read = tensor_impl.words
    place = python.offset_at // 8 if words == "offset" else python.sizes_at // 8 + words
    monkeypatch.setattr(tensor_impl, "words", lambda t: [n + (k == place) for k, n in enumerate(read(t))])

    assert not native._load_python()[0]
