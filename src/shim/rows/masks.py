"""Masks of dtype uint8. Comparisons returned them up to 1.1, and torch accepted them much longer."""

from __future__ import annotations

import sys
from typing import Any

from .row import behaviour, often

_TAKE_MASKS = ("masked_fill", "masked_fill_", "masked_scatter", "masked_scatter_", "masked_select")


def _bool(value: Any) -> Any:
    """Return a uint8 mask as a bool mask, and anything else unchanged."""
    return value.bool() if getattr(value, "dtype", None) is sys.modules["torch"].uint8 else value


@often(
    *(f"torch:Tensor.{each}" for each in (*_TAKE_MASKS, "index_put", "index_put_", "__setitem__")),
    *(f"torch:{each}" for each in (*_TAKE_MASKS, "index_put", "index_put_")),
    called="masked_fill",
    works="<2.1",
    says=(
        r"masked_(fill|scatter)_? only supports boolean masks, but got mask with dtype "
        r"(?:unsigned char|Byte)",
        r"masked_select: expected BoolTensor for mask",
    ),
    example="""
import torch
mask = torch.tensor([1, 0, 1], dtype=torch.uint8)
x = torch.arange(3.0, requires_grad=True)
print(x.masked_fill(mask, -1.0).tolist(), torch.masked_fill(x, mask=mask, value=torch.tensor(5.0)).tolist())
print(x.masked_select(mask).tolist(), x.detach().clone().masked_fill_(mask, 9.0).tolist())
print(torch.masked_scatter(x, mask, torch.tensor([7.0, 8.0])).tolist())
torch.masked_select(x * 2, mask).sum().backward()
print(x.grad.tolist(), mask.masked_fill(mask == 0, 4).tolist(), mask.dtype)
y = torch.zeros(2, 3)
y[:, mask] = 5
y[1, mask] -= 1.0
print(y.tolist(), y[0].index_put((mask,), torch.tensor(9.0)).tolist())
""",
)
def masked(original: Any) -> Any:
    """masked_fill, masked_scatter, masked_select and x[mask] = y accepted uint8 masks up to 2.0."""
    # https://github.com/pytorch/pytorch/pull/96594 and
    # https://github.com/pytorch/pytorch/pull/97999
    uint8 = sys.modules["torch"].uint8

    def masked(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = {key: _mask(value) for key, value in kwargs.items()}
        if len(args) < 2:
            return original(*args, **kwargs)
        for each in args[1] if type(args[1]) is tuple else args[1:2]:
            if getattr(each, "dtype", None) is uint8:
                return original(args[0], _mask(args[1]), *args[2:], **kwargs)
        return original(*args, **kwargs)

    return masked


def _mask(index: Any) -> Any:
    return tuple(map(_bool, index)) if type(index) is tuple else _bool(index)


@often(
    *(f"torch:{owner}{each}" for owner in ("", "Tensor.") for each in ("masked_fill", "masked_fill_")),
    called="masked_fill with integers",
    works=">=1.5,<2.1",
    versions=">=2.1",
    says=r"masked_fill_? only supports boolean masks, but got mask with dtype (?:(?:long |short )?int|signed char)",
    example="""
import torch
mask = torch.tensor([1, 0, 1])
x = torch.arange(3.0, requires_grad=True)
y = x.masked_fill(mask, 9.0)
y.sum().backward()
print(y.tolist(), x.grad.tolist(), torch.zeros(3).masked_fill_(mask.int(), 2.0).tolist())
""",
)
def with_integers(original: Any) -> Any:
    """masked_fill took masks of integers from 1.5 to 2.0."""
    torch: Any = sys.modules["torch"]
    integers = {torch.int8, torch.int16, torch.int32, torch.int64}

    def masked_fill(*args: Any, **kwargs: Any) -> Any:
        if len(args) > 1 and getattr(args[1], "dtype", None) in integers:
            return original(args[0], args[1].bool(), *args[2:], **kwargs)
        return original(*args, **kwargs)

    return masked_fill


_ATTENTION = "torch.nn.modules.transformer:Transformer"


@behaviour(
    "torch.nn.functional:multi_head_attention_forward",
    "torch.nn.modules.activation:MultiheadAttention.forward",
    f"{_ATTENTION}.forward",
    *(f"{_ATTENTION}{each}.forward" for each in ("Encoder", "EncoderLayer", "Decoder", "DecoderLayer")),
    called="key_padding_mask",
    works="<1.13",
    says=r"only bool and floating types of (key_padding|attn|src|tgt|memory|src_key_padding|mem)_?mask are supported",
    example="""
import torch
from torch import nn
attention = nn.MultiheadAttention(4, 2)
layer = nn.TransformerEncoderLayer(4, 2, 4, 0.0)
for parameter in [*attention.parameters(), *layer.parameters()]:
    nn.init.constant_(parameter, 0.3)
x = torch.arange(12.0).reshape(3, 1, 4).sin()
padding = torch.tensor([[0, 0, 1]], dtype=torch.uint8)
y, weights = attention(x, x, x, key_padding_mask=padding)
print([round(v, 3) for v in y.flatten().tolist()], [round(v, 3) for v in weights.flatten().tolist()])
print([round(v, 3) for v in layer(x, src_key_padding_mask=padding).flatten().tolist()])
""",
)
def attention(original: Any, *args: Any, **kwargs: Any) -> Any:
    """Attention accepted uint8 masks up to 1.12, and as attn_mask up to 1.13."""
    # https://github.com/pytorch/pytorch/blob/v1.12.1/torch/nn/functional.py#L5099
    # https://github.com/pytorch/pytorch/blob/v1.13.1/torch/nn/functional.py#L5025
    return original(*map(_bool, args), **{key: _bool(value) for key, value in kwargs.items()})
