"""``run``: from a command line to the process that takes our place.

We become exactly the process that the user would have started, with our directory on PYTHONPATH and nothing else
changed. So ``__main__``, argv, tracebacks, signals and exit codes are not imitated but real. Only os and sys are
imported: this is the start-up of every job.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Tuple

#: The one directory that goes on PYTHONPATH.
SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")

#: Long interpreter options that take a value, in the next word.
_WITH_VALUE = ("--check-hash-based-pycs",)
#: Interpreter options that end the options: what follows is the program and its arguments.
_PROGRAM = ("-c", "-m", "-")
#: Interpreter options under which Python reads no PYTHONPATH, or no sitecustomize.
_LOCKS_US_OUT = {"I": "-I (isolated mode)", "E": "-E (ignore the environment)", "S": "-S (no site)"}


def run(argv: "List[str]") -> "int":
    """Replace this process by the command in ``argv``, guarded.

    Args:
        argv: what stands after ``run``: interpreter options, then a script, ``-m module``, ``-c code`` or a command.

    Returns:
        The exit code, where the process cannot be replaced (Windows) or the command cannot be started.
    """
    try:
        argv = _check_first(argv)
        executable, command = _command(argv)
    except RefusalError as refusal:
        sys.stderr.write("shim: %s\n" % refusal)
        return 2
    return _become(executable, command, dict(os.environ, PYTHONPATH=python_path(), **_locale_before_python()))


class RefusalError(Exception):
    """The command cannot be run guarded, and the message says why."""


def python_path() -> "str":
    """Return PYTHONPATH with our directory in front: once, and the user's entries as they were.

    An empty entry stays too: it is the current directory, and in ``PYTHONPATH=$PYTHONPATH:/mine`` it is there by
    accident, but the program may well live on it.
    """
    given = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join([SITE, *(entry for entry in given.split(os.pathsep) if given and entry != SITE)])


def export_line() -> "str":
    """Return the line that arms every Python started from the shell that evaluates it."""
    return "export PYTHONPATH='%s'\n" % python_path().replace("'", "'\"'\"'")


def _check_first(argv: "List[str]") -> "List[str]":
    """Check the configs named by ``--check`` in front of the program, and return the argv behind these options.

    The job starts in spite of findings, since it is guarded; not if a file cannot be read, parsed or mended.
    """
    names = ("--check", "--fix", "--value", "--add-missing")
    if not argv or argv[0].partition("=")[0] not in names:
        return argv
    import argparse

    from .configs.command import check_before_run, number

    parser = argparse.ArgumentParser(prog="shim run", usage="shim run [--check CONFIG [--fix --value V]] ...")
    parser.add_argument("--check", action="append", required=True)
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--value", type=number)
    parser.add_argument("--add-missing", action="store_true")
    end = 0
    while end < len(argv) and argv[end].partition("=")[0] in names:
        end += 2 if argv[end] in ("--check", "--value") else 1
    options = parser.parse_args(argv[:end])
    try:
        code = check_before_run(options.check, fix=options.fix, value=options.value, add_missing=options.add_missing)
    except ValueError as error:
        raise RefusalError(str(error)) from None
    if code == 2:
        raise RefusalError("the job was not started, because of the error above")
    return argv[end:]


def _command(argv: "List[str]") -> "Tuple[str, List[str]]":
    """Return the file to execute and the argv to hand it."""
    options, program = _split(argv)
    if not program:
        raise RefusalError("run what? Give a script, -m MODULE, -c CODE or a command (shim --help)")
    if program[0].startswith("-") or options or _is_for_python(program[0]):
        own = own_options()
        _refuse_lock_out([*own, *options], "python")
        return sys.executable, [_argv0(), *own, *options, *program]
    executable = _which(program[0])
    if executable is None:
        raise RefusalError("there is no file and no command %r" % program[0])
    if os.path.basename(program[0]).startswith("python"):
        _refuse_lock_out(_split(program[1:])[0], program[0])
    return executable, program


def _split(argv: "List[str]") -> "Tuple[List[str], List[str]]":
    """Split an interpreter's argv into its options, and the program with its arguments."""
    options: "List[str]" = []
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] not in _PROGRAM:
        word = rest.pop(0)
        if word[1] == "-":
            options += [word, rest.pop(0)] if word in _WITH_VALUE and rest else [word]
            continue
        # Letters may stand together (-uOm module); one that takes a value ends them, with the value behind it or next.
        for position, letter in enumerate(word):
            if letter in "cm":
                return options + [word[:position]] * (position > 1), ["-" + word[position:], *rest]
            if letter in "WX":
                options += [word, rest.pop(0)] if position == len(word) - 1 and rest else [word]
                break
        else:
            options.append(word)
    return options, rest


def _is_for_python(path: "str") -> "bool":
    """Tell a script, a directory or an archive for Python from a command."""
    if path.endswith((".py", ".pyw", ".pyc", ".pyz", ".zip")) or os.path.isdir(path):
        return True
    return os.path.isfile(path) and not os.access(path, os.X_OK)


def _which(command: "str") -> "str | None":
    if os.path.dirname(command):
        return command if os.access(command, os.X_OK) else None
    from shutil import which

    return which(command)


def own_options() -> "List[str]":
    """Return the interpreter options that this process was started with, to be handed on."""
    orig_argv = getattr(sys, "orig_argv", None)
    if orig_argv is not None:
        return _split(orig_argv[1:])[0]
    flags = sys.flags  # Python 3.8 and 3.9 do not keep the command line
    letters = (
        ("d", flags.debug), ("i", flags.interactive), ("B", flags.dont_write_bytecode), ("s", flags.no_user_site),
        ("v", flags.verbose), ("b", flags.bytes_warning), ("q", flags.quiet), ("O", flags.optimize),
        ("E", flags.ignore_environment and not flags.isolated), ("I", flags.isolated), ("S", flags.no_site),
    )  # fmt: skip
    options = ["-" + letter * int(count) for letter, count in letters if count]
    options += ["-u"] * bool(getattr(sys.stdout, "write_through", False))
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else name + "=" + str(value)]
    for option in sys.warnoptions:
        options += ["-W", option]
    return options


def _locale_before_python() -> "Dict[str, str]":
    """Take back what Python did to the environment when it started us in the C locale (PEP 538).

    It turned the UTF-8 mode on and then set LC_CTYPE, by which the next Python would take the locale for a real one
    and leave the mode off.
    """
    coerced = os.environ.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8")
    asked_for = "PYTHONUTF8" in os.environ or "utf8" in sys._xoptions
    return {"LC_CTYPE": "C"} if coerced and sys.flags.utf8_mode and not asked_for else {}


def _argv0() -> "str":
    return str(getattr(sys, "orig_argv", [sys.executable])[0])


def _refuse_lock_out(options: "List[str]", python: "str") -> "None":
    for option in options:
        if option.startswith("-") and not option.startswith(("--", "-X", "-W")):
            for letter, name in _LOCKS_US_OUT.items():
                if letter in option:
                    raise RefusalError(
                        "%s is run with %s, which keeps every sitecustomize out, ours too. Leave the option away, "
                        "or write `import preimport` as the first line of the script" % (python, name)
                    )


def _become(executable: "str", argv: "List[str]", environment: "Dict[str, str]") -> "int":
    """Replace this process; on Windows, where that loses the exit code, run a child and pass on what it ends with."""
    if os.name == "nt":
        return _run_child(executable, argv, environment)
    import _signal  # type: ignore[import-not-found]

    # Python ignores these for itself, and an exec would hand that on to programs that expect the default.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(_signal, name):
            _signal.signal(getattr(_signal, name), _signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as where the shell has closed it
            stream.flush()
    try:
        os.execve(executable, argv, environment)
    except OSError as error:
        sys.stderr.write("shim: cannot run %s: %s\n" % (argv[0], error.strerror))
        return 2


def _run_child(executable: "str", argv: "List[str]", environment: "Dict[str, str]") -> "int":
    import signal
    import subprocess

    # The child shares our console and gets Ctrl-C itself; we wait for what it makes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.call(argv, executable=executable, env=environment)
    except OSError as error:
        sys.stderr.write("shim: cannot run %s: %s\n" % (argv[0], error.strerror))
        return 2
