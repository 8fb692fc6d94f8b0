"""Fixture of the tests of the check."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Return a directory with a good config, a bad one, and files that the check ignores."""
    (tmp_path / "good.yaml").write_text("optimizer: {weight_decay: 0.1}\n")
    (tmp_path / "bad.json").write_text('{"weight_decay": null}\n')
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.yaml").write_text("weight_decay: null\n")
    (tmp_path / "notes.txt").write_text("weight_decay: null\n")
    return tmp_path
