"""Installed tools that have a sitecustomize work together with shim."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

import pytest
from neighbour_programs import ANNOUNCE, DIES, loads

from shim.launch import SITE


class Tool(NamedTuple):
    """A tool that has a sitecustomize."""

    packages: tuple
    #: The directory of its sitecustomize in site-packages.
    directory: str
    #: The command with which its users start a program.
    wrapper: tuple
    #: An expression that is true if the tool has started.
    at_work: str
    #: Environment variables: no messages, and no network access.
    settings: dict
    #: Whether it loads the sitecustomize that it shadows.
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
                    # The variables that the command of the tool would have set.
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

    def test_shims_sitecustomize_in_front_runs_the_tools_once(self, start, tool):
        result = start("python", "-v", program=ANNOUNCE + "import torch.optim", path=["ours", "theirs", "fake"])
        assert result.stdout == "at work True\ntorch.optim runs\narrived: torch.optim\n", result.stderr[-3000:]
        assert sum(tool.directory in directory for directory in loads(result.stderr)) == 1

    def test_the_tools_sitecustomize_in_front_runs_shims_if_it_runs_any(self, start, tool):
        result = start("wrapper", "python", program=ANNOUNCE + "import torch.optim", path=["ours", "fake"])
        assert result.stdout.startswith("at work True\ntorch.optim runs\n"), result.stderr
        assert ("arrived: torch.optim" in result.stdout) == tool.chains

    def test_doctor_names_a_sitecustomize_in_front_of_shims(self, start, tool):
        result = start("wrapper", "python", program="from shim import doctor\ndoctor.main([])", path=["ours", "src"])
        # doctor wraps its lines, also inside of long paths.
        said = f"{tool.directory}/sitecustomize.py comes before shim's on PYTHONPATH".replace(" ", "")
        assert said in "".join(result.stdout.split()), result.stdout + result.stderr

    def test_run_under_the_command_of_the_tool_guards(self, start):
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
        # shim is not installed here, so coverage counts its files as part of the program. Hence the choice of the file.
        assert "program.py       4      1    75%" in run("-m", "coverage", "report", "--include=program.py")
