"""``run``: replace this process by the command that the user gave, with the guards on.

The process that the user would have started is started. Of its environment only PYTHONPATH is changed, with ``--for``
SHIM_FOR, and LC_CTYPE where Python itself has changed it. So ``__main__``, argv, tracebacks, signals and exit codes are
unchanged. Importing this module loads nothing that Python has not loaded already, because every job waits for it.
"""

import os
import sys

from .interpreter import (
    WITH_VALUE,
    argv0,
    first_line,
    is_python,
    is_this_interpreter,
    locked_out,
    own_options,
    split,
    which,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Tuple

#: The directory that goes on PYTHONPATH.
SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")

HELP = """\
usage: shim run [OPTIONS] [PYTHON OPTIONS] SCRIPT.py|-m MODULE|-c CODE|COMMAND [ARGS...]

Run a script, a module, a line of code or any command with the guards on, in it and in every process that it starts.

  --for RELEASE    make what worked on this release of torch work on the installed one
  --check CONFIG   check a config file before the job starts; may be given several times
  --fix --value V  replace the nulls that --check finds by V
  --add-missing    with --fix: also add a weight_decay where there is none

Python options, such as -u, are those of the interpreter.
"""

#: The options of ``run`` itself, and whether a value follows.
_OURS = {"--for": True, "--check": True, "--fix": False, "--value": True, "--add-missing": False}
#: Long options whose value is the next word, of the interpreter and of ``run``.
_WITH_VALUE = (*WITH_VALUE, *(name for name in _OURS if _OURS[name]))
#: The files by which an environment of pipx or `uv tool` is recognized. They make one for a single command.
#: https://github.com/pypa/pipx/blob/1.16.7/src/pipx/pipx_metadata_file.py#L18 and
#: https://github.com/astral-sh/uv/blob/0.12.5/crates/uv-tool/src/lib.rs#L194
_MADE_FOR_ONE_COMMAND = ("pipx_metadata.json", "uv-receipt.toml")
#: A program for any Python that prints whether its process is armed.
IS_ARMED = "import sys; print(any(hasattr(finder, '_shim') for finder in sys.meta_path))"


def run(argv: "List[str]") -> "int":
    """Replace this process by the command in ``argv``, with the guards on.

    Args:
        argv: the arguments of ``run``: its own options and the interpreter's, then a script, ``-m module``,
            ``-c code`` or a command.

    Returns:
        The exit code, if the process cannot be replaced (Windows) or the command cannot be started.
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
    from .profilers import started_by_the_tool

    command, blind = started_by_the_tool(given, command)
    if blind:
        complain(blind)
    return _become(executable, command, environment)


def prepare(argv: "List[str]") -> "Tuple[str, List[str], Dict[str, str]]":
    """Return the file to execute for a job, its argv and its environment.

    Raises:
        RefusalError: if the job would not be guarded, or if there is no such command.
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
    """Return PYTHONPATH with shim's directory in front, once. The user's entries stay as they are.

    An empty entry, which means the current directory, is kept, too: ``PYTHONPATH=$PYTHONPATH:/mine`` may add one by
    accident, but the program may depend on it.

    Raises:
        RefusalError: if shim's directory cannot be on PYTHONPATH.
    """
    if os.pathsep in SITE:
        raise RefusalError("PYTHONPATH cannot hold %s, which has a %r in it: move shim" % (SITE, os.pathsep))
    given = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join([SITE, *(entry for entry in given.split(os.pathsep) if given and entry != SITE)])


def export_line() -> "str":
    """Return a line for a shell. Every Python that is started from the shell is armed afterwards.

    Raises:
        RefusalError: if none would be armed.
    """
    refuse_a_private_environment()
    return "export PYTHONPATH='%s'\n" % python_path().replace("'", "'\"'\"'")


def _split_ours(argv: "List[str]") -> "Tuple[List[str], List[str]]":
    """Split the arguments of ``run`` into its own options, anywhere before the program, and all others."""
    options, program = split(argv, _WITH_VALUE)
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
    """Return the options without ``--for``, and the release of torch that it names.

    Raises:
        RefusalError: if there is no such release.
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

    The job is guarded, so it starts in spite of findings. It does not start if a file cannot be read, parsed or fixed.
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
    """Return the file to execute, and its argv."""
    options, program = split(argv, _WITH_VALUE)
    if not program:
        raise RefusalError("nothing to run: give a script, -m MODULE, -c CODE or a command (shim run --help)")
    _refuse_a_pex((split(program[1:])[1] if is_python(program[0]) else program)[:1])
    if program[0].startswith("-") or options or _is_for_python(program[0]):
        refuse_a_private_environment()
        own = own_options()
        _refuse_lock_out([*own, *options], "python")
        return sys.executable, [argv0(), *own, *options, *program]
    executable = which(program[0])
    if executable is None and os.path.isfile(program[0]):  # not on PATH; a shell asks for ./ in front
        executable = os.path.join(os.curdir, program[0])
        program = [executable, *program[1:]]
    if executable is None:
        raise RefusalError("there is no file and no command %r" % program[0])
    if is_python(program[0]):
        _refuse_lock_out(split(program[1:])[0], program[0])
    return executable, program


def _is_for_python(path: "str") -> "bool":
    """Tell whether Python runs this script, directory or archive, or whether it is a command.

    Raises:
        RefusalError: if it is a script for another interpreter, and not executable.
    """
    if path.endswith((".py", ".pyw", ".pyc", ".pyz", ".zip")) or os.path.isfile(os.path.join(path, "__main__.py")):
        return True
    if not os.path.exists(path) or (os.path.isfile(path) and os.access(path, os.X_OK)) or which(path):
        return False
    if os.path.isfile(path):
        other = first_line(path)[:1] or ["sh"] * path.endswith(".sh")
        if other and not is_python(other[0]):
            raise RefusalError("%s is not executable. Write: run %s %s" % (path, os.path.basename(other[0]), path))
    return True


def _refuse_a_pex(path: "List[str]") -> "None":
    """Refuse a PEX file or directory, which starts Python a second time, with -E or -I, which includes it.

    https://github.com/pex-tool/pex/blob/v2.100.7/pex/pex_boot.py#L200

    Raises:
        RefusalError: if the path is one.
    """
    if path and _holds_pex_info(path[0]):
        raise RefusalError(
            "%s is a PEX file, which restarts itself with -E, and then reads no sitecustomize. Put shim among its "
            "requirements, and write `import preimport` as the first line of its program" % path[0]
        )


def _holds_pex_info(path: "str") -> "bool":
    if not os.path.exists(path):
        path = which(path) or path
    if os.path.isdir(path):
        return os.path.isfile(os.path.join(path, "PEX-INFO"))
    if os.path.basename(path) in ("pex", "__main__.py") and os.path.isfile(
        os.path.join(os.path.dirname(path), "PEX-INFO")
    ):
        return True
    try:
        with open(path, "rb") as file:
            # A zip archive has its directory at its end, and may begin with a long shell script. The record that ends
            # the directory has 22 bytes and a comment of at most 0xFFFF.
            file.seek(max(0, file.seek(0, os.SEEK_END) - 0x10000 - 22))
            if b"PK\x05\x06" not in file.read():
                return False
        from zipfile import ZipFile

        with ZipFile(path) as archive:
            return "PEX-INFO" in archive.namelist()
    except Exception:  # the interpreter will report what is wrong with the file
        return False


def _say_if_out_of_reach(executable: "str", argv: "List[str]", environment: "Dict[str, str]") -> "None":
    """Print a line if the Python that the command, or the first line of the script, names would not be armed."""
    python = [executable, *split(argv[1:])[0]] if is_python(executable) else first_line(executable)
    if not python or not is_python(python[0]):
        return
    from .import_hook import switched_on

    option = locked_out(python[1:])
    if switched_on("SHIM_DISABLE") or (is_this_interpreter(python[0]) and not option):
        return
    if option:
        complain(
            "%s is not guarded: its first line starts Python with %s, and Python then reads no sitecustomize. "
            "Drop the option from that line, or make `import preimport` the first import" % (argv[0], option)
        )
    elif _is_not_armed(python, environment):
        complain(
            "%s is not guarded: it is a Python of another environment, or older than 3.8. Install shim for it, or "
            "start the job with a Python that has shim" % " ".join(python)
        )


def _is_not_armed(python: "List[str]", environment: "Dict[str, str]") -> "bool":
    """Start this Python, and tell whether its process is not armed. False if it cannot be started or does not end."""
    import subprocess

    try:
        ran = subprocess.run(
            [*python, "-c", IS_ARMED],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return ran.stdout.split()[-1:] == [b"False"]


def refuse_a_private_environment() -> "None":
    """Refuse to run the Python of an environment that pipx or uv has made for the command shim alone.

    Raises:
        RefusalError: if this is such an environment.
    """
    if any(os.path.exists(os.path.join(sys.prefix, name)) for name in _MADE_FOR_ONE_COMMAND):
        theirs = which("python") or which("python3") or "python"
        raise RefusalError(
            "this shim is installed in a separate environment (%s), made by pipx or uv, without your torch. "
            "Install it beside your torch with `%s -m pip install`" % (sys.prefix, theirs)
        )


def _locale_before_python() -> "Dict[str, str]":
    """Return the LC_CTYPE to restore, if Python has changed it because it was started in the C locale (PEP 538).

    Python then turns on its UTF-8 mode and sets LC_CTYPE. The next Python would see that locale, and not do so.
    """
    coerced = os.environ.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8")
    asked_for = "PYTHONUTF8" in os.environ or "utf8" in sys._xoptions
    return {"LC_CTYPE": "C"} if coerced and sys.flags.utf8_mode and not asked_for else {}


def _refuse_lock_out(options: "List[str]", python: "str") -> "None":
    name = locked_out(options)
    if name:
        raise RefusalError(
            "%s is run with %s, and then reads no sitecustomize. Drop the option, or write `import preimport` as the "
            "first line of the script" % (python, name)
        )


def _become(executable: "str", argv: "List[str]", environment: "Dict[str, str]") -> "int":
    """Replace this process. On Windows that would lose the exit code, so there a child process is run instead."""
    if os.name == "nt":
        return _run_child(executable, argv, environment)
    import _signal  # type: ignore[import-not-found]
    import posix

    # Python ignores these signals in its own process. The new program would inherit that, and expects the default.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(_signal, name):
            _signal.signal(getattr(_signal, name), _signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # None if the shell has closed it
            stream.flush()
    try:
        # A debugger may have replaced os.execve, see patch_new_process_functions in
        # https://github.com/fabioz/PyDev.Debugger/blob/e3ca8f8d8782a5e07ad574eb32426da448af5160/_pydev_bundle/pydev_monkey.py
        posix.execve(executable, argv, environment)
    except OSError as error:
        no_first_line = ". It has no #! line: write shim run sh %s" % argv[0] if error.errno == 8 else ""  # ENOEXEC
        complain("cannot run %s: %s%s" % (argv[0], error.strerror, no_first_line))
        return 2


def _run_child(executable: "str", argv: "List[str]", environment: "Dict[str, str]") -> "int":
    import signal
    import subprocess

    # The child shares the console, so it gets a Ctrl-C as well, and decides how it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.call(argv, executable=executable, env=environment)
    except OSError as error:
        complain("cannot run %s: %s" % (argv[0], error.strerror))
        return 2
