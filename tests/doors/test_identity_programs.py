"""Programs of all kinds run and end the same with and without a door, also in a debugger or a profiler."""

from __future__ import annotations

import os
import re
import subprocess
import textwrap

import pytest

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
def test_a_program_ends_the_same(same, tmp_path, end):
    (tmp_path / "ends.py").write_text("import atexit, os, sys, threading\n" + ENDS[end] + "\n")
    same(["ends.py"])


#: Programs that fail in tools which run a script inside their own process.
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
def test_a_program_prints_the_same(same, tmp_path, name):
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAMS[name]))
    code, out, err = same(["program.py"])
    assert code == 0, err
    assert out or "look out" in err


class TestToolsThatRunPrograms:
    """coverage, a profiler and debuggers work the same when they are started through ``run``."""

    @pytest.fixture
    def program(self, tmp_path):
        lines = "import sys", "", "", "def f(x):", "    if x:", "        return 1", "    return 2", "", ""
        (tmp_path / "program.py").write_text("\n".join(lines) + "\nprint(f(1), sys.argv, __name__)\n")

    def test_cprofile_prints_the_same(self, same, program):
        def calls(text):
            return re.sub(r" in \d+\.\d+ seconds|\b\d+\.\d{3}\b", "", text)

        assert "program.py:4(f)" in same(["-m", "cProfile", "-s", "name", "program.py", "1"], clean=calls)[1]

    def test_pdb_stops_at_the_same_places(self, same, program):
        out = same(["-m", "pdb", "program.py", "1"], input="b 5\nc\nw\np x + 41\nc\nq\n")[1]
        assert "42" in out and "program.py(5)f()" in out

    def test_trace_lists_the_same_functions(self, same, program):
        assert "f" in same(["-m", "trace", "--listfuncs", "program.py"])[1]

    @pytest.fixture
    def tools(self, environment):
        return str(environment("coverage", "debugpy"))

    def test_coverage_reports_the_same_lines(self, doors, program, tools, tmp_path):
        for words, path in doors(["-m", "coverage", "run", "program.py", "1"], python=tools).values():
            env = {**os.environ, "PYTHONPATH": path}
            subprocess.run(words, env=env, cwd=str(tmp_path), check=True)
            report = [tools, "-m", "coverage", "report", "-m", "--include=program.py"]
            out = subprocess.run(report, capture_output=True, text=True, cwd=str(tmp_path), check=True).stdout
            assert "program.py       6      1    83%   7\n" in out
            (tmp_path / ".coverage").unlink()

    def test_debugpy_runs_the_program_the_same(self, same, program, tools):
        def without_times(text):
            return re.sub(r"^\d+\.\d+s - ", "", text, flags=re.MULTILINE)

        words = ["-m", "debugpy", "--listen", "127.0.0.1:0", "program.py", "1"]
        out = same(words, python=tools, clean=without_times)[1]
        assert out == "1 ['program.py', '1'] __main__\n"
