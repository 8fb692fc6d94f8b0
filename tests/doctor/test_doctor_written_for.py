"""With --for, doctor names the release and the state of each row of the table of breakages."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter

import pytest
import torch

from shim import releases
from shim.rows import load


class TestCompatibilityMode:
    """With --for, doctor prints the release, and the state of each row."""

    @pytest.fixture
    def program(self):
        """Return a release on which a row works that does not work on this torch."""
        here = releases.release(torch.__version__).numbers
        return "1.7" if here > (2, 0, 0) else "2.7"

    @pytest.fixture
    def planned(self, python, program):
        """Return the outcome of each row in shim.plan(), in a process that imports only torch."""
        code = """
        import json, sys, shim, torch
        print(json.dumps({row.patch: row.state for row in shim.plan(written_for=sys.argv[1])}))
        """
        code = textwrap.dedent(code)
        return json.loads(python(["-c", code, program], door="src").stdout)

    @pytest.mark.parametrize("door", ["--for", "SHIM_FOR"])
    def test_the_applied_rows_are_listed_and_the_others_counted(self, examine, program, planned, door):
        arguments = ["--for", program] if door == "--for" else []
        env = {"SHIM_FOR": program} if door == "SHIM_FOR" else {}
        found = json.loads(examine("--json", *arguments, env=env).stdout)
        said = " ".join(examine(*arguments, env=env).stdout.split())

        rows = {row["patch"]: row for row in found["torch"]["patches"] if row["optional"]}
        assert found["torch"]["written_for"] == program
        assert {*rows} == {row.name for row in load()}, "the data are whole"
        # The row of inspect.getargspec finds the function that another row restores.
        of_torch = {row.name for row in load() if row.of == "torch" and row.name != "inspect.getargspec(torch)"}
        assert {name: row["state"] for name, row in rows.items() if name in of_torch and row["state"] != "waits"} == {
            name: planned[name].replace("planned", "applied") for name in of_torch if rows[name]["state"] != "waits"
        }
        states = Counter(row["state"] for row in rows.values())
        assert states["applied"] and states["not needed here"] and states["advice"]
        applied = ", ".join(name for name, row in rows.items() if row["state"] == "applied")
        assert f"written for torch {program}; applied: {applied}" in said
        for state in {*states} - {"applied", "waits"}:
            assert f"; {states[state]} {state}" in said
        option = f" --for {program}" * (door == "--for")
        assert said.startswith(f"A job is guarded here: python -m shim run{option} YOUR_SCRIPT.py")

    def test_verbose_lists_all_rows_with_those_left_out(self, examine, program, planned):
        names = {row.name for row in load()}
        left_out = next(name for name, state in planned.items() if name in names and state == "planned")
        env = {"SHIM_SKIP": left_out, "COLUMNS": "200"}
        said = examine("--for", program, "--verbose", env=env).stdout
        assert f"\nWritten for torch {program}: 1 left out\n  {left_out}  left out by SHIM_SKIP\n" in said
        for row in load():
            assert re.search(rf"^  {re.escape(row.name)}(  |$)", said, re.M), row.name

    def test_rows_work_without_docstrings(self, python, program):
        found = json.loads(python(["-OO", "-m", "shim", "doctor", "--json", "--for", program], door="src").stdout)
        assert found["guarded"] and found["torch"]["error"] is None
        assert "applied" in {row["state"] for row in found["torch"]["patches"] if row["optional"]}

    def test_without_for_only_named_rows_are_reported(self, examine):
        assert "written for" not in examine().stdout
        said = examine(env={"SHIM_PATCHES": "numbers"}).stdout
        assert "        applied: numbers\n" in said

    @pytest.mark.parametrize("release", ["1.99", "banana", ""])
    def test_an_unknown_release_is_one_line_as_an_option_and_a_problem_in_the_environment(self, examine, release):
        result = examine("--for", release)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith("shim: --for: ")
        found = json.loads(examine("--json", env={"SHIM_FOR": release}).stdout)
        assert found["torch"]["written_for"] is None
        assert [each for each in found["obstacles"] if each.startswith("SHIM_FOR is ignored: ")] == (
            found["obstacles"] if release else []
        )
