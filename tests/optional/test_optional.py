"""The optional patches are off unless they are named, and each fixes its breakage on the releases that have it."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
from optimizer_steps import RELEASE, parameters, step

import shim
from shim import rows

pytestmark = pytest.mark.filterwarnings("ignore:The verbose parameter is deprecated")


def since(*release):
    return pytest.mark.skipif(release > RELEASE, reason=f"bites from torch {release} on")


def before(*release):
    return pytest.mark.skipif(release <= RELEASE, reason=f"bites before torch {release}")


def reasons():
    return {outcome.patch: (outcome.state, outcome.reason) for outcome in shim.status().outcomes}


#: The rows whose names are older than the table of breakages.
NAMES = ("torch._six", "lr_scheduler", "numbers", "verbose", "state_steps", "resume")


def test_optional_patches_are_off_unless_named(mended):
    assert {*NAMES} <= {row.name for row in rows.load()}
    mended()
    assert not {*NAMES} & {*reasons()}


def test_the_environment_switches_optional_patches_on(python):
    since_2_0 = RELEASE >= (2, 0)
    code = "import torch, shim; print(*(o.patch for o in shim.status().outcomes if o.state == 'applied'))"
    applied = python(code, env={"SHIM_PATCHES": "resume, lr_scheduler,nonsense"})
    scheduler = "lr_scheduler" if since_2_0 else "lr_scheduler.LRScheduler"  # the row of this release
    assert {"resume", scheduler} <= set(applied.stdout.split())
    assert "numbers" not in applied.stdout.split()
    assert "SHIM_PATCHES names 'nonsense', which is not a patch" in applied.stderr


def test_deactivation_restores_everything(mended):
    def held():
        schedulers = torch.optim.lr_scheduler
        return [
            getattr(schedulers, "LRScheduler", None),
            schedulers._LRScheduler,
            vars(schedulers.StepLR)["__init__"],
            vars(torch.optim.Adam)["__init__"],
            vars(sys.modules["torch.optim.adam"]).get("_single_tensor_adam"),
            vars(torch.optim.Optimizer)["load_state_dict"],
            vars(torch.optim.Optimizer)["add_param_group"],
            getattr(torch, "_six", None),
            sys.modules.get("torch._six"),
        ]

    importlib.import_module("torch.optim.adam")
    old = held()
    mended(*NAMES)
    assert any(now is not then for now, then in zip(held(), old))
    shim.deactivate()
    assert all(now is then for now, then in zip(held(), old))


class TestTorchSix:
    @since(2, 0)
    def test_torch_six_can_be_imported_again(self, mended):
        with pytest.raises(ModuleNotFoundError, match=r"No module named 'torch\._six'"):
            importlib.import_module("torch._six")
        mended("torch._six")
        import torch._six
        from torch._six import container_abcs, inf, int_classes, string_classes

        assert isinstance("text", string_classes) and isinstance(3, int_classes)
        assert isinstance([], container_abcs.Sequence) and inf == float("inf")

        class Base(type):
            pass

        class Made(torch._six.with_metaclass(Base, dict)):
            pass

        assert type(Made) is Base and Made.__mro__ == (Made, dict, object)

    @before(1, 9)
    def test_torch_six_is_left_alone_where_torch_has_it(self, mended):
        from torch import _six

        mended("torch._six")
        assert reasons()["torch._six"] == ("not needed here", f"works with torch <1.9, this is {torch.__version__}")
        assert sys.modules["torch._six"] is _six


class TestLRScheduler:
    def test_both_names_are_the_base_class_of_the_schedulers(self, mended):
        if RELEASE < (2, 0):
            assert not hasattr(torch.optim.lr_scheduler, "LRScheduler")
        else:
            assert not issubclass(torch.optim.lr_scheduler.StepLR, torch.optim.lr_scheduler._LRScheduler)
        mended("lr_scheduler")
        from torch.optim.lr_scheduler import LRScheduler, StepLR, _LRScheduler

        assert issubclass(StepLR, LRScheduler) and issubclass(StepLR, _LRScheduler)

        class Own(_LRScheduler):
            def get_lr(self):
                return [0.5]

        scheduler = Own(torch.optim.SGD(parameters(), lr=0.1))
        assert isinstance(scheduler, LRScheduler) and scheduler.get_last_lr() == [0.5]


class TestVerbose:
    @since(2, 7)
    def test_schedulers_take_verbose_again(self, mended):
        schedulers = torch.optim.lr_scheduler
        optimizer = torch.optim.SGD(parameters(), lr=0.1)
        with pytest.raises(TypeError, match="unexpected keyword argument 'verbose'"):
            schedulers.StepLR(optimizer, 1, verbose=True)
        mended("verbose")
        assert schedulers.StepLR(optimizer, 1, verbose=True).step_size == 1
        assert schedulers.StepLR(optimizer, 1, 0.25, -1, True).gamma == 0.25
        assert schedulers.ReduceLROnPlateau(optimizer, verbose=False, patience=3).patience == 3
        with pytest.raises(TypeError, match="unexpected keyword argument 'verbos'"):
            schedulers.StepLR(optimizer, 1, verbos=True)

    @since(1, 7)
    @before(2, 7)
    def test_schedulers_are_left_alone_where_torch_takes_verbose(self, mended):
        mended("verbose")
        assert reasons()["verbose"][0] == "not needed here"


class OnTheGpu(torch.Tensor):
    """A tensor that claims to be on a GPU. torch 1.12.0 checks nothing else. The test machines have no GPU."""

    is_cuda = True


class TestStateSteps:
    @pytest.mark.skipif(RELEASE != (1, 12, 0), reason="bites on torch 1.12.0")
    @pytest.mark.parametrize("foreach", [False, True])
    @pytest.mark.parametrize("name", ["Adam", "AdamW"])
    def test_step_counters_on_the_gpu_are_accepted_and_continue(self, mended, name, foreach):
        def resumed(on_the_gpu):
            optimizer = getattr(torch.optim, name)(parameters(), foreach=foreach)
            step(optimizer)
            for state in optimizer.state.values():
                if on_the_gpu:
                    state["step"] = state["step"].as_subclass(OnTheGpu)
            step(optimizer, 2)
            assert [float(state["step"]) for state in optimizer.state.values()] == [3.0]
            return optimizer.param_groups[0]["params"][0].detach()

        with pytest.raises(AssertionError, match="state_steps should not be CUDA tensors"):
            resumed(on_the_gpu=True)
        expected = resumed(on_the_gpu=False)
        mended("state_steps")
        assert torch.equal(resumed(on_the_gpu=True), expected)
        assert torch.equal(resumed(on_the_gpu=False), expected)

    @pytest.mark.skipif(RELEASE == (1, 12, 0), reason="applied on torch 1.12.0")
    def test_step_counters_are_left_alone_on_every_other_release(self, mended):
        mended("state_steps")
        assert reasons()["state_steps"][0] == "not needed here"
