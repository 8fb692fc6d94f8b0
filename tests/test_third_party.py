"""The optimizers of other packages, given None, crash without shim, and train as with 0.0 with it."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import shim  # noqa: E402
from shim.patches import third_party  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the package, and those of shim, which tests/guards checks

TESTS = Path(__file__).parent
PINNED = "".join((TESTS / file).read_text() for file in ("third_party.txt", "clients/requirements/timm.txt"))
FAMILIES = {package: paths for package, note, paths in third_party.FAMILIES if "not run" not in note}
sys.path.append(str(TESTS / "clients" / "scripts"))

#: Arguments that an optimizer requires besides parameters and lr.
NEEDS = {
    "LARS": {"momentum": 0.9},
    "LARS32bit": {"momentum": 0.9},
    "LARS8bit": {"momentum": 0.9},
    "PytorchLARS": {"momentum": 0.9},
    "Ranger21": {"num_iterations": 10},
    "SGD": {"momentum": 0.9},
    "SGD32bit": {"momentum": 0.9},
    "SGD8bit": {"momentum": 0.9},
    "Adafactor": {"relative_step": False},
}

#: Optimizers that are not run here, with the reason.
LEFT_OUT = {
    "AdEMAMix32bit": "its CPU kernel fails with every weight_decay",
    "PagedAdEMAMix32bit": "its CPU kernel fails with every weight_decay",
    "AdaLOMO": "takes a model, and steps in the backward pass",
    "AdamMini": "takes a model",
    "BSAM": "fails with every weight_decay",
    "DeMo": "takes a process group",
    "DistributedMuon": "takes a process group",
    "Optimizer1State": "a base class",
    "Optimizer2State": "a base class",
    "ScheduleFreeWrapper": "wraps an optimizer",
}


def classes(package):
    """Return the optimizers that the row of a package covers."""
    found = {}
    for path in FAMILIES[package]:
        module_name, _, name = path.partition(":")
        try:
            if package == "timm":
                importlib.import_module("cpu_torchvision")
            module = importlib.import_module(module_name)
        except (ImportError, RuntimeError, AttributeError) as error:
            pytest.skip(f"{module_name} cannot be imported: {error}")
        for value in vars(module).values() if name == "*" else (getattr(module, name),):
            if (
                isinstance(value, type)
                and issubclass(value, torch.optim.Optimizer)
                and value.__module__.startswith(module_name)
                and "weight_decay" in inspect.signature(value.__init__).parameters
            ):
                found[value.__name__] = value
    return {name: cls for name, cls in found.items() if package == "timm" or name not in LEFT_OUT}


def train(cls, weight_decay, in_group, size=4):
    """Take eight steps, enough for optimizers with a warm-up, and return the parameters."""
    torch.manual_seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)  # pytorch_optimizer's Kron balances when numpy's random number is small
    model = torch.nn.Sequential(torch.nn.Linear(size, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    parameters = list(model.parameters())
    by_matrix = cls.__module__.startswith("pytorch_optimizer.optimizer.muon")
    if by_matrix or cls.__name__ == "SpectralSphere":
        parameters = [parameter for parameter in parameters if parameter.ndim == 2]
    group = {"params": parameters, **({"use_muon": True} if by_matrix else {})}
    options = {"weight_decay": weight_decay}
    known = inspect.signature(cls.__init__).parameters
    extra = {name: value for name, value in NEEDS.get(cls.__name__, {}).items() if name in known}
    if "lr" in known:
        extra["lr"] = 0.01
    if "triton" in known and not torch.cuda.is_available():
        extra["triton"] = False  # torch-optimi's StableAdamW asks for a GPU where Triton is installed
    if in_group:
        optimizer = cls([{**group, **options}], **extra)
    else:
        optimizer = cls([group], **options, **extra)
    if hasattr(optimizer, "train"):
        optimizer.train()

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(2, size)).pow(2).sum()
        loss.backward(create_graph=cls.__name__.lower() in ("adahessian", "sophiah"))
        return loss

    takes_closure = "Closure" in cls.__name__ or cls.__name__ == "Mars"
    for _ in range(8):
        if takes_closure:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def outcome(cls, weight_decay, in_group):
    try:
        return train(cls, weight_decay, in_group)
    except Exception as error:
        return error


@pytest.mark.parametrize("in_group", [False, True], ids=["in the constructor", "in a group"])
@pytest.mark.parametrize("package", FAMILIES)
def test_none_crashes_without_shim_and_equals_zero_with_shim(package, in_group):
    optimizers = classes(package)
    zero = {name: outcome(cls, 0.0, in_group) for name, cls in optimizers.items()}
    without = {name: outcome(cls, None, in_group) for name, cls in optimizers.items()}
    with shim.activated():
        mended = {name: outcome(cls, None, in_group) for name, cls in optimizers.items()}
        numbers = {name: outcome(cls, 0.0, in_group) for name, cls in optimizers.items()}
    wrong = {}
    for name, expected in zero.items():
        if not isinstance(expected, torch.Tensor):
            wrong[name] = f"without shim and None: {expected!r}"
        elif not isinstance(without[name], (TypeError, RuntimeError)):
            wrong[name] = "does not crash without shim"
        elif not isinstance(mended[name], torch.Tensor) or not torch.equal(mended[name], expected):
            wrong[name] = f"with shim: {mended[name]!r}"
        elif not torch.equal(numbers[name], expected):
            wrong[name] = "the guards change numbers"
    assert not wrong


@pytest.mark.parametrize("package", FAMILIES)
def test_the_row_is_applied_and_names_the_release_that_it_was_run_with(package):
    classes(package)
    with shim.activated():
        row = next(one for one in shim.status().outcomes if one.patch == package)
    pinned = re.search(rf"^{re.escape(package)}==(.*)$", PINNED, re.MULTILINE).group(1)
    assert row.state == "applied"
    assert f"run with {pinned}" in row.reason


@pytest.mark.parametrize(
    "package, names",
    [
        ("bitsandbytes", {"AdamW", "AdamW8bit", "AdamW32bit", "PagedAdamW8bit"}),
        ("pytorch_optimizer", {"ADOPT", "AdaBelief", "Lamb"}),
        ("timm", {"Adopt", "AdamWLegacy", "Lamb", "LaProp"}),
        ("torch-optimi", {"Adam", "AdamW", "Lion", "StableAdamW"}),
    ],
)
def test_a_row_for_a_module_covers_these_optimizers(package, names):
    assert names <= set(classes(package))


def test_a_row_that_was_only_read_says_so():
    unrun = {package: note for package, note, _ in third_party.FAMILIES if package not in FAMILIES}
    assert set(unrun) == {"apex", "deepspeed"}
    assert all("read, not run" in note for note in unrun.values())
    with shim.activated():
        skipped = {one.patch: one.reason for one in shim.status().outcomes}
    assert skipped["apex"] == "apex.optimizers is not imported"


@pytest.mark.parametrize("paged_size", [8192])
def test_an_optimizer_with_8_bit_state_is_guarded(paged_size):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    with shim.activated():
        mended = train(bitsandbytes.optim.AdamW8bit, None, False, size=paged_size)
    assert torch.equal(mended, train(bitsandbytes.optim.AdamW8bit, 0.0, False, size=paged_size))


def test_a_subclass_in_which_none_has_a_meaning_keeps_its_none():
    lion_pytorch = pytest.importorskip("lion_pytorch")

    class Frozen(lion_pytorch.Lion):
        def step(self, closure=None):
            return [group for group in self.param_groups if group["weight_decay"] is not None]

    with shim.activated():
        optimizer = Frozen([torch.nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=None)
        assert optimizer.step() == []
    assert optimizer.param_groups[0]["weight_decay"] is None


@pytest.mark.parametrize("order", ["import lion_pytorch, torch", "import torch, lion_pytorch"])
def test_a_package_that_imports_torch_is_guarded(order, python):
    pytest.importorskip("lion_pytorch")
    code = f"""
        {order}
        p = torch.nn.Parameter(torch.ones(1))
        p.grad = torch.ones(1)
        lion_pytorch.Lion([p], weight_decay=None).step()
        print(type(lion_pytorch.__spec__).__name__)
    """
    result = python(code, env={"PYTHONWARNINGS": "ignore"})
    assert result.stdout == "ModuleSpec\n", result.stderr
