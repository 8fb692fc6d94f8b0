"""A run that was saved and restored in any way steps bit-equal with an uninterrupted run."""

import copy
import functools
import io
import math
import pickle

import pytest
import torch

from shim.adopt import ADOPT

TORCH = tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2])
WHOLE_PICKLE = {} if TORCH < (1, 13) else {"weights_only": False}


def root(t):
    return math.sqrt(t)


def model(dtype=torch.float32):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).to(dtype)


def train(net, optimizer, steps, start=0):
    for k in range(start, start + steps):
        x = torch.sin(torch.arange(15.0).reshape(5, 3) + k).to(net[0].weight.dtype)
        optimizer.zero_grad()
        net(x).pow(2).sum().backward()
        optimizer.step()


def through_a_file(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, **options)


def by_state_dict(net, optimizer, options):
    other = copy.deepcopy(net)
    restored = ADOPT(other.parameters(), **options)
    restored.load_state_dict(optimizer.state_dict())
    return other, restored


def by_file(net, optimizer, options):
    other = copy.deepcopy(net)
    restored = ADOPT(other.parameters(), **options)
    restored.load_state_dict(through_a_file(optimizer.state_dict(), **WHOLE_PICKLE))
    return other, restored


def by_weights_only_file(net, optimizer, options):
    other = copy.deepcopy(net)
    restored = ADOPT(other.parameters(), **options)
    restored.load_state_dict(through_a_file(optimizer.state_dict(), weights_only=True))
    return other, restored


def by_pickle(net, optimizer, options):
    return pickle.loads(pickle.dumps((net, optimizer)))


def by_deepcopy(net, optimizer, options):
    return copy.deepcopy((net, optimizer))


WAYS = [by_state_dict, by_file, by_weights_only_file, by_pickle, by_deepcopy]
OPTIONS = {
    "plain": {"lr": 0.01},
    "clip_exp": {"lr": 0.01, "clip_exp": 0.1, "weight_decay": 0.1},
    "callable": {"lr": 0.01, "clip_lambda": root, "weight_decay": 0.1, "decouple": True},
    "no clip": {"lr": 0.01, "clip_lambda": None, "maximize": True},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_restored_run_is_bit_equal(way, options, dtype):
    if way is by_weights_only_file and TORCH < (2, 1):
        pytest.skip(f"torch {torch.__version__}: no weights_only, or one that fails on Adam's floats or warns")
    if dtype == torch.bfloat16 and TORCH < (1, 13):
        pytest.skip(f"torch {torch.__version__}: the layers do not run in bfloat16")
    net = model(dtype)
    optimizer = ADOPT(net.parameters(), **OPTIONS[options])
    train(net, optimizer, 5)

    other, restored = way(net, optimizer, OPTIONS[options])
    train(net, optimizer, 5, start=5)
    train(other, restored, 5, start=5)

    for p, q in zip(net.parameters(), other.parameters()):
        assert torch.equal(p, q)
    for name in ("clip_exp", "clip_lambda"):
        assert restored.param_groups[0][name] == optimizer.param_groups[0][name]


def callables():
    def half(t):
        return 0.5

    class Half:
        def __call__(self, t):
            return 0.5

        def __reduce__(self):
            raise KeyboardInterrupt("nobody may pickle it")

    return {
        "lambda": lambda t: 0.5,
        "closure": half,
        "object": Half(),
        "partial": functools.partial(root),
        "function": root,
    }


@pytest.mark.parametrize("name", callables())
def test_a_callable_clip_is_not_saved_and_stays_with_its_optimizer(name):
    mine, theirs = callables()[name], callables()[name]
    net, other = model(), model()
    with pytest.warns(UserWarning, match="is code") as said:
        optimizer = ADOPT([{"params": [p]} for p in net.parameters()], clip_lambda=mine)
    with pytest.warns(UserWarning, match="is code"):
        restored = ADOPT([{"params": [p]} for p in other.parameters()], clip_lambda=theirs)
    train(net, optimizer, 3)

    saved = through_a_file(optimizer.state_dict(), **({"weights_only": True} if TORCH >= (2, 1) else {}))
    other.load_state_dict(net.state_dict())
    restored.load_state_dict(saved)
    train(net, optimizer, 3, start=3)
    train(other, restored, 3, start=3)

    assert len(said) == 1, "once for all groups"
    assert said[0].filename == __file__
    assert all(group["clip_lambda"] is theirs and group["clip_exp"] is None for group in restored.param_groups)
    assert all(group["clip_lambda"] is mine for group in optimizer.param_groups)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters()))


@pytest.mark.torch_from(2, 1, "no hooks of state_dict")
@pytest.mark.filterwarnings("ignore:clip_lambda")
@pytest.mark.parametrize("options", [{}, {"clip_lambda": lambda t: 0.5}], ids=["no callable", "callable"])
def test_a_hook_of_the_user_may_save_the_state_or_return_another_one(options):
    saved = []

    def save(optimizer, state_dict):
        saved.append(through_a_file(state_dict, weights_only=True))
        return {"optimizer": state_dict}

    net = model()
    optimizer = ADOPT(net.parameters(), **options)
    optimizer.register_state_dict_post_hook(save)
    optimizer.register_load_state_dict_pre_hook(lambda optimizer, state_dict: state_dict["optimizer"])
    train(net, optimizer, 2)

    optimizer.load_state_dict(optimizer.state_dict())

    assert saved[0]["state"].keys() == {0, 1, 2, 3}
    assert optimizer.param_groups[0]["clip_lambda"] is options.get("clip_lambda")
    assert len(optimizer._optimizer_state_dict_post_hooks) == 1


@pytest.mark.torch_from(2, 6, "it flattens no state of an optimizer")
@pytest.mark.filterwarnings("ignore:clip_lambda")
@pytest.mark.parametrize("flat", [True, False], ids=["flat", "nested"])
@pytest.mark.parametrize("options", [{}, {"clip_exp": None}, {"clip_lambda": root}], ids=["as is", "none", "callable"])
def test_a_distributed_checkpoint_has_all_keys_of_a_group(options, flat):
    from torch.distributed.checkpoint import state_dict as checkpoint

    net, other = model(), model()
    optimizer, restored = (ADOPT(n.parameters(), lr=lr, **options) for n, lr in ((net, 0.125), (other, 0.5)))
    train(net, optimizer, 3)
    chosen = checkpoint.StateDictOptions(flatten_optimizer_state_dict=flat)

    saved = checkpoint.get_optimizer_state_dict(net, optimizer, options=chosen)
    other.load_state_dict(net.state_dict())
    checkpoint.set_optimizer_state_dict(other, restored, through_a_file(saved, weights_only=True), options=chosen)
    train(net, optimizer, 3, start=3)
    train(other, restored, 3, start=3)

    names = ("lr", "clip_exp", "clip_lambda")
    assert [restored.param_groups[0][n] for n in names] == [optimizer.param_groups[0][n] for n in names]
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters()))


def test_an_optimizer_without_a_clip_lambda_keeps_its_own_clip_when_it_loads_a_state_that_has_none():
    net = model()
    with pytest.warns(UserWarning, match="is code"):
        optimizer = ADOPT(net.parameters(), clip_lambda=lambda t: 0.5)
    train(net, optimizer, 2)

    restored = ADOPT(net.parameters(), clip_exp=0.3)
    restored.load_state_dict(optimizer.state_dict())

    assert restored.param_groups[0]["clip_exp"] == 0.3 and restored.param_groups[0]["clip_lambda"] is None


def test_a_saved_exponent_takes_the_place_of_a_clip_lambda():
    net = model()
    optimizer = ADOPT(net.parameters(), clip_exp=0.3)
    restored = ADOPT(net.parameters(), clip_lambda=root)

    restored.load_state_dict(optimizer.state_dict())

    assert restored.param_groups[0]["clip_exp"] == 0.3 and restored.param_groups[0]["clip_lambda"] is None


def test_loading_copies_the_tensors_and_leaves_the_state_dict_alone():
    net = model()
    optimizer = ADOPT(net.parameters(), lr=0.01)
    train(net, optimizer, 3)
    saved = optimizer.state_dict()
    snapshot = copy.deepcopy(saved)

    other = model()
    restored = ADOPT(other.parameters())
    restored.load_state_dict(saved)
    train(other, restored, 3)

    assert saved["param_groups"] == snapshot["param_groups"]
    for key, state in snapshot["state"].items():
        for name, value in state.items():
            assert torch.equal(saved["state"][key][name], value)


def test_an_old_pickle_without_the_newer_keys_still_steps():
    net = model()
    optimizer = ADOPT(net.parameters(), lr=0.01)
    train(net, optimizer, 2)
    state = optimizer.__getstate__()
    for group in state["param_groups"]:
        for name in ("clip_exp", "clip_lambda", "rounding", "maximize", "foreach", "capturable"):
            del group[name]

    optimizer.__setstate__(state)
    train(net, optimizer, 2)

    assert optimizer.param_groups[0]["clip_exp"] == 0.25
