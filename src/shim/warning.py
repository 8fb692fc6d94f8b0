"""What a None becomes, and the warning about it at the user's line."""

from __future__ import annotations

import logging
import sys
import warnings
from types import FrameType
from typing import Any

from . import switches
from .layout import weight_decay_of


class NoneWeightDecayWarning(UserWarning):
    """An optimizer got ``weight_decay=None``, and shim replaced it by ``0.0``, or by the value of SHIM_VALUE.

    Examples:
        >>> import warnings
        >>> import torch, shim
        >>> with shim.activated(), warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", shim.NoneWeightDecayWarning)
        ...     torch.optim.AdamW([torch.ones(1)], weight_decay=None).defaults["weight_decay"]
        0.0
    """


class Nones:
    """The Nones that were found in this process."""

    def __init__(self) -> None:
        #: How often: (optimizer, the argument or group, the user's line) -> times.
        self.times: dict[tuple[str, str, str], int] = {}
        #: The keys of ``times`` for which a warning was shown.
        self.warned: set[tuple[str, str, str]] = set()
        #: The values of SHIM_VALUE that could not be used. Each is reported once.
        self.refused: set[str] = set()
        #: Functional form -> the globals of its module, which hold the optimizer class.
        self.forms: dict[str, dict[str, Any]] = {}


NONES = Nones()


def _value_for(owner: Any, where: str) -> float:
    """Return the number that replaces a None, after a warning at the user's line.

    Args:
        owner: the class of the optimizer, or the name of a functional form.
        where: which argument, or which group, had the None.

    Raises:
        TypeError: in strict mode.
        Warning: if a filter of the program turns the warning into an error.
    """
    name, default = _name_and_default(owner)
    value, is_default = _chosen_value(default)
    own = "" if default is None or is_default else f" ({name}'s own default is {default})"
    with_value = f"{value}, {name}'s own default" if is_default else f"{value}"
    if switches.switched_on("SHIM_STRICT"):
        raise TypeError(
            f"{name} got weight_decay=None in {where}. Give it a number, 0.0 for no weight decay{own}; "
            f"or unset SHIM_STRICT, and shim goes on with {with_value}."
        )
    level, frame = _users_frame()
    key = (name, where, f"{frame.f_code.co_filename}:{frame.f_lineno}")
    NONES.times[key] = NONES.times.get(key, 0) + 1
    _warn(
        f"{name} got weight_decay=None in {where}; shim goes on with {with_value}{own}. "
        "Put the number you mean where the None comes from, and this warning goes away.",
        key,
        level,
        frame,
    )
    return value


# torch.compile calls this function while it traces, so there is a warning for each compilation, and no graph break.
# torch.compiler.assume_constant_result sets the same attribute, but imports torch._dynamo:
# https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_dynamo/decorators.py#L188
# In strict mode the step itself must raise the error, so dynamo must not call the function.
setattr(_value_for, "_torchdynamo_disable" if switches.switched_on("SHIM_STRICT") else "_dynamo_marked_constant", True)

# Dynamo of torch 2.0 stores the result in the globals of the frame that it compiles, under the name in the `def`:
# https://github.com/pytorch/pytorch/blob/v2.0.1/torch/_dynamo/variables/functions.py#L331
# So guards.py calls the function by another name, value_for. (Dynamo turns the first one into "sub_value_for".)
value_for = _value_for


def _name_and_default(owner: Any) -> tuple[str, float | None]:
    """Return the name of an optimizer, and its default for weight_decay; None if it has none that is a number."""
    name = owner if isinstance(owner, str) else owner.__name__
    if isinstance(owner, str):
        optim = getattr(sys.modules.get("torch.optim"), "__dict__", {})
        values = [*optim.values(), *NONES.forms.get(owner, {}).values()]
        owner = next((each for each in values if isinstance(each, type) and each.__name__.lower() == name), None)
    for base in getattr(owner, "__mro__", ()):  # the first class whose constructor has a default for weight_decay
        place = weight_decay_of(vars(base).get("__init__"))
        # A subclass whose own default is None passes the None on to the next class.
        if place is not None and place.default is not None:
            number = isinstance(place.default, (int, float)) and 0.0 <= place.default < float("inf")
            return name, place.default if number else None
    return name, None


def _chosen_value(default: float | None) -> tuple[float, bool]:
    """Return the number that replaces a None, as SHIM_VALUE says, and whether it is the optimizer's own default."""
    text = switches.text("SHIM_VALUE")
    if text.lower() == "default":
        return (0.0, False) if default is None else (default, True)
    value = switches.finite(text or "0")
    if value is not None and value >= 0.0:  # only what every optimizer accepts
        return abs(value), False  # not -0.0
    if text not in NONES.refused:
        NONES.refused.add(text)
        logging.getLogger("shim").warning(
            "SHIM_VALUE is %r, which is neither 'default' nor a number from 0 on; a None becomes 0.0", text
        )
    return 0.0, False


def _warn(message: str, key: tuple[str, str, str], level: int, frame: FrameType) -> None:
    """Warn at the user's line on rank 0, once for each place, unless the program's filters ask for more or less.

    Python's own record of shown warnings is cleared when the filters change, and torch changes them while it is
    imported: https://github.com/python/cpython/blob/v3.11.7/Lib/warnings.py#L337 and
    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/utils/_pytree.py#L1394
    """
    try:
        from .rank import is_rank_0  # few processes find a None

        action = _action(message, frame) if is_rank_0() else "ignore"
        if action != "ignore" and (key not in NONES.warned or action in ("error", "always", "all")):
            NONES.warned.add(key)
            warnings.warn(message, NoneWeightDecayWarning, stacklevel=level + 1)
    except Warning:
        raise
    except Exception:  # for example, the stream is closed, or shim was removed while the process runs
        pass


def _action(message: str, frame: FrameType) -> str:
    """Return the action of the first filter that matches, as ``warnings.warn`` finds it.

    https://github.com/python/cpython/blob/v3.11.7/Lib/warnings.py#L351 and, since 3.14, the filters of
    https://github.com/python/cpython/blob/007650ba0eff0fda3c2e86633b7d2b5608f176ae/Lib/_py_warnings.py#L111
    """
    actual = (message, module_name(frame.f_globals, "<string>"))
    filters = warnings._get_filters() if hasattr(warnings, "_get_filters") else warnings.filters  # 3.14: per context
    for action, text, category, name, line in filters:
        # Python's own filters hold strings. Filters that programs add hold compiled patterns.
        matches = (
            expected is None or (expected == value if isinstance(expected, str) else expected.match(value))
            for expected, value in zip((text, name), actual)
        )
        if issubclass(NoneWeightDecayWarning, category) and line in (0, frame.f_lineno) and all(matches):
            return action
    return warnings.defaultaction  # type: ignore[attr-defined, no-any-return]


def _users_frame() -> tuple[int, FrameType]:
    """Return the nearest frame outside torch and shim, and its stacklevel for the caller."""
    inside = ("torch", "contextlib", __name__.partition(".")[0])
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        _is_not_counted(frame) or module_name(frame.f_globals).partition(".")[0] in inside
    ):
        frame = frame.f_back
        level += not _is_not_counted(frame)
    return level, frame


def _is_not_counted(frame: FrameType) -> bool:
    """Tell whether ``warnings.warn`` does not count a frame for its stacklevel: a guard's (lookalike._file_of)."""
    file = frame.f_code.co_filename
    return "importlib" in file and "_bootstrap" in file


def module_name(module_globals: dict[str, Any], default: str = "") -> str:
    """Return the name of a module by its globals. Code that a program executes may have any object there."""
    name = module_globals.get("__name__")
    return name if isinstance(name, str) else default
