"""The command line: ``shim check PATH…``, and the check before a job."""

from __future__ import annotations

import argparse
import errno
import gc
import json
import os
import re
import sys
import time
from typing import Callable, Iterator, NamedTuple, Sequence, TextIO

from ..output import CLEAN, FAILED, FOUND, run_command, say, shown
from . import fix
from .findings import Finding, find, may_hold_findings
from .formats import FORMATS, Format, by_suffix
from .formats.need import MissingParserError
from .frameworks import RESEMBLES
from .source import Source
from .tree import Node, ParseError

WHY_A_VALUE = (
    "--fix and --diff need --value V, because there is no neutral choice: a run that shim guards takes "
    "0.0 for a null, AdamW's own default is 0.01 (Muon's 0.1, other optimizers' 0)"
)
# The marks of jinja, erb and other template languages.
TEMPLATE = re.compile(r"\{\{|\{%|<%|~\{")
# How often a file is checked again if it changes while it is being fixed.
MOST_TRIES = 5
# Directories with files of other projects.
SKIPPED = ("__pycache__", "node_modules", "site-packages")


class Result(NamedTuple):
    """The result for one file: its findings, the findings that were fixed (with --diff: would be fixed), or an error.

    ``skipped`` says why a file was not parsed, where that is not an error.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    fixed: tuple[Finding, ...] = ()
    error: str = ""
    line: int = 1
    column: int = 1
    diff: str = ""
    output: bytes | None = None
    skipped: str = ""


class Task(NamedTuple):
    """What to do with each file. ``value`` is None where nothing is fixed."""

    value: float | None = None
    write: bool = False
    add_missing: bool = False
    format_name: str | None = None


def check(name: str, task: Task, *, named: bool = True) -> Result:
    """Check one file, ``-`` for standard input, and fix it if the task says so.

    Args:
        name: the path of the file.
        task: what to do with it.
        named: the user named this file, rather than a directory that holds it.

    """
    collects = gc.isenabled()
    gc.disable()  # nothing here is garbage before the end, and the collections would take a third of the time
    try:
        for _ in range(MOST_TRIES):
            try:
                result = _check(name, task, named=named)
                # Only the text of standard input is written out. To keep that of every file would take much memory.
                return result if name == "-" else result._replace(output=None)
            except fix.ChangedError as error:  # for example by another fix: check it again
                reason = str(error)
        return Result(name, error=f"left as it is: {reason}")
    finally:
        if collects:
            gc.enable()


def _check(name: str, task: Task, *, named: bool) -> Result:
    try:
        kind = FORMATS[task.format_name] if task.format_name else by_suffix(name)
        if kind is None:
            if not os.path.lexists(name):
                return Result(name, error=os.strerror(errno.ENOENT))
            known = " ".join(suffix for f in FORMATS.values() for suffix in f.suffixes)
            return Result(name, error=f"no format known for this name (known: {known}); give --format")
        seen = fix.read("/dev/stdin" if name == "-" else name)
        raw = seen.raw
    except fix.UnreadableError as error:
        # A directory may hold data and pipes. For a path that the user named, it is an error.
        return Result(name, error=str(error)) if named else Result(name, skipped=str(error))
    except FileNotFoundError as error:
        # In a directory: deleted since it was listed, or an editor's lock file, which is a broken symbolic link.
        return Result(name, error=str(error.strerror)) if named else Result(name, skipped="a broken symbolic link")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        return Result(name, error=str(getattr(error, "strerror", None) or error))
    if task.write and seen.path:
        fix.sweep(os.path.dirname(seen.path))  # noqa: PTH120
    source = None
    try:
        source = Source(name, raw, kind.name)
        if not may_hold_findings(source.text, kind):
            return Result(name, output=raw)
        if len(raw) > kind.most:
            why = fix.too_large(kind.most)
            return Result(name, error=why, output=raw) if named else Result(name, skipped=why)
        documents = kind.parse(source.text)
        findings = tuple(find(source, kind, documents))
    except ParseError as error:
        text = source.text if source is not None else raw.replace(b"\0", b"").decode("latin-1")
        if RESEMBLES.search(text) is None:  # no weight decay in it: tsconfig.json with comments, Python 2, ...
            return Result(name, output=raw)
        if TEMPLATE.search(text):
            return Result(name, skipped="a template, which cannot be parsed before it is filled in", output=raw)
        line, column = source.position(error.offset) if source is not None else (1, 1)
        return Result(name, error=error.message, line=line, column=column, output=raw)
    except MissingParserError as error:
        return Result(name, error=str(error), output=raw)
    result = Result(name, findings)
    if task.value is None:
        return result
    try:
        return _mend(result, seen, source, kind, documents, task, task.value)
    except fix.ChangedError:
        raise
    except (fix.FixError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        return result._replace(error=f"left as it is: {reason}", output=raw)


def _mend(
    result: Result,
    seen: fix.Seen,
    source: Source,
    kind: Format,
    documents: list[Node],
    task: Task,
    value: float,
) -> Result:
    chosen = [
        finding
        for finding in result.findings
        if not finding.why_not and (task.add_missing if finding.missing else finding.level == "finding")
    ]
    if not chosen:
        return result._replace(output=source.raw)
    fixed = fix.fix(source, kind, documents, chosen, value)
    if not task.write:
        return result._replace(fixed=tuple(chosen), diff=fix.patch(source, fixed.edits))
    if result.name != "-":
        fix.replace(seen, fixed.raw)
    return result._replace(fixed=tuple(chosen), output=fixed.raw)


def is_config(name: str) -> bool:
    """Tell by its name whether a file is read if it is in a named directory."""
    return by_suffix(name) is not None


def files_of(
    paths: Sequence[str], onerror: Callable[[OSError], object], wanted: Callable[[str], bool] = is_config
) -> Iterator[tuple[str, bool]]:
    """Yield the files that paths name, and whether they are named themselves: a directory's wanted files in order.

    Hidden directories are left out. ``onerror`` is called for a directory that cannot be listed.
    """
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - these are strings to be printed as they were given
            yield path, True
            continue
        for folder, inner, names in os.walk(path, onerror=onerror):
            inner[:] = sorted(d for d in inner if not d.startswith(".") and d not in SKIPPED)
            for name in sorted(names):
                if wanted(name):
                    yield os.path.join(folder, name), False  # noqa: PTH118


def number(text: str) -> float:
    """Read ``--value``: a weight decay is a finite number, and not negative."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a weight decay: it must be a number, 0 or larger")
    return value + 0.0  # -0.0 is 0.0


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``shim check``'s arguments."""
    made = argparse.ArgumentParser(
        prog="python -m shim check",
        description="Find a null weight_decay in config files (YAML, JSON, TOML, Python) before a job.",
        epilog="Exit code: 0 clean, 1 findings (with --fix: findings that remain), 2 a usage error, or a "
        "file that could not be read, parsed or written.",
    )
    made.add_argument("paths", nargs="+", metavar="PATH", help="a file, a directory, or - for standard input")
    made.add_argument("--format", choices=sorted(FORMATS), help="the format of every file (default: by its name)")
    made.add_argument("--fix", action="store_true", help="fix what can be fixed; with -, write it to standard output")
    made.add_argument("--value", type=number, metavar="V", help="the weight decay that --fix writes")
    made.add_argument("--add-missing", action="store_true", help="with --fix: add weight_decay where it is missing")
    made.add_argument("--diff", action="store_true", help="show what --fix would change, and change nothing")
    made.add_argument("--json", action="store_true", help="report as JSON")
    made.add_argument("--quiet", action="store_true", help="report findings and errors only: no notes, no summary")
    return made


def main(argv: Sequence[str]) -> int:
    """Run ``shim check`` with the arguments after the word ``check``; return the exit code."""
    return run_command("check", _main, argv)


def _main(argv: Sequence[str]) -> int:
    arguments = parser()
    try:
        options = arguments.parse_args(list(argv))
        fixes = options.fix or options.diff
        if fixes and options.value is None:
            arguments.error(WHY_A_VALUE)
        if (options.value is not None or options.add_missing) and not fixes:
            arguments.error("--value and --add-missing need --fix or --diff")
        if "-" in options.paths and not options.format:
            arguments.error("standard input has no file name that tells its format: give --format")
    except SystemExit as stop:
        return int(stop.code or 0)
    if sys.stdout is None:
        say(sys.stderr, "shim check: standard output is closed, so the report cannot be written")
        return FAILED
    task = Task(
        options.value if fixes else None,
        options.fix and not options.diff,
        options.add_missing,
        options.format,
    )
    # With a patch, or the fixed standard input, on standard output, the report goes to standard error.
    filtering = task.write and "-" in options.paths
    out = sys.stderr if filtering or (options.diff and not options.json) else sys.stdout
    results = _check_all(options.paths, task, progress=not (options.quiet or options.json))
    if options.json:
        say(out, json.dumps(_as_data(results, task), indent=2))
    for result in results:
        if not options.json:
            _report(result, task, out, quiet=options.quiet)
        if filtering and result.name == "-" and result.output is not None:
            sys.stdout.buffer.write(result.output)
            sys.stdout.buffer.flush()
    if not results:
        _nothing(options.paths)
    elif not (options.json or options.quiet) or all(result.skipped for result in results):
        say(sys.stderr, _summary(results, task))
    return _exit_code(results, task)


def _nothing(paths: Sequence[str]) -> None:
    known = " ".join(suffix for f in FORMATS.values() for suffix in f.suffixes)
    say(sys.stderr, shown(f"0 files checked: no {known} in {' '.join(paths)}"))


def check_before_run(
    paths: Sequence[str], *, fix: bool = False, value: float | None = None, add_missing: bool = False
) -> int:
    """Check, and on request fix, the configs of a job that is about to start; report on standard error.

    Args:
        paths: files or directories.
        fix: whether to fix what can be fixed.
        value: the weight decay to write; needed with ``fix``.
        add_missing: with ``fix``, add the key where it is missing.

    Returns:
        0 clean or all fixed, 1 findings remain, 2 something could not be read, parsed or written.

    Raises:
        ValueError: ``fix`` without ``value``.

    """
    if fix and value is None:
        raise ValueError(WHY_A_VALUE)
    task = Task(value if fix else None, fix, add_missing)
    results = _check_all(paths, task, progress=False)
    for result in results:
        _report(result, task, sys.stderr, quiet=True)
        if result.skipped:
            say(sys.stderr, shown(f"{result.name}: skipped: {result.skipped}"))
    if all(result.skipped for result in results):
        _nothing(paths)
    return _exit_code(results, task)


def _check_all(paths: Sequence[str], task: Task, *, progress: bool) -> list[Result]:
    results: list[Result] = []

    def unlisted(error: OSError) -> None:
        results.append(Result(str(error.filename), error=str(error.strerror)))

    names = list(files_of(paths, unlisted))
    shown = progress and len(names) > 1 and sys.stderr is not None and sys.stderr.isatty()
    due = 0.0
    for index, (name, named) in enumerate(names):
        if shown and time.monotonic() >= due:
            sys.stderr.write(f"\rchecking {index + 1} of {len(names)}")
            sys.stderr.flush()
            due = time.monotonic() + 0.1
        results.append(check(name, task, named=named))
    if shown:
        sys.stderr.write("\r\x1b[K")
    return results


def _remaining(result: Result, task: Task) -> list[Finding]:
    gone = {id(f.spot) for f in result.fixed} if task.write else set()
    return [f for f in result.findings if f.level == "finding" and id(f.spot) not in gone]


def _exit_code(results: Sequence[Result], task: Task) -> int:
    if any(result.error for result in results):
        return FAILED
    return FOUND if any(_remaining(result, task) for result in results) else CLEAN


def _report(result: Result, task: Task, out: TextIO | None, *, quiet: bool) -> None:
    fixed = {id(f.spot) for f in result.fixed}
    for finding in result.findings:
        if quiet and finding.level == "note" and id(finding.spot) not in fixed:
            continue
        say(out, shown(_line(result.name, finding, task, id(finding.spot) in fixed)))
    if result.skipped and not quiet:
        say(sys.stderr, shown(f"{result.name}: skipped: {result.skipped}"))
    if result.error:
        say(sys.stderr, shown(f"{result.name}:{result.line}:{result.column}: error: {result.error}"))
    if result.diff:
        say(sys.stdout, result.diff[:-1])


def _line(name: str, finding: Finding, task: Task, fixed: bool) -> str:
    level = "note: " if finding.level == "note" else ""
    where = f" [{finding.framework}]" if finding.framework else ""
    if fixed:
        end = "fixed" if task.write else "would be fixed"
    elif finding.why_not:
        end = f"cannot be fixed: {finding.why_not}"
    elif finding.missing:
        end = "can be added: --fix --add-missing --value V"
    else:
        end = "can be fixed: --fix --value V"
    return (
        f"{name}:{finding.line}:{finding.column}: {level}{finding.path} is {finding.found}{where}: "
        f"{finding.effect}; {end}"
    )


def _summary(results: Sequence[Result], task: Task) -> str:
    found = sum(f.level == "finding" for r in results for f in r.findings)
    fixed = sum(len(r.fixed) for r in results) if task.write else 0
    errors = sum(bool(r.error) for r in results)
    skipped = sum(bool(r.skipped) for r in results)
    parts = [f"{_count(len(results) - skipped, 'file')} checked", _count(found, "finding")]
    if skipped:
        parts.append(f"{skipped} skipped")
    if fixed:
        parts.append(f"{fixed} fixed")
    if errors:
        parts.append(_count(errors, "error"))
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _as_data(results: Sequence[Result], task: Task) -> dict[str, object]:
    fixed = {id(finding.spot) for result in results for finding in result.fixed} if task.write else set()
    return {
        "files": len(results),
        "findings": [
            {
                "file": result.name,
                "line": finding.line,
                "column": finding.column,
                "level": finding.level,
                "path": finding.path,
                "found": finding.found,
                "framework": finding.framework,
                "effect": finding.effect,
                "fixable": not finding.why_not,
                "why_not": finding.why_not,
                "fixed": id(finding.spot) in fixed,
            }
            for result in results
            for finding in result.findings
        ],
        "errors": [
            {"file": result.name, "line": result.line, "column": result.column, "message": result.error}
            for result in results
            if result.error
        ],
        "skipped": [{"file": result.name, "reason": result.skipped} for result in results if result.skipped],
        "diff": "".join(result.diff for result in results),
    }
