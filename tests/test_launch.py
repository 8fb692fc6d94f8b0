"""``run`` executes a command as if the user had started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import venv
import zipfile

import pytest

from shim import interpreter, launch

PROBE = "import sys; print(sys.argv, __name__, sys.path[0], sys.flags, sys.warnoptions, sys._xoptions)"


@pytest.fixture
def same(python):
    """Return a function that runs a command without shim and through ``run``, and checks that nothing differs."""

    def run(command, options=(), **keywords):
        plain = python([*options, *command], door="src", **keywords)
        through = python([*options, "-m", "shim", "run", *command], door="src", **keywords)
        assert (through.returncode, through.stdout, through.stderr) == (plain.returncode, plain.stdout, plain.stderr)
        return through

    return run


def test_a_script_runs_with_its_arguments_and_exit_code(same, tmp_path):
    script = tmp_path / "a script.py"
    script.write_text(PROBE + "\nsys.exit(3)")
    assert same([script, "--x", "two words", ""]).returncode == 3


def test_a_module_runs_with_its_arguments(same, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(PROBE)
    same(["-m", "package", "-v"])


def test_a_line_of_code_runs_with_its_arguments(same):
    same(["-c", PROBE, "-x"])


def test_a_directory_and_an_archive_run_with_their_arguments(same, tmp_path):
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "__main__.py").write_text(PROBE)
    same([tmp_path / "program", "1"])
    with zipfile.ZipFile(str(tmp_path / "program.zip"), "w") as archive:
        archive.writestr("__main__.py", PROBE)
    same([tmp_path / "program.zip", "1"])


@pytest.mark.parametrize("options", [["-u", "-O"], ["-X", "dev", "-W", "error"], ["-B", "-q", "-Wignore", "-Xutf8"]])
def test_interpreter_options_are_passed_on(same, python, options):
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
        (["-u", "--", "t.py", "--", "-x"], ["-u"], ["t.py", "--", "-x"]),
        (["--", "ls", "-l"], [], ["ls", "-l"]),
    ],
)
def test_interpreter_options_are_separated_from_the_program(argv, options, program):
    assert interpreter.split(argv) == (options, program)


def test_a_command_other_than_python_runs(python):
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
            (tmp_path / "unreadable.py").mkdir()  # even root cannot read a directory as a file
        else:
            (tmp_path / "unreadable.py").touch(mode=0)
        assert same([tmp_path / "unreadable.py"]).returncode != 0

    @pytest.mark.parametrize(
        "arguments, message",
        [
            (["run", "no-such-command"], "shim: there is no file and no command 'no-such-command'"),
            (["run"], "shim: nothing to run: give a script"),
            (["env", "extra"], "shim: env takes no arguments, but got 'extra'"),
            (["walk"], "shim: there is no command 'walk'"),
            ([], "usage: shim run"),
        ],
    )
    def test_a_word_that_is_no_command_is_an_error_of_one_line(self, python, arguments, message):
        result = python(["-m", "shim", *arguments], door="src")
        assert result.returncode == 2
        assert result.stderr.startswith(message)
        assert "Traceback" not in result.stderr

    @pytest.mark.parametrize("option", ["-I", "-E", "-S", "-uE"])
    def test_options_that_disable_shim_are_refused_and_preimport_is_named(self, python, option, tmp_path):
        (tmp_path / "x.py").touch()
        for command in (["run", option, "x.py"], ["run", sys.executable, option, "x.py"]):
            result = python(["-m", "shim", *command], door="src")
            assert result.returncode == 2
            assert "import preimport" in result.stderr

    @pytest.mark.parametrize("packed", [True, False])
    def test_a_pex_that_restarts_python_with_an_option_that_disables_shim_is_refused(self, python, packed, tmp_path):
        app, plain = tmp_path / "app.pex", tmp_path / "plain.pyz"
        for path, names in ((app, ["__main__.py", "PEX-INFO"]), (plain, ["__main__.py"])):
            if path is app and not packed:
                path.mkdir()
                for name in names:
                    (path / name).write_text("print('PEX-INFO')\n")
                continue
            with path.open("wb") as file:
                file.write(b"#!/usr/bin/env python3\n")
                with zipfile.ZipFile(file, "w") as archive:
                    for name in names:
                        archive.writestr(name, "print('PEX-INFO')\n")
            path.chmod(0o755)
        for command in (["app.pex"], ["./app.pex"], ["-u", "app.pex", "x"], [sys.executable, "-B", "app.pex"]):
            result = python(["-m", "shim", "run", *command], door="src")
            assert result.returncode == 2 and not result.stdout
            assert "is a PEX file" in result.stderr and "import preimport" in result.stderr
        assert python(["-m", "shim", "run", "plain.pyz"], door="src").stdout == "PEX-INFO\n"

    def test_a_pex_with_a_long_boot_script_is_recognised_in_a_directory_and_on_path(self, python, tmp_path):
        (tmp_path / "bin").mkdir()
        app = tmp_path / "bin" / "train"  # as `pex --sh-boot` writes it
        with app.open("wb") as file:
            file.write(b"#!/bin/sh\n" + b"# a boot script\n" * 1000)
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("PEX-INFO", "{}")
        app.chmod(0o755)
        (tmp_path / "loose").mkdir()
        for name in ("PEX-INFO", "__main__.py", "pex"):
            (tmp_path / "loose" / name).write_text("#!/usr/bin/env python3\n")
        env = {"PATH": str(app.parent) + os.pathsep + os.environ["PATH"]}
        for command in ("train", "bin/train", "./bin/train", "loose", "loose/pex", "loose/__main__.py"):
            result = python(["-m", "shim", "run", command], door="src", env=env)
            assert result.returncode == 2 and "is a PEX file" in result.stderr, command

    def test_a_missing_torch_is_reported_by_python_itself(self, python, tmp_path):
        venv.create(str(tmp_path / "bare"))
        bare = tmp_path / "bare" / "bin" / "python"
        result = python(["-m", "shim", "run", "-c", "import torch"], door="src", executable=bare)
        assert result.returncode == 1
        assert result.stderr.endswith("No module named 'torch'\n")


class TestFilesOfThisDirectory:
    @pytest.fixture
    def run(self, python):
        return lambda *words: python(["-m", "shim", "run", *words], door="src")

    @staticmethod
    def write(path, text, mode=0o644):
        path.write_text(text)
        path.chmod(mode)

    def test_an_executable_file_runs_without_the_dot_and_slash(self, run, tmp_path):
        self.write(tmp_path / "train.sh", "#!/bin/sh\necho $0 $1; exit 5", 0o755)
        result = run("train.sh", "word")
        assert (result.stdout, result.stderr, result.returncode) == ("./train.sh word\n", "", 5)

    @pytest.mark.parametrize("text, shell", [("echo hello", "sh"), ("#!/usr/bin/env bash\necho", "bash")])
    def test_a_shell_script_that_is_not_executable_is_not_run_as_python(self, run, tmp_path, text, shell):
        self.write(tmp_path / "train.sh", text)
        result = run("train.sh")
        assert result.returncode == 2
        assert result.stderr == f"shim: train.sh is not executable. Write: run {shell} train.sh\n"

    def test_a_file_without_a_shebang_says_what_to_write(self, run, tmp_path):
        self.write(tmp_path / "prog", "echo hello\n", 0o755)
        result = run("prog")
        assert result.returncode == 2
        assert result.stderr.endswith("write shim run sh ./prog\n") and result.stderr.count("\n") == 1

    @pytest.mark.parametrize("text", ["print('python')", "#!/usr/bin/env python3\nprint('python')"])
    def test_a_python_file_without_a_suffix_runs_as_python(self, run, tmp_path, text):
        self.write(tmp_path / "train", text)
        assert run("train").stdout == "python\n"

    def test_a_command_comes_before_a_directory_or_a_data_file_of_its_name(self, run, tmp_path):
        (tmp_path / "echo").mkdir()
        self.write(tmp_path / "true", "no program")
        assert run("echo", "word").stdout == "word\n"
        assert run("true").returncode == 0


class TestHelp:
    @pytest.mark.parametrize("words", [["run", "--help"], ["run", "-h"], ["run", "-u", "--help"], ["env", "--help"]])
    def test_help_of_each_command_prints_its_usage(self, python, words):
        result = python(["-m", "shim", *words], door="src")
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith(f"usage: shim {words[0]}")

    def test_help_behind_the_program_goes_to_the_program(self, same, tmp_path):
        (tmp_path / "x.py").write_text("import sys; print(sys.argv)")
        assert same(["x.py", "--help"]).stdout == "['x.py', '--help']\n"


class TestStdout:
    @pytest.mark.parametrize("command", ["env", "--help", "--version", "doctor --explain KeyError", "run --help"])
    @pytest.mark.parametrize("where, why", [(">/dev/full", "No space left on device"), (">&-", "it is closed")])
    def test_an_unwritable_stdout_is_an_error_of_one_line(self, python, command, where, why):
        result = python(["-c", f"{sys.executable} -m shim {command} {where}"], executable="/bin/sh", door="src")
        assert (result.stderr, result.returncode) == (f"shim: cannot write to stdout: {why}\n", 2)

    def test_a_job_runs_without_stdout(self, python):
        shell = f"{sys.executable} -m shim run -c 'import sys; sys.exit(4 if sys.stdout is None else 5)' >&-"
        result = python(["-c", shell], executable="/bin/sh", door="src")
        assert (result.stderr, result.returncode) == ("", 4)

    def test_the_path_in_env_has_the_same_bytes_in_any_encoding(self, checkout, tmp_path):
        directory = os.fsencode(tmp_path) + b"/\xe9t\xc3\xa9"
        for encoding in ("ascii", "latin-1", "utf-8"):
            environment = {b"PYTHONPATH": os.fsencode(checkout / "src") + b":" + directory}
            result = subprocess.run(
                [sys.executable, "-m", "shim", "env"],
                env={**os.environb, **environment, b"PYTHONIOENCODING": encoding.encode()},
                capture_output=True,
            )
            assert (result.stderr, result.stdout.endswith(b":" + directory + b"'\n")) == (b"", True)


class TestWindows:
    """The code for Windows, where exec loses the exit code. The tests select it on any system."""

    @pytest.fixture(autouse=True)
    def windows(self, monkeypatch):
        monkeypatch.setattr(launch.os, "name", "nt")
        before = signal.getsignal(signal.SIGINT)
        yield
        signal.signal(signal.SIGINT, before)

    def test_the_job_is_a_child_process_and_run_returns_its_exit_code(self, capfd):
        code = launch._become(sys.executable, [sys.executable, "-c", "print('child'); exit(5)"], dict(os.environ))
        assert (code, capfd.readouterr().out) == (5, "child\n")

    def test_a_job_that_cannot_be_started_is_an_error_of_one_line(self, capfd):
        assert launch._become("/no/such", ["/no/such"], {}) == 2
        assert capfd.readouterr().err == "shim: cannot run /no/such: No such file or directory\n"


@pytest.mark.parametrize(
    "option, variable", [("-B", "PYTHONDONTWRITEBYTECODE"), ("-u", "PYTHONUNBUFFERED"), ("-O", "PYTHONOPTIMIZE")]
)
def test_options_from_environment_variables_are_not_repeated_on_the_command_line(python, option, variable):
    code = (
        "import sys; vars(sys).pop('orig_argv', None); from shim.interpreter import own_options; print(own_options())"
    )
    variables = dict.fromkeys(("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONOPTIMIZE", "PYTHONWARNINGS"), "")
    assert python(["-c", code], door="src", env=variables).stdout == "[]\n"
    assert python([option, "-c", code], door="src", env=variables).stdout == f"[{option!r}]\n"
    assert python(["-c", code], door="src", env={**variables, variable: "1"}).stdout == "[]\n"
