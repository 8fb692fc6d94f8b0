"""Watch for the exception that ends this process, and print the hint for it.

Python keeps an uncaught exception in ``sys.last_value``, so a function that is called at exit can read it. No hook of
the program is replaced, and nothing is done before it has died. A worker of multiprocessing does not keep its
exception; there the exception is read while it propagates.

An error in this module or in ``hint`` is dropped, and no hint is printed.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING, Any

from . import import_hook
from .process import PROCESS

if TYPE_CHECKING:
    from types import CodeType

#: The module and the function of an uncaught exception's outermost frame: first for a script and ``-c``, then for
#: ``-m``, a directory and an archive.
_OUTERMOST = (("__main__", "<module>"), ("runpy", "_run_module_as_main"))


def watch() -> None:
    """Print the hint when this process, or a multiprocessing worker of it, dies. A second call changes nothing."""
    if PROCESS.watched:
        return
    PROCESS.watched = True
    try:
        atexit.register(_at_exit)
        from multiprocessing import util  # torch imports it, too

        util.register_after_fork(import_hook.FINDER, _watch_worker)  # a forked worker drops its parent's finalizers
        _watch_worker()
    except Exception:
        pass


def _watch_worker(_: object = None) -> None:
    """Have ``_at_worker_exit`` called in a worker before multiprocessing prints the exception that ends it."""
    from multiprocessing import process, util

    main: Any = process.BaseProcess._bootstrap  # type: ignore[attr-defined]
    # Up to Python 3.12 this function calls the finalizers before it prints the exception:
    # https://github.com/python/cpython/blob/v3.11.7/Lib/multiprocessing/process.py#L317
    if "_exit_function" in main.__code__.co_names:
        util.Finalize(None, _at_worker_exit, exitpriority=0)
    elif process.parent_process() is not None or "--multiprocessing-fork" in sys.orig_argv:
        # Since Python 3.13 it calls them after it has printed the exception:
        # https://github.com/python/cpython/blob/v3.13.0/Lib/multiprocessing/process.py#L323
        _watch_lines(main.__code__)


def _watch_lines(code: CodeType) -> None:
    """Call ``_at_worker_exit`` at the first line of a function that runs while an exception is being handled."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    free = [number for number in (4, 3) if monitoring.get_tool(number) is None]
    if not free:
        return
    tool = free[0]

    def line(code: CodeType, number: int) -> None:
        if _worker_exception() is not None and monitoring.get_tool(tool) == "shim":
            monitoring.free_tool_id(tool)
            _at_worker_exit()

    monitoring.use_tool_id(tool, "shim")
    monitoring.register_callback(tool, monitoring.events.LINE, line)
    monitoring.set_local_events(tool, code, monitoring.events.LINE)


def _at_exit() -> None:
    """Print the hint for the exception that ended the program, if a patch answers it."""
    try:
        error, last = getattr(sys, "last_value", None), getattr(sys, "last_traceback", None)
        if not isinstance(error, Exception) or last is None or not _is_wanted():
            return
        outermost = last.tb_frame
        if (outermost.f_globals.get("__name__"), outermost.f_code.co_name) not in _OUTERMOST:
            return  # pytest, IPython and debuggers set sys.last_value to an exception that they have caught
        from .interpreter import command_line

        if "--multiprocessing-fork" in command_line(os.getpid()):
            return  # a worker that could not import the program. Its parent could not either, and prints the hint
        from .hint import hint

        text = hint(error, last)
        if text:
            _write(text)
    except BaseException:
        pass


def _at_worker_exit() -> None:
    """Print the hint for the exception that is about to end a multiprocessing worker; only in the first worker."""
    try:
        error = _worker_exception()
        if error is None or not _is_wanted():
            return
        from multiprocessing import process

        if {*process.current_process()._identity} != {1}:
            return
        from .hint import hint

        text = hint(error, error.__traceback__)  # type: ignore[arg-type]
        if text and hasattr(error, "add_note"):  # Python 3.11; multiprocessing prints it with the traceback
            error.add_note("\n" + text)
        elif text:
            _write(text)
    except BaseException:
        pass


def _worker_exception() -> Exception | None:
    """Return the exception that a worker's function raised, not one that its parent was handling at the fork."""
    from multiprocessing import process

    error = sys.exc_info()[1]
    last = getattr(error, "__traceback__", None)
    main: Any = process.BaseProcess._bootstrap  # type: ignore[attr-defined]
    return error if isinstance(error, Exception) and last and last.tb_frame.f_code is main.__code__ else None


def _is_wanted() -> bool:
    from .switches import switched_off

    if switched_off("SHIM_HINT"):
        return False
    if import_hook.state["door"] in (None, "activate") or sys.flags.inspect or hasattr(sys, "ps1"):
        return False
    from .rank import is_rank_0

    return is_rank_0()


def _write(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write("\n" + text + "\n")
        sys.stderr.flush()
