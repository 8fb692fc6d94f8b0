"""``shim enable`` and ``shim disable``: guard every Python of this environment, without PYTHONPATH.

Python executes the lines of ``.pth`` files in site-packages that begin with ``import``. Ours runs the same file that
the PYTHONPATH door runs. So it reaches what PYTHONPATH does not: ``srun --export=NONE``, ``sudo``, cron, ``python -E``
and ``-I``, IDEs and Jupyter kernels.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from .launch import complain

#: The file that is ours in site-packages.
NAME = "_torch_shim.pth"

#: What the .pth file executes. It does nothing where shim was removed, and no error of it gets out.
_CODE = """\
try:
    import sys
    from _frozen_importlib_external import SourceFileLoader
    module = type(sys)("enabled")
    module.__file__, module.written_for = {file}, {written_for}
    SourceFileLoader("enabled", module.__file__).exec_module(module)
except Exception:
    pass
"""

_EPILOG = "What it does in a process is said by `shim doctor`; SHIM_DISABLE=1 turns it off for one."


def main(command: str, argv: list[str]) -> int:
    """Run ``shim enable`` or ``shim disable``, and return the exit code."""
    does = {
        "enable": "Guard every Python of this environment, without PYTHONPATH. `shim disable` takes it back.",
        "disable": "Take back what `shim enable` did.",
    }
    parser = argparse.ArgumentParser(prog=f"shim {command}", description=does[command], epilog=_EPILOG)
    if command == "enable":
        text = "the torch release that the programs here were written for; SHIM_FOR overrides it"
        parser.add_argument("--for", dest="written_for", metavar="RELEASE", default="", help=text)
    options = parser.parse_args(argv)
    place = pth_file()
    try:
        if command == "disable":
            return _disable(place)
        return _enable(place, options.written_for)
    except OSError as error:
        complain(f"cannot write {place}: {error.strerror or error}")
        return 2


def pth_file() -> Path:
    """Return where the .pth file of this environment is, or would be."""
    return Path(sysconfig.get_path("purelib")) / NAME


def _enable(place: Path, written_for: str) -> int:
    if written_for:
        from . import releases

        try:
            releases.written_for(written_for)
        except ValueError as error:
            complain(error)
            return 2
    door = Path(__file__).parent / "site" / "sitecustomize.py"
    code = _CODE.format(file=ascii(str(door)), written_for=ascii(written_for))
    _write(place, f"import sys; exec({code!a}, {{}})\n")
    _record(place, there=True)
    mode = f", for programs written for torch {written_for}" if written_for else ""
    _say(f"Every Python of {sys.prefix} is guarded from now on{mode}: {place}\n`shim disable` takes it back.")
    return 0


def _disable(place: Path) -> int:
    if not place.exists():
        _say(f"{sys.prefix} is not enabled: there is no {place}")
        return 0
    place.unlink()
    _record(place, there=False)
    _say(f"A plain Python of {sys.prefix} is not guarded any more: {place} is removed")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _record(place: Path, there: bool) -> None:
    """Have pip remove the file when it uninstalls shim from this environment, if it was installed into it."""
    line = f"{NAME},,\n"
    for record in place.parent.glob("torch_shim-*.dist-info/RECORD"):
        text = record.read_bytes().decode()
        if (line in text) != there:
            _write(record, text + line if there else text.replace(line, ""))


def _write(path: Path, text: str) -> None:
    """Write a file at once or not at all: a Python may start at any moment."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.write_bytes(text.encode())
        temporary.chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
