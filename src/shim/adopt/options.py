"""The checks of the options: of a new optimizer, of a parameter group, of a step, and of a state that is loaded."""

from __future__ import annotations

import sys
from array import array
from typing import Any

import torch
from torch import Tensor

from . import _torch
from .common import _NO_TENSOR_LR
from .low_precision import ROUNDINGS
from .memory import check_memory


def check_values(group: dict[str, Any]) -> None:
    """Raise if an option has a value that no step can use. A weight_decay of None is left to the guards."""
    names = ("lr", "betas", "weight_decay", "clip_exp", "clip_lambda")
    lr, betas, decay, clip_exp, clip_lambda = (group[name] for name in names)
    for name in ("lr", "betas", "eps", "weight_decay", "clip_exp"):
        check_memory(name, group[name])
        if isinstance(group[name], int) and abs(group[name]) > sys.float_info.max:
            raise ValueError(f"Invalid {name} value: it is larger than any float")
    for name in ("lr", "eps", "weight_decay", "clip_exp"):
        as_number(name, group[name], differentiable=True)
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")
    if not group["eps"] >= 0.0:
        raise ValueError(f"Invalid epsilon value: {group['eps']}")
    if len(betas) != 2:
        raise ValueError(f"betas must be two numbers, but got {betas!r}")
    for index, beta in enumerate(betas):
        if isinstance(beta, Tensor):
            raise ValueError("betas as Tensors are not supported, please use floats")
        as_number(f"betas[{index}]", beta, differentiable=True)
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
    if decay is not None and not decay >= 0.0:
        raise ValueError(f"Invalid weight_decay value: {decay}")
    if clip_exp is not None and not clip_exp >= 0.0:
        raise ValueError(f"Invalid clip_exp value: {clip_exp}")
    if clip_lambda is not None and not callable(clip_lambda):
        raise TypeError(f"clip_lambda must be a callable of the step or None, but got {clip_lambda!r}")


def check_exclusive(group: dict[str, Any]) -> None:
    """Raise if two options exclude each other, or if a boolean option has no truth value."""
    for name in ("decouple", "maximize", "foreach", "capturable", "differentiable", "fused"):
        try:
            bool(group[name])
        except Exception:  # an array, for example
            raise TypeError(f"{name} must be True or False, but got {group[name]!r}") from None
    if group["clip_lambda"] is not None:
        if group["clip_exp"] is not None:
            raise ValueError("clip_lambda and clip_exp cannot be given together: both define the clip")
        if group["capturable"]:
            raise ValueError(
                "clip_lambda needs the step as a number, which capturable=True keeps on the device: use clip_exp"
            )
    if group["foreach"] and isinstance(group["lr"], Tensor) and not group["capturable"]:
        raise ValueError(_NO_TENSOR_LR)
    for one in ("fused", "foreach", "capturable"):
        if group[one] and group["differentiable"]:
            raise RuntimeError(f"`{one}` does not support `differentiable`")
    if group["fused"] and group["foreach"]:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_foreach(capturable: bool) -> None:
    """Raise if this torch does not have the list operations that foreach=True needs."""
    if capturable and not _torch.FOREACH_BROADCASTS:
        raise RuntimeError(f"foreach=True with capturable=True needs torch 1.13 or later, this is {torch.__version__}")
    if not _torch.HAS_FOREACH:
        raise RuntimeError(f"foreach=True needs torch 1.8 or later, this is {torch.__version__}")


def check_rounding(rounding: object) -> None:
    """Raise if there is no such rounding."""
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {', '.join(map(repr, ROUNDINGS))}, but got {rounding!r}")


def as_number(name: str, value: Any, differentiable: bool) -> Any:
    """Return an option of a step as a float; None, and a tensor that must not be read, unchanged.

    A program may set anything in a group. torch's operations differ in what they take as a number, and round in its
    type; with a float all forms compute the same. array() accepts what the kernel accepts; float() would accept a
    string, too.
    """
    if value is None and name in ("clip_exp", "weight_decay"):  # no clip; and the forms say what to write
        return None
    check_memory(name, value)
    if isinstance(value, Tensor) and (name == "lr" or differentiable or value.device.type != "cpu"):
        if name == "lr" and value.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        return value
    try:
        return array("d", [value])[0]
    except TypeError:
        raise TypeError(f"{name} must be a number, but got {value!r}") from None
