"""``run`` becomes the process that the user would have started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import venv
import zipfile

import pytest

from shim import launch

PROBE = "import sys; print(sys.argv, __name__, sys.path[0], sys.flags, sys.warnoptions, sys._xoptions)"


@pytest.fixture
def same(python):
    """Return a function that runs a command plainly and through ``run``, and checks that nothing differs."""

    def run(command, options=(), **keywords):
        plain = python([*options, *command], door="src", **keywords)
        through = python([*options, "-m", "shim", "run", *command], door="src", **keywords)
        assert (through.returncode, through.stdout, through.stderr) == (plain.returncode, plain.stdout, plain.stderr)
        return through

    return run


def test_a_script_with_arguments(same, tmp_path):
    script = tmp_path / "a script.py"
    script.write_text(PROBE + "\nsys.exit(3)")
    assert same([script, "--x", "two words", ""]).returncode == 3


def test_a_module(same, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(PROBE)
    same(["-m", "package", "-v"])


def test_a_line_of_code(same):
    same(["-c", PROBE, "-x"])


def test_a_directory_and_an_archive(same, tmp_path):
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "__main__.py").write_text(PROBE)
    same([tmp_path / "program", "1"])
    with zipfile.ZipFile(str(tmp_path / "program.zip"), "w") as archive:
        archive.writestr("__main__.py", PROBE)
    same([tmp_path / "program.zip", "1"])


@pytest.mark.parametrize("options", [["-u", "-O"], ["-X", "dev", "-W", "error"], ["-B", "-q", "-Wignore", "-Xutf8"]])
def test_interpreter_options_are_handed_on(same, python, options):
    same(["-c", PROBE], options=options)
    after = python(["-m", "shim", "run", *options, "-c", PROBE], door="src")
    assert after.stdout == python([*options, "-c", PROBE], door="src").stdout


@pytest.mark.parametrize(
    "argv, options, program",
    [
        (["-um", "train", "-x"], ["-u"], ["-m", "train", "-x"]),
        (["-ucprint()", "-x"], ["-u"], ["-cprint()", "-x"]),
        (["-Xdev", "-W", "error", "t.py", "-W"], ["-Xdev", "-W", "error"], ["t.py", "-W"]),
        (["-uW", "error", "t.py"], ["-uW", "error"], ["t.py"]),
        (["--check-hash-based-pycs", "always", "-"], ["--check-hash-based-pycs", "always"], ["-"]),
    ],
)
def test_options_are_told_from_the_program(argv, options, program):
    assert launch._split(argv) == (options, program)


def test_a_command_that_is_not_python(python):
    result = python(["-m", "shim", "run", "sh", "-c", 'echo "$1"; exit 4', "sh", "two words"], door="src")
    assert (result.stdout, result.returncode) == ("two words\n", 4)


def test_a_command_starts_with_the_default_signals(python):
    # Python ignores SIGPIPE for itself; `yes` must die of it, as it does in a shell.
    result = python(["-m", "shim", "run", "bash", "-c", "yes | head -n 1; echo ${PIPESTATUS[0]}"], door="src")
    assert result.stdout == f"y\n{128 + signal.SIGPIPE}\n"


def test_a_signal_reaches_the_program_itself(tmp_path, checkout):
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    process = subprocess.Popen(
        [sys.executable, "-m", "shim", "run", "-c", code],
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        stdout=subprocess.PIPE,
    )
    assert int(process.stdout.readline()) == process.pid
    process.terminate()
    process.stdout.close()
    assert process.wait(30) == -signal.SIGTERM


class TestBadInput:
    def test_a_missing_script_is_reported_by_python_itself(self, same):
        assert same(["missing.py"]).returncode == 2

    def test_a_missing_module_is_reported_by_python_itself(self, same):
        assert same(["-m", "no_such_module"]).returncode == 1

    def test_an_option_that_python_does_not_know_is_reported_by_python_itself(self, python):
        result = python(["-m", "shim", "run", "--no-such-option", "x.py"], door="src")
        assert result.returncode == 2
        assert "--no-such-option" in result.stderr

    def test_an_unreadable_script_is_reported_by_python_itself(self, same, tmp_path):
        if os.geteuid() == 0:
            (tmp_path / "unreadable.py").mkdir()  # root reads everything but a directory as a file
        else:
            (tmp_path / "unreadable.py").touch(mode=0)
        assert same([tmp_path / "unreadable.py"]).returncode != 0

    @pytest.mark.parametrize(
        "arguments, message",
        [
            (["run", "no-such-command"], "shim: there is no file and no command 'no-such-command'"),
            (["run"], "shim: run what? Give a script"),
            (["walk"], "shim: there is no command 'walk'"),
            ([], "usage: shim run"),
        ],
    )
    def test_what_is_no_command_is_one_clear_line(self, python, arguments, message):
        result = python(["-m", "shim", *arguments], door="src")
        assert result.returncode == 2
        assert result.stderr.startswith(message)
        assert "Traceback" not in result.stderr

    @pytest.mark.parametrize("option", ["-I", "-E", "-S", "-uE"])
    def test_options_that_lock_us_out_are_refused_and_preimport_is_named(self, python, option, tmp_path):
        (tmp_path / "x.py").touch()
        for command in (["run", option, "x.py"], ["run", sys.executable, option, "x.py"]):
            result = python(["-m", "shim", *command], door="src")
            assert result.returncode == 2
            assert "import preimport" in result.stderr

    def test_a_python_without_torch_is_told_so_by_python_itself(self, python, tmp_path):
        venv.create(str(tmp_path / "bare"))
        bare = tmp_path / "bare" / "bin" / "python"
        result = python(["-m", "shim", "run", "-c", "import torch"], door="src", executable=bare)
        assert result.returncode == 1
        assert result.stderr.endswith("No module named 'torch'\n")


class TestCheckFirst:
    """``run --check CONFIG`` looks at a config, and with ``--fix`` mends it, before the job starts."""

    @pytest.fixture(autouse=True)
    def parser(self):
        pytest.importorskip("yaml")

    @pytest.fixture
    def config(self, tmp_path):
        path = tmp_path / "config.yaml"
        path.write_text("optimizer:\n  weight_decay: null  # why not\n")
        return path

    def test_it_reports_and_the_job_runs(self, python, config):
        result = python(["-m", "shim", "run", "--check", config, "-c", "print('job'); exit(4)"], door="src")
        assert (result.returncode, result.stdout) == (4, "job\n")
        assert "config.yaml:2:17: optimizer.weight_decay is null" in result.stderr

    def test_it_mends_before_the_job_starts(self, python, config):
        options = [f"--check={config}", "--fix", "--value", "0.1"]
        job = f"print(open({str(config)!r}).read())"
        result = python(["-m", "shim", "run", *options, "-c", job], door="src")
        assert result.stdout == "optimizer:\n  weight_decay: 0.1  # why not\n\n", result.stderr

    @pytest.mark.parametrize(
        "options, message",
        [
            (["--check", "missing.yaml"], "shim: the job was not started, because of the error above"),
            (["--check", "config.yaml", "--fix"], "shim: --fix and --diff need --value V"),
            (["--check", "config.yaml", "--fix", "--value", "x"], "'x' is no weight decay"),
            (["--fix"], "the following arguments are required: --check"),
        ],
    )
    def test_what_cannot_be_checked_stops_the_job(self, python, config, options, message):
        result = python(["-m", "shim", "run", *options, "-c", "print('job')"], door="src")
        assert (result.returncode, result.stdout) == (2, "")
        assert message in result.stderr
        assert "Traceback" not in result.stderr


class TestPythonPath:
    def test_ours_comes_first_and_the_users_stay_in_order(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", f"/b{os.pathsep}/a")
        assert launch.python_path().split(os.pathsep) == [launch.SITE, "/b", "/a"]

    def test_ours_is_never_there_twice_and_the_current_directory_never_creeps_in(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/b", launch.SITE, "/a"]))
        assert launch.python_path().split(os.pathsep) == [launch.SITE, "/b", "/a"]
        for nothing in ("", launch.SITE):
            monkeypatch.setenv("PYTHONPATH", nothing)
            assert launch.python_path() == launch.SITE
        monkeypatch.delenv("PYTHONPATH")
        assert launch.python_path() == launch.SITE

    def test_an_empty_entry_of_the_users_stays_the_current_directory(self, monkeypatch):
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


class TestWindows:
    """The branch for the system where exec loses the exit code, taken here by choosing it."""

    @pytest.fixture(autouse=True)
    def windows(self, monkeypatch):
        monkeypatch.setattr(launch.os, "name", "nt")
        before = signal.getsignal(signal.SIGINT)
        yield
        signal.signal(signal.SIGINT, before)

    def test_a_child_process_and_its_exit_code(self, capfd):
        code = launch._become(sys.executable, [sys.executable, "-c", "print('child'); exit(5)"], dict(os.environ))
        assert (code, capfd.readouterr().out) == (5, "child\n")

    def test_what_cannot_be_started_is_one_clear_line(self, capfd):
        assert launch._become("/no/such", ["/no/such"], {}) == 2
        assert capfd.readouterr().err == "shim: cannot run /no/such: No such file or directory\n"
