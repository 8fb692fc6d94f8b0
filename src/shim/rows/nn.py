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
    r"(forward\(\) got an unexpected keyword argument '(is_causal|tgt_is_causal|memory_is_causal)'|"
    r"object has no attribute 'self_attn')",
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
    if all(map(_is_of_today, stack.layers)):
        return original(stack, *args, **kwargs)
    # As 1.13 ran them: one after the other, and with the masks as they are given.
    given = inspect.signature(original).bind(stack, *args, **kwargs).arguments
    inputs = [given.pop(each) for each in ("self", "src", "tgt", "memory") if each in given][1:]
    masks = {"src_mask" if key == "mask" else key: value for key, value in given.items() if key not in _NEW}
    expected = _OF_DECODERS if len(inputs) > 1 else _OF_ENCODERS
    output, *memory = inputs
    for layer in stack.layers:
        output = layer(output, *memory, **{each: masks.get(each) for each in expected})
    return output if stack.norm is None else stack.norm(output)


_NEW = {"is_causal", "tgt_is_causal", "memory_is_causal"}
_OF_ENCODERS = ("src_mask", "src_key_padding_mask")
_OF_DECODERS = ("tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask")


def _is_of_today(layer: Any) -> bool:
    """Tell whether a layer takes is_causal, and has what torch asks of it for its layout."""
    parameters = inspect.signature(layer.forward).parameters.values()
    takes = any(each.kind is each.VAR_KEYWORD or each.name in _NEW for each in parameters)
    return takes and hasattr(layer, "self_attn")


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
