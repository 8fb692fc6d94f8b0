"""What the optional patches put in place: the old behaviour, around the new code. The table is ``patches/optional``."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any, Callable


def torch_six(torch: ModuleType) -> ModuleType:
    """Make the module ``torch._six``, as 1.x had it for those who imported from it."""
    import builtins
    import collections.abc
    import math
    import queue
    from types import new_class

    six = ModuleType("torch._six", "What torch 1.x had under this name, given back by shim.")
    vars(six).update(
        PY2=False,
        PY3=True,
        PY37=True,
        builtins=builtins,
        container_abcs=collections.abc,
        inf=math.inf,
        int_classes=int,
        nan=math.nan,
        queue=queue,
        string_classes=(str, bytes),
        with_metaclass=lambda meta, *bases: new_class("temporary_class", bases, {"metaclass": meta}),
    )
    return six


def one_lr_scheduler(lr_scheduler: ModuleType) -> type:
    """Return the base class of the schedulers, which is to have both names."""
    base: type = getattr(lr_scheduler, "LRScheduler", None) or lr_scheduler._LRScheduler
    return base


def without_verbose(wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Construct a scheduler without ``verbose``, which came last."""
    kwargs.pop("verbose", None)
    parameters = inspect.signature(wrapped).parameters
    if len(args) == len(parameters) + 1:
        args = args[:-1]
    wrapped(*args, **kwargs)


def steps_on_the_cpu(
    wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Compute with copies of the step counters that 1.12.0 does not take where they are, and count in the originals."""
    counters = args[5]
    if kwargs["capturable"] or not any(counter.is_cuda for counter in counters):
        return wrapped(*args, **kwargs)
    import torch

    copies = [torch.tensor(float(counter)) for counter in counters]
    wrapped(*args[:5], copies, *args[6:], **kwargs)
    for counter, copy in zip(counters, copies):
        counter.copy_(copy)
    return None


def resume(wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Load a checkpoint of another release: keys that its groups lack stay as they are, steps become what is usual."""

    def load(state_dict: dict[str, Any], *rest: Any, **more: Any) -> None:
        saved = state_dict["param_groups"]
        known = [{key: group[key] for key in instance.defaults if key in group} for group in instance.param_groups]
        if len(saved) == len(known):  # else wrapped says so
            groups = [{**own, **group} for own, group in zip(known, saved)]
            state_dict = {**state_dict, "param_groups": groups}
        wrapped(state_dict, *rest, **more)
        if _steps_as_torch_does(type(instance)):
            for state in instance.state.values():
                if "step" in state:
                    state["step"] = _usual(state["step"])

    load(*args, **kwargs)


def _steps_as_torch_does(cls: type) -> bool:
    owner = next(base for base in cls.__mro__ if "step" in vars(base))
    return owner.__module__.startswith("torch.optim.")


def _usual(step: Any) -> Any:
    """Return a step counter as torch's optimizers have it: a tensor since 1.12, a number before."""
    import torch

    if hasattr(sys.modules["torch.optim.adam"], "_single_tensor_adam"):
        return step if torch.is_tensor(step) else torch.tensor(float(step))
    return int(step)


def numbers(wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Construct an optimizer, or add a group to it, with numbers where a config gave strings, or a pair of ints."""
    if wrapped.__name__ == "add_param_group":
        group = args[0] if args else kwargs["param_group"]
        group.update((key, _number(value)) for key, value in list(group.items()) if key != "params")
    else:
        kwargs = {key: value if key == "params" else _number(value) for key, value in kwargs.items()}
        args = (*args[:1], *(_number(value) for value in args[1:]))
    wrapped(*args, **kwargs)


def _number(value: Any) -> Any:
    """Return the number that a string spells, a list or tuple of them as floats, and anything else untouched."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, (list, tuple)) and all(type(each) in (int, float, str) for each in value):
        pair = tuple(_number(each) for each in value)
        return tuple(float(each) if type(each) is int else each for each in pair)
    return value
