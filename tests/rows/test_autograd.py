"""Functions whose instances are called return the numbers of torch 1.4.0."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

import shim
from shim.releases import release

pytestmark = [
    pytest.mark.skipif(release(torch.__version__).numbers < (1, 5, 0), reason="they work without shim up to 1.4"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def the_row():
    shim.activate("autograd.Function")
    yield
    shim.deactivate()


class Product(torch.autograd.Function):
    """x * y * scale, and x + y."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def forward(self, x, y):
        self.seen = self.needs_input_grad, x.requires_grad
        self.save_for_backward(x, y)
        return x * y * self.scale, x + y

    def backward(self, by_product, by_sum):
        _, y = self.saved_tensors
        return by_product * y * self.scale + by_sum, None


class Marked(torch.autograd.Function):
    def forward(self, x):
        positive = x > 0
        self.mark_non_differentiable(positive)
        return x * 1, positive

    def backward(self, gradient, of_positive):
        return gradient * 5


class InPlace(torch.autograd.Function):
    def forward(self, x):
        self.mark_dirty(x)
        return x.mul_(2)

    def backward(self, gradient):
        return gradient * 2


X = [1.0, 2.0]
Y = torch.tensor([3.0, 4.0])


def leaf():
    return torch.tensor(X, requires_grad=True)


def test_several_results_and_needs_input_grad_are_as_in_1_4():
    x, function = leaf(), Product(2.0)
    product, total = function(x, Y)
    assert function.seen == ((True, False), True)
    assert product.tolist() == [6, 16] and total.requires_grad
    (product.sum() + total[0]).backward()
    assert x.grad.tolist() == [7, 8]


def test_each_call_of_one_instance_has_its_own_gradient():
    x, other, function = leaf(), leaf(), Product()
    first, second = function(x, Y)[0], function(other, 2 * Y)[0]
    first.sum().backward()
    second.sum().backward()
    assert (x.grad.tolist(), other.grad.tolist()) == ([3, 4], [6, 8])


def test_mark_non_differentiable_is_respected():
    x = leaf()
    value, positive = Marked()(x)
    assert (value.requires_grad, positive.requires_grad, positive.dtype) == (True, False, torch.bool)
    value.sum().backward()
    assert x.grad.tolist() == [5, 5]


def test_a_result_changed_in_place_is_the_argument_and_has_a_gradient():
    x = leaf()
    y = x * 1
    result = InPlace()(y)
    assert result is y and y._version == 2
    result.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_the_gradient_has_no_history():
    x = leaf()
    (gradient,) = torch.autograd.grad(Product()(x, Y)[0].sum(), x, create_graph=True)
    assert gradient.tolist() == [3, 4] and not gradient.requires_grad


def test_no_grad_and_empty_tensors_work():
    with torch.no_grad():
        assert not Product()(leaf(), Y)[0].requires_grad
    assert not Product()(Y, Y)[0].requires_grad
    empty = torch.ones(0, 2, requires_grad=True)
    Product()(empty, Y)[0].sum().backward()
    assert empty.grad.shape == (0, 2)


@pytest.mark.parametrize("wrong", [3, None, [1]])
def test_an_argument_that_is_no_tensor_is_refused(wrong):
    with pytest.raises(RuntimeError, match="expected a Variable argument, but got"):
        Product()(leaf(), wrong)


def test_a_saved_tensor_that_was_changed_is_an_error():
    x = leaf() * 1
    product = Product()(x, Y)[0]
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


def test_a_called_instance_is_still_of_its_class():
    function = Product(2.0)
    function(leaf(), Y)
    assert isinstance(function, Product) and type(function).__name__ == "Product"
    assert vars(function) == {"scale": 2.0, "seen": ((True, False), True)}


def test_saved_tensors_are_freed_without_the_garbage_collector():
    gc.disable()
    try:
        function = Product()
        big = torch.ones(2)
        there = weakref.ref(big)
        result = function(leaf(), big)[0]
        del big, result
        assert there() is None
    finally:
        gc.enable()


def test_static_functions_work_as_without_shim():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    x = leaf()
    Twice.apply(x).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_gradcheck_accepts_an_instance():
    class Cube(torch.autograd.Function):
        def forward(self, x):
            self.save_for_backward(x)
            return x**3

        def backward(self, gradient):
            (x,) = self.saved_tensors
            return 3 * x**2 * gradient

    x = torch.tensor([0.5, -1.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Cube()(x), (x,))


@pytest.mark.skipif(release(torch.__version__).numbers < (1, 8, 0), reason="torch 1.7 changes the views themselves")
def test_parts_of_a_tensor_can_all_be_changed_in_place():
    shim.activate("in-place on views of several")
    try:
        x = torch.ones(2, 4, requires_grad=True)
        gates = (x * 1).chunk(2, 1)
        (gates[0].sigmoid_() * gates[1].tanh_()).sum().backward()
        parts = torch.split(torch.ones(5, 2, requires_grad=True) * 2, (2, 3), dim=0)
        shapes = [tuple(part.mul_(2).shape) for part in parts]
    finally:
        shim.deactivate()
    # printed by torch 1.4.0
    assert [round(value, 4) for value in x.grad.flatten().tolist()] == [
        0.1497,
        0.1497,
        0.307,
        0.307,
        0.1497,
        0.1497,
        0.307,
        0.307,
    ]
    assert shapes == [(2, 2), (3, 2)] and parts[1].requires_grad
