"""SHIM_SKIP leaves a None alone, SHIM_VALUE chooses its replacement, and SHIM_STRICT makes it an error."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from torch_optimizers import (
    FUNCTIONALS,
    HERE,
    OPTIMIZERS,
    build,
    builder,
    look_up,
    one_parameter,
    optimizers,
    recorded_call,
    warned,
)

import shim
import shim.guards
import shim.warning
from shim.layout import weight_decay_of


class TestLeftOut:
    """SHIM_SKIP leaves out the optimizers that it names, also if others share functions with them."""

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
    def test_a_skipped_optimizer_is_plain_and_the_others_are_guarded(self, constructor, options, monkeypatch):
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
    """SHIM_VALUE is the replacement of a None."""

    @pytest.fixture(autouse=True)
    def nothing_was_refused(self, monkeypatch):
        monkeypatch.setattr(shim.warning.NONES, "refused", set())

    @pytest.mark.parametrize("cls", OPTIMIZERS)
    @pytest.mark.parametrize("text, value", [("0.01", 0.01), ("1e-2", 0.01), (" 0.5 ", 0.5), ("", 0.0), ("0", 0.0)])
    def test_a_number_is_used_everywhere_and_in_the_warning(self, cls, text, value, train, monkeypatch):
        monkeypatch.setenv("SHIM_VALUE", text)
        expected = train(builder(cls, weight_decay=value))
        with pytest.warns(shim.NoneWeightDecayWarning, match=f"shim goes on with {value}[ .]"):
            assert torch.equal(train(builder(cls, weight_decay=None)), expected)
        with pytest.warns(shim.NoneWeightDecayWarning, match=f"parameter group 0; shim goes on with {value}[ .]"):
            assert torch.equal(
                train(builder(cls), lambda optimizer: optimizer.param_groups[0].update(weight_decay=None)), expected
            )

    @pytest.mark.parametrize("cls", OPTIMIZERS)
    def test_default_is_the_own_default_of_each_optimizer(self, cls, train, monkeypatch):
        monkeypatch.setenv("SHIM_VALUE", "default")
        own = weight_decay_of(cls.__init__).default
        with pytest.warns(shim.NoneWeightDecayWarning, match=f"goes on with {own}, {cls.__name__}'s own default"):
            assert torch.equal(train(builder(cls, weight_decay=None)), train(builder(cls)))
        with warned():
            optimizer = builder(cls, weight_decay=None)([torch.nn.Parameter(torch.ones(2, 2))])
        assert optimizer.param_groups[0]["weight_decay"] == own

    def test_default_works_for_a_subclass_that_passes_the_argument_on(self, monkeypatch):
        class HandsOn(torch.optim.AdamW):
            def __init__(self, params, **options):
                super().__init__(params, **options)

        class HandsNoneOn(torch.optim.AdamW):
            def __init__(self, params, weight_decay=None):
                super().__init__(params, weight_decay=weight_decay)

        monkeypatch.setenv("SHIM_VALUE", "Default")
        for cls in (HandsOn, HandsNoneOn):
            with warned():
                assert cls([one_parameter()], weight_decay=None).param_groups[0]["weight_decay"] == 0.01

    @pytest.mark.parametrize("text", ["-0.0", "-0", "-0e5", "-1e-400", "+0.0"])
    def test_minus_zero_counts_as_zero(self, text, monkeypatch, caplog):
        monkeypatch.setenv("SHIM_VALUE", text)
        with pytest.warns(shim.NoneWeightDecayWarning, match=r"shim goes on with 0\.0 "):
            value = build(weight_decay=None).param_groups[0]["weight_decay"]
        assert str(value) == "0.0" and not caplog.records

    GARBAGE = ("nonsense", "None", "0,01", "1 2", "1_0", "\u00b2", "\u0660.\u0665", "\udcff")
    OUT_OF_RANGE = ("-0.01", "nan", "-nan", "inf", "-inf", "1e400")

    @pytest.mark.parametrize("text", [*GARBAGE, *OUT_OF_RANGE], ids=ascii)
    def test_an_invalid_value_is_reported_once_and_zero_is_used(self, text, monkeypatch, caplog):
        monkeypatch.setenv("SHIM_VALUE", text)
        for _ in range(3):
            with pytest.warns(shim.NoneWeightDecayWarning, match=r"shim goes on with 0\.0 "):
                assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0
        said = [record.getMessage() for record in caplog.records]
        assert said == [
            f"SHIM_VALUE is {text!r}, which is neither 'default' nor a number from 0 on; a None becomes 0.0"
        ]

    @pytest.mark.skipif(HERE < (2, 7), reason="AdamW has separate forms before torch 2.7")
    def test_the_functional_forms_of_adam_use_the_default_of_their_optimizer(self, train, monkeypatch):
        args, kwargs = recorded_call("torch.optim.adam:_single_tensor_adam", train, monkeypatch)
        monkeypatch.setenv("SHIM_VALUE", "default")
        for decoupled, own in ((False, "0, adam's"), (True, "0.01, adamw's")):
            arguments, keywords = copy.deepcopy((args, kwargs))
            keywords.update(weight_decay=None, decoupled_weight_decay=decoupled)
            with torch.no_grad(), pytest.warns(shim.NoneWeightDecayWarning, match=f"goes on with {own} own default"):
                look_up("torch.optim.adam:_single_tensor_adam")(*arguments, **keywords)

    def test_strict_names_the_value_too(self, monkeypatch):
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
        args, kwargs = recorded_call(path, train, monkeypatch)
        monkeypatch.setenv("SHIM_STRICT", "1")
        place = weight_decay_of(look_up(path))
        if place.position is None:
            kwargs["weight_decay"] = None
        else:
            args[place.position] = None
        with pytest.raises(TypeError, match="adam got weight_decay=None in its arguments"):
            look_up(path)(*args, **kwargs)
