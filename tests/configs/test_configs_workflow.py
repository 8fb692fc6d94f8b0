"""The shell workflow and the pre-commit hook, which use the check from outside of Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import shim

SOURCE = Path(shim.__file__).parents[1]
PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "scripts" / "flexible_training_workflow.sh"
HOOKS = PROJECT / ".pre-commit-hooks.yaml"

# A replacement for the command python: it prints which command of shim is called, and then runs the real interpreter.
# doctor is slow: if the variable DOCTOR is set, the replacement ends with that exit code instead.
STAND_IN = """#!{python}
import os, sys
if sys.argv[1:3] == ["-m", "shim"]:
    print("shim:", *sys.argv[3:], file=sys.stderr, flush=True)
    if sys.argv[3] == "doctor" and "DOCTOR" in os.environ:
        sys.exit(int(os.environ["DOCTOR"]))
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "bin"
    folder.mkdir()
    python = folder / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(SOURCE), "HOME": str(tmp_path), "DOCTOR": "0"}


def workflow(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", str(SCRIPT), *arguments], env=environment, capture_output=True, text=True)


def lines_of_shim(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("shim: ")]


def test_the_workflow_runs_check_doctor_and_the_job_and_returns_its_exit_code(
    environment: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "my config.yaml"
    config.write_text("weight_decay: null\n")

    del environment["DOCTOR"]
    done = workflow(environment, str(config), "--", "sh", "-c", 'echo "$1|$2"; exit 7', "job", "a b", "")

    assert done.returncode == 7
    assert done.stdout == "a b|\n"
    assert lines_of_shim(done.stderr) == ["check", "doctor", "run"]
    assert "weight_decay is null" in done.stderr
    assert config.read_text() == "weight_decay: null\n"


def test_the_workflow_fixes_a_config_with_fix(environment: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("weight_decay: null\n")

    done = workflow(environment, "--fix", "--value", "0.0", str(config), "cat", str(config))

    assert (done.returncode, done.stdout) == (0, "weight_decay: 0.0\n")


def test_the_workflow_starts_no_job_on_a_config_that_cannot_be_read(
    environment: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("weight_decay: [\n")

    for arguments in ([str(config)], [str(tmp_path / "none.yaml")], ["--fix", str(config)]):
        done = workflow(environment, *arguments, "echo", "job")
        assert (done.returncode, done.stdout) == (2, "")
        assert lines_of_shim(done.stderr) == ["check"]


def test_the_workflow_starts_no_job_that_would_not_be_guarded(environment: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("weight_decay: 0.1\n")

    done = workflow({**environment, "DOCTOR": "5"}, str(config), "echo", "job")

    assert (done.returncode, done.stdout) == (5, "")


@pytest.mark.parametrize("arguments", [[], ["config.yaml"], ["config.yaml", "--"], ["--fix", "--value"], ["--what"]])
def test_the_workflow_prints_its_usage_for_wrong_arguments(environment: dict[str, str], arguments: list[str]) -> None:
    done = workflow(environment, *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


@pytest.mark.skipif(shutil.which("git") is None, reason="pre-commit works on git repositories")
def test_the_pre_commit_hook_stops_a_commit_with_a_null(environment: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
    environment = {**environment, "PRE_COMMIT_HOME": str(tmp_path / "cache"), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(where: Path, *arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(where), *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    def hook(where: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
        return subprocess.run(command, env=environment, cwd=str(where), capture_output=True, text=True)

    hooks, project = tmp_path / "hooks", tmp_path / "project"
    hooks.mkdir()
    shutil.copy(str(HOOKS), str(hooks))
    git(hooks, "init", "-q")
    git(hooks, "add", ".")
    git(hooks, "commit", "-qm", "hooks")
    (project / "configs").mkdir(parents=True)
    (project / "configs" / "a.yaml").write_text("optimizer: {weight_decay: null}\n")
    (project / "other.yaml").write_text("weight_decay: null\n")
    revision = git(hooks, "rev-parse", "HEAD").strip()
    (project / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {hooks}\n  rev: {revision}\n  hooks: [{{id: shim-check}}]\n"
    )
    git(project, "init", "-q")
    git(project, "add", ".")

    stopped = hook(project)
    (project / "configs" / "a.yaml").write_text("optimizer: {weight_decay: 0.0}\n")
    git(project, "add", ".")
    passed = hook(project)

    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    assert "configs/a.yaml:1:27: optimizer.weight_decay is null" in stopped.stdout
    assert "other.yaml" not in stopped.stdout
    assert passed.returncode == 0, passed.stdout + passed.stderr


CONFIGS = {
    "llama.yaml": (
        "general:\n  seed: null\noptimizer:\n  zero_stage: 0\n  weight_decay: null  # as before\n"
        "  clip_grad: 1.0\n  optimizer_factory: {name: adamW, adam_eps: 1.0e-08}\n"
    ),
    "deepspeed.json": '{"optimizer": {"type": "AdamW", "params": {"lr": "auto", "weight_decay": "auto"}}}\n',
    "vit.py": (
        "_base_ = ['../_base_/default_runtime.py']\noptim_wrapper = dict(\n"
        "    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=None),\n    clip_grad=None)\n"
    ),
}


def test_the_documentation_shows_what_is_printed(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    for name, text in CONFIGS.items():
        (tmp_path / "configs" / name).write_text(text)
    shown = [line[4:] for line in (PROJECT / "docs" / "configs.md").read_text().split("\n") if line[:4] == "    "]
    walk = "\n".join(shown[shown.index("$ python -m shim check configs/") :])
    steps = [step for step in walk.split("$ ") if step.startswith(("python", "echo"))]
    assert len(steps) == 5

    for step in steps:
        command, _, output = step.partition("\n")
        done = subprocess.run(
            ["sh", "-c", command],
            env=environment,
            cwd=str(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed = [line for line in done.stdout.split("\n") if line and not line.startswith("shim: check")]
        assert printed == output.rstrip("\n").split("\n")[: len(printed)], command
        assert printed
