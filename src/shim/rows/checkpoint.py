"""torch.utils.checkpoint: arguments that came later, for new programs on an older torch."""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any

from .row import argument, places

_EXAMPLE = """
import torch
from torch.utils.checkpoint import checkpoint

layer = torch.nn.Linear(2, 2)
with torch.no_grad():
    layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    layer.bias.zero_()

def block(x, scale=1.0, named=False):
    y = layer(x).tanh() * scale
    return {{"y": y}} if named else y

for start in (torch.tensor([[0.1, 0.2]], requires_grad=True), torch.tensor([[0.1, 0.2]])):
    for options in ({{}}, {{"scale": torch.tensor(2.0)}}, {{"named": True}}):
        y = checkpoint(block, start, {0}, **options)
        y = y["y"] if isinstance(y, dict) else y
        layer.weight.grad = start.grad = None
        y.sum().backward()
        grads = [grad.flatten().tolist() for grad in (layer.weight.grad, start.grad) if grad is not None]
        print([round(each, 4) for grad in [y.tolist()[0], *grads] for each in grad])
with torch.no_grad():
    print(checkpoint(layer, torch.ones(1, 2), {0}).tolist())
"""


class _OtherOutput(Exception):  # noqa: N818  # it tells checkpoint() that the function returned no tensors
    """A checkpointed function returned something other than tensors."""


@argument(
    "torch.utils.checkpoint:checkpoint",
    called="checkpoint.use_reentrant",
    works=">=1.13",
    says=(
        r"ValueError: Unexpected keyword arguments: (?:\w+,)*use_reentrant\b",
        r"/torch/utils/checkpoint\.py.*ValueError: Unexpected keyword arguments: \w+",  # of the function
    ),
    more="where an older torch would compute other gradients, the activations are kept, which takes memory",
    example=_EXAMPLE.format("use_reentrant=False"),
)
def use_reentrant(
    original: Any,
    function: Any,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """use_reentrant of torch.utils.checkpoint came with 1.11, with keywords for the function with 1.13."""
    import torch

    kwargs.pop("determinism_check", None)  # since 2.1
    if use_reentrant or use_reentrant is None:
        return original(function, *args, preserve_rng_state=preserve_rng_state, **kwargs)
    if "use_reentrant" in places(original):
        options = {"use_reentrant": False, "preserve_rng_state": preserve_rng_state}
        return original(partial(function, **kwargs) if kwargs else function, *args, **options)
    every = (*args, *kwargs.values())
    tensors = [each for each in every if isinstance(each, torch.Tensor)]
    gets_gradients = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    # Recomputing as an older torch does sees no tensors inside of other objects, and computes no gradients if none of
    # the arguments needs one: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/utils/checkpoint.py#L459
    if not gets_gradients or not all(map(_is_simple, every)) or not _holds_no_tensors(function):
        return function(*args, **kwargs)

    def call(*given: Any) -> Any:
        output = function(*given[: len(args)], **dict(zip(kwargs, given[len(args) :])))
        outputs = output if isinstance(output, tuple) else (output,)
        if not all(isinstance(each, torch.Tensor) for each in outputs):
            raise _OtherOutput
        return output

    state, (devices, states) = torch.get_rng_state(), torch.utils.checkpoint.get_device_states(*tensors)
    try:
        return original(call, *every, preserve_rng_state=preserve_rng_state)
    except _OtherOutput:
        torch.set_rng_state(state)
        torch.utils.checkpoint.set_device_states(devices, states)
        return function(*args, **kwargs)


def _is_simple(value: Any) -> bool:
    import torch

    return isinstance(value, (torch.Tensor, torch.Size, torch.dtype, torch.device, type(None), bool, int, float, str))


def _holds_no_tensors(function: Any) -> bool:
    """Tell whether it is a module, a method of one, or a function whose closure has only these and simple values."""
    import torch

    if isinstance(function, MethodType):
        function = function.__self__
    if isinstance(function, FunctionType):
        held = [cell.cell_contents for cell in function.__closure__ or ()]
        return all(not torch.is_tensor(each) and (_is_simple(each) or _holds_no_tensors(each)) for each in held)
    return isinstance(function, torch.nn.Module)


@argument(
    "torch.utils.checkpoint:checkpoint",
    called="checkpoint.determinism_check",
    works=">=2.1",
    versions=">=1.13",
    says=(
        r"\w+\(\) got an unexpected keyword argument 'determinism_check'",
        r"ValueError: Unexpected keyword arguments: (?:\w+,)*determinism_check\b",
    ),
    example=_EXAMPLE.format("use_reentrant=False, determinism_check='none', debug=False"),
)
def determinism_check(
    original: Any,
    *args: Any,
    use_reentrant: bool | None = None,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """determinism_check and debug of torch.utils.checkpoint came with 2.1; an older torch does not check."""
    given = {} if use_reentrant is None else {"use_reentrant": use_reentrant}  # up to 2.0 None counts as False
    return original(*args, **given, **kwargs)
