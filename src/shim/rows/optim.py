"""torch.optim: schedulers, checkpoints of optimizers, and numbers in configs."""

from __future__ import annotations

from .. import breakages
from ..patches.messages import of_an_optimizer, raised_in_optim
from .row import row

_SCHEDULERS = "torch.optim.lr_scheduler"

_A_SCHEDULER = """
import torch
from torch.optim import lr_scheduler
scheduler = lr_scheduler.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0), 1%s)
"""

#: torch's schedulers that took verbose.
_TOOK_VERBOSE = (
    "ConstantLR|CosineAnnealingLR|CosineAnnealingWarmRestarts|CyclicLR|ExponentialLR|LRScheduler|LambdaLR|LinearLR|"
    "MultiStepLR|MultiplicativeLR|OneCycleLR|PolynomialLR|ReduceLROnPlateau|SequentialLR|StepLR"
)
#: One positional argument more than is taken now; the longest signature is that of CyclicLR.
_ONE_MORE = "|".join(f"to {most} positional arguments but {most + 1} were given" for most in range(3, 16))

row(
    "attribute",
    (f"{_SCHEDULERS}:_LRScheduler",),
    breakages.one_lr_scheduler,
    None,
    {
        "called": "lr_scheduler",
        "reason": "the base class of the schedulers is _LRScheduler up to 1.13, LRScheduler since; both become one",
        "works": "<2.0",
        "says": (
            r"cannot import name '_LRScheduler' from 'torch\.optim\.lr_scheduler'",
            r"module 'torch\.optim\.lr_scheduler' has no attribute '_LRScheduler'",
            # A scheduler of torch's that is refused for not being one.
            r"\b_LRScheduler\b.* (<class '|<)torch\.optim\.lr_scheduler\.\w+('>| object at )",
            r"doesn't follow PyTorch's LRScheduler API",  # Lightning up to 1.7, of torch's own schedulers
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
    breakages.one_lr_scheduler,
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
row(
    "arguments",
    # Below verbose, which lets an argument through that a scheduler no longer has.
    (
        "torch.optim:*.__init__",
        "torch.optim.optimizer:Optimizer.add_param_group",
        f"{_SCHEDULERS}:*.__init__",
        "torch.optim.swa_utils:SWALR.__init__",
    ),
    breakages.numbers,
    None,
    {
        "called": "numbers",
        "reason": "YAML 1.1 reads 1e-5 as a string, and configs give betas as strings, lists or ints",
        "works": "",
        "named": True,
        "says": (
            r"betas must be either both floats or both Tensors",
            r"Expected float or int eta_min, but got \S+ of type <class 'str'>",
            r"_fused_(adagrad|adam|adamw|sgd)_\(\) received an invalid combination of arguments - got \([^)]*=str\b",
            r"\b_foreach_add_?\(\) received an invalid combination of arguments - got \(\w+, \w+, alpha=str\)",
            of_an_optimizer(
                r"'<=' not supported between instances of 'float' and 'str'",
                r"'<' not supported between instances of 'str' and 'float'",
                r"argument 'alpha' must be Number, not str\b",
                r"unsupported operand type\(s\) for -: 'float' and 'str'",  # a scheduler's eta_min
            ),
            raised_in_optim(
                r"TypeError: .*('str'|\bnot str\b|=str\b|, str\)|\(str\))",  # such as bad operand type for unary -
                r"TypeError: can't multiply sequence by non-int of type 'float'",
            ),
        ),
    },
)
row(
    "wrapper",
    (f"{_SCHEDULERS}:*.__init__",),
    breakages.without_verbose,
    None,
    {
        "called": "verbose",
        "reason": "schedulers took verbose, as the last argument, up to 2.6; since 2.2 it has done nothing",
        "works": "<2.7",
        "says": (
            rf"\b({_TOOK_VERBOSE})\.__init__\(\) got an unexpected keyword argument 'verbose'",
            rf"\b({_TOOK_VERBOSE})\.__init__\(\) takes from \d+ ({_ONE_MORE})",
        ),
        "example": (_A_SCHEDULER % ", verbose=False") + "print(scheduler.get_last_lr())\n",
    },
)
row(
    "arguments",
    tuple(f"torch.optim.{name}:_{form}_tensor_{name}" for name in ("adam", "adamw") for form in ("single", "multi")),
    breakages.steps_on_the_cpu,
    None,
    {
        "called": "state_steps",
        "reason": "1.12.0 refuses step counters on the GPU, where a checkpoint may put them; 1.12.1 takes them",
        "works": "!=1.12.0",
        "note": "run without a GPU",
        "says": r"If capturable=False, state_steps should not be CUDA tensors",
    },
)
row(
    "arguments",
    ("torch.optim.optimizer:Optimizer.load_state_dict",),
    breakages.resume,
    None,
    {
        "called": "resume",
        "reason": "a checkpoint of another release lacks keys in its groups, or counts steps another way",
        "works": "",
        "named": True,
        "says": (
            r"API has changed, `state_steps` argument must contain a list of singleton tensors",
            raised_in_optim(r"AttributeError: '(int|float)' object has no attribute 'item'"),
            r"_foreach_addcdiv_\(\) received an invalid combination of arguments - "
            r"got \(list, list, (list|tuple), list\)",
            of_an_optimizer(r"KeyError: '(capturable|decoupled_weight_decay|differentiable|maximize)'"),
            raised_in_optim(r"KeyError: '(foreach|fused)'"),
        ),
    },
)
