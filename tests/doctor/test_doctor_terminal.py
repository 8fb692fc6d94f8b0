"""The output of doctor fits any terminal, whatever it reports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shim import launch
from shim.doctor import examination, words


class TestTheTerminal:
    def test_every_report_fits_into_80_columns(self, monkeypatch, tmp_path):
        (tmp_path / "sitecustomize.py").touch()
        (tmp_path / "shim.py").touch()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), launch.SITE]))
        for name in ("SHIM_DISABLE", "SHIM_STRICT", "SHIM_SKIP", "SHIM_FOR", "PYTHONSAFEPATH"):
            monkeypatch.setenv(name, "1" if name in ("SHIM_DISABLE", "SHIM_STRICT") else "adam,adamw," * 20)
        torch = {
            "version": "9.9.9+cpu", "location": "/a/torch", "known": False,
            "imported_at_startup": True, "patched_by_others": ["torch.optim.adam:Adam, its step, in ddtrace"],
            "patches": [{"patch": "a", "state": "applied", "reason": "x " * 90},
                        {"patch": "a long name", "state": "failed", "reason": "OSError: a full disk"},
                        {"patch": "b", "state": "waits", "reason": "will be guarded when it is imported"}],
            "error": "MemoryError: " + "no memory " * 20, "written_for": "1.7",
        }  # fmt: skip
        for patch in torch["patches"]:
            patch.update(works="", optional=False)
        torch["patches"] += [
            {"patch": f"torch.nn.functional.{name}_of_a_long_name", "state": "not for this program",
             "reason": "works with torch >=2.7, it was written for 1.7.1", "works": ">=2.7", "optional": True}
            for name in ("a", "b")
        ]  # fmt: skip
        found = {
            "shim": "1", "python": {"version": "3.8", "executable": "/python"}, "torch": torch, "guarded": False,
            "doors": [{"door": "PYTHONPATH", "works": False, "reason": "TypeError: " + "None " * 40}],
            "shell": {"python": "/usr/bin/python", "armed": True}, "command": "shim run YOUR_SCRIPT.py",
            "obstacles": list(examination._obstacles(torch, ["-E", "-S", "-I"])),
        }  # fmt: skip
        found["advice"] = list(examination._advice(found, is_this=True))
        assert len(found["obstacles"]) == 15
        lines = words.short(found) + words.rows(found)
        assert [line for line in lines if len(line) > 80 and "/" not in line and "adam,adamw" not in line] == []
        columns = {line.index(state) for line in lines for state in ("applied", "failed   ") if line.startswith("  a")
                   and state in line}  # fmt: skip
        assert len(columns) == 1

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
    def test_a_path_that_stdout_cannot_encode_raises_nothing(self, python, tmp_path, encoding, checkout):
        place = tmp_path / "žluťoučký"
        place.mkdir()
        (place / "torch.py").write_text("raise ImportError(__file__)")
        env = {"PYTHONIOENCODING": encoding, "PYTHONPATH": f"{place}:{checkout / 'src'}"}
        result = python(["-m", "shim", "doctor"], env=env, encoding=encoding)
        assert (result.returncode, result.stderr) == (1, "")
        shown = str(place / "torch.py").encode(encoding, "backslashreplace").decode(encoding)
        assert f"ImportError: {shown}" in " ".join(result.stdout.split())

    def test_a_progress_line_appears_and_disappears(self, tmp_path, checkout):
        pty = pytest.importorskip("pty")
        (tmp_path / "torch.py").write_text("raise ImportError('lost')")
        ours, theirs = pty.openpty()
        result = subprocess.run(
            [sys.executable, "-m", "shim", "doctor"],
            cwd=str(tmp_path), env={**os.environ, "PYTHONPATH": str(checkout / "src")},
            stdout=subprocess.PIPE, stderr=theirs, timeout=300,
        )  # fmt: skip
        said = os.read(ours, 10000).decode()
        os.close(ours)
        os.close(theirs)
        assert said.startswith("importing torch ") and said.endswith(" \r")
        assert result.stdout.startswith(b"A job is NOT guarded here.\n")
