"""torch.optim: schedulers, checkpoints of optimizers, and numbers in configs."""

from __future__ import annotations

from .. import breakages
from .row import row

_SCHEDULERS = "torch.optim.lr_scheduler"

_A_SCHEDULER = """
import torch
from torch.optim import lr_scheduler
scheduler = lr_scheduler.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0), 1%s)
"""

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
            r"is not an? (?:instance of )?['\"`]?(?:torch\.optim\.lr_scheduler\.)?_LRScheduler",
            r"doesn't follow PyTorch's LRScheduler API",  # Lightning up to 1.7, of torch's own schedulers
        ),
        "example": (_A_SCHEDULER % "")
        + "if not isinstance(scheduler, lr_scheduler._LRScheduler):\n"
        + '    raise TypeError("StepLR is not a torch.optim.lr_scheduler._LRScheduler")\nprint("it is")\n',
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
        "example": (_A_SCHEDULER % "") + "print(isinstance(scheduler, lr_scheduler.LRScheduler))",
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
        "says": r"\b\w*(?:LR|Plateau|Restarts)\.__init__\(\) got an unexpected keyword argument 'verbose'",
        "example": (_A_SCHEDULER % ", verbose=False") + "print(scheduler.get_last_lr())",
    },
)
row(
    "wrapper",
    tuple(f"torch.optim.{name}:_{form}_tensor_{name}" for name in ("adam", "adamw") for form in ("single", "multi")),
    breakages.steps_on_the_cpu,
    None,
    {
        "called": "state_steps",
        "reason": "1.12.0 refuses step counters on the GPU, where a checkpoint may put them; 1.12.1 takes them",
        "works": "!=1.12.0",
        "note": "run without a GPU",
        "says": r"state_steps should not be CUDA tensors",
    },
)
row(
    "wrapper",
    ("torch.optim.optimizer:Optimizer.load_state_dict",),
    breakages.resume,
    None,
    {
        "called": "resume",
        "reason": "a checkpoint of another release lacks keys in its groups, or counts steps another way",
        "works": "",
        "named": True,
        "says": (
            r"`state_steps` argument must contain a list of singleton tensors",
            r"'(int|float)' object has no attribute 'item'",
            r"_foreach_addcdiv_\(\) received an invalid combination of arguments",
            r"KeyError: '(amsgrad|capturable|decoupled_weight_decay|differentiable|foreach|fused|maximize)'",
        ),
    },
)
row(
    "wrapper",
    ("torch.optim:*.__init__", "torch.optim.optimizer:Optimizer.add_param_group"),
    breakages.numbers,
    None,
    {
        "called": "numbers",
        "reason": "YAML 1.1 reads 1e-5 as a string, and configs give betas as ints, which 2.13 refuses",
        "works": "",
        "named": True,
        "says": (
            r"betas must be either both floats or both Tensors",
            r"'<=?' not supported between instances of '(float|int|str)' and '(float|int|str)'",
            r"unsupported operand type\(s\) for [*/+-]+: '(float|int|str)' and '(float|int|str)'",
        ),
    },
)
