"""Each breakage of this torch fails without shim, and prints with --for what it printed where it worked."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from shim import rows
from shim.explain import explain
from shim.releases import TORCH, is_in, of_the_time, release, written_for

CHECKOUT = Path(__file__).resolve().parents[1]
HERE = release(torch.__version__).numbers


def installed(package):
    """Return the release of a package as numbers; None if it cannot be imported."""
    if package == "python":
        return sys.version_info[:3]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return release(importlib.import_module(package).__version__).numbers
    except (ImportError, RuntimeError):  # RuntimeError: torchvision beside another build of torch
        return None


EXAMPLES = [row for row in rows.load() if row.example]
INSTALLED = {package: installed(package) for package in {row.of for row in EXAMPLES}}
ROWS = [row for row in EXAMPLES if INSTALLED[row.of]]


def program_for(row):
    """Return the last release of torch on which the example of a row works."""
    return next(
        f"{a}.{b}" for a, b in reversed(list(TORCH)) if is_in(of_the_time(row.of, written_for(f"{a}.{b}")), row.works)
    )


#: The rows whose examples fail with the installed packages and work with a patch, each with a release for --for.
BROKEN = {
    row: program_for(row)
    for row in ROWS
    if row.targets and not is_in(INSTALLED[row.of], row.works) and is_in(HERE, row.versions)
}
WORKING = [row for row in ROWS if is_in(INSTALLED[row.of], row.works)]
#: The rows whose examples cannot run here. They are skipped, so that the summary of the skipped tests counts them.
WITHOUT_PACKAGE = [
    pytest.param(row, marks=pytest.mark.skip(reason=f"{row.of} is not installed"))
    for row in EXAMPLES
    if not INSTALLED[row.of]
]
#: Row -> the output of its example on a release in ``works``, and that release.
PRINTED = json.loads((Path(__file__).parent / "rows" / "printed.json").read_text())


def name_of(row):
    return row.name


def is_wanted(row, door, program, named):
    """Return whether a test runs the example of a row through a door, for a release, with the patch named."""
    if not door:
        return True
    if row in BROKEN:
        return named or program in (BROKEN[row], ".".join(map(str, HERE[:2])))
    return program in ("1.4", "2.15")


@pytest.fixture(scope="module")
def examples(request, tmp_path_factory):
    """Return a function that runs the example of a row: with or without a door, for a release, with a patch named.

    torch is imported once for all rows of a release, and each example runs in a fork. With -k, only the examples of the
    chosen tests run.
    """
    driver = Path(__file__).with_name("run_examples.py")
    here = [item for item in request.session.items if item.fspath == request.fspath and hasattr(item, "callspec")]
    chosen = {item.callspec.params["row"] for item in here}
    results = {}

    def run(row, door=True, program=None, named=False):
        how = (door, program, named)
        if how not in results:
            environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
            environment.update({"PYTHONPATH": str(CHECKOUT)} if door else {})
            environment.update({} if program is None else {"SHIM_FOR": program})
            those = [each for each in ROWS if each in chosen and is_wanted(each, *how)]
            asked = [[each.name if named else "", each.example] for each in those]
            ran = subprocess.run(
                [sys.executable, str(driver)],
                input=json.dumps(asked),
                stdout=subprocess.PIPE,
                env=environment,
                cwd=str(tmp_path_factory.mktemp("examples")),
                text=True,
                check=True,
            )
            results[how] = {each.name: Ran(*result) for each, result in zip(those, json.loads(ran.stdout))}
        return results[how][row.name]

    return run


class Ran(NamedTuple):
    """The result of an example."""

    returncode: int
    stdout: str
    stderr: str


def as_it_was(ran, row):
    """Return whether an example printed the same as on a release where the row works."""
    return (ran.returncode, ran.stdout) == (0, PRINTED[row.name]["printed"])


@pytest.mark.parametrize("row", BROKEN, ids=name_of)
class TestABreakage:
    def test_without_shim_the_example_dies_of_an_answered_message_or_prints_something_else(self, examples, row):
        ran = examples(row, door=False)
        # The schedulers of torch 1.4 lose the error of get_lr: their `with` swallows it.
        # https://github.com/pytorch/pytorch/blob/v1.4.0/torch/optim/lr_scheduler.py#L134
        is_lost = HERE < (1, 5) and "local variable 'values' referenced before assignment" in ran.stderr
        if ran.returncode and row.answers and not is_lost:
            assert [answer.name for answer in explain(ran.stderr)] == [row.name]
        else:
            assert not as_it_was(ran, row)

    def test_with_the_release_the_example_prints_what_it_printed_where_it_worked(self, examples, row):
        ran = examples(row, program=BROKEN[row])
        # An optional row is never part of --for: it must be named.
        assert as_it_was(ran, row) is not row.optional, ran.stderr

    def test_with_the_name_of_the_row_the_example_prints_the_same(self, examples, row):
        ran = examples(row, named=True)
        assert ran.stdout == PRINTED[row.name]["printed"], ran.stderr

    def test_for_a_program_for_this_torch_no_row_is_applied(self, examples, row):
        here = ".".join(map(str, HERE[:2]))
        # An installed package may be newer than the release of it that belongs to this torch.
        mended = is_in(of_the_time(row.of, written_for(here)), row.works)
        assert as_it_was(examples(row, program=here), row) == mended


@pytest.mark.parametrize("row", [*WORKING, *WITHOUT_PACKAGE], ids=name_of)
def test_where_it_works_without_shim_nothing_changes(examples, row):
    plain = examples(row, door=False)
    assert plain.stdout == PRINTED[row.name]["printed"], plain.stderr
    for program in ("1.4", "2.15"):
        if row.name in OPPOSITE and not is_in(written_for(program).numbers, row.works):
            continue
        assert examples(row, program=program).stdout == plain.stdout


#: Two rows for the two behaviours of one function. The release in ``--for`` says which of them the program wants.
OPPOSITE = ("zero_grad", "zero_grad to None", "buffers of AveragedModel", "buffers of AveragedModel since 2.0")

#: One row for each kind of place. Its example is a separate program: the patch is imported before torch, through any
#: door.
EACH_KIND = {row.targets[0].kind: row for row in BROKEN if not row.optional}


@pytest.mark.parametrize("door", ["run", "environment", "patches"])
@pytest.mark.parametrize("row", EACH_KIND.values(), ids=name_of)
def test_the_row_is_applied_through_every_door(python, tmp_path, row, door):
    script = tmp_path / "program.py"
    script.write_text(row.example)
    if door == "run":
        ran = python(["-W", "ignore", "-m", "shim", "run", "--for", BROKEN[row], script], door="src")
    else:
        ran = python(
            ["-W", "ignore", script],
            env={"SHIM_FOR": BROKEN[row]} if door == "environment" else {"SHIM_PATCHES": row.name},
        )
    assert (ran.returncode, ran.stdout) == (0, PRINTED[row.name]["printed"]), ran.stderr


def test_every_row_has_a_result_of_a_release_on_which_it_works():
    for row in rows.load():
        if row.example:
            printed = PRINTED[row.name]
            assert is_in(release(printed["release"]).numbers, row.works) and printed["printed"].strip()
