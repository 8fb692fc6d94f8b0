"""In the example Adam converges to the wrong point and ADOPT to the optimum."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "adopt_vs_adam.py"


@pytest.mark.torch_from(1, 8, "the example is for current releases")
def test_adam_converges_to_the_wrong_point_and_adopt_to_the_optimum():
    spec = importlib.util.spec_from_file_location("adopt_vs_adam", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    ends = {
        name: example.last_tenth(example.path(name, beta2=0.5, steps=40_000, seeds=64)) for name in ("Adam", "ADOPT")
    }

    assert example.K == 7
    assert ends["Adam"] > 0.9
    assert ends["ADOPT"] < -0.9
