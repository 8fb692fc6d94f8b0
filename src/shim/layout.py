"""Look at the torch that is loaded, and say what is where. Changes nothing and imports nothing of torch.

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


class Era(Record):
    """A run of releases between which nothing that matters here changed."""

    number: int
    releases: str
    news: str
    fits: Callable[[_Facts], bool]


class WeightDecay(Record):
    """Where a function takes weight_decay.

    ``position`` counts from 0, self included; None for a keyword-only parameter.
    """

    position: int | None
    kind: str
    default: Any


class Callee(Record):
    """A class or function of torch.optim that takes weight_decay: its paths, the defining one first."""

    name: str
    paths: tuple[str, ...]
    weight_decay: WeightDecay


class Layout(Record):
    """What the loaded torch looks like."""

    version: Release
    era: Era
    #: False for a torch newer than any that this release of shim was run on.
    known: bool
    optimizers: tuple[Callee, ...]
    functionals: tuple[Callee, ...]
    #: The constructors refuse a negative weight_decay, and with it None.
    constructors_check: bool
    #: How a step is guarded: "hook" (torch's own global step pre-hook) or "function" (a replaced method).
    step_wrapper: str
    #: torch._dynamo replaces a hooked step by its ``__wrapped__`` at the first torch.compile (2.0 to 2.2).
    strips_wrapped_steps: bool
    #: What torch._dynamo has compiled looks into the closures of functions, to see whether they are as they were (2.0
    #: to 2.3).
    compiled_reads_closures: bool


class _Facts(Record):
    version: Release
    modules: dict[str, ModuleType]

    def has(self, module: str, attribute: str) -> bool:
        return hasattr(self.modules.get("torch.optim" + module), attribute)


def _since(*first: int) -> Callable[[_Facts], bool]:
    """For what cannot be seen from outside: what an old release does with a function later on."""
    return lambda facts: facts.version.numbers >= first


_STEP_HOOK = (".optimizer", "register_optimizer_step_pre_hook")
_DECORATOR = (".optimizer", "_disable_dynamo_if_unsupported")

#: Newest first; the first one that fits is the era. Told by what is found wherever that is possible.
ERAS = (
    Era(15, "2.15", "a public torch.optim.functional", _since(2, 15)),
    Era(14, "2.14", "distributed functional optimizers are no longer TorchScript", _since(2, 14)),
    Era(13, "2.7-2.13", "AdamW subclasses Adam", lambda f: _adamw_is_an_adam(f.modules)),
    Era(12, "2.4-2.6", "functionals decorated against dynamo", lambda f: f.has(*_DECORATOR)),
    Era(11, "2.3", "hooked steps are not stripped; __prepare_scriptable__ is honoured", _since(2, 3)),
    Era(10, "2.1-2.2", "dynamo disables _fused_*", _since(2, 1)),
    Era(9, "2.0", "step hooks; dynamo strips hooked steps", lambda f: f.has(*_STEP_HOOK)),
    Era(8, "1.13", "_fused_adam", lambda f: f.has(".adam", "_fused_adam")),
    Era(7, "1.12", "torch.optim.adam.adam and _multi_tensor_adam", lambda f: f.has(".adam", "_single_tensor_adam")),
    Era(6, "1.9-1.11", "functional weight_decay is keyword-only", lambda f: _functional_takes_keyword(f)),
    Era(5, "1.8", "torch.optim._functional; profile hook on step", lambda f: f.has("._functional", "adam")),
    Era(4, "1.7", "torch.optim.functional.adam; torch.optim._multi_tensor", lambda f: f.has(".functional", "adam")),
    Era(3, "1.5-1.6", "Adam and AdamW check weight_decay", lambda f: _checks_weight_decay(f.modules)),
    Era(2, "1.2-1.4", "AdamW", lambda f: f.has("", "AdamW")),
    Era(1, "1.0-1.1", "no AdamW, no functional forms", lambda f: True),
)  # fmt: skip

#: The newest release that the guards were run on.
NEWEST_KNOWN = max(TORCH)


def probe() -> Layout:
    """Describe the torch that is loaded.

    Raises:
        RuntimeError: if torch.optim has not been imported in this process.
    """
    if "torch.optim" not in sys.modules:
        raise RuntimeError("torch.optim is not loaded in this process; import torch first")
    named = [(name, module) for name, module in list(sys.modules.items()) if name.startswith("torch.optim")]
    modules = {name: module for name, module in named if _in_torch_optim(name) and module}
    version = _version(sys.modules["torch"])
    facts = _Facts(version, modules)
    held = _held_by(modules)
    step_hooks = facts.has(*_STEP_HOOK)
    strips = step_hooks and not _since(2, 3)(facts)
    return Layout(
        version=version,
        era=next(era for era in ERAS if era.fits(facts)),
        known=version.numbers[:2] <= NEWEST_KNOWN,
        optimizers=_callees(held, _constructor),
        functionals=_callees(held, _function),
        constructors_check=_checks_weight_decay(modules),
        step_wrapper="hook" if step_hooks and not strips else "function",
        strips_wrapped_steps=strips,
        compiled_reads_closures=step_hooks and not _since(2, 4)(facts),
    )


def weight_decay_of(function: Any) -> WeightDecay | None:
    """Tell where ``function`` takes weight_decay; None if it has no such parameter, or no readable signature."""
    if type(function) is FunctionType and not function.__dict__:  # no wrapper, as most
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
            return _place(position, parameter.kind is parameter.KEYWORD_ONLY, default)
    return None


def _says_another_signature(function: Any) -> bool:
    """Tell what inspect.signature takes from elsewhere; functools.partialmethod leaves the latter (3.13: the last)."""
    return any(hasattr(function, name) for name in ("__signature__", "_partialmethod", "__partialmethod__"))


def _bound_later(function: Any) -> Any:
    """Return the function of which functools.partialmethod has bound nothing but arguments behind weight_decay.

    Others are left to inspect.signature.
    """
    partial: Any = getattr(function, "__partialmethod__", None) or getattr(function, "_partialmethod", None)
    original = getattr(partial, "func", None)
    if type(original) is not FunctionType or _says_another_signature(original) or partial.args:
        return function
    names = original.__code__.co_varnames
    behind = names[names.index("weight_decay") + 1 :] if "weight_decay" in names else ()
    return original if {*behind}.issuperset(partial.keywords) else function


def _in_the_code_of(function: FunctionType) -> WeightDecay | None:
    """Read a plain function, as inspect.signature would: that takes 50 times as long, and was half of activating."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if "weight_decay" not in names:
        return None
    position = names.index("weight_decay")
    if position >= code.co_argcount:
        return _place(position, True, (function.__kwdefaults__ or {}).get("weight_decay"))
    defaults = function.__defaults__ or ()
    from_the_end = position - code.co_argcount
    return _place(position, False, defaults[from_the_end] if -from_the_end <= len(defaults) else None)


def _place(position: int, keyword_only: bool, default: Any) -> WeightDecay:
    if keyword_only:
        return WeightDecay(None, "keyword-only", default)
    return WeightDecay(position, "positional or keyword", default)


def _version(torch: ModuleType) -> Release:
    """Read the version of a torch that may be half imported, and may be someone's own build."""
    return release(getattr(torch, "__version__", None) or getattr(sys.modules.get("torch.version"), "__version__", ""))


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
    """List what takes weight_decay, among that of which ``member`` returns a function to look at."""
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
    """Return the module whose code ``value`` is, also where torch has renamed its ``__module__``."""
    function = inspect.unwrap(vars(value)["__init__"] if inspect.isclass(value) else value)
    return str(getattr(function, "__globals__", {}).get("__name__", value.__module__))


def _constructor(value: Any) -> Any:
    """Return the constructor of an optimizer class that has one of its own."""
    if not isinstance(value, type) or "__init__" not in vars(value):
        return None
    return value.__init__ if issubclass(value, sys.modules["torch.optim"].Optimizer) else None  # type: ignore[misc]


def _function(value: Any) -> Any:
    return value if isinstance(value, FunctionType) else None


def _functional_takes_keyword(facts: _Facts) -> bool:
    adam = getattr(facts.modules.get("torch.optim._functional"), "adam", None)
    place = weight_decay_of(adam) if adam is not None else None
    return place is not None and place.position is None


def _adamw_is_an_adam(modules: dict[str, ModuleType]) -> bool:
    optim = modules["torch.optim"]
    return hasattr(optim, "AdamW") and issubclass(optim.AdamW, optim.Adam)


def _checks_weight_decay(modules: dict[str, ModuleType]) -> bool:
    """Tell whether Adam refuses a bad weight_decay: its message stands among its constants."""
    code = inspect.unwrap(modules["torch.optim"].Adam.__init__).__code__
    return any(isinstance(constant, str) and "weight_decay" in constant for constant in code.co_consts)
