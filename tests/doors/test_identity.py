"""A program under a door sees the same as without it, except for what is listed here."""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile

import pytest

from shim.import_hook import PACKAGE
from shim.launch import SITE

CHECKOUT = os.path.dirname(os.path.dirname(PACKAGE))

#: The differences that a program can see, and the reason for each.
VISIBLE = {
    "PYTHONPATH": ([SITE, CHECKOUT], "child processes must find shim's sitecustomize, too"),
    "importers": ([SITE, CHECKOUT], "Python found shim's sitecustomize there"),
    "meta_path": (["Finder"], "shim's finder waits there for torch"),
    "modules": (["sitecustomize"], "Python imported it at its start"),
}

#: Prints what a program can see of its process.
PROBE = """
import sys
modules = sorted(sys.modules)
import gc, json, os, signal, threading, traceback

def fail():
    raise ValueError("where am I?")

try:
    fail()
except ValueError:
    text = traceback.format_exc()
frame, depth = sys._getframe(), 0
while frame:
    frame, depth = frame.f_back, depth + 1
print(json.dumps({
    "__name__": __name__,
    "__file__": globals().get("__file__"),
    "__spec__": repr(__spec__),
    "__package__": __package__,
    "__loader__": repr(__loader__),
    "__builtins__": repr(__builtins__),
    "__main__": sys.modules["__main__"].__dict__ is globals(),
    "globals": sorted(globals()),
    "argv": sys.argv,
    "orig_argv": getattr(sys, "orig_argv", None),
    "path": sys.path,
    "flags": repr(sys.flags),
    "warnoptions": sys.warnoptions,
    "xoptions": sys._xoptions,
    "executable": [sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix],
    "depth": depth,
    "traceback": text,
    "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__, sys.gettrace() is None],
    "streams": [[s.encoding, s.errors, s.line_buffering, s.isatty()] for s in (sys.stdin, sys.stdout, sys.stderr)],
    "files": sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None,
    "signals": [str(signal.getsignal(number)) for number in (1, 2, 13, 15, 17)],
    "threads": [thread.name for thread in threading.enumerate()],
    "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold(), gc.isenabled()],
    "process": [os.getppid(), os.getpgrp(), os.getcwd(), os.umask(0)],
    "path_hooks": len(sys.path_hooks),
    "importers": sorted(sys.path_importer_cache),
    "meta_path": [getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path],
    "environ": dict(sorted(os.environ.items())),
    "modules": modules,
}))
"""


def without_shim(output):
    """Parse the output of the probe, and remove the differences of VISIBLE and the addresses of objects."""
    before, brace, data = output.partition("{")
    if not brace:
        return output
    data, _, after = data.partition("\n")
    seen = json.loads(re.sub(r" at 0x[0-9a-f]+", "", brace + data))
    seen["PYTHONPATH"] = seen["environ"].pop("PYTHONPATH").split(os.pathsep)
    for key, (ours, _) in VISIBLE.items():
        seen[key] = [each for each in seen[key] if each not in ours]
    return before + "".join(f"{key}: {value}\n" for key, value in seen.items()) + after


@pytest.fixture
def place(tmp_path):
    """Write the probe in every form in which a program can be started."""
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "package" / "sub").mkdir(parents=True)
    for file in ("__init__.py", "sub/__init__.py"):
        (tmp_path / "package" / file).touch()
    for file in ("__main__.py", "sub/probe.py"):
        (tmp_path / "package" / file).write_text(PROBE)
    with zipfile.ZipFile(str(tmp_path / "program.zip"), "w") as archive:
        archive.writestr("__main__.py", PROBE)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.py").symlink_to(tmp_path / "probe.py")
    return tmp_path


class TestTheViewOfTheProgram:
    @pytest.mark.parametrize(
        "command, cwd",
        [
            (["probe.py", "--x", "two words", "", "-m", "é"], "."),
            (["-m", "package.sub.probe", "-v"], "."),
            (["-m", "package"], "."),
            (["-c", PROBE, "-x"], "."),
            (["package", "1"], "."),
            (["program.zip", "1"], "."),
            (["../probe.py"], "elsewhere"),
            (["link.py"], "elsewhere"),
            (["-"], "."),
        ],
        ids=["file", "module", "package", "code", "directory", "zip", "other directory", "link", "stdin"],
    )
    def test_every_form_of_program_sees_the_same(self, same, place, command, cwd):
        code, out, _ = same(command, cwd=place / cwd, input=PROBE if command == ["-"] else "", clean=without_shim)
        assert code == 0
        assert "ValueError: where am I?" in out

    def test_a_console_script_sees_the_same(self, same, place):
        tool = place / "tool"
        tool.write_text(f"#!{sys.executable} -u\n" + PROBE)
        tool.chmod(0o755)
        assert same([tool, "--x", "1"], python=None, clean=without_shim)[0] == 0

    @pytest.mark.parametrize(
        "options",
        [
            ["-u"],
            ["-O"],
            ["-OO", "-B"],
            ["-X", "dev"],
            ["-Xutf8", "-X", "faulthandler"],
            ["-W", "error"],
            ["-bb", "-Wignore::UserWarning", "-W", "default"],
            ["-s", "-q"],
            ["-i"],
        ],
        ids=" ".join,
    )
    def test_a_program_with_interpreter_options_sees_the_same(self, same, place, options):
        assert same(["probe.py", "1"], options, input="print(7 * 6)\n", clean=without_shim)[0] == 0

    @pytest.mark.parametrize(
        "env",
        [
            {"LANG": "", "LC_ALL": "", "LC_CTYPE": ""},
            {"LC_ALL": "C"},
            {"PYTHONUTF8": "1"},
            {"PYTHONSAFEPATH": "1"},
            {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"},
            {"PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1"},
        ],
        ids=lambda env: ",".join(env),
    )
    def test_a_program_with_environment_variables_of_python_sees_the_same(self, same, place, env):
        assert same(["probe.py"], env=env, clean=without_shim)[0] == 0

    @pytest.mark.parametrize("path", ["{src}:", ":{src}", "/a:{src}::/b", "relative:{src}"])
    def test_a_program_with_any_pythonpath_sees_the_same(self, same, place, path, checkout):
        assert same(["probe.py"], path=path.format(src=checkout / "src"), clean=without_shim)[0] == 0

    @pytest.mark.parametrize("command", [["probe.py", "1"], ["-m", "probe"], ["-c", "import preimport" + PROBE]])
    def test_a_program_with_preimport_as_its_first_line_sees_the_same(self, tmp_path, python, command):
        (tmp_path / "probe.py").write_text("import preimport" + PROBE)
        through = python(command, door="src")
        (tmp_path / "preimport.py").touch()
        plain = python(command, door="src")
        out = (
            without_shim(through.stdout)
            .replace("'shim', 'shim.import_hook', ", "")
            .replace(f", '{CHECKOUT}/src/shim'", "")
        )
        assert out == without_shim(plain.stdout)
