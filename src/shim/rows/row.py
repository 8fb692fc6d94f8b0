"""What a row is, and one maker for each kind.

A row is a patch of the registry that says on which releases a program that relies on it works without us, which error
messages it answers, and an example: a program that dies outside these releases and prints a result inside. The first
line of the function's docstring is the reason that users read.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

from ..registry import Patch
from ..targets import Target

#: The rows of each module that has run, in their order.
TABLE: dict[str, list[Patch]] = {}

_Maker = Callable[[Any], Any]


def name(*paths: str, **facts: Any) -> _Maker:
    """Make a row of a removed or a newer name out of the function or class that is put there.

    Args:
        paths: a module and a dotted attribute each, ``"torch:symeig"``; the first one names the row.
        facts: of the row: ``works``, ``says``, ``example``, and what ``row`` takes.
    """
    return lambda what: row("name", paths, what, what, facts)


def made(*paths: str, **facts: Any) -> _Maker:
    """Make a row of a name whose object the function makes, from the module or class that it is put into."""
    return lambda how: row("made", paths, how, how, facts)


def argument(*paths: str, **facts: Any) -> _Maker:
    """Make a row of an argument that is no longer, or not yet, taken.

    The function is called with the original and the arguments of the call.
    """
    return lambda how: row("around", paths, how, how, facts)


#: A row of what a function does; applied as one of an argument is.
behaviour = argument


def module(path: str, **facts: Any) -> _Maker:
    """Make a row of a module that is no more, or lacks names: the function returns what it holds."""
    return lambda how: row("module", (path,), how, how, facts)


def names(path: str, **facts: Any) -> _Maker:
    """Make a row of several names of a module that is there: the function returns those that may be missing."""
    return lambda how: row("names", (path,), how, how, facts)


def callable_module(path: str, **facts: Any) -> _Maker:
    """Make a row of a module that was a function: it can be called again."""
    return lambda how: row("callable", (path,), how, how, facts)


def advice(called: str, reason: str, says: str | tuple[str, ...], works: str, **facts: Any) -> None:
    """Add a row without a patch: no sound one exists, and ``reason`` says what to do."""
    row("advice", (), None, None, {"called": called, "reason": reason, "says": says, "works": works, **facts})


def row(kind: str, paths: tuple[str, ...], how: Any, documented: Any, facts: dict[str, Any]) -> Any:
    """Append a row to the table.

    Args:
        kind: of its targets.
        paths: of its targets.
        how: what is put there.
        documented: what has the docstring.
        facts: ``works``, a specifier of the releases on which such a program works without us; ``says``, the messages
            that it answers, as regular expressions; ``example``; ``of``, the package whose releases ``works`` counts,
            by default that of the first path; ``called``, its name, by default the first path with a dot; ``named``,
            for a row that ``--for`` never switches on; ``reason``; ``note``; ``versions``, the releases of torch that
            the patch can mend; ``more``, what explain adds; ``only_if``, what must be so where the messages have other
            causes, too.

    Returns:
        ``documented``, so that the makers are decorators.
    """
    says = facts.get("says", ())
    called = facts.get("called") or paths[0].replace(":", ".")
    # Under -OO there are no docstrings.
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
            only_if=facts.get("only_if", ""),
        )
    )
    return documented


def _module_of_the_caller() -> str:
    """Name the module whose row is made: a file of the table may have been imported for something else it holds."""
    frame: Any = sys._getframe()
    while frame.f_globals["__name__"] == __name__:
        frame = frame.f_back
    name: str = frame.f_globals["__name__"]
    return name
