"""doctor examines the Python of the shell, another Python, and the options of the running Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv

import pytest
import torch

from shim import launch
from shim.doctor import examination, words


class TestThisShell:
    """Whether a plain ``python`` in the shell is armed. That does not depend on whether ``run`` guards a job."""

    @pytest.fixture
    def shell(self, tmp_path):
        """Put a ``python`` that starts quickly on the PATH."""
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (tmp_path / "bin" / "python").chmod(0o755)
        return {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}

    def test_an_unarmed_shell_is_told_how_to_arm_it(self, examine, shell, tmp_path):
        result = examine(env=shell)
        assert f"A plain {tmp_path}/bin/python is NOT guarded." in " ".join(result.stdout.split())
        assert 'eval "$(shim env)"' in result.stdout
        assert result.returncode == 0

    def test_an_armed_shell_is_told_what_disarms_it(self, examine, shell, checkout):
        path = os.pathsep.join([launch.SITE, str(checkout / "src")])
        said = " ".join(examine(env={**shell, "PYTHONPATH": path}).stdout.split())
        assert "/bin/python is guarded too, but not under" in said
        for thief in ("`sudo` (also with -E)", "`su -`", "--export=NONE", "tmux server that is already running"):
            assert thief in said
        assert 'eval "$(shim env)"' not in said

    def test_a_shell_without_a_python_is_reported(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        assert examination._shell(None) == {"python": None, "armed": False}
        assert words._of_the_shell(examination._shell(None)) == "There is no `python` on PATH."

    def test_a_tmux_server_that_runs_already_is_not_armed(self, tmp_path, checkout):
        tmux = shutil.which("tmux")
        if tmux is None:
            pytest.skip("no tmux on this machine")

        def window(*words, **environment):
            plain = {key: value for key, value in os.environ.items() if key not in ("TMUX", "PYTHONPATH")}
            command = [tmux, "-S", "socket", "-f", "/dev/null", *words]
            return subprocess.run(command, env={**plain, **environment}, cwd=tmp_path, timeout=60).returncode

        told = tmp_path / "told"
        try:
            # "server exited unexpectedly": on a busy machine tmux may stop waiting for its own server.
            assert any(window("new-session", "-d", "sleep 60") == 0 for _ in range(5))
            command = f"echo got:$PYTHONPATH >{told}; tmux -S socket wait-for -S told"
            assert window("new-session", "-d", command, PYTHONPATH=launch.SITE) == 0
            assert window("wait-for", "told") == 0
            assert told.read_text() == "got:\n"
        finally:
            window("kill-server")


class TestAnotherPython:
    def test_a_python_of_another_environment_is_examined(self, examine, tmp_path):
        venv.create(str(tmp_path / "other"), symlinks=True)
        other = tmp_path / "other" / "bin" / "python"
        result = examine("--json", "--python", other)
        found = json.loads(result.stdout)
        assert result.returncode == 1
        assert found["python"] == {"version": sys.version.split()[0], "executable": str(other)}
        assert found["torch"] == {"missing": "ModuleNotFoundError: No module named 'torch'"}
        assert f"install torch for this one: `{other} -m pip install torch`" in found["advice"]

    def test_a_checkout_guards_another_python(self, examine, tmp_path):
        # The other environment finds the packages of this one, so that torch need not be installed again.
        venv.create(str(tmp_path / "other"), symlinks=True)
        site_packages = next((tmp_path / "other").glob("lib/python*/site-packages"))
        (site_packages / "these.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
        result = examine("--python", tmp_path / "other" / "bin" / "python", env={"COLUMNS": "500"})
        assert result.returncode == 0, result.stdout
        assert f"Python  {sys.version.split()[0]}, {tmp_path}/other/bin/python" in result.stdout

    def test_an_installed_shim_does_not_guard_another_python_and_names_its_environment(
        self, tmp_path, checkout, python
    ):
        for name in ("own", "other"):
            venv.create(str(tmp_path / name), symlinks=True)
            site_packages = next((tmp_path / name).glob("lib/python*/site-packages"))
            packages = "\n".join(path for path in sys.path if path.endswith("-packages"))
            (site_packages / "these.pth").write_text(packages)
        own = next((tmp_path / "own").glob("lib/python*/site-packages"))
        shutil.copytree(str(checkout / "src" / "shim"), str(own / "shim"))
        shutil.copy(str(checkout / "src" / "preimport.py"), str(own))
        other = tmp_path / "other" / "bin" / "python"
        # An editable install of the checkout may be among the packages. It must not be found.
        code = "import sys; sys.path[:] = [p for p in sys.path if not p.endswith('src')]\n"
        code += f"from shim.__main__ import main; sys.exit(main(['doctor', '--json', '--python', {str(other)!r}]))"
        result = python(code, door=None, executable=tmp_path / "own" / "bin" / "python")
        found = json.loads(result.stdout)
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
    def test_an_unusable_python_is_an_error_of_one_line(self, python, tmp_path, given, message):
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
    def test_the_options_of_this_python_are_those_of_the_job(self, python, checkout):
        result = python(["-E", "-m", "shim", "doctor", "--json"], door=None, cwd=checkout / "src")
        found = json.loads(result.stdout)
        assert result.returncode == 1
        assert any("runs with -E" in sentence for sentence in found["obstacles"])
        run, path, preimport = found["doors"]
        assert (run["works"], path["works"], preimport["works"]) == (False, False, True), preimport
        assert "python is run with -E" in run["reason"]

    def test_obstacles_are_reported_without_torch_too(self, python):
        result = python(["-S", "-m", "shim", "doctor"], door="src")
        assert result.returncode == 1
        assert "torch   none: ModuleNotFoundError: No module named 'torch'" in result.stdout
        assert "this Python runs with -S, and reads no sitecustomize" in result.stdout

    @pytest.mark.parametrize("option", ["-E", "-S", "-I"])
    def test_an_option_that_disables_sitecustomize_is_named(self, option):
        assert any(f"runs with {option}" in each for each in examination._obstacles({}, ["-u", option]))
        assert any(f"runs with {option}" in each for each in examination._obstacles({}, ["-u" + option[1]]))
        assert list(examination._obstacles({}, ["-X", "dev", "-Xfaulthandler", "-Wignore"])) == []
