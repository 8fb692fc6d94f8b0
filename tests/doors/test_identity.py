"""A program under a door sees the same as without it, except for what is listed here."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import textwrap
import zipfile

import pytest

from shim.import_hook import PACKAGE
from shim.launch import SITE

CHECKOUT = os.path.dirname(os.path.dirname(PACKAGE))

#: The differences that a program can see, and the reason for each.
VISIBLE = {
    "PYTHONPATH": ([SITE, CHECKOUT], "children are to find our sitecustomize too"),
    "importers": ([SITE, CHECKOUT], "Python found our sitecustomize there"),
    "meta_path": (["Finder"], "it waits there for torch"),
    "modules": (["sitecustomize"], "the program started with it"),
}

#: Prints what a program can see of the process that it runs in.
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


@pytest.fixture(scope="session")
def console_script(tmp_path_factory):
    """Return the ``shim`` command as an installer writes it."""
    path = tmp_path_factory.mktemp("bin") / "shim"
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom shim.__main__ import main\nsys.exit(main())\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def doors(checkout, console_script):
    """Return a function that tells how a Python command is started plainly and through each door.

    It returns, by the name of the door, the words of the command and the PYTHONPATH; ``None`` is plainly.
    """
    ours, src = str(checkout), str(checkout / "src")

    def commands(command, options=(), python=sys.executable, path=src):
        plain = [python, *options, *command] if python else command
        run = [python or sys.executable, *options, "-m", "shim", "run", *command]
        found = {
            None: (plain, path),
            "PYTHONPATH": (plain, ours + os.pathsep + path),
            "run": (run, path),
        }
        if python == sys.executable:
            found["shim"] = ([console_script, "run", *options, *command], path)
        return {door: ([str(word) for word in words], path) for door, (words, path) in found.items()}

    return commands


@pytest.fixture
def same(doors, tmp_path):
    """Return a function that runs a command plainly and through every door, and checks that nothing differs.

    It returns what the plain process printed. ``clean`` takes what may differ out of the output.
    """

    def run(command, options=(), env=(), cwd=tmp_path, input="", clean=lambda text: text, **how):
        results = {}
        for door, (words, path) in doors(command, options, **how).items():
            process = subprocess.run(
                words,
                env={**os.environ, "PYTHONPATH": path, **dict(env)},
                cwd=str(cwd),
                input=input,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            results[door] = process.returncode, clean(process.stdout), clean(process.stderr)
        plain = results.pop(None)
        for door, (code, out, err) in results.items():
            assert out == plain[1], door
            assert (code, err) == (plain[0], plain[2]), door
        return plain

    return run


def without_us(output):
    """Parse the probe's output, and take out what VISIBLE lists, and the addresses of objects."""
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
    """Lay the probe out in every form in which a program can be started."""
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


class TestWhatTheProgramSees:
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
    def test_in_every_form_of_program(self, same, place, command, cwd):
        code, out, _ = same(command, cwd=place / cwd, input=PROBE if command == ["-"] else "", clean=without_us)
        assert code == 0
        assert "ValueError: where am I?" in out

    def test_in_a_console_script(self, same, place):
        tool = place / "tool"
        tool.write_text(f"#!{sys.executable} -u\n" + PROBE)
        tool.chmod(0o755)
        assert same([tool, "--x", "1"], python=None, clean=without_us)[0] == 0

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
    def test_with_interpreter_options(self, same, place, options):
        assert same(["probe.py", "1"], options, input="print(7 * 6)\n", clean=without_us)[0] == 0

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
    def test_with_settings_in_the_environment(self, same, place, env):
        assert same(["probe.py"], env=env, clean=without_us)[0] == 0

    @pytest.mark.parametrize("path", ["{src}:", ":{src}", "/a:{src}::/b", "relative:{src}"])
    def test_with_any_python_path_of_the_users(self, same, place, path, checkout):
        assert same(["probe.py"], path=path.format(src=checkout / "src"), clean=without_us)[0] == 0

    @pytest.mark.parametrize("command", [["probe.py", "1"], ["-m", "probe"], ["-c", "import preimport" + PROBE]])
    def test_with_preimport_as_the_first_line(self, tmp_path, python, command):
        (tmp_path / "probe.py").write_text("import preimport" + PROBE)
        through = python(command, door="src")
        (tmp_path / "preimport.py").touch()
        plain = python(command, door="src")
        out = (
            without_us(through.stdout)
            .replace("'shim', 'shim.import_hook', ", "")
            .replace(f", '{CHECKOUT}/src/shim'", "")
        )
        assert out == without_us(plain.stdout)


ENDS = {
    "to its end": "pass",
    "exit 0": "sys.exit(0)",
    "exit 3": "sys.exit(3)",
    "exit with a string": "sys.exit('a reason')",
    "an exception": "1 / 0",
    "an exception while handling one": "try: 1 / 0\nexcept ZeroDivisionError: {}['key']",
    "a thread's exception": "threading.Thread(target=lambda: 1 / 0, name='T').start()",
    "at once": "os._exit(7)",
    "abort": "os.abort()",
    "a syntax error": "1 +",
    "an atexit": "atexit.register(print, 'bye'); sys.exit(4)",
    "a deep recursion": "sys.setrecursionlimit(60)\ndef f(): f()\nf()",
}


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_as_it_would(same, tmp_path, end):
    (tmp_path / "ends.py").write_text("import atexit, os, sys, threading\n" + ENDS[end] + "\n")
    same(["ends.py"])


#: Programs that break in tools which run a script inside their own process.
PROGRAMS = {
    "pickle from a thread after main has ended": """
        import pickle, threading

        class Mine:
            def __init__(self, value):
                self.value = value

        def work():
            threading.main_thread().join()
            data = pickle.dumps(Mine(3))
            print(b"__main__" in data, pickle.loads(data).value)

        threading.Thread(target=work).start()
    """,
    "multiprocessing": """
        import multiprocessing, os, sys

        class Mine:
            def __init__(self, value):
                self.value = value

        def work(mine):
            return Mine(mine.value + 1), __name__, sys.argv, sys.flags.optimize, sys.path[0]

        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    for mine, *rest in pool.map(work, [Mine(1), Mine(2)]):
                        print(method, mine.value, rest)
    """,
    "a pool of processes": """
        import sys
        from concurrent.futures import ProcessPoolExecutor

        def work(x):
            return x / (x - 2)

        if __name__ == "__main__":
            with ProcessPoolExecutor(1) as pool:
                print(list(pool.map(work, [3, 4])))
                print(type(pool.submit(work, 2).exception()))
    """,
    "asyncio subprocesses": """
        import asyncio, sys

        async def main():
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "import sys; print(input()); sys.exit(5)",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )
            print(await child.communicate(b"hello"), child.returncode)

        asyncio.run(main())
    """,
    "inspect.getsource": """
        import inspect

        def function():
            return "this line"

        class Class:
            attribute = 1

        print(inspect.getsource(function), inspect.getsource(Class), inspect.getmodule(Class))
    """,
    "a warning's place": """
        import warnings

        def f():
            warnings.warn("look out", stacklevel=2)

        f()
    """,
    "runpy": """
        import runpy, sys
        print(runpy.run_module("__future__")["__name__"], runpy.run_path(__file__, run_name="other")["__name__"]
              if __name__ == "__main__" else "inner")
    """,
    "replacing itself": """
        import os, sys
        if len(sys.argv) == 1:
            os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
        print(sys.argv)
    """,
    "modules by name": """
        import importlib, importlib.util, pkgutil, sys
        import __main__
        print(__main__.__file__, importlib.util.find_spec("json").origin)
        print(importlib.util.find_spec("no_such_module"), hasattr(pkgutil, "find_loader"))
        try:
            import no_such_module
        except ModuleNotFoundError as error:
            print(error, error.name, error.path)
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_what_it_does(same, tmp_path, name):
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAMS[name]))
    code, out, err = same(["program.py"])
    assert code == 0, err
    assert out or "look out" in err


#: Says that it is ready and waits, in short sleeps: a signal that arrives just before a sleep does not end it. All on
#: one line, so that the traceback is the same wherever the signal arrives.
WAITING = (
    "import time; words = iter(['ready\\n'])\nwhile True: print(next(words, ''), end='', flush=True); time.sleep(0.1)"
)


class TestSignals:
    @pytest.fixture
    def end_of(self, doors, tmp_path):
        """Return a function that starts a program through every door, signals it, and returns how each ended."""

        def run(code, number, before=()):
            ends = []
            for words, path in doors(["-c", code], ["-X", "no_debug_ranges"]).values():
                with subprocess.Popen(
                    [*before, *words],
                    env={**os.environ, "PYTHONPATH": path},
                    cwd=str(tmp_path),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    # the tests may run under nohup, which ignores it
                    preexec_fn=None if before else lambda: signal.signal(number, signal.SIG_DFL),
                ) as process:
                    try:
                        assert process.stdout.readline() == "ready\n"
                        process.send_signal(number)
                        ends.append((*process.communicate(timeout=60), process.returncode))
                    finally:
                        process.kill()
            return ends

        return run

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_a_program_without_a_handler(self, end_of, name):
        plain, *through = end_of(WAITING, getattr(signal, name))
        assert plain[2] == -getattr(signal, name)
        assert through == [plain] * len(through)

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_a_program_with_a_handler(self, end_of, name):
        code = (
            "import signal, sys, time\n"
            f"signal.signal(signal.{name}, lambda number, frame: sys.exit(number + 40))\n"
            "try:\n    print('ready', flush=True)\n    while True: time.sleep(0.1)\n"
            "finally: print('cleaned up')"
        )
        plain, *through = end_of(code, getattr(signal, name))
        assert plain == ("cleaned up\n", "", getattr(signal, name) + 40)
        assert through == [plain] * len(through)

    def test_a_program_started_by_nohup_ignores_sighup(self, end_of):
        code = (
            "import os, signal\n"
            "print('ready', flush=True)\n"
            "signal.sigtimedwait([], 1)\n"
            "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
        )
        plain, *through = end_of(code, signal.SIGHUP, before=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"])
        assert plain == ("True\n", "", 0)
        assert through == [plain] * len(through)


class TestStandardInput:
    def test_a_pipe(self, same):
        code = "import sys; print(sys.stdin.isatty(), sys.stdin.readline(), list(sys.stdin))"
        assert same(["-c", code], input="one\ntwo\nthree")[1] == "False one\n ['two\\n', 'three']\n"

    @pytest.fixture
    def on_a_terminal(self, doors, tmp_path):
        """Return a function that types at a program through every door, and returns what each one showed."""

        def run(command, typed, options=()):
            shown = []
            for words, path in doors(command, options).values():
                ours, theirs = os.openpty()
                settings = termios.tcgetattr(theirs)
                settings[3] &= ~termios.ECHO
                termios.tcsetattr(theirs, termios.TCSANOW, settings)
                process = subprocess.Popen(
                    words,
                    env={**os.environ, "PYTHONPATH": path, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"},
                    cwd=str(tmp_path),
                    stdin=theirs,
                    stdout=theirs,
                    stderr=theirs,
                    start_new_session=True,
                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                )
                os.close(theirs)
                text, left = "", list(typed)
                while True:
                    try:
                        text += os.read(ours, 1000).decode()
                    except OSError:  # the last process on it has closed it
                        break
                    if left and text.endswith(left[0][0]):
                        os.write(ours, left.pop(0)[1].encode())
                os.close(ours)
                shown.append((text, process.wait(300)))
            return shown

        return run

    def test_a_terminal(self, on_a_terminal):
        code = (
            "import os, sys\n"
            "print(sys.stdin.isatty(), sys.stdout.line_buffering, os.tcgetpgrp(0) == os.getpgrp() == os.getpid())\n"
            "print(input('name? '))"
        )
        plain, *through = on_a_terminal(["-c", code], [("name? ", "me\n")])
        assert "True True True" in plain[0] and plain[0].endswith("me\r\n")
        assert through == [plain] * len(through)

    def test_control_c_at_a_terminal(self, on_a_terminal):
        plain, *through = on_a_terminal(["-c", WAITING], [("ready\r\n", "\x03")], options=["-X", "no_debug_ranges"])
        assert "KeyboardInterrupt" in plain[0] and plain[1] == -signal.SIGINT
        assert through == [plain] * len(through)

    def test_an_interactive_session_after_the_program(self, on_a_terminal):
        typed = [(">>> ", "print(x + 1)\n"), (">>> ", "exit(6)\n")]
        plain, *through = on_a_terminal(["-c", "x = 41"], typed, options=["-i"])
        assert "42" in plain[0] and plain[1] == 6
        assert through == [plain] * len(through)


class TestToolsThatRunPrograms:
    """Coverage, a profiler and debuggers, each started through ``run`` as it is started plainly."""

    @pytest.fixture
    def program(self, tmp_path):
        lines = "import sys", "", "", "def f(x):", "    if x:", "        return 1", "    return 2", "", ""
        (tmp_path / "program.py").write_text("\n".join(lines) + "\nprint(f(1), sys.argv, __name__)\n")

    def test_cprofile(self, same, program):
        def calls(text):
            return re.sub(r" in \d+\.\d+ seconds|\b\d+\.\d{3}\b", "", text)

        assert "program.py:4(f)" in same(["-m", "cProfile", "-s", "name", "program.py", "1"], clean=calls)[1]

    def test_pdb(self, same, program):
        out = same(["-m", "pdb", "program.py", "1"], input="b 5\nc\nw\np x + 41\nc\nq\n")[1]
        assert "42" in out and "program.py(5)f()" in out

    def test_trace(self, same, program):
        assert "f" in same(["-m", "trace", "--listfuncs", "program.py"])[1]

    @pytest.fixture
    def tools(self, environment):
        return str(environment("coverage", "debugpy"))

    def test_coverage(self, doors, program, tools, tmp_path):
        for words, path in doors(["-m", "coverage", "run", "program.py", "1"], python=tools).values():
            env = {**os.environ, "PYTHONPATH": path}
            subprocess.run(words, env=env, cwd=str(tmp_path), check=True)
            report = [tools, "-m", "coverage", "report", "-m", "--include=program.py"]
            out = subprocess.run(report, capture_output=True, text=True, cwd=str(tmp_path), check=True).stdout
            assert "program.py       6      1    83%   7\n" in out
            (tmp_path / ".coverage").unlink()

    def test_debugpy(self, same, program, tools):
        def without_times(text):
            return re.sub(r"^\d+\.\d+s - ", "", text, flags=re.MULTILINE)

        words = ["-m", "debugpy", "--listen", "127.0.0.1:0", "program.py", "1"]
        out = same(words, python=tools, clean=without_times)[1]
        assert out == "1 ['program.py', '1'] __main__\n"
