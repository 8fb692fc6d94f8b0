"""Inspect the torch that is loaded: which classes and functions take weight_decay, and how a step can be guarded.

This changes nothing and imports nothing of torch. The version decides only what cannot be inspected.

Examples:
    >>> import torch, shim
    >>> layout = shim.layout.probe()
    >>> adam = next(callee for callee in layout.optimizers if callee.name == "Adam")
    >>> adam.paths[0], adam.weight_decay.position
    ('torch.optim.adam:Adam', 5)
"""

from __future__ import annotations

import inspect
import sys
from types import FunctionType, ModuleType
from typing import Any, Callable

from .record import Record
from .releases import TORCH, Release, release


class WeightDecay(Record):
    """Where a function takes weight_decay.

    ``position`` counts from 0, self included; None for a keyword-only parameter.
    """

    position: int | None
    default: Any


class Callee(Record):
    """A class or function of torch.optim that takes weight_decay: its paths, the defining one first."""

    name: str
    paths: tuple[str, ...]
    weight_decay: WeightDecay


class Layout(Record):
    """What the loaded torch has."""

    version: Release
    #: False for a torch newer than any that this release of shim was run on.
    known: bool
    #: The constructors refuse a negative weight_decay, and with it None.
    constructors_check: bool
    #: How a step is guarded: "hook" (torch's own global step pre-hook) or "function" (a replaced method).
    step_wrapper: str
    #: torch._dynamo replaces a hooked step by its ``__wrapped__`` at the first torch.compile (2.0 to 2.2):
    #: https://github.com/pytorch/pytorch/blob/v2.1.2/torch/_dynamo/eval_frame.py#L1380
    strips_wrapped_steps: bool
    #: Compiled code reads the closures of the functions that it was compiled with (2.0 to 2.3):
    #: https://github.com/pytorch/pytorch/blob/v2.0.1/torch/_dynamo/variables/functions.py#L207
    compiled_reads_closures: bool

    @property
    def optimizers(self) -> tuple[Callee, ...]:
        """The optimizer classes that take weight_decay. They are looked for when they are asked for: it takes time."""
        return _callees(_held_by(_modules()), _constructor)

    @property
    def functionals(self) -> tuple[Callee, ...]:
        """The functional forms that take weight_decay, looked for when they are asked for."""
        return _callees(_held_by(_modules()), _function)


#: The newest release that the guards were run on.
NEWEST_KNOWN = max(TORCH)


def probe() -> Layout:
    """Describe the torch that is loaded.

    Raises:
        RuntimeError: if torch.optim has not been imported in this process.
    """
    if "torch.optim" not in sys.modules:
        raise RuntimeError("torch.optim is not loaded in this process; import torch first")
    version = _version(sys.modules["torch"])
    # torch 2.0: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L289
    step_hooks = hasattr(sys.modules.get("torch.optim.optimizer"), "register_optimizer_step_pre_hook")
    strips = step_hooks and version.numbers < (2, 3)
    return Layout(
        version=version,
        known=version.numbers[:2] <= NEWEST_KNOWN,
        constructors_check=_checks_weight_decay(),
        step_wrapper="hook" if step_hooks and not strips else "function",
        strips_wrapped_steps=strips,
        compiled_reads_closures=step_hooks and version.numbers < (2, 4),
    )


def weight_decay_of(function: Any) -> WeightDecay | None:
    """Tell where ``function`` takes weight_decay; None if it has no such parameter, or no readable signature."""
    if type(function) is FunctionType and not function.__dict__:  # not wrapped, like most functions
        return _in_the_code_of(function)
    try:
        inner = _bound_later(inspect.unwrap(function, stop=_says_another_signature))
        if isinstance(inner, FunctionType) and not _says_another_signature(inner):
            return _in_the_code_of(inner)
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    for position, parameter in enumerate(parameters):
        if parameter.name == "weight_decay":
            default = None if parameter.default is parameter.empty else parameter.default
            return WeightDecay(None if parameter.kind is parameter.KEYWORD_ONLY else position, default)
    return None


def _says_another_signature(function: Any) -> bool:
    """Tell whether inspect.signature reads another attribute. functools.partialmethod sets one of the last two.

    https://github.com/python/cpython/blob/v3.12.1/Lib/functools.py#L390 and
    https://github.com/python/cpython/blob/v3.13.0/Lib/functools.py#L399
    """
    return bool([name for name in ("__signature__", "_partialmethod", "__partialmethod__") if hasattr(function, name)])


def _bound_later(function: Any) -> Any:
    """Return the original of a functools.partialmethod that binds only arguments after weight_decay.

    Return any other function unchanged, for inspect.signature.
    """
    partial: Any = getattr(function, "__partialmethod__", None) or getattr(function, "_partialmethod", None)
    original = getattr(partial, "func", None)
    if type(original) is not FunctionType or _says_another_signature(original) or partial.args:
        return function
    names = original.__code__.co_varnames
    behind = names[names.index("weight_decay") + 1 :] if "weight_decay" in names else ()
    return original if {*behind}.issuperset(partial.keywords) else function


def _in_the_code_of(function: FunctionType) -> WeightDecay | None:
    """Read a plain function, with the result of inspect.signature, which takes 50 times as long."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if "weight_decay" not in names:
        return None
    position = names.index("weight_decay")
    if position >= code.co_argcount:
        return WeightDecay(None, (function.__kwdefaults__ or {}).get("weight_decay"))
    defaults = function.__defaults__ or ()
    from_the_end = position - code.co_argcount
    return WeightDecay(position, defaults[from_the_end] if -from_the_end <= len(defaults) else None)


def _version(torch: ModuleType) -> Release:
    """Read the version of a torch that may be half imported, or a local build."""
    text = getattr(torch, "__version__", None) or getattr(sys.modules.get("torch.version"), "__version__", "")
    return release(text, "torch")


def _modules() -> dict[str, ModuleType]:
    """Return torch.optim and its modules."""
    named = [(name, module) for name, module in list(sys.modules.items()) if name.startswith("torch.optim")]
    return {name: module for name, module in named if _in_torch_optim(name) and module}


def _in_torch_optim(name: str) -> bool:
    return name == "torch.optim" or name.startswith("torch.optim.")


def _held_by(modules: dict[str, ModuleType]) -> list[tuple[Any, list[str]]]:
    """List the classes and functions that modules hold, each once, with its paths."""
    found: dict[int, tuple[Any, list[str]]] = {}
    for module_name, module in sorted(modules.items()):
        for name, value in list(vars(module).items()):
            if isinstance(value, (type, FunctionType)):
                found.setdefault(id(value), (value, []))[1].append(f"{module_name}:{name}")
    return list(found.values())


def _callees(held: list[tuple[Any, list[str]]], member: Callable[[Any], Any]) -> tuple[Callee, ...]:
    """List what takes weight_decay. ``member`` returns the function whose signature counts; None for other objects."""
    callees = []
    for value, paths in held:
        signed = member(value)
        place = None if signed is None else weight_decay_of(signed)
        home = "" if place is None else _defined_in(value)
        if place is not None and _in_torch_optim(home):  # programs put optimizers of their own into torch.optim
            at_home = [path for path in reversed(paths) if path.startswith(home + ":")]
            elsewhere = [path for path in paths if not path.startswith(home + ":")]
            callees.append(Callee(value.__name__, (*at_home, *elsewhere), place))
    return tuple(sorted(callees))


def _defined_in(value: Any) -> str:
    """Return the module that defines ``value``, also where torch has changed its ``__module__``.

    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/__init__.py#L31
    """
    function = inspect.unwrap(vars(value)["__init__"] if inspect.isclass(value) else value)
    return str(getattr(function, "__globals__", {}).get("__name__", value.__module__))


def _constructor(value: Any) -> Any:
    """Return the constructor of an optimizer class that has one of its own."""
    if not isinstance(value, type) or "__init__" not in vars(value):
        return None
    return value.__init__ if issubclass(value, sys.modules["torch.optim"].Optimizer) else None  # type: ignore[misc]


def _function(value: Any) -> Any:
    return value if isinstance(value, FunctionType) else None


def _checks_weight_decay() -> bool:
    """Tell whether Adam refuses a bad weight_decay: the message is among the constants of its constructor."""
    code = inspect.unwrap(sys.modules["torch.optim"].Adam.__init__).__code__
    return "weight_decay" in " ".join([constant for constant in code.co_consts if isinstance(constant, str)])
