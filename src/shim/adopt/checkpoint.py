"""Load the checkpoints of every ADOPT: this one, the reference implementation, timm's and pytorch_optimizer's."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from .low_precision import LOW_PRECISION
from .memory import FREED, check_memory, reaches_beyond

# Other names for our group keys. "decoupled" is used by timm and by older versions of the reference.
RENAMED = {"decoupled": "decouple", "weight_decouple": "decouple"}

# Group keys of other implementations that, when true, change the update in a way that this ADOPT does not support.
FOREIGN = {
    "caution": "timm's cautious updates",
    "cautious": "pytorch_optimizer's cautious updates",
    "stable_adamw": "pytorch_optimizer's StableAdamW scaling",
    "fixed_decay": "pytorch_optimizer's weight decay that is not scaled by lr",
    "corrected_weight_decay": "timm's corrected weight decay",
}

# Group keys that only optimizers other than ADOPT have, and the names in ADOPT's state.
OTHER_GROUP_KEYS = ("amsgrad", "decoupled_weight_decay", "momentum_decay")
STATE_NAMES = ("step", "exp_avg", "exp_avg_sq", "compensation")

# The largest step that fits into the state, which is float32.
LARGEST = torch.finfo(torch.float32).max

# Options in which None has a meaning. Any other None in a checkpoint is replaced by the present value. A None in
# weight_decay is left for the guards, which warn about it.
NONE_HAS_A_MEANING = ("clip_exp", "clip_lambda", "foreach", "fused", "weight_decay")


# What state_dict() has in the place of a clip_lambda, which is code. The keys of a group stay the same, because
# torch.distributed.checkpoint looks each of them up:
# https://github.com/pytorch/pytorch/blob/v2.13.0/torch/distributed/checkpoint/state_dict.py#L892
CLIP_LEFT_OUT = "<code, left out>"


def without_clips(state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return a state_dict without the callables."""
    groups = [
        {**group, "clip_lambda": CLIP_LEFT_OUT} if callable(group.get("clip_lambda")) else group
        for group in state_dict["param_groups"]
    ]
    return {**state_dict, "param_groups": groups}


def _keeps_its_clip(saved: dict[str, Any]) -> bool:
    """Say whether the optimizer that loads this group goes on with its own clip_lambda."""
    clip = saved.get("clip_lambda", CLIP_LEFT_OUT)
    return isinstance(clip, str) and clip == CLIP_LEFT_OUT


class Loading:
    """A state_dict that is being loaded. All of it is checked before the optimizer is changed.

    Raises:
        ValueError: if it is not ADOPT's, needs an option that this ADOPT does not have, or does not fit these
            parameters.

    """

    def __init__(self, state_dict: dict[str, Any], present: list[dict[str, Any]]) -> None:
        check_dict(state_dict)  # a hook of the user may have returned it
        saved = _entry(state_dict, "param_groups", Collection, "the state_dict")
        ids = [
            _entry(group, "params", Collection, f"param_groups[{i}] of the state_dict") for i, group in enumerate(saved)
        ]
        # What is left of it at the end belongs to no parameter that is present.
        self._others = dict(_entry(state_dict, "state", Mapping, "the state_dict"))
        self._given = state_dict
        self.groups = [
            # torch itself refuses a different number of groups
            _converted_group(group, present[i] if i < len(present) else present[-1], i)
            for i, group in enumerate(saved)
        ]
        # The optimizer keeps its own callables. torch would copy them:
        # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L939
        self._clips = [group["clip_lambda"] if _keeps_its_clip(old) else None for group, old in zip(self.groups, saved)]
        self._states: list[tuple[Tensor, dict[str, Any]]] = []
        if [len(group) for group in ids] != [len(group["params"]) for group in present]:
            return  # torch refuses it
        number = 0
        for group, new, old in zip(saved, self.groups, present):
            names = old.get("param_names", ())
            for k, (param_id, param) in enumerate(zip(group["params"], old["params"])):
                where = f"parameter {number}" + (f" ({names[k]!r})" if k < len(names) else "")
                number += 1
                try:
                    has_state = param_id in self._others
                except TypeError:
                    raise ValueError(
                        f"{where} has {param_id!r} in the state_dict, which cannot be a key of its state"
                    ) from None
                if has_state:
                    state = _converted_state(self._others.pop(param_id), group, where)
                    self._states.append((param, _state_of(param, state, new, where)))

    def without_state(self) -> dict[str, Any]:
        """Return what torch's load_state_dict gets: the groups without the callables, which it would copy."""
        groups = [
            {key: value for key, value in group.items() if clip is None or key != "clip_lambda"}
            for group, clip in zip(self.groups, self._clips)
        ]
        return {**self._given, "param_groups": groups, "state": {}}

    def finish(self, optimizer: Any) -> None:
        """Set the state of the optimizer, after torch has loaded the groups."""
        for group, clip in zip(optimizer.param_groups, self._clips):
            if clip is not None:
                group["clip_lambda"] = clip
        optimizer.state.update(self._others)
        optimizer.state.update(self._states)


def check_dict(state_dict: object) -> None:
    """Raise if a state_dict is not a dict, with the words of torch.nn.Module.

    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/nn/modules/module.py#L2570
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")


def _entry(container: Any, key: str, kind: type, where: str) -> Any:
    """Return an entry of a dict, or raise if there is none of this kind."""
    wrong = ""
    if not isinstance(container, Mapping):
        wrong = f"{where} is not a dict, but of type {type(container).__name__}"
    elif key not in container:
        wrong = f"{where} has no {key!r}"
    elif not isinstance(container[key], kind):
        wrong = f"{key!r} of {where} is not a {kind.__name__.lower()}, but of type {type(container[key]).__name__}"
    if wrong:
        raise ValueError(wrong)
    return container[key]


def _state_of(param: Tensor, state: dict[str, Any], group: dict[str, Any], where: str) -> dict[str, Any]:
    """Return copies of the saved tensors, with the devices and dtypes that the state of `param` has."""
    copies = {}
    for name, value in state.items():
        if name == "step":
            device = param.device if group["capturable"] or group["fused"] else torch.device("cpu")
            copies[name] = torch.full((), _step(value, where), dtype=torch.float32, device=device)
            continue
        wrong = _misfit(param, value)
        if wrong:
            raise ValueError(f"{name} of {where} in the state_dict {wrong}")
        wide = name == "compensation" or (group["rounding"] != "nearest" and param.dtype in LOW_PRECISION)
        dtype = torch.float32 if wide else param.dtype
        copies[name] = value.detach().to(device=param.device, dtype=dtype, copy=True)
    return copies


def _misfit(param: Tensor, value: Any) -> str:
    """Return why `value` does not fit into the state of `param`; an empty string if it does."""
    if not isinstance(value, Tensor):
        return f"is not a tensor, but of type {type(value).__name__}"
    if getattr(value, "is_nested", False):
        return "is a nested tensor"
    if reaches_beyond(value):
        return FREED
    if value.shape != param.shape:
        return f"has the shape {list(value.shape)}, the parameter {list(param.shape)}"
    if value.layout != param.layout or hasattr(value, "device_mesh") != hasattr(param, "device_mesh"):
        return f"is a {type(value).__name__} with {value.layout}, the parameter has {param.layout}"
    if value.is_complex() != param.is_complex() or not (value.is_floating_point() or value.is_complex()):
        return f"has the dtype {value.dtype}, the parameter {param.dtype}"
    if value.device.type == "meta" != param.device.type:
        return "is on the meta device, where it has no values"
    return ""


def _step(given: Any, where: str) -> float:
    value = given.to_local() if hasattr(given, "to_local") else given
    check_memory(f"step of {where} in the state_dict", value)
    try:
        step: float = array("d", [value])[0]  # not a string, as float() would
    except (TypeError, ValueError, OverflowError, RuntimeError):  # more than one number, or none on meta
        step = math.nan
    if not 0 <= step <= LARGEST or step != math.floor(step):
        raise ValueError(f"step of {where} in the state_dict is not a number of steps: {given!r}")
    return step


def _converted_group(saved: dict[str, Any], present: dict[str, Any], index: int) -> dict[str, Any]:
    where = f"param_groups[{index}] of the state_dict"
    for key, value in saved.items():
        if key != "params":
            check_memory(f"{key} of {where}", value)
    foreign = [key for key in OTHER_GROUP_KEYS if key in saved]
    if foreign:
        raise ValueError(
            f"{where} has the key {foreign[0]!r}: it was saved by Adam, AdamW or a similar optimizer, not by ADOPT. "
            "ADOPT cannot continue with its moments, which are computed differently. Load the model only, "
            "and let ADOPT start with an empty state."
        )
    for key, meaning in FOREIGN.items():
        if saved.get(key):
            raise ValueError(
                f"{where} has {key}={saved[key]!r}: ADOPT does not support {meaning}. Set it to False in "
                "the state_dict to continue without it."
            )
    group = {RENAMED.get(key, key): value for key, value in saved.items()}
    if "clip_lambda" in group and _keeps_its_clip(group):
        group = {key: value for key, value in group.items() if key not in ("clip_exp", "clip_lambda")}
    elif "clip_exp" in group or "clip_lambda" in group:  # together they define the clip
        group = {"clip_exp": None, "clip_lambda": None, **group}
    return {
        **group,
        **{
            key: value
            for key, value in present.items()
            if key not in group or (group[key] is None and key not in NONE_HAS_A_MEANING)
        },
    }


def _converted_state(saved: dict[str, Any], group: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(saved, Mapping):
        raise ValueError(f"The state of {where} in the state_dict is not a dict, but of type {type(saved).__name__}")
    strangers = [name for name in saved if name not in STATE_NAMES]
    if strangers:
        raise ValueError(
            f"The state of {where} has {strangers[0]!r}, which no ADOPT saves: the state_dict "
            "belongs to another optimizer. Load the model only, and let ADOPT start with an empty state."
        )
    state = {name: value for name, value in saved.items() if value is not None}
    if "exp_avg_sq" not in state:
        return {}  # without exp_avg_sq no step is possible, so this parameter starts with an empty state
    if "exp_avg" not in state and isinstance(state["exp_avg_sq"], Tensor):  # anything else is refused below
        state["exp_avg"] = torch.zeros_like(state["exp_avg_sq"])
    # pytorch_optimizer counts the steps in the group. If there is no count at all, v shows that one step was made.
    step = state.get("step", group.get("step"))
    state["step"] = 1.0 if step is None else step
    return state
