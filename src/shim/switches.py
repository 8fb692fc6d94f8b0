"""The environment variables that control shim, and how their values are read.

``import_hook`` and ``site/sitecustomize.py`` run before this module can be imported. So they read SHIM_DISABLE,
SHIM_FOR, SHIM_PATCHES and SHIM_LOG themselves.
"""

from __future__ import annotations

from typing import Iterable

from .import_hook import switched_on, text

__all__ = ["SWITCHES", "finite", "in_a_shell", "names", "switched_off", "switched_on", "text"]

#: What can be set, and what it does.
SWITCHES = {
    "SHIM_DISABLE=1": "turn shim off",
    "SHIM_VALUE=number|default": "what a None becomes, by default 0.0",
    "SHIM_STRICT=1": "raise TypeError for a None instead of replacing it",
    "SHIM_FOR=RELEASE": "the torch release that the program was written for, as --for",
    "SHIM_SKIP=name,name": "leave patches out",
    "SHIM_PATCHES=name,name": "apply patches that are off by default",
    "SHIM_HINT=0": "no hint below the traceback of a program that died",
    "SHIM_LOG=info|debug": "log to stderr",
    "SHIM_REPORT=1": "print at exit where a None was found, and how often",
}


def names(name: str) -> list[str]:
    """Return the names that a variable lists, separated by commas."""
    return [each.strip() for each in text(name).split(",") if each.strip()]


def in_a_shell(patches: Iterable[str]) -> str:
    """Return the setting of SHIM_PATCHES as a shell takes it. Some names of rows have spaces.

    >>> in_a_shell(["verbose", "views of leaves"])
    "SHIM_PATCHES='verbose,views of leaves'"
    """
    import shlex

    return "SHIM_PATCHES=" + shlex.quote(",".join(patches))


def switched_off(name: str) -> bool:
    """Tell whether a variable is 0, false, no or off. Any other value counts as not set."""
    return text(name).lower() in ("0", "false", "no", "off")


def finite(value: str) -> float | None:
    """Return the finite number that a text spells in ASCII, as a config does; None for ``1_0``, which float() accepts.

    >>> finite("1e-5"), finite("nan"), finite("1_0")
    (1e-05, None, None)
    """
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") and value.isascii() and "_" not in value else None
