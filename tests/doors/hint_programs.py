"""Programs that die of a known breakage, and functions that read the hints below their tracebacks."""

from __future__ import annotations

import os
import re
import subprocess

import torch

from shim import hint
from shim.releases import release

HERE = release(torch.__version__).numbers

#: A line that fails on this torch, the row that answers its error, and the release that the hint names.
if HERE >= (1, 8):
    BREAKS, ROW, RELEASE = "print(tuple(torch.rfft(torch.ones(4), 1).shape))", "torch.rfft", "1.7"
else:
    BREAKS, ROW, RELEASE = "print(torch.compiler.is_compiling())", "torch.compiler", "2.1"
PRINTS = "(3, 2)\n" if HERE >= (1, 8) else "False\n"
DIES = f"import torch\n{BREAKS}\n"


def said(process):
    """Return the hints in what a process wrote to stderr."""
    return re.findall(r"^shim: .*?(?=\n\n|\Z)", process.stderr.rstrip("\n"), re.MULTILINE | re.DOTALL)


def the_command(process):
    """Check the one hint below the traceback, and return its command."""
    (paragraph,) = said(process)
    lines = paragraph.splitlines()
    assert len(lines) <= 5 and lines[-1].startswith("    "), paragraph
    assert process.stderr.index("Traceback") < process.stderr.index(paragraph)
    return lines[-1].strip()


def in_a_shell(command, cwd, path):
    """Run a command as if a user had copied it into the same shell."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    shell = ["/bin/sh", "-c", command]
    return subprocess.run(shell, env=environment, cwd=str(cwd), capture_output=True, text=True, timeout=300, check=True)


def error_of(kind, message, file="/venv/site-packages/library/core.py"):
    """Raise an exception in code of a file, and return the exception."""
    namespace = {"__name__": "library.core", "error": kind(message)}
    try:
        exec(compile("raise error", file, "exec"), namespace)
    except Exception as error:
        return error
    raise AssertionError(kind)


def hint_for(message, kind=AttributeError, **where):
    error = error_of(kind, message, **where)
    return hint.hint(error, error.__traceback__)


IS_GONE = f"module 'torch' has no attribute '{ROW.partition('.')[2]}'"
