"""The command line: ``python -m shim run``, ``check``, …. The module of a command is imported when it is called."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

USAGE = """\
usage: shim run [PYTHON OPTIONS] SCRIPT.py [ARGS...]   run a script with the guards on
       shim run --for RELEASE SCRIPT.py [ARGS...]      a script that was written for another release of torch: 1.7
       shim run [PYTHON OPTIONS] -m MODULE [ARGS...]   a module
       shim run [PYTHON OPTIONS] -c CODE [ARGS...]     a line of code
       shim run COMMAND [ARGS...]                      any command, for example torchrun
       shim run --check CONFIG [--fix --value V] ...   check a config, or fix it, before the job starts
       shim check PATH... [--fix --value V]            find a null weight_decay in config files
       shim scan PATH...                               find names in Python sources that the installed torch lacks
       shim env                                        print the line that turns the guards on in a shell:
                                                       eval "$(shim env)"
       shim enable [--for RELEASE]                     guard every Python of this environment, without PYTHONPATH
       shim disable                                    undo `shim enable`
       shim doctor [--verbose] [--python PATH]         say whether a job started here is guarded, and why not
       shim doctor --explain MESSAGE                   name the patch that answers an error message
       shim --version

`shim` and `python -m shim` are the same command. Everything that a command starts is covered too.
"""


HELP_ENV = """\
usage: shim env

Print the line that turns the guards on in every Python that the shell starts afterwards: eval "$(shim env)"
"""


def main(argv: "Optional[List[str]]" = None) -> "int":
    """Run one command and return its exit code; ``run`` does not return where it can replace the process."""
    argv = sys.argv[1:] if argv is None else argv
    command, rest = (argv[0], argv[1:]) if argv else ("", [])
    if command == "check":  # handles errors of its output itself
        from .configs.command import main as check

        return check(rest)
    if command == "scan":
        from .scan.command import main as scan

        return scan(rest)
    if sys.stdout is None:
        sys.stdout = _Closed()
    elif hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path need not be in the encoding of stdout
    try:
        try:
            code = _command(command, rest)
        except SystemExit as end:  # argparse's
            code = end.code if isinstance(end.code, int) else 2
        sys.stdout.flush()
        return code
    except OSError as error:
        if error.filename is not None:
            raise
        _cannot_print(error)
        return 2


def _command(command: "str", rest: "List[str]") -> "int":
    if command == "run":
        from .launch import run

        return run(rest)
    if command == "env":
        return _env(rest)
    if command in ("enable", "disable"):
        from .enable import main as enable

        return enable(command, rest)
    if command == "doctor":
        try:
            from . import doctor
        except Exception as error:  # a damaged installation
            _say("doctor cannot start: %s: %s\nA job is NOT guarded here.\n" % (type(error).__name__, error))
            return 1
        return doctor.main(rest)
    if command == "--version":
        from . import __version__

        return _say("torch-shim %s\n" % __version__)
    if command in ("-h", "--help", "help"):
        return _say(_usage())
    return _usage_error("there is no command %r\n" % command if command else "", _usage())


def _usage() -> "str":
    from .switches import SWITCHES

    lines = ["  %-27s%s\n" % pair for pair in SWITCHES.items()]
    return USAGE + "\nEnvironment variables:\n" + "".join(lines)


def _env(rest: "List[str]") -> "int":
    from .launch import RefusalError, complain, export_line

    if rest[:1] in (["-h"], ["--help"]):
        return _say(HELP_ENV)
    if rest:
        return _usage_error("env takes no arguments, but got %r" % rest[0], HELP_ENV)
    try:
        line = export_line()
    except RefusalError as refusal:
        complain(refusal)
        return 2
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        return _say(line)
    binary.write(os.fsencode(line))  # the shell needs the exact bytes of the path, whatever the encoding of stdout is
    return 0


def _say(text: "str") -> "int":
    sys.stdout.write(text)
    return 0


def _usage_error(message: "str", usage: "str") -> "int":
    if sys.stderr is not None:
        sys.stderr.write(("shim: %s\n" % message if message else "") + usage)
    return 2


class _Closed:
    """Stands in for a stdout that the shell has closed (``>&-``)."""

    def write(self, text: "str") -> "int":
        raise OSError(9, "it is closed")

    def flush(self) -> "None":
        pass


def _cannot_print(error: "OSError") -> "None":
    from .launch import complain

    complain("cannot write to stdout: %s" % error.strerror)
    if not isinstance(sys.stdout, _Closed):
        # Python flushes stdout when it ends, and would print another error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
