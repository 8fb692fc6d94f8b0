"""Print the reports of ``shim check`` and ``shim scan``, also to a stream that is closed, full, or not in Unicode."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import Callable, Sequence, TextIO

#: The exit codes of these commands.
CLEAN, FOUND, FAILED = 0, 1, 2
#: Control characters, line separators, and characters that change the direction of text.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def run_command(name: str, run: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run a command that may print much, and return its exit code, also if its output cannot be written any more.

    Args:
        name: the word after ``shim``, for an error message.
        run: the command. It gets the arguments, and returns the exit code.
        argv: the arguments.
    """
    try:
        code = run(argv)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        return code
    except BrokenPipeError:  # the reader has closed the pipe, as head does
        _mute()
        return FAILED
    except OSError as error:  # a full disk behind standard output
        _mute()
        with contextlib.suppress(OSError):
            say(sys.stderr, f"shim {name}: the report cannot be written: {error.strerror or error}")
        return FAILED


def _mute() -> None:
    """Point standard output at the null device, so that Python's own flush at exit does not fail."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def shown(line: str) -> str:
    """Escape control characters and those that reverse text, which a key or a file name may hold."""
    return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], line)


def say(out: TextIO | None, line: str) -> None:
    """Print a line. Characters that the terminal cannot show are escaped."""
    if out is None:  # closed
        return
    try:
        out.write(line + "\n")
    except UnicodeEncodeError:  # a file name or a key that this terminal cannot show
        codec = out.encoding or "ascii"
        out.write(line.encode(codec, "backslashreplace").decode(codec) + "\n")
