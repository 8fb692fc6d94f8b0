"""torch.optim.lr_scheduler: the name of the base class, ``verbose``, and what ``last_epoch`` does."""

from __future__ import annotations

import inspect
from abc import ABCMeta
from types import ModuleType
from typing import Any, Callable

from .row import behaviour, row

_SCHEDULERS = "torch.optim.lr_scheduler"

_A_SCHEDULER = """
import torch
from torch.optim import lr_scheduler
scheduler = lr_scheduler.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0), 1%s)
"""

#: The schedulers of torch that had the argument verbose.
_TOOK_VERBOSE = (
    "ConstantLR|CosineAnnealingLR|CosineAnnealingWarmRestarts|CyclicLR|ExponentialLR|LRScheduler|LambdaLR|LinearLR|"
    "MultiStepLR|MultiplicativeLR|OneCycleLR|PolynomialLR|ReduceLROnPlateau|SequentialLR|StepLR"
)
#: The message for one positional argument too many. CyclicLR has the most.
_ONE_MORE = "|".join(f"to {most} positional arguments but {most + 1} were given" for most in range(3, 16))


def old_base(lr_scheduler: ModuleType) -> type:
    """Return a class that all schedulers inherit for isinstance, except ReduceLROnPlateau, which did not up to 2.1."""
    base, plateau = lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau

    class Meta(ABCMeta):
        def __instancecheck__(cls, instance: Any) -> bool:
            return cls.__subclasscheck__(type(instance))

        def __subclasscheck__(cls, subclass: type) -> bool:
            if cls is not _LRScheduler:
                return super().__subclasscheck__(subclass)
            return issubclass(subclass, base) and not issubclass(subclass, plateau)

    class _LRScheduler(base, metaclass=Meta):  # type: ignore[misc, valid-type]
        pass

    _LRScheduler.__module__, _LRScheduler.__qualname__ = lr_scheduler.__name__, "_LRScheduler"
    return _LRScheduler


def new_base(lr_scheduler: ModuleType) -> type:
    """Return the base class of the schedulers, which gets both names."""
    base: type = lr_scheduler._LRScheduler
    return base


row(
    "attribute",
    (f"{_SCHEDULERS}:_LRScheduler",),
    old_base,
    None,
    {
        "called": "lr_scheduler",
        "reason": "the base class of the schedulers is _LRScheduler up to 1.13, LRScheduler since; both work here",
        "works": "<2.0",
        "says": (
            r"cannot import name '_LRScheduler' from 'torch\.optim\.lr_scheduler'",
            r"module 'torch\.optim\.lr_scheduler' has no attribute '_LRScheduler'",
            # A scheduler of torch that a library does not accept as one.
            r"\b_LRScheduler\b.* (<class '|<)torch\.optim\.lr_scheduler\.\w+('>| object at )",
            # Lightning up to 1.7, about torch's own schedulers:
            # https://github.com/Lightning-AI/pytorch-lightning/issues/15912
            r"doesn't follow PyTorch's LRScheduler API",
        ),
        "example": (_A_SCHEDULER % "")
        + "if not isinstance(scheduler, lr_scheduler._LRScheduler):\n"
        + "    raise TypeError(f'expected a _LRScheduler, got {type(scheduler)}')\n"
        + "print('it is one')\n",
    },
)
row(
    "attribute",
    (f"{_SCHEDULERS}:LRScheduler",),
    new_base,
    None,
    {
        "called": "lr_scheduler.LRScheduler",
        "reason": "the base class of the schedulers is called LRScheduler since 2.0",
        "works": ">=2.0",
        "says": (
            r"cannot import name 'LRScheduler' from 'torch\.optim\.lr_scheduler'",
            r"module 'torch\.optim\.lr_scheduler' has no attribute 'LRScheduler'",
        ),
        "example": (_A_SCHEDULER % "") + "print(isinstance(scheduler, lr_scheduler.LRScheduler))\n",
    },
)


def without_verbose(wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Construct a scheduler without ``verbose``, its last argument, unless it takes it. It stores it, as before."""
    parameters = inspect.signature(wrapped).parameters
    if "verbose" in parameters:
        wrapped(*args, **kwargs)
        return
    given = [kwargs.pop("verbose")] if "verbose" in kwargs else []
    if len(args) == len(parameters) + 1:
        args, given = args[:-1], [args[-1]]
    if given:
        instance.verbose = given[0]
    wrapped(*args, **kwargs)


row(
    "wrapper",
    # Not "*": torch constructs an object of another class of the module in each step.
    tuple(f"{_SCHEDULERS}:{each}.__init__" for each in _TOOK_VERBOSE.split("|")),
    without_verbose,
    None,
    {
        "called": "verbose",
        "reason": "schedulers take verbose, as the last argument, from 1.7 to 2.6; since 2.2 it has had no effect",
        "works": ">=1.7,<2.7",
        "versions": ">=2.7",
        "says": (
            rf"\b({_TOOK_VERBOSE})\.__init__\(\) got an unexpected keyword argument 'verbose'",
            rf"\b({_TOOK_VERBOSE})\.__init__\(\) takes from \d+ ({_ONE_MORE})",
        ),
        "example": (_A_SCHEDULER % ", verbose=False") + "print(scheduler.get_last_lr())\n",
    },
)


def verbose_before_threshold(
    wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Construct a ReduceLROnPlateau whose fifth argument is ``verbose``. ``threshold`` is there now, and is no bool."""
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/optim/lr_scheduler.py#L554
    if len(args) > 4 and isinstance(args[4], bool):
        args, kwargs = (*args[:4], *args[5:]), {**kwargs, "verbose": args[4]}
    without_verbose(wrapped, instance, args, kwargs)


row(
    "wrapper",
    (f"{_SCHEDULERS}:ReduceLROnPlateau.__init__",),
    verbose_before_threshold,
    None,
    {
        "called": "verbose.ReduceLROnPlateau",
        "reason": "ReduceLROnPlateau alone took verbose up to 1.6, in front of threshold; 2.7 dropped it",
        "works": "<1.7",
        "versions": ">=1.7",
        "example": """
import torch
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", 0.1, 1, False, 0.5, "abs")
for loss in (1.0, 0.9, 0.4, 0.3, 0.2):
    scheduler.step(loss)
    print(optimizer.param_groups[0]["lr"])
""",
    },
)


@behaviour(
    f"{_SCHEDULERS}:_initial_mode.__enter__",
    called="last_epoch of a scheduler",
    works="<2.8",
    example="""
import torch
from torch.optim.lr_scheduler import ExponentialLR, MultiplicativeLR
for make in (lambda *given: ExponentialLR(*given, 0.5, last_epoch=3),
             lambda *given: MultiplicativeLR(*given, lambda epoch: 0.5, last_epoch=3)):
    group = {"params": [torch.nn.Parameter(torch.ones(1))], "initial_lr": 1.0}
    optimizer = torch.optim.SGD([group], lr=0.25)
    scheduler = make(optimizer)
    print(optimizer.param_groups[0]["lr"])
""",
)
def initial(original: Any, self: Any) -> None:
    """A scheduler constructed with a last_epoch changed the learning rate at once; since 2.8 some keep it until step().

    These are ExponentialLR, MultiplicativeLR, LinearLR, PolynomialLR and CosineAnnealingLR.
    """
    # https://github.com/pytorch/pytorch/blob/v2.8.0/torch/optim/lr_scheduler.py#L255
    if self.o.last_epoch == -1:
        original(self)


def without_three_phase(
    wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Construct a OneCycleLR whose 13th argument is ``last_epoch``. ``three_phase`` is there now, and is a bool."""
    # https://github.com/pytorch/pytorch/blob/v1.7.1/torch/optim/lr_scheduler.py#L1154
    if len(args) > 12 and not isinstance(args[12], bool):
        args, kwargs = args[:12], {**kwargs, **dict(zip(("last_epoch", "verbose"), args[12:]))}
    without_verbose(wrapped, instance, args, kwargs)


row(
    "wrapper",
    (f"{_SCHEDULERS}:OneCycleLR.__init__",),
    without_three_phase,
    None,
    {
        "called": "OneCycleLR.last_epoch",
        "reason": "the 13th argument of OneCycleLR was last_epoch up to 1.7, and is three_phase since",
        "works": "<1.8",
        "versions": ">=1.8",
        "example": """
import torch
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
scheduler = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, 1.0, 8, None, None, 0.3, "cos", True, 0.85, 0.95, 25.0, 1e4, -1
)
for _ in range(4):
    optimizer.step()
    scheduler.step()
    print(round(optimizer.param_groups[0]["lr"], 4))
""",
    },
)


def printing(original: Any) -> Any:
    """Return a step that prints the learning rates that it set if the scheduler was made with ``verbose``."""

    def step(*args: Any, **kwargs: Any) -> None:
        if args and vars(args[0]).get("verbose") is True:
            _print_step(original, *args, **kwargs)
        else:
            original(*args, **kwargs)

    return step


def _print_step(original: Any, instance: Any, *args: Any, **kwargs: Any) -> None:
    before = [group["lr"] for group in instance.optimizer.param_groups]
    original(instance, *args, **kwargs)
    plateau = "patience" in vars(instance)
    epoch = ""
    if plateau or "T_cur" in vars(instance) or args or kwargs:
        last = instance.last_epoch
        epoch = f"Epoch {last:.2f}: " if isinstance(last, float) else f"Epoch {last:05d}: "
    what = "reducing" if plateau else "adjusting" if epoch else "Adjusting"
    for number, (old, group) in enumerate(zip(before, instance.optimizer.param_groups)):
        if not plateau or group["lr"] != old:
            print(f"{epoch}{what} learning rate of group {number} to {group['lr']:.4e}.")  # noqa: T201


row(
    "instead",
    (f"{_SCHEDULERS}:*.step",),
    printing,
    None,
    {
        "called": "verbose.printed",
        "reason": "with verbose=True a scheduler printed the learning rates that it set, up to 2.1",
        "works": ">=1.7,<2.2",
        "versions": ">=2.2",
    },
)
row(
    "instead",
    (f"{_SCHEDULERS}:ReduceLROnPlateau.step",),
    printing,
    None,
    {
        "called": "verbose.printed.ReduceLROnPlateau",
        "reason": "with verbose=True ReduceLROnPlateau printed the learning rates that it reduced, up to 2.1",
        "works": "<1.7",
        "versions": ">=2.2",
    },
)
