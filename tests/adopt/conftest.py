"""Fixtures of the ADOPT tests: the forms that the installed torch can run."""

import warnings

import pytest
import torch

from shim.adopt import blocked, native

torch.set_num_threads(1)

TORCH = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])


def pytest_configure(config):
    config.addinivalue_line("markers", "torch_from(major, minor, reason): skip on an older torch, which lacks this")
    config.addinivalue_line("markers", "gpu: skip where there is none")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("torch_from"):
        major, minor, reason = mark.args
        if (major, minor) > TORCH:
            pytest.skip(f"torch {torch.__version__}: {reason}")
    if item.get_closest_marker("gpu"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch 1.7 warns if it finds no driver
            if not torch.cuda.is_available():
                pytest.skip("no GPU at hand")


FORMS = {
    "single": {"foreach": False},
    "foreach": {"foreach": True},
    "capturable": {"foreach": False, "capturable": True},
    "foreach-capturable": {"foreach": True, "capturable": True},
    "fused": {"fused": True},
    "blocked": {},
}
NEEDS = {
    "foreach": ((1, 8), "no foreach ops"),
    "capturable": ((1, 12), "no capturable optimizers"),
    "foreach-capturable": ((1, 13), "no foreach maximum with tensors that broadcast"),
}


@pytest.fixture(params=FORMS)
def form(request):
    """Return the options of one form of ADOPT; skip the forms that this torch cannot run."""
    since, reason = NEEDS.get(request.param, ((0, 0), ""))
    if since > TORCH:
        pytest.skip(f"torch {torch.__version__}: {reason}")
    if request.param == "fused":
        request.getfixturevalue("native_kernel")
    if request.param == "blocked":
        request.getfixturevalue("no_native_kernel")
        request.getfixturevalue("small_blocks")
    return FORMS[request.param]


@pytest.fixture
def native_kernel():
    """Skip the test if there is no native kernel."""
    if native.why_not():
        pytest.skip(f"no native kernel: {native.why_not()}")


@pytest.fixture
def no_native_kernel(monkeypatch):
    """Make ADOPT behave as if the native kernel had not been built."""
    monkeypatch.setattr(native, "LIBRARY", native.LIBRARY.with_name("absent.so"))
    kernel, missing = native._load()
    monkeypatch.setattr(native, "_kernel", kernel)
    monkeypatch.setattr(native, "_missing", missing)


@pytest.fixture
def small_blocks(monkeypatch):
    """Make blocks so small that the parameters of the tests have several of them."""
    for name in ("BLOCK", "BLOCK_FOR_THREADS"):
        monkeypatch.setattr(blocked, name, 3)
