"""A module that an older release pickled whole computes the same as on that release."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import shim
from shim.releases import release

sys.path.insert(0, str(Path(__file__).parent))
from pickled_modules import FILE, MODULES, result, unpacked

RECORDED = json.loads(FILE.read_text())
HERE = release(torch.__version__).numbers
EACH = [(written_by, name) for written_by, modules in RECORDED.items() for name in modules]


def differs(written_by, name):
    """Return whether the module fails on this torch, or computes something else."""
    recorded = RECORDED[written_by][name]
    try:
        found = result(unpacked(recorded["pickled"]).eval(), MODULES[name][1])
    except (AttributeError, ValueError):
        return True
    return found != pytest.approx(recorded["result"], abs=1e-5)


@pytest.fixture
def written_for(request):
    yield lambda text: shim.activate(written_for=text)
    shim.deactivate()


@pytest.mark.skipif(HERE < (1, 12, 0), reason="no attribute is missing on this torch")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("written_by, name", EACH)
def test_a_pickled_module_computes_the_same(written_for, written_by, name):
    written_for(written_by)
    assert not differs(written_by, name)
    repr(unpacked(RECORDED[written_by][name]["pickled"]))


@pytest.mark.skipif(HERE < (2, 1, 0), reason="the list is for torch 2.1 and later")
@pytest.mark.filterwarnings("ignore")
def test_without_shim_most_pickled_modules_fail_or_compute_something_else():
    as_they_are = {(by, name) for by, name in EACH if not differs(by, name)}
    # torch 1.4 recomputed a scale, and torch 2.1 uses it as given. A convolution is patched only for its padding.
    assert as_they_are == {
        ("1.4.0", "ConvTranspose2d"),
        ("1.4.0", "Upsample in 3d"),
        ("1.4.0", "Upsample of 1.7"),
        ("1.4.0", "UpsamplingNearest2d"),
        ("1.6.0", "ConvTranspose2d"),
        ("1.6.0", "KLDivLoss"),
        ("1.6.0", "circular Conv1d"),
        ("1.6.0", "circular Conv2d"),
        ("1.6.0", "circular Conv3d"),
    }


@pytest.mark.skipif(HERE < (1, 12, 0), reason="no attribute is missing on this torch")
def test_a_module_of_this_torch_is_pickled_as_without_shim(written_for):
    import copy
    import pickle

    module = torch.nn.Upsample(scale_factor=1.7, mode="bilinear", recompute_scale_factor=True)
    written_for("1.7")
    assert copy.deepcopy(module).recompute_scale_factor is True
    assert pickle.loads(pickle.dumps(module)).recompute_scale_factor is True
