"""torch.optim.optimizer: the attributes that the base class expects from its subclasses."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from .messages import IN_THIS_LINE, raised_in_optim
from .row import default, often

#: The dictionaries of hooks that Optimizer.__init__ makes.
_HOOKS = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


@default(
    *(f"torch.optim.optimizer:Optimizer.{each}" for each in _HOOKS),
    called="Optimizer.__init__",
    works="<2.1",
    says=rf"object has no attribute '({'|'.join(_HOOKS)})'",
    example="""
import torch

class Lookahead(torch.optim.Optimizer):
    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.param_groups = optimizer.param_groups
        self.state = {}
        self.defaults = optimizer.defaults

    def step(self, closure=None):
        return self.optimizer.step(closure)

p = torch.nn.Parameter(torch.ones(1))
optimizer = Lookahead(torch.optim.SGD([p], lr=0.5))
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
for _ in range(2):
    optimizer.zero_grad()
    p.sum().backward()
    optimizer.step()
    scheduler.step()
optimizer.load_state_dict(optimizer.state_dict())
print(round(p.item(), 3), len(optimizer.state_dict()["param_groups"]))
""",
)
def hooks_of_its_own() -> Any:
    """An optimizer that does not call super().__init__() lacks the dictionaries of hooks that torch reads since 2.0."""
    # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/optim/optimizer.py#L271. A __getattr__ for all of them would
    # make Python look up every attribute of an optimizer more slowly, 3 us in a step.
    return OrderedDict()


@often(
    "torch.optim.optimizer:Optimizer.zero_grad",
    "torch.optim.optimizer:Optimizer.__setstate__",
    called="Optimizer.defaults",
    works="<1.11",
    says=raised_in_optim(r"object has no attribute 'defaults'"),
    example="""
import torch

class Lookahead(torch.optim.Optimizer):
    def __init__(self, optimizer):
        self.optimizer, self.param_groups, self.state = optimizer, optimizer.param_groups, {}

p = torch.nn.Parameter(torch.ones(1))
optimizer = Lookahead(torch.optim.SGD([p], lr=0.5))
p.sum().backward()
optimizer.zero_grad()
print(len(optimizer.param_groups), not p.grad)
""",
)
def defaults_of_its_own(original: Any) -> Any:
    """An optimizer that never calls super().__init__ has no defaults, which zero_grad reads since 1.11."""

    # https://github.com/pytorch/pytorch/blob/v1.11.0/torch/optim/optimizer.py#L204
    def with_defaults(*args: Any, **kwargs: Any) -> None:
        if args and not hasattr(args[0], "defaults"):
            args[0].defaults = {}
        original(*args, **kwargs)

    return with_defaults


@often(
    "torch.optim.optimizer:Optimizer.zero_grad",
    "torch.nn.modules.module:Module.zero_grad",
    called="zero_grad",
    works="<2.0",
    says=rf"\.grad\.(?P<what>\w+)\b{IN_THIS_LINE}AttributeError: 'NoneType' object has no attribute '(?P=what)'",
    only_if="zero_grad() was called after the backward() that computed the gradient",
    example="""
import torch
layer = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.5)
layer(torch.ones(1, 2)).sum().backward()
optimizer.zero_grad()
layer.weight.grad.add_(1.0)
print(layer.weight.grad.tolist(), layer.bias.grad.tolist())
layer.zero_grad()
print(layer.weight.grad.abs().sum().item())
""",
)
def to_zeros(original: Any) -> Any:
    """zero_grad set gradients to zero up to 1.13, and sets them to None since, so that a step skips them."""

    # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/optim/optimizer.py#L435
    def to_zeros(*args: Any, **kwargs: Any) -> None:
        if len(args) == 1 and not kwargs:
            original(args[0], False)
        else:
            original(*args, **kwargs)

    return to_zeros


@often(
    "torch.optim.optimizer:Optimizer.zero_grad",
    "torch.nn.modules.module:Module.zero_grad",
    called="zero_grad to None",
    works=">=2.0",
    versions=">=1.7",
    example="""
import torch
used, unused = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)
torch.nn.init.ones_(unused.weight)
optimizer = torch.optim.SGD([used.weight, unused.weight], lr=0.1, momentum=0.9, weight_decay=0.5)
(used(torch.ones(2)) + unused(torch.ones(2))).backward()
used.zero_grad()
print(used.weight.grad)
optimizer.zero_grad()
used(torch.ones(2)).backward()
optimizer.step()
print(unused.weight.tolist())
optimizer.zero_grad(set_to_none=False)
print(used.weight.grad.tolist())
""",
)
def to_none(original: Any) -> Any:
    """zero_grad sets gradients to None since 2.0, so that a step skips them, and set them to zero up to 1.13."""

    def to_none(*args: Any, **kwargs: Any) -> None:
        if len(args) == 1 and not kwargs:
            original(args[0], True)
        else:
            original(*args, **kwargs)

    return to_none
