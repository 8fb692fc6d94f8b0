"""torch.nn: names that came later, for new programs on an older torch."""

from __future__ import annotations

from typing import Any

from .row import advice, argument, name


@argument(
    "torch.nn.modules.module:Module.load_state_dict",
    called="load_state_dict",
    works=">=2.1",
    says=r"load_state_dict\(\) got an unexpected keyword argument 'assign'",
    example="""
import torch
layer = torch.nn.Linear(1, 1)
saved = {"weight": torch.full((1, 1), 2.0, dtype=torch.float64), "bias": torch.zeros(1)}
print(layer.load_state_dict(saved, assign=True))
print(layer.weight.data_ptr() == saved["weight"].data_ptr(), layer.weight.dtype, layer.weight.item())
print(type(layer.bias) is torch.nn.Parameter, layer.bias.requires_grad)
layer.load_state_dict({"weight": torch.ones(1, 1), "bias": torch.ones(1)}, assign=False)
print(layer.weight.dtype, saved["weight"].item())
try:
    layer.load_state_dict({"weight": torch.ones(2, 1)}, assign=True)
except RuntimeError as error:
    print("size mismatch for weight" in str(error), "Missing key" in str(error))
""",
)
def load_state_dict(original: Any, self: Any, state_dict: Any, *args: Any, assign: bool = False, **kwargs: Any) -> Any:
    """load_state_dict takes assign since 2.1: it assigns the tensors, and does not copy their values."""
    # https://github.com/pytorch/pytorch/blob/v2.1.2/torch/nn/modules/module.py#L2068
    if assign:
        import torch

        for prefix, module in self.named_modules():
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    new = state_dict.get(f"{prefix}.{name}" if prefix else name)
                    if tensor is None or not isinstance(new, torch.Tensor) or new.shape != tensor.shape:
                        continue
                    if isinstance(tensor, torch.nn.Parameter):
                        if not isinstance(new, torch.nn.Parameter):
                            new = torch.nn.Parameter(new, requires_grad=tensor.requires_grad)
                        new.requires_grad_(tensor.requires_grad)
                    held[name] = new
    # Copies each assigned tensor to itself, and reports missing keys and wrong shapes.
    return original(self, state_dict, *args, **kwargs)


@name(
    "torch.nn.utils.parametrizations:weight_norm",
    called="weight_norm",
    works=">=2.1",
    versions=">=1.10",
    says=(
        r"cannot import name 'weight_norm' from 'torch\.nn\.utils\.parametrizations'",
        r"module 'torch\.nn\.utils\.parametrizations' has no attribute 'weight_norm'",
    ),
    example="""
import torch
from torch.nn.utils.parametrizations import weight_norm
layer = torch.nn.Linear(2, 2)
with torch.no_grad():
    layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
layer = weight_norm(layer)
print(sorted(layer.state_dict()))
print([round(v, 3) for v in layer.parametrizations.weight.original0.flatten().tolist()])
layer(torch.ones(1, 2)).sum().backward()
print([round(v, 3) for v in layer.weight.flatten().tolist()])
print([round(v, 3) for v in layer.parametrizations.weight.original1.grad.flatten().tolist()])
whole = weight_norm(torch.nn.Linear(2, 2), dim=None)
print(whole.parametrizations.weight.original0.dim())
torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
print(sorted(layer.state_dict()))
old = torch.nn.utils.weight_norm(torch.nn.Linear(2, 2))
print(sorted(weight_norm(torch.nn.Linear(2, 2)).load_state_dict(old.state_dict()).missing_keys))
""",
)
def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """weight_norm is a parametrization since 2.1, whose parameters are original0 and original1."""
    import torch
    from torch.nn.utils import parametrize

    along = -1 if dim is None else dim

    class _WeightNorm(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dim = along

        def forward(self, weight_g: Any, weight_v: Any) -> Any:
            return torch._weight_norm(weight_v, weight_g, self.dim)

        def right_inverse(self, weight: Any) -> Any:
            return torch.norm_except_dim(weight, 2, self.dim), weight

    def _of_the_older_one(
        state_dict: Any, prefix: str, metadata: Any, strict: Any, missing: Any, unexpected: Any, errors: Any
    ) -> None:
        g, v = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if g in state_dict and v in state_dict:
            for key, number in ((g, 0), (v, 1)):
                state_dict[f"{prefix}parametrizations.{name}.original{number}"] = state_dict.pop(key)

    parametrize.register_parametrization(module, name, _WeightNorm(), unsafe=True)
    module._register_load_state_dict_pre_hook(_of_the_older_one)
    return module


advice(
    "layers with bias or batch_first",
    "batch_first of MultiheadAttention and of the transformer layers came with 1.9; bias of the transformer layers "
    "with 2.1. --for ignores their defaults, batch_first=False and bias=True. Else swap the first two axes yourself, "
    "or use a newer torch.",
    (
        r"\b(?:MultiheadAttention|TransformerEncoderLayer|TransformerDecoderLayer|Transformer)\([^)]*batch_first=.* "
        r"TypeError: __init__\(\) got an unexpected keyword argument 'batch_first'",
        r"\b(?:TransformerEncoderLayer|TransformerDecoderLayer|Transformer)"
        r"(?:\([^)]*bias=.* TypeError: |\.)__init__\(\) got an unexpected keyword argument 'bias'",
    ),
    works=">=2.1",
)
