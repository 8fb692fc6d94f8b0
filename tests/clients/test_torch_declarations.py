"""For all of torch's own declarations of optimizer inputs, every result with guards is the same, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("scripts") / "torch_declarations.py"


@pytest.fixture
def declarations(python):
    torch = pytest.importorskip("torch")
    pytest.importorskip("expecttest", reason="expecttest is not installed, which torch's declarations import")
    if not (Path(torch.__file__).parent / "testing" / "_internal" / "common_optimizers.py").exists():
        pytest.skip(f"torch {torch.__version__}: no optimizer declarations, they came with 2.2")

    def run(*door, path):
        result = python([*door, SCRIPT], door=path, env={"OMP_NUM_THREADS": "1"})
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def test_every_declared_configuration_gives_the_same_bits_with_guards(declarations, record_property):
    plain = declarations(path=None)
    guarded = declarations("-m", "shim", "run", path="src")
    assert (plain["guarded"], guarded["guarded"]) == (False, True)
    assert guarded["outcomes"] == plain["outcomes"]
    trained = [name for name, outcome in plain["outcomes"].items() if isinstance(outcome, str)]
    record_property("configurations of torch's optimizers that train to the same bits with guards", len(trained))
    assert {name.split()[0] for name in trained} == {name.split()[0] for name in plain["outcomes"]}
