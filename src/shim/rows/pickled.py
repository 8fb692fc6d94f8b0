"""Modules of torch.nn that were pickled by an older release: the attributes that their classes did not have."""

from __future__ import annotations

from typing import Any

from .row import made, row

_UNPICKLED = """
import torch
from torch import nn

def unpickled(module, *lacking):
    other = type(module).__new__(type(module))
    other.__setstate__({key: value for key, value in vars(module).items() if key not in lacking})
    return other.eval()

"""


def _lacks(
    module: str,
    classes: str,
    works: str,
    example: str,
    says: str = "",
    called: str = "",
    versions: str = "",
    **meaning: Any,
) -> None:
    """Add a row that adds attributes to a pickled state that lacks them. A value may be a function of the state.

    Args:
        module: the module in torch.nn.modules.
        classes: the classes; the first one names the row.
        works: the releases without these attributes.
        example: the lines after those that define ``unpickled``.
        says: another message.
        called: its name, if another row has that of the first class, and answers its messages.
        versions: the releases of torch that have the classes.
        meaning: the attributes, and their values for an object that has none.
    """

    def setstate(original: Any, self: Any, state: Any) -> None:
        for attribute, value in meaning.items():
            if attribute not in state:
                state = {**state, attribute: value(state) if callable(value) else value}
        original(self, state)

    names = classes.split()
    attributes = "|".join(meaning)
    row(
        "around",
        tuple(f"torch.nn.modules.{module}:{each}.__setstate__" for each in names),
        setstate,
        None,
        {
            "called": called or f"pickled.{names[0]}",
            "reason": f"objects of {names[0]} that an older release pickled lack {' and '.join(meaning)}",
            "works": works,
            "says": (
                ()
                if called
                else (rf"'({'|'.join(names)})' object has no attribute '({attributes})'", *filter(None, [says]))
            ),
            "example": _UNPICKLED + example,
            "versions": versions,
        },
    )


def _slow_path(state: dict[str, Any]) -> int:
    # Neither relu nor gelu, so 1.12 does not use its fused kernel, which rounds differently:
    # https://github.com/pytorch/pytorch/blob/v1.12.0/torch/nn/modules/transformer.py#L412
    return 0


def repeated_twice(state: dict[str, Any]) -> tuple[int, ...]:
    """Return the padding of a convolution. For a circular one, 1.4 divided it between both sides."""
    # https://github.com/pytorch/pytorch/blob/v1.4.0/torch/nn/modules/conv.py#L335
    circular = state.get("padding_mode") == "circular"
    both: list[int] = []
    for padding in reversed(state["padding"]):
        right = padding // 2 if circular else padding
        both += [padding - right if right else 0, right]
    return tuple(both)


_lacks(
    "activation",
    "GELU",
    works="<1.12",
    approximate="none",
    example="""
y = unpickled(nn.GELU(), "approximate")(torch.tensor([-1.0, 2.0]))
print([round(v, 3) for v in y.tolist()])
""",
)
_lacks(
    "upsampling",
    "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
    works=">=1.6,<1.11",
    versions=">=1.6",
    says=r"recompute_scale_factor is not meaningful with an explicit size\.",
    # Since 2.1, torch itself treats the object as one of 1.5:
    # https://github.com/pytorch/pytorch/blob/v2.1.2/torch/nn/modules/upsampling.py#L159
    recompute_scale_factor=None,
    example="""
x = torch.arange(4.0).reshape(1, 1, 2, 2)
for options in ({"size": (3, 3)}, {"scale_factor": 1.5, "mode": "bilinear", "align_corners": False}):
    y = unpickled(nn.Upsample(**options), "recompute_scale_factor")(x)
    print([round(v, 3) for v in y.flatten().tolist()])
""",
)
_lacks(
    "upsampling",
    "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
    called="pickled.Upsample of 1.5",
    works="<1.6",
    # Before 1.11 the class did not read it, and the row of F.interpolate is all that is needed:
    # https://github.com/pytorch/pytorch/blob/v1.11.0/torch/nn/modules/upsampling.py#L154
    versions=">=1.11",
    recompute_scale_factor=lambda state: None if state.get("scale_factor") is None else True,
    example="""
x = torch.arange(5.0).reshape(1, 1, 5)
for options in ({"size": (7,)}, {"scale_factor": 1.5}):
    layer = unpickled(nn.Upsample(**options, mode="linear", align_corners=False), "recompute_scale_factor")
    print([round(v, 3) for v in layer(x).flatten().tolist()])
""",
)
_lacks(
    "activation",
    "Hardsigmoid Hardswish",
    works=">=1.5,<1.7",
    versions=">=1.5",
    inplace=False,
    example="print(unpickled(nn.Hardsigmoid(), 'inplace')(torch.tensor([-4.0, 0.0, 4.0])).tolist())\n",
)
_lacks(
    "activation",
    "MultiheadAttention",
    works="<1.9",
    batch_first=False,
    example="""
attention = nn.MultiheadAttention(4, 2)
for parameter in attention.parameters():
    nn.init.constant_(parameter, 0.5)
x = torch.arange(12.0).reshape(3, 1, 4) / 12
y, weights = unpickled(attention, "batch_first")(x, x, x)
print([round(v, 2) for v in y.flatten().tolist()], tuple(weights.shape))
""",
)
_lacks(
    "transformer",
    "TransformerEncoderLayer TransformerDecoderLayer",
    works="<1.10",
    norm_first=False,
    activation_relu_or_gelu=_slow_path,
    example="""
layer = nn.TransformerEncoderLayer(4, 2, 4, 0.0)
for parameter in layer.parameters():
    nn.init.constant_(parameter, 0.5)
x = torch.tensor([[[0.0, 1.0, 4.0, 9.0]], [[1.0, 0.0, 2.0, 5.0]]])
y = unpickled(layer, "norm_first", "activation_relu_or_gelu")(x)
print([round(v, 2) for v in y.flatten().tolist()])
""",
)
_lacks(
    "transformer",
    "TransformerEncoder",
    # It is read if the layers have batch_first, which came with 1.9. Since 2.1, torch itself does without it:
    # https://github.com/pytorch/pytorch/blob/v1.12.0/torch/nn/modules/transformer.py#L211
    # https://github.com/pytorch/pytorch/blob/v2.1.2/torch/nn/modules/transformer.py#L333
    works=">=1.9,<1.12 || >=2.1",
    versions=">=1.9",
    enable_nested_tensor=False,
    example="""
stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 4, 0.0, batch_first=True), 1)
for parameter in stack.parameters():
    nn.init.constant_(parameter, 0.5)
x = torch.tensor([[[0.0, 1.0, 4.0, 9.0], [1.0, 0.0, 2.0, 5.0]]])
stack = unpickled(stack, "enable_nested_tensor")
with torch.no_grad():
    y = stack(x, src_key_padding_mask=torch.tensor([[False, False]]))
print([round(v, 3) for v in y.flatten().tolist()])
""",
)
_lacks(
    "transformer",
    "Transformer",
    works="<1.9",
    batch_first=False,
    example="""
model = nn.Transformer(4, 2, 1, 1, 4, 0.0)
for parameter in model.parameters():
    nn.init.constant_(parameter, 0.5)
x = torch.tensor([[[0.0, 1.0, 4.0, 9.0]], [[1.0, 0.0, 2.0, 5.0]]])
print([round(v, 2) for v in unpickled(model, "batch_first")(x, x).flatten().tolist()])
""",
)
_lacks(
    "conv",
    "Conv2d Conv1d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d",
    works="<1.5",
    _reversed_padding_repeated_twice=repeated_twice,
    example="""
conv = nn.Conv2d(1, 1, 3, padding=2, padding_mode="circular", bias=False)
nn.init.constant_(conv.weight, 1.0)
x = torch.arange(16.0).reshape(1, 1, 4, 4)
print(unpickled(conv, "_reversed_padding_repeated_twice")(x).flatten().tolist())
""",
)
_lacks(
    "sparse",
    "EmbeddingBag",
    works="<1.9",
    include_last_offset=False,
    padding_idx=None,
    example="""
bag = nn.EmbeddingBag(3, 2, mode="sum", _weight=torch.arange(6.0).reshape(3, 2))
bag = unpickled(bag, "padding_idx")
print(bag(torch.tensor([0, 2, 1]), torch.tensor([0, 2])).tolist())
""",
)
_lacks(
    "loss",
    "SmoothL1Loss",
    works="<1.7",
    beta=1.0,
    example='print(round(float(unpickled(nn.SmoothL1Loss(), "beta")(torch.ones(2), torch.tensor([1.5, 3.0]))), 3))\n',
)
_lacks(
    "loss",
    "CrossEntropyLoss",
    works="<1.10",
    label_smoothing=0.0,
    example="""
loss = unpickled(nn.CrossEntropyLoss(), "label_smoothing")
print(round(float(loss(torch.arange(6.0).reshape(2, 3), torch.tensor([2, 0]))), 3))
""",
)
_lacks(
    "loss",
    "KLDivLoss",
    works="<1.6",
    log_target=False,
    example="""
loss = unpickled(nn.KLDivLoss(reduction="sum"), "log_target")
print(round(float(loss(torch.tensor([0.2, 0.8]).log(), torch.tensor([0.5, 0.5]))), 3))
""",
)
_lacks(
    "container",
    "ParameterList",
    works="<1.12",
    _size=lambda state: len(state["_parameters"]),
    example="""
several = unpickled(nn.ParameterList([nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(1))]), "_size")
print(len(several), [each.tolist() for each in several])
""",
)
_lacks(
    "container",
    "ParameterDict",
    works="<1.12",
    _keys=lambda state: dict.fromkeys(state["_parameters"]),
    example="""
several = unpickled(nn.ParameterDict({"a": nn.Parameter(torch.ones(2))}), "_keys")
print(len(several), [(name, each.tolist()) for name, each in several.items()])
""",
)


@made(
    "torch.nn.modules.linear:_LinearWithBias",
    called="pickled._LinearWithBias",
    works=">=1.6,<1.9",
    says=(
        r"Can't get attribute '_LinearWithBias' on <module 'torch\.nn\.modules\.linear'",
        r"cannot import name '_LinearWithBias' from 'torch\.nn\.modules\.linear'",
        r"module 'torch\.nn\.modules\.linear' has no attribute '_LinearWithBias'",
    ),
    example="""
from torch.nn.modules.linear import _LinearWithBias
linear = _LinearWithBias(2, 3)
print(tuple(linear.weight.shape), tuple(linear.bias.shape))
""",
)
def linear_with_bias(linear: Any) -> Any:
    """The last layer of an attention was a _LinearWithBias from 1.6 to 1.8."""
    return getattr(linear, "NonDynamicallyQuantizableLinear", linear.Linear)
