"""The optional patches: off unless named, and each fixes its breakage on the releases that have it."""

from __future__ import annotations

import collections
import collections.abc
import copy
import functools
import importlib
import inspect
import sys

import pytest
import torch
from packaging.version import Version

import shim
from shim import rows

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


OPTIMIZERS = sorted(
    name
    for name, value in vars(torch.optim).items()
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
)


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


#: The rows that had a name before there was a table of breakages.
NAMES = ("torch._six", "lr_scheduler", "numbers", "verbose", "state_steps", "resume")


def test_they_are_off_unless_named(mended):
    assert {*NAMES} <= {row.name for row in rows.load()}
    mended()
    assert not {*NAMES} & {*reasons()}


def test_the_environment_switches_them_on(python):
    since_2_0 = RELEASE >= (2, 0)
    code = "import torch, shim; print(*(o.patch for o in shim.status().outcomes if o.state == 'applied'))"
    applied = python(code, env={"SHIM_PATCHES": "resume, lr_scheduler,nonsense"})
    scheduler = "lr_scheduler" if since_2_0 else "lr_scheduler.LRScheduler"  # the one that breaks here
    assert {"resume", scheduler} <= set(applied.stdout.split())
    assert "numbers" not in applied.stdout.split()
    assert "SHIM_PATCHES names 'nonsense', which is not a patch" in applied.stderr


def test_everything_is_put_back(mended):
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

        class Made(torch._six.with_metaclass(Base, dict)):
            pass

        assert type(Made) is Base and Made.__mro__ == (Made, dict, object)

    @before(1, 9)
    def test_is_left_alone_where_torch_has_it(self, mended):
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

    @since(1, 7)
    @before(2, 7)
    def test_is_left_alone_where_torch_takes_it(self, mended):
        mended("verbose")
        assert reasons()["verbose"][0] == "not needed here"


class OnTheGpu(torch.Tensor):
    """A tensor that claims to be on a GPU, which is all that 1.12.0 checks. The test machines have no GPU."""

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
        assert reasons()["state_steps"][0] == "not needed here"


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
        first, second = saved["state"].values()
        first["step"] = torch.tensor(float(first["step"]))
        second["step"] = int(second["step"])

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

    #: What releases since 1.4 have added to the groups of their optimizers.
    ADDED = ("capturable", "decoupled_weight_decay", "differentiable", "foreach", "fused", "maximize")

    @pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("LBFGS", "SparseAdam")])
    def test_the_keys_that_newer_releases_have_added_keep_the_values_they_have(self, mended, name):
        def lacks_them(saved):
            for key in self.ADDED:
                saved["param_groups"][0].pop(key, None)

        cls = getattr(torch.optim, name)
        takes = inspect.signature(cls.__init__).parameters
        make = functools.partial(cls, **({"maximize": True} if "maximize" in takes else {}))
        saved, expected = self.checkpoint(lambda params: make(params, lr=0.1), lacks_them)
        mended("resume")
        assert all(
            torch.equal(*pair) for pair in zip(self.resume(lambda params: make(params, lr=0.1), saved), expected)
        )

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_an_optimizer_loads_as_often_as_it_is_asked_to(self, mended, name):
        def loaded():
            optimizer = getattr(torch.optim, name)(parameters(1), lr=0.25)
            saved = optimizer.state_dict()
            for _ in range(3):
                optimizer.load_state_dict(saved)
            optimizer.load_state_dict(optimizer.state_dict())
            return str(optimizer.param_groups)

        before_it = loaded()
        mended("resume")
        assert loaded() == before_it

    def test_a_checkpoint_may_be_given_by_its_name(self, mended):
        first, second = (torch.optim.SGD(parameters(), lr=0.1) for _ in range(2))
        saved = first.state_dict()
        added = set(self.ADDED).intersection(saved["param_groups"][0])
        for key in added:
            del saved["param_groups"][0][key]
        mended("resume")
        second.load_state_dict(state_dict=saved)
        assert added <= set(second.param_groups[0])

    def test_what_a_program_keeps_in_the_state_stays(self, mended):
        def loaded():
            optimizer = torch.optim.Adam(parameters(), lr=0.1)
            saved = optimizer.state_dict()
            saved["state"]["history"] = {"step": 7}
            optimizer.load_state_dict(saved)
            return repr(optimizer.state["history"])  # torch 1.12 to 2.0 converts it, too

        before_it = loaded()
        mended("resume")
        assert loaded() == before_it

    @pytest.mark.parametrize("name", ["Adam", "SGD"])
    @pytest.mark.parametrize("missing", ["lr", "weight_decay"])
    def test_any_other_key_that_is_missing_is_torchs_error(self, mended, name, missing):
        def make(params):
            return getattr(torch.optim, name)(params, lr=0.1)

        saved, _ = self.checkpoint(make, lambda saved: saved["param_groups"][0].pop(missing))
        mended("resume")
        with pytest.raises(KeyError, match=missing):
            self.resume(make, saved)

    @pytest.mark.parametrize(
        "ours, theirs", [(ours, theirs) for ours in OPTIMIZERS for theirs in OPTIMIZERS if ours != theirs]
    )
    def test_a_checkpoint_of_another_optimizer_is_what_it_is_without_the_patch(self, mended, ours, theirs):
        def loaded():
            first, second = (getattr(torch.optim, each)(parameters(1), lr=0.25) for each in (theirs, ours))
            saved = first.state_dict()
            saved["param_groups"][0].update(lr=0.5)
            try:
                second.load_state_dict(saved)
            except (KeyError, RuntimeError, ValueError) as error:
                return repr(error)
            return {key: value for key, value in second.param_groups[0].items() if key != "params"}

        before_it = loaded()
        mended("resume")
        assert loaded() == before_it

    @pytest.mark.parametrize("name", OPTIMIZERS)
    @pytest.mark.parametrize(
        "more",
        [{"epoch": 3}, {"note": "a"}, {"list": [1, {"step": 2}]}, {"dict": {"a": 1}}, {"tensor": torch.ones(2)}],
        ids=str,
    )
    def test_state_may_hold_more_than_that_of_parameters(self, mended, name, more):
        def loaded():
            first, second = (getattr(torch.optim, name)(parameters(1), lr=0.25) for _ in range(2))
            first.state.update(more)
            try:
                second.load_state_dict(first.state_dict())
            except (IndexError, KeyError, TypeError) as error:  # up to 2.2, some look at its step
                return repr(error)
            return {key: str(second.state[key]) for key in more}

        before_it = loaded()
        assert RELEASE < (2, 3) or before_it == {key: str(value) for key, value in more.items()}
        mended("resume")
        assert loaded() == before_it

    @pytest.mark.parametrize("step", [None, True, torch.ones(2), [1]], ids=str)
    def test_a_step_that_is_no_counter_stays(self, mended, step):
        mended("resume")
        optimizer = torch.optim.SGD(parameters(1), lr=0.25)
        optimizer.state[optimizer.param_groups[0]["params"][0]] = {"step": step}
        saved = optimizer.state_dict()
        optimizer.load_state_dict(saved)
        assert str(list(optimizer.state.values())) == str([{"step": step}])

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_what_was_saved_here_is_loaded_as_without_the_patch(self, mended, name):
        def loaded():
            first, second = (getattr(torch.optim, name)(parameters(2), lr=0.25) for _ in range(2))
            if name not in ("LBFGS", "SparseAdam"):
                step(first, 2)
            second.load_state_dict(first.state_dict())
            return str(list(second.state.values())), str(second.param_groups)

        before_it = loaded()
        mended("resume")
        assert loaded() == before_it

    @pytest.mark.parametrize("saved", [{}, {"state": {}}, {"state": {}, "param_groups": 3}, None, [], {1: 2}], ids=str)
    def test_what_is_no_checkpoint_is_torchs_error(self, mended, saved):
        def error():
            with pytest.raises(Exception) as caught:
                torch.optim.SGD(parameters(), lr=0.1).load_state_dict(saved)
            return repr(caught.value)

        before_it = error()
        mended("resume")
        assert error() == before_it

    def test_a_checkpoint_of_another_shape_is_refused_as_before(self, mended):
        optimizer = torch.optim.Adam(parameters())
        mended("resume")
        with pytest.raises(ValueError, match="different number of parameter groups"):
            optimizer.load_state_dict({"state": {}, "param_groups": []})


def numpy_float(number):
    return pytest.importorskip("numpy").float64(number)


class Pair(collections.abc.Sequence):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


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
        optimizer = torch.optim.Adam(parameters(), 1e-3, betas)
        given = optimizer.param_groups[0]["betas"]
        step(optimizer)
        if RELEASE >= (2, 13):
            assert given == (0.0, 0.99) and [type(beta) for beta in given] == [float, float]
        else:
            assert given is betas  # which torch takes

    @pytest.mark.parametrize(
        "betas",
        [
            "(0.5, 0.75)",
            "[0.5,0.75]",
            "0.5,0.75",
            " ( 5e-1 , .75, ) ",
            ["0.5", "0.75"],
            ["0.5", 0.75],
            collections.UserList(["0.5", "0.75"]),
            collections.deque([0.5, "0.75"]),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("where", ["constructor", "position", "group", "added"])
    @pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "Adamax"])
    def test_betas_are_what_configs_make_of_them(self, mended, name, where, betas):
        if not hasattr(torch.optim, name):
            pytest.skip(f"this torch has no {name}")
        mended("numbers")
        make, before_it = getattr(torch.optim, name), str(betas)
        if where == "constructor":
            optimizer = make(parameters(), betas=betas)
        elif where == "position":
            optimizer = make(parameters(), 1e-3, betas)
        elif where == "group":
            optimizer = make([{"params": parameters(), "betas": betas}])
        else:
            optimizer = make(parameters())
            optimizer.add_param_group({"params": parameters(), "betas": betas})
        given = optimizer.param_groups[-1]["betas"]
        assert given == (0.5, 0.75) and type(given) is tuple
        assert str(betas) == before_it
        step(optimizer)

    @pytest.mark.parametrize(
        "betas",
        ["0.5", "(0.5)", "0.5,0.75,0.9", "a,b", "(0.5, 0.75", "nan,0.5", "", ["a", "b"], ["0.5"], {}, 3],
        ids=str,
    )
    def test_what_is_no_pair_is_torchs_error(self, mended, betas):
        def result():
            try:
                return step(torch.optim.Adam(parameters(), betas=betas))
            except Exception as error:
                return repr(error)

        before_it = result()
        mended("numbers")
        assert result() == before_it and before_it is not None

    def test_a_group_may_hold_strings_too(self, mended):
        def make():
            return torch.optim.Adam([{"params": parameters(), "lr": "1e-5"}])

        with pytest.raises(TypeError, match="unsupported operand"):
            step(make())
        mended("numbers")
        optimizer = make()
        optimizer.add_param_group(param_group={"params": parameters(), "eps": "1e-6"})
        step(optimizer)
        assert [(group["lr"], group["eps"]) for group in optimizer.param_groups] == [(1e-5, 1e-8), (1e-3, 1e-6)]

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_what_is_no_hyperparameter_stays_and_so_does_the_programs_own_object(self, mended, name):
        mended("numbers")
        more = {
            "name": "1",
            "tag": "inf",
            "dims": (3, 4),
            "scale": "0.5",
            "flags": [True],
            "none": None,
            "pair": [0, 1],
        }
        if name != "Adam":
            more["amsgrad"] = "1"
        if name == "SGD":
            more["betas"] = [0, 1]
        given = {"params": parameters(), **more}
        as_it_is = torch.optim.Adam([given]) if name == "Adam" else getattr(torch.optim, name)([given], lr=0.1)
        assert as_it_is.param_groups[0] is given, "a group that torch takes is not copied"
        assert all(given[key] is value for key, value in more.items())
        if name == "LBFGS":
            return  # it takes one group
        spelled = {"params": parameters(), "lr": "1e-1", **more}
        before_it = dict(spelled)
        as_it_is.add_param_group(spelled)
        assert as_it_is.param_groups[1]["lr"] == 0.1
        assert spelled == before_it
        assert all(as_it_is.param_groups[1][key] is value for key, value in more.items())

    @pytest.mark.parametrize(
        "make",
        [list, tuple, collections.UserList, collections.deque, lambda pair: [*map(numpy_float, pair)], Pair],
        ids=["list", "tuple", "UserList", "deque", "numpy", "Sequence"],
    )
    @pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "Adamax"])
    def test_a_sequence_that_torch_takes_stays_the_very_object(self, mended, name, make):
        if not hasattr(torch.optim, name):
            pytest.skip(f"this torch has no {name}")
        cls, betas = getattr(torch.optim, name), make([0.5, 0.75])

        def taken():
            optimizers = [cls(parameters(), betas=betas), cls([{"params": parameters(), "betas": betas}])]
            optimizers[1].add_param_group({"params": parameters(), "betas": betas})
            for optimizer in optimizers:
                step(optimizer)
            groups = [group["betas"] for optimizer in optimizers for group in optimizer.param_groups]
            return [(type(each), each is betas) for each in groups]

        before_it = taken()
        mended("numbers")
        assert taken() == before_it

    def test_milestones_that_torch_takes_stay_the_very_object(self, mended):
        mended("numbers")
        schedulers = torch.optim.lr_scheduler
        if not hasattr(schedulers, "SequentialLR"):
            pytest.skip("this torch has no SequentialLR")
        optimizer, milestones = torch.optim.SGD(parameters(), lr=0.1), collections.UserList([2])
        parts = [schedulers.ExponentialLR(optimizer, gamma=0.5) for _ in range(2)]
        assert schedulers.SequentialLR(optimizer, parts, milestones)._milestones is milestones

    def test_a_list_that_torch_takes_stays_the_very_list(self, mended):
        mended("numbers")
        betas = [0.5, 0.75]
        assert torch.optim.Adam([{"params": parameters(), "betas": betas}]).param_groups[0]["betas"] is betas
        etas = (0, 2)
        assert torch.optim.Rprop([{"params": parameters(), "etas": etas}]).param_groups[0]["etas"] is etas

    def test_numbers_that_are_whole_stay_whole(self, mended):
        mended("numbers")
        options = {"max_iter": "5", "max_eval": "6", "history_size": "7", "line_search_fn": "strong_wolfe"}
        optimizer = torch.optim.LBFGS(parameters(), **options)
        group = optimizer.param_groups[0]
        assert [group[name] for name in options] == [5, 6, 7, "strong_wolfe"]
        assert type(group["max_iter"]) is int

    #: Python's float() takes some of these; no config means a number by them.
    NO_NUMBERS = ("fast", "nan", "inf", "", "None", "0,1", "1_0", "1e-1_0", "\u0660.\u0665", "\uff11", "\u20091", b"1")

    @pytest.mark.parametrize("value", NO_NUMBERS, ids=ascii)
    def test_what_is_no_number_is_torchs_error(self, mended, value):
        mended("numbers")
        with pytest.raises(TypeError):
            torch.optim.Adam(parameters(), lr=value)
        for betas in ([value, "0.5"], f"{value}, 0.5"):
            with pytest.raises((TypeError, ValueError)):
                torch.optim.Adam(parameters(), betas=betas)
        with pytest.raises(TypeError):
            step(torch.optim.Adam([{"params": parameters(), "lr": value}]))

    SCHEDULERS = (
        ("ReduceLROnPlateau", {"min_lr": "1e-6", "factor": "0.5", "patience": "0"}, {"min_lr": 1e-6, "factor": 0.5}),
        ("ReduceLROnPlateau", {"min_lr": ["1e-6"], "patience": "0"}, {"min_lr": [1e-6]}),
        ("ReduceLROnPlateau", {"min_lr": collections.UserList([1e-6]), "patience": "0"}, {"min_lr": [1e-6]}),
        ("StepLR", {"step_size": "2", "gamma": "1e-1"}, {"step_size": 2, "gamma": 0.1}),
        ("MultiStepLR", {"milestones": ["1", "2"], "gamma": "5e-1"}, {"milestones": [1, 2], "gamma": 0.5}),
        ("MultiStepLR", {"milestones": "[1, 2]"}, {"milestones": [1, 2]}),
        ("ExponentialLR", {"gamma": "9e-1"}, {"gamma": 0.9}),
        ("CosineAnnealingLR", {"T_max": "10", "eta_min": "1e-6"}, {"T_max": 10, "eta_min": 1e-6}),
        ("CyclicLR", {"base_lr": "1e-3", "max_lr": "1e-1", "step_size_up": "2"}, {"base_lr": 1e-3, "max_lr": 0.1}),
        ("OneCycleLR", {"max_lr": ["1e-1"], "total_steps": "10"}, {"max_lr": [0.1], "total_steps": 10}),
    )

    @pytest.mark.filterwarnings("ignore:Detected call of")
    @pytest.mark.parametrize("name, spelled, meant", SCHEDULERS, ids=str)
    def test_a_schedulers_numbers(self, mended, name, spelled, meant):
        make = getattr(torch.optim.lr_scheduler, name)
        before_it = str(spelled)

        def rates(given):
            optimizer = torch.optim.SGD(parameters(), lr=0.1, momentum=0.9)
            scheduler = make(optimizer, **given)
            seen = []
            for _ in range(5):
                step(optimizer)
                scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
                seen.append(optimizer.param_groups[0]["lr"])
            return seen

        whole = {key: int(value) for key, value in spelled.items() if isinstance(value, str) and value.isdigit()}
        expected = rates({**whole, **meant})
        mended("numbers")
        assert rates(spelled) == expected
        assert str(spelled) == before_it

    def test_what_a_scheduler_takes_that_is_no_number_stays(self, mended):
        mended("numbers")
        optimizer, rates = torch.optim.SGD(parameters(), lr=0.1), [lambda epoch: 0.5]
        assert torch.optim.lr_scheduler.LambdaLR(optimizer, rates).lr_lambdas == rates
        milestones = range(3)
        assert sorted(torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones).milestones) == [0, 1, 2]
        assert list(torch.optim.lr_scheduler.MultiStepLR(optimizer, "3").milestones) == ["3"]
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", threshold_mode="abs")
        assert (plateau.mode, plateau.threshold_mode) == ("max", "abs")
        with pytest.raises(ValueError, match="mode 1 is unknown"):
            torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "1")

    def test_with_the_patch_for_verbose_too(self, mended):
        mended("numbers", "verbose")
        optimizer = torch.optim.SGD(parameters(), lr=0.1)
        assert torch.optim.lr_scheduler.StepLR(optimizer, "1", "0.25", -1).gamma == 0.25
        if RELEASE < (1, 5):  # before the verbose
            return
        assert torch.optim.lr_scheduler.StepLR(optimizer, "1", "0.25", -1, False).gamma == 0.25
        assert torch.optim.lr_scheduler.StepLR(optimizer, "1", verbose=False).step_size == 1
