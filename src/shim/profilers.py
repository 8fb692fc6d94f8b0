"""The tool that started ``run``: ``python -m cProfile -o out -m shim run train.py``.

``run`` replaces this process by the job, so what the tool has recorded in this process is lost. Therefore the tool is
started again, with the job in place of ``shim run``. If it cannot be, a message says so.
"""

import os
import sys

from .interpreter import command_line, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

#: Tools that run a program in their own process, and take ``-m shim run train.py`` where they take ``train.py``.
TOOLS = ("cProfile", "profile", "pdb", "coverage", "viztracer", "pyinstrument", "kernprof", "debugpy")
#: Tools that run a program in their own process, but cannot be started again: they do not overwrite their output file.
#: https://github.com/bloomberg/memray/blob/v1.20.0/src/memray/_memray/sink.cpp#L143
ONCE = ("memray",)
#: Tools that watch a process from outside, and lose it when the job replaces it.
OUTSIDE = ("py-spy",)


def started_by_the_tool(given: "List[str]", command: "List[str]") -> "Tuple[List[str], str]":
    """Return the command line of a job, started by the tool that started ``run``.

    Args:
        given: the arguments of ``run``.
        command: the command line of the job.

    Returns:
        The command line, and a message if the tool cannot see the job.
    """
    words = command_line(os.getpid()) or [""]
    front = _before_run(split(words[1:])[1], given)
    options, program = split(command[1:])
    tool = _name(front[1:] if front[:1] == ["-m"] else front)
    if tool in TOOLS and command[0] == words[0] and program[0] not in ("-c", "-"):
        return [command[0], *options, *front, *program], ""
    tool = tool if tool in TOOLS + ONCE else _name(command_line(os.getppid()))
    if tool not in TOOLS + ONCE + OUTSIDE:
        tool = "the tool that traces or profiles this process" if _is_watched() else ""
    if not tool:
        return command, ""
    return command, (
        "%s sees nothing of the job, which replaces this process. Put shim in front: "
        "python -m shim run, then the tool, then the job" % tool
    )


def _before_run(program: "List[str]", given: "List[str]") -> "List[str]":
    """Return the words before ``-m shim run`` or ``…/shim run``; empty if run was started in another way."""
    front, rest = program[: len(program) - len(given)], program[len(program) - len(given) :]
    if rest != given:
        return []
    if front[-3:] == ["-m", "shim", "run"]:
        return front[:-3]
    return front[:-2] if len(front) > 1 and front[-1] == "run" and _name(front[-2:]) == "shim" else []


def _name(words: "List[str]") -> "str":
    """Return the name of a command, a script or a module."""
    name = os.path.basename(words[0]) if words else ""
    return name[: -len(".exe")] if name.endswith(".exe") else name


def _is_watched() -> "bool":
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12; one of the tools there may be the hint's
    watching = monitoring is not None and any(monitoring.get_tool(n) not in (None, "shim") for n in range(6))
    return watching or sys.getprofile() is not None or sys.gettrace() is not None
