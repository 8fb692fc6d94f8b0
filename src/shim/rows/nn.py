"""torch.nn: arguments that its functions and containers accepted, and attributes that modules lack."""

from __future__ import annotations

import inspect
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ..releases import release
from ..wrapping import with_globals_of
from .row import argument, behaviour, often, row


@behaviour(
    "torch.nn.modules.transformer:TransformerEncoder.forward",
    "torch.nn.modules.transformer:TransformerDecoder.forward",
    called="is_causal",
    works="<2.0",
    # Any module may raise this, so the traceback must show the stack of layers in torch.
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
    """TransformerEncoder and TransformerDecoder called custom layers without is_causal up to 1.13."""
    if all(map(_is_of_today, stack.layers)):
        return original(stack, *args, **kwargs)
    # As in 1.13: one layer after the other, with the masks as they were given.
    # https://github.com/pytorch/pytorch/blob/v1.13.1/torch/nn/modules/transformer.py#L279
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
    """Tell whether a layer accepts is_causal, and has the attributes that torch reads to choose a layout."""
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/nn/modules/transformer.py#L452
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
    # https://github.com/pytorch/pytorch/issues/43227
    is_tensor = isinstance(lengths, sys.modules["torch"].Tensor)
    # The property is_cpu came later than this row, and is ten times faster than device.type.
    if is_tensor and not getattr(lengths, "is_cpu", False) and lengths.device.type not in ("cpu", "meta"):
        lengths = lengths.cpu()
    return original(input, lengths, *args, **kwargs)


@behaviour(
    "torch.nn.modules.transformer:TransformerEncoder.__init__",
    called="enable_nested_tensor",
    works=">=1.9,<1.13",  # batch_first came with 1.9, and without it all positions are computed
    versions=">=1.9",
    example="""
import torch
from torch import nn
stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 4, batch_first=True), 2).eval()
padding = torch.tensor([[False, False, True], [False, True, True]])
with torch.no_grad():
    y = stack(torch.arange(24.0).reshape(2, 3, 4).sin(), src_key_padding_mask=padding)
print(tuple(y.shape), (y != 0).all(2).tolist())
""",
)
def without_nested_tensors(original: Any, *args: Any, **kwargs: Any) -> None:
    """In eval mode, TransformerEncoder skips padded positions since 1.13, and removed them up to 2.0."""
    # https://github.com/pytorch/pytorch/blob/v1.13.1/torch/nn/modules/transformer.py#L187
    parameters = inspect.signature(original).parameters
    if "enable_nested_tensor" in parameters and len(args) <= [*parameters].index("enable_nested_tensor"):
        kwargs.setdefault("enable_nested_tensor", False)
    original(*args, **kwargs)


def _without_what_is_not_known(original: Any, *args: Any, **kwargs: Any) -> None:
    known = inspect.signature(original).parameters
    original(*args, **{key: value for key, value in kwargs.items() if key in known or key not in _HOW})


#: Arguments of TransformerEncoder, and the releases that added them.
_HOW = {"enable_nested_tensor": "1.12", "mask_check": "1.13"}
for _argument, _since in _HOW.items():
    row(
        "around",
        ("torch.nn.modules.transformer:TransformerEncoder.__init__",),
        _without_what_is_not_known,
        None,
        {
            "called": f"TransformerEncoder.{_argument}",
            "reason": f"TransformerEncoder takes {_argument} since {_since}; it selects how, not what, is computed",
            "works": f">={_since}",
            "says": rf"__init__\(\) got an unexpected keyword argument '{_argument}'",
            "example": f"""
from torch import nn
stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 4), 2, {_argument}=False)
print(len(stack.layers))
""",
        },
    )


@behaviour(
    "torch.nn.modules.transformer:TransformerEncoder.forward",
    called="padded positions",
    works=">=1.9,<1.13 || >=2.1",  # batch_first came with 1.9, and without it nothing was cut off
    versions=">=1.9",
    example="""
import torch
from torch import nn
stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 4, batch_first=True), 2).eval()
padding = torch.tensor([[False, False, True], [False, True, True]])
with torch.no_grad():
    print(tuple(stack(torch.arange(24.0).reshape(2, 3, 4).sin(), src_key_padding_mask=padding).shape))
""",
)
def with_padded_positions(original: Any, stack: Any, src: Any, *args: Any, **kwargs: Any) -> Any:
    """In eval mode, TransformerEncoder of 1.13 and 2.0 removed the positions that are padding in the whole batch."""
    # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/nn/modules/transformer.py#L318
    # https://github.com/pytorch/pytorch/issues/97111
    import torch

    output = original(stack, src, *args, **kwargs)
    lacking = src.shape[1] - output.shape[1] if src.dim() == 3 else 0
    return torch.nn.functional.pad(output, (0, 0, 0, lacking)) if lacking > 0 else output


@often(
    "torch.nn.functional:interpolate",
    called="recompute_scale_factor",
    works="<1.6",
    example="""
import torch
x = torch.arange(5.0).reshape(1, 1, 5)
y = torch.nn.functional.interpolate(x, scale_factor=1.5, mode="linear", align_corners=False)
print([round(v, 3) for v in y.flatten().tolist()])
""",
)
def recomputed(original: Any) -> Any:
    """F.interpolate recomputed scale_factor from the rounded sizes up to 1.5, and uses the given one since."""
    tensor = sys.modules["torch"].Tensor
    is_recorded = _recording()

    # https://github.com/pytorch/pytorch/blob/v1.5.0/torch/nn/functional.py#L2843
    def interpolate(*args: Any, **kwargs: Any) -> Any:
        factor = kwargs.get("scale_factor") if len(args) < 3 else args[2]
        if factor is None or len(args) > 5 or kwargs.get("recompute_scale_factor") is not None:
            return original(*args, **kwargs)
        if (
            len(args) == 1
            and (type(factor) is float or type(factor) is int)
            and factor > 0
            and "size" not in kwargs
            and type(args[0]) is tensor
            and len(shape := args[0].shape) == 4
            and not is_recorded()
        ):
            # torch would compute the same sizes, more slowly.
            kwargs["scale_factor"] = None
            return original(args[0], (int(shape[2] * factor), int(shape[3] * factor)), **kwargs)
        kwargs["recompute_scale_factor"] = True
        return original(*args, **kwargs)

    return with_globals_of(original, interpolate)


@often(
    "torch.nn.functional:nll_loss",
    "torch.nn.functional:cross_entropy",
    called="nll_loss of ignored targets",
    works="<1.11",
    example="""
import torch
x = torch.eye(2, requires_grad=True)
loss = torch.nn.functional.cross_entropy(x, torch.tensor([-100, -100]))
loss.backward()
print(loss.item(), x.grad.tolist(), torch.nn.NLLLoss(ignore_index=0)(x, torch.tensor([0, 0])).item())
""",
)
def zero_without_targets(original: Any) -> Any:
    """On a CPU, the mean loss of targets that are all ignored was 0 up to 1.10, and is NaN since."""
    is_recorded, zero_if_ignored = _recording(), _zero_if_ignored

    # https://github.com/pytorch/pytorch/issues/70348
    def loss_of(*args: Any, **kwargs: Any) -> Any:
        loss = original(*args, **kwargs)
        if is_recorded():
            return loss
        try:
            on_cpu = loss.is_cpu  # since 1.13; several times faster than the device
        except AttributeError:
            on_cpu = loss.device.type == "cpu"
        if not on_cpu:
            return loss
        try:
            value = loss.item()
        except (RuntimeError, ValueError):  # it has several values, or none, as inside vmap
            return loss
        return loss if value == value else zero_if_ignored(original, loss, args, kwargs)

    return with_globals_of(original, loss_of)


def _recording() -> Any:
    """Return a function that tells whether torch.compile or torch.jit.trace runs this code.

    Then no value of a tensor may be read.
    """
    torch: Any = sys.modules["torch"]
    is_traced = torch._C._get_tracing_state
    if release(torch.__version__).numbers < (2, 1):  # without torch.compiler.is_compiling
        return is_traced
    is_compiled = torch.compiler.is_compiling
    return lambda: is_compiled() or is_traced()


def _zero_if_ignored(original: Any, loss: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = inspect.signature(original).bind(*args, **kwargs)
    given.apply_defaults()
    target = given.arguments["target"]
    if (
        loss.dim()
        or target.is_floating_point()
        or not target.numel()
        or (target != given.arguments["ignore_index"]).any()
    ):
        return loss
    given.arguments.update(reduction="sum", size_average=None, reduce=None)
    return original(*given.args, **given.kwargs)


@behaviour(
    "torch.nn.modules.conv:_ConvNd.__init__",
    called="circular padding",
    works="<1.5",
    example="""
import torch
x = torch.arange(25.0).reshape(1, 1, 5, 5)
for padding in (1, 2, (3, 0)):
    conv = torch.nn.Conv2d(1, 1, 3, padding=padding, padding_mode="circular", bias=False)
    torch.nn.init.constant_(conv.weight, 1.0)
    y = conv(x)
    print(tuple(y.shape), y.sum().item(), y.flatten().tolist()[:3])
line = torch.nn.Conv1d(1, 1, 3, padding=2, padding_mode="circular")
print(tuple(line(torch.ones(1, 1, 8)).shape), tuple(torch.nn.Conv1d(1, 1, 3, padding=2)(torch.ones(1, 1, 8)).shape))
""",
)
def circular_padding(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """Circular padding of a convolution was divided between both sides up to 1.4; since 1.5 each side gets it."""
    original(self, *args, **kwargs)
    if self.padding_mode == "circular" and not isinstance(self.padding, str):
        from .pickled import repeated_twice

        held = self._reversed_padding_repeated_twice
        self._reversed_padding_repeated_twice = type(held)(repeated_twice(vars(self)))


@behaviour(
    "torch.nn.functional:gaussian_nll_loss",
    works=">=1.8,<1.9",
    example="""
import torch
mean, target = torch.zeros(2, 3), torch.arange(6.0).reshape(2, 3)
for options in ({}, {"full": True, "reduction": "none"}, {"reduction": "sum"}):
    loss = torch.nn.GaussianNLLLoss(**options)(mean, target, torch.ones(2, 1))
    print([round(v, 3) for v in loss.reshape(-1).tolist()])
""",
    versions=">=1.9",
)
def gaussian_nll_loss(
    original: Any, input: Any, target: Any, var: Any, *args: Any, reduction: str = "mean", **kwargs: Any
) -> Any:
    """gaussian_nll_loss added up the losses of each sample in 1.8."""
    # https://github.com/pytorch/pytorch/blob/v1.8.1/torch/nn/functional.py#L2533
    if args or reduction not in ("none", "mean", "sum"):  # a call of another release, or an error of torch's
        return original(input, target, var, *args, reduction=reduction, **kwargs)
    rows = (each.reshape(len(input), -1) for each in (input, target, var))
    losses = original(*rows, reduction="none", **kwargs).sum(dim=1)
    return losses if reduction == "none" else getattr(losses, reduction)()


@behaviour(
    "torch.nn.functional:binary_cross_entropy",
    works="<1.7",
    says=r"Using a target size \([^)]*\)?\) that is different to the input size \([^)]*\)?\) is deprecated\.",
    example="""
import torch
from torch import nn
x = torch.tensor([[0.5], [0.2]], requires_grad=True)
loss = nn.BCELoss()(x, torch.tensor([1.0, 0.0]))
loss.backward()
print(round(loss.item(), 4), [round(value, 3) for value in x.grad.flatten().tolist()])
each = nn.functional.binary_cross_entropy(x.detach(), target=torch.tensor([1.0, 0.0]), reduction="none")
print(tuple(each.shape), [round(value, 4) for value in each.flatten().tolist()])
""",
)
def binary_cross_entropy(original: Any, input: Any, target: Any, weight: Any = None, *args: Any, **kwargs: Any) -> Any:
    """binary_cross_entropy took a target of another shape up to 1.6, if it had as many elements."""
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/nn/functional.py#L2472
    if target.shape != input.shape and target.numel() == input.numel():
        if weight is not None:
            weight = weight.expand(target.shape).reshape(input.shape)
        target = target.reshape(input.shape)
    return original(input, target, weight, *args, **kwargs)


@behaviour(
    "torch.nn.utils.clip_grad:clip_grad_norm_",
    works="<1.5",
    says=r"clip_grad_norm_?\((?:(?!\bFile |Error: ).)*"
    r"TypeError: (type Tensor doesn't define __round__ method|Object of type Tensor is not JSON serializable)",
    example="""
import json, torch
from torch.nn.utils import clip_grad_norm_
p = torch.nn.Parameter(torch.ones(4))
p.sum().backward()
print(json.dumps({"norm": round(clip_grad_norm_([p], 1.0), 4)}), round(p.grad.norm().item(), 4))
print(clip_grad_norm_([torch.nn.Parameter(torch.ones(1))], 1.0), torch.nn.utils.clip_grad_norm_(p, 9.0) > 0.5)
""",
)
def norm_as_a_number(original: Any, *args: Any, **kwargs: Any) -> float:
    """clip_grad_norm_ returned the norm as a float up to 1.4, and returns a tensor since."""
    # https://github.com/pytorch/pytorch/blob/v1.4.0/torch/nn/utils/clip_grad.py#L33
    return float(original(*args, **kwargs))


@behaviour("torch.nn.modules.container:ModuleDict.update", called="ModuleDict.update", works="<1.7")
def sorted_by_name(original: Any, held: Any, modules: Any) -> None:
    """A ModuleDict sorted the modules of a plain dictionary by their names up to 1.6, and keeps its order since."""
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/nn/modules/container.py#L358
    in_order = isinstance(modules, (OrderedDict, type(held))) or not isinstance(modules, Mapping)
    original(held, modules if in_order else OrderedDict(sorted(modules.items())))


#: The attributes that newer releases set in Module.__init__.
_SINCE: dict[str, tuple[str, Any]] = {
    "_non_persistent_buffers_set": ("1.6", set),
    "_is_full_backward_hook": ("1.8", lambda: None),
    "_load_state_dict_post_hooks": ("1.12", OrderedDict),
    "_backward_pre_hooks": ("2.0", OrderedDict),
    "_forward_hooks_with_kwargs": ("2.0", OrderedDict),
    "_forward_pre_hooks_with_kwargs": ("2.0", OrderedDict),
    "_state_dict_pre_hooks": ("2.0", OrderedDict),
    "_forward_hooks_always_called": ("2.1", OrderedDict),
}

for _name, (_since, _make) in _SINCE.items():
    row(
        "default",
        (f"torch.nn.modules.module:Module.{_name}",),
        _make,
        None,
        {
            "called": f"Module.{_name}",
            "reason": f"Module.__init__ sets {_name} since {_since}; a module that an older release pickled has none",
            "works": f"<{_since}",
            "says": rf"'\w+' object has no attribute '{_name}'",
            "example": f"""
import copy, torch

class Doubled(torch.nn.Module):
    def __init__(self, module):
        vars(self).update(vars(module))
        vars(self).pop("{_name}", None)

    def forward(self, x):
        return 2 * self.layer(x)

class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.ones_(self.layer.weight)
        self.register_buffer("count", torch.zeros(1))

module = Doubled(Inner())
handle = module.register_forward_hook(lambda module, args, output: output + 1)
handle.remove()
module.register_forward_pre_hook(lambda module, args: None)
print(module.register_backward_hook(lambda module, *gradients: None) is not None)
print(module(torch.ones(1, 2)).tolist(), sorted(module.state_dict()))
print(module.load_state_dict(copy.deepcopy(module.state_dict())))
""",
        },
    )


@behaviour(
    "torch.nn.functional:pairwise_distance",
    "torch.nn.functional:triplet_margin_loss",
    called="pairwise_distance",
    works="<1.10",
    example="""
import torch
import torch.nn.functional as F
x = torch.arange(24.0).view(2, 3, 4).sin()
y = x.cos()
print(F.pairwise_distance(x, y).shape, round(F.pairwise_distance(x, y, 1, keepdim=True)[:, :, 1].sum().item(), 3))
print(round(torch.nn.PairwiseDistance()(x, y).sum().item(), 3), F.pairwise_distance(x[0], y[0]).shape)
print(round(F.triplet_margin_loss(x, y, y * 2).item(), 4), F.triplet_margin_loss(x, y, y * 2, reduction="none").shape)
""",
)
def pairwise_distance(original: Any, *args: Any, **kwargs: Any) -> Any:
    """pairwise_distance and triplet_margin_loss computed along the second dimension up to 1.9, now along the last."""
    torch = sys.modules["torch"]
    tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor)]
    if {each.dim() for each in tensors} <= {1, 2} or len({each.dim() for each in tensors}) > 1:
        return original(*args, **kwargs)

    def moved(value: Any) -> Any:
        return value.movedim(1, -1) if isinstance(value, torch.Tensor) else value

    found = original(*map(moved, args), **{name: moved(value) for name, value in kwargs.items()})
    # With keepdim, the result has a dimension of size 1 at the end.
    return found.movedim(-1, 1) if found.dim() == tensors[0].dim() else found
