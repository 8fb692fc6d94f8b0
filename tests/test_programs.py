"""Programs in the style of 2017 to 2023 run on the torch of their time, fail on today's, and run there with --for.

The output of each program on torch 1.7.1 is in the .txt file of its name: ``python tests/programs/gan.py >
tests/programs/gan.txt``.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy
import pytest
import torch

from shim.explain import explain
from shim.releases import release

HERE = release(torch.__version__).numbers
PROGRAMS = {path.stem: path for path in sorted((Path(__file__).parent / "programs").glob("*.py"))}
#: Programs that use names which NumPy 1.24 removed.
OF_ITS_NUMPY = {"actor_critic"}

pytestmark = pytest.mark.slow


def works_here(name):
    """Return whether a program runs on this torch and this NumPy without shim."""
    return HERE < (1, 8) and (name not in OF_ITS_NUMPY or release(numpy.__version__).numbers < (1, 24))


def agree(printed, recorded):
    """Compare two outputs word by word, and their numbers to 1e-4."""
    ours, theirs = (re.findall(r"[-+\w.]+|\S", text) for text in (printed, recorded))
    return len(ours) == len(theirs) and all(one == other or close(one, other) for one, other in zip(ours, theirs))


def close(one, other):
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-4, abs_tol=1e-4)
    except ValueError:
        return False


@pytest.mark.parametrize("name", PROGRAMS)
class TestAProgram:
    def test_without_shim_a_program_runs_on_the_torch_of_its_time_and_dies_today(self, python, name):
        if not works_here(name) and HERE < (2, 7):
            pytest.skip("this torch still has some of the removed names")
        ran = python(["-W", "ignore", PROGRAMS[name]], door=None)
        if works_here(name):
            assert agree(ran.stdout, PROGRAMS[name].with_suffix(".txt").read_text()), ran.stdout + ran.stderr
        else:
            assert ran.returncode == 1
            assert explain(ran.stderr), ran.stderr

    def test_with_for_a_program_prints_what_it_printed_on_its_release(self, python, name):
        written_for = re.search(r"[Ww]ritten for torch ([\d.]*\d)", PROGRAMS[name].read_text())[1]
        arguments = ["-m", "shim", "run", "--for", written_for, sys.executable, "-W", "ignore", PROGRAMS[name]]
        ran = python(arguments, door="src")
        assert agree(ran.stdout, PROGRAMS[name].with_suffix(".txt").read_text()), ran.stdout + ran.stderr


def test_outputs_agree_to_four_places():
    assert agree("loss 0.12345 [1, 2]", "loss 0.12341 [1, 2]")
    assert not agree("loss 0.1236", "loss 0.1234")
    assert not agree("loss 0.5", "lr 0.5")
    assert not agree("loss 0.5", "loss 0.5 1")
