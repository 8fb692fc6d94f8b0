"""Breakages of 1.x code on 2.x, and of old checkpoints: off, unless SHIM_PATCHES or ``shim.activate(name)`` names them.

Each carries the error messages that it is the answer to, for ``python -m shim doctor --explain``.
"""

from __future__ import annotations

from .. import breakages
from ..registry import Patch, Target
from .messages import of_an_optimizer, raised_in_optim

_SCHEDULERS = "torch.optim.lr_scheduler"

#: torch's schedulers that took verbose.
_TOOK_VERBOSE = (
    "ConstantLR|CosineAnnealingLR|CosineAnnealingWarmRestarts|CyclicLR|ExponentialLR|LRScheduler|LambdaLR|LinearLR|"
    "MultiStepLR|MultiplicativeLR|OneCycleLR|PolynomialLR|ReduceLROnPlateau|SequentialLR|StepLR"
)
#: One positional argument more than is taken now; the longest signature is that of CyclicLR.
_ONE_MORE = "|".join(f"to {most} positional arguments but {most + 1} were given" for most in range(3, 16))

PATCHES = (
    Patch(
        name="torch._six",
        reason="code for 1.x imports string_classes, container_abcs or inf from torch._six, which 2.0 has removed",
        targets=(Target("submodule", "torch:_six", how=breakages.torch_six),),
        versions=">=2.0",
        optional=True,
        answers=(
            r"No module named 'torch\._six'",
            r"module 'torch' has no attribute '_six'",
        ),
    ),
    Patch(
        name="lr_scheduler",
        reason="the base class of the schedulers is _LRScheduler up to 1.13 and LRScheduler since; this makes both one",
        targets=tuple(
            Target("attribute", f"{_SCHEDULERS}:{name}", how=breakages.one_lr_scheduler)
            for name in ("LRScheduler", "_LRScheduler")
        ),
        optional=True,
        answers=(
            r"cannot import name '_?LRScheduler' from 'torch\.optim\.lr_scheduler'",
            r"module 'torch\.optim\.lr_scheduler' has no attribute '_?LRScheduler'",
            # A scheduler of torch's that is refused for not being one.
            r"\b_LRScheduler\b.* (<class '|<)torch\.optim\.lr_scheduler\.\w+('>| object at )",
            r"doesn't follow PyTorch's LRScheduler API",  # Lightning up to 1.7, of torch's own schedulers
        ),
    ),
    Patch(
        name="verbose",
        reason="schedulers took verbose, as the last argument, up to 2.6; since 2.2 it has done nothing",
        targets=(Target("wrapper", f"{_SCHEDULERS}:*.__init__", how=breakages.without_verbose),),
        versions=">=2.7",
        optional=True,
        answers=(
            rf"\b({_TOOK_VERBOSE})\.__init__\(\) got an unexpected keyword argument 'verbose'",
            rf"\b({_TOOK_VERBOSE})\.__init__\(\) takes from \d+ ({_ONE_MORE})",
        ),
    ),
    Patch(
        name="state_steps",
        reason="1.12.0 refuses step counters on the GPU, where a checkpoint may put them; 1.12.1 takes them",
        targets=tuple(
            Target("wrapper", f"torch.optim.{name}:_{form}_tensor_{name}", how=breakages.steps_on_the_cpu)
            for name in ("adam", "adamw")
            for form in ("single", "multi")
        ),
        versions="==1.12.0",
        optional=True,
        note="run without a GPU",
        answers=(r"If capturable=False, state_steps should not be CUDA tensors",),
    ),
    Patch(
        name="resume",
        reason="a checkpoint of another release lacks keys in its groups, or counts steps as a number, or as a tensor",
        targets=(Target("wrapper", "torch.optim.optimizer:Optimizer.load_state_dict", how=breakages.resume),),
        optional=True,
        answers=(
            r"API has changed, `state_steps` argument must contain a list of singleton tensors",
            raised_in_optim(r"AttributeError: '(int|float)' object has no attribute 'item'"),
            r"_foreach_addcdiv_\(\) received an invalid combination of arguments - "
            r"got \(list, list, (list|tuple), list\)",
            r"KeyError: '(capturable|decoupled_weight_decay|differentiable|foreach|fused|maximize)'",
        ),
    ),
    Patch(
        name="numbers",
        reason="YAML 1.1 reads 1e-5 as a string, and configs give betas as ints, which 2.13 refuses",
        targets=(
            Target("wrapper", "torch.optim:*.__init__", how=breakages.numbers),
            Target("wrapper", "torch.optim.optimizer:Optimizer.add_param_group", how=breakages.numbers),
        ),
        optional=True,
        answers=(
            r"betas must be either both floats or both Tensors",
            r"argument 'alpha' must be Number, not str\b",
            r"Expected float or int eta_min, but got \S+ of type <class 'str'>",
            r"_fused_(adagrad|adam|adamw|sgd)_\(\) received an invalid combination of arguments - got \([^)]*=str\b",
            r"\b_foreach_add_?\(\) received an invalid combination of arguments - got \(\w+, \w+, alpha=str\)",
            of_an_optimizer(
                r"'<=' not supported between instances of 'float' and 'str'",
                r"'<' not supported between instances of 'str' and 'float'",
                r"bad operand type for unary -: 'str'",
                r"unsupported operand type\(s\) for -: 'float' and 'str'",  # a scheduler's eta_min
            ),
            raised_in_optim(
                r"TypeError: .*('str'|\bnot str\b|=str\b|, str\)|\(str\))",
                r"TypeError: can't multiply sequence by non-int of type 'float'",
            ),
        ),
    ),
)
