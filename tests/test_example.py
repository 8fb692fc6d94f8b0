"""The main job: a config that says null, a script that knows nothing of shim, and three ways to make it train."""

from __future__ import annotations

import re

import pytest
import torch

pytest.importorskip("sklearn")
pytest.importorskip("yaml")


@pytest.fixture
def train(python, checkout, tmp_path):
    """Return a function that trains the example and returns the finished process and the parameters, if any."""
    program = checkout / "examples" / "train.py"

    def run(before=(), first_line=None, **options):
        script = program
        if first_line is not None:
            script = tmp_path / "train.py"
            script.write_text(first_line + "\n" + program.read_text())
            (tmp_path / "config.yaml").write_text((checkout / "examples" / "config.yaml").read_text())
        saved = tmp_path / "parameters.pt"
        arguments = options.pop("arguments", [])
        result = python([*before, script, *arguments, "--save", saved], **options)
        parameters = None
        if saved.exists():
            parameters = torch.cat([value.flatten() for value in torch.load(str(saved)).values()])
            saved.unlink()
        return result, parameters

    return run


def test_plain_python_dies_with_the_error_that_users_know(train):
    result, parameters = train(door=None)
    assert result.returncode == 1
    assert result.stderr.endswith("TypeError: unsupported operand type(s) for *: 'float' and 'NoneType'\n")
    assert parameters is None


def test_every_door_trains_to_the_parameters_of_weight_decay_zero(train, checkout, tmp_path):
    zero = tmp_path / "zero.yaml"
    text = (checkout / "examples" / "config.yaml").read_text()
    zero.write_text(text.replace("weight_decay: null", "weight_decay: 0.0"))
    _, expected = train(door=None, arguments=["--config", zero])
    doors = {
        "run": train(before=["-m", "shim", "run"], door="src"),
        "PYTHONPATH": train(door="sitecustomize"),
        "preimport": train(first_line="import preimport", door="src"),
    }
    for door, (result, parameters) in doors.items():
        assert result.returncode == 0, door + result.stderr
        assert result.stdout.count("epoch") == 10
        accuracy = float(re.search(r"test accuracy ([\d.]+)%", result.stdout).group(1))
        assert accuracy > 95, door
        assert torch.equal(parameters, expected), door
        assert "AdamW got weight_decay=None in parameter group 0" in result.stderr
