"""Removed functions of linear algebra give the results of torch 1.7.1. These tests run on that release, too."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import shim
from shim.releases import release

HERE = release(torch.__version__).numbers

TALL = [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]


@pytest.fixture(autouse=True)
def rows():
    shim.activate(*(f"torch.{each}" for each in ("symeig", "eig", "solve", "lstsq")))
    yield
    shim.deactivate()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_a_right_hand_side_of_one_dimension_is_one_column(wide):
    matrix = torch.tensor(TALL)
    matrix, right = (matrix.t().contiguous(), [1.0, 2.0]) if wide else (matrix, [1.0, 2.0, 4.0])
    expected = [0.9286, -0.2143, 0.1429] if wide else [0.0714, 0.5000, 0.2673]
    solution = torch.lstsq(torch.tensor(right), matrix).solution
    assert solution.shape == (3, 1) and solution.flatten().tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", ["symeig", "eig", "solve", "lstsq"])
def test_a_result_prints_as_those_of_torch_and_can_be_copied(function):
    given = (torch.eye(2),) if "eig" in function else (torch.ones(2, 1), torch.eye(2))
    result = getattr(torch, function)(*given)
    first = "eigenvalues" if "eig" in function else "solution"
    assert repr(result).startswith(f"torch.return_types.{function}(\n{first}=tensor([") and result[0].numel() >= 2
    if HERE >= (2, 0):
        for other in (copy.copy(result), pickle.loads(pickle.dumps(result))):
            assert type(other) is type(result) and torch.equal(other[0], result[0])
