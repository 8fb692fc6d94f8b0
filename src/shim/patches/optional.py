"""Breakages of 1.x code on 2.x, and of old checkpoints: off, unless SHIM_PATCHES or ``shim.activate(name)`` names them.

Each carries the error messages that it is the answer to, for ``python -m shim doctor --explain``.
"""

from __future__ import annotations

from .. import breakages
from ..registry import Patch, Target

_SCHEDULERS = "torch.optim.lr_scheduler"

PATCHES = (
    Patch(
        name="torch._six",
        reason="code for 1.x imports string_classes, container_abcs or inf from torch._six, which 2.0 has removed",
        targets=(Target("submodule", "torch:_six", how=breakages.torch_six),),
        versions=">=2.0",
        optional=True,
        answers=(r"No module named 'torch\._six'", r"module 'torch' has no attribute '_six'"),
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
            r"(cannot import name|has no attribute) '_?LRScheduler'",
            r"\b_LRScheduler\b",
            r"doesn't follow PyTorch's LRScheduler API",  # Lightning up to 1.7, of torch's own schedulers
        ),
    ),
    Patch(
        name="numbers",
        reason="YAML 1.1 reads 1e-5 as a string, and configs give betas as strings, lists or ints, which 2.13 refuses",
        # Below verbose, which lets an argument through that a scheduler no longer has.
        targets=(
            Target("arguments", "torch.optim:*.__init__", how=breakages.numbers),
            Target("arguments", "torch.optim.optimizer:Optimizer.add_param_group", how=breakages.numbers),
            Target("arguments", f"{_SCHEDULERS}:*.__init__", how=breakages.numbers),
            Target("arguments", "torch.optim.swa_utils:SWALR.__init__", how=breakages.numbers),
        ),
        optional=True,
        answers=(
            r"betas must be either both floats or both Tensors",
            r"'<=?' not supported between instances of '(float|int|str)' and '(float|int|str)'",
            r"unsupported operand type\(s\) for [*/+-]+: '(float|int|str)' and '(float|int|str)'",
        ),
    ),
    Patch(
        name="verbose",
        reason="schedulers took verbose, as the last argument, up to 2.6; since 2.2 it has done nothing",
        targets=(Target("wrapper", f"{_SCHEDULERS}:*.__init__", how=breakages.without_verbose),),
        versions=">=2.7",
        optional=True,
        answers=(r"unexpected keyword argument 'verbose'",),
    ),
    Patch(
        name="state_steps",
        reason="1.12.0 refuses step counters on the GPU, where a checkpoint may put them; 1.12.1 takes them",
        targets=tuple(
            Target("arguments", f"torch.optim.{name}:_{form}_tensor_{name}", how=breakages.steps_on_the_cpu)
            for name in ("adam", "adamw")
            for form in ("single", "multi")
        ),
        versions="==1.12.0",
        optional=True,
        note="run without a GPU",
        answers=(r"state_steps should not be CUDA tensors",),
    ),
    Patch(
        name="resume",
        reason="a checkpoint of another release lacks keys in its groups, or counts steps as a number, or as a tensor",
        targets=(Target("arguments", "torch.optim.optimizer:Optimizer.load_state_dict", how=breakages.resume),),
        optional=True,
        answers=(
            r"`state_steps` argument must contain a list of singleton tensors",
            r"'(int|float)' object has no attribute 'item'",
            r"_foreach_addcdiv_\(\) received an invalid combination of arguments",
            r"KeyError: '(capturable|decoupled_weight_decay|differentiable|foreach|fused|maximize)'",
        ),
    ),
)
