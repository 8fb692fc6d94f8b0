"""A patch is data. One that cannot be applied reports the reason, and torch works without it."""

from __future__ import annotations

import inspect
import pickle
import sys
import types
import warnings

import pytest
import torch

import shim
from shim import guards
from shim.layout import probe
from shim.patches import PATCHES
from shim.registry import Choice, Outcome, Patch, Registry
from shim.targets import Target


@pytest.fixture
def registry():
    """Return a function that makes a registry. Its patches are undone after the test."""
    made = []

    def make(*patches):
        made.append(Registry(patches))
        return made[-1]

    yield make
    for one in made:
        one.restore()


ADAM = Patch(
    "adam",
    "for the test",
    (Target("constructor", "torch.optim.adam:Adam"), Target("step", "torch.optim.adam:Adam")),
)


def adam_takes_none():
    """Return whether an Adam that is given None has 0.0."""
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.ones(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", shim.NoneWeightDecayWarning)
        try:
            optimizer = torch.optim.Adam([parameter], weight_decay=None)
            optimizer.step()
        except TypeError:
            return False
    return optimizer.param_groups[0]["weight_decay"] == 0.0


def test_every_patch_has_a_name_a_reason_and_targets_of_its_own():
    names = [patch.name for patch in PATCHES]
    paths = [(target.kind, target.path) for patch in PATCHES for target in patch.targets]
    assert len(set(names)) == len(names) and len(set(paths)) == len(paths)
    assert all(patch.reason and patch.targets for patch in PATCHES)
    assert PATCHES[0] == PATCHES[0]._replace() and "adafactor" in repr(PATCHES[0])


def test_a_patch_is_applied_and_restored(registry):
    one = registry(ADAM)
    assert not adam_takes_none()
    one.apply(probe(), Choice())
    assert one.outcomes() == (Outcome("adam", "applied", "torch.optim.adam: Adam"),)
    assert adam_takes_none()
    one.restore()
    assert one.outcomes()[0].state == "skipped"
    assert not adam_takes_none()


def test_a_patch_that_is_not_applied_yet_says_so(registry):
    assert registry(ADAM).outcomes() == (Outcome("adam", "skipped", "not applied yet"),)


@pytest.mark.parametrize(
    "path, reason",
    [
        ("torch.optim.adam:Nadam", "torch.optim.adam:Nadam does not exist in the installed release"),
        ("torch.optim.never:Adam", "torch.optim.never is not imported"),
    ],
)
def test_a_patch_whose_target_is_missing_is_skipped_with_that_reason(registry, path, reason):
    one = registry(Patch("missing", "for the test", (Target("constructor", path),)))
    one.apply(probe(), Choice())
    assert one.outcomes() == (Outcome("missing", "skipped", reason),)


def test_a_patch_for_other_releases_is_skipped_with_that_reason(registry):
    one = registry(ADAM._replace(versions="<1.0"))
    one.apply(probe(), Choice())
    assert one.outcomes()[0].state == "skipped"
    assert "for torch <1.0, this is" in one.outcomes()[0].reason


def test_a_patch_named_in_skip_is_skipped(registry):
    one = registry(ADAM)
    one.apply(probe(), Choice({"adam": "left out by SHIM_SKIP"}))
    assert one.outcomes() == (Outcome("adam", "skipped", "left out by SHIM_SKIP"),)


def test_a_patch_that_raises_is_failed_and_undone_and_the_others_are_applied(registry, monkeypatch):
    original = torch.optim.SGD.__init__
    monkeypatch.setattr(guards, "functional", lambda *args: 1 / 0)
    sgd = (Target("constructor", "torch.optim.sgd:SGD"), Target("functional", "torch.optim.sgd:SGD.step"))
    one = registry(Patch("broken", "for the test", sgd), ADAM)
    one.apply(probe(), Choice())
    assert [outcome.state for outcome in one.outcomes()] == ["failed", "applied"]
    assert one.outcomes()[0].reason == "ZeroDivisionError: division by zero"
    assert torch.optim.SGD.__init__ is original
    assert adam_takes_none()


def test_two_patches_of_one_name_are_refused():
    with pytest.raises(ValueError, match="named 'adam' is registered already"):
        Registry([ADAM, ADAM])


def test_torch_optim_adam_can_be_imported_and_called_and_is_removed_afterwards():
    from torch.optim import adam

    kind = type(torch.optim)
    with shim.activated():
        from torch.optim import adam as imported

        assert imported is getattr(torch.optim, "adam") is torch.optim.adam is adam  # noqa: B009
        assert "adam" not in vars(torch.optim) and "adam" not in dir(torch.optim)
        optimizer = torch.optim.adam([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        assert type(optimizer) is torch.optim.Adam and optimizer.defaults["lr"] == 0.5
        assert inspect.signature(adam) == inspect.signature(torch.optim.Adam)
        assert isinstance(adam, types.ModuleType) and pickle.loads(pickle.dumps(adam)) is adam
        with pytest.raises(AttributeError, match=r"^module 'torch\.optim' has no attribute 'adamw'$"):
            _ = torch.optim.adamw
    assert not hasattr(torch.optim, "adam") and not callable(adam)
    assert type(torch.optim) is kind is type(adam)


def test_an_optimizer_that_torch_adds_one_day_is_guarded_and_named(monkeypatch):
    module = types.ModuleType("torch.optim.soap")
    exec(SOAP, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch.optim, "Soap", module.Soap, raising=False)
    with shim.activated():
        with pytest.warns(shim.NoneWeightDecayWarning, match=r"Soap's own default is 0\.5"):
            assert module.Soap([torch.nn.Parameter(torch.ones(1))], weight_decay=None).given == 0.0
        with pytest.warns(shim.NoneWeightDecayWarning, match="soap got"):
            assert module.soap([1], weight_decay=None) == 0.0
        outcomes = {one.patch: one.state for one in shim.status().outcomes}
    assert outcomes["torch.optim.soap:Soap"] == outcomes["torch.optim.soap:soap"] == "applied"


def test_an_optimizer_that_a_program_puts_into_torch_optim_stays_the_programs(monkeypatch):
    class Own(torch.optim.SGD):
        def __init__(self, params, lr=0.1, weight_decay=0.5):
            super().__init__(params, lr=lr)
            self.given = weight_decay

    monkeypatch.setattr(torch.optim, "Own", Own, raising=False)
    with shim.activated():
        assert Own([torch.nn.Parameter(torch.ones(1))], weight_decay=None).given is None


SOAP = """
from torch.optim import SGD

class Soap(SGD):
    def __init__(self, params, lr=0.1, weight_decay=0.5):
        super().__init__(params, lr=lr)
        self.given = weight_decay

def soap(params, *, weight_decay):
    return weight_decay
"""
