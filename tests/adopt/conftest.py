"""What the ADOPT tests share: which forms the installed torch can run."""

import pytest
import torch

torch.set_num_threads(1)

TORCH = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])


def pytest_configure(config):
    config.addinivalue_line("markers", "torch_from(major, minor, reason): skip on an older torch, which lacks this")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("torch_from"):
        major, minor, reason = mark.args
        if (major, minor) > TORCH:
            pytest.skip(f"torch {torch.__version__}: {reason}")


FORMS = {
    "single": {"foreach": False},
    "foreach": {"foreach": True},
    "capturable": {"foreach": False, "capturable": True},
    "foreach-capturable": {"foreach": True, "capturable": True},
}
NEEDS = {
    "foreach": ((1, 8), "no foreach ops"),
    "capturable": ((1, 12), "no capturable optimizers"),
    "foreach-capturable": ((1, 13), "no foreach maximum with tensors that broadcast"),
}


@pytest.fixture(params=FORMS)
def form(request):
    """Return the options that choose one form of ADOPT; skip those that this torch cannot run."""
    since, reason = NEEDS.get(request.param, ((0, 0), ""))
    if since > TORCH:
        pytest.skip(f"torch {torch.__version__}: {reason}")
    return FORMS[request.param]
