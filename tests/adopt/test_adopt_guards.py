"""ADOPT has the guards of Adam, in any order of import and activation; without guards its error names the cause."""

from __future__ import annotations

import pytest
import torch

import shim
from shim.adopt import ADOPT, functional, optimizer


def warned():
    """Return a context in which shim must warn about a None."""
    return pytest.warns(shim.NoneWeightDecayWarning)


def one_parameter():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    return parameter


def stepped(foreach, weight_decay, in_group):
    parameter = one_parameter()
    if in_group:
        optimizer = ADOPT([{"params": [parameter], "weight_decay": weight_decay}], lr=0.1, foreach=foreach)
    else:
        optimizer = ADOPT([parameter], lr=0.1, foreach=foreach, weight_decay=weight_decay)
    for _ in range(3):
        optimizer.step()
    return parameter


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("in_group", [False, True], ids=["constructor", "group"])
def test_none_is_zero_if_adopt_was_imported_before_activation(foreach, in_group):
    if foreach and not functional._torch.HAS_FOREACH:
        pytest.skip(f"no list operations in torch {torch.__version__}")
    expected = stepped(foreach, 0.0, in_group)
    with shim.activated(), warned():
        assert torch.equal(stepped(foreach, None, in_group), expected)


@pytest.mark.parametrize("form", ["adopt", "_single_tensor_adopt", "_multi_tensor_adopt"])
def test_none_handed_to_a_functional_form_is_zero(form, monkeypatch):
    if form == "_multi_tensor_adopt" and not functional._torch.HAS_FOREACH:
        pytest.skip(f"no list operations in torch {torch.__version__}")
    with shim.activated():
        caller = optimizer if form == "adopt" else functional
        original = getattr(caller, form)

        def with_none(*args, **kwargs):
            return original(*args, **{**kwargs, "weight_decay": None})

        expected = stepped(form == "_multi_tensor_adopt", 0.0, False)
        monkeypatch.setattr(caller, form, with_none)
        with warned():
            assert torch.equal(stepped(form == "_multi_tensor_adopt", 0.0, False), expected)


def test_status_lists_adopt_and_its_functional_forms():
    with shim.activated():
        outcome = {one.patch: one for one in shim.status().outcomes}["adopt"]
    assert outcome.state == "applied"
    assert "ADOPT;" in outcome.reason and "_single_tensor_adopt, _multi_tensor_adopt, _fused_adopt" in outcome.reason


def test_adopt_imported_after_activation_and_before_torch_is_guarded(python):
    code = """
        from shim.adopt import ADOPT
        import torch
        print(ADOPT([torch.nn.Parameter(torch.ones(1))], weight_decay=None).defaults["weight_decay"])
    """
    assert python(code).stdout == "0.0\n"
    assert python("import preimport\n" + code.replace("        ", ""), door="src").stdout == "0.0\n"


@pytest.mark.parametrize("in_group", [False, True], ids=["constructor", "group"])
def test_without_activation_none_is_a_type_error_that_says_what_to_do(in_group):
    with pytest.raises(TypeError, match=r"weight_decay=None is not a number.*activate shim"):
        stepped(False, None, in_group)
