"""Write files, and fix them in this process."""

from __future__ import annotations

from pathlib import Path

from shim.configs.command import Result, Task, check


def fix_file(path: Path, value: float = 0.0, *, add_missing: bool = False) -> Result:
    return check(str(path), Task(value, True, add_missing))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path
