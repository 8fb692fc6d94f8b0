"""Without the native kernel ADOPT uses another form, and reports which one."""

from __future__ import annotations

import pytest
import torch
from native_steps import NEEDS_KERNEL, as_parameters, ordinary, steps

import shim
from shim.adopt import ADOPT, native

pytestmark = NEEDS_KERNEL


def test_a_library_of_another_version_is_not_called(monkeypatch):
    import _ctypes

    monkeypatch.setattr(native, "LIBRARY", _ctypes.__file__)

    assert native._load() == (None, "it was built from another version of shim. Reinstall shim")


def test_without_the_kernel_fused_is_refused_and_the_default_works(no_native_kernel):
    p = torch.nn.Parameter(torch.ones(3))

    with pytest.raises(RuntimeError, match="please use fused=None: there is no native kernel for the CPU: it was not"):
        ADOPT([p], fused=True)
    steps([p], [torch.ones(3)])

    assert not torch.equal(p, torch.ones(3))


def test_repr_and_status_name_the_form(request):
    groups = [{"params": as_parameters(ordinary())}, {"params": [torch.nn.Parameter(torch.ones(3))], "foreach": False}]

    assert "Form of group 0: fused, native kernel\nForm of group 1: single tensor\n)" in repr(ADOPT(groups))
    assert "ADOPT on the CPU: native kernel" in str(shim.status())
    request.getfixturevalue("no_native_kernel")
    said = "in blocks, without the native kernel: it was not built"
    assert f"Form of group 0: fused, {said}" in repr(ADOPT(groups))
    assert f"ADOPT on the CPU: {said}" in str(shim.status())


def test_a_checkpoint_of_a_run_with_the_kernel_continues_without_it(no_native_kernel):
    p = torch.nn.Parameter(torch.ones(3))
    optim = ADOPT([p], lr=0.1)
    optim.param_groups[0]["fused"] = True  # a checkpoint may set it
    for _ in range(3):
        p.grad = torch.ones(3)
        optim.step()

    assert not torch.equal(p, torch.ones(3))
