"""Turn the findings of the examination into text for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any, Iterator

if TYPE_CHECKING:
    from ..explain import Answer

WIDTH = 80
LONG_NAME = 28

#: The commands that remove PYTHONPATH from the environment of an armed shell.
TAKEN_AWAY = "`sudo` (also with -E), `su -`, `sbatch --export=NONE` and a tmux server that is already running"


def short(found: dict[str, Any]) -> list[str]:
    """Return what is guarded, the problems, and what to do."""
    torch, python = found["torch"], found["python"]
    # If only another door fails, `run` still guards a job.
    by_run = any(door["works"] for door in found["doors"] if door["door"] == "run")
    lines = [
        f"A job is guarded here: {found['command']}" if by_run else "A job is NOT guarded here.",
        *_wrapped("", _of_the_shell(found["shell"])),
        "",
        f"shim    {found['shim']}",
        f"Python  {python['version']}, {python['executable']}",
    ]
    if "missing" in torch:
        lines += _wrapped("torch   ", "none: " + torch["missing"])
    else:
        lines += _wrapped("torch   ", f"{torch['version']}, {torch['location']}")
        if not torch.get("known", True):
            lines += _wrapped("        ", "newer than any torch that shim was run on")
        lines += [line for sentence in _of_the_patches(torch) for line in _wrapped("        ", sentence)]
    lines += _list("Problems", [*_of_the_doors(found["doors"]), *found["obstacles"]])
    lines += _list("What to do", found["advice"])
    return lines


def _of_the_shell(shell: dict[str, Any]) -> str:
    if shell["python"] is None:
        return "There is no `python` on PATH."
    if not shell["armed"]:
        return f"A plain {shell['python']} is NOT guarded."
    return f"A plain {shell['python']} is guarded too, but not under {TAKEN_AWAY}: use `run` there."


def _of_the_patches(torch: dict[str, Any]) -> Iterator[str]:
    """Yield what is guarded, and for compatibility mode the rows applied and the number of rows in each other state."""
    guards = [row for row in torch["patches"] if not row["optional"]]
    yield f"guarded: {_named(guards, 'applied') or 'nothing'}" + _when_imported(guards)
    given = [row for row in torch["patches"] if row["optional"]]
    if torch["written_for"]:
        others = Counter(row["state"] for row in given if row["state"] not in ("applied", "waits"))
        counts = "".join(f"; {number} {state}" for state, number in others.items())
        yield (
            f"written for torch {torch['written_for']}; applied: {_named(given, 'applied') or 'nothing'}"
            f"{_when_imported(given)}{counts} (--verbose lists all)"
        )
    elif _named(given, "applied") or _when_imported(given):
        yield f"applied: {_named(given, 'applied') or 'nothing'}{_when_imported(given)}"


def _named(rows: list[dict[str, Any]], state: str) -> str:
    return ", ".join(row["patch"] for row in rows if row["state"] == state)


def _when_imported(rows: list[dict[str, Any]]) -> str:
    waiting = _named(rows, "waits")
    return f"; when imported: {waiting}" if waiting else ""


def _of_the_doors(doors: list[dict[str, Any]]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for door in doors:
        if not door["works"]:
            reasons.setdefault(door["reason"], []).append(door["door"])
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def rows(found: dict[str, Any]) -> list[str]:
    """Return the state of each patch and of each door."""
    torch = found["torch"]
    lines = []
    patches = torch.get("patches", [])
    lines += _table("Patches", [row for row in patches if not row["optional"]])
    for state in dict.fromkeys(row["state"] for row in patches if row["optional"]):
        rows = [{**row, "state": ""} for row in patches if row["optional"] and row["state"] == state]
        program = f"Written for torch {torch['written_for']}" if torch["written_for"] else "On request"
        lines += _table(f"{program}: {len(rows)} {state}", rows)
    if found["doors"]:
        lines += ["", "Doors, each tried in a separate process; one of them trains a few steps"]
        for door in found["doors"]:
            lines += _wrapped(f"  {door['door']:<10}  ", "works" if door["works"] else "FAILS: " + door["reason"])
    return lines


def _table(title: str, rows: list[dict[str, Any]]) -> list[str]:
    """Return lines with a name, a state and a reason. Behind a long name, the rest stands on the next line."""
    lines = ["", title] if rows else []
    width = min(max((len(row["patch"]) for row in rows), default=0), LONG_NAME)
    states = max((len(row["state"]) for row in rows), default=0)
    for row in rows:
        first = f"  {row['patch']:<{width}}  " + f"{row['state']:<{states}}  " * bool(states)
        if len(row["patch"]) > width:
            lines.append(first.rstrip())
            first = " " * (width + 4 + (states + 2) * bool(states))
        lines += _wrapped(first, row["reason"])
    return lines


#: What doctor says of a message that it cannot explain.
NO_ANSWER = "No patch answers this message. `python -m shim scan PATH` names what sources use and this torch lacks."


def answers(answers: list[Answer], command: str | None) -> list[str]:
    """Return the answers to an error message as text."""
    lines = []
    for answer in answers:
        only = f", for torch {answer.versions}" if answer.versions else ""
        lines += [answer.name, *_wrapped("    ", answer.reason), "    " + answer.switch + only]
    start = ["", f"Start your job with: {command}"] if command else []
    return [*lines, *start] if answers else [NO_ANSWER]


def _list(title: str, sentences: list[str]) -> list[str]:
    lines = [line for sentence in sentences for line in _wrapped("  - ", sentence)]
    return ["", title, *lines] if lines else []


def _wrapped(first: str, text: str) -> list[str]:
    """Wrap a text after ``first``. A text between backticks is a command, and stays on one line."""
    whole = re.sub(r"`[^`]*`", lambda command: command.group().replace(" ", "\0"), text)
    lines = textwrap.wrap(
        whole,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines] or [first]
