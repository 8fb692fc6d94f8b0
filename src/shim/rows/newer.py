"""Names that came later, for a program of today on an older torch."""

from __future__ import annotations

import math
from typing import Any

from .row import module, name


@name(
    "torch:get_default_device",
    works=">=2.3",
    says=r"module 'torch' has no attribute 'get_default_device'",
    example="import torch\nprint(torch.get_default_device())",
)
def get_default_device() -> Any:
    """get_default_device is of 2.3."""
    import torch

    return torch.empty(0).device


@module(
    "torch.backends.mps",
    works=">=1.12",
    says=(r"module 'torch\.backends' has no attribute 'mps'", r"No module named 'torch\.backends\.mps'"),
    example="import torch\nprint(torch.backends.mps.is_available() in (True, False))",
)
def mps() -> dict[str, Any]:
    """torch.backends.mps is of 1.12; an older torch has no such device."""
    return {"is_available": lambda: False, "is_built": lambda: False}


@module(
    "torch.compiler",
    works=">=2.1",
    says=(r"module 'torch' has no attribute 'compiler'", r"No module named 'torch\.compiler'"),
    example="""
import torch
@torch.compiler.disable
def double(x):
    return 2 * x
torch.compiler.reset()
print(double(2), torch.compiler.is_compiling(), torch.compiler.disable(double, recursive=False)(4))
""",
)
def compiler() -> dict[str, Any]:
    """torch.compiler is of 2.1; nothing is being compiled on an older torch."""

    def same(fn: Any = None, recursive: bool = True, **options: Any) -> Any:
        """Return the function as it is."""
        return (lambda function: function) if fn is None else fn

    def nothing() -> None:
        """Do nothing: there is nothing to reset or to mark."""

    return {
        "allow_in_graph": same,
        "assume_constant_result": same,
        "cudagraph_mark_step_begin": nothing,
        "disable": same,
        "is_compiling": lambda: False,
        "is_dynamo_compiling": lambda: False,
        "reset": nothing,
    }


@name(
    "torch.nn.functional:scaled_dot_product_attention",
    works=">=2.0",
    says=r"module 'torch\.nn\.functional' has no attribute 'scaled_dot_product_attention'",
    example="""
import torch
import torch.nn.functional as F
q, k, v = (torch.arange(i, i + 24.0).reshape(1, 2, 3, 4).requires_grad_() for i in (0, 1, 2))
mask = torch.tensor([[True, False, True], [True, True, True], [False, True, True]])
for options in ({}, {"is_causal": True}, {"attn_mask": mask}, {"attn_mask": mask.float()}):
    y = F.scaled_dot_product_attention(q / 20, k / 20, v, **options)
    grad, = torch.autograd.grad(y.sum(), v)
    print([round(x, 2) for x in y.flatten().tolist()][:6], [round(x, 2) for x in grad.flatten().tolist()][:6])
""",
)
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """scaled_dot_product_attention is of 2.0: softmax(q kᵀ · scale + mask) v."""
    import torch

    if is_causal and attn_mask is not None:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (each.repeat_interleave(groups, -3) for each in (key, value))
    weights = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        weights = weights.masked_fill(~attn_mask, -math.inf) if masked else weights + attn_mask
    weights = torch.softmax(weights, -1)
    return (torch.nn.functional.dropout(weights, dropout_p) if dropout_p else weights) @ value
