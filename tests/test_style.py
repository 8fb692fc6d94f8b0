"""The linter, the formatter and the type checker report nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=lambda command: " ".join(command),
)
def test_the_source_is_clean(command, checkout):
    pytest.importorskip(command[0])
    if command == ["mypy"] and torch.__version__.partition("+")[0] != "2.13.0":
        pytest.skip("types are checked against those of torch 2.13.0")
    tool = subprocess.run([sys.executable, "-m", *command], cwd=str(checkout), capture_output=True, text=True)
    assert tool.returncode == 0, tool.stdout + tool.stderr
