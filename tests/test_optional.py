"""The optional patches: off unless named, and each mends its breakage on the releases where it bites."""

from __future__ import annotations

import copy
import importlib
import sys

import pytest
import torch
from packaging.version import Version

import shim
from shim.patches import optional

pytestmark = pytest.mark.filterwarnings("ignore:The verbose parameter is deprecated")
RELEASE = Version(torch.__version__).release[:3]


def since(*release):
    return pytest.mark.skipif(release > RELEASE, reason=f"bites from torch {release} on")


def before(*release):
    return pytest.mark.skipif(release <= RELEASE, reason=f"bites before torch {release}")


@pytest.fixture
def mended():
    """Return a function that switches optional patches on; they are off again afterwards."""
    yield shim.activate
    shim.deactivate()


def parameters(count=1):
    return [torch.nn.Parameter(torch.ones(3, 2)) for _ in range(count)]


def step(optimizer, times=1):
    for _ in range(times):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.full_like(parameter, 0.5)
        optimizer.step()


def reasons():
    return {outcome.patch: (outcome.state, outcome.reason) for outcome in shim.status().outcomes}


def test_they_are_off_and_say_how_they_are_switched_on(mended):
    mended()
    for patch in optional.PATCHES:
        state, reason = reasons()[patch.name]
        assert state == "skipped"
        assert reason == f"optional: SHIM_PATCHES={patch.name} switches it on"


def test_the_environment_switches_them_on(python):
    code = "import torch, shim; print(*(o.patch for o in shim.status().outcomes if o.state == 'applied'))"
    applied = python(code, env={"SHIM_PATCHES": "resume, lr_scheduler,nonsense"})
    assert {"resume", "lr_scheduler"} <= set(applied.stdout.split())
    assert "numbers" not in applied.stdout.split()
    assert "SHIM_PATCHES names 'nonsense', which is no patch" in applied.stderr


def test_everything_is_put_back(mended):
    def held():
        schedulers = torch.optim.lr_scheduler
        return [
            getattr(schedulers, "LRScheduler", None),
            schedulers._LRScheduler,
            vars(schedulers.StepLR)["__init__"],
            vars(torch.optim.Adam)["__init__"],
            torch.optim.adam.__dict__.get("_single_tensor_adam"),
            vars(torch.optim.Optimizer)["load_state_dict"],
            vars(torch.optim.Optimizer)["add_param_group"],
            getattr(torch, "_six", None),
            sys.modules.get("torch._six"),
        ]

    importlib.import_module("torch.optim.adam")
    if not hasattr(torch.optim, "adam"):
        torch.optim.adam = sys.modules["torch.optim.adam"]
    old = held()
    mended(*(patch.name for patch in optional.PATCHES))
    assert any(now is not then for now, then in zip(held(), old))
    shim.deactivate()
    assert all(now is then for now, then in zip(held(), old))


class TestTorchSix:
    @since(2, 0)
    def test_can_be_imported_again(self, mended):
        with pytest.raises(ModuleNotFoundError, match=r"No module named 'torch\._six'"):
            importlib.import_module("torch._six")
        mended("torch._six")
        import torch._six
        from torch._six import container_abcs, inf, int_classes, string_classes

        assert isinstance("text", string_classes) and isinstance(3, int_classes)
        assert isinstance([], container_abcs.Sequence) and inf == float("inf")

        class Base(type):
            pass

        assert type(torch._six.with_metaclass(Base, dict)) is Base

    @before(2, 0)
    def test_is_left_alone_where_torch_has_it(self, mended):
        from torch import _six

        mended("torch._six")
        assert reasons()["torch._six"] == ("skipped", f"for torch >=2.0, this is {Version(torch.__version__)}")
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
    def test_schedulers_take_it_again(self, mended):
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

    @before(2, 7)
    def test_is_left_alone_where_torch_takes_it(self, mended):
        mended("verbose")
        assert reasons()["verbose"][0] == "skipped"


class OnTheGpu(torch.Tensor):
    """A counter that says it is on a GPU, which is all that 1.12.0 asks; there is none on the machines of the tests."""

    is_cuda = True


class TestStateSteps:
    @pytest.mark.skipif(RELEASE != (1, 12, 0), reason="bites on torch 1.12.0")
    @pytest.mark.parametrize("foreach", [False, True])
    @pytest.mark.parametrize("name", ["Adam", "AdamW"])
    def test_counters_on_the_gpu_are_taken_and_count_on(self, mended, name, foreach):
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
    def test_is_left_alone_on_every_other_release(self, mended):
        mended("state_steps")
        assert reasons()["state_steps"][0] == "skipped"


class TestResume:
    @staticmethod
    def checkpoint(make, change):
        """Return parameters after a step, and the state of their optimizer, changed as another release has it."""
        before_it = parameters(2)
        optimizer = make(before_it)
        step(optimizer)
        saved = copy.deepcopy(optimizer.state_dict())
        change(saved)
        step(optimizer, 2)
        return saved, [parameter.detach() for parameter in before_it]

    @staticmethod
    def resume(make, saved):
        resumed = parameters(2)
        optimizer = make(resumed)
        step(optimizer)
        optimizer.load_state_dict(saved)
        step(optimizer, 2)
        return [parameter.detach() for parameter in resumed]

    @staticmethod
    def tensor_and_number(saved):
        saved["state"][0]["step"] = torch.tensor(float(saved["state"][0]["step"]))
        saved["state"][1]["step"] = int(saved["state"][1]["step"])

    @staticmethod
    def tensors(saved):
        for state in saved["state"].values():
            state["step"] = torch.tensor(float(state["step"]))

    @pytest.mark.skipif(not (1, 12) <= RELEASE < (2, 0), reason="bites on torch 1.12 and 1.13")
    @pytest.mark.parametrize("name", ["Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam"])
    def test_a_number_among_tensors(self, mended, name):
        make = getattr(torch.optim, name)
        saved, expected = self.checkpoint(make, self.tensor_and_number)
        with pytest.raises((RuntimeError, AttributeError), match="singleton tensors|has no attribute 'item'"):
            self.resume(make, saved)
        mended("resume")
        assert all(torch.equal(*pair) for pair in zip(self.resume(make, saved), expected))

    @pytest.mark.skipif(not (1, 9) <= RELEASE < (1, 12), reason="bites on torch 1.9 to 1.11")
    def test_tensors_where_numbers_are_usual(self, mended):
        make = torch.optim._multi_tensor.Adam
        saved, expected = self.checkpoint(make, self.tensors)
        with pytest.raises(TypeError, match="_foreach_addcdiv_"):
            self.resume(make, saved)
        mended("resume")
        assert all(torch.equal(*pair) for pair in zip(self.resume(make, saved), expected))

    @pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RMSprop", "Rprop"])
    @pytest.mark.parametrize("change", ["tensors", "tensor_and_number"])
    def test_whatever_the_counters_were_the_result_is_the_same(self, mended, name, change):
        if not hasattr(torch.optim, name):
            pytest.skip(f"this torch has no {name}")
        make = getattr(torch.optim, name)
        saved, expected = self.checkpoint(make, getattr(self, change))
        mended("resume")
        assert all(torch.equal(*pair) for pair in zip(self.resume(make, saved), expected))

    def test_a_key_that_the_checkpoint_lacks_keeps_the_value_it_has(self, mended):
        class Newer(torch.optim.Adam):
            """An optimizer whose newer release has one more option."""

            def __init__(self, params, option=3):
                super().__init__(params)
                self.defaults["option"] = option
                for group in self.param_groups:
                    group["option"] = option

            def step(self, closure=None):
                assert [group["option"] for group in self.param_groups] == [3]
                return super().step(closure)

        saved, expected = self.checkpoint(Newer, lambda saved: saved["param_groups"][0].pop("option"))
        with pytest.raises(KeyError, match="option"):
            self.resume(Newer, saved)
        mended("resume")
        assert all(torch.equal(*pair) for pair in zip(self.resume(Newer, saved), expected))

    def test_a_checkpoint_of_another_shape_is_refused_as_before(self, mended):
        optimizer = torch.optim.Adam(parameters())
        mended("resume")
        with pytest.raises(ValueError, match="different number of parameter groups"):
            optimizer.load_state_dict({"state": {}, "param_groups": []})


class TestNumbers:
    @pytest.mark.parametrize(
        "name, given, meant",
        [
            ("Adam", {"lr": "1e-5"}, {"lr": 1e-5}),
            ("Adam", {"eps": "1e-8", "weight_decay": "1e-2"}, {"eps": 1e-8, "weight_decay": 1e-2}),
            ("AdamW", {"betas": ["0.9", "0.99"]}, {"betas": (0.9, 0.99)}),
            ("SGD", {"lr": 0.1, "momentum": ".9"}, {"lr": 0.1, "momentum": 0.9}),
        ],
        ids=str,
    )
    def test_strings_of_yaml_1_1_are_numbers(self, mended, name, given, meant):
        make = getattr(torch.optim, name)
        with pytest.raises(TypeError, match="not supported between instances"):
            make(parameters(), **given)
        mended("numbers")
        mine, usual = make(parameters(), **given), make(parameters(), **meant)
        assert {key: mine.param_groups[0][key] for key in meant} == meant
        step(mine)
        step(usual)
        assert torch.equal(mine.param_groups[0]["params"][0], usual.param_groups[0]["params"][0])

    @pytest.mark.parametrize("betas", [(0, 0.99), [0, 0.99]])
    def test_betas_may_be_ints_and_a_list(self, mended, betas):
        if RELEASE >= (2, 13):
            with pytest.raises(ValueError, match="betas must be either both floats or both Tensors"):
                torch.optim.Adam(parameters(), betas=betas)
        mended("numbers")
        given = torch.optim.Adam(parameters(), 1e-3, betas).param_groups[0]["betas"]
        assert given == (0.0, 0.99) and [type(beta) for beta in given] == [float, float]

    def test_a_group_may_hold_strings_too(self, mended):
        def make():
            return torch.optim.Adam([{"params": parameters(), "lr": "1e-5"}])

        with pytest.raises(TypeError, match="unsupported operand"):
            step(make())
        mended("numbers")
        optimizer = make()
        optimizer.add_param_group({"params": parameters(), "eps": "1e-6"})
        step(optimizer)
        assert [(group["lr"], group["eps"]) for group in optimizer.param_groups] == [(1e-5, 1e-8), (1e-3, 1e-6)]

    def test_what_is_no_number_stays(self, mended):
        mended("numbers")
        with pytest.raises(TypeError):
            torch.optim.Adam(parameters(), lr="fast")
        group = {"params": parameters(), "name": "head", "betas": (0.5, 0.6), "flags": [True], "none": None}
        optimizer = torch.optim.Adam([group])
        assert optimizer.param_groups[0]["name"] == "head" and optimizer.param_groups[0]["flags"] == [True]
