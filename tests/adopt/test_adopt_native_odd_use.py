"""Unusual options, clips, containers and tensors do the same with the native kernel as in every form."""

from __future__ import annotations

import decimal
import fractions
import math
import sys

import pytest
import torch
from native_steps import NEEDS_KERNEL, as_parameters, ordinary, steps

from shim.adopt import ADOPT

pytestmark = NEEDS_KERNEL


def test_integers_are_refused():
    with pytest.raises(RuntimeError, match="floating point Tensors"):
        ADOPT([torch.ones(3, dtype=torch.int64)], fused=True)


@pytest.mark.torch_from(1, 9, "no inference mode")
def test_tensors_of_inference_mode_are_stepped_as_with_foreach_false():
    with torch.inference_mode():
        p, q = torch.ones(3), torch.ones(3)
        steps([p], [torch.ones(3)], fused=True)
        steps([q], [torch.ones(3)], foreach=False)

    assert torch.equal(p, q) and p[0] < 1


@pytest.mark.torch_from(2, 0, "no dispatch modes")
def test_a_torch_dispatch_mode_sees_the_operations():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen += 1
            return func(*args, **(kwargs or {}))

    params = as_parameters(ordinary())
    optim = steps(params, ordinary(), fused=True)

    with Watch() as watch:
        optim.step()

    assert watch.seen > len(params)


TAMPERED = {
    "clip_exp": (-1.0, float("nan"), float("inf"), "x"),
    "eps": (float("nan"), -1.0, "x"),
    "decouple": (None, 0, 2, "x"),
    "maximize": (None, "x"),
    "lr": (1j, float("nan"), float("inf"), 1e308, "x"),
    "weight_decay": (float("nan"), float("-inf"), 10**400, "x"),
    "betas": ((0.9, 2.0), (float("nan"), 0.9), (0.9, "x"), (0.9, float("inf"))),
}


@pytest.mark.parametrize(
    "option, value", [(option, value) for option, values in TAMPERED.items() for value in values], ids=repr
)
def test_an_option_that_the_constructor_refuses_does_the_same_in_every_form(option, value):
    def outcome(form):
        p = torch.nn.Parameter(torch.tensor([-1.0, 0.0, 1.0]))
        optim = ADOPT([p], lr=0.1, weight_decay=0.1, foreach=form)
        optim.param_groups[0][option] = value
        try:
            for _ in range(3):
                p.grad = torch.tensor([0.0, 1.0, -2.0])
                optim.step()
        except Exception as error:
            return type(error)
        return p.detach()

    default, single = outcome(None), outcome(False)
    if isinstance(single, type):
        assert default is single
    else:
        assert torch.allclose(default, single, equal_nan=True)


@pytest.mark.parametrize("form", [None, False])
def test_a_clip_that_turns_gradients_on_is_an_error_in_every_form(form):
    def clip(step):
        torch.set_grad_enabled(True)
        return 1.0

    p = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        steps([p], [torch.ones(3)] * 2, clip_lambda=clip, foreach=form)


#: Clips that are no float -> the first release of torch whose clamp accepts them.
CLIPS = {
    "0-dim tensor": (lambda t: torch.tensor(0.5), (1, 4)),
    "tensor of one": (lambda t: torch.tensor([0.5]), (1, 9)),
    "tensor of all": (lambda t: torch.full((3,), 0.5), (1, 9)),
    "bool": (lambda t: True, (1, 4)),
    "Decimal": (lambda t: decimal.Decimal("0.5"), (1, 4)),
    "Fraction": (lambda t: fractions.Fraction(1, 2), (1, 4)),
    "largest float": (lambda t: sys.float_info.max, (1, 4)),
    "infinity": (lambda t: math.inf, (1, 4)),
    "larger than any float": (lambda t: 10**400, (1, 4)),
}


@pytest.mark.parametrize(
    "clip",
    [pytest.param(f, id=n, marks=pytest.mark.torch_from(*since, "no such clamp")) for n, (f, since) in CLIPS.items()],
)
def test_a_clip_that_is_no_float_works_in_every_form(clip):
    found = []
    for form in (None, True, False):
        p = torch.nn.Parameter(torch.ones(3))
        steps(
            [p], [torch.full((3,), 1.0), torch.full((3,), 4.0), torch.full((3,), 2.0)], clip_lambda=clip, foreach=form
        )
        found.append(p.detach())
    assert torch.allclose(found[0], found[2]) and torch.allclose(found[1], found[2])


@pytest.mark.torch_from(1, 13, "no modes for functions")
def test_a_torch_function_mode_does_not_change_the_step():
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    p, q = as_parameters([torch.ones(3), torch.ones(3)])
    steps([p], [torch.ones(3)] * 3, foreach=False)
    with Watch():
        steps([q], [torch.ones(3)] * 3)

    assert torch.allclose(p, q) and p[0] < 1


@pytest.mark.filterwarnings("ignore:Named tensors")
@pytest.mark.skipif(not hasattr(torch.Tensor, "has_names"), reason="named tensors were removed in torch 2.13")
def test_a_named_parameter_is_stepped_as_by_the_other_forms():
    found = []
    for form in ({}, {"foreach": False}):
        p = torch.nn.Parameter(torch.ones(3, names=("a",)))
        optimizer = ADOPT([p], lr=0.1, **form)
        for _ in range(3):
            p.grad = torch.ones(3, names=("a",))
            try:
                optimizer.step()
            except RuntimeError as error:  # torch's operations do not support names in every release
                found.append(str(error))
        found.append(p.detach().rename(None).tolist())
    assert found[: len(found) // 2] == found[len(found) // 2 :]


SHARDED = """
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
import shim
from shim.adopt import ADOPT, native

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
left = []
step = native.step_
native.step_ = lambda *args, **kwargs: left.append(len(step(*args, **kwargs)))
start = torch.arange(12.0).reshape(4, 3)
params = [torch.nn.Parameter(distribute_tensor(start.clone(), mesh, [how])) for how in (Shard(0), Replicate())]
params.append(torch.nn.Parameter(start.clone()))
optimizer = ADOPT(params, lr=0.1, fused=True)
for k in range(4):
    for p in params:
        p.grad = torch.ones_like(p) * (k + 1)
    versions = [p._version for p in params]
    optimizer.step()
    assert all(p._version > version for p, version in zip(params, versions))
values = [getattr(p, "_local_tensor", p).detach() for p in params]
print(left, all(torch.equal(value, values[-1]) for value in values), bool((values[0] < start).all()))
"""


@pytest.mark.torch_from(2, 6, "no public DTensor")
def test_a_dtensor_steps_its_local_tensor(python):
    said = python(SHARDED, door="src", env={"OMP_NUM_THREADS": "1"})

    # gloo writes to stdout, too, in some releases
    assert "[0, 0, 0, 0] True True" in said.stdout.splitlines(), said.stdout + said.stderr


@pytest.mark.parametrize("kind", [list, tuple, set], ids=lambda kind: kind.__name__)
def test_the_parameters_of_a_group_may_be_in_any_container(kind):
    def trained(form):
        p = torch.nn.Parameter(torch.ones(3))
        optim = ADOPT([p], lr=0.1, foreach=form)
        optim.param_groups[0]["params"] = kind([p])
        for _ in range(3):
            p.grad = torch.tensor([1.0, 2.0, 3.0])
            optim.step()
        return p.detach()

    assert torch.equal(trained(None), trained(False))
