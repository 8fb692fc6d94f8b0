"""The guards: what turns ``weight_decay=None`` into a number, one factory per kind of target.

No wrapper is right everywhere: TorchScript compiles the functionals, torch.compile traces them, torch and LR
schedulers wrap ``step`` themselves. What goes wrong with a wrong one is in ``tests/hazards``, hazard by hazard.

A guard looks for None first and asks everything else afterwards, so that a healthy program pays for one look.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
import warnings
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any, Callable, Iterable, Iterator, List

from . import switches
from .bootstrap import switched_on
from .layout import Layout, weight_decay_of
from .lookalike import Parameters, lookalike, parameters_of

#: What undoes a patch, in order. Each function is appended before what it undoes is done: a Ctrl-C, or a MemoryError,
#: may come between any two lines.
Undos = List[Callable[[], None]]

#: The key that a param group of ours is looked up with, and the parameter's name everywhere in torch.
WEIGHT_DECAY = "weight_decay"


class NoneWeightDecayWarning(UserWarning):
    """An optimizer was given ``weight_decay=None``, and shim went on with ``0.0``, or with what SHIM_VALUE says.

    >>> import warnings
    >>> import torch, shim
    >>> with shim.activated(), warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", shim.NoneWeightDecayWarning)
    ...     torch.optim.AdamW([torch.ones(1)], weight_decay=None).defaults["weight_decay"]
    0.0
    """


class Switch:
    """Whether the guards of one patch act. A guard that torch has wrapped stays reachable after it was undone."""

    def __init__(self) -> None:
        self.on = True


# --- what is guarded: an optimizer whose `step` is the very function of a class that a patch names ------------------

#: The innermost functions of the guarded classes' ``step``, and the classes; one object for each guard of them.
_guarded_steps: dict[Any, set[object]] = {}

#: The classes and the names of functional forms that are left out, although they may share a step, a constructor or a
#: form with one that is guarded, as AdamW does with Adam since 2.7.
left_out: dict[Any, None] = {}


def innermost(function: Any) -> Any:
    """Look through the wrappers that torch and we put around a function, but not through a user's own."""
    while True:
        inner = getattr(function, "_shim_guards", None) or getattr(function, "__wrapped__", None)
        if inner is None or not _of_torch_or_ours(function):
            return function
        function = inner


def _of_torch_or_ours(function: Any) -> bool:
    module = _name_of(getattr(function, "__globals__", {}))
    return module.partition(".")[0] in ("torch", "contextlib", __name__.partition(".")[0])


def _name_of(module_globals: dict[str, Any], default: str = "") -> str:
    """Return the name of a module; code that a program executes may have any object in its place."""
    name = module_globals.get("__name__")
    return name if isinstance(name, str) else default


def is_guarded(optimizer_class: type) -> bool:
    """Tell whether instances are ours to mend: not if a subclass brings a ``step`` of its own."""
    return innermost(getattr(optimizer_class, "step", None)) in _guarded_steps and not _is_left_out(optimizer_class)


def _is_left_out(cls: type) -> bool:
    """Tell whether the nearest class that a patch names, the class itself or a base, is left out."""
    named = (base in left_out for base in cls.__mro__ if base in left_out or base in _guarded_steps)
    return bool(left_out) and next(named, False)


# --- constructor ----------------------------------------------------------------------------------------------------


def constructor(cls: type, switch: Switch, layout: Layout, undos: Undos) -> None:
    """Guard the constructor of an optimizer class.

    Args:
        cls: the class; one that inherits its constructor gets one of its own that hands on.
        switch: acts while on.
        layout: of the torch that is loaded.
        undos: gets a function that gives the class its constructor back.
    """
    original: Any = cls.__init__  # type: ignore[misc]
    # A constructor that takes None, as others' and torch's up to 1.4 do, may belong to a subclass in which None means
    # something. One that refuses it may mend it for all.
    refuses = layout.constructors_check and _of_torch_or_ours(original)

    def value(optimizer: Any) -> float | None:
        if switch.on and (is_guarded(type(optimizer)) or (refuses and not _is_left_out(type(optimizer)))):
            return _value_for(type(optimizer), "its arguments")
        return None

    taken = parameters_of(original)
    guard = lookalike(original, _for_none(original, taken), {"value": value}, taken=taken)
    replace(cls, "__init__", guard, undos)


def _for_none(original: Any, taken: Parameters, form: bool = False) -> str:
    """Return the lines of a guard that put ``value(first)`` where weight_decay is None."""
    if WEIGHT_DECAY in taken.names:
        # Who has None for a default takes it, and cannot tell it from what was left out.
        if taken.defaults.get(WEIGHT_DECAY, 0.0) is None:
            return ""
        # Since 2.7 Adam's forms are AdamW's, too.
        which = ", decoupled_weight_decay" if form and "decoupled_weight_decay" in taken.names else ""
        return f"if weight_decay is None:\n    weight_decay = {{value}}({{first}}{which})\n"
    lines = ""
    if taken.kwargs:
        lines += 'if {kwargs}.get("weight_decay", 0.0) is None:\n    {kwargs}["weight_decay"] = {value}({first})\n'
    place = weight_decay_of(original) if taken.args else None
    if place is not None and place.position is not None:
        index = place.position - taken.positional
        lines += f"if len({{args}}) > {index} and {{args}}[{index}] is None:\n"
        lines += f"    {{args}} = (*{{args}}[:{index}], {{value}}({{first}}), *{{args}}[{index + 1}:])\n"
    return lines


# --- step -----------------------------------------------------------------------------------------------------------


def step(cls: type, switch: Switch, layout: Layout, undos: Undos) -> None:
    """Guard the ``step`` of an optimizer class: a None in a param group is mended before it is used.

    Subclasses that bring no step of their own are guarded with it, those that exist already too.
    """
    function = innermost(cls.step)  # type: ignore[attr-defined]
    guard = object()
    for held in (function, cls):
        undos.append(functools.partial(_forget, held, guard))
        _guarded_steps.setdefault(held, set()).add(guard)
    if layout.step_wrapper == "hook":
        _hook_steps(undos)
    else:
        inherits_a_guard = "step" not in vars(cls) and hasattr(cls.step, "_shim_guards")  # type: ignore[attr-defined]
        for owner in [] if inherits_a_guard else _owners_of_step(cls, function):
            _replace_step(owner, switch, layout, undos)


def _forget(held: Any, guard: object) -> None:
    _guarded_steps.get(held, set()).discard(guard)
    if not _guarded_steps.get(held):
        _guarded_steps.pop(held, None)


_torch: Any = None

#: Where the optimizers are whose functional forms have guards of their own.
_WITH_FUNCTIONALS = ("torch.optim.", "shim.adopt.", "_torch_shim.adopt.")


def before_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    """Mend the groups, as torch's step pre-hook, and traceable."""
    if not _torch.compiler.is_dynamo_compiling():
        try:  # the quickest look that there is: it is part of every step
            for group in optimizer.__dict__["param_groups"]:
                if "weight_decay" in group and group["weight_decay"] is None:
                    break
            else:
                return
        except Exception:  # no groups, or not such as torch has
            pass
    # Dynamo watches what it sees us look at, and compiles anew when a learning rate changes. So there is no look where
    # the functional form has a guard.
    elif _has_guarded_forms(type(optimizer)):
        return
    # Not as an attribute, which dynamo would watch in most releases.
    for group in optimizer.__dict__.get("param_groups") or ():
        if isinstance(group, dict) and group.get("weight_decay", 0.0) is None and is_guarded(type(optimizer)):
            _mend(optimizer, group)


def _has_guarded_forms(cls: type) -> bool:
    # AdamW computes by the forms of Adam, which may be left out.
    return cls.__module__.startswith(_WITH_FUNCTIONALS) and not left_out


def _mend(optimizer: Any, group: dict[str, Any]) -> None:
    number = next((n for n, other in enumerate(optimizer.param_groups) if other is group), 0)
    group[WEIGHT_DECAY] = _value_for(type(optimizer), "parameter group %d" % number)


#: torch's handle of the hook, as long as a guarded class uses it.
_hook: dict[str, Any] = {"users": set(), "handle": None}


def _hook_steps(undos: Undos) -> None:
    """Register torch's global step pre-hook once, for all guarded classes together."""
    global _torch
    user = object()

    def unhook() -> None:
        _hook["users"].discard(user)
        if not _hook["users"] and _hook["handle"] is not None:
            _hook["handle"].remove()
            _hook["handle"] = None

    undos.append(unhook)
    _hook["users"].add(user)
    if _hook["handle"] is None:
        _torch = sys.modules["torch"]  # of which most is still to be imported
        _hook["handle"] = sys.modules["torch.optim.optimizer"].register_optimizer_step_pre_hook(before_step)


def _owners_of_step(cls: type, function: Any) -> list[type]:
    """List the classes that hold this step: ``cls``, and the live subclasses on which torch has put a wrapped copy."""
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
    if {group}.get("weight_decay", 0.0) is None and {switch}.on:
        with {mended}({first}):
            return {call}
"""


def _replace_step(cls: type, switch: Switch, layout: Layout, undos: Undos) -> None:
    original = cls.step  # type: ignore[attr-defined]
    # Below the hook that torch has put around it: dynamo takes hooked steps out of their hook (2.0 to 2.2).
    put_hook: Any = getattr(sys.modules["torch.optim.optimizer"].Optimizer, "profile_hook_step", None)
    under_hook = layout.strips_wrapped_steps and original.__code__ in put_hook.__code__.co_consts
    inner = original.__wrapped__ if under_hook else original

    step: Any = lookalike(inner, _STEP, {"switch": switch, "mended": _mended})
    step._shim_guards = inner
    # One level less to be seen: a full-graph compile of a step asks for `step.__wrapped__.__wrapped__`.
    step.__wrapped__ = getattr(inner, "__wrapped__", inner)
    if under_hook:
        step = put_hook(step)
        step.hooked = True
    replace(cls, "step", step, undos)


@contextmanager
def _mended(optimizer: Any) -> Iterator[None]:
    """Mend the groups for a step. What a subclass that called ``super().step()`` has there may mean something to it."""
    ours, groups = is_guarded(type(optimizer)), []
    if not _is_left_out(type(optimizer)):
        groups = [group for group in optimizer.param_groups if group.get(WEIGHT_DECAY, 0.0) is None]
    if not ours:
        groups = [group for group in groups if any(parameter.grad is not None for parameter in group["params"])]
    for group in groups:
        _mend(optimizer, group)
    try:
        yield
    finally:
        for group in groups if not ours else ():
            group[WEIGHT_DECAY] = None


# --- functional -----------------------------------------------------------------------------------------------------


def hands_on(function: Any) -> bool:
    """Tell whether a functional form only chooses among the _single_tensor_, _multi_tensor_ and _fused_ ones.

    Those have guards of their own, which also reach whoever bound this one early; and a guard less in between is a
    graph break less where dynamo disables what is chosen (2.0 to 2.2).
    """
    original = inspect.unwrap(function)
    return "_single_tensor_" + original.__name__ in original.__globals__


def functional(original: Any, switch: Switch, layout: Layout) -> Any:
    """Return the guard of a functional form (``adam``, ``_single_tensor_adam``, …), to be put wherever it is held."""
    function = inspect.unwrap(original)
    name = original.__name__
    for form in ("_single_tensor_", "_multi_tensor_", "_fused_"):
        name = name[len(form) :] if name.startswith(form) else name
    _forms.setdefault(name, function.__globals__)

    def value(params: Any, decoupled: bool = False) -> float | None:
        """Return what is to be used where a None was given: without parameters nothing is, so it stays None."""
        form = name + "w" if decoupled else name
        return _value_for(form, "its arguments") if switch.on and params and form not in left_out else None

    # TorchScript compiles the source that it finds through __wrapped__, with the globals of the function that it was
    # given. So ours has the globals of the original, and uses none itself.
    taken = parameters_of(original)
    guard = lookalike(original, _for_none(original, taken, form=True), {"value": value}, function.__globals__, taken)
    if getattr(original, "_torchdynamo_disable", False):
        guard = sys.modules["torch._dynamo"].disable(guard)  # as it did with the original
    return guard


# --- saying so ------------------------------------------------------------------------------------------------------


#: How often a guard found a None: (optimizer, where it was found, the user's line) -> times.
fired: dict[tuple[str, str, str], int] = {}

#: Where it was said: the keys of ``fired``.
_said: set[tuple[str, str, str]] = set()


def _value_for(owner: Any, where: str) -> float:
    """Return what takes the place of the None that was found, having said so at the user's line.

    Args:
        owner: the class of the optimizer, or the name of a functional form.
        where: the None was found.

    Raises:
        TypeError: in strict mode.
        Warning: where a filter of the program makes an error of it.
    """
    name, default = _name_and_default(owner)
    value, chosen = _chosen_value(default)
    own = "" if default is None or chosen == "default" else f" ({name}'s own default is {default})"
    with_value = f"{value}, {name}'s own default" if chosen == "default" else f"{value}"
    if switched_on("SHIM_STRICT"):
        raise TypeError(
            f"{name} got weight_decay=None in {where}. Give it a number, 0.0 for no weight decay{own}; "
            f"or unset SHIM_STRICT, and shim goes on with {with_value}."
        )
    level, frame = _users_frame()
    key = (name, where, f"{frame.f_code.co_filename}:{frame.f_lineno}")
    fired[key] = fired.get(key, 0) + 1
    if _is_rank_0():
        _say(
            f"{name} got weight_decay=None in {where}; shim goes on with {with_value}{own}. "
            "Put the number you mean where the None comes from, and this warning goes away.",
            key,
            level,
            frame,
        )
    return value


# torch.compile calls it while it traces, so that it says so for each compilation and breaks no graph: the attribute is
# what torch.compiler.assume_constant_result sets, having imported dynamo. An error is to be raised by the step itself.
setattr(_value_for, "_torchdynamo_disable" if switched_on("SHIM_STRICT") else "_dynamo_marked_constant", True)


#: The functional forms that are guarded, with the globals in which their optimizers are.
_forms: dict[str, dict[str, Any]] = {}


def _name_and_default(owner: Any) -> tuple[str, float | None]:
    """Return the name of an optimizer, and the weight_decay that it takes where it is given none."""
    name = owner if isinstance(owner, str) else owner.__name__
    if isinstance(owner, str):
        optim = getattr(sys.modules.get("torch.optim"), "__dict__", {})
        values = [*optim.values(), *_forms.get(owner, {}).values()]
        owner = next((each for each in values if isinstance(each, type) and each.__name__.lower() == name), None)
    for base in getattr(owner, "__mro__", ()):  # the first that does not hand it on among **kwargs
        place = weight_decay_of(vars(base).get("__init__"))
        if place is not None:
            number = isinstance(place.default, (int, float)) and 0.0 <= place.default < float("inf")
            return name, place.default if number else None
    return name, None


def _chosen_value(default: float | None) -> tuple[float, str]:
    """Return what SHIM_VALUE says that a None becomes, and ``"default"`` if that is the optimizer's own default."""
    text = switches.text("SHIM_VALUE")
    if text.lower() == "default":
        return (0.0, "") if default is None else (default, "default")
    try:
        value = float(text or 0.0)
        # What every optimizer takes, written as a config would: no 1_0, and no digits of another script.
        if 0.0 <= value < float("inf") and text.isascii() and "_" not in text:
            return value, ""
    except ValueError:
        pass
    if text not in _refused:
        _refused.add(text)
        logging.getLogger("shim").warning(
            "SHIM_VALUE is %r, which is neither 'default' nor a number from 0 on; a None becomes 0.0", text
        )
    return 0.0, ""


#: What SHIM_VALUE held and could not be used.
_refused: set[str] = set()


def _say(message: str, key: tuple[str, str, str], level: int, frame: FrameType) -> None:
    """Warn at the user's line, once for each place, as far as the program's filters do not say otherwise.

    Python forgets where it has warned whenever somebody touches the filters, as torch does while it is imported.
    """
    try:
        action = _action(message, frame)
        if action != "ignore" and (key not in _said or action in ("error", "always", "all")):
            _said.add(key)
            warnings.warn(message, NoneWeightDecayWarning, stacklevel=level + 1)
    except Warning:
        raise
    except Exception:  # a stream that is closed, a registry that is no dict: it cannot be said here
        pass


def _action(message: str, frame: FrameType) -> str:
    """Return what the first filter that fits says, as ``warnings.warn`` finds it."""
    looked_at = (message, _name_of(frame.f_globals, "<string>"))
    filters = (
        warnings._get_filters() if hasattr(warnings, "_get_filters") else warnings.filters
    )  # 3.14: of this context
    for action, text, category, name, line in filters:
        # Python's own filters hold strings, those that are added hold patterns.
        fits = (
            each is None or (each == its if isinstance(each, str) else each.match(its))
            for each, its in zip((text, name), looked_at)
        )
        if issubclass(NoneWeightDecayWarning, category) and line in (0, frame.f_lineno) and all(fits):
            return action
    return warnings.defaultaction  # type: ignore[attr-defined, no-any-return]


#: What launchers call the rank of a process. The first that holds a number is believed.
RANKS = (
    "RANK",  # torchrun, and what torch itself reads
    "OMPI_COMM_WORLD_RANK",  # Open MPI
    "PMIX_RANK",
    "PMI_RANK",  # MPICH, Intel MPI, Cray
    "MV2_COMM_WORLD_RANK",  # MVAPICH
    "MPI_RANKID",
    "PALS_RANKID",
    "FLUX_TASK_RANK",
    "JSM_NAMESPACE_RANK",  # jsrun
    "HOROVOD_RANK",
    "SLURM_PROCID",  # srun
    "ALPS_APP_PE",  # aprun
    "LOCAL_RANK",  # Lightning's children, which know the others only later
)


def _is_rank_0() -> bool:
    try:
        distributed = sys.modules["torch.distributed"]
        if distributed.is_available() and distributed.is_initialized():
            return bool(distributed.get_rank() == 0)
    except Exception:  # it is half imported, or somebody's stand-in
        pass
    numbers = (os.environ.get(name, "").strip() for name in RANKS)
    rank = next((number for number in numbers if number.isascii() and number.isdigit()), "0")
    return not rank.strip("0")


def _users_frame() -> tuple[int, FrameType]:
    """Return the nearest frame that is not torch's or ours, with its stacklevel for the caller."""
    inside = ("torch", "contextlib", __name__.partition(".")[0])
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and _name_of(frame.f_globals).partition(".")[0] in inside:
        frame = frame.f_back
        level += 1
    return level, frame


# --- putting in place, and back -------------------------------------------------------------------------------------


def replace(owner: Any, name: str, new: Any, undos: Undos) -> None:
    """Set an attribute. ``undos`` gets a function that puts the old object back, if the new one is still there."""
    absent = name not in vars(owner)
    old = vars(owner).get(name)

    def undo() -> None:
        if vars(owner).get(name) is not new:
            return  # somebody wrapped us meanwhile: the guard stays below theirs, switched off
        if absent:
            delattr(owner, name)
        else:
            setattr(owner, name, old)

    undos.append(undo)
    setattr(owner, name, new)


#: The dictionary of a module, which one of importlib.util.LazyLoader gives without being imported by that.
_names_in = vars(ModuleType)["__dict__"].__get__


def swap_everywhere(pairs: Iterable[tuple[Any, Any]], made_by: str = "") -> None:
    """Put the new wherever a module holds the old, by identity: aliases have other names, and users have theirs.

    Args:
        pairs: the old and the new.
        made_by: the module that made the old ones and has run to its end just now. Nobody holds them yet but it and
            those that were imported since it began.
    """
    new_for = {id(old): new for old, new in pairs if old is not new}
    if not new_for:
        return
    for old, new in new_for.items():
        while id(new) in new_for:  # two patches of one function: the second one took the first one's for the original
            new = new_for[id(new)]
        new_for[old] = new
    modules = list(sys.modules)
    for each in modules[modules.index(made_by) if made_by in modules else 0 :]:
        module = sys.modules.get(each)
        if isinstance(module, ModuleType) and not new_for.keys().isdisjoint(map(id, list(_names_in(module).values()))):
            held = [(name, id(value)) for name, value in list(_names_in(module).items()) if id(value) in new_for]
            for name, old in held:
                setattr(module, name, new_for[old])
