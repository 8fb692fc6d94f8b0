"""The None guards: functions that replace ``weight_decay=None`` by a number.

There is one for constructors, one for steps, and one for functional forms.

No single kind of wrapper works everywhere: TorchScript compiles the functional forms, torch.compile traces them, and
torch and its LR schedulers wrap ``step`` themselves. ``tests/hazards`` shows what a wrong wrapper breaks, and
``docs/wrappers.md`` says which one is used where.

A guard tests for None first. Everything else comes after that, so a program without a None pays for this test only.
"""

from __future__ import annotations

import functools
import inspect
import sys
from contextlib import contextmanager
from typing import Any, Iterator

from . import replace
from .layout import Layout, weight_decay_of
from .lookalike import Parameters, lookalike, parameters_of
from .replace import Undos
from .warning import NONES, module_name, value_for

#: The key in a parameter group, and the name of the parameter everywhere in torch.
WEIGHT_DECAY = "weight_decay"


class PatchSwitch:
    """Whether one patch is on.

    Other code may hold its functions, or have wrapped them. If they are called after the patch was undone, they only
    call the originals.
    """

    def __init__(self) -> None:
        self.on = True


# --- what is guarded: an optimizer whose `step` is the function of a class in the table -----------------------------


class Guarded:
    """What is guarded in this process."""

    def __init__(self) -> None:
        #: The guarded classes, and the innermost functions of their ``step`` -> an object for each of their guards. A
        #: class or function is removed with its last guard.
        self.steps: dict[Any, set[object]] = {}
        #: The classes, and the names of functional forms, that SHIM_SKIP leaves out. They may share a step, a
        #: constructor or a form with a guarded one: since torch 2.7, AdamW shares them with Adam.
        self.left_out: dict[Any, None] = {}
        #: The module torch, once the step pre-hook is registered.
        self.torch: Any = None
        #: torch's handle of the step pre-hook, and an object for each class that uses it. The hook is removed with the
        #: last of these objects.
        self.hook: Any = None
        self.hooked: set[object] = set()


GUARDED = Guarded()


#: The attributes that hold what is inside of a function: a wrapper, or the one that functools.partialmethod makes.
_INSIDE = ("_shim_guards", "__wrapped__", "__partialmethod__", "_partialmethod")


def innermost(function: Any) -> Any:
    """Return the function inside the wrappers of torch, functools and shim. The program's own wrappers are kept."""
    while True:
        # A list: a generator that is left early swallows the Ctrl-C that comes while it is closed.
        # See __del__ in https://peps.python.org/pep-0342/
        inner = next(filter(None, [getattr(function, name, None) for name in _INSIDE]), None)
        if inner is None or not (_of_torch_or_ours(function) or _package(function) == "functools"):
            return function
        function = inner


def _of_torch_or_ours(function: Any) -> bool:
    return _package(function) in ("torch", "contextlib", __name__.partition(".")[0])


def _package(function: Any) -> str:
    # From Python 3.14 on, a method of singledispatchmethod is an object of this class, and no function.
    if type(function).__name__ == "_singledispatchmethod_get":
        return type(function).__module__
    return module_name(getattr(function, "__globals__", {})).partition(".")[0]


def is_guarded(optimizer_class: type) -> bool:
    """Tell whether a None in an instance is replaced. It is not if a subclass has a ``step`` of its own."""
    return innermost(getattr(optimizer_class, "step", None)) in GUARDED.steps and not _is_left_out(optimizer_class)


def _is_left_out(cls: type) -> bool:
    """Tell whether SHIM_SKIP leaves the class out: the first class of its MRO that the table names counts."""
    left_out = GUARDED.left_out
    named = (base in left_out for base in cls.__mro__ if base in left_out or base in GUARDED.steps)
    return bool(left_out) and next(named, False)


# --- constructor ----------------------------------------------------------------------------------------------------


def constructor(cls: type, switch: PatchSwitch, layout: Layout, undos: Undos) -> None:
    """Guard the constructor of an optimizer class.

    Args:
        cls: the class. If it inherits its constructor, it gets one of its own that calls the inherited one.
        switch: the guard acts while it is on.
        layout: the layout of the loaded torch.
        undos: gets a function that restores the constructor.
    """
    original: Any = cls.__init__  # type: ignore[misc]
    _check_method(cls, "__init__", original)
    # A constructor that accepts None (torch up to 1.4, other packages) may be called by a subclass in which None has a
    # meaning. If it refuses None, no subclass can call it with None and go on, so the guard may act for all of them.
    # Since 1.5: https://github.com/pytorch/pytorch/blob/v1.5.1/torch/optim/adam.py#L40
    refuses = layout.constructors_check and _of_torch_or_ours(original)

    def value(optimizer: Any) -> float | None:
        if switch.on and (is_guarded(type(optimizer)) or (refuses and not _is_left_out(type(optimizer)))):
            return value_for(type(optimizer), "its arguments")
        return None

    parameters = parameters_of(original)
    guard = lookalike(original, _for_none(original, parameters), {"value": value}, parameters=parameters)
    replace.attribute(cls, "__init__", guard, undos)


def _check_method(cls: type, name: str, function: Any) -> None:
    """Raise if a class's function cannot be called with the instance in front, as a method can."""
    if vars(cls).get(name) is function and callable(function):
        return
    held = inspect.getattr_static(cls, name)
    takes_it = function is held or hasattr(held, "__wrapped__") or isinstance(held, functools.partialmethod)
    if isinstance(held, (staticmethod, classmethod)) or not takes_it or not callable(function):
        raise TypeError(
            f"{cls.__qualname__}.{name} is a {type(held).__name__}, but a guard needs a method, which gets the instance"
        )


def _for_none(original: Any, parameters: Parameters, form: bool = False) -> str:
    """Return the lines of a guard that replace a weight_decay of None by ``value(first)``.

    Args:
        original: the guarded function.
        parameters: its parameters.
        form: it is a functional form.
    """
    if WEIGHT_DECAY in parameters.names:
        # The function accepts None as its default. A None that was given cannot be told from one that was left out.
        if parameters.defaults.get(WEIGHT_DECAY, 0.0) is None:
            return ""
        # Since torch 2.7, AdamW calls the forms of Adam with decoupled_weight_decay=True:
        # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/adamw.py#L180
        which = ", decoupled_weight_decay" if form and "decoupled_weight_decay" in parameters.names else ""
        return f"if weight_decay is None:\n    weight_decay = {{value}}({{first}}{which})\n"
    lines = ""
    if parameters.kwargs:
        lines += 'if {kwargs}.get("weight_decay", 0.0) is None:\n    {kwargs}["weight_decay"] = {value}({first})\n'
    place = weight_decay_of(original) if parameters.args else None
    if place is not None and place.position is not None:
        index = place.position - parameters.positional
        lines += f"if len({{args}}) > {index} and {{args}}[{index}] is None:\n"
        lines += f"    {{args}} = (*{{args}}[:{index}], {{value}}({{first}}), *{{args}}[{index + 1}:])\n"
    return lines


# --- step -----------------------------------------------------------------------------------------------------------


def step(cls: type, switch: PatchSwitch, layout: Layout, undos: Undos) -> None:
    """Guard the ``step`` of an optimizer class: a None in a parameter group is replaced before the step reads it.

    Subclasses without a step of their own are guarded as well, also those that exist already.
    """
    function = innermost(cls.step)  # type: ignore[attr-defined]
    guard = object()
    if innermost(cls.step) != function:  # type: ignore[attr-defined]
        raise TypeError(f"{cls.__qualname__}.step is a new function at each access, so a guard cannot recognize it")
    for held in (function, cls):
        undos.append(functools.partial(_forget, held, guard))
        GUARDED.steps.setdefault(held, set()).add(guard)
    if layout.step_wrapper == "hook":
        _hook_steps(undos)
    else:
        inherits_a_guard = "step" not in vars(cls) and hasattr(cls.step, "_shim_guards")  # type: ignore[attr-defined]
        for owner in [] if inherits_a_guard else _owners_of_step(cls, function):
            _replace_step(owner, switch, layout, undos)


def _forget(held: Any, guard: object) -> None:
    GUARDED.steps.get(held, set()).discard(guard)
    if not GUARDED.steps.get(held):
        GUARDED.steps.pop(held, None)


#: The packages of optimizers that call functional forms, which have guards.
_WITH_FUNCTIONALS = ("torch.optim.", "shim.adopt.", "_torch_shim.adopt.")


def before_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    """Replace each None in the parameter groups. This is torch's step pre-hook, which torch.compile traces."""
    if GUARDED.torch.compiler.is_dynamo_compiling():
        _before_compiled_step(optimizer)
        return
    try:  # part of every step, so it is written for speed
        for group in optimizer.__dict__["param_groups"]:
            if "weight_decay" in group and group["weight_decay"] is None:
                break
        else:
            return
        groups = [*filter(_has_none, optimizer.__dict__["param_groups"])] if is_guarded(type(optimizer)) else []
    except Exception:  # there are no groups, or they are not dictionaries
        return
    for group in groups:
        _replace_none(optimizer, group)


def _before_compiled_step(optimizer: Any) -> None:
    # Dynamo guards on every value that this function reads, and would compile again when a learning rate changes:
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_dynamo/variables/builder.py#L2586
    # So the groups are not read if the functional form, which the step calls, has a guard.
    if _has_guarded_forms(type(optimizer)):
        return
    # Not read as an attribute, because in most releases dynamo would then guard on the groups:
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_dynamo/variables/optimizer.py#L165
    for group in optimizer.__dict__.get("param_groups") or ():
        if _has_none(group) and is_guarded(type(optimizer)):
            _replace_none(optimizer, group)


def _has_none(group: Any) -> bool:
    return isinstance(group, dict) and group.get("weight_decay", 0.0) is None


def _has_guarded_forms(cls: type) -> bool:
    # AdamW calls the forms of Adam, which SHIM_SKIP may leave out.
    return cls.__module__.startswith(_WITH_FUNCTIONALS) and not GUARDED.left_out


def _replace_none(optimizer: Any, group: dict[str, Any]) -> None:
    number = next((n for n, other in enumerate(optimizer.__dict__.get("param_groups", ())) if other is group), 0)
    group[WEIGHT_DECAY] = value_for(type(optimizer), "parameter group %d" % number)


def _hook_steps(undos: Undos) -> None:
    """Register torch's global step pre-hook once, for all guarded classes together."""
    user = object()

    def unhook() -> None:
        GUARDED.hooked.discard(user)
        if not GUARDED.hooked and GUARDED.hook is not None:
            GUARDED.hook.remove()
            GUARDED.hook = None

    undos.append(unhook)
    GUARDED.hooked.add(user)
    if GUARDED.hook is None:
        GUARDED.torch = sys.modules["torch"]  # its import may not be complete yet
        GUARDED.hook = sys.modules["torch.optim.optimizer"].register_optimizer_step_pre_hook(before_step)


def _owners_of_step(cls: type, function: Any) -> list[type]:
    """List the classes that hold this step: ``cls``, and existing subclasses on which torch has set a wrapped copy.

    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L567
    """
    owners = [cls]
    subclasses: list[type] = cls.__subclasses__()
    for subclass in subclasses:
        if "step" in vars(subclass) and innermost(vars(subclass)["step"]) is function:
            owners += _owners_of_step(subclass, function)
        elif "step" not in vars(subclass):
            owners += _owners_of_step(subclass, function)[1:]
    return owners


#: The lines of a guarded step.
_STEP = """\
for {group} in {first}.param_groups:
    if isinstance({group}, dict) and {group}.get("weight_decay", 0.0) is None and {switch}.on:
        with {replaced}({first}):
            return {call}
"""


def _replace_step(cls: type, switch: PatchSwitch, layout: Layout, undos: Undos) -> None:
    original = cls.step  # type: ignore[attr-defined]
    _check_method(cls, "step", original)
    # On torch 2.0 to 2.2 dynamo replaces a hooked step by the function inside the hook, so the guard goes inside, too:
    # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/_dynamo/eval_frame.py#L792
    put_hook: Any = getattr(sys.modules["torch.optim.optimizer"].Optimizer, "profile_hook_step", None)
    under_hook = layout.strips_wrapped_steps and original.__code__ in put_hook.__code__.co_consts
    inner = original.__wrapped__ if under_hook else original

    step: Any = lookalike(inner, _STEP, {"switch": switch, "replaced": _replaced})
    step._shim_guards = inner
    # Programs compile `step.__wrapped__.__wrapped__` as a full graph, so the guard must not add a level. torch's own
    # tests do so, in `compile_opt` of
    # https://github.com/pytorch/pytorch/blob/035f30c46f0ac8ea1896eb54b7881d7503ad4be4/test/inductor/test_compiled_optimizers.py
    step.__wrapped__ = getattr(inner, "__wrapped__", inner)
    if under_hook:
        step = put_hook(step)
        step.hooked = True
    replace.attribute(cls, "step", step, undos)


@contextmanager
def _replaced(optimizer: Any) -> Iterator[None]:
    """Replace each None for the time of a step.

    A subclass that called ``super().step()`` gets its None back afterwards, because it may have a meaning there.
    """
    ours, groups = is_guarded(type(optimizer)), []
    if not _is_left_out(type(optimizer)):
        groups = [*filter(_has_none, optimizer.param_groups)]
    if not ours:
        groups = [group for group in groups if any(parameter.grad is not None for parameter in group["params"])]
    for group in groups:
        _replace_none(optimizer, group)
    try:
        yield
    finally:
        for group in groups if not ours else ():
            group[WEIGHT_DECAY] = None


# --- functional -----------------------------------------------------------------------------------------------------


def is_dispatcher(function: Any) -> bool:
    """Tell whether a functional form only calls one of the _single_tensor_, _multi_tensor_ and _fused_ forms.

    These have guards of their own, which also act if a program has imported the dispatcher before it could be guarded.
    Without a guard on the dispatcher there is one graph break less on torch 2.0 to 2.2, where dynamo disables the forms
    that the dispatcher calls: https://github.com/pytorch/pytorch/blob/v2.2.2/torch/_dynamo/eval_frame.py#L1578
    """
    original = inspect.unwrap(function)
    return "_single_tensor_" + original.__name__ in original.__globals__


def functional(original: Any, switch: PatchSwitch, layout: Layout) -> Any:
    """Return the guard of a functional form (``adam``, ``_single_tensor_adam``, …), for every module that holds it."""
    function = inspect.unwrap(original)
    name = original.__name__
    for form in ("_single_tensor_", "_multi_tensor_", "_fused_"):
        name = name[len(form) :] if name.startswith(form) else name
    NONES.forms.setdefault(name, function.__globals__)

    def value(params: Any, decoupled: bool = False) -> float | None:
        """Return the number that replaces a None. A call without parameters does nothing, and keeps its None."""
        form = name + "w" if decoupled else name
        return value_for(form, "its arguments") if switch.on and params and form not in GUARDED.left_out else None

    # TorchScript compiles the source of the function in __wrapped__, but looks names up in the globals of the function
    # that it was given. So the guard has the globals of the original, and uses none of them:
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_sources.py#L24
    parameters = parameters_of(original)
    lines = _for_none(original, parameters, form=True)
    guard = lookalike(original, lines, {"value": value}, function.__globals__, parameters)
    # Dynamo does not trace fused forms: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_dynamo/eval_frame.py#L2780
    if getattr(original, "_torchdynamo_disable", False):
        guard = sys.modules["torch._dynamo"].disable(guard)
    return guard
