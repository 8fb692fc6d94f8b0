"""The warning names the place of a None. It comes once per place, from one rank, and the warning filters apply."""

from __future__ import annotations

import sys
import textwrap
import types
import warnings

import pytest
import torch
from torch_optimizers import build, one_parameter, warned

import shim
import shim.rank
import shim.warning


def test_the_warning_names_optimizer_place_and_own_default_and_points_at_the_users_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer = torch.optim.AdamW([one_parameter()], weight_decay=None)
        in_constructor = sys._getframe().f_lineno - 1
        optimizer.param_groups[0]["weight_decay"] = None
        optimizer.step()
        in_step = sys._getframe().f_lineno - 1
    assert [(w.filename, w.lineno) for w in caught] == [(__file__, in_constructor), (__file__, in_step)]
    assert "AdamW got weight_decay=None in its arguments" in str(caught[0].message)
    assert "AdamW got weight_decay=None in parameter group 0" in str(caught[1].message)
    assert all("AdamW's own default is 0.01" in str(w.message) for w in caught)


def test_the_warning_comes_once_per_place():
    optimizer = torch.optim.AdamW([one_parameter()])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            optimizer.param_groups[0]["weight_decay"] = None
            optimizer.step()
    assert len(caught) == 1


def test_the_users_warning_filters_decide():
    optimizer = torch.optim.AdamW([one_parameter()])
    optimizer.param_groups[0]["weight_decay"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("error", shim.NoneWeightDecayWarning)
        with pytest.raises(shim.NoneWeightDecayWarning):
            optimizer.step()
        warnings.simplefilter("ignore", shim.NoneWeightDecayWarning)
        optimizer.step()


class TestOncePerPlace:
    """The warning comes once, also if a change of the filters resets Python's registry. The filters still apply."""

    @staticmethod
    def said(between=lambda: None, times=6, cls=torch.optim.AdamW, action="default"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action, shim.NoneWeightDecayWarning)
            for _ in range(times):
                between()
                cls([one_parameter()], lr=0.1, weight_decay=None)
        return len([w for w in caught if w.category is shim.NoneWeightDecayWarning])

    @staticmethod
    def touch():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")

    @pytest.fixture(autouse=True)
    def nothing_was_said(self, monkeypatch):
        monkeypatch.setattr(shim.warning.NONES, "warned", set())

    @pytest.mark.parametrize("action", ["default", "module", "once"])
    @pytest.mark.parametrize("name", ["AdamW", "SGD"])
    def test_the_warning_comes_once_in_a_loop_with_and_without_a_change_of_filters(self, name, action):
        assert self.said(cls=getattr(torch.optim, name), action=action) == 1
        assert self.said(self.touch, cls=getattr(torch.optim, name), action=action) == 0  # nor later on

    def test_the_warning_comes_once_if_the_filters_change_from_the_start(self):
        assert self.said(self.touch) == 1

    def test_the_filter_always_shows_the_warning_each_time(self):
        assert self.said(self.touch, action="always") == 6

    def test_the_filter_error_raises_the_warning_each_time(self):
        for _ in range(3):
            with pytest.raises(shim.NoneWeightDecayWarning):
                self.said(action="error")

    def test_an_ignored_warning_does_not_count_as_shown(self):
        assert self.said(action="ignore") == 0
        assert self.said() == 1

    @pytest.mark.parametrize(
        "chosen, said",
        [
            ({"message": "AdamW"}, 6),
            ({"message": "sgd got"}, 0),
            ({"module": __name__.replace(".", r"\.")}, 0),
            ({"module": "torch"}, 6),
            ({"category": UserWarning}, 0),
            ({"category": DeprecationWarning}, 6),
            ({"lineno": 1}, 6),
        ],
    )
    def test_the_first_filter_that_fits_decides_as_for_any_warning(self, chosen, said):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", shim.NoneWeightDecayWarning)
            warnings.filterwarnings("ignore", **chosen)
            for _ in range(6):
                torch.optim.SGD([one_parameter()], lr=0.1, weight_decay=None)
        assert len(caught) == said

    def test_the_warning_comes_once_in_a_fresh_process(self, python):
        code = """
            import warnings, torch
            for _ in range(6): torch.optim.AdamW([torch.ones(1)], weight_decay=None)
            for _ in range(5):
                with warnings.catch_warnings(): torch.optim.SGD([torch.ones(1)], lr=1.0, weight_decay=None)
        """
        assert python(code).stderr.count("NoneWeightDecayWarning") == 2
        assert python(["-W", "always", "-c", textwrap.dedent(code)]).stderr.count("NoneWeightDecayWarning") == 11
        assert python(["-W", "ignore", "-c", textwrap.dedent(code)]).stderr == ""


class TestRank:
    @pytest.fixture(autouse=True)
    def no_rank(self, monkeypatch):
        for name in shim.rank.RANKS:
            monkeypatch.delenv(name, raising=False)

    @pytest.mark.parametrize("name", shim.rank.RANKS)
    def test_only_rank_0_warns_and_every_rank_is_guarded(self, name, monkeypatch, recwarn):
        monkeypatch.setenv(name, "1")
        assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0
        assert not recwarn.list
        monkeypatch.setenv(name, "0")
        with warned():
            build(weight_decay=None)

    def test_the_rank_of_torch_comes_before_that_of_slurm(self, monkeypatch):
        monkeypatch.setenv("SLURM_PROCID", "1")
        monkeypatch.setenv("RANK", "0")
        with warned():
            build(weight_decay=None)

    @pytest.mark.parametrize("rank", ["²", "", "-1", " ", "one", "1.0", "٣x", "0x1", "9" * 5000 + "!", "\udcff"])
    def test_an_invalid_rank_counts_as_no_rank(self, rank, monkeypatch):
        for name in shim.rank.RANKS:
            monkeypatch.setenv(name, rank)
        with warned():
            assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0

    @pytest.mark.parametrize("stand_in", [None, 3, types.ModuleType("torch.distributed")])
    def test_a_missing_torch_distributed_means_no_rank(self, stand_in, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch.distributed", stand_in)
        with warned():
            build(weight_decay=None)


class OfItsCaller(torch.optim.Optimizer):
    """An optimizer whose warnings name the line of its caller."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        warnings.warn("of the constructor", DeprecationWarning, stacklevel=2)
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def step(self, closure=None):
        warnings.warn("of a step", DeprecationWarning, stacklevel=3 if "profile_hook_step" in dir(self) else 2)


def test_a_warning_about_the_caller_is_about_the_same_line_as_without_shim():
    def places():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            OfItsCaller([torch.nn.Parameter(torch.ones(1))]).step()
        return [(each.filename, each.lineno) for each in caught]

    plain = places()
    assert len(plain) == 2 and plain[0][0] == __file__
    with shim.activated():
        shim.guard(OfItsCaller)
        assert hasattr(OfItsCaller.__init__, "__wrapped__")
        assert places() == plain
