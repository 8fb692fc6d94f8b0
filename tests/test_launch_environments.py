"""``shim run`` and ``shim env`` arm the Python of their own environment, and report it if another one is started."""

from __future__ import annotations

import os
import shutil
import sys
import venv

import pytest

from shim import launch


@pytest.fixture
def installed(tmp_path, checkout):
    """Return a function that makes an environment with a copy of shim in its site-packages, and the command shim."""

    def make(name="environment", options=""):
        home = tmp_path / name
        venv.create(str(home), symlinks=True)
        site_packages = next(home.glob("lib/python*/site-packages"))
        shutil.copytree(str(checkout / "src" / "shim"), str(site_packages / "shim"))
        shutil.copy(str(checkout / "src" / "preimport.py"), str(site_packages))
        command = home / "bin" / "shim"
        command.write_text(
            f"#!{home}/bin/python {options}\nimport sys\nfrom shim.__main__ import main\nsys.exit(main())\n"
        )
        command.chmod(0o755)
        return home

    return make


ARMED = "import sys; print(any(hasattr(finder, '_shim') for finder in sys.meta_path), sys.flags.ignore_environment)"


class TestTheCommandShim:
    @pytest.mark.parametrize("options", ["", "-E", "-sE", "-I"])
    def test_the_options_of_the_shebang_of_shim_are_not_those_of_the_job(self, python, installed, options, tmp_path):
        home = installed(options=options)
        (tmp_path / "x.py").write_text(ARMED)
        result = python(["run", "x.py"], executable=home / "bin" / "shim", door=None)
        assert (result.stdout, result.stderr, result.returncode) == ("True 0\n", "", 0)

    def test_the_options_of_python_m_shim_are_those_of_the_job(self, python, installed):
        home = installed()
        result = python(["-E", "-m", "shim", "run", "x.py"], executable=home / "bin" / "python", door=None)
        assert "python is run with -E" in result.stderr

    @pytest.mark.parametrize("marker", ["pipx_metadata.json", "uv-receipt.toml"])
    def test_a_shim_in_a_separate_environment_says_where_it_belongs(self, python, installed, marker, tmp_path):
        home = installed(options="-E")
        (home / marker).touch()
        (tmp_path / "x.py").touch()
        venv.create(str(tmp_path / "mine"), symlinks=True)
        mine = tmp_path / "mine" / "bin"
        for words in (["run", "x.py"], ["run", "-c", "pass"], ["env"]):
            result = python(words, executable=home / "bin" / "shim", door=None, env={"PATH": f"{mine}:/usr/bin:/bin"})
            assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
            assert f"Install it beside your torch with `{mine}/python -m pip install`" in result.stderr

    @pytest.mark.parametrize("shell", ["shim run x.py", 'eval "$(shim env)"; python x.py'])
    def test_a_project_with_its_own_shim_module_is_run(self, python, installed, tmp_path, shell):
        home = installed()
        (tmp_path / "shim").mkdir()
        (tmp_path / "shim" / "__init__.py").write_text("OWN = True\n")
        (tmp_path / "x.py").write_text("import shim; print(shim.OWN);" + ARMED)
        path = {"PATH": f"{home / 'bin'}:/usr/bin:/bin"}
        result = python(["-c", shell], executable="/bin/sh", door=None, env=path)
        assert (result.stdout, result.stderr) == ("True\nTrue 0\n", "")


class TestAnotherEnvironment:
    """An installed shim guards only the Python of its environment. ``run`` reports an unguarded Python if it can."""

    @pytest.fixture
    def other(self, tmp_path):
        venv.create(str(tmp_path / "other"), symlinks=True)
        return tmp_path / "other" / "bin" / "python"

    @pytest.fixture
    def run(self, python, installed):
        shim = installed() / "bin" / "shim"
        return lambda *words, **options: python(["run", *words], executable=shim, door=None, **options)

    def test_an_interpreter_of_another_environment_is_reported_as_unguarded_once(self, run, other):
        result = run(other, "-u", "-c", ARMED + "; sys.exit(3)")
        assert (result.stdout, result.returncode) == ("False 0\n", 3)
        assert result.stderr.startswith(f"shim: {other} -u is not guarded: ")
        assert result.stderr.count("shim: ") == 1

    @pytest.mark.parametrize(
        "first_lines",
        [
            "#!{python}",
            "#!/usr/bin/env python",
            "#!/usr/bin/env -S python -u",
            "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''",
        ],
    )
    def test_the_interpreter_of_a_shebang_is_reported_as_unguarded(self, run, other, tmp_path, first_lines):
        script = tmp_path / "launcher"
        script.write_text(first_lines.format(python=other) + "\n" + ARMED)
        script.chmod(0o755)
        result = run(script, env={"PATH": f"{other.parent}:/usr/bin:/bin"})
        assert (result.stdout, result.returncode) == ("False 0\n", 0)
        assert result.stderr.count("is not guarded") == 1

    def test_shims_own_interpreter_a_shell_and_a_disabled_shim_are_not_reported(self, run, other, tmp_path):
        own = tmp_path / "environment" / "bin"
        for words, env in (
            (("python", "-c", "pass"), {"PATH": f"{own}:/usr/bin:/bin"}),
            ((own / "python3", "-c", "pass"), {}),
            (("sh", "-c", "true"), {}),
            ((other, "-c", "pass"), {"SHIM_DISABLE": "1"}),
        ):
            assert run(*words, env=env).stderr == "", words

    @pytest.mark.parametrize("option", ["-E", "-I", "-sE"])
    def test_shims_own_interpreter_with_an_isolating_shebang_is_reported(self, python, tmp_path, option):
        script = tmp_path / "launcher"
        script.write_text(f"#!{sys.executable} {option}\n{ARMED}")
        script.chmod(0o755)
        result = python(["-m", "shim", "run", script], door="src")
        assert (result.stdout, result.returncode) == ("False 1\n", 0)
        assert result.stderr.startswith(f"shim: {script} is not guarded: its first line starts Python with -")
        assert result.stderr.count("\n") == 1

    def test_a_bare_checkout_guards_every_python(self, python, other):
        result = python(["-m", "shim", "run", other, "-c", ARMED], door="src")
        assert (result.stdout, result.stderr) == ("True 0\n", "")


@pytest.mark.parametrize("command", [["run", "-c", "print('job')"], ["run", "true"], ["env"]])
def test_a_checkout_that_pythonpath_cannot_hold_is_refused(python, checkout, tmp_path, command):
    parent = tmp_path / "a:b"
    shutil.copytree(str(checkout / "src" / "shim"), str(parent / "shim"))
    program = (
        f"import sys; sys.path.insert(0, {str(parent)!r}); from shim.__main__ import main; sys.exit(main({command}))"
    )
    result = python(program, door=None)
    assert (result.stdout, result.returncode) == ("", 2)
    assert result.stderr == f"shim: PYTHONPATH cannot hold {parent}/shim/site, which has a ':' in it: move shim\n"


class TestPythonPath:
    def test_the_entry_of_shim_comes_first_and_the_others_keep_their_order(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", f"/b{os.pathsep}/a")
        assert launch.python_path().split(os.pathsep) == [launch.SITE, "/b", "/a"]

    def test_the_entry_of_shim_is_never_repeated_and_no_empty_entry_is_added(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/b", launch.SITE, "/a"]))
        assert launch.python_path().split(os.pathsep) == [launch.SITE, "/b", "/a"]
        for nothing in ("", launch.SITE):
            monkeypatch.setenv("PYTHONPATH", nothing)
            assert launch.python_path() == launch.SITE
        monkeypatch.delenv("PYTHONPATH")
        assert launch.python_path() == launch.SITE

    def test_an_empty_entry_of_the_user_stays_the_current_directory(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", os.pathsep + "/a")
        assert launch.python_path().split(os.pathsep) == [launch.SITE, "", "/a"]

    @pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
    def test_the_line_of_env_arms_a_shell(self, python, shell, tmp_path):
        if shutil.which(shell) is None:
            pytest.skip(f"no {shell} on this machine")
        script = f"""
            eval "$({sys.executable} -m shim env)"
            echo "$PYTHONPATH"
            {sys.executable} -c 'import sys; print(type(sys.meta_path[0]).__name__)'
        """
        env = {"PYTHONPATH": os.pathsep.join([os.path.dirname(os.path.dirname(launch.SITE)), "/it's here"])}
        shell_path = shutil.which(shell)
        result = python(["-c", script], executable=shell_path, env=env)
        assert result.stdout.splitlines() == [os.pathsep.join([launch.SITE, env["PYTHONPATH"]]), "Finder"]
