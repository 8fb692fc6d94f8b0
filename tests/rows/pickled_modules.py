"""Modules of torch.nn whose pickles mean something else to a newer torch than to an older one, with inputs.

If the Python of an old release runs this file, it pickles the modules whole and adds the pickles and the results of the
modules to pickled.json.
"""

from __future__ import annotations

import base64
import inspect
import io
import json
import zlib
from pathlib import Path

import torch
from torch import nn

FILE = Path(__file__).with_name("pickled.json")


def some(*shape):
    """Return a tensor of deterministic numbers that look random."""
    return torch.arange(float(torch.Size(shape).numel())).mul(0.37).sin().reshape(shape)


TOKENS = some(3, 2, 4)
MODULES = {
    "GELU": (lambda: nn.GELU(), (some(3, 4),)),
    "Hardsigmoid": (lambda: nn.Hardsigmoid(), (4 * some(3, 4),)),
    "Hardswish": (lambda: nn.Hardswish(), (4 * some(3, 4),)),
    "Upsample of 1.7": (
        lambda: nn.Upsample(scale_factor=1.7, mode="bilinear", align_corners=False),
        (some(1, 1, 5, 5),),
    ),
    "Upsample to a size": (lambda: nn.Upsample(size=(3, 4)), (some(1, 1, 2, 2),)),
    "Upsample in 3d": (lambda: nn.Upsample(scale_factor=(1.3, 2.6, 1.5), mode="trilinear"), (some(1, 1, 3, 3, 3),)),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(scale_factor=1.7), (some(1, 1, 5, 5),)),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), (TOKENS,) * 3),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0, "gelu"), (TOKENS,)),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(4, 2, 8, 0.0), (TOKENS,) * 2),
    "circular Conv1d": (lambda: nn.Conv1d(2, 1, 3, padding=1, padding_mode="circular"), (some(1, 2, 5),)),
    "circular Conv2d": (lambda: nn.Conv2d(2, 1, 3, padding=(2, 3), padding_mode="circular"), (some(1, 2, 5, 5),)),
    "circular Conv3d": (lambda: nn.Conv3d(1, 1, 2, padding=1, padding_mode="circular"), (some(1, 1, 3, 3, 3),)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 1, 3, padding=1), (some(1, 2, 4, 4),)),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(5, 3), (torch.tensor([[0, 1], [4, 2]]),)),
    "SmoothL1Loss": (lambda: nn.SmoothL1Loss(), (3 * some(2, 3), some(3, 2).t())),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss(), (some(2, 5), torch.tensor([3, 0]))),
    "KLDivLoss": (lambda: nn.KLDivLoss(reduction="sum"), (some(2, 3), some(2, 3).softmax(1))),
    "ParameterList": (lambda: nn.ParameterList([nn.Parameter(some(2)), nn.Parameter(some(1))]), ()),
    "ParameterDict": (lambda: nn.ParameterDict({"a": nn.Parameter(some(2))}), ()),
}


def numbers(value):
    """Return all numbers in the result of a module."""
    if isinstance(value, torch.Tensor):
        return [value.dim(), *value.detach().flatten().tolist()]
    return [number for each in value for number in numbers(each)]


def result(module, inputs):
    """Run a module and return its numbers. For a container, return its parameters and their number."""
    return numbers(module(*inputs)) if inputs else [len(module), *numbers(list(module.parameters()))]


def packed(module):
    """Return the bytes of a pickled module, as text."""
    file = io.BytesIO()
    torch.save(module, file)
    return base64.b64encode(zlib.compress(file.getvalue(), 9)).decode()


def unpacked(text):
    """Load the text of ``packed``, as a program does that trusts its source."""
    trusted = {"weights_only": False} if "weights_only" in inspect.signature(torch.load).parameters else {}
    return torch.load(io.BytesIO(zlib.decompress(base64.b64decode(text))), **trusted)


if __name__ == "__main__":
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    torch.manual_seed(0)
    here = {}
    for name, (make, inputs) in MODULES.items():
        if hasattr(nn, name.split()[0]) or " " in name:
            module = make().eval()
            here[name] = {"pickled": packed(module), "result": result(module, inputs)}
    recorded[torch.__version__.partition("+")[0]] = here
    FILE.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
