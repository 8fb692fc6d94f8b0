"""A guard raises nothing: the program gets its optimizer in any state of the process."""

from __future__ import annotations

import contextvars
import logging
import os
import sys
import warnings
from unittest import mock

import numpy
import pytest
import torch
from torch_optimizers import build, one_parameter, warned

import shim
import shim.rank


class Mapping:
    """All that a step of torch needs of a group."""

    def __init__(self, group):
        self.group = group

    def __getitem__(self, key):
        return self.group[key]


class TestAGuardRaisesNothing:
    """The program gets its optimizer in any state of the process."""

    @pytest.mark.parametrize("name", [None, 3, b"bytes", [], "", "torch"])
    def test_a_module_with_any_name_gets_its_optimizer(self, name):
        namespace = {"__name__": name, "torch": torch}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            exec("built = torch.optim.SGD([torch.ones(1)], lr=0.1, weight_decay=None)", namespace)
        assert namespace["built"].param_groups[0]["weight_decay"] == 0.0
        assert len(caught) == (name is not None)  # without a module name, Python itself drops all warnings

    @pytest.mark.parametrize("registry", [3, None, "registry"])
    def test_a_module_with_any_warning_registry_gets_its_optimizer(self, registry):
        built = {"__name__": "m", "__warningregistry__": registry, "torch": torch}
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            exec("built = torch.optim.SGD([torch.ones(1)], lr=0.1, weight_decay=None)", built)
        assert built["built"].param_groups[0]["weight_decay"] == 0.0

    def test_a_closed_stderr_raises_nothing(self, python):
        ran = python("""
            import sys, torch
            sys.stderr.close()
            print(torch.optim.AdamW([torch.ones(1)], weight_decay=None).param_groups[0]["weight_decay"])
        """)
        assert ran.stdout == "0.0\n"

    @pytest.mark.parametrize("filters", [3, [3], [("default",)], [("default", 3, UserWarning, 3, 0)]])
    def test_any_warning_filters_raise_nothing(self, filters, monkeypatch):
        build()  # the first optimizer imports more modules of torch, which fail with invalid filters
        monkeypatch.setattr(warnings, "filters", filters)
        # A free-threaded Python has filters for each context, and pytest has set those of this context.
        built = contextvars.Context().run(build, weight_decay=None)
        assert built.param_groups[0]["weight_decay"] == 0.0

    def test_a_replaced_warnings_warn_raises_nothing(self, monkeypatch):
        def warn(*args, **kwargs):
            raise LookupError

        monkeypatch.setattr(warnings, "warn", warn)
        assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0

    def test_groups_that_are_no_dicts_raise_nothing(self):
        class Own(torch.optim.Optimizer):
            def __init__(self, params, groups):
                super().__init__(params, {})
                self.param_groups = groups

            def step(self):
                return 3

        class Raises(dict):
            def __contains__(self, key):
                raise RuntimeError

            get = __getitem__ = __bool__ = __iter__ = __contains__

        unusual = (
            torch.tensor([1, 2]),
            numpy.array([1, 2]),
            3,
            Raises(),
            [Raises()],
            [{"weight_decay": None}, Raises()],
        )
        for groups in ([3], None, [None], *unusual):
            assert Own([one_parameter()], groups).step() == 3

    @pytest.mark.parametrize("groups", [lambda group: [Mapping(group)], lambda group: [None], lambda group: ["x"]])
    def test_a_step_of_torch_with_unusual_groups_does_the_same(self, groups):
        def outcome():
            parameter = one_parameter()
            parameter.grad = torch.ones_like(parameter)
            optimizer = torch.optim.SGD([parameter], lr=0.5)
            optimizer.param_groups = groups(optimizer.param_groups[0])
            try:
                optimizer.step()
            except Exception as error:
                return str(error)
            return parameter.tolist()

        guarded = outcome()
        shim.deactivate()
        assert guarded == outcome()

    @pytest.mark.parametrize("value", [mock.MagicMock(), 3, b"1", None, type("Text", (str,), {"strip": None})("1")])
    def test_an_environment_without_text_raises_nothing(self, value, monkeypatch):
        build()
        monkeypatch.setattr(os, "environ", mock.MagicMock(**{"get.return_value": value}))
        with warned():
            assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0

    @pytest.mark.parametrize("value", ["1", "TRUE", " yes ", "on"])
    def test_strict_raises_a_type_error_and_no_other(self, value, monkeypatch):
        monkeypatch.setenv("SHIM_STRICT", value)
        with pytest.raises(TypeError, match="got weight_decay=None"):
            build(weight_decay=None)

    @pytest.mark.parametrize("value", ["²", "\udcff", "1²", "-", "None", "null", "\uff11", "\ttru"], ids=ascii)
    def test_invalid_values_of_switches_count_as_not_set(self, value, monkeypatch):
        for name in ("SHIM_STRICT", "SHIM_DISABLE", "SHIM_VALUE", "SHIM_FOR", "SHIM_LOG", *shim.rank.RANKS):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(logging.getLogger("shim"), "disabled", True)  # pytest-xdist cannot transfer its messages
        shim.deactivate()
        with shim.activated(), warned():
            assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0
        assert shim.status().written_for is None

    @pytest.mark.parametrize("environment", [None, 3, {"RANK": 1, "SHIM_VALUE": 0.5}, {"SHIM_STRICT": None}], ids=str)
    def test_a_replaced_os_environ_raises_nothing(self, environment, monkeypatch):
        with warned():
            monkeypatch.setattr(os, "environ", environment)
            assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0
            monkeypatch.undo()

    def test_uninstalling_shim_while_the_process_runs_raises_nothing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, f"{shim.__name__}.rank", None)
        with shim.activated():
            assert build(weight_decay=None).param_groups[0]["weight_decay"] == 0.0
