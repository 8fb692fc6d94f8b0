"""torch.load(weights_only=True) works on a torch without it, and --explain answers its errors on a newer torch."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict

import pytest
import torch

from shim.explain import explain
from shim.releases import is_in, release
from shim.rows.serialization import _of_weights

HERE = release(torch.__version__).numbers


def loaded(value):
    return _of_weights().load(io.BytesIO(pickle.dumps(value, protocol=2)))


class Runs:
    """An object that runs a shell command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("exit 3",)


class HasState:
    """An object whose state is set when it is unpickled."""

    def __reduce__(self):
        return set, (), {"state": 1}


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, "b", None, True], "c": (1,)},
        {1, 2},
        b"\x00\xff",
        bytearray(b"ab"),
        1 + 2j,
        OrderedDict(a=1),
        torch.Size([2, 3]),
        torch.float16,
        torch.device("cpu"),
    ],
    ids=repr,
)
def test_data_is_loaded_unchanged(value):
    again = loaded(value)
    assert again == value and type(again) is type(value)


@pytest.mark.parametrize("value", [Runs(), HasState(), os.system, print, loaded], ids=lambda value: str(type(value)))
def test_objects_other_than_data_are_refused(value):
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        loaded({"weights": [value]})


@pytest.mark.skipif(not is_in(HERE, ">=2.6"), reason="torch.load takes a whole pickle up to 2.5")
@pytest.mark.parametrize("legacy", [False, True])
def test_explain_names_the_risk_and_the_safe_way_for_the_global_in_the_message(tmp_path, legacy):
    import argparse

    path = tmp_path / "checkpoint.pt"
    torch.save({"settings": argparse.Namespace(lr=1)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(pickle.UnpicklingError) as died:
        torch.load(path)
    assert "\x1b[1m" in str(died.value)  # torch prints it in bold
    (answer,) = explain(f"_pickle.UnpicklingError: {died.value}")
    assert answer.name == "torch.load" and answer.option == "torch.load"
    assert "add_safe_globals([argparse.Namespace])" in answer.reason
    assert "run any code" in answer.reason and "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1" in answer.reason
