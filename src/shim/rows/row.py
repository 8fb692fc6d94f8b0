"""Make the rows of the table of breakages, with a function for each kind of row.

A row is a patch of the registry. It has the releases on which the old program works without shim, the error messages
that it answers, and an example: a program that prints a result on these releases, and dies on others. The first line of
the function's docstring is the reason that users read.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from inspect import signature
from typing import Any, Callable

from ..registry import Patch
from ..targets import Target

#: File of the table -> its rows, in order.
TABLE: dict[str, list[Patch]] = {}

_Maker = Callable[[Any], Any]


def name(*paths: str, **facts: Any) -> _Maker:
    """Make a row of a removed or a newer name. The decorated function or class gets that name.

    Args:
        paths: modules and dotted attributes, ``"torch:symeig"``. The first one names the row.
        facts: the facts of the row: ``works``, ``says``, ``example`` and others, see ``row``.
    """
    return lambda what: row("name", paths, what, what, facts)


def default(*paths: str, **facts: Any) -> _Maker:
    """Make a row of attributes that some objects of a class lack. The function returns the default value."""
    return lambda make: row("default", paths, make, make, facts)


def made(*paths: str, **facts: Any) -> _Maker:
    """Make a row of a name. The function gets the module or class that gets the name, and returns the object."""
    return lambda how: row("made", paths, how, how, facts)


def argument(*paths: str, **facts: Any) -> _Maker:
    """Make a row of an argument that was removed, or that came later.

    The function gets the original and the arguments of the call.
    """
    return lambda how: row("around", paths, how, how, facts)


#: Make a row of a function that behaves differently. It is applied like the row of an argument.
behaviour = argument


def renamed(*paths: str, now: dict[str, str], **facts: Any) -> None:
    """Make a row of keywords that have another name now: old name -> new name."""

    def call(original: Any, *args: Any, **kwargs: Any) -> Any:
        return original(*args, **{now.get(key, key): value for key, value in kwargs.items()})

    argument(*paths, **facts)(call)


def defaults(*paths: str, were: dict[str, Any], **facts: Any) -> _Maker:
    """Make a row of arguments that had another default. The decorated function only has the docstring."""

    def call(original: Any, *args: Any, **kwargs: Any) -> Any:
        for key, value in were.items():
            if places(original)[key] >= len(args):
                kwargs.setdefault(key, value)
        return original(*args, **kwargs)

    return lambda documented: row("around", paths, call, documented, facts)


@lru_cache(maxsize=None)
def places(function: Any) -> dict[str, int]:
    """Return the position of each parameter of a function, by name."""
    return {key: place for place, key in enumerate(signature(function).parameters)}


def often(*paths: str, **facts: Any) -> _Maker:
    """Make a row of a function that behaves differently and takes only a few microseconds.

    The function gets the original, and returns what is called in its place.
    """
    return lambda how: row("instead", paths, how, how, facts)


def module(path: str, **facts: Any) -> _Maker:
    """Make a row of a module that was removed, or lacks names. The function returns its dictionary."""
    return lambda how: row("module", (path,), how, how, facts)


def names(path: str, **facts: Any) -> _Maker:
    """Make a row of several names of an existing module. The function returns those that may be missing."""
    return lambda how: row("names", (path,), how, how, facts)


def callable_module(path: str, **facts: Any) -> _Maker:
    """Make a row of a module that was a function once. It can be called again."""
    return lambda how: row("callable", (path,), how, how, facts)


def advice(called: str, reason: str, says: str | tuple[str, ...], works: str, **facts: Any) -> None:
    """Add a row without a patch, because no patch would be right. ``reason`` says what to do."""
    row("advice", (), None, None, {"called": called, "reason": reason, "says": says, "works": works, **facts})


def row(kind: str, paths: tuple[str, ...], how: Any, documented: Any, facts: dict[str, Any]) -> Any:
    """Append a row to the table.

    Args:
        kind: the kind of its targets.
        paths: the paths of its targets.
        how: the function or object that the targets get.
        documented: the object whose docstring has the reason.
        facts: ``works``, a specifier of the releases on which the program works without shim; ``says``, the messages
            that the row answers, as regular expressions; ``example``; ``of``, the package that ``works`` is about, by
            default that of the first path; ``called``, the name of the row, by default the first path with a dot;
            ``named``, for a row that ``--for`` does not apply; ``reason``; ``note``; ``versions``, the releases of
            torch on which the patch works; ``more``, a sentence that explain adds; ``helps``, which tells whether the
            row helps a call with an argument and its value; ``only_if``, a condition, if the messages have other
            causes, too.

    Returns:
        ``documented``, so that these functions can be used as decorators.
    """
    says = facts.get("says", ())
    called = facts.get("called") or paths[0].replace(":", ".")
    # With -OO there are no docstrings.
    reason = facts.get("reason") or (documented.__doc__ or called).strip().splitlines()[0].rstrip(".")
    TABLE.setdefault(_module_of_the_caller(), []).append(
        Patch(
            name=called,
            reason=reason,
            targets=tuple(Target(kind, path, how=how) for path in paths),
            optional=facts.get("named", False),
            note=facts.get("note", ""),
            answers=(says,) if isinstance(says, str) else tuple(says),
            works=facts["works"],
            of=facts.get("of") or (paths[0].partition(":")[0].partition(".")[0] if paths else "torch"),
            example=facts.get("example", ""),
            versions=facts.get("versions", ""),
            more=facts.get("more", ""),
            helps=facts.get("helps"),
            only_if=facts.get("only_if", ""),
        )
    )
    return documented


def _module_of_the_caller() -> str:
    """Return the name of the file whose row is made. Another module may import it before ``load`` does."""
    frame: Any = sys._getframe()
    while frame.f_globals["__name__"] == __name__:
        frame = frame.f_back
    name: str = frame.f_globals["__name__"]
    return name
