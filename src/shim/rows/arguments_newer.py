"""Arguments that came later, for new programs on an older torch."""

from __future__ import annotations

from typing import Any

from .messages import unexpected
from .row import argument, defaults, places

#: What stands for every value: the argument only makes a call faster.
_ANY = None

#: Argument -> the values with which a release without it behaves in the same way. An argument to which another row of
#: this file gives a meaning is not here.
_HARMLESS: dict[str, tuple[Any, ...] | None] = {
    "always_call": (False,),
    "antialias": (False,),
    "average_attn_weights": (True,),
    "batch_first": (False,),
    "bias": (True,),
    "capturable": (False,),
    "check_nan": (True,),
    "decoupled_weight_decay": (False,),
    "delay_all_reduce_named_params": (None,),
    "device_id": _ANY,
    "device_mesh": (None,),
    "differentiable": (False,),
    "example_inputs": (None,),
    "example_kwarg_inputs": (None,),
    "foreach": _ANY,
    "fused": _ANY,
    "group_desc": _ANY,
    "group_dst": (None,),
    "group_src": (None,),
    "in_order": _ANY,
    "init_sync": (True,),
    "is_causal": (None, False),
    "is_grads_batched": (False,),
    "layer_norm_eps": (1e-5,),
    "materialize_grads": (False,),
    "maximize": (False,),
    "memory_is_causal": (None, False),
    "mixed_precision": (None,),
    "norm_first": (False,),
    "outer_jacobian_strategy": ("reverse-mode",),
    "padding_idx": (None,),
    "param_to_hook_all_reduce": (None,),
    "pg_options": (None,),
    "pin_memory_device": ("",),
    "prepend": (False,),
    "recompute_scale_factor": (None,),
    "recurse": (True,),
    "remove_duplicate": (True,),
    "skip_all_reduce_unused_params": (False,),
    "src_is_causal": (None, False),
    "static_graph": (False,),
    "strategy": ("reverse-mode",),
    "tgt_is_causal": (None, False),
    "trust_repo": (None, "check", True),
    "use_local_synchronization": (False,),
    "warn_only": (False,),
    "weight": (None,),
    "weights_only": (False,),
    "with_kwargs": (False,),
}


def _optimizers(names: str) -> list[str]:
    modules = {name: "sparse_adam" if name == "SparseAdam" else name.lower() for name in names.split()}
    return [f"torch.optim.{module}:{name}.__init__" for name, module in modules.items()]


def _transformers(names: str, method: str = "__init__") -> list[str]:
    return [f"torch.nn.modules.transformer:{name}.{method}" for name in names.split()]


def _communication(names: str) -> list[str]:
    return [f"torch.distributed.distributed_c10d:{name}" for name in names.split()]


_DATA_LOADER = ["torch.utils.data.dataloader:DataLoader.__init__"]
_DDP = ["torch.nn.parallel.distributed:DistributedDataParallel.__init__"]
_HOOKS = [
    f"torch.nn.modules.module:Module.register_{each}_hook" for each in ("forward", "forward_pre", "full_backward")
]
_LAYERS = "Transformer TransformerEncoderLayer TransformerDecoderLayer"
_ATTENTION = "torch.nn.modules.activation:MultiheadAttention"
_MODULE = "torch.nn.modules.module:Module"

#: Release -> the arguments that came with it, and the functions that take them since.
_CAME: dict[str, list[tuple[str, list[str]]]] = {
    "1.9": [
        ("batch_first", [*_transformers(_LAYERS), f"{_ATTENTION}.__init__"]),
        ("layer_norm_eps", _transformers(_LAYERS)),
        ("remove_duplicate", [f"{_MODULE}.named_modules"]),
        ("pg_options", _communication("init_process_group new_group")),
        ("padding_idx", ["torch.nn.modules.sparse:EmbeddingBag.__init__", "torch.nn.functional:embedding_bag"]),
    ],
    "1.10": [("norm_first", _transformers(_LAYERS)), ("example_inputs", ["torch.jit._script:script"])],
    "1.11": [
        ("maximize", _optimizers("Adam AdamW SGD")),
        ("antialias", ["torch.nn.functional:interpolate"]),
        ("recompute_scale_factor", ["torch.nn.modules.upsampling:Upsample.__init__"]),
        ("average_attn_weights", [f"{_ATTENTION}.forward"]),
        ("static_graph", _DDP),
        ("warn_only", ["torch:use_deterministic_algorithms"]),
        ("strategy", ["torch.autograd.functional:jacobian"]),
        ("outer_jacobian_strategy", ["torch.autograd.functional:hessian"]),
        ("is_grads_batched", ["torch.autograd:grad"]),
    ],
    "1.12": [
        ("foreach", _optimizers("ASGD Adadelta Adagrad Adam AdamW Adamax NAdam RAdam RMSprop Rprop SGD")),
        ("maximize", _optimizers("Adadelta Adagrad Adamax")),
        ("capturable", _optimizers("Adam AdamW")),
        ("trust_repo", ["torch.hub:load", "torch.hub:help", "torch.hub:list"]),
        ("pin_memory_device", _DATA_LOADER),
        (
            "check_nan",
            [f"torch.autograd.anomaly_mode:{each}.__init__" for each in ("detect_anomaly", "set_detect_anomaly")],
        ),
    ],
    "1.13": [
        ("differentiable", _optimizers("Adam RMSprop SGD")),
        ("fused", _optimizers("Adam")),
        ("maximize", _optimizers("ASGD RMSprop Rprop SparseAdam")),
    ],
    "2.0": [
        ("differentiable", _optimizers("ASGD Adadelta Adagrad AdamW Adamax NAdam RAdam Rprop")),
        ("fused", _optimizers("AdamW")),
        ("foreach", [f"torch.nn.utils.clip_grad:clip_grad_{each}" for each in ("norm_", "norm", "value_")]),
        ("with_kwargs", _HOOKS[:2]),
        ("prepend", _HOOKS),
        ("remove_duplicate", [f"{_MODULE}.named_parameters", f"{_MODULE}.named_buffers"]),
        (
            "is_causal",
            [f"{_ATTENTION}.forward", *_transformers("TransformerEncoder TransformerEncoderLayer", "forward")],
        ),
        ("tgt_is_causal memory_is_causal", _transformers("TransformerDecoderLayer", "forward")),
        ("example_kwarg_inputs", ["torch.jit._trace:trace"]),
    ],
    "2.1": [
        ("bias", _transformers(_LAYERS)),
        ("capturable decoupled_weight_decay", _optimizers("NAdam")),
        ("always_call", _HOOKS[:1]),
        ("recurse", [f"{_MODULE}.to_empty"]),
        ("tgt_is_causal memory_is_causal", _transformers("Transformer TransformerDecoder", "forward")),
        ("src_is_causal", _transformers("Transformer", "forward")),
        ("materialize_grads", ["torch.autograd:grad"]),
        ("weights_only", ["torch.hub:load_state_dict_from_url"]),
        ("use_local_synchronization", _communication("new_group")),
        ("delay_all_reduce_named_params param_to_hook_all_reduce mixed_precision", _DDP),
    ],
    "2.2": [
        ("capturable", _optimizers("ASGD")),
        ("decoupled_weight_decay", _optimizers("RAdam")),
        ("device_mesh", _DDP),
    ],
    "2.3": [
        ("fused", _optimizers("SGD")),
        ("capturable", _optimizers("Adamax RAdam")),
        ("device_id", _communication("init_process_group")),
    ],
    "2.4": [
        ("capturable", _optimizers("Adadelta RMSprop Rprop")),
        ("fused", _optimizers("Adagrad")),
        ("maximize", _optimizers("NAdam RAdam")),
        ("group_desc", _communication("new_group")),
    ],
    "2.6": [
        ("in_order", _DATA_LOADER),
        ("weight", ["torch.nn.functional:l1_loss", "torch.nn.functional:mse_loss"]),
        ("device_id", _communication("new_group")),
        ("group_src", _communication("broadcast broadcast_object_list irecv recv scatter")),
        ("group_dst", _communication("gather gather_object isend reduce send")),
    ],
    "2.7": [("decoupled_weight_decay", _optimizers("Adam")), ("init_sync", _DDP)],
    "2.8": [("skip_all_reduce_unused_params", _DDP)],
}

#: Release -> lines of a program that dies without its arguments.
_LINES = {
    "1.9": "print([name for name, _ in layer.named_modules(remove_duplicate=True)])",
    "1.10": "print(torch.nn.TransformerEncoderLayer(4, 2, norm_first=False).linear1.in_features)",
    "1.11": "print(torch.optim.SGD(layer.parameters(), lr=0.1, maximize=False).defaults['lr'])",
    "1.12": "print(torch.optim.AdamW(layer.parameters(), lr=0.1, foreach=True, capturable=False).defaults['lr'])",
    "1.13": "print(torch.optim.Adam(layer.parameters(), lr=0.1, fused=False, differentiable=False).defaults['lr'])",
    "2.0": """
layer(torch.ones(2)).backward()
torch.nn.utils.clip_grad_norm_(layer.parameters(), 0.5, foreach=False)
print([name for name, _ in layer.named_parameters(remove_duplicate=True)])
layer.register_forward_hook(lambda module, args, out: print(out.shape), prepend=False, with_kwargs=False)
layer(torch.ones(2))
print(torch.optim.AdamW(layer.parameters(), lr=0.1, fused=False).defaults["lr"])
""",
    "2.1": "print(torch.autograd.grad(layer(torch.ones(2)), layer.weight, materialize_grads=False)[0].tolist())",
    "2.2": "print(torch.optim.ASGD(layer.parameters(), lr=0.1, capturable=False).defaults['lr'])",
    "2.3": "print(torch.optim.SGD(layer.parameters(), lr=0.1, fused=False).defaults['lr'])",
    "2.4": "print(torch.optim.RMSprop(layer.parameters(), lr=0.1, capturable=False).defaults['lr'])",
    "2.6": "print(list(torch.utils.data.DataLoader([1, 2], batch_size=2, in_order=True)))",
    "2.7": "print(torch.optim.Adam(layer.parameters(), lr=0.1, decoupled_weight_decay=False).defaults['lr'])",
    "2.8": """
import os
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
store = torch.distributed.HashStore()
torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
wrapped = torch.nn.parallel.DistributedDataParallel(layer, skip_all_reduce_unused_params=False)
print(wrapped(torch.ones(2)).shape)
torch.distributed.destroy_process_group()
""",
}
_EXAMPLE = "\nimport torch\nlayer = torch.nn.Linear(2, 1)\n{}\n"


def _makes_no_difference(name: str, value: Any) -> bool:
    """Tell whether an older release behaves in the same way without the argument; False if the value is unknown."""
    values = _HARMLESS[name]
    # Values of other types, such as tensors, cannot always be compared.
    return values is _ANY or (isinstance(value, (type(None), bool, float, str)) and value in values)


def _came_with(release: str) -> None:
    """Make the row of a release."""
    names = {name for arguments, _ in _CAME[release] for name in arguments.split()}

    def call(original: Any, *args: Any, **kwargs: Any) -> Any:
        for name in names & kwargs.keys():
            if name not in places(original) and _makes_no_difference(name, kwargs[name]):
                del kwargs[name]
        return original(*args, **kwargs)

    argument(
        *dict.fromkeys(path for _, paths in _CAME[release] for path in paths),
        called=f"arguments of {release}",
        reason=f"Some arguments came with {release}; an older torch ignores them where they change nothing",
        works=f">={release}",
        says=tuple(
            message
            for arguments, paths in _CAME[release]
            if arguments not in ("batch_first", "bias")  # nn_newer has advice for their other value
            for message in unexpected(arguments, paths)
        ),
        helps=_makes_no_difference,
        more=f"with another value than the default the program may need torch {release} or newer",
        example=_EXAMPLE.format(_LINES[release].strip()),
    )(call)


for _release in _CAME:
    _came_with(_release)


# --- arguments that have a meaning ------------------------------------------------------------------------------------

# Without ignored labels: 1.10 counts them in the mean, or raises an IndexError with weights.
_SMOOTHING = """
import torch
import torch.nn.functional as F
scores = torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
labels = torch.tensor([1, 2, 0])
weight = torch.tensor([1.0, 2.0, 0.5])
{}
"""


@argument(
    "torch.nn.functional:cross_entropy",
    called="cross_entropy.label_smoothing",
    works=">=1.10",
    says=r"\bcross_entropy\(\) got an unexpected keyword argument 'label_smoothing'",
    example=_SMOOTHING.format(
        """
for options in ({}, {"weight": weight}, {"reduction": "none"}, {"reduction": "sum", "weight": weight}):
    loss = F.cross_entropy(scores, labels, label_smoothing=0.25, **options)
    print([round(value, 4) for value in loss.reshape(-1).tolist()])
    print([round(value, 4) for value in torch.autograd.grad(loss.sum(), scores)[0].reshape(-1).tolist()])
images, maps = torch.arange(24.0).reshape(1, 3, 2, 4).sin(), torch.tensor([[[0, 1, 2, 0], [1, 2, 0, 1]]])
print(round(F.cross_entropy(images, maps, weight, label_smoothing=0.1).item(), 4))
""".strip()
    ),
)
def cross_entropy(
    original: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """cross_entropy takes label_smoothing since 1.10."""
    # The formula: https://github.com/pytorch/pytorch/blob/v1.10.2/aten/src/ATen/native/LossNLL.cpp#L518
    loss = original(input, target, weight, size_average, ignore_index, reduce, reduction)
    if not label_smoothing or target.is_floating_point():
        return loss
    import torch

    if size_average is not None or reduce is not None:
        reduction = torch.nn._reduction.legacy_get_string(size_average, reduce)
    classes = 1 if input.dim() > 1 else 0
    weights = input.new_ones(input.shape[classes]) if weight is None else weight
    shape = [-1 if dim == classes else 1 for dim in range(input.dim())]
    ignored = target == ignore_index
    smooth = -(torch.log_softmax(input, classes) * weights.reshape(shape)).sum(classes).masked_fill(ignored, 0.0)
    if reduction != "none":
        smooth = smooth.sum()
    if reduction == "mean":
        smooth = smooth / weights[target.masked_fill(ignored, 0)].masked_fill(ignored, 0.0).sum()
    return (1 - label_smoothing) * loss + label_smoothing / input.shape[classes] * smooth


@argument(
    "torch.nn.modules.loss:CrossEntropyLoss.__init__",
    "torch.nn.modules.loss:CrossEntropyLoss.forward",
    called="CrossEntropyLoss.label_smoothing",
    works=">=1.10",
    says=tuple(unexpected("label_smoothing", ["torch.nn.modules.loss:CrossEntropyLoss.__init__"])),
    example=_SMOOTHING.format(
        """
loss = torch.nn.CrossEntropyLoss(weight, label_smoothing=0.25)
print(round(loss(scores, labels).item(), 4), loss.label_smoothing)
print(round(torch.nn.CrossEntropyLoss()(scores, labels).item(), 4))
""".strip()
    ),
)
def cross_entropy_loss(original: Any, self: Any, *args: Any, label_smoothing: float = 0.0, **kwargs: Any) -> Any:
    """CrossEntropyLoss takes label_smoothing since 1.10."""
    if original.__name__ == "__init__":
        original(self, *args, **kwargs)
        self.label_smoothing = label_smoothing
        return None
    smoothing = getattr(self, "label_smoothing", 0.0)  # not there in an object that was pickled
    if not smoothing:
        return original(self, *args, **kwargs)
    import torch

    options = {"ignore_index": self.ignore_index, "reduction": self.reduction, "label_smoothing": smoothing}
    return cross_entropy(torch.nn.functional.cross_entropy, *args, **kwargs, weight=self.weight, **options)


@argument(
    "torch.nn.utils.clip_grad:clip_grad_norm_",
    called="clip_grad_norm_.error_if_nonfinite",
    works=">=1.9",
    says=r"\bclip_grad_norm_\(\) got an unexpected keyword argument 'error_if_nonfinite'",
    example="""
import torch
weight = torch.nn.Parameter(torch.ones(2))
for gradient in (4.0, float("nan")):
    weight.grad = torch.tensor([3.0, gradient])
    try:
        print(float(torch.nn.utils.clip_grad_norm_([weight], 1.0, error_if_nonfinite=True)), weight.grad.tolist())
    except RuntimeError as error:
        print(str(error)[:75], weight.grad.tolist())
""",
)
def clip_grad_norm_(
    original: Any,
    parameters: Any,
    max_norm: Any,
    norm_type: Any = 2.0,
    error_if_nonfinite: bool = False,
    **kwargs: Any,
) -> Any:
    """clip_grad_norm_ takes error_if_nonfinite since 1.9."""
    import torch

    parameters = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    if error_if_nonfinite and not torch.isfinite(torch.as_tensor(original(parameters, float("inf"), norm_type))):
        raise RuntimeError(
            f"The total norm of order {float(norm_type)} for gradients from `parameters` is non-finite, so it cannot "
            "be clipped; error_if_nonfinite=False scales them anyway"
        )
    return original(parameters, max_norm, norm_type, **kwargs)


@argument(
    "torch.nn.modules.normalization:LayerNorm.__init__",
    called="LayerNorm.bias",
    works=">=2.1",
    says=tuple(unexpected("bias", ["torch.nn.modules.normalization:LayerNorm.__init__"])),
    example="""
import torch
norm = torch.nn.LayerNorm(2, bias=False)
print(norm.bias, [name for name, _ in norm.named_parameters()], norm(torch.tensor([1.0, 3.0])).tolist())
print(torch.nn.LayerNorm(2, elementwise_affine=False, bias=True).weight, torch.nn.LayerNorm(2).bias.tolist())
""",
)
def layer_norm(original: Any, self: Any, *args: Any, bias: bool = True, **kwargs: Any) -> None:
    """LayerNorm takes bias since 2.1."""
    original(self, *args, **kwargs)
    if not bias:
        self.register_parameter("bias", None)


@argument(
    "torch.nn.utils.rnn:pad_sequence",
    called="pad_sequence.padding_side",
    works=">=2.5",
    says=r"\bpad_sequence\(\) got an unexpected keyword argument 'padding_side'",
    example="""
import torch
sequences = [torch.arange(1, 4), torch.arange(4, 6)]
for side in ("right", "left"):
    print(torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=-1, padding_side=side).tolist())
print(torch.nn.utils.rnn.pad_sequence(sequences, padding_side="left").tolist())
""",
)
def pad_sequence(
    original: Any,
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any:
    """pad_sequence takes padding_side since 2.5."""
    if padding_side == "right":
        return original(sequences, batch_first, padding_value)
    if padding_side != "left":
        raise RuntimeError(f"padding_side should be one of 'right' or 'left', got {padding_side}")
    return original([each.flip(0) for each in sequences], batch_first, padding_value).flip(1 if batch_first else 0)


@argument(
    *(
        f"torch.nn.init:{each}_"
        for each in (
            *("kaiming_normal", "kaiming_uniform", "normal", "orthogonal", "sparse", "trunc_normal", "uniform"),
            *("xavier_normal", "xavier_uniform"),
        )
    ),
    called="torch.nn.init.generator",
    works=">=2.2",
    says=r"\b(?:(?:kaiming|xavier)_(?:normal|uniform)|(?:trunc_)?normal|uniform|orthogonal|sparse)_\(\) "
    "got an unexpected keyword argument 'generator'",
    example="""
import torch
before = torch.get_rng_state()
generator = torch.Generator().manual_seed(5)
first, second = (torch.nn.init.xavier_uniform_(torch.empty(2, 3), generator=generator) for _ in range(2))
torch.manual_seed(5)
print(torch.equal(first, torch.nn.init.xavier_uniform_(torch.empty(2, 3))), torch.equal(first, second))
torch.set_rng_state(before)
torch.nn.init.normal_(torch.empty(3), std=2.0, generator=generator)
print(torch.equal(torch.get_rng_state(), before))
""",
)
def with_generator(original: Any, tensor: Any, *args: Any, generator: Any = None, **kwargs: Any) -> Any:
    """The functions of torch.nn.init take a generator since 2.2."""
    import torch

    if generator is None:
        return original(tensor, *args, **kwargs)
    if tensor.device.type != generator.device.type:
        raise RuntimeError(f"Expected a {tensor.device.type!r} generator, but found {generator.device.type!r}")
    on_gpu = generator.device.type == "cuda"
    devices = [generator.device] if on_gpu else []
    random: Any = torch.cuda if on_gpu else torch
    # The global generator takes the place of this one for the time of the call.
    with torch.random.fork_rng(devices=devices):
        random.set_rng_state(generator.get_state(), *devices)
        try:
            return original(tensor, *args, **kwargs)
        finally:
            generator.set_state(random.get_rng_state(*devices))


@defaults(
    "torch.optim.sgd:SGD.__init__",
    were={"lr": 1e-3},
    called="SGD without lr",
    works=">=2.2",
    only_if="SGD was given no lr",
    says=r"parameter group didn't specify a value of required optimization parameter lr",
    example="""
import torch
print(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]).param_groups[0]["lr"])
print(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.5).param_groups[0]["lr"])
""",
)
def sgd() -> None:
    """SGD has a default learning rate, 0.001, since 2.2."""


@argument(
    *_optimizers("Adam AdamW SGD"),
    called="fused on the CPU",
    works=">=2.4",
    versions=">=1.13",
    says=(
        r"`fused=True` requires all the params to be (?:CUDA, floating point|floating point Tensors of supported)",
        r"FusedAdam requires all the params to be CUDA, floating point",
    ),
    example="""
import torch
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.Adam(iter([weight]), lr=0.5, fused=True)
weight.grad = torch.ones(2)
optimizer.step()
print([round(value, 4) for value in weight.tolist()])
""",
)
def fused_on_cpu(original: Any, self: Any, params: Any, *args: Any, **kwargs: Any) -> None:
    """Adam, AdamW and SGD take fused=True for parameters on the CPU since 2.4."""
    if kwargs.get("fused"):
        params = list(params)
        try:
            original(self, params, *args, **kwargs)
            return
        except RuntimeError as error:
            if "requires all the params" not in str(error):
                raise
        kwargs["fused"] = False
    original(self, params, *args, **kwargs)
