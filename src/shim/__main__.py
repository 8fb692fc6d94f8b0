"""The command line: ``python -m shim run|check|doctor|env``. Each has a module of its own, imported when called."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

USAGE = """\
usage: shim run [PYTHON OPTIONS] SCRIPT.py [ARGS...]   run a script with the guards on
       shim run [PYTHON OPTIONS] -m MODULE [ARGS...]   a module
       shim run [PYTHON OPTIONS] -c CODE [ARGS...]     a line of code
       shim run COMMAND [ARGS...]                      any command, torchrun for one
       shim run --check CONFIG [--fix --value V] ...   check a config, or mend it, before the job starts
       shim check PATH... [--fix --value V]            find a null weight_decay in config files
       shim env                                        print the line that turns the guards on in a shell:
                                                       eval "$(python -m shim env)"
       shim doctor [--json]                            say whether a job started here is guarded, and why not
       shim doctor --explain MESSAGE                   name the patch that answers an error message
       shim --version

Everything that a command starts is covered too. Switches, in the environment: SHIM_DISABLE=1 (off),
SHIM_STRICT=1 (an error in place of a repair), SHIM_SKIP=name,name (leave patches out), SHIM_LOG=info|debug,
SHIM_REPORT=1 (say at exit which guards fired), SHIM_PATCHES=name,name (optional patches).
"""


def main(argv: "Optional[List[str]]" = None) -> "int":
    """Run one command and return its exit code; ``run`` does not return where it can replace the process."""
    argv = sys.argv[1:] if argv is None else argv
    command, rest = (argv[0], argv[1:]) if argv else ("", [])
    if command == "run":
        from .launch import run

        return run(rest)
    if command == "env":
        from .launch import export_line

        return _say(export_line())
    if command == "check":
        from .configs.command import main as check

        return check(rest)
    if command == "doctor":
        try:
            from . import doctor
        except Exception as error:  # of an installation that is damaged
            _say("doctor cannot start: %s: %s\nA job is NOT guarded here.\n" % (type(error).__name__, error))
            return 1
        return doctor.main(rest)
    if command == "--version":
        from . import __version__

        return _say("torch-shim %s\n" % __version__)
    if command in ("-h", "--help", "help"):
        return _say(USAGE)
    sys.stderr.write(("shim: there is no command %r\n\n" % command if command else "") + USAGE)
    return 2


def _say(text: "str") -> "int":
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
