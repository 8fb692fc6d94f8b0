"""Other tools have a sitecustomize, an import hook or a start-up file: each works beside shim, and shim beside it."""

from __future__ import annotations

import importlib.machinery
import os
import py_compile
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

from shim.launch import SITE

DIES = """
import torch
optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
print("weight decay", optimizer.defaults["weight_decay"])
"""

#: Prints which modules arrived, in place of guarding them: a stand-in for shim's reaction, not for torch.
ANNOUNCE = """
import sys
if any(hasattr(finder, "_shim") for finder in sys.meta_path):
    from shim import import_hook
    import_hook.arrived = lambda name, just_run: print("arrived:", name)
"""


class Tool(NamedTuple):
    """A tool with a sitecustomize of its own, as it is really installed."""

    packages: tuple
    #: Where its sitecustomize lies in site-packages.
    directory: str
    #: How its users start a program.
    wrapper: tuple
    #: An expression that is true where it has started.
    at_work: str
    #: Quiet, and without a network.
    settings: dict
    #: It loads the sitecustomize that it shadows.
    chains: bool = True


TOOLS = {
    "ddtrace": Tool(
        ("ddtrace",),
        "ddtrace/bootstrap",
        ("ddtrace-run",),
        "'ddtrace' in sys.modules",
        {
            "DD_TRACE_ENABLED": "false",
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        },
    ),
    "opentelemetry": Tool(
        ("opentelemetry-distro", "opentelemetry-instrumentation"),
        "opentelemetry/instrumentation/auto_instrumentation",
        ("opentelemetry-instrument",),
        "'opentelemetry.instrumentation.auto_instrumentation' in sys.modules",
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
        chains=False,
    ),
    "newrelic": Tool(
        ("newrelic",),
        "newrelic/bootstrap",
        ("newrelic-admin", "run-program"),
        "'newrelic.config' in sys.modules",
        {"NEW_RELIC_DEVELOPER_MODE": "true", "NEW_RELIC_LOG": "/dev/null"},
    ),
}


def loads(stderr):
    """List the directories of the sitecustomize files that ``python -v`` says were loaded, one for each time."""
    return re.findall(r"^# code object from '?(.*?)/(?:__pycache__/)?sitecustomize\.", stderr, re.MULTILINE)


class TestToolsWithASitecustomize:
    @pytest.fixture(params=TOOLS)
    def tool(self, request):
        return TOOLS[request.param]

    @pytest.fixture
    def start(self, tool, environment, tmp_path, checkout, fake_torch):
        """Return a function that starts a program in an environment where the tool is installed."""
        python = environment(*tool.packages, with_torch=True)
        script = tmp_path / "train.py"
        theirs = str(next(python.parents[1].glob("lib/python*/site-packages")) / tool.directory)

        def run(*words, program, path):
            script.write_text(f"import sys\nprint('at work', {tool.at_work})\n" + program)
            paths = {"ours": SITE, "theirs": theirs, "src": str(checkout / "src"), "fake": str(fake_torch)}
            known = {"python": python, "wrapper": [python.with_name(tool.wrapper[0]), *tool.wrapper[1:]]}
            command = []
            for word in words:
                word = known.get(word, word)
                command += [str(part) for part in (word if isinstance(word, list) else [word])]
            return subprocess.run(
                [*command, str(script)],
                env={
                    **os.environ,
                    **tool.settings,
                    "PYTHONPATH": os.pathsep.join(paths[name] for name in path),
                    # What its wrapper would have set.
                    "NEW_RELIC_PYTHON_PREFIX": os.path.realpath(str(python.parents[1])),
                    "NEW_RELIC_PYTHON_VERSION": "%d.%d" % sys.version_info[:2],
                },
                cwd=str(tmp_path),
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )

        return run

    def test_ours_in_front_runs_theirs_once(self, start, tool):
        result = start("python", "-v", program=ANNOUNCE + "import torch.optim", path=["ours", "theirs", "fake"])
        assert result.stdout == "at work True\ntorch.optim runs\narrived: torch.optim\n", result.stderr[-3000:]
        assert sum(tool.directory in directory for directory in loads(result.stderr)) == 1

    def test_theirs_in_front_runs_ours_if_it_runs_any(self, start, tool):
        result = start("wrapper", "python", program=ANNOUNCE + "import torch.optim", path=["ours", "fake"])
        assert result.stdout.startswith("at work True\ntorch.optim runs\n"), result.stderr
        assert ("arrived: torch.optim" in result.stdout) == tool.chains

    def test_doctor_names_theirs_in_front(self, start, tool):
        result = start("wrapper", "python", program="from shim import doctor\ndoctor.main([])", path=["ours", "src"])
        # Its lines are wrapped, inside long paths too.
        said = f"{tool.directory}/sitecustomize.py comes before shim's on PYTHONPATH".replace(" ", "")
        assert said in "".join(result.stdout.split()), result.stdout + result.stderr

    def test_run_under_its_own_command_guards(self, start):
        result = start("wrapper", "python", "-m", "shim", "run", program=DIES, path=["src"])
        assert result.stdout == "at work True\nweight decay 0.0\n", result.stderr


class TestCoverage:
    def test_a_sitecustomize_that_starts_coverage_measures_once(self, environment, tmp_path):
        python = environment("coverage")
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        (theirs / "sitecustomize.py").write_text("import coverage\ncoverage.process_startup()\n")
        (tmp_path / "settings").write_text("[run]\nparallel = true\n")
        (tmp_path / "program.py").write_text("x = 1\nif x:\n    print('measured')\nelse:\n    print('not')\n")
        env = {
            **os.environ,
            "PYTHONPATH": SITE + os.pathsep + str(theirs),
            "COVERAGE_PROCESS_START": str(tmp_path / "settings"),
        }

        def run(*words):
            return subprocess.run(
                [str(python), *words], env=env, cwd=str(tmp_path), capture_output=True, text=True, check=True
            ).stdout

        assert run("program.py") == "measured\n"
        assert len(list(tmp_path.glob(".coverage.*"))) == 1
        del env["COVERAGE_PROCESS_START"]
        run("-m", "coverage", "combine")
        # Not installed, our own files are a part of the program to coverage; hence the choice of file.
        assert "program.py       4      1    75%" in run("-m", "coverage", "report", "--include=program.py")


class TestSitecustomize:
    FINDERS = "import sys; print(sum(hasattr(f, '_shim') for f in sys.meta_path), 'sitecustomize' in sys.modules)"

    def test_the_distributions_runs_once_and_is_the_one_that_is_seen(self, python, checkout):
        code = "import sitecustomize; print(sitecustomize.__file__)"
        system = next((path for path in ("/usr/bin/python3", "/usr/bin/python") if os.path.exists(path)), None)
        plain = python(code, door=None, executable=system) if system else None
        if plain is None or plain.returncode != 0:
            pytest.skip("no Python of a distribution that has a sitecustomize on this machine")
        result = python(["-v", "-c", code], door="sitecustomize", executable=system)
        assert result.stdout == plain.stdout
        assert loads(result.stderr) == [str(checkout), os.path.dirname(plain.stdout.strip())]

    def test_two_copies_of_ours_are_one(self, python, tmp_path, checkout, fake_torch):
        copy = tmp_path / "copy"
        shutil.copytree(str(checkout / "src"), str(copy / "src"), ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        shutil.copy(str(checkout / "sitecustomize.py"), str(copy))
        result = python(
            ANNOUNCE + "import torch.optim\n" + self.FINDERS,
            env={"PYTHONPATH": os.pathsep.join(map(str, [checkout, copy, SITE, fake_torch]))},
        )
        assert result.stdout == "torch.optim runs\narrived: torch.optim\n1 True\n", result.stderr

    @pytest.mark.parametrize("spelling", ["{0}:{0}", "{0}:{1}", "{1}:{0}", "{0}/:{0}", "{0}/../{2}:{0}"])
    def test_ours_found_twice_is_one(self, python, checkout, spelling, fake_torch):
        path = spelling.format(checkout, SITE, checkout.name) + os.pathsep + str(fake_torch)
        code = ANNOUNCE + "import torch.optim\n" + self.FINDERS + "; print(sys.path[1:2])"
        result = python(code, env={"PYTHONPATH": path})
        assert result.stdout == f"torch.optim runs\narrived: torch.optim\n1 True\n['{fake_torch}']\n", result.stderr

    @pytest.fixture
    def behind(self, python, tmp_path):
        """Return a function that runs Python with a directory behind shim's that was not searched, like site-packages.

        Python searches those of PYTHONPATH before it finds the modules that it needs to start. So a sitecustomize
        in front of shim's clears the cache.
        """
        first = tmp_path / "first"
        first.mkdir()

        def run(place, *, door=SITE, prepare=""):
            (first / "sitecustomize.py").write_text(
                prepare + "import os, sys\n"
                "sys.path.remove(os.path.dirname(__file__))\n"
                "sys.path_importer_cache.clear()\n"
                "del sys.modules['sitecustomize']\n"
                "import sitecustomize\n"
            )
            path = [str(first), *([door] if door else []), str(place)]
            return python("pass", door=None, env={"PYTHONPATH": os.pathsep.join(path)})

        return run

    def test_a_chain_of_three_runs_in_turn_and_each_once(self, python, tmp_path):
        entries = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            entries.append(str(tmp_path / name))
        (tmp_path / "first" / "sitecustomize.py").write_text(
            textwrap.dedent(
                """
                print("first")
                import os, sys
                here = os.path.dirname(__file__)
                sys.path.remove(here)
                del sys.modules["sitecustomize"]
                import sitecustomize
                sys.path.insert(0, here)
                """
            )
        )
        (tmp_path / "second" / "sitecustomize.py").write_text("print('second')\n")
        path = os.pathsep.join([entries[0], SITE, entries[1]])
        result = python("import sitecustomize; print(sitecustomize.__file__)", door=None, env={"PYTHONPATH": path})
        assert result.stdout == f"first\nsecond\n{entries[1]}/sitecustomize.py\n", result.stderr

    @pytest.mark.parametrize(
        "fault", ["raise ImportError('theirs')", "raise SystemExit(3)", "1 +", "raise KeyboardInterrupt"]
    )
    def test_what_it_raises_is_reported_as_without_us(self, python, tmp_path, fault):
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        (theirs / "sitecustomize.py").write_text("import os\n" + fault + "\n")
        code = "import sys; print('sitecustomize' in sys.modules)"
        with_us = python(code, env={"PYTHONPATH": SITE + os.pathsep + str(theirs)})
        without = python(code, door=None, env={"PYTHONPATH": str(theirs)})
        assert (with_us.stdout, with_us.returncode) == (without.stdout, without.returncode)
        assert without_our_frames(with_us.stderr) == without_our_frames(without.stderr)

    def test_a_package_and_a_zip_are_found_too(self, python, tmp_path):
        (tmp_path / "theirs" / "sitecustomize").mkdir(parents=True)
        (tmp_path / "theirs" / "sitecustomize" / "__init__.py").write_text("print(__name__, __path__ != [])\n")
        packed = shutil.make_archive(str(tmp_path / "packed"), "zip", str(tmp_path / "theirs"))
        for place in (tmp_path / "theirs", packed):
            result = python("pass", env={"PYTHONPATH": SITE + os.pathsep + str(place)})
            assert result.stdout == "sitecustomize True\n", result.stderr

    def test_it_is_found_wherever_python_would_find_it(self, behind, tmp_path):
        source = tmp_path / "source.py"
        source.write_text("print(__name__, 'runs')\n")
        for place in ("package/sitecustomize", "file", "compiled"):
            (tmp_path / place).mkdir(parents=True)
        shutil.copy(str(source), str(tmp_path / "package" / "sitecustomize" / "__init__.py"))
        shutil.copy(str(source), str(tmp_path / "file" / "sitecustomize.py"))
        py_compile.compile(str(source), str(tmp_path / "compiled" / "sitecustomize.pyc"), doraise=True)
        packed = shutil.make_archive(str(tmp_path / "packed"), "zip", str(tmp_path / "file"))
        for place in (tmp_path / "package", tmp_path / "file", tmp_path / "compiled", packed):
            result = behind(place)
            assert result.stdout == "sitecustomize runs\n", (place, result.stderr)

    def test_an_entry_that_is_no_string_is_passed_over(self, behind, tmp_path):
        (tmp_path / "sitecustomize.py").write_text("print('runs')\n")
        odd = "import pathlib, sys\nsys.path[1:1] = [pathlib.Path('/'), b'/', None, ['/']]\n"
        with_us, without = behind(tmp_path, prepare=odd), behind(tmp_path, prepare=odd, door=None)
        assert (with_us.stdout, with_us.stderr) == (without.stdout, without.stderr) == ("runs\n", "")

    @pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
    @pytest.mark.parametrize("suffix", importlib.machinery.EXTENSION_SUFFIXES)
    def test_an_extension_module_runs_as_it_would(self, behind, tmp_path, suffix):
        """This one runs, and then fails to become a module."""
        source = '#include <stdio.h>\nvoid *PyInit_sitecustomize(void) { puts("runs"); fflush(stdout); return 0; }\n'
        (tmp_path / "source.c").write_text(source)
        library = str(tmp_path / ("sitecustomize" + suffix))
        subprocess.run(["cc", "-shared", "-fPIC", str(tmp_path / "source.c"), "-o", library], check=True)
        with_us, without = behind(tmp_path), behind(tmp_path, door=None)
        assert with_us.stdout == without.stdout == "runs\n"
        assert without_our_frames(with_us.stderr) == without_our_frames(without.stderr)

    def test_it_is_found_by_a_path_hook_of_somebody_else(self, behind, tmp_path):
        """Like the finder of an encrypted or a remote directory, which looks empty to all others."""
        hook = """
            import importlib.util, os, sys

            class Finder:
                def __init__(self, path):
                    if os.path.basename(path) != "behind":
                        raise ImportError
                def find_spec(self, name, target=None):
                    return importlib.util.spec_from_loader(name, self) if name == "sitecustomize" else None
                def create_module(self, spec):
                    return None
                def exec_module(self, module):
                    print("found by the hook")

            sys.path_hooks.insert(0, Finder)
            """
        (tmp_path / "behind").mkdir()
        result = behind(tmp_path / "behind", prepare=textwrap.dedent(hook))
        assert result.stdout == "found by the hook\n", result.stderr


def without_our_frames(stderr):
    """Remove the frames of shim from a traceback that the interpreter prints while it starts."""
    lines = stderr.splitlines()
    kept, ours = [], False
    for line in lines:
        if line.startswith("  File "):
            ours = "sitecustomize.py" in line and ("_main" in line or "_run_shadowed" in line or SITE in line)
        elif not line.startswith("    "):
            ours = False
        if not ours:
            kept.append(line)
    return kept


class TestStartUpFiles:
    def test_a_usercustomize_runs_as_it_would(self, python, tmp_path):
        """It needs a user site, which a virtual environment has not."""
        base = getattr(sys, "_base_executable", sys.executable)
        env = {"PYTHONUSERBASE": str(tmp_path / "base")}
        where = "import site; print(site.getusersitepackages(), site.ENABLE_USER_SITE)"
        user_site, enabled = python(where, door=None, env=env, executable=base).stdout.split()
        if enabled != "True":
            pytest.skip("this Python has no user site")
        Path(user_site).mkdir(parents=True)
        (Path(user_site) / "usercustomize.py").write_text("import sys\nprint('usercustomize', sys.path[0])\n")
        (Path(user_site) / "some.pth").write_text("import sys; print('pth', 'sitecustomize' in sys.modules)\n")
        plain = python("pass", door=None, env=env, executable=base)
        assert plain.stdout.startswith("pth") and "\nusercustomize" in plain.stdout
        armed = python("pass", env={**env, "PYTHONPATH": SITE}, executable=base)
        assert armed.stdout.splitlines()[0] == plain.stdout.splitlines()[0]
        assert armed.stdout.count("usercustomize") == 1

    def test_a_pth_file_that_imports_torch_is_guarded_and_called_late(self, python, tmp_path, environment):
        executable = environment(with_torch=True)
        site_packages = next(executable.parents[1].glob("lib/python*/site-packages"))
        early = site_packages / "zzz_early.pth"
        early.write_text("import os; os.environ.get('EARLY') and __import__('torch')\n")
        try:
            result = python(
                DIES + "import shim; print(shim.status().late)",
                env={"PYTHONPATH": SITE, "EARLY": "1"},
                executable=executable,
            )
        finally:
            early.unlink()
        assert result.stdout == "weight decay 0.0\nTrue\n", result.stderr


class TestImportHooks:
    """The finder beside other finders and loaders, on a package that only has torch's name."""

    @pytest.fixture
    def armed(self, python, fake_torch):
        def run(code, **options):
            env = {"PYTHONPATH": SITE + os.pathsep + str(fake_torch)}
            code = [*code, ANNOUNCE] if isinstance(code, list) else ANNOUNCE + textwrap.dedent(code)
            result = python(code, env=env, **options)
            assert result.returncode == 0, result.stderr
            return result.stdout.splitlines()

        return run

    ONCE = ("torch.optim runs", "arrived: torch.optim")

    def test_a_reload_arrives_again(self, armed):
        code = """
            import importlib, torch.optim
            torch.optim.mark = "edited"
            before = torch.optim
            print(importlib.reload(torch.optim) is before, torch.optim.mark)
        """
        assert armed(code) == [*self.ONCE, *self.ONCE, "True original"]

    def test_a_module_that_is_removed_and_imported_again_arrives_again(self, armed):
        code = """
            import sys, torch.optim
            del sys.modules["torch.optim"], torch.optim
            import torch.optim
        """
        assert armed(code) == [*self.ONCE, *self.ONCE]

    def test_a_module_that_fails_half_way_arrives_when_it_is_there(self, armed, fake_torch):
        (fake_torch / "torch" / "optim" / "__init__.py").write_text(
            "import os\n1 / len(os.environ['DIVISOR'])\nprint('runs')\n"
        )
        code = """
            import os, sys
            os.environ["DIVISOR"] = ""
            try:
                import torch.optim
            except ZeroDivisionError as error:
                trace = error.__traceback__
                while trace:
                    print(trace.tb_frame.f_code.co_filename.rpartition("/")[2])
                    trace = trace.tb_next
            print("torch.optim" in sys.modules)
            os.environ["DIVISOR"] = "1"
            import torch.optim
        """
        lines = armed(code)
        assert lines[-3:] == ["False", "runs", "arrived: torch.optim"]
        assert lines[-4] == "__init__.py"

    def test_a_lazy_loader(self, armed):
        code = """
            import importlib.util, sys
            spec = importlib.util.find_spec("torch.optim")
            loader = importlib.util.LazyLoader(spec.loader)
            spec.loader = loader
            module = importlib.util.module_from_spec(spec)
            sys.modules["torch.optim"] = module
            loader.exec_module(module)
            print("lazy")
            print(module.mark, type(module).__name__, type(module.__loader__).__name__)
        """
        assert armed(code) == ["lazy", *self.ONCE, "original module SourceFileLoader"]

    def test_a_thread_that_imports_a_hooked_submodule_while_its_package_is_being_imported(self, armed, fake_torch):
        (fake_torch / "torch" / "__init__.py").write_text(
            textwrap.dedent(
                """
                import importlib, threading
                thread = threading.Thread(target=importlib.import_module, args=["torch.optim"])
                thread.start()
                thread.join(240)
                print("waits for ever" if thread.is_alive() else "imported")
                """
            )
        )
        assert armed("import torch") == [*self.ONCE, "imported"]

    def test_many_threads_that_import_it_at_once(self, armed):
        code = """
            import importlib, sys, threading
            sys.setswitchinterval(1e-6)
            start = threading.Barrier(16)
            def work():
                start.wait()
                assert importlib.import_module("torch.optim").mark == "original"
            threads = [threading.Thread(target=work) for _ in range(16)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        """
        assert armed(code) == list(self.ONCE)

    @pytest.mark.parametrize("where", ["in front of ours", "behind ours"])
    def test_another_tools_finder_that_wraps_loaders_as_we_do(self, armed, where):
        code = """
            import importlib.util, sys

            class Loader:
                def __init__(self, loader):
                    self.loader = loader
                def create_module(self, spec):
                    return self.loader.create_module(spec)
                def exec_module(self, module):
                    self.loader.exec_module(module)
                    print("theirs:", module.__name__)

            class Finder:
                asking = False
                def find_spec(self, name, path=None, target=None):
                    if name != "torch.optim" or self.asking:
                        return None
                    self.asking = True
                    spec = importlib.util.find_spec(name)
                    self.asking = False
                    spec.loader = Loader(spec.loader)
                    return spec

            sys.meta_path.insert({"in front of ours": 0, "behind ours": 1}["WHERE"], Finder())
            import torch.optim
        """
        lines = armed(code.replace("WHERE", where))
        assert lines[0] == "torch.optim runs"
        assert sorted(lines[1:]) == ["arrived: torch.optim", "theirs: torch.optim"]

    def test_wrapts_and_importlib_metadatas_finders(self, armed):
        pytest.importorskip("wrapt")
        code = """
            import importlib.metadata, wrapt
            wrapt.register_post_import_hook(lambda module: print("wrapt:", module.mark), "torch.optim")
            import torch.optim
            print(importlib.metadata.version("wrapt") != "")
        """
        lines = armed(code)
        assert sorted(lines) == sorted([*self.ONCE, "wrapt: original", "True"])

    def test_what_inspects_a_module_without_importing_it(self, armed):
        code = """
            import importlib.util, pkgutil, sys
            spec = importlib.util.find_spec("torch.optim")
            [package] = importlib.util.find_spec("torch").submodule_search_locations
            print(spec.name, spec.origin == package + "/optim/__init__.py")
            print(spec.loader.get_source("torch.optim").splitlines()[1], spec.loader.is_package("torch.optim"))
            print("torch.optim" in sys.modules, spec.loader.get_resource_reader("torch.optim") is not None)
        """
        assert armed(code) == ["torch.optim True", "mark = 'original' True", "False True"]

    def test_pytests_assertion_rewriting(self, python, fake_torch, tmp_path):
        (tmp_path / "conftest.py").write_text("pytest_plugins = ['plugin']\n")
        (tmp_path / "plugin.py").write_text("def check(x):\n    assert x == 1\n")
        (tmp_path / "test_it.py").write_text(
            ANNOUNCE + "def test():\n    import torch.optim, plugin\n    value = [1, 2]\n    assert value == [1, 3]\n"
        )
        env = {"PYTHONPATH": SITE + os.pathsep + str(fake_torch)}
        result = python(
            ["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--rootdir", tmp_path, "test_it.py"], env=env
        )
        assert "At index 1 diff: 2 != 3" in result.stdout
        assert "torch.optim runs\narrived: torch.optim\n" in result.stdout

    @pytest.mark.parametrize("module", ["torch.optim", "torch.optim.adam"])
    def test_python_m_of_a_hooked_module(self, python, fake_torch, module):
        main = "print(__name__, __spec__.name, __file__, __package__)\nimport inspect, sys\ndef f(): 'source'\n"
        main += "print(inspect.getsource(f), sys.argv)\n"
        (fake_torch / "torch" / "optim" / "__main__.py").write_text(main)
        (fake_torch / "torch" / "optim" / "adam.py").write_text(main)
        plain = python(["-m", module, "x"], door=None, env={"PYTHONPATH": str(fake_torch)})
        env = {"PYTHONPATH": SITE + os.pathsep + str(fake_torch), "SHIM_DISABLE": ""}
        armed = python(["-m", module, "x"], door=None, env=env)
        assert armed.stdout == plain.stdout != ""
        assert armed.returncode == 0
