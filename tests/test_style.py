"""The tools that watch over the source have nothing to say."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=lambda command: " ".join(command),
)
def test_the_source_is_clean(command, checkout):
    pytest.importorskip(command[0])
    tool = subprocess.run([sys.executable, "-m", *command], cwd=str(checkout), capture_output=True, text=True)
    assert tool.returncode == 0, tool.stdout + tool.stderr
