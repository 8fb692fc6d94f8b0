"""Python interpreters as commands: their names, their options, and the first lines of scripts that name them.

Importing this module loads nothing that Python has not loaded already, like ``launch``.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Tuple

#: Long options of the interpreter whose value is the next word.
WITH_VALUE = ("--check-hash-based-pycs",)
#: The options that end the interpreter's options. After them come the program and its arguments.
_ENDS = ("-c", "-m", "-")
#: The options with which Python reads no PYTHONPATH, or no sitecustomize.
_LOCKS_OUT = {"I": "-I (isolated mode)", "E": "-E (ignore the environment)", "S": "-S (no site)"}


def split(argv: "List[str]", with_value: "Sequence[str]" = WITH_VALUE) -> "Tuple[List[str], List[str]]":
    """Split the arguments of an interpreter into its options, and the program with its arguments.

    Args:
        argv: the arguments.
        with_value: the long options whose value is the next word.
    """
    options: "List[str]" = []
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] not in _ENDS:
        word = rest.pop(0)
        if word == "--":
            break
        if word[1] == "-":
            options += [word, rest.pop(0)] if word in with_value and rest else [word]
            continue
        # Letters can be joined (-uOm module). A letter that takes a value is the last one; the value is the rest of the
        # word, or the next word.
        for position, letter in enumerate(word):
            if letter in "cm":
                return options + [word[:position]] * (position > 1), ["-" + word[position:], *rest]
            if letter in "WX":
                options += [word, rest.pop(0)] if position == len(word) - 1 and rest else [word]
                break
        else:
            options.append(word)
    return options, rest


def is_python(path: "str") -> "bool":
    """Tell by its name whether a file is a Python interpreter: python, python3.11, python3.13t, python.exe."""
    name = os.path.basename(path)
    return name.startswith("python") and name[6:].replace(".exe", "").strip("0123456789.td") == ""


def first_line(path: "str") -> "List[str]":
    """Return the interpreter and its options from the ``#!`` line of a script."""
    try:
        with open(path, "rb") as file:
            lines = [os.fsdecode(line).strip() for line in (file.readline(4096), file.readline(4096))]
    except (OSError, ValueError):
        return []
    if not lines[0].startswith("#!"):
        return []
    words = lines[0][2:].split()
    # pip writes this if the path is too long for a #! line, or has spaces:
    # https://github.com/pypa/pip/blob/23.2.1/src/pip/_vendor/distlib/scripts.py#L156
    if lines[1].startswith("'''exec' "):
        return [lines[1][len("'''exec' ") :].partition(' "$0"')[0].strip('"')]
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if word != "-S"]
        words[:1] = [which(words[0]) or words[0]] if words else []
    return words


def which(command: "str") -> "str | None":
    """Return the path of a command; None if there is no such executable file."""
    if os.path.dirname(command):
        return command if os.access(command, os.X_OK) and not os.path.isdir(command) else None
    import shutil

    return shutil.which(command)


def is_this_interpreter(python: "str") -> "bool":
    """Tell whether ``python`` is the interpreter of this process, under any of its names: python3, python3.11."""
    ours = sys.executable or ""
    python = os.path.abspath(python)
    return os.path.dirname(python) == os.path.dirname(ours) and os.path.realpath(python) == os.path.realpath(ours)


def own_options() -> "List[str]":
    """Return the interpreter options that this process was started with. The job is started with the same ones.

    An installer may have written -E, -I, -P or -s into the first line of the command ``shim``. These are left out. One
    is that of PEX: https://github.com/pex-tool/pex/blob/v2.100.7/pex/venv/installer.py#L202
    """
    launcher = os.path.basename(sys.argv[0] if sys.argv else "") == "shim"
    orig_argv = getattr(sys, "orig_argv", None)
    if orig_argv is not None:
        options = split(orig_argv[1:])[0]
        return _without(options, "EIPs") if launcher else options
    flags = sys.flags  # Python 3.8 and 3.9 do not store the command line
    letters = (
        ("d", flags.debug), ("i", flags.interactive), ("B", flags.dont_write_bytecode), ("s", flags.no_user_site),
        ("v", flags.verbose), ("b", flags.bytes_warning), ("q", flags.quiet), ("O", flags.optimize),
        ("E", flags.ignore_environment and not flags.isolated), ("I", flags.isolated), ("S", flags.no_site),
    )  # fmt: skip
    unbuffered = bool(getattr(sys.stdout, "write_through", False))
    options = ["-" + letter * int(count) for letter, count in (*letters, ("u", unbuffered)) if count]
    # The job inherits the options that environment variables set.
    options = [option for option in options if not os.environ.get(_VARIABLES.get(option[1], ""))]
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else name + "=" + str(value)]
    by_variable = os.environ.get("PYTHONWARNINGS", "").split(",")
    for option in sys.warnoptions:
        if option not in by_variable:
            options += ["-W", option]
    return _without(options, "EIPs") if launcher else options


#: Option -> the environment variable that does the same.
_VARIABLES = {
    "d": "PYTHONDEBUG", "i": "PYTHONINSPECT", "B": "PYTHONDONTWRITEBYTECODE", "s": "PYTHONNOUSERSITE",
    "v": "PYTHONVERBOSE", "O": "PYTHONOPTIMIZE", "u": "PYTHONUNBUFFERED",
}  # fmt: skip


def _without(options: "List[str]", letters: "str") -> "List[str]":
    """Return the options without these letters, which are options that take no value."""
    kept: "List[str]" = []
    for word in options:
        if word[:1] == "-" and word[:2] != "--" and not set(word) & set("XW") and kept[-1:] not in (["-X"], ["-W"]):
            word = "".join(letter for letter in word if letter not in letters)
        kept += [word] if word != "-" else []
    return kept


def locked_out(options: "List[str]") -> "str":
    """Return the first of these options with which Python would not load shim; empty if there is none."""
    letters = "".join(option for option in options if option[:1] == "-" and option[:2] not in ("--", "-X", "-W"))
    return next((name for letter, name in _LOCKS_OUT.items() if letter in letters), "")


def argv0() -> "str":
    """Return the name by which this interpreter was called."""
    return str(getattr(sys, "orig_argv", [sys.executable])[0])


def command_line(process: "int") -> "List[str]":
    """Return the command line of a process; empty if it cannot be read."""
    if process == os.getpid() and hasattr(sys, "orig_argv"):
        return list(sys.orig_argv)
    try:
        with open("/proc/%d/cmdline" % process, "rb") as file:  # Linux
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []
