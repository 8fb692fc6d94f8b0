"""torch.nn: what its functions and containers took and passed on."""

from __future__ import annotations

import inspect
from typing import Any

from .row import argument, behaviour


@behaviour(
    "torch.nn.modules.transformer:TransformerEncoder.forward",
    "torch.nn.modules.transformer:TransformerDecoder.forward",
    called="is_causal",
    works="<2.0",
    # Any module may be called with it: in a traceback, only torch's stack of layers counts.
    says=r"(?:^(?!.*\bFile )|/torch/nn/modules/transformer\.py\b).*"
    r"forward\(\) got an unexpected keyword argument '(is_causal|tgt_is_causal|memory_is_causal)'",
    example="""
import torch

class Layer(torch.nn.TransformerEncoderLayer):
    def forward(self, src, src_mask=None, src_key_padding_mask=None):
        return src * 2

encoder = torch.nn.TransformerEncoder(Layer(4, 1, 4), 3)
print(encoder(torch.ones(3, 2, 4)).sum().item(), encoder.eval()(torch.ones(3, 2, 4)).sum().item())
""",
)
def without_is_causal(original: Any, stack: Any, *args: Any, **kwargs: Any) -> Any:
    """Layers of one's own in a TransformerEncoder or Decoder were called without is_causal up to 1.13."""
    hooks = []
    for layer in stack.layers:
        parameters = inspect.signature(layer.forward).parameters.values()
        taken = {each.name for each in parameters}
        if not any(each.kind is each.VAR_KEYWORD for each in parameters) and not _NEW & taken:
            hooks.append(layer.register_forward_pre_hook(_drop, with_kwargs=True))
    try:
        return original(stack, *args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()


_NEW = {"is_causal", "tgt_is_causal", "memory_is_causal"}


def _drop(layer: Any, args: Any, kwargs: Any) -> Any:
    return args, {key: value for key, value in kwargs.items() if key not in _NEW}


@argument(
    "torch.nn.utils.rnn:pack_padded_sequence",
    works="<1.7",
    note="run without a GPU",
    says=r"'lengths' argument should be a 1D CPU int64 tensor, but got 1D \w+(:\d+)? Long tensor",
)
def pack_padded_sequence(original: Any, input: Any, lengths: Any, *args: Any, **kwargs: Any) -> Any:
    """pack_padded_sequence took lengths from the GPU, and copied them to the CPU itself, up to 1.6."""
    import torch

    if isinstance(lengths, torch.Tensor) and lengths.device.type not in ("cpu", "meta"):
        lengths = lengths.cpu()
    return original(input, lengths, *args, **kwargs)
