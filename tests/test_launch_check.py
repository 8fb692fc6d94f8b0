"""``run --check`` checks a config before the job starts, and fixes it with ``--fix``."""

from __future__ import annotations

import pytest


class TestCheckFirst:
    """``run --check CONFIG`` checks a config, and with ``--fix`` fixes it, before the job starts."""

    @pytest.fixture(autouse=True)
    def parser(self):
        pytest.importorskip("yaml")

    @pytest.fixture
    def config(self, tmp_path):
        path = tmp_path / "config.yaml"
        path.write_text("optimizer:\n  weight_decay: null  # why not\n")
        return path

    def test_the_check_reports_and_the_job_runs(self, python, config):
        result = python(["-m", "shim", "run", "--check", config, "-c", "print('job'); exit(4)"], door="src")
        assert (result.returncode, result.stdout) == (4, "job\n")
        assert "config.yaml:2:17: optimizer.weight_decay is null" in result.stderr

    def test_the_config_is_fixed_before_the_job_starts(self, python, config):
        options = [f"--check={config}", "--fix", "--value", "0.1"]
        job = f"print(open({str(config)!r}).read())"
        result = python(["-m", "shim", "run", *options, "-c", job], door="src")
        assert result.stdout == "optimizer:\n  weight_decay: 0.1  # why not\n\n", result.stderr

    @pytest.mark.parametrize("where", [["-u", "-W", "error"], ["-X", "dev"]])
    def test_interpreter_options_may_come_before_between_and_after(self, python, config, where):
        job = ["-c", "import sys; print(sys.flags.dev_mode, sys.warnoptions, sys.argv)", "--check", "x"]
        plain = python([*where, "-B", *job], door=None).stdout
        ours = ["--fix", "--value", "0.1"]
        for words in (
            [*where, "--check", config, "-B", *ours],
            ["--check", config, *ours, *where, "-B"],
            [*where, "-B", *ours, f"--check={config}"],
        ):
            config.write_text("optimizer:\n  weight_decay: null\n")
            result = python(["-m", "shim", "run", *words, *job], door="src")
            assert result.stdout == plain, result.stderr
            assert config.read_text() == "optimizer:\n  weight_decay: 0.1\n"

    @pytest.mark.parametrize(
        "options, message",
        [
            (["--check", "missing.yaml"], "shim: the job was not started, because of the error above"),
            (["--check", "config.yaml", "--fix"], "shim: --fix and --diff need --value V"),
            (["--check", "config.yaml", "--fix", "--value", "x"], "'x' is not a weight decay"),
            (["--fix"], "the following arguments are required: --check"),
        ],
    )
    def test_a_config_that_cannot_be_checked_stops_the_job(self, python, config, options, message):
        result = python(["-m", "shim", "run", *options, "-c", "print('job')"], door="src")
        assert (result.returncode, result.stdout) == (2, "")
        assert message in result.stderr
        assert "Traceback" not in result.stderr
