"""None becomes 0.0 at every entry, every other value passes, and the user is told where."""

from __future__ import annotations

import contextvars
import copy
import importlib
import inspect
import io
import logging
import os
import pickle
import sys
import textwrap
import types
import warnings

import pytest
import torch

import shim
import shim.guards
import shim.layout
import shim.rank
import shim.warning
from shim.layout import weight_decay_of

warned = pytest.warns(shim.NoneWeightDecayWarning)
HERE = shim.layout.probe().version.numbers


def optimizers():
    """List the optimizers of this torch that take weight_decay, as their own signatures say."""
    found = [value for value in vars(torch.optim).values() if isinstance(value, type)]
    return [cls for cls in found if issubclass(cls, torch.optim.Optimizer) and weight_decay_of(cls.__init__)]


OPTIMIZERS = [pytest.param(cls, id=cls.__name__) for cls in optimizers()]


@pytest.fixture(autouse=True)
def active():
    with shim.activated():
        yield


def parameters_for(cls, parameters):
    """Muon takes matrices only."""
    return [p for p in parameters if p.dim() == 2] if cls.__name__ == "Muon" else parameters


def builder(cls, **keywords):
    return lambda parameters: cls(parameters_for(cls, parameters), lr=0.01, **keywords)


@pytest.mark.parametrize("cls", OPTIMIZERS)
class TestEveryOptimizer:
    def test_none_as_a_keyword_of_the_constructor_is_zero(self, cls, train):
        expected = train(builder(cls, weight_decay=0.0))
        with warned:
            assert torch.equal(train(builder(cls, weight_decay=None)), expected)

    def test_none_at_its_position_in_the_constructor_is_zero(self, cls, train):
        position = weight_decay_of(cls.__init__).position
        defaults = [0.01, *[p.default for p in inspect.signature(cls.__init__).parameters.values()][3:position]]

        def make(weight_decay):
            return lambda parameters: cls(parameters_for(cls, parameters), *defaults, weight_decay)

        expected = train(make(0.0))
        with warned:
            assert torch.equal(train(make(None)), expected)

    def test_none_in_a_given_group_is_zero(self, cls, train):
        def make(weight_decay):
            def build(parameters):
                groups = [{"params": parameters_for(cls, parameters), "weight_decay": weight_decay}]
                return cls(groups, lr=0.01)

            return build

        expected = train(make(0.0))
        with warned:
            assert torch.equal(train(make(None)), expected)

    def test_none_put_into_a_live_group_is_zero(self, cls, train):
        def put(value):
            return lambda optimizer: optimizer.param_groups[0].__setitem__("weight_decay", value)

        expected = train(builder(cls), put(0.0))
        with warned:
            assert torch.equal(train(builder(cls), put(None)), expected)

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e-3])
    def test_a_number_gives_the_same_bits_as_without_guards(self, cls, value, train):
        with_guards = train(builder(cls, weight_decay=value))
        shim.deactivate()
        assert torch.equal(with_guards, train(builder(cls, weight_decay=value)))

    def test_a_bad_number_is_refused_as_without_guards(self, cls):
        def message():
            try:
                builder(cls, weight_decay=-1.0)([torch.nn.Parameter(torch.zeros(2, 2))])
            except ValueError as error:
                return str(error)
            return "accepted"

        with_guards = message()
        shim.deactivate()
        assert with_guards == message()


FUNCTIONALS = [callee.paths[0] for callee in shim.layout.probe().functionals]

#: How an optimizer is built for its step to reach a functional form of this prefix.
REACHED_BY = {
    "_single_tensor_": {"foreach": False},
    "_multi_tensor_": {"foreach": True},
    "_fused_": {"fused": True},
}


@pytest.mark.parametrize("path", FUNCTIONALS)
def test_none_handed_to_a_functional_is_zero(path, train, monkeypatch):
    functional, place = _look_up(path), weight_decay_of(_look_up(path))
    args, kwargs = _recorded_call(path, train, monkeypatch)
    results = []
    for weight_decay in (0.0, None):
        arguments, keywords = copy.deepcopy((args, kwargs))
        if place.position is None or "weight_decay" in keywords:
            keywords["weight_decay"] = weight_decay
        else:
            arguments[place.position] = weight_decay
        with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            functional(*arguments, **keywords)
        assert [w.category for w in caught] == [shim.NoneWeightDecayWarning] * (weight_decay is None)
        results.append(arguments[0][0])
    assert torch.equal(*results)
    assert not torch.equal(results[0], args[0][0]), "the call must have moved the parameter"


@pytest.mark.skipif(not FUNCTIONALS, reason=f"no functional forms in torch {torch.__version__}")
def test_a_guard_packs_no_arguments_that_the_original_does_not_pack():
    functions = [function for function in map(_look_up, FUNCTIONALS) if "_shim_value" in function.__code__.co_freevars]
    assert functions
    for function in functions:
        packed = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
        assert function.__code__.co_flags & packed == function.__wrapped__.__code__.co_flags & packed


def _recorded_call(path, train, monkeypatch):
    """Return the arguments with which a real step calls the functional form at ``path``."""
    module, _, name = path.partition(":")
    if module == "torch.optim.functional" and HERE >= (2, 15):
        module = "torch.optim." + {"adafactor": "_adafactor", "muon": "_muon"}.get(name, name)  # what it wraps
    prefix = next((prefix for prefix in REACHED_BY if name.startswith(prefix)), "")
    cls = {cls.__name__.lower(): cls for cls in optimizers()}[name[len(prefix) :]]
    if module.startswith("torch.optim._multi_tensor."):  # 1.10 and 1.11 have classes of their own for these
        cls = getattr(importlib.import_module("torch.optim._multi_tensor"), cls.__name__)
    options = {key: value for key, value in REACHED_BY.get(prefix, {}).items() if _takes(cls, key)}
    if name == "adamw" and issubclass(cls, torch.optim.Adam):
        module, name = (
            "torch.optim.adam",
            "adam",
        )  # since 2.7 AdamW calls it, and adamw is there for other callers
    calls = []

    def spy(*args, **kwargs):
        calls.append(copy.deepcopy((list(args), kwargs)))
        return original(*args, **kwargs)

    original = getattr(sys.modules[module], name)
    monkeypatch.setattr(sys.modules[module], name, spy)
    try:
        train(builder(cls, **options))
    except (RuntimeError, TypeError) as error:
        if prefix == "_fused_":
            pytest.skip(f"no fused form for the CPU in torch {torch.__version__}: {error}")
        raise
    finally:
        monkeypatch.undo()
    args, kwargs = calls[-1]
    if path.endswith(":adamw"):
        kwargs.pop("decoupled_weight_decay", None)
    return args, kwargs


def _takes(cls, keyword):
    return keyword in inspect.signature(cls.__init__).parameters


def _look_up(path):
    module, _, name = path.partition(":")
    return getattr(sys.modules[module], name)


def test_none_loaded_with_a_state_dict_is_zero(train):
    def load(optimizer):
        state = optimizer.state_dict()
        state["param_groups"][0]["weight_decay"] = None
        optimizer.load_state_dict(state)

    expected = train(builder(torch.optim.AdamW, weight_decay=0.0))
    with warned:
        assert torch.equal(train(builder(torch.optim.AdamW), load), expected)


def test_none_in_a_group_added_later_is_zero():
    first, later = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([first], lr=0.1, weight_decay=0.0)
    optimizer.add_param_group({"params": [later], "weight_decay": None})
    first.grad, later.grad = torch.ones(2), torch.ones(2)
    with pytest.warns(shim.NoneWeightDecayWarning, match="parameter group 1"):
        optimizer.step()
    assert torch.equal(first, later)


@pytest.mark.parametrize("save", ["pickle", "deepcopy", "torch"])
def test_none_in_an_optimizer_that_was_saved_whole_is_zero(save):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    optimizer.param_groups[0]["weight_decay"] = None
    if save == "pickle":
        loaded = pickle.loads(pickle.dumps(optimizer))
    elif save == "deepcopy":
        loaded = copy.deepcopy(optimizer)
    else:
        file = io.BytesIO()
        torch.save(optimizer, file)
        file.seek(0)
        new = HERE >= (1, 13)  # weights_only came with 1.13
        loaded = torch.load(file, **({"weights_only": False} if new else {}))
    loaded.param_groups[0]["params"][0].grad = torch.ones(2)
    with warned:
        loaded.step()
    assert loaded.param_groups[0]["weight_decay"] == 0.0


def test_none_made_a_default_is_zero_in_the_groups_that_take_it():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    optimizer.defaults["weight_decay"] = None
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
    optimizer.param_groups[1]["params"][0].grad = torch.ones(2)
    with warned:
        optimizer.step()


def test_a_group_without_the_key_fails_as_without_guards():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    del optimizer.param_groups[0]["weight_decay"]
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    with pytest.raises(KeyError, match="weight_decay"):
        optimizer.step()


# --- what is said ---------------------------------------------------------------------------------------------------


def one_parameter():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    return parameter


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


def build(**keywords):
    return torch.optim.AdamW([one_parameter()], **keywords)


class TestOncePerPlace:
    """The warning comes once, also if a change of the filters makes Python forget it; the filters still apply."""

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
    def test_in_a_loop_with_and_without_a_touch(self, name, action):
        assert self.said(cls=getattr(torch.optim, name), action=action) == 1
        assert self.said(self.touch, cls=getattr(torch.optim, name), action=action) == 0  # nor later on

    def test_with_a_touch_from_the_start(self):
        assert self.said(self.touch) == 1

    def test_a_filter_that_says_always_has_it_each_time(self):
        assert self.said(self.touch, action="always") == 6

    def test_a_filter_that_makes_an_error_of_it_does_so_each_time(self):
        for _ in range(3):
            with pytest.raises(shim.NoneWeightDecayWarning):
                self.said(action="error")

    def test_what_was_ignored_was_not_said(self):
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

    def test_a_fresh_process(self, python):
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
    def test_only_rank_0_speaks_and_every_rank_is_mended(self, name, monkeypatch, recwarn):
        monkeypatch.setenv(name, "1")
        assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0
        assert not recwarn.list
        monkeypatch.setenv(name, "0")
        with warned:
            build(weight_decay=None)

    def test_torchs_own_rank_goes_first(self, monkeypatch):
        monkeypatch.setenv("SLURM_PROCID", "1")
        monkeypatch.setenv("RANK", "0")
        with warned:
            build(weight_decay=None)

    @pytest.mark.parametrize("rank", ["²", "", "-1", " ", "one", "1.0", "٣x", "0x1", "9" * 5000 + "!", "\udcff"])
    def test_what_is_no_rank_means_that_there_is_none(self, rank, monkeypatch):
        for name in shim.rank.RANKS:
            monkeypatch.setenv(name, rank)
        with warned:
            assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0

    @pytest.mark.parametrize("stand_in", [None, 3, types.ModuleType("torch.distributed")])
    def test_a_torch_distributed_that_is_not_there_yet(self, stand_in, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch.distributed", stand_in)
        with warned:
            build(weight_decay=None)


class TestAGuardRaisesNothing:
    """The program gets its optimizer, whatever state it is in."""

    @pytest.mark.parametrize("name", [None, 3, b"bytes", [], "", "torch"])
    def test_in_code_with_any_name(self, name):
        namespace = {"__name__": name, "torch": torch}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            exec("built = torch.optim.SGD([torch.ones(1)], lr=0.1, weight_decay=None)", namespace)
        assert namespace["built"].param_groups[0]["weight_decay"] == 0.0
        assert len(caught) == (name is not None)  # for which Python itself drops all warnings

    @pytest.mark.parametrize("registry", [3, None, "registry"])
    def test_in_code_with_any_registry(self, registry):
        built = {"__name__": "m", "__warningregistry__": registry, "torch": torch}
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            exec("built = torch.optim.SGD([torch.ones(1)], lr=0.1, weight_decay=None)", built)
        assert built["built"].param_groups[0]["weight_decay"] == 0.0

    def test_with_a_stream_that_is_closed(self, python):
        ran = python("""
            import sys, torch
            sys.stderr.close()
            print(torch.optim.AdamW([torch.ones(1)], weight_decay=None).param_groups[0]["weight_decay"])
        """)
        assert ran.stdout == "0.0\n"

    @pytest.mark.parametrize("filters", [3, [3], [("default",)], [("default", 3, UserWarning, 3, 0)]])
    def test_with_any_filters(self, filters, monkeypatch):
        build()  # torch's first optimizer imports more of torch, which does not take these filters
        monkeypatch.setattr(warnings, "filters", filters)
        # A Python without a GIL has filters for each context, and pytest has set those of this one.
        built = contextvars.Context().run(build, weight_decay=None)
        assert built.param_groups[0]["weight_decay"] == 0.0

    def test_with_a_warn_of_the_programs(self, monkeypatch):
        def warn(*args, **kwargs):
            raise LookupError

        monkeypatch.setattr(warnings, "warn", warn)
        assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0

    def test_with_an_optimizer_whose_groups_are_no_dicts(self):
        class Own(torch.optim.Optimizer):
            def __init__(self, params, groups):
                super().__init__(params, {})
                self.param_groups = groups

            def step(self):
                return 3

        for groups in ([3], None, [None]):
            assert Own([one_parameter()], groups).step() == 3

    @pytest.mark.parametrize("value", ["1", "TRUE", " yes ", "on"])
    def test_strict_is_a_type_error_and_no_other(self, value, monkeypatch):
        monkeypatch.setenv("SHIM_STRICT", value)
        with pytest.raises(TypeError, match="got weight_decay=None"):
            build(weight_decay=None)

    @pytest.mark.parametrize("value", ["²", "\udcff", "1²", "-", "None", "null", "\uff11", "\ttru"], ids=ascii)
    def test_garbage_is_as_not_set(self, value, monkeypatch):
        for name in ("SHIM_STRICT", "SHIM_DISABLE", "SHIM_VALUE", "SHIM_FOR", "SHIM_LOG", *shim.rank.RANKS):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(logging.getLogger("shim"), "disabled", True)  # pytest-xdist cannot hand on what it says
        shim.deactivate()
        with shim.activated(), warned:
            assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0
        assert shim.status().written_for is None

    @pytest.mark.parametrize("environment", [None, 3, {"RANK": 1, "SHIM_VALUE": 0.5}, {"SHIM_STRICT": None}], ids=str)
    def test_what_a_program_puts_in_place_of_the_environment(self, environment, monkeypatch):
        with warned:
            monkeypatch.setattr(os, "environ", environment)
            assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0
            monkeypatch.undo()

    def test_shim_is_removed_while_the_process_runs(self, monkeypatch):
        monkeypatch.setitem(sys.modules, f"{shim.__name__}.rank", None)
        with shim.activated():
            assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0


class TestLeftOut:
    """SHIM_SKIP leaves out what it names, also if others share functions with it."""

    @staticmethod
    def trained(cls, constructor, options):
        parameter = torch.nn.Parameter(torch.ones(2, 2))
        parameter.grad = torch.ones(2, 2)
        optimizer = cls([parameter], **{"lr": 0.01, **options}, **({"weight_decay": None} if constructor else {}))
        optimizer.param_groups[0]["weight_decay"] = None
        optimizer.step()
        return optimizer.param_groups[0]["weight_decay"]

    @pytest.mark.parametrize("constructor", [True, False])
    @pytest.mark.parametrize("options", [{}, {"foreach": True}])
    @pytest.mark.filterwarnings("ignore::shim.NoneWeightDecayWarning")
    def test_plain_torch_for_it_and_guards_for_the_others(self, constructor, options, monkeypatch):
        def seen(cls):
            try:
                return self.trained(cls, constructor, options)
            except Exception as error:
                return f"{type(error).__name__}: {error}"

        takes = [cls for cls in optimizers() if not options or "foreach" in inspect.signature(cls).parameters]
        shim.deactivate()
        plain = {cls: seen(cls) for cls in takes}
        for left_out in takes:
            monkeypatch.setenv("SHIM_SKIP", left_out.__name__.lower())
            with shim.activated():
                assert {cls: seen(cls) for cls in takes} == {
                    cls: plain[cls] if cls is left_out else 0.0 for cls in takes
                }
                sub = type("Sub", (left_out,), {})
                assert seen(sub) == plain[left_out]
        assert not shim.guards.GUARDED.left_out


class TestValue:
    """What a None becomes can be chosen."""

    @pytest.fixture(autouse=True)
    def nothing_was_refused(self, monkeypatch):
        monkeypatch.setattr(shim.warning.NONES, "refused", set())

    @pytest.mark.parametrize("cls", OPTIMIZERS)
    @pytest.mark.parametrize("text, value", [("0.01", 0.01), ("1e-2", 0.01), (" 0.5 ", 0.5), ("", 0.0), ("0", 0.0)])
    def test_a_number_is_used_everywhere_and_named(self, cls, text, value, train, monkeypatch):
        monkeypatch.setenv("SHIM_VALUE", text)
        expected = train(builder(cls, weight_decay=value))
        with pytest.warns(shim.NoneWeightDecayWarning, match=f"shim goes on with {value}[ .]"):
            assert torch.equal(train(builder(cls, weight_decay=None)), expected)
        with pytest.warns(shim.NoneWeightDecayWarning, match=f"parameter group 0; shim goes on with {value}[ .]"):
            assert torch.equal(
                train(builder(cls), lambda optimizer: optimizer.param_groups[0].update(weight_decay=None)), expected
            )

    @pytest.mark.parametrize("cls", OPTIMIZERS)
    def test_default_is_what_those_get_who_leave_it_out(self, cls, train, monkeypatch):
        monkeypatch.setenv("SHIM_VALUE", "default")
        own = weight_decay_of(cls.__init__).default
        with pytest.warns(shim.NoneWeightDecayWarning, match=f"goes on with {own}, {cls.__name__}'s own default"):
            assert torch.equal(train(builder(cls, weight_decay=None)), train(builder(cls)))
        with warned:
            optimizer = builder(cls, weight_decay=None)([torch.nn.Parameter(torch.ones(2, 2))])
        assert optimizer.param_groups[0]["weight_decay"] == own

    def test_the_default_of_a_subclass_that_hands_it_on(self, monkeypatch):
        class HandsOn(torch.optim.AdamW):
            def __init__(self, params, **options):
                super().__init__(params, **options)

        class HandsNoneOn(torch.optim.AdamW):
            def __init__(self, params, weight_decay=None):
                super().__init__(params, weight_decay=weight_decay)

        monkeypatch.setenv("SHIM_VALUE", "Default")
        for cls in (HandsOn, HandsNoneOn):
            with warned:
                assert cls([one_parameter()], weight_decay=None).param_groups[0]["weight_decay"] == 0.01

    @pytest.mark.parametrize("text", ["-0.0", "-0", "-0e5", "-1e-400", "+0.0"])
    def test_zero_has_no_sign(self, text, monkeypatch, caplog):
        monkeypatch.setenv("SHIM_VALUE", text)
        with pytest.warns(shim.NoneWeightDecayWarning, match=r"shim goes on with 0\.0 "):
            value = build(weight_decay=None).param_groups[0]["weight_decay"]
        assert str(value) == "0.0" and not caplog.records

    GARBAGE = ("nonsense", "None", "0,01", "1 2", "1_0", "\u00b2", "\u0660.\u0665", "\udcff")
    OUT_OF_RANGE = ("-0.01", "nan", "-nan", "inf", "-inf", "1e400")

    @pytest.mark.parametrize("text", [*GARBAGE, *OUT_OF_RANGE], ids=ascii)
    def test_garbage_is_said_once_and_zero_is_used(self, text, monkeypatch, caplog):
        monkeypatch.setenv("SHIM_VALUE", text)
        for _ in range(3):
            with pytest.warns(shim.NoneWeightDecayWarning, match=r"shim goes on with 0\.0 "):
                assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0
        said = [record.getMessage() for record in caplog.records]
        assert said == [
            f"SHIM_VALUE is {text!r}, which is neither 'default' nor a number from 0 on; a None becomes 0.0"
        ]

    @pytest.mark.skipif(HERE < (2, 7), reason="AdamW has forms of its own before torch 2.7")
    def test_adams_forms_know_whose_they_are(self, train, monkeypatch):
        args, kwargs = _recorded_call("torch.optim.adam:_single_tensor_adam", train, monkeypatch)
        monkeypatch.setenv("SHIM_VALUE", "default")
        for decoupled, own in ((False, "0, adam's"), (True, "0.01, adamw's")):
            arguments, keywords = copy.deepcopy((args, kwargs))
            keywords.update(weight_decay=None, decoupled_weight_decay=decoupled)
            with torch.no_grad(), pytest.warns(shim.NoneWeightDecayWarning, match=f"goes on with {own} own default"):
                _look_up("torch.optim.adam:_single_tensor_adam")(*arguments, **keywords)

    def test_strict_names_it_too(self, monkeypatch):
        monkeypatch.setenv("SHIM_VALUE", "0.25")
        monkeypatch.setenv("SHIM_STRICT", "1")
        with pytest.raises(TypeError, match=r"shim goes on with 0\.25"):
            build(weight_decay=None)


class TestStrict:
    @pytest.fixture(autouse=True)
    def strict(self, monkeypatch):
        monkeypatch.setenv("SHIM_STRICT", "1")

    def test_a_constructor_refuses_and_says_what_to_do(self):
        with pytest.raises(TypeError, match=r"AdamW got weight_decay=None in its arguments\. Give it a number"):
            torch.optim.AdamW([one_parameter()], weight_decay=None)

    def test_a_step_refuses_and_names_the_group(self):
        optimizer = torch.optim.AdamW([one_parameter()])
        optimizer.param_groups[0]["weight_decay"] = None
        with pytest.raises(TypeError, match="AdamW got weight_decay=None in parameter group 0"):
            optimizer.step()
        assert optimizer.param_groups[0]["weight_decay"] is None

    def test_a_functional_refuses(self, train, monkeypatch):
        if not FUNCTIONALS:
            pytest.skip(f"no functional forms in torch {torch.__version__}")
        path = next(path for path in FUNCTIONALS if path.endswith(":adam"))
        monkeypatch.delenv("SHIM_STRICT")
        args, kwargs = _recorded_call(path, train, monkeypatch)
        monkeypatch.setenv("SHIM_STRICT", "1")
        place = weight_decay_of(_look_up(path))
        if place.position is None:
            kwargs["weight_decay"] = None
        else:
            args[place.position] = None
        with pytest.raises(TypeError, match="adam got weight_decay=None in its arguments"):
            _look_up(path)(*args, **kwargs)


# --- whose optimizer it is ------------------------------------------------------------------------------------------


class Frozen(torch.optim.AdamW):
    """None in a group means: do not train this one."""

    def step(self, closure=None):
        self.seen = [group["weight_decay"] for group in self.param_groups]
        frozen = [(p, p.grad) for g in self.param_groups if g["weight_decay"] is None for p in g["params"]]
        for parameter, _ in frozen:
            parameter.grad = None
        super().step()
        for parameter, gradient in frozen:
            parameter.grad = gradient


class Logged(torch.optim.AdamW):
    """Overrides step, and gives None no meaning."""

    def step(self, closure=None):
        return super().step(closure)


class Renamed(torch.optim.AdamW):
    """Brings no step of its own."""


def test_a_subclass_in_which_none_means_something_keeps_its_none(recwarn):
    trained, frozen = one_parameter(), one_parameter()
    groups = [{"params": [trained], "weight_decay": 0.1}, {"params": [frozen], "weight_decay": None}]
    optimizer = Frozen(groups, lr=0.1)
    for _ in range(3):
        optimizer.step()
    assert optimizer.seen == [0.1, None]
    assert torch.equal(frozen, torch.ones(2))
    assert not torch.equal(trained, torch.ones(2))
    assert not recwarn.list


def test_a_subclass_that_hands_none_on_to_super_is_mended_there_and_keeps_its_none(train):
    def make(cls, weight_decay):
        return lambda parameters: cls([{"params": parameters, "weight_decay": weight_decay}], lr=0.1)

    expected = train(make(torch.optim.AdamW, 0.0))
    kept = []
    with warned:
        result = train(make(Logged, None), lambda optimizer: kept.append(optimizer.param_groups[0]["weight_decay"]))
    assert torch.equal(result, expected)
    assert kept == [None, None, None]


def test_a_subclass_without_a_step_is_mended(train):
    expected = train(builder(torch.optim.AdamW, weight_decay=0.0))
    with warned:
        assert torch.equal(train(builder(Renamed, weight_decay=None)), expected)


def test_an_optimizer_that_is_not_torchs_keeps_its_none():
    class Own(torch.optim.Optimizer):
        def __init__(self, params, weight_decay=None):
            super().__init__(params, {"weight_decay": weight_decay})

        def step(self, closure=None):
            self.seen = self.param_groups[0]["weight_decay"]

    optimizer = Own([one_parameter()])
    optimizer.step()
    assert optimizer.seen is None


def test_a_users_wrapper_around_a_torch_step_counts_as_the_users():
    import functools

    original = torch.optim.AdamW.step

    class Wrapped(torch.optim.AdamW):
        @functools.wraps(original)
        def step(self, closure=None):
            self.seen = self.param_groups[0]["weight_decay"]

    optimizer = Wrapped([{"params": [one_parameter()], "weight_decay": None}])
    optimizer.step()
    assert optimizer.seen is None


# --- a class of one's own -------------------------------------------------------------------------------------------


def own_optimizer():
    class Own(torch.optim.Optimizer):
        def __init__(self, params, weight_decay=0.3):
            super().__init__(params, {"weight_decay": 0.0 + weight_decay})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1 - group["weight_decay"])

    return Own


def test_guard_gives_a_class_of_ones_own_the_same_guards():
    shim.deactivate()
    Own = shim.guard(own_optimizer())
    with pytest.warns(shim.NoneWeightDecayWarning, match=r"own default is 0\.3"):
        optimizer = Own([one_parameter()], weight_decay=None)
    optimizer.param_groups[0]["weight_decay"] = None
    with warned:
        optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == 0.0
    with pytest.raises(TypeError):
        builder(torch.optim.Adam, weight_decay=None)([one_parameter()]).step()  # torch's own are left alone


def test_guard_takes_every_class_of_a_name():
    """A factory makes one at each call, and so does a notebook cell that is run again."""
    classes = [shim.guard(own_optimizer()) for _ in range(3)]
    assert shim.guard(classes[1]) is classes[1]
    for Own in classes:
        with warned:
            optimizer = Own([one_parameter()], weight_decay=None)
        optimizer.param_groups[0]["weight_decay"] = None
        with warned:
            optimizer.step()
        assert optimizer.param_groups[0]["weight_decay"] == 0.0
    name = f"{own_optimizer.__module__}:own_optimizer.<locals>.Own"
    assert [outcome.state for outcome in shim.status().outcomes if outcome.patch == name] == ["applied"]
    shim.deactivate()
    assert all("_shim_value" not in Own.__init__.__code__.co_freevars for Own in classes)
    shim.activate()
    for Own in classes:
        with warned:
            Own([one_parameter()], weight_decay=None)


def test_guard_refuses_what_is_no_optimizer():
    with pytest.raises(TypeError, match=r"takes a subclass of .*Optimizer, not 3"):
        shim.guard(3)


def test_guard_does_nothing_when_shim_is_off(monkeypatch):
    monkeypatch.setenv("SHIM_DISABLE", "1")
    Own = shim.guard(own_optimizer())
    with pytest.raises(TypeError):
        Own([one_parameter()], weight_decay=None)


# --- and back -------------------------------------------------------------------------------------------------------


def everything():
    """Return every object that a guard may replace, by its place."""
    places = {}
    for name, module in list(sys.modules.items()):
        if name.startswith(("torch.optim", "torch.distributed.optim")):
            for key, value in vars(module).items():
                places[name, key] = value
                if isinstance(value, type) and issubclass(value, torch.optim.Optimizer):
                    places.update(((name, key, attribute), inner) for attribute, inner in vars(value).items())
    return places


def test_deactivation_gives_back_the_same_objects():
    shim.deactivate()
    for cls in optimizers():
        builder(cls)([torch.nn.Parameter(torch.ones(2, 2))])  # torch wraps the step of a class at its first instance
    before = everything()
    shim.activate()
    during = everything()
    shim.deactivate()
    after = everything()
    assert sum(during[place] is not before[place] for place in before) > 0
    assert [place for place in before if after.get(place) is not before[place]] == []
    assert set(after) == set(before)


def test_activating_twice_is_activating_once():
    once = everything()
    shim.activate()
    shim.activate()
    twice = everything()
    assert [place for place in once if twice[place] is not once[place]] == []
    shim.deactivate()
    with pytest.raises(TypeError):
        optimizer = torch.optim.AdamW([one_parameter()])
        optimizer.param_groups[0]["weight_decay"] = None
        optimizer.step()


def test_an_optimizer_built_under_guards_is_unguarded_afterwards():
    optimizer = torch.optim.AdamW([one_parameter()])
    shim.deactivate()
    optimizer.param_groups[0]["weight_decay"] = None
    with pytest.raises(TypeError):
        optimizer.step()


class OfItsCaller(torch.optim.Optimizer):
    """Its warnings are about the line that called it."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        warnings.warn("of the constructor", DeprecationWarning, stacklevel=2)
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def step(self, closure=None):
        warnings.warn("of a step", DeprecationWarning, stacklevel=3 if "profile_hook_step" in dir(self) else 2)


def test_a_warning_about_the_caller_is_about_the_same_line_as_without_us():
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
