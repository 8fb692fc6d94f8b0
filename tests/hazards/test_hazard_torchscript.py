"""TorchScript compiles the functionals, in torch.distributed.optim and in scripts of the user"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from hazard_observer import NONE, observation

CLASSES = ["Adadelta", "Adagrad", "Adam", "Adamax", "AdamW", "RMSprop", "SGD"]

SOURCE = """
from typing import List, Optional
import torch
import torch.optim._functional as F
def f(params: List[torch.Tensor], grads: List[torch.Tensor], momentum: List[Optional[torch.Tensor]]):
    F.sgd(params, grads, momentum, weight_decay=0.1, momentum=0.0, lr=0.1, dampening=0.0, nesterov=False, {more})
"""


def _functional_optimizers():
    """Yield the functional optimizers of torch.distributed.optim that this release has."""
    for name in CLASSES:
        try:
            module = importlib.import_module("torch.distributed.optim.functional_" + name.lower())
        except ImportError:
            continue
        yield name, getattr(module, "_Functional" + name)


def _tried(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return type(error).__name__


def _step(cls, weight_decay, script):
    import torch

    parameter = torch.ones(2)
    optimizer = cls([parameter], weight_decay=weight_decay)
    if script:
        optimizer = torch.jit.script(optimizer)
    optimizer.step([torch.full((2,), 0.5)])
    return [type(optimizer).__name__, parameter.tolist()]


@observation
def torch_distributed_optim():
    import torch.distributed.optim

    yield  # if armed, the import comes after activation, else before it
    return sorted(name for name in vars(torch.distributed.optim) if name[0] != "_")


@observation
def scripted_functional_optimizers():
    before = {name: _tried(_step, cls, 0.1, True) for name, cls in _functional_optimizers()}
    yield
    after = {name: _tried(_step, cls, 0.1, True) for name, cls in _functional_optimizers()}
    return [before, after] if before else None


@observation
def functional_optimizers_with_none():

    return {name: _tried(_step, cls, NONE, False) for name, cls in _functional_optimizers()} or None


@observation
def script_of_the_users_own():
    import torch

    for more in ("", "maximize=False", "has_sparse_grad=False, maximize=False"):
        with tempfile.TemporaryDirectory() as folder:
            name = "users_script_%d" % len(more)
            Path(folder, name + ".py").write_text(SOURCE.format(more=more))
            sys.path.insert(0, folder)
            try:
                parameter = torch.ones(2)
                scripted = torch.jit.script(importlib.import_module(name).f)
                scripted([parameter], [torch.ones(2)], [None])
                return parameter.tolist()
            except (RuntimeError, ImportError) as error:
                failure = error
            finally:
                sys.path.remove(folder)
    raise failure


def test_torch_distributed_optim_is_imported_as_without_shim(same):
    same(torch_distributed_optim)


def test_functional_optimizers_are_scripted_and_step_as_without_shim(same):
    same(scripted_functional_optimizers)


def test_functional_optimizers_take_none_as_zero(same):
    same(functional_optimizers_with_none)


def test_a_functional_is_scripted_from_the_users_own_code(same):
    same(script_of_the_users_own)
