"""A profiler or debugger in front of ``run`` sees the job; otherwise ``run`` reports that it sees nothing."""

from __future__ import annotations

import os
import pstats
import subprocess
import sys

import pytest


class TestInFront:
    """A tool in front of ``run`` would lose its data, because the job replaces its process."""

    JOB = (
        "import sys\ndef work_of_the_job():\n    print(sys.argv, __name__, 'shim' in sys.modules)\nwork_of_the_job()\n"
    )
    SAID = "sees nothing of the job, which replaces this process"

    @pytest.fixture
    def run(self, python, tmp_path):
        (tmp_path / "job.py").write_text(self.JOB)
        return lambda *words, **options: python(words, door="src", **options)

    @pytest.mark.parametrize(
        "ours", [["-m", "shim", "run"], ["shim", "run"], ["-m", "shim", "run", "--for", "1.7", "-O"]]
    )
    @pytest.mark.parametrize("job", [["job.py"], ["-m", "job"]])
    def test_a_profiler_measures_the_job_and_writes_its_output(self, run, checkout, tmp_path, ours, job):
        (tmp_path / "shim").write_text("import sys\nfrom shim.__main__ import main\nsys.exit(main())\n")
        plain = run("-m", "cProfile", "-o", "plain", *job, "a")

        through = run("-m", "cProfile", "-o", "through", *ours, *job, "a")

        assert (through.returncode, through.stdout, through.stderr) == (0, plain.stdout, plain.stderr)
        stats = pstats.Stats(str(tmp_path / "through")).stats
        assert "work_of_the_job" in {function for _, _, function in stats}

    def test_a_debugger_stops_in_the_job(self, run):
        stop = ("-c", "break job.py:3", "-c", "continue")
        stopped = run("-m", "pdb", *stop, "-m", "shim", "run", "job.py", input="where\nquit\n")

        assert "job.py(3)work_of_the_job()" in stopped.stdout

    @pytest.mark.parametrize("job", [["-c", "print(1)"], ["echo", "1"]])
    def test_a_tool_that_cannot_be_restarted_is_reported_in_one_line(self, run, job):
        said = run("-m", "cProfile", "-o", "out", "-m", "shim", "run", *job)

        assert said.stdout == "1\n"
        assert said.stderr.count("\n") == 1 and f"shim: cProfile {self.SAID}" in said.stderr

    def test_an_unknown_tracer_is_reported_in_one_line(self, run, tmp_path):
        (tmp_path / "mine.py").write_text(
            "import runpy, sys\n"
            "sys.argv[:2] = []\n"
            "sys.settrace(lambda *event: None)\n"
            "runpy.run_module('shim', None, '__main__')\n"
        )
        said = run("mine.py", "-m", "shim", "run", "job.py")

        assert f"shim: the tool that traces or profiles this process {self.SAID}" in said.stderr

    @pytest.mark.skipif(
        not os.path.exists("/proc/self/cmdline"), reason="the name of the parent process is unknown without /proc"
    )
    def test_a_tool_that_observes_the_process_from_outside_is_reported_in_one_line(self, tmp_path, checkout):
        code = "import subprocess, sys; subprocess.call([sys.argv[1], '-m', 'shim', 'run', '-c', ''])"
        env = {**os.environ, "PYTHONPATH": str(checkout / "src")}

        said = subprocess.run(
            ["py-spy", "-c", code, sys.executable], executable=sys.executable, env=env, capture_output=True, text=True
        )

        assert f"shim: py-spy {self.SAID}" in said.stderr

    def test_nothing_is_reported_without_a_tool_in_front(self, run):
        assert run("-m", "shim", "run", "job.py").stderr == ""
        assert run("-m", "shim", "run", "-m", "cProfile", "-o", "out", "job.py").stderr == ""
