"""A scheduler prints the learning rates that it sets, as with verbose=True up to torch 2.1."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

import shim
from shim import releases

RELEASE = releases.release(torch.__version__).numbers

pytestmark = [
    pytest.mark.skipif(RELEASE < (1, 7), reason="CyclicLR and others took verbose in 1.7"),
    pytest.mark.filterwarnings("ignore:The verbose parameter is deprecated", "ignore:Detected call of"),
]


@pytest.fixture(autouse=True)
def written_for_1_13():
    shim.activate(written_for="1.13")
    yield
    shim.deactivate()


@pytest.fixture
def optimizer():
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (1.0, 0.5)], lr=1.0)


def test_each_step_and_the_first_one_are_printed(optimizer, capsys):
    scheduler = lr_scheduler.StepLR(optimizer, 1, 0.1, -1, True)
    scheduler.step()
    assert capsys.readouterr().out == (
        "Adjusting learning rate of group 0 to 1.0000e+00.\n"
        "Adjusting learning rate of group 1 to 5.0000e-01.\n"
        "Adjusting learning rate of group 0 to 1.0000e-01.\n"
        "Adjusting learning rate of group 1 to 5.0000e-02.\n"
    )


def test_without_verbose_nothing_is_printed(optimizer, capsys):
    for verbose in ({}, {"verbose": False}):
        lr_scheduler.StepLR(optimizer, 1, **verbose).step()
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("ignore:The epoch parameter in")
@pytest.mark.skipif(RELEASE < (1, 9), reason="torch up to 1.8 printed an epoch with another width")
def test_an_epoch_that_is_given_is_named(optimizer, capsys):
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, verbose=True)
    scheduler.step()
    lr_scheduler.ExponentialLR(optimizer, 0.5, verbose=True).step(3)
    printed = capsys.readouterr().out.splitlines()
    assert printed[2] == "Epoch 00001: adjusting learning rate of group 0 to 5.0000e-01."
    assert printed[-2].startswith("Epoch 00003: adjusting learning rate of group 0 to ")


@pytest.mark.skipif(RELEASE < (1, 9), reason="torch up to 1.8 printed an epoch with another width")
def test_a_plateau_is_printed_where_it_reduces(optimizer, capsys):
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.0, 0.5], verbose=True)
    for loss in (1.0, 2.0, 0.5):
        scheduler.step(loss)
    assert capsys.readouterr().out == "Epoch 00002: reducing learning rate of group 0 to 1.0000e-01.\n"


def test_verbose_is_saved_with_the_state(optimizer):
    state = lr_scheduler.StepLR(optimizer, 1, verbose=True).state_dict()
    assert state["verbose"] is True
