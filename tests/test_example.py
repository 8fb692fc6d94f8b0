"""The examples are a config with a null, and programs for another torch. None of them imports shim."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from shim.releases import is_in, release

pytest.importorskip("sklearn")

HERE = release(torch.__version__).numbers
#: The output of the examples for another torch on a release where they work.
PRINTED = json.loads(Path(__file__).with_name("examples.json").read_text())


@pytest.fixture
def train(python, checkout, tmp_path):
    """Return a function that trains the example and returns the finished process and the parameters, or None."""
    pytest.importorskip("yaml")
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


def test_plain_python_dies_of_a_type_error(train):
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


@pytest.fixture(params=PRINTED)
def written_for(request, checkout):
    """Return the path of an example for another torch, and its facts."""
    facts = PRINTED[request.param]
    assert is_in(release(facts["release"]).numbers, facts["works"])
    return checkout / "examples" / request.param, facts


def accuracy_of(result):
    assert result.returncode == 0, result.stderr
    return float(re.search(r"^test accuracy ([\d.]+)%$", result.stdout, re.MULTILINE).group(1))


def test_a_program_for_another_torch_dies_here_and_trains_the_same_with_for(python, written_for):
    program, facts = written_for
    if is_in(HERE, facts["works"]):
        pytest.skip("the example works on this torch")
    if not is_in(HERE, facts["mended"]):
        pytest.skip("this torch has no autocast for the CPU")
    died = python([program], door=None)
    assert died.returncode == 1
    assert re.search(facts["dies"], died.stderr.splitlines()[-1])
    accuracy = accuracy_of(python(["-m", "shim", "run", "--for", facts["for"], program], door="src"))
    assert accuracy > 95
    assert accuracy == pytest.approx(facts["accuracy"], abs=1)


def test_a_program_for_this_torch_trains_without_shim(python, written_for):
    program, facts = written_for
    if not is_in(HERE, facts["works"]):
        pytest.skip("the example is for another torch")
    accuracy = accuracy_of(python([program], door=None))
    assert accuracy > 95
    assert accuracy == pytest.approx(facts["accuracy"], abs=1)
