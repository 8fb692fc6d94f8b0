"""torch.quantization and its FX functions, which moved to torch.ao.quantization and changed their arguments."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .messages import lost
from .row import argument, names


@names(
    "torch.quantization",
    called="torch.quantization.get_observer_dict",
    works="<2.0",
    says=lost(
        "torch.quantization", "add_observer_", "get_observer_dict", "get_unique_devices_", "is_activation_post_process",
        "register_activation_post_process_hook", "add_module_to_qconfig_obs_ctr", "assert_valid_qconfig",
        "quant_type_to_str", "DEFAULT_OP_LIST_TO_FUSER_METHOD",
    ),
    example="""
import torch
from torch.quantization import add_observer_, default_qconfig, get_observer_dict, propagate_qconfig_
model = torch.nn.Sequential(torch.nn.Linear(2, 2))
model.qconfig = default_qconfig
propagate_qconfig_(model)
add_observer_(model)
found = {}
get_observer_dict(model, found)
print(sorted(found))
""",
)  # fmt: skip
def quantization() -> dict[str, Any]:
    """Helpers of torch.quantization have an underscore since 2.0."""
    found: dict[str, Any] = {}
    for module in ("quantize", "qconfig", "quant_type", "fuser_method_mappings", "observer", "utils"):
        try:
            held = vars(import_module(f"torch.ao.quantization.{module}"))
        except ImportError:
            continue
        found.update((name, held[f"_{name}"]) for name in _UNDERSCORED if f"_{name}" in held)
    return found


_UNDERSCORED = (
    *("add_observer_", "get_observer_dict", "get_unique_devices_", "is_activation_post_process"),
    *("register_activation_post_process_hook", "add_module_to_qconfig_obs_ctr", "assert_valid_qconfig"),
    *("quant_type_to_str", "DEFAULT_OP_LIST_TO_FUSER_METHOD"),
)


@argument(
    "torch.ao.quantization.quantize_fx:prepare_fx",
    "torch.ao.quantization.quantize_fx:prepare_qat_fx",
    called="torch.quantization.quantize_fx.prepare_fx",
    works=">=1.8,<1.13",
    versions=">=1.13",
    says=r"\bprepare_(?:qat_)?fx\(\) (?:missing 1 required positional argument: 'example_inputs'|"
    r"got an unexpected keyword argument '(?:qconfig_dict|prepare_custom_config_dict|equalization_qconfig_dict)')",
    example="""
import torch
from torch.quantization import get_default_qconfig
from torch.quantization.quantize_fx import convert_fx, prepare_fx
model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()).eval()
prepared = prepare_fx(model, {"": get_default_qconfig("fbgemm")})
prepared(torch.ones(3, 2))
print(tuple(convert_fx(prepared)(torch.ones(3, 2)).shape))
print(type(prepare_fx(model, qconfig_dict={"": None}, prepare_custom_config_dict=None)).__name__)
""",
)
def prepare_fx(original: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
    """prepare_fx takes example_inputs since 1.13; up to 1.12 the names of its configurations ended in _dict."""
    # https://github.com/pytorch/pytorch/blob/v1.12.1/torch/ao/quantization/quantize_fx.py#L340
    # https://github.com/pytorch/pytorch/blob/v1.13.1/torch/ao/quantization/quantize_fx.py#L268
    for was, name in _OF_DICTIONARIES.items():
        if was in kwargs:
            kwargs[name] = kwargs.pop(was)
    if len(args) > 1 and not isinstance(args[1], tuple):  # prepare_custom_config_dict, in the place of the inputs
        kwargs["prepare_custom_config"] = args[1]
        args = args[:1]
    if len(args) < 2:
        kwargs.setdefault("example_inputs", ())
    return original(model, *args, **kwargs)


_OF_DICTIONARIES = {
    "qconfig_dict": "qconfig_mapping",
    "prepare_custom_config_dict": "prepare_custom_config",
    "equalization_qconfig_dict": "_equalization_config",
}
