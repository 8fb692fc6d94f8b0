"""Read the checkpoints of every ADOPT: this one, the reference's, timm's and pytorch_optimizer's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .low_precision import LOW_PRECISION

# What others call our group keys. "decoupled" is timm's and the older reference's.
RENAMED = {"decoupled": "decouple", "weight_decouple": "decouple"}

# Group keys of other implementations that, when true, change the mathematics in a way that ADOPT has not.
FOREIGN = {
    "caution": "timm's cautious updates",
    "cautious": "pytorch_optimizer's cautious updates",
    "stable_adamw": "pytorch_optimizer's StableAdamW scaling",
    "fixed_decay": "pytorch_optimizer's weight decay that is not scaled by lr",
    "corrected_weight_decay": "timm's corrected weight decay",
}

# Group keys and state names that betray a relative of Adam that is not ADOPT.
OTHER_GROUP_KEYS = ("amsgrad", "decoupled_weight_decay", "momentum_decay")
STATE_NAMES = ("step", "exp_avg", "exp_avg_sq", "compensation")

# Options whose None says something; any other None in a checkpoint is mended. A None weight_decay is left for
# the guards, which say where it was found.
NONE_SAYS_SOMETHING = ("clip_exp", "clip_lambda", "foreach", "fused", "weight_decay")


def converted(state_dict: dict[str, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `state_dict` in our names, with what it lacks taken from the present `groups`.

    Neither the argument nor its tensors are changed.

    Raises:
        ValueError: it is not ADOPT's, or its mathematics is not ours.

    """
    saved_groups, state = state_dict["param_groups"], state_dict["state"]
    new_groups, new_state = [], dict(state)
    for i, saved in enumerate(saved_groups):
        present = groups[i] if i < len(groups) else groups[-1]  # torch itself refuses another number of groups
        new_groups.append(_converted_group(saved, present, i))
        for param_id in saved["params"]:
            if param_id in state:
                new_state[param_id] = _converted_state(state[param_id], saved, param_id)
    return {**state_dict, "param_groups": new_groups, "state": new_state}


def state_value(name: str, value: object, param: Tensor, group: dict[str, Any]) -> object:
    """Return a copy of one saved state tensor, on the device and in the dtype that it has for `param`."""
    if not isinstance(value, Tensor):
        return value
    if name == "step":
        device = param.device if group["capturable"] or group["fused"] else torch.device("cpu")
        return value.detach().to(device=device, dtype=torch.float32, copy=True)
    wide = name == "compensation" or (group["rounding"] != "nearest" and param.dtype in LOW_PRECISION)
    return value.detach().to(device=param.device, dtype=torch.float32 if wide else param.dtype, copy=True)


def _converted_group(saved: dict[str, Any], present: dict[str, Any], index: int) -> dict[str, Any]:
    where = f"param_groups[{index}] of the state_dict"
    foreign = [key for key in OTHER_GROUP_KEYS if key in saved]
    if foreign:
        raise ValueError(
            f"{where} has the key {foreign[0]!r}: it was saved by Adam, AdamW or a relative, not by ADOPT. "
            "Their moments mean something else, so that ADOPT cannot go on from them: load the model only, "
            "and let ADOPT start with an empty state."
        )
    for key, meaning in FOREIGN.items():
        if saved.get(key):
            raise ValueError(
                f"{where} has {key}={saved[key]!r}: {meaning} cannot be continued here. Set it to False in "
                "the state_dict to go on without it."
            )
    group = {RENAMED.get(key, key): value for key, value in saved.items()}
    return {
        **group,
        **{
            key: value
            for key, value in present.items()
            if key not in group or (group[key] is None and key not in NONE_SAYS_SOMETHING)
        },
    }


def _converted_state(saved: dict[str, Any], group: dict[str, Any], param_id: object) -> dict[str, Any]:
    strangers = [name for name in saved if name not in STATE_NAMES]
    if strangers:
        raise ValueError(
            f"The state of parameter {param_id} has {strangers[0]!r}, which no ADOPT saves: the state_dict "
            "is of another optimizer. Load the model only, and let ADOPT start with an empty state."
        )
    state = {name: value for name, value in saved.items() if value is not None}
    if "exp_avg_sq" not in state:
        return {}  # nothing to divide by: this parameter starts anew
    state.setdefault("exp_avg", torch.zeros_like(state["exp_avg_sq"]))
    # pytorch_optimizer counts in the group. Where nothing counts, v is at least there, so one step was made.
    step = state.get("step", group.get("step"))
    step = 1.0 if step is None else step
    state["step"] = step if isinstance(step, Tensor) else torch.tensor(float(step), dtype=torch.float32)
    return state
