"""The patch named numbers converts numbers that a config spells as strings, and nothing else."""

from __future__ import annotations

import collections
import collections.abc

import numpy
import pytest
import torch
from optimizer_steps import OPTIMIZERS, RELEASE, parameters, step

from shim.adopt import ADOPT

pytestmark = pytest.mark.filterwarnings("ignore:The verbose parameter is deprecated")


def numpy_float(number):
    return numpy.float64(number)


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

    @pytest.mark.parametrize("betas", [(0, 0.99), [0, 0.99], (numpy.int64(0), 0.99)])
    def test_betas_may_be_ints_and_a_list(self, mended, betas):
        if RELEASE >= (2, 6):
            with pytest.raises(ValueError, match="betas must be either both floats or both Tensors"):
                torch.optim.Adam(parameters(), betas=betas)
        mended("numbers")
        optimizer = torch.optim.Adam(parameters(), 1e-3, betas)
        given = optimizer.param_groups[0]["betas"]
        step(optimizer)
        if RELEASE >= (2, 6):
            assert given == (0.0, 0.99) and [type(beta) for beta in given] == [float, float]
        else:
            assert given is betas  # torch accepts this one

    @pytest.mark.parametrize(
        "betas",
        [
            "(0.5, 0.75)",
            "[0.5,0.75]",
            "0.5,0.75",
            " ( 5e-1 , .75, ) ",
            "('0.5', '0.75')",
            '["0.5", "0.75"]',
            ["0.5", "0.75"],
            ["0.5", numpy.float32(0.75)],
            ["0.5", 0.75],
            collections.UserList(["0.5", "0.75"]),
            collections.deque([0.5, "0.75"]),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("where", ["constructor", "position", "group", "added"])
    @pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "Adamax"])
    def test_betas_of_any_config_format_are_accepted(self, mended, name, where, betas):
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

    @pytest.mark.parametrize("where", ["constructor", "group"])
    def test_adopt_takes_strings_of_a_config_too(self, mended, where):
        mended("numbers")
        given = {"lr": "1e-3", "betas": ["0.5", "0.75"]}
        groups = parameters() if where == "constructor" else [{"params": parameters(), **given}]
        [group] = ADOPT(groups, **(given if where == "constructor" else {})).param_groups
        assert (group["lr"], group["betas"]) == (1e-3, (0.5, 0.75))

    @pytest.mark.parametrize(
        "betas",
        ["0.5", "(0.5)", "0.5,0.75,0.9", "a,b", "(0.5, 0.75", "nan,0.5", "", ["a", "b"], ["0.5"], {}, 3],
        ids=str,
    )
    def test_betas_that_are_no_pair_raise_torchs_error(self, mended, betas):
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
    def test_other_options_and_the_programs_own_objects_are_unchanged(self, mended, name):
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
            return  # it accepts only one group
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
    def test_a_sequence_that_torch_takes_stays_the_same_object(self, mended, name, make):
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

    def test_milestones_that_torch_takes_stay_the_same_object(self, mended):
        mended("numbers")
        schedulers = torch.optim.lr_scheduler
        if not hasattr(schedulers, "SequentialLR"):
            pytest.skip("this torch has no SequentialLR")
        optimizer, milestones = torch.optim.SGD(parameters(), lr=0.1), collections.UserList([2])
        parts = [schedulers.ExponentialLR(optimizer, gamma=0.5) for _ in range(2)]
        assert schedulers.SequentialLR(optimizer, parts, milestones)._milestones is milestones

    def test_a_list_that_torch_takes_stays_the_same_list(self, mended):
        mended("numbers")
        betas = [0.5, 0.75]
        assert torch.optim.Adam([{"params": parameters(), "betas": betas}]).param_groups[0]["betas"] is betas
        etas = (0, 2)
        assert torch.optim.Rprop([{"params": parameters(), "etas": etas}]).param_groups[0]["etas"] is etas

    def test_integers_stay_integers(self, mended):
        mended("numbers")
        options = {"max_iter": "5", "max_eval": "6", "history_size": "7", "line_search_fn": "strong_wolfe"}
        optimizer = torch.optim.LBFGS(parameters(), **options)
        group = optimizer.param_groups[0]
        assert [group[name] for name in options] == [5, 6, 7, "strong_wolfe"]
        assert type(group["max_iter"]) is int

    #: Python's float() accepts some of these, but no config means a number with them.
    NO_NUMBERS = ("fast", "nan", "inf", "", "None", "0,1", "1_0", "1e-1_0", "\u0660.\u0665", "\uff11", "\u20091", b"1")

    @pytest.mark.parametrize("value", NO_NUMBERS, ids=ascii)
    def test_a_string_that_is_no_number_raises_torchs_error(self, mended, value):
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
    def test_strings_in_schedulers_are_numbers(self, mended, name, spelled, meant):
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

    def test_scheduler_arguments_that_are_no_numbers_are_unchanged(self, mended):
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

    def test_the_patch_numbers_works_with_the_patch_verbose(self, mended):
        mended("numbers", "verbose")
        optimizer = torch.optim.SGD(parameters(), lr=0.1)
        assert torch.optim.lr_scheduler.StepLR(optimizer, "1", "0.25", -1).gamma == 0.25
        if RELEASE < (1, 5):  # before it had the argument verbose
            return
        assert torch.optim.lr_scheduler.StepLR(optimizer, "1", "0.25", -1, False).gamma == 0.25
        assert torch.optim.lr_scheduler.StepLR(optimizer, "1", verbose=False).step_size == 1
