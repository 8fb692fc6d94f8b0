"""The command ``shim scan``: read the files, and report the names that the installed torch lacks."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from bisect import bisect_right
from typing import Iterator, NamedTuple, Sequence

from .. import switches
from ..configs import fix
from ..configs.command import files_of
from ..configs.source import Source
from ..configs.tree import ParseError
from ..output import CLEAN, FAILED, FOUND, run_command, say, shown
from .facts import Fact, Here, facts_of, here, nearest, releases_for
from .notebook import python_of
from .uses import PACKAGES, Use, uses


class Finding(NamedTuple):
    """A use of a name that the release here lacks."""

    use: Use
    fact: Fact


class Result(NamedTuple):
    """The result for one file."""

    name: str
    findings: tuple[Finding, ...] = ()
    #: The facts about the names that are used without a check. They tell which release the code was written for.
    facts: frozenset[Fact] = frozenset()
    error: str = ""
    line: int = 1
    column: int = 1
    skipped: str = ""
    #: The line at which each cell of a notebook begins.
    cells: tuple[int, ...] = ()

    def place_of(self, line: int) -> tuple[str, int]:
        """Return the name of the file, for a notebook with the number of the cell, and the line in it."""
        cell = bisect_right(self.cells, line)
        return (f"{self.name}:cell_{cell}", line - self.cells[cell - 1] + 1) if cell else (self.name, line)


def scan(name: str, place: Here, *, named: bool = True) -> Result:
    """Scan one file, ``-`` for standard input.

    Args:
        name: the path of the file.
        place: the releases that it runs on.
        named: the user named this file, not a directory that contains it.
    """
    line = column = 1
    cells: list[int] = []
    try:
        raw = fix.read("/dev/stdin" if name == "-" else name).raw
        text, cells = python_of(raw) if name.endswith(".ipynb") else (Source(name, raw, "python").text, cells)
        found = uses(text)
    except (SyntaxError, ParseError) as error:  # Python 2, a template, a binary file
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        why = f"not Python that can be parsed: {getattr(error, 'msg', None) or getattr(error, 'message', error)}"
    except (RecursionError, MemoryError):
        why = "nested too deeply"
    except (fix.UnreadableError, OSError, ValueError) as error:
        why = str(getattr(error, "strerror", None) or error)
    else:
        known = [(use, facts_of(use)) for use in found]
        lacking = ((use, next((fact for fact in facts if not place.has(fact)), None)) for use, facts in known)
        findings = tuple(dict.fromkeys(Finding(use, fact) for use, fact in lacking if fact is not None))
        facts = frozenset(fact for use, facts in known if not use.asked for fact in facts)
        return Result(name, findings, facts, cells=tuple(cells))
    if named:
        return Result(name, error=why, line=line, column=column, cells=tuple(cells))
    return Result(name, skipped=why)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``shim scan``'s arguments."""
    made = argparse.ArgumentParser(
        prog="python -m shim scan",
        description="Find names in Python sources that the installed torch lacks. The sources are not run.",
        epilog="Exit code: 0 nothing, 1 findings, 2 a usage error, or a file that could not be read.",
    )
    made.add_argument("paths", nargs="+", metavar="PATH", help="a file, a directory, or - for standard input")
    made.add_argument("--torch", metavar="RELEASE", default="", help="the torch to run on (default: the installed one)")
    made.add_argument("--json", action="store_true", help="report as JSON")
    made.add_argument("--quiet", action="store_true", help="report findings and errors only: no notes, no summary")
    return made


def main(argv: Sequence[str]) -> int:
    """Run ``shim scan`` with the arguments after the word ``scan``, and return the exit code."""
    return run_command("scan", _main, argv)


def _main(argv: Sequence[str]) -> int:
    arguments = parser()
    try:
        options = arguments.parse_args(list(argv))
        place = here(options.torch)
    except ValueError as error:
        sys.stderr.write(f"shim scan: {error}\n")
        return FAILED
    except SystemExit as stop:
        return int(stop.code or 0)
    gc.disable()  # syntax trees have no cycles, and the search for them takes a third of the time
    results = list(_scan_all(options.paths, place))
    gc.enable()
    ending = _Ending(results, place)
    if options.json:
        say(sys.stdout, json.dumps(_as_data(results, ending), indent=2))
    else:
        _report(results, place, options.quiet)
        if not options.quiet:
            for line in ending.lines():
                say(sys.stdout, line)
    if any(result.error for result in results):
        return FAILED
    return FOUND if any(not f.use.asked for result in results for f in result.findings) else CLEAN


def _scan_all(paths: Sequence[str], place: Here) -> Iterator[Result]:
    unlisted: list[OSError] = []
    for name, named in files_of(paths, unlisted.append, lambda name: name.endswith((".py", ".pyw", ".ipynb"))):
        yield scan(name, place, named=named)
    for error in unlisted:
        yield Result(str(error.filename), error=str(error.strerror))


def _report(results: list[Result], place: Here, quiet: bool) -> None:
    for result in results:
        for use, fact in result.findings:
            if not (quiet and use.asked):
                note = "note: " * use.asked
                file, line = result.place_of(use.line)
                say(sys.stdout, shown(f"{file}:{line}:{use.column}: {note}{fact.sentence}: {_remedy(fact, place)}"))
        if result.skipped and not quiet:
            say(sys.stderr, shown(f"{result.name}: skipped: {result.skipped}"))
        if result.error:
            file, line = result.place_of(result.line)
            say(sys.stderr, shown(f"{file}:{line}:{result.column}: error: {result.error}"))


def _remedy(fact: Fact, place: Here) -> str:
    if fact.row and fact.named:
        return f"{switches.in_a_shell([fact.row])} gives it back"
    if fact.row:
        chosen = nearest(releases_for(frozenset([fact])), place)
        condition = f"; {fact.condition}" if fact.condition else ""
        return f"--for {chosen} gives it back ({fact.row}){condition}"
    return f"no patch gives it back: install {PACKAGES[fact.package]}{fact.works.replace(' || ', ' or ')}"


class _Ending:
    """The end of the report: what the findings of all files show together."""

    def __init__(self, results: list[Result], place: Here) -> None:
        facts = frozenset(fact for result in results for fact in result.facts)
        found = [finding for result in results for finding in result.findings if not finding.use.asked]
        lost = {finding.fact for finding in found}
        releases = releases_for(facts)
        self.files = sum(not result.skipped for result in results)
        self.findings = len(found)
        self.torch = str(place.torch)
        #: The first and the last release that the code seems to be written for; empty if it cannot be told.
        self.written_for = [str(releases[0]), str(releases[-1])] if facts else []
        self.options = ""
        rows = [fact for fact in lost if fact.row]
        self.unmended = len([fact for fact in lost if not fact.row])
        named = sorted({fact.row for fact in rows if fact.named})
        chosen = nearest(releases, place) if any(not fact.named for fact in rows) else None
        self.release = str(chosen) if chosen is not None else ""
        self.command = ""
        if rows:
            environment = f"{switches.in_a_shell(named)} " if named else ""
            option = f"--for {self.release} " if self.release else ""
            self.command = f"{environment}python -m shim run {option}YOUR_SCRIPT.py"

    def lines(self) -> Iterator[str]:
        """Yield the end of the report."""
        yield f"{_count(self.files, 'file')} read, {_count(self.findings, 'finding')} for torch {self.torch}"
        if self.findings and self.written_for:
            first, last = self.written_for
            yield f"The code seems to be written for torch {first if first == last else f'{first} to {last}'}."
        if self.command:
            yield f"Start it with: {self.command}"
        if self.unmended:
            yield f"No patch gives back {self.unmended} of the names."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _as_data(results: list[Result], ending: _Ending) -> dict[str, object]:
    return {
        "files": ending.files,
        "torch": ending.torch,
        "findings": [
            {
                **dict(zip(("file", "line"), result.place_of(use.line))),
                "column": use.column,
                "level": "note" if use.asked else "finding",
                "name": fact.name,
                "since": fact.sentence,
                "works": f"{fact.package}{fact.works}",
                "row": fact.row,
                **({"condition": fact.condition} if fact.condition else {}),
            }
            for result in results
            for use, fact in result.findings
        ],
        "errors": [
            {
                **dict(zip(("file", "line"), result.place_of(result.line))),
                "column": result.column,
                "message": result.error,
            }
            for result in results
            if result.error
        ],
        "skipped": [{"file": result.name, "reason": result.skipped} for result in results if result.skipped],
        "written_for": ending.written_for,
        "for": ending.release,
        "command": ending.command,
    }
