"""``shim enable`` and ``shim disable``: guard every Python of this environment, without PYTHONPATH.

Python executes the lines of ``.pth`` files in site-packages that begin with ``import``. The one that is written here
runs the same ``sitecustomize.py`` that PYTHONPATH makes Python run. So it also guards where PYTHONPATH is lost: behind
``srun --export=NONE``, ``sudo`` and cron, with ``python -E`` and ``-I``, in IDEs and Jupyter kernels.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from .launch import complain

#: The name of the .pth file in site-packages.
NAME = "_torch_shim.pth"

#: The code that the .pth file executes. It does nothing if shim was removed, and no error of it gets out.
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

_EPILOG = "`shim doctor` says whether a job is guarded. SHIM_DISABLE=1 turns the guards off for one process."


def main(command: str, argv: list[str]) -> int:
    """Run ``shim enable`` or ``shim disable``, and return the exit code."""
    does = {
        "enable": "Guard every Python of this environment, without PYTHONPATH. `shim disable` undoes it.",
        "disable": "Undo `shim enable`.",
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
    _say(f"Every Python of {sys.prefix} is guarded from now on{mode}, by {place}\n`shim disable` undoes it.")
    return 0


def _disable(place: Path) -> int:
    if not place.exists():
        _say(f"{sys.prefix} is not enabled: {place} does not exist")
        return 0
    place.unlink()
    _record(place, there=False)
    _say(f"Python in {sys.prefix} starts without shim again: removed {place}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _record(place: Path, there: bool) -> None:
    """Add the file to the record of an installed shim, so that ``pip uninstall`` removes it; or take it out."""
    line = f"{NAME},,\n"
    for record in place.parent.glob("torch_shim-*.dist-info/RECORD"):
        text = record.read_bytes().decode()
        if (line in text) != there:
            _write(record, text + line if there else text.replace(line, ""))


def _write(path: Path, text: str) -> None:
    """Write a file atomically, because a Python that reads it may start at any moment."""
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
