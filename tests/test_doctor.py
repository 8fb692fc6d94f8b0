"""doctor reports, as text and as data, what shim does for a job that is started here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import venv
from collections import Counter

import pytest
import torch

from shim import launch, releases
from shim.doctor import examination, look, words
from shim.rows import load


@pytest.fixture
def examine(python):
    def run(*arguments, **options):
        options.setdefault("door", "src")
        result = python(["-m", "shim", "doctor", *arguments], **options)
        assert "Traceback" not in result.stderr, result.stderr
        return result

    return run


#: As the command `shim` does, which does not look for packages in the current directory.
LIKE_THE_COMMAND = """
import sys
sys.path.remove("")
from shim.__main__ import main
sys.exit(main(["doctor"]))
"""


def as_data(result):
    return json.loads(result.stdout)


def states(found):
    return {patch["patch"]: patch["state"] for patch in found["torch"]["patches"]}


#: Prints one examination, which is slow, as data and as text.
BOTH = """
import functools, sys
from shim import doctor
from shim.__main__ import main
doctor.examine = functools.lru_cache()(doctor.examine)
main(["doctor", "--json"])
print("in words")
main(["doctor"])
print("all of it")
sys.exit(main(["doctor", "--verbose"]))
"""


def test_where_all_is_well_it_says_so_and_exits_with_0_and_the_data_say_the_same(python, checkout):
    result = python(BOTH, door="src")
    assert result.returncode == 0, result.stdout + result.stderr
    data, _, both = result.stdout.partition("in words\n")
    short, _, verbose = both.partition("all of it\n")
    assert short.startswith("A job is guarded here: python -m shim run YOUR_SCRIPT.py\n")
    assert verbose.startswith(short)
    assert torch.__version__ in short
    assert len(short.splitlines()) < 25
    too_long = [line for line in verbose.splitlines() if len(line) > 80]
    assert all("/" in line for line in too_long), "only a path may be longer"
    assert "\x1b" not in verbose and "\r" not in result.stderr

    found = json.loads(data)
    assert found["guarded"] and not found["obstacles"]
    assert found["torch"]["version"] == torch.__version__
    assert {door["door"]: door["works"] for door in found["doors"]} == {
        "run": True,
        "PYTHONPATH": True,
        "preimport": True,
    }
    assert states(found)["adamw"] == "applied"
    assert all(re.search(rf"^  {re.escape(name)} +{state} ", verbose, re.M) for name, state in states(found).items())
    documented = (checkout / "docs" / "doctor.md").read_text()
    within = [f"{name}.{key}" for name in ("python", "torch", "shell") for key in found[name]]
    for key in [*found, *within, *found["torch"]["patches"][0], *found["doors"][0]]:
        assert f"`{key}`" in documented or f"`{key}." in documented, key


class TestWithoutTorch:
    def test_it_says_which_error_and_what_to_do_and_exits_with_1(self, examine, tmp_path):
        (tmp_path / "torch.py").write_text("raise ImportError('libcuda is lost')")
        result = examine(cwd=tmp_path)
        assert result.returncode == 1
        assert "torch   none: ImportError: libcuda is lost" in result.stdout
        assert f"`{sys.executable} -m pip install torch`" in result.stdout, "a command stays on one line"
        assert "`shim doctor --python " in result.stdout

    def test_the_python_of_this_shell_is_named_if_it_is_another(self, examine, tmp_path):
        venv.create(str(tmp_path / "mine"), symlinks=True)
        (tmp_path / "torch.py").write_text("raise ImportError('lost')")
        found = as_data(examine("--json", cwd=tmp_path, env={"PATH": f"{tmp_path}/mine/bin:/usr/bin:/bin"}))
        assert f"examine the Python of this shell: `shim doctor --python {tmp_path}/mine/bin/python`" in found["advice"]

    @pytest.mark.parametrize("package", ["packaging", "wrapt"])
    def test_a_project_may_have_a_package_of_any_name(self, examine, tmp_path, package):
        (tmp_path / f"{package}.py").write_text("raise ImportError('this is the project's own')")
        found = as_data(examine("--json", cwd=tmp_path))
        if "missing" in found["torch"]:
            pytest.skip("this torch does not live without packaging")
        assert found["guarded"] and found["torch"]["error"] is None


class TestSwitches:
    @pytest.mark.parametrize(
        "env, sentence",
        [
            ({"SHIM_STRICT": "1"}, "SHIM_STRICT is set: a None raises TypeError and is not replaced"),
            ({"SHIM_SKIP": "adam,adamw"}, "SHIM_SKIP is set: the patches that it names are left out"),
        ],
    )
    def test_one_that_turns_guards_off_is_named(self, examine, env, sentence):
        result = examine("--json", env=env)
        assert result.returncode == 1
        assert sentence in as_data(result)["obstacles"]
        assert f"unset {next(iter(env))}" in as_data(result)["advice"]

    @pytest.mark.parametrize("variable", ["SHIM_SKIP", "SHIM_PATCHES"])
    def test_a_name_that_is_no_patch_is_said(self, examine, variable):
        family, patch = "torchvision", "adamw"
        found = as_data(examine("--json", env={variable: f"{family}, no_such,{patch},adam_"}))
        assert f"{variable} names unknown patches: no_such, adam_" in found["obstacles"]

    def test_under_the_one_that_turns_all_off_no_patch_is_said_to_be_applied(self, examine):
        result = examine("--json", env={"SHIM_DISABLE": "1"})
        found = as_data(result)
        assert result.returncode == 1
        assert "SHIM_DISABLE is set: shim is off" in found["obstacles"]
        assert set(states(found).values()) == {"skipped"}
        assert {door["reason"] for door in found["doors"]} == {"SHIM_DISABLE is set"}

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 brought PYTHONSAFEPATH")
    def test_a_safe_path_is_named_and_stops_no_door(self, examine):
        result = examine("--json", env={"PYTHONSAFEPATH": "1"})
        assert result.returncode == 0, result.stderr
        assert "PYTHONSAFEPATH is set" in " ".join(as_data(result)["obstacles"])


class TestOtherTools:
    def test_shim_itself_is_none_on_any_door(self, examine, checkout):
        for path in (str(checkout), launch.SITE):
            found = as_data(examine("--json", env={"PYTHONPATH": os.pathsep.join([path, str(checkout / "src")])}))
            assert found["torch"]["patched_by_others"] == found["obstacles"] == []
            assert found["guarded"]

    def test_a_sitecustomize_in_front_of_ours_is_named(self, examine, tmp_path, checkout):
        (tmp_path / "sitecustomize.py").write_text("")
        path = f"{tmp_path}:{checkout}:{checkout / 'src'}"
        found = as_data(examine("--json", env={"PYTHONPATH": path}))
        assert any(f"{tmp_path}/sitecustomize.py comes before shim's" in each for each in found["obstacles"])

    def test_a_patch_on_the_same_target_is_named(self, examine, tmp_path, checkout):
        (tmp_path / "sitecustomize.py").write_text(
            "import torch.optim\n"
            "original = torch.optim.Adam.__init__\n"
            "def __init__(self, *args, **kwargs):\n    original(self, *args, **kwargs)\n"
            "torch.optim.Adam.__init__ = __init__\n"
        )
        found = as_data(examine("--json", env={"PYTHONPATH": f"{tmp_path}:{checkout / 'src'}"}))
        obstacles = " ".join(found["obstacles"])
        assert "torch is imported while Python starts" in obstacles
        assert "another tool has patched torch.optim.adam:Adam, its constructor, in sitecustomize" in obstacles

    def test_a_patch_that_looks_like_the_original_is_named(self, monkeypatch):
        wrapt = pytest.importorskip("wrapt")
        wrapped = wrapt.FunctionWrapper(torch.optim.Adam.step, lambda wrapped, instance, args, kwargs: None)
        monkeypatch.setattr(torch.optim.Adam, "step", wrapped)
        assert any(
            re.search(r"^torch.optim.adam:Adam, its step, in \S*FunctionWrapper$", each)
            for each in look.patched_by_others()
        )

    def test_what_a_sitecustomize_prints_does_not_confuse_it(self, examine, tmp_path, checkout):
        (tmp_path / "sitecustomize.py").write_text(
            "import atexit; print('hello'); atexit.register(print, end='no line end')"
        )
        result = examine("--json", env={"PYTHONPATH": f"{checkout}:{tmp_path}:{checkout / 'src'}"})
        found = json.loads(result.stdout[result.stdout.index("{") : result.stdout.rindex("}") + 1])
        assert "missing" not in found["torch"]


class TestCompatibilityMode:
    """With --for: the release, and the state of each row."""

    @pytest.fixture
    def program(self):
        """Return a release on which some row works that does not work here."""
        here = releases.release(torch.__version__).numbers
        return "1.7" if here > (2, 0, 0) else "2.7"

    @pytest.fixture
    def planned(self, python, program):
        """Return what shim.plan() says of each row, where nothing but torch is imported."""
        code = """
        import json, sys, shim, torch
        print(json.dumps({row.patch: row.state for row in shim.plan(written_for=sys.argv[1])}))
        """
        code = textwrap.dedent(code)
        return as_data(python(["-c", code, program], door="src"))

    @pytest.mark.parametrize("door", ["--for", "SHIM_FOR"])
    def test_it_says_what_is_applied_and_counts_the_rest(self, examine, program, planned, door):
        arguments = ["--for", program] if door == "--for" else []
        env = {"SHIM_FOR": program} if door == "SHIM_FOR" else {}
        found = as_data(examine("--json", *arguments, env=env))
        said = " ".join(examine(*arguments, env=env).stdout.split())

        rows = {row["patch"]: row for row in found["torch"]["patches"] if row["optional"]}
        assert found["torch"]["written_for"] == program
        assert {*rows} == {row.name for row in load()}, "the data are whole"
        # The row of inspect.getargspec finds what another row gives.
        of_torch = {row.name for row in load() if row.of == "torch" and row.name != "inspect.getargspec(torch)"}
        assert {name: row["state"] for name, row in rows.items() if name in of_torch and row["state"] != "waits"} == {
            name: planned[name].replace("planned", "applied") for name in of_torch if rows[name]["state"] != "waits"
        }
        states = Counter(row["state"] for row in rows.values())
        assert states["applied"] and states["not needed here"] and states["advice"]
        applied = ", ".join(name for name, row in rows.items() if row["state"] == "applied")
        assert f"written for torch {program}; applied: {applied}" in said
        for state in {*states} - {"applied", "waits"}:
            assert f"; {states[state]} {state}" in said
        option = f" --for {program}" * (door == "--for")
        assert said.startswith(f"A job is guarded here: python -m shim run{option} YOUR_SCRIPT.py")

    def test_all_rows_are_listed_with_verbose_and_those_left_out_too(self, examine, program, planned):
        names = {row.name for row in load()}
        left_out = next(name for name, state in planned.items() if name in names and state == "planned")
        env = {"SHIM_SKIP": left_out, "COLUMNS": "200"}
        said = examine("--for", program, "--verbose", env=env).stdout
        assert f"\nWritten for torch {program}: 1 left out\n  {left_out}  left out by SHIM_SKIP\n" in said
        for row in load():
            assert re.search(rf"^  {re.escape(row.name)}(  |$)", said, re.M), row.name

    def test_rows_need_no_docstrings(self, python, program):
        found = as_data(python(["-OO", "-m", "shim", "doctor", "--json", "--for", program], door="src"))
        assert found["guarded"] and found["torch"]["error"] is None
        assert "applied" in {row["state"] for row in found["torch"]["patches"] if row["optional"]}

    def test_without_it_nothing_is_said_of_rows_but_of_those_that_are_named(self, examine):
        assert "written for" not in examine().stdout
        said = examine(env={"SHIM_PATCHES": "numbers"}).stdout
        assert "        applied: numbers\n" in said

    @pytest.mark.parametrize("release", ["1.99", "banana", ""])
    def test_a_release_that_never_was_is_one_line_as_an_option_and_a_problem_in_the_environment(self, examine, release):
        result = examine("--for", release)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith("shim: --for: ")
        found = as_data(examine("--json", env={"SHIM_FOR": release}))
        assert found["torch"]["written_for"] is None
        assert [each for each in found["obstacles"] if each.startswith("SHIM_FOR is ignored: ")] == (
            found["obstacles"] if release else []
        )


class TestThirdParty:
    def test_one_that_is_installed_waits_and_one_that_is_not_is_not_installed(self, examine, tmp_path):
        (tmp_path / "lion_pytorch").mkdir()
        (tmp_path / "lion_pytorch" / "__init__.py").write_text("raise SystemExit('imported')")
        (tmp_path / "apex").mkdir()  # another package of the name, without the optimizers
        (tmp_path / "apex" / "__init__.py").touch()
        result = examine("--json", cwd=tmp_path)
        rows = {row["patch"]: row for row in as_data(result)["torch"]["patches"]}
        assert rows["lion-pytorch"]["state"] == "waits"
        assert rows["lion-pytorch"]["reason"] == "will be guarded when it is imported (lion_pytorch)"
        assert (rows["apex"]["state"], rows["apex"]["reason"]) == ("skipped", "apex.optimizers is not installed")
        assert rows["adopt"]["state"] == "waits"

    def test_one_that_is_left_out_says_so(self, examine, tmp_path):
        (tmp_path / "lion_pytorch.py").touch()
        found = as_data(examine("--json", cwd=tmp_path, env={"SHIM_SKIP": "lion-pytorch"}))
        assert found["guarded"]
        row = next(row for row in found["torch"]["patches"] if row["patch"] == "lion-pytorch")
        assert (row["state"], row["reason"]) == ("skipped", "left out by SHIM_SKIP")

    @pytest.mark.parametrize("name", ["torch.optim", "json.decoder", "xml.etree.ElementTree"])
    def test_a_module_that_is_there_can_be_imported(self, name):
        assert look.can_be_imported(name)

    @pytest.mark.parametrize("name", ["torch.no_such", "no_such.torch", "json.decoder.more", "sys.path"])
    def test_a_module_that_is_not_there_cannot(self, name):
        assert not look.can_be_imported(name)


class TestThisShell:
    """Whether a plain ``python`` is armed, which does not depend on whether ``run`` guards a job."""

    @pytest.fixture
    def shell(self, tmp_path):
        """Make a ``python`` for the PATH that is quick to start."""
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (tmp_path / "bin" / "python").chmod(0o755)
        return {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}

    def test_one_that_is_not_armed_is_told_how(self, examine, shell, tmp_path):
        result = examine(env=shell)
        assert f"A plain {tmp_path}/bin/python is NOT guarded." in " ".join(result.stdout.split())
        assert 'eval "$(shim env)"' in result.stdout
        assert result.returncode == 0

    def test_one_that_is_armed_is_told_what_takes_it_away(self, examine, shell, checkout):
        path = os.pathsep.join([launch.SITE, str(checkout / "src")])
        said = " ".join(examine(env={**shell, "PYTHONPATH": path}).stdout.split())
        assert "/bin/python is guarded too, but not behind" in said
        for thief in ("`sudo` (also with -E)", "`su -`", "--export=NONE", "tmux server that is already running"):
            assert thief in said
        assert 'eval "$(shim env)"' not in said

    def test_one_without_a_python_says_so(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        assert examination._shell(None) == {"python": None, "armed": False}
        assert words._of_the_shell(examination._shell(None)) == "There is no `python` on PATH."

    def test_a_tmux_server_that_runs_already_does_take_it_away(self, tmp_path, checkout):
        tmux = shutil.which("tmux")
        if tmux is None:
            pytest.skip("no tmux on this machine")

        def window(*words, **environment):
            plain = {key: value for key, value in os.environ.items() if key not in ("TMUX", "PYTHONPATH")}
            command = [tmux, "-L", f"shim{os.getpid()}", "-f", "/dev/null", *words]
            subprocess.run(command, env={**plain, **environment}, check=True, timeout=60)

        told = tmp_path / "told"
        try:
            window("new-session", "-d", "sleep 60")
            window("new-session", "-d", f"echo got:$PYTHONPATH >{told}; tmux wait-for -S told", PYTHONPATH=launch.SITE)
            window("wait-for", "told")
            assert told.read_text() == "got:\n"
        finally:
            window("kill-server")


class TestAnotherPython:
    def test_one_of_another_environment_is_looked_at(self, examine, tmp_path):
        venv.create(str(tmp_path / "other"), symlinks=True)
        other = tmp_path / "other" / "bin" / "python"
        result = examine("--json", "--python", other)
        found = as_data(result)
        assert result.returncode == 1
        assert found["python"] == {"version": sys.version.split()[0], "executable": str(other)}
        assert found["torch"] == {"missing": "ModuleNotFoundError: No module named 'torch'"}
        assert f"install torch for this one: `{other} -m pip install torch`" in found["advice"]

    def test_a_checkout_guards_it(self, examine, tmp_path):
        # Another environment that finds the packages of this one, so that torch need not be installed again.
        venv.create(str(tmp_path / "other"), symlinks=True)
        site_packages = next((tmp_path / "other").glob("lib/python*/site-packages"))
        (site_packages / "these.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
        result = examine("--python", tmp_path / "other" / "bin" / "python", env={"COLUMNS": "500"})
        assert result.returncode == 0, result.stdout
        assert f"Python  {sys.version.split()[0]}, {tmp_path}/other/bin/python" in result.stdout

    def test_an_installed_shim_does_not_and_says_where_it_belongs(self, tmp_path, checkout, python):
        for name in ("own", "other"):
            venv.create(str(tmp_path / name), symlinks=True)
            site_packages = next((tmp_path / name).glob("lib/python*/site-packages"))
            packages = "\n".join(path for path in sys.path if path.endswith("-packages"))
            (site_packages / "these.pth").write_text(packages)
        own = next((tmp_path / "own").glob("lib/python*/site-packages"))
        shutil.copytree(str(checkout / "src" / "shim"), str(own / "shim"))
        shutil.copy(str(checkout / "src" / "preimport.py"), str(own))
        other = tmp_path / "other" / "bin" / "python"
        # An editable install of the checkout may be among the packages: it is not to be found.
        code = "import sys; sys.path[:] = [p for p in sys.path if not p.endswith('src')]\n"
        code += f"from shim.__main__ import main; sys.exit(main(['doctor', '--json', '--python', {str(other)!r}]))"
        result = python(code, door=None, executable=tmp_path / "own" / "bin" / "python")
        found = as_data(result)
        assert result.returncode == 1
        assert found["torch"]["version"] == torch.__version__
        assert found["doors"][0]["reason"] == f"this shim is installed for another environment ({own})"
        assert f"install shim beside that torch, with `{other} -m pip install`" in found["advice"]

    @pytest.mark.parametrize(
        "given, message",
        [
            ("/no/such/python", "/no/such/python is not an executable file"),
            ("echo", "echo is not a Python interpreter"),
            ("silent", "prints no version within 1 seconds"),
            ("old", "is Python 3.6.15, and shim needs 3.8 or later: a job is NOT guarded"),
        ],
    )
    def test_what_is_no_python_for_shim_is_one_line(self, python, tmp_path, given, message):
        (tmp_path / "old").write_text("#!/bin/sh\necho 3.6.15\n")
        (tmp_path / "silent").write_text("#!/bin/sh\nexec sleep 60\n")
        for name in ("old", "silent"):
            (tmp_path / name).chmod(0o755)
        code = "import sys; from shim.__main__ import main; from shim.doctor import examination\n"
        code += "examination.PATIENCE = 1.0; sys.exit(main(['doctor', '--python', sys.argv[1]]))"
        result = python(["-c", code, given if given[0] == "/" or given == "echo" else tmp_path / given], door="src")
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert message in result.stderr


class TestOptionsOfThisPython:
    def test_they_are_those_of_the_job(self, python, checkout):
        result = python(["-E", "-m", "shim", "doctor", "--json"], door=None, cwd=checkout / "src")
        found = as_data(result)
        assert result.returncode == 1
        assert any("runs with -E" in sentence for sentence in found["obstacles"])
        run, path, preimport = found["doors"]
        assert (run["works"], path["works"], preimport["works"]) == (False, False, True), preimport
        assert "python is run with -E" in run["reason"]

    def test_what_is_in_the_way_is_said_where_there_is_no_torch_too(self, python):
        result = python(["-S", "-m", "shim", "doctor"], door="src")
        assert result.returncode == 1
        assert "torch   none: ModuleNotFoundError: No module named 'torch'" in result.stdout
        assert "this Python runs with -S, and reads no sitecustomize" in result.stdout

    @pytest.mark.parametrize("option", ["-E", "-S", "-I"])
    def test_one_that_keeps_sitecustomize_out_is_named(self, option):
        assert any(f"runs with {option}" in each for each in examination._obstacles({}, ["-u", option]))
        assert any(f"runs with {option}" in each for each in examination._obstacles({}, ["-u" + option[1]]))
        assert list(examination._obstacles({}, ["-X", "dev", "-Xfaulthandler", "-Wignore"])) == []


class TestTheTerminal:
    def test_all_that_can_be_said_fits_into_80_columns(self, monkeypatch, tmp_path):
        (tmp_path / "sitecustomize.py").touch()
        (tmp_path / "shim.py").touch()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), launch.SITE]))
        for name in ("SHIM_DISABLE", "SHIM_STRICT", "SHIM_SKIP", "SHIM_FOR", "PYTHONSAFEPATH"):
            monkeypatch.setenv(name, "1" if name in ("SHIM_DISABLE", "SHIM_STRICT") else "adam,adamw," * 20)
        torch = {
            "version": "9.9.9+cpu", "location": "/a/torch", "known": False,
            "imported_at_startup": True, "patched_by_others": ["torch.optim.adam:Adam, its step, in ddtrace"],
            "patches": [{"patch": "a", "state": "applied", "reason": "x " * 90},
                        {"patch": "a long name", "state": "failed", "reason": "OSError: a full disk"},
                        {"patch": "b", "state": "waits", "reason": "will be guarded when it is imported"}],
            "error": "MemoryError: " + "no memory " * 20, "written_for": "1.7",
        }  # fmt: skip
        for patch in torch["patches"]:
            patch.update(works="", optional=False)
        torch["patches"] += [
            {"patch": f"torch.nn.functional.{name}_of_a_long_name", "state": "not for this program",
             "reason": "works with torch >=2.7, it was written for 1.7.1", "works": ">=2.7", "optional": True}
            for name in ("a", "b")
        ]  # fmt: skip
        found = {
            "shim": "1", "python": {"version": "3.8", "executable": "/python"}, "torch": torch, "guarded": False,
            "doors": [{"door": "PYTHONPATH", "works": False, "reason": "TypeError: " + "None " * 40}],
            "shell": {"python": "/usr/bin/python", "armed": True}, "command": "shim run YOUR_SCRIPT.py",
            "obstacles": list(examination._obstacles(torch, ["-E", "-S", "-I"])),
        }  # fmt: skip
        found["advice"] = list(examination._advice(found, is_this=True))
        assert len(found["obstacles"]) == 15
        lines = words.short(found) + words.rows(found)
        assert [line for line in lines if len(line) > 80 and "/" not in line and "adam,adamw" not in line] == []
        columns = {line.index(state) for line in lines for state in ("applied", "failed   ") if line.startswith("  a")
                   and state in line}  # fmt: skip
        assert len(columns) == 1

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
    def test_a_path_that_stdout_cannot_encode_is_no_traceback(self, python, tmp_path, encoding, checkout):
        place = tmp_path / "žluťoučký"
        place.mkdir()
        (place / "torch.py").write_text("raise ImportError(__file__)")
        env = {"PYTHONIOENCODING": encoding, "PYTHONPATH": f"{place}:{checkout / 'src'}"}
        result = python(["-m", "shim", "doctor"], env=env, encoding=encoding)
        assert (result.returncode, result.stderr) == (1, "")
        shown = str(place / "torch.py").encode(encoding, "backslashreplace").decode(encoding)
        assert f"ImportError: {shown}" in " ".join(result.stdout.split())

    def test_a_line_says_that_it_works_and_goes_away(self, tmp_path, checkout):
        pty = pytest.importorskip("pty")
        (tmp_path / "torch.py").write_text("raise ImportError('lost')")
        ours, theirs = pty.openpty()
        result = subprocess.run(
            [sys.executable, "-m", "shim", "doctor"],
            cwd=str(tmp_path), env={**os.environ, "PYTHONPATH": str(checkout / "src")},
            stdout=subprocess.PIPE, stderr=theirs, timeout=300,
        )  # fmt: skip
        said = os.read(ours, 10000).decode()
        os.close(ours)
        os.close(theirs)
        assert said.startswith("importing torch ") and said.endswith(" \r")
        assert result.stdout.startswith(b"A job is NOT guarded here.\n")


def test_another_shim_in_this_directory_is_named(tmp_path, monkeypatch, checkout):
    monkeypatch.chdir(checkout / "src")
    assert list(examination._obstacles({}, [])) == []
    (tmp_path / "shim.py").touch()
    monkeypatch.chdir(tmp_path)
    (sentence,) = examination._obstacles({}, [])
    assert (
        sentence
        == "shim.py is another module called shim, which `python -m shim` runs in this directory: use `shim run`"
    )


def test_where_run_guards_and_another_door_is_closed_a_job_is_guarded(tmp_path, python):
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "__init__.py").touch()
    result = python(LIKE_THE_COMMAND, door="src", cwd=tmp_path)
    assert result.stdout.startswith("A job is guarded here: shim run YOUR_SCRIPT.py\n"), result.stderr
    assert "  - preimport: ImportError: " in result.stdout
    assert result.returncode == 1, "one of the doors is closed"


def test_a_report_at_exit_says_which_guards_fired(python):
    code = """
        import torch
        for _ in range(2):
            torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
    """
    result = python(code, env={"SHIM_REPORT": "1", "PYTHONWARNINGS": "ignore"})
    assert "AdamW got weight_decay=None in its arguments, at <string>:4, 2x\n" in result.stderr
    assert python("import torch", env={"SHIM_REPORT": "1"}).stderr.endswith("the guards found no weight_decay=None\n")


def test_a_message_that_no_patch_answers_is_not_explained(examine):
    result = examine("--explain", "RuntimeError: CUDA out of memory")
    assert (result.returncode, result.stdout) == (1, "No patch answers this message.\n")


def test_the_program_that_trains_does_without_dynamo_and_trains_as_with_it(python):
    trains = examination.TRAIN + "\nsys.stdout.write(str('torch._dynamo.convert_frame' in sys.modules))"
    result = python(trains)
    assert result.stdout.split("\n")[-2:] == ["[0.0, 0.0]", "False"], result.stderr
    bare = python(trains, door=None)
    assert bare.returncode == 1 and "TypeError" in bare.stderr


def test_every_row_says_which_messages_it_answers():
    from shim import rows

    # Some are the other names of what another row answers, and some change what is computed without a message.
    silent = [row.name for row in rows.load() if not row.answers]
    assert all(row.targets for row in rows.load() if row.name in silent) and len(silent) < 30
    assert all(row.optional or row.works for row in rows.load() if row.targets)
