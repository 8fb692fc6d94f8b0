"""Names that came later, for new programs on an older torch."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .messages import IN_THIS_LINE
from .row import argument, made, module, name, names, often


@name(
    "torch:get_default_device",
    works=">=2.3",
    says=r"module 'torch' has no attribute 'get_default_device'",
    example="import torch\nprint(torch.get_default_device())",
)
def get_default_device() -> Any:
    """get_default_device came with 2.3."""
    import torch

    return torch.empty(0).device


@module(
    "torch.backends.mps",
    works=">=1.12",
    says=(r"module 'torch\.backends' has no attribute 'mps'", r"No module named 'torch\.backends\.mps'"),
    example="import torch\nprint(torch.backends.mps.is_available() in (True, False))",
)
def mps() -> dict[str, Any]:
    """torch.backends.mps came with 1.12; an older torch has no such device."""
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
print(double(2), torch.compiler.disable(double, recursive=False)(4))
""",
)
def compiler() -> dict[str, Any]:
    """torch.compiler came with 2.1; nothing is being compiled on an older torch."""

    def same(fn: Any = None, recursive: bool = True, **options: Any) -> Any:
        """Return the function unchanged."""
        return (lambda function: function) if fn is None else fn

    def nothing() -> None:
        """Do nothing: there is nothing to reset or to mark."""

    return {
        "allow_in_graph": same,
        "assume_constant_result": same,
        "cudagraph_mark_step_begin": nothing,
        "disable": same,
        **is_compiling(),
        "reset": nothing,
    }


@names(
    "torch.compiler",
    called="torch.compiler.is_compiling",
    works=">=2.3",
    versions=">=2.1",
    says=(
        r"module 'torch\.compiler' has no attribute 'is_(dynamo_)?compiling'",
        r"cannot import name 'is_(dynamo_)?compiling' from 'torch\.compiler'",
    ),
    example="""
import torch
from torch.compiler import is_compiling
print(is_compiling(), torch.compiler.is_dynamo_compiling())
""",
)
def is_compiling() -> dict[str, Any]:
    """torch.compiler has is_compiling since 2.3; 2.0 to 2.2 have it in torch._utils."""
    import torch

    # torch.compile replaces a call of this function object by True:
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_dynamo/variables/torch.py#L297
    known = getattr(torch._utils, "is_compiling", lambda: False)
    return {"is_compiling": known, "is_dynamo_compiling": known}


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
    """scaled_dot_product_attention came with 2.0: softmax(q kᵀ · scale + mask) v."""
    import torch

    if is_causal and attn_mask is not None:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa:
        key, value = _for_all_heads(query, key, value)
    weights = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        weights = weights.masked_fill(~attn_mask, -math.inf) if masked else weights + attn_mask
        # A row of which everything is masked gives 0 since 2.5, and gradients of 0.
        empty = (weights == -math.inf).all(-1, keepdim=True)
        weights = torch.softmax(weights.masked_fill(empty, 0.0), -1).masked_fill(empty, 0.0)
    else:
        weights = torch.softmax(weights, -1)
    return (torch.nn.functional.dropout(weights, dropout_p) if dropout_p else weights) @ value


@often(
    "torch.nn.functional:scaled_dot_product_attention",
    called="scaled_dot_product_attention of nothing",
    works=">=2.5",
    versions=">=2.0",
    example="""
import torch
import torch.nn.functional as F
q = torch.arange(24.0).reshape(1, 2, 3, 4).sin().requires_grad_()
mask = torch.tensor([[True, False, True], [False, False, False], [False, True, True]])
for mask in (mask, torch.zeros(3, 3).masked_fill(~mask, float("-inf"))):
    y = F.scaled_dot_product_attention(q, q, q, mask)
    grad, = torch.autograd.grad(y.sum(), q)
    print([round(x, 3) for x in y[0, 0].flatten().tolist()], [round(x, 2) for x in grad[0, 0].flatten().tolist()])
""",
)
def zeros_for_nothing(original: Any) -> Any:
    """scaled_dot_product_attention gives 0 for a query whose keys are all masked since 2.5, and gave NaN before."""
    import torch

    # https://github.com/pytorch/pytorch/pull/133882
    def attention(*args: Any, **kwargs: Any) -> Any:
        mask = kwargs.get("attn_mask") if len(args) < 4 else args[3]
        if mask is None:
            return original(*args, **kwargs)
        empty = (~mask if mask.dtype == torch.bool else mask == -math.inf).all(-1, keepdim=True)
        # What the query then attends to is not used, and has gradients of 0.
        mask = mask.masked_fill(empty, True if mask.dtype == torch.bool else 0.0)
        if len(args) < 4:
            kwargs["attn_mask"] = mask
        else:
            args = (*args[:3], mask, *args[4:])
        return original(*args, **kwargs).masked_fill(empty, 0.0)

    return attention


def _for_all_heads(query: Any, key: Any, value: Any) -> tuple[Any, Any]:
    """Repeat the heads of key and value, each of which serves a group of the query's heads."""
    groups = query.shape[-3] // key.shape[-3]
    return key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)


@argument(
    "torch.nn.functional:scaled_dot_product_attention",
    called="scaled_dot_product_attention.enable_gqa",
    works=">=2.5",
    versions=">=2.0",
    says=r"scaled_dot_product_attention\(\) got an unexpected keyword argument '(?:scale|enable_gqa)'",
    example="""
import torch
import torch.nn.functional as F
q, k, v = (torch.arange(i, i + n * 12.0).reshape(1, n, 3, 4).sin() for i, n in ((0, 4), (1, 2), (2, 2)))
for options in ({"enable_gqa": True}, {"enable_gqa": True, "scale": 0.25, "is_causal": True}):
    y = F.scaled_dot_product_attention(q, k, v, **options)
    print(tuple(y.shape), [round(x, 3) for x in y.flatten().tolist()][:6])
print(round(F.scaled_dot_product_attention(q, q, q, scale=0.125).sum().item(), 3))
print(round(F.scaled_dot_product_attention(q, q, q, enable_gqa=False, scale=None).sum().item(), 3))
""",
)
def attention_of_groups(
    original: Any,
    query: Any,
    key: Any,
    value: Any,
    *args: Any,
    scale: float | None = None,
    enable_gqa: bool = False,
    **kwargs: Any,
) -> Any:
    """scaled_dot_product_attention takes scale since 2.1, and enable_gqa since 2.5."""
    if enable_gqa:
        key, value = _for_all_heads(query, key, value)
    if scale is not None:
        query = query * (scale * math.sqrt(query.shape[-1]))  # the default is one over this root
    return original(query, key, value, *args, **kwargs)


@name(
    "torch:compile",
    works=">=2.0",
    says=(r"module 'torch' has no attribute 'compile'(?!r)", r"cannot import name 'compile' from 'torch'"),
    note="nothing is compiled; the program runs uncompiled",
    example="""
import torch
layer = torch.nn.Linear(2, 1)
compiled = torch.compile(layer, backend="eager")
print(torch.equal(compiled(torch.ones(1, 2)), layer(torch.ones(1, 2))))

@torch.compile(backend="eager")
def double(x):
    return 2 * x

print(double(torch.ones(2)).tolist())
""",
)
def compile(model: Any = None, **options: Any) -> Any:
    """torch.compile came with 2.0; an older torch runs the model as it is."""
    import torch

    warnings.warn(f"shim: torch {torch.__version__} compiles nothing: torch.compile returns its argument", stacklevel=2)
    return (lambda function: function) if model is None else model


@made(
    "torch:inference_mode",
    works=">=1.9",
    says=(r"module 'torch' has no attribute 'inference_mode'", r"cannot import name 'inference_mode' from 'torch'"),
    example="""
import torch
x = torch.ones(1, requires_grad=True)

@torch.inference_mode()
def double(x):
    return 2 * x

with torch.inference_mode():
    print(double(x).requires_grad, (2 * x).requires_grad)
with torch.inference_mode(False):
    print((2 * x).requires_grad, torch.is_grad_enabled())
print(double(x).requires_grad, torch.inference_mode(mode=True) is None)
import pickle
print(pickle.loads(pickle.dumps(torch.inference_mode)) is torch.inference_mode)
print(pickle.loads(pickle.dumps(torch.inference_mode(False))).mode)
""",
)
def inference_mode(torch: Any) -> Any:
    """inference_mode came with 1.9; on an older torch it is no_grad here, which computes the same, more slowly."""

    class InferenceMode(torch.no_grad):  # type: ignore[misc]
        def __new__(cls, mode: Any = True) -> Any:
            return super().__new__(cls) if not callable(mode) else cls()(mode)

        def __init__(self, mode: bool = True) -> None:
            super().__init__()
            self.mode = mode

        def __call__(self, function: Any) -> Any:
            return super().__call__(function) if self.mode else function

        def __enter__(self) -> None:
            self.prev = torch.is_grad_enabled()
            if self.mode:
                torch.set_grad_enabled(False)

        def __exit__(self, *error: Any) -> None:
            torch.set_grad_enabled(self.prev)

    InferenceMode.__name__ = InferenceMode.__qualname__ = "inference_mode"
    InferenceMode.__module__ = "torch"  # where pickle finds it
    return InferenceMode


@argument(
    "torch.functional:meshgrid",
    called="torch.meshgrid",
    works=">=1.10",
    says=r"meshgrid\(\) got an unexpected keyword argument 'indexing'",
    example="""
import torch
x, y = torch.arange(2), torch.arange(3)
for indexing in ("ij", "xy"):
    print([grid.tolist() for grid in torch.meshgrid(x, y, indexing=indexing)])
print([tuple(grid.shape) for grid in torch.meshgrid([x, y, torch.arange(4)], indexing="xy")])
print([tuple(grid.shape) for grid in torch.meshgrid(x, indexing="xy")])
""",
)
def meshgrid(original: Any, *tensors: Any, indexing: str = "ij") -> Any:
    """torch.meshgrid takes indexing since 1.10."""
    # https://github.com/pytorch/pytorch/blob/v1.10.2/torch/functional.py#L337
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    given = list(tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors)
    if indexing == "ij" or len(given) < 2:
        return original(*given)
    grids = original(given[1], given[0], *given[2:])
    return type(grids)((grids[1], grids[0], *grids[2:]))


def _where_dtypes_differ(compute: Any, input: int, other: int) -> Any:
    """Return the patch that calls ``compute`` unless these two of three arguments are tensors of one dtype."""

    def how(original: Any) -> Any:
        def where(*args: Any, **kwargs: Any) -> Any:
            try:
                if len(args) == 3 and args[input].dtype is args[other].dtype:
                    return original(*args, **kwargs)
            except AttributeError:  # a number
                pass
            return compute(original, *args, **kwargs)

        return where

    return how


def where(original: Any, condition: Any, input: Any = None, other: Any = None, **kwargs: Any) -> Any:
    """torch.where takes numbers, and tensors of two types, since 1.12."""
    # What 1.11 took: https://github.com/pytorch/pytorch/blob/v1.11.0/torch/_torch_docs.py#L10811
    import torch

    if input is None or other is None:
        return original(condition, **kwargs) if input is other else original(condition, input, other, **kwargs)
    numbers = [each for each in (input, other) if not torch.is_tensor(each)]
    if not numbers and input.dtype == other.dtype:
        return original(condition, input, other, **kwargs)
    both = [each if torch.is_tensor(each) else torch.tensor(each) for each in (input, other)]
    # A Python number changes the dtype of a tensor only if it is of another kind.
    dtype = torch.result_type(*(both if len(numbers) == 2 else (input, other)))
    return original(condition, *(each.to(condition.device, dtype) for each in both), **kwargs)


often(
    "torch:where",
    works=">=1.12",
    says=(
        r"\btorch\.where\(.* RuntimeError: expected scalar type \w+ but found \w+",
        r"\btorch\.where\(.* RuntimeError: [Ee]xpected (?:object of scalar type|condition, x and y)",
        r"TypeError: where\(\): argument '(?:input' \(position 2|other' \(position 3)\) must be Tensor, not "
        r"(?:float|int|bool)",
    ),
    example="""
import torch
here = torch.tensor([True, False])
x = torch.tensor([1.0, 2.0], requires_grad=True)
y = torch.where(here, x, 0.0)
y.sum().backward()
print(y.tolist(), x.grad.tolist(), y.dtype)
print(torch.where(here, 5, x.detach()).tolist(), torch.where(here, torch.arange(2), 0.5))
wide = torch.ones(2, dtype=torch.float64)
print(torch.where(here, 1.0, 0.0), torch.where(here, 1, 2), torch.where(here, wide, 2.0).dtype)
print(torch.where(here, torch.arange(2), wide).dtype, torch.where(here)[0])
print(torch.where(condition=here, input=x.detach(), other=torch.zeros(1)).tolist())
""",
    reason="torch.where takes numbers, and tensors of two types, since 1.12",
)(_where_dtypes_differ(where, 1, 2))


def tensor_where(original: Any, self: Any, condition: Any, other: Any) -> Any:
    """Tensor.where takes numbers since 2.0."""
    return where(lambda condition, input, other: original(input, condition, other), condition, self, other)


often(
    "torch:Tensor.where",
    works=">=2.0",
    says=(
        r"TypeError: where\(\): argument 'other' (?:\(position 2\) )?must be Tensor, not (?:float|int|bool)",
        rf"(?<!\btorch)\.where\({IN_THIS_LINE}RuntimeError: expected scalar type \w+ but found \w+",
    ),
    example="""
import torch
here = torch.tensor([True, False])
x = torch.tensor([1.0, 2.0], requires_grad=True)
y = x.where(here, 0.0)
y.sum().backward()
print(y.tolist(), x.grad.tolist(), x.detach().where(condition=here, other=2).tolist())
print(torch.arange(2).where(here, 0.5).tolist(), x.detach().where(here, torch.zeros(2)).tolist())
""",
    reason="Tensor.where takes numbers since 2.0",
)(_where_dtypes_differ(tensor_where, 0, 2))


@name(
    "torch:Tensor.untyped_storage",
    works=">=2.0",
    versions=">=1.13",
    says=r"'(?:Tensor|Parameter)' object has no attribute 'untyped_storage'",
    example="""
import torch
x = torch.ones(3)
print(x.untyped_storage().data_ptr() == x.data_ptr(), x.untyped_storage().nbytes(), len(x[1:].untyped_storage()))
""",
)
def untyped_storage(self: Any) -> Any:
    """Tensor.untyped_storage came with 2.0; on 1.13 it is tensor.storage().untyped()."""
    return self.storage().untyped()
