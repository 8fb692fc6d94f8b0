"""``doctor``: what shim does for a job that is started here, and what prevents it.

``examination`` starts child processes as a job would be started, and collects what they print. ``words`` turns that
into text. ``look`` and ``train`` are the programs of the child processes. ``docs/doctor.md`` describes the data that
``--json`` prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from . import words
from .examination import NoPythonError, NoReleaseError, examine

__all__ = ["examine", "main"]


def main(argv: list[str]) -> int:
    """Print the findings; return 0 if a job is guarded through every door, 1 if not.

    With ``--explain``, print the patches that answer an error message; return 0 if there is one, 1 if not.
    """
    parser = argparse.ArgumentParser(
        prog="shim doctor", description="Say what shim does for a job that is started here, and what prevents it."
    )
    parser.add_argument("--verbose", action="store_true", help="list every patch and every door, with its state")
    parser.add_argument("--python", metavar="PATH", help="examine another interpreter")
    parser.add_argument(
        "--for", dest="written_for", metavar="RELEASE", help="the torch release that the program was written for"
    )
    parser.add_argument(
        "--explain", metavar="MESSAGE", help="name the patch that answers it; - reads it from standard input"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as data (docs/doctor.md)")
    options = parser.parse_args(argv)
    if options.explain is not None:
        message = sys.stdin.read() if options.explain == "-" else options.explain
        return _explain(message, as_data=options.json)
    try:
        with _Progress("importing torch in two other processes ..."):
            found = examine(options.python, options.written_for)
    except (NoPythonError, NoReleaseError) as error:
        sys.stderr.write(f"shim: {error}\n")
        return 2
    lines = words.short(found) + (words.rows(found) if options.verbose else [])
    sys.stdout.write((json.dumps(found, indent=2) if options.json else "\n".join(lines)) + "\n")
    return 0 if found["guarded"] else 1


def _explain(message: str, as_data: bool) -> int:
    from .. import explain

    answers = explain.explain(message)
    command = explain.command(answers) if any(answer.mends for answer in answers) else None
    if as_data:
        found: list[dict[str, Any]] = [
            {"patch": each.name, "reason": each.reason, "switch": each.switch, "torch": each.versions}
            for each in answers
        ]
        sys.stdout.write(json.dumps({"answers": found, "command": command}, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(words.answers(answers, command)) + "\n")
    return 0 if answers else 1


class _Progress:
    """A line on a terminal that is shown while something slow runs."""

    def __init__(self, line: str) -> None:
        self._line = line if sys.stderr is not None and sys.stderr.isatty() else ""

    def __enter__(self) -> None:
        if self._line:
            sys.stderr.write(self._line)
            sys.stderr.flush()

    def __exit__(self, *error: object) -> None:
        if self._line:
            sys.stderr.write("\r" + " " * len(self._line) + "\r")
            sys.stderr.flush()
