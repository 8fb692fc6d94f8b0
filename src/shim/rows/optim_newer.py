"""torch.optim: features of optimizers and schedulers that came later, for new programs on an older torch."""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any

from .row import argument, name

_OPTIMIZER = "torch.optim.optimizer:Optimizer"

_STEPS = """
import torch
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([weight], lr=0.25)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
handle = optimizer.{register}(
    lambda self, args, kwargs: print("{when}", self is optimizer, len(args), sorted(kwargs), weight.tolist())
)
for _ in range(2):
    weight.grad = torch.ones(2)
    optimizer.step()
handle.remove()
optimizer.step(closure=None)
print(weight.tolist())
"""


@name(
    f"{_OPTIMIZER}.register_step_pre_hook",
    called="register_step_pre_hook",
    works=">=2.0",
    says=r"'\w+' object has no attribute 'register_step_pre_hook'",
    example=_STEPS.format(register="register_step_pre_hook", when="before"),
)
def register_step_pre_hook(self: Any, hook: Any) -> Any:
    """Hooks that run before an optimizer's step, and may change its arguments, came with 2.0."""
    return _registered(self, "_optimizer_step_pre_hooks", hook)


@name(
    f"{_OPTIMIZER}.register_step_post_hook",
    called="register_step_post_hook",
    works=">=2.0",
    says=r"'\w+' object has no attribute 'register_step_post_hook'",
    example=_STEPS.format(register="register_step_post_hook", when="after"),
)
def register_step_post_hook(self: Any, hook: Any) -> Any:
    """Hooks that run after an optimizer's step came with 2.0."""
    return _registered(self, "_optimizer_step_post_hooks", hook)


def _registered(optimizer: Any, hooks: str, hook: Any) -> Any:
    from torch.utils.hooks import RemovableHandle

    if not getattr(optimizer.step, "runs_hooks", False):
        # A scheduler has set a step on the optimizer, which calls the step that the class had at that time:
        # https://github.com/pytorch/pytorch/blob/v1.13.1/torch/optim/lr_scheduler.py#L75
        held_by = optimizer if "step" in vars(optimizer) else _where_step_is(type(optimizer))
        held_by.step = _with_hooks(held_by.step, optimizer if held_by is optimizer else None)
    registered = vars(optimizer).setdefault(hooks, OrderedDict())
    handle = RemovableHandle(registered)
    registered[handle.id] = hook
    return handle


def _where_step_is(cls: type) -> Any:
    return next(base for base in cls.__mro__ if "step" in vars(base))


def _with_hooks(step: Any, optimizer: Any) -> Any:
    """Return a step that runs the hooks around ``step``: of a class, or of a single optimizer if it is given."""

    @functools.wraps(step)
    def step_with_hooks(*args: Any, **kwargs: Any) -> Any:
        if optimizer is not None:
            args = (optimizer, *args)
        self = args[0]
        for before in list(vars(self).get("_optimizer_step_pre_hooks", {}).values()):
            result = before(self, args, kwargs)
            if result is not None:
                if not isinstance(result, tuple) or len(result) != 2:
                    raise RuntimeError(
                        f"{step} must return None or a tuple of (new_args, new_kwargs), but got {result}."
                    )
                args, kwargs = result
        out = step(*(args if optimizer is None else args[1:]), **kwargs)
        for after in list(vars(self).get("_optimizer_step_post_hooks", {}).values()):
            after(self, args, kwargs)
        return out

    vars(step_with_hooks)["runs_hooks"] = True
    return step_with_hooks


@name(
    "torch.optim.lr_scheduler:ReduceLROnPlateau.get_last_lr",
    called="ReduceLROnPlateau.get_last_lr",
    works=">=2.3",
    says=r"'ReduceLROnPlateau' object has no attribute '(get_last_lr|_last_lr)'",
    example="""
import torch
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
print(scheduler.get_last_lr())
for loss in (1.0, 2.0):
    scheduler.step(loss)
print(scheduler.get_last_lr())
""",
)
def get_last_lr(self: Any) -> list[float]:
    """ReduceLROnPlateau has get_last_lr since 2.2, before its first step since 2.3."""
    last: list[float] | None = getattr(self, "_last_lr", None)
    return [group["lr"] for group in self.optimizer.param_groups] if last is None else last


@argument(
    f"{_OPTIMIZER}.__init__",
    f"{_OPTIMIZER}.add_param_group",
    called="named parameters",
    works=">=2.6",
    says=r"optimizer can only optimize Tensors, but one of the params is tuple",
    example="""
import torch
layer = torch.nn.Linear(2, 1)
for parameters in (layer.named_parameters(), [{"params": layer.named_parameters(), "lr": 0.5}]):
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    group = optimizer.param_groups[0]
    print([tuple(parameter.shape) for parameter in group["params"]], group["lr"])
optimizer = torch.optim.SGD(params=torch.nn.Linear(1, 1).named_parameters(), lr=0.1)
optimizer.add_param_group(param_group={"params": layer.named_parameters()})
print([len(group["params"]) for group in optimizer.param_groups])
""",
)
def without_names(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Optimizers take named parameters since 2.6; an older torch does not keep the names."""
    for key in kwargs.keys() & {"params", "param_group"}:
        kwargs[key] = _unnamed(kwargs[key])
    return original(self, *map(_unnamed, args[:1]), *args[1:], **kwargs)


def _unnamed(params: Any) -> Any:
    """Return parameters or groups with each pair of a name and a parameter replaced by the parameter."""
    if isinstance(params, dict):
        return {**params, "params": _unnamed(params["params"])} if "params" in params else params
    if not hasattr(params, "__iter__") or hasattr(params, "dim") or isinstance(params, (set, frozenset)):
        return params
    params = list(params)
    pairs = [each for each in params if isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str)]
    if pairs and len(pairs) == len(params):
        return [parameter for _, parameter in params]
    return [_unnamed(each) if isinstance(each, dict) else each for each in params]
