"""What stands in front of ``run``: ``python -m cProfile -o out -m shim run train.py``.

``run`` becomes the job. What a tool has gathered in the process is gone by then, and its output with it. So the tool is
started anew with the job in our place; where that cannot be, a line says so.
"""

import os
import sys

from .launch import _split, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

#: Tools that run a program in their own process, and take ``-m shim run train.py`` where they take ``train.py``.
TOOLS = ("cProfile", "profile", "pdb", "coverage", "viztracer", "pyinstrument", "kernprof", "debugpy")
#: The same, but it does not start twice: it writes into no file that is there.
ONCE = ("memray",)
#: What starts a process and looks at it from outside; what that becomes, it does not know.
OUTSIDE = ("py-spy",)


def behind(given: "List[str]", command: "List[str]") -> "List[str]":
    """Return a job's command line, with the tool that stands in front of ``run`` in front of it.

    Args:
        given: what stands after ``run``.
        command: the command line of the job.
    """
    words = _words(os.getpid()) or [""]
    front = _before_run(_split(words[1:])[1], given)
    options, program = _split(command[1:])
    tool = _name(front[1:] if front[:1] == ["-m"] else front)
    if tool in TOOLS and command[0] == words[0] and program[0] not in ("-c", "-"):
        return [command[0], *options, *front, *program]
    tool = tool if tool in TOOLS + ONCE else _name(_words(os.getppid()))
    if tool not in TOOLS + ONCE + OUTSIDE:
        tool = "what traces or profiles this process" if _is_watched() else ""
    if tool:
        complain(
            "%s sees nothing of the job, which takes the place of this process. Put shim in front: "
            "python -m shim run, then the tool, then the job" % tool
        )
    return command


def _words(process: "int") -> "List[str]":
    """Return the command line of a process, or nothing where that cannot be known."""
    if process == os.getpid() and hasattr(sys, "orig_argv"):
        return list(sys.orig_argv)
    try:
        with open("/proc/%d/cmdline" % process, "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def _before_run(program: "List[str]", given: "List[str]") -> "List[str]":
    """Return what stands before ``-m shim run`` or ``…/shim run``; nothing where it was called another way."""
    front, rest = program[: len(program) - len(given)], program[len(program) - len(given) :]
    if rest != given:
        return []
    if front[-3:] == ["-m", "shim", "run"]:
        return front[:-3]
    return front[:-2] if len(front) > 1 and front[-1] == "run" and _name(front[-2:]) == "shim" else []


def _name(words: "List[str]") -> "str":
    """Return what a command, a script or a module is called."""
    name = os.path.basename(words[0]) if words else ""
    return name[: -len(".exe")] if name.endswith(".exe") else name


def _is_watched() -> "bool":
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12; one of the tools there may be the hint's
    watching = monitoring is not None and any(monitoring.get_tool(n) not in (None, "shim") for n in range(6))
    return watching or sys.getprofile() is not None or sys.gettrace() is not None
