"""torch.optim: checkpoints of optimizers, and numbers in configs."""

from __future__ import annotations

import copy
import inspect
import re
import sys
from collections.abc import Sequence
from numbers import Real
from operator import is_
from typing import Any, Callable

from .. import guards, switches
from ..lookalike import parameters_of
from .messages import of_an_optimizer, raised_in_optim
from .row import argument, row

_SCHEDULERS = "torch.optim.lr_scheduler"


def numbers(wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Construct an optimizer or a scheduler, or add a group, with numbers in place of strings from a config."""
    of_optimizer = isinstance(instance, sys.modules["torch.optim"].Optimizer)
    if of_optimizer and wrapped.__name__ == "add_param_group":
        defaults = getattr(instance, "defaults", {})
        given = {name: _group(each, defaults) for name, each in kwargs.items()}
        return wrapped(*(_group(each, defaults) for each in args), **given)
    parameters = inspect.signature(wrapped).parameters
    constants = getattr(getattr(inspect.unwrap(wrapped), "__code__", None), "co_consts", ())
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/adam.py#L72
    floats = "betas must be either both floats or both Tensors" in constants  # Adam and AdamW, since 2.6

    def meant(name: str, value: Any) -> Any:
        default = parameters[name].default if name in parameters else None
        if of_optimizer:
            return _meant(value, _like(name, default), floats=floats and name == "betas")
        # A scheduler's argument without a default is a number, or an object that no string can stand for. Where a list
        # stands for a number, it takes no other sequence.
        if name == "milestones" and isinstance(value, str) and _parts(value) is None:
            return value  # one number is no list of milestones
        number = 0 if default in (None, inspect.Parameter.empty) else default
        return _meant(value, number, lists=Sequence if name == "milestones" else (list, tuple))

    positional = [meant(name, value) for name, value in zip(parameters, args)]
    return wrapped(
        *positional, *args[len(positional) :], **{name: meant(name, value) for name, value in kwargs.items()}
    )


def _like(name: str, default: Any) -> Any:
    """Return a number of the option's type: its default, or one for lr, which may have none, and for max_eval."""
    return {"lr": 0.0, "max_eval": 0}.get(name, default)


def _group(group: Any, defaults: dict[str, Any]) -> Any:
    """Return a group with numbers: the same object if torch accepts it, otherwise a copy."""
    if not isinstance(group, dict):
        return group
    meant = {name: _meant(group[name], _like(name, default)) for name, default in defaults.items() if name in group}
    changed = {name: value for name, value in meant.items() if value is not group[name]}
    if changed:
        group = copy.copy(group)
        group.update(changed)
    return group


def _meant(value: Any, like: Any, lists: Any = None, floats: bool = False) -> Any:
    """Return the number in a string, or the numbers in a sequence; the same object if torch accepts it.

    Args:
        value: the argument.
        like: its default. Only if that is a number, or a tuple of numbers, the argument is one.
        lists: in place of a number, torch takes these sequences, too, with an item for each group.
        floats: a tuple must not hold ints.
    """
    if isinstance(like, (list, tuple)):
        parts = _parts(value)
        if parts is None or len(parts) != len(like):
            return value
        return _all_meant(value, parts, tuple, taken=Sequence, floats=floats)  # torch takes any sequence of two
    if isinstance(like, bool) or not isinstance(like, (int, float)):
        return value
    whole = isinstance(like, int)
    number = _spelled(value, whole)
    parts = _parts(value) if lists and number is value else None
    if parts is None:
        return number
    return _all_meant(value, parts, tuple if isinstance(value, tuple) else list, taken=lists, whole=whole)


def _parts(value: Any) -> list[Any] | None:
    """Return the items of a sequence, or of the text of one: ``"(0.9, 0.999)"``, ``"[0.9,0.999]"``, ``"0.9,0.999"``."""
    if isinstance(value, str):
        text = re.fullmatch(r"\s*(?:\((.*)\)|\[(.*)\]|([^()\[\]]*,[^()\[\]]*))\s*", value)
        if text is None:
            return None
        inside = "".join(filter(None, text.groups())).rstrip(", ")
        return [part.strip(" \t\n'\"") for part in inside.split(",")]
    if not isinstance(value, Sequence) or isinstance(value, (bytes, bytearray, range)):
        return None
    try:
        return list(value)
    except Exception:  # for example a list of a config with an interpolation that fails
        return None


def _all_meant(
    value: Any, parts: list[Any], kind: type, *, taken: Any, whole: bool = False, floats: bool = False
) -> Any:
    found = [_spelled(part, whole) for part in parts]
    if not all(each is None or (isinstance(each, Real) and not isinstance(each, bool)) for each in found):
        return value
    if floats:  # NumPy's numbers are no floats, except float64
        found = [each if each is None or isinstance(each, float) else float(each) for each in found]
    same = not isinstance(value, str) and isinstance(value, taken) and all(map(is_, found, parts))
    return value if same else kind(found)


def _spelled(value: Any, whole: bool) -> Any:
    """Return the number in a string, as an int if ``whole`` and possible; anything else unchanged."""
    if not isinstance(value, str):
        return value
    number = switches.finite(value)
    if number is None:
        return value
    return int(value) if whole and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value) else number


row(
    "arguments",
    # Applied after verbose, which accepts an argument that a scheduler no longer has.
    (
        "torch.optim:*.__init__",
        "torch.optim.optimizer:Optimizer.add_param_group",
        f"{_SCHEDULERS}:*.__init__",
        "torch.optim.swa_utils:SWALR.__init__",
        f"{guards.__name__.partition('.')[0]}.adopt.optimizer:ADOPT.__init__",
    ),
    numbers,
    None,
    {
        "called": "numbers",
        # https://github.com/yaml/pyyaml/issues/173
        "reason": "YAML 1.1 reads 1e-5 as a string, and configs give betas as strings, lists or ints",
        "works": "",
        "named": True,
        "says": (
            r"Expected float or int eta_min, but got \S+ of type <class 'str'>",
            r"_fused_(adagrad|adam|adamw|sgd)_\(\) received an invalid combination of arguments - got \([^)]*=str\b",
            r"\b_foreach_add_?\(\) received an invalid combination of arguments - got \(\w+, \w+, alpha=str\)",
            of_an_optimizer(
                r"'<=' not supported between instances of 'float' and 'str'",
                r"'<' not supported between instances of 'str' and 'float'",
                r"argument 'alpha' must be Number, not str\b",
                r"unsupported operand type\(s\) for -: 'float' and 'str'",  # a scheduler's eta_min
            ),
            raised_in_optim(
                r"TypeError: .*('str'|\bnot str\b|=str\b|, str\)|\(str\))",  # for example: bad operand type for unary -
                r"TypeError: can't multiply sequence by non-int of type 'float'",
            ),
        ),
    },
)


@argument(
    "torch.optim.adam:Adam.__init__",
    "torch.optim.adamw:AdamW.__init__",
    called="Adam.betas",
    works="<2.6",
    says=r"betas must be either both floats or both Tensors",
    example="""
import torch
for optimizer in (torch.optim.Adam, torch.optim.AdamW):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = optimizer([weight], lr=0.5, betas=(0, 0.9))
    weight.grad = torch.ones(2)
    optimizer.step()
    print([round(value, 4) for value in weight.tolist()])
""",
)
def betas(original: Any, self: Any, params: Any, *args: Any, **kwargs: Any) -> None:
    """Adam and AdamW took ints for betas up to 2.5, (0, 0.9) for example."""
    # https://github.com/pytorch/pytorch/blob/v2.6.0/torch/optim/adam.py#L71
    if "betas" in kwargs:
        kwargs["betas"] = _all_floats(kwargs["betas"])
    elif len(args) > 1:  # the learning rate is before it
        args = (args[0], _all_floats(args[1]), *args[2:])
    original(self, params, *args, **kwargs)


def _all_floats(betas: Any) -> Any:
    """Return betas with floats in place of other numbers; the same object if torch accepts it, or if it has strings."""
    if not isinstance(betas, (tuple, list)) or str in map(type, betas):
        return betas
    return _all_meant(betas, list(betas), tuple, taken=Sequence, floats=True)


def steps_on_the_cpu(
    wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Compute with copies of the step counters on the device that 1.12.0 accepts, and update the originals."""
    # https://github.com/pytorch/pytorch/blob/v1.12.0/torch/optim/adam.py#L255
    # https://github.com/pytorch/pytorch/issues/80809
    counters = args[5]
    if kwargs["capturable"] or not any(counter.is_cuda for counter in counters):
        return wrapped(*args, **kwargs)
    import torch

    copies = [torch.tensor(float(counter)) for counter in counters]
    wrapped(*args[:5], copies, *args[6:], **kwargs)
    for counter, counted in zip(counters, copies):
        counter.copy_(counted)
    return None


row(
    "arguments",
    tuple(f"torch.optim.{name}:_{form}_tensor_{name}" for name in ("adam", "adamw") for form in ("single", "multi")),
    steps_on_the_cpu,
    None,
    {
        "called": "state_steps",
        "reason": "1.12.0 refuses step counters on the GPU, where a checkpoint may put them; 1.12.1 takes them",
        "works": "!=1.12.0",
        "note": "run without a GPU",
        "says": r"If capturable=False, state_steps should not be CUDA tensors",
    },
)


#: The keys that newer releases have added to the groups of torch's optimizers.
#: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/adam.py#L119
_ADDED = {"capturable", "decoupled_weight_decay", "differentiable", "foreach", "fused", "maximize"}


def resume(wrapped: Callable[..., None], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Load a checkpoint of another release: keep the keys that its groups lack, and convert the step counters."""
    given = {name: _with_what_is_added(instance, each) for name, each in kwargs.items()}
    wrapped(*(_with_what_is_added(instance, each) for each in args), **given)
    usual = _usual_step(type(instance))
    if usual is not None:
        is_tensor = sys.modules["torch"].is_tensor
        for key, state in instance.state.items():
            # A program may store other objects there: optimizer.state["epoch"] = 3.
            if is_tensor(key) and isinstance(state, dict) and "step" in state:
                state["step"] = usual(state["step"])


def _with_what_is_added(optimizer: Any, state_dict: Any) -> Any:
    """Return the checkpoint with the keys that its older groups lack; unchanged if it is another optimizer's."""
    try:
        saved, groups = state_dict["param_groups"], optimizer.param_groups
        if len(saved) != len(groups) or not all(isinstance(each, dict) for each in saved):
            return state_dict  # torch raises the error
    except (KeyError, TypeError):
        return state_dict
    own = set(optimizer.defaults)
    others = _hyperparameters() - own - _ADDED
    if any(own - each.keys() - _ADDED or others & each.keys() for each in saved):
        return state_dict
    # While loading, torch sets the default `differentiable`, which the groups of some optimizers do not have:
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L434
    lacking = [
        {key: group[key] for key in own & _ADDED & group.keys() - each.keys()} for group, each in zip(groups, saved)
    ]
    if not any(lacking):
        return state_dict
    return {**state_dict, "param_groups": [{**each, **ours} for ours, each in zip(lacking, saved)]}


def _hyperparameters() -> set[str]:
    """Return the keys of the groups of all of torch's optimizers."""
    optim = sys.modules["torch.optim"]
    classes = [each for each in vars(optim).values() if isinstance(each, type) and issubclass(each, optim.Optimizer)]
    constructors = [vars(each).get("__init__") for each in classes]
    return {name for each in constructors for name in parameters_of(each).names} - {"self", "params"}


#: The optimizers whose step counters are tensors since 1.12. For the others the type of the counter does not matter.
#: https://github.com/pytorch/pytorch/blob/v1.12.0/torch/optim/adam.py#L140
_WITH_TENSORS = {"adagrad", "adam", "adamw", "adamax", "asgd", "nadam", "radam"}


def _usual_step(cls: type) -> Callable[[Any], Any] | None:
    """Return a function that converts a step counter to this release, for an optimizer with a step of torch."""
    steps = [(base, guards.innermost(vars(base)["step"])) for base in cls.__mro__ if "step" in vars(base)]
    # The class that defines the function. torch sets wrapped copies of it on subclasses, too:
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L567
    package, _, module = [base for base, step in steps if step is steps[0][1]][-1].__module__.rpartition(".")
    if not hasattr(sys.modules["torch.optim.adam"], "_single_tensor_adam"):
        return _as_number if f"{package}.{module}.".startswith("torch.optim.") else None
    return _as_tensor if package == "torch.optim" and module in _WITH_TENSORS else None


def _as_tensor(step: Any) -> Any:
    # The dtype: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L214
    import torch

    if type(step) not in (int, float):
        return step
    return torch.tensor(
        float(step), dtype=torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    )


def _as_number(step: Any) -> Any:
    import torch

    return int(step) if torch.is_tensor(step) and step.numel() == 1 else step


row(
    "arguments",
    ("torch.optim.optimizer:Optimizer.load_state_dict",),
    resume,
    None,
    {
        "called": "resume",
        "reason": "a checkpoint of another release lacks keys in its groups, or counts steps another way",
        "works": "",
        "named": True,
        "says": (
            r"API has changed, `state_steps` argument must contain a list of singleton tensors",
            raised_in_optim(r"AttributeError: '(int|float)' object has no attribute 'item'"),
            r"_foreach_addcdiv_\(\) received an invalid combination of arguments - "
            r"got \(list, list, (list|tuple), list\)",
            of_an_optimizer(r"KeyError: '(capturable|decoupled_weight_decay|differentiable)'"),
            raised_in_optim(r"KeyError: '(foreach|fused|maximize)'"),
        ),
    },
)


@argument(
    "torch.optim.optimizer:Optimizer.load_state_dict",
    called="load_state_dict of an optimizer",
    works="<2.1",
    example="""
import copy, torch
weight = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.Adam([weight], lr=0.5)

def steps():
    for _ in range(3):
        weight.grad = weight.detach() * 2
        optimizer.step()
    return round(weight.item(), 4)

steps()
saved, state = weight.detach().clone(), copy.deepcopy(optimizer.state_dict())
for _ in range(3):
    weight.data.copy_(saved)
    optimizer.load_state_dict(state)
    print(steps())
""",
)
def of_a_copy(original: Any, self: Any, state_dict: Any) -> Any:
    """load_state_dict of an optimizer copied the state up to 2.0; since 2.1 its steps change the state_dict, too."""
    # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/optim/optimizer.py#L379
    return original(self, copy.deepcopy(state_dict))


_BUFFERS = """
import torch
norm = torch.nn.BatchNorm1d(1)
averaged = torch.optim.swa_utils.AveragedModel(norm)
norm.running_mean.fill_(5)
for _ in range(2):
    averaged.update_parameters(norm)
    print(averaged.module.running_mean.tolist(), averaged.n_averaged.item())
"""


@argument(
    "torch.optim.swa_utils:AveragedModel.update_parameters",
    called="buffers of AveragedModel",
    works=">=1.6,<2.0",
    versions=">=2.0",
    example=_BUFFERS,
)
def without_buffers(original: Any, self: Any, model: Any) -> None:
    """AveragedModel left its buffers alone up to 1.13, and copies those of the model since, except with use_buffers."""
    # https://github.com/pytorch/pytorch/blob/v1.13.1/torch/optim/swa_utils.py#L118
    kept = [] if self.use_buffers else [buffer.detach().clone() for buffer in self.module.buffers()]
    original(self, model)
    for buffer, before in zip(self.module.buffers(), kept):
        buffer.detach().copy_(before)


@argument(
    "torch.optim.swa_utils:AveragedModel.update_parameters",
    called="buffers of AveragedModel since 2.0",
    works=">=2.0",
    versions=">=1.6",
    example=_BUFFERS,
)
def with_buffers(original: Any, self: Any, model: Any) -> None:
    """AveragedModel copies the buffers of the model since 2.0, and left them alone before."""
    original(self, model)
    if not getattr(self, "use_buffers", False):
        for buffer, new in zip(self.module.buffers(), model.buffers()):
            buffer.detach().copy_(new.detach())
