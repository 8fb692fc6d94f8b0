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

HELP = """\
usage: shim run [OPTIONS] [PYTHON OPTIONS] SCRIPT.py|-m MODULE|-c CODE|COMMAND [ARGS...]

Run a script, a module, a line of code or any command with the guards on, in it and in all that it starts.

  --for RELEASE    give back what worked in this release of torch and does not work here
  --check CONFIG   check a config file before the job starts; may be given several times
  --fix --value V  mend what --check finds, with V
  --add-missing    with --fix: add a weight_decay where there is none

Python options, such as -u, are those of the interpreter.
"""

#: Our own options of ``run``, in front of the program, and whether a value follows.
_OURS = {"--for": True, "--check": True, "--fix": False, "--value": True, "--add-missing": False}
#: Long options whose value is in the next word: the interpreter's and ours.
_WITH_VALUE = ("--check-hash-based-pycs", *(name for name in _OURS if _OURS[name]))
#: Interpreter options that end the options: what follows is the program and its arguments.
_PROGRAM = ("-c", "-m", "-")
#: Interpreter options under which Python reads no PYTHONPATH, or no sitecustomize.
_LOCKS_US_OUT = {"I": "-I (isolated mode)", "E": "-E (ignore the environment)", "S": "-S (no site)"}
#: What pipx and `uv tool` leave in the environment that they make for one command.
_MADE_FOR_ONE_COMMAND = ("pipx_metadata.json", "uv-receipt.toml")
#: Prints whether the process is armed; for any Python.
IS_ARMED = "import sys; print(any(hasattr(finder, '_shim') for finder in sys.meta_path))"


def run(argv: "List[str]") -> "int":
    """Replace this process by the command in ``argv``, guarded.

    Args:
        argv: what stands after ``run``: our options and the interpreter's, then a script, ``-m module``, ``-c code``
            or a command.

    Returns:
        The exit code, where the process cannot be replaced (Windows) or the command cannot be started.
    """
    given = argv
    ours, argv = _split_ours(argv)
    if "--help" in ours:
        sys.stdout.write(HELP)
        return 0
    try:
        ours, release = _written_for(ours)
        if ours:
            _check_first(ours)
        executable, command, environment = prepare(argv)
        environment.update({"SHIM_FOR": release} if release else {})
    except RefusalError as refusal:
        complain(refusal)
        return 2
    _say_if_out_of_reach(executable, command, environment)
    from .in_front import behind

    return _become(executable, behind(given, command), environment)


def prepare(argv: "List[str]") -> "Tuple[str, List[str], Dict[str, str]]":
    """Return what a job is started with: the file to execute, its argv and its environment.

    Raises:
        RefusalError: if it would not be guarded, or if there is no such command.
    """
    executable, command = _command(argv)
    return executable, command, dict(os.environ, PYTHONPATH=python_path(), **_locale_before_python())


class RefusalError(Exception):
    """The command cannot be run guarded, and the message says why."""


def complain(message: "object") -> "None":
    """Write a line to stderr, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write("shim: %s\n" % message)


def python_path() -> "str":
    """Return PYTHONPATH with our directory in front: once, and the user's entries as they were.

    An empty entry stays too: it is the current directory, and in ``PYTHONPATH=$PYTHONPATH:/mine`` it is there by
    accident, but the program may well live on it.

    Raises:
        RefusalError: if our directory cannot be on PYTHONPATH.
    """
    if os.pathsep in SITE:
        raise RefusalError("PYTHONPATH cannot hold %s, which has a %r in it: move shim" % (SITE, os.pathsep))
    given = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join([SITE, *(entry for entry in given.split(os.pathsep) if given and entry != SITE)])


def export_line() -> "str":
    """Return the line that arms every Python started from the shell that evaluates it.

    Raises:
        RefusalError: if it would arm none.
    """
    refuse_a_private_environment()
    return "export PYTHONPATH='%s'\n" % python_path().replace("'", "'\"'\"'")


def _split_ours(argv: "List[str]") -> "Tuple[List[str], List[str]]":
    """Split what stands after ``run`` into our own options, wherever they stand before the program, and the rest."""
    options, program = _split(argv)
    ours: "List[str]" = []
    theirs: "List[str]" = []
    while options:
        word = options.pop(0)
        name, equals, _ = word.partition("=")
        if word in ("-h", "--help"):
            ours.append("--help")
        elif name in _OURS:
            ours += [word, *options[:1]] if _OURS[name] and not equals else [word]
            del options[: _OURS[name] and not equals]
        else:
            theirs.append(word)
    return ours, theirs + program


def _written_for(ours: "List[str]") -> "Tuple[List[str], str]":
    """Take ``--for`` out of our options, and return them and the release of torch that it names.

    Raises:
        RefusalError: if there was no such release.
    """
    release = ""
    rest = list(ours)
    while any(word.partition("=")[0] == "--for" for word in rest):
        at = next(number for number, word in enumerate(rest) if word.partition("=")[0] == "--for")
        _, equals, release = rest.pop(at).partition("=")
        if not equals:
            release = rest.pop(at) if at < len(rest) else ""
        from .releases import written_for

        try:
            written_for(release)
        except ValueError as error:
            raise RefusalError("--for: %s" % error) from None
    return rest, release


def _check_first(ours: "List[str]") -> "None":
    """Check the configs that ``--check`` names.

    The job starts in spite of findings, since it is guarded; not if a file cannot be read, parsed or mended.
    """
    import argparse

    from .configs.command import check_before_run, number

    parser = argparse.ArgumentParser(prog="shim run", usage="shim run [--check CONFIG [--fix --value V]] ...")
    parser.add_argument("--check", action="append", required=True)
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--value", type=number)
    parser.add_argument("--add-missing", action="store_true")
    options = parser.parse_args(ours)
    try:
        code = check_before_run(options.check, fix=options.fix, value=options.value, add_missing=options.add_missing)
    except ValueError as error:
        raise RefusalError(str(error)) from None
    if code == 2:
        raise RefusalError("the job was not started, because of the error above")


def _command(argv: "List[str]") -> "Tuple[str, List[str]]":
    """Return the file to execute and the argv to hand it."""
    options, program = _split(argv)
    if not program:
        raise RefusalError("nothing to run: give a script, -m MODULE, -c CODE or a command (shim run --help)")
    _refuse_a_pex((_split(program[1:])[1] if _is_python(program[0]) else program)[:1])
    if program[0].startswith("-") or options or _is_for_python(program[0]):
        refuse_a_private_environment()
        own = own_options()
        _refuse_lock_out([*own, *options], "python")
        return sys.executable, [_argv0(), *own, *options, *program]
    executable = _which(program[0])
    if executable is None and os.path.isfile(program[0]):  # here, and not on PATH: a shell wants the ./ in front
        executable = os.path.join(os.curdir, program[0])
        program = [executable, *program[1:]]
    if executable is None:
        raise RefusalError("there is no file and no command %r" % program[0])
    if _is_python(program[0]):
        _refuse_lock_out(_split(program[1:])[0], program[0])
    return executable, program


def _split(argv: "List[str]") -> "Tuple[List[str], List[str]]":
    """Split an interpreter's argv into its options, and the program with its arguments."""
    options: "List[str]" = []
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] not in _PROGRAM:
        word = rest.pop(0)
        if word == "--":
            break
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
    if path.endswith((".py", ".pyw", ".pyc", ".pyz", ".zip")) or os.path.isfile(os.path.join(path, "__main__.py")):
        return True
    if not os.path.exists(path) or (os.path.isfile(path) and os.access(path, os.X_OK)) or _which(path):
        return False
    if os.path.isfile(path):
        other = _first_line(path)[:1] or ["sh"] * path.endswith(".sh")
        if other and not _is_python(other[0]):
            raise RefusalError("%s is not executable. Write: run %s %s" % (path, os.path.basename(other[0]), path))
    return True


def _refuse_a_pex(path: "List[str]") -> "None":
    """Refuse a PEX file or directory, which starts Python a second time, with -E."""
    if path and _holds_pex_info(path[0]):
        raise RefusalError(
            "%s is a PEX file, which restarts itself with -E: that keeps every sitecustomize out, ours too. Put shim "
            "among its requirements, and write `import preimport` as the first line of its program" % path[0]
        )


def _holds_pex_info(path: "str") -> "bool":
    if os.path.isdir(path):
        return os.path.isfile(os.path.join(path, "PEX-INFO"))
    if not path.endswith((".pex", ".pyz", ".zip")) and "python" not in " ".join(_first_line(path)):
        return False
    try:
        with open(path, "rb") as file:
            if b"PK\x03\x04" not in file.read(4096):  # no archive, behind the #! line that it may have
                return False
        from zipfile import ZipFile

        with ZipFile(path) as archive:
            return "PEX-INFO" in archive.namelist()
    except Exception:  # whoever reads it next says what is wrong with it
        return False


def _is_python(path: "str") -> "bool":
    """Tell from its name whether a file is a Python interpreter: python, python3.11, python3.13t, python.exe."""
    name = os.path.basename(path)
    return name.startswith("python") and name[6:].replace(".exe", "").strip("0123456789.td") == ""


def _first_line(path: "str") -> "List[str]":
    """Return the interpreter and its options from the ``#!`` line of a script."""
    try:
        with open(path, "rb") as file:
            lines = [os.fsdecode(line).strip() for line in (file.readline(4096), file.readline(4096))]
    except (OSError, ValueError):
        return []
    if not lines[0].startswith("#!"):
        return []
    words = lines[0][2:].split()
    if lines[1].startswith("'''exec' "):  # pip's way with a path that is too long for the #! line, or has spaces
        return [lines[1][len("'''exec' ") :].partition(' "$0"')[0].strip('"')]
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if word != "-S"]
        words[:1] = [_which(words[0]) or words[0]] if words else []
    return words


def _which(command: "str") -> "str | None":
    if os.path.dirname(command):
        return command if os.access(command, os.X_OK) and not os.path.isdir(command) else None
    from shutil import which

    return which(command)


def _say_if_out_of_reach(executable: "str", argv: "List[str]", environment: "Dict[str, str]") -> "None":
    """Say it if the Python that a command names, or that the first line of a script names, is not armed by us."""
    if _is_python(executable):
        python = [executable, *_split(argv[1:])[0]]
    else:
        python = _first_line(executable)
    if not python or not _is_python(python[0]):
        return
    from .bootstrap import switched_on

    option = _locked_out(python[1:])
    if switched_on("SHIM_DISABLE") or (is_ours(python[0]) and not option):
        return
    if option:
        complain(
            "%s is not guarded: its first line starts Python with %s, which keeps every sitecustomize out, ours too. "
            "Drop the option there, or write `import preimport` below it" % (argv[0], option)
        )
        return
    import subprocess

    try:
        asked = subprocess.run(
            [*python, "-c", IS_ARMED],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return
    if asked.stdout.split()[-1:] == [b"False"]:
        complain(
            "%s is not guarded: it is a Python of another environment, or older than 3.8. Install shim for it, or "
            "start the job with a Python that has shim" % " ".join(python)
        )


def is_ours(python: "str") -> "bool":
    """Tell whether an interpreter is this one: python3 and python3.11 of one environment are."""
    ours = sys.executable or ""
    python = os.path.abspath(python)
    return os.path.dirname(python) == os.path.dirname(ours) and os.path.realpath(python) == os.path.realpath(ours)


def refuse_a_private_environment() -> "None":
    """Refuse to guard the Python of an environment that pipx or uv has made for the command shim alone."""
    if any(os.path.exists(os.path.join(sys.prefix, name)) for name in _MADE_FOR_ONE_COMMAND):
        theirs = _which("python") or _which("python3") or "python"
        raise RefusalError(
            "this shim is in an environment of its own (%s), as pipx and uv make them, where your torch is not. "
            "Install it beside your torch with `%s -m pip install`" % (sys.prefix, theirs)
        )


def own_options() -> "List[str]":
    """Return the interpreter options that this process was started with, to be handed on."""
    # Those in the first line of the command `shim` are its installer's, who wants it isolated, and not the job's.
    launcher = os.path.basename(sys.argv[0] if sys.argv else "") == "shim"
    orig_argv = getattr(sys, "orig_argv", None)
    if orig_argv is not None:
        options = _split(orig_argv[1:])[0]
        return _without(options, "EIPs") if launcher else options
    flags = sys.flags  # Python 3.8 and 3.9 do not keep the command line
    letters = (
        ("d", flags.debug), ("i", flags.interactive), ("B", flags.dont_write_bytecode), ("s", flags.no_user_site),
        ("v", flags.verbose), ("b", flags.bytes_warning), ("q", flags.quiet), ("O", flags.optimize),
        ("E", flags.ignore_environment and not flags.isolated), ("I", flags.isolated), ("S", flags.no_site),
    )  # fmt: skip
    unbuffered = bool(getattr(sys.stdout, "write_through", False))
    options = ["-" + letter * int(count) for letter, count in (*letters, ("u", unbuffered)) if count]
    # What a variable says is handed on by the environment.
    options = [option for option in options if not os.environ.get(_VARIABLES.get(option[1], ""))]
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else name + "=" + str(value)]
    said_by_variable = os.environ.get("PYTHONWARNINGS", "").split(",")
    for option in sys.warnoptions:
        if option not in said_by_variable:
            options += ["-W", option]
    return _without(options, "EIPs") if launcher else options


#: The variables that say what an option says.
_VARIABLES = {
    "d": "PYTHONDEBUG", "i": "PYTHONINSPECT", "B": "PYTHONDONTWRITEBYTECODE", "s": "PYTHONNOUSERSITE",
    "v": "PYTHONVERBOSE", "O": "PYTHONOPTIMIZE", "u": "PYTHONUNBUFFERED",
}  # fmt: skip


def _without(options: "List[str]", letters: "str") -> "List[str]":
    """Return interpreter options without some that take no value."""
    kept: "List[str]" = []
    for word in options:
        if word[:1] == "-" and word[:2] != "--" and not set(word) & set("XW") and kept[-1:] not in (["-X"], ["-W"]):
            word = "".join(letter for letter in word if letter not in letters)
        kept += [word] if word != "-" else []
    return kept


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
    name = _locked_out(options)
    if name:
        raise RefusalError(
            "%s is run with %s, which keeps every sitecustomize out, ours too. Drop the option, or write "
            "`import preimport` as the first line of the script" % (python, name)
        )


def _locked_out(options: "List[str]") -> "str":
    """Return the first of an interpreter's options under which it would not load us; nothing if none is there."""
    letters = "".join(option for option in options if option[:1] == "-" and option[:2] not in ("--", "-X", "-W"))
    return next((name for letter, name in _LOCKS_US_OUT.items() if letter in letters), "")


def _become(executable: "str", argv: "List[str]", environment: "Dict[str, str]") -> "int":
    """Replace this process; on Windows, where that loses the exit code, run a child and pass on what it ends with."""
    if os.name == "nt":
        return _run_child(executable, argv, environment)
    import _signal  # type: ignore[import-not-found]
    import posix

    # Python ignores these for itself, and an exec would hand that on to programs that expect the default.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(_signal, name):
            _signal.signal(getattr(_signal, name), _signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as where the shell has closed it
            stream.flush()
    try:
        posix.execve(executable, argv, environment)  # that of os may be a debugger's, which starts another one
    except OSError as error:
        no_first_line = ". It has no #! line: write run sh %s" % argv[0] if error.errno == 8 else ""  # ENOEXEC
        complain("cannot run %s: %s%s" % (argv[0], error.strerror, no_first_line))
        return 2


def _run_child(executable: "str", argv: "List[str]", environment: "Dict[str, str]") -> "int":
    import signal
    import subprocess

    # The child shares our console and gets Ctrl-C itself; we wait for what it makes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.call(argv, executable=executable, env=environment)
    except OSError as error:
        complain("cannot run %s: %s" % (argv[0], error.strerror))
        return 2
