"""A program names the torch that it was written for, and the rows restore what worked on that release."""

from __future__ import annotations

import sys
import textwrap

import pytest
import torch  # noqa: F401 - shim.activate() and shim.plan() read it

import shim
from shim import rows
from shim.registry import FINAL, Choice, Registry
from shim.releases import TORCH, of_the_time, written_for
from shim.rows.index import ROWS


def test_the_status_has_an_outcome_for_each_row(python):
    code = """
        import torch, shim
        status = shim.status()
        print(status.written_for, {outcome.patch: outcome.state for outcome in status.outcomes}["THC headers"])
        print({outcome.state for outcome in status.outcomes} <= {
            "applied", "skipped", "not needed here", "not for this program", "left out", "advice"})
        print("written for: torch 1.7" in str(status))
    """
    result = python(code, env={"SHIM_FOR": "1.7", "SHIM_SKIP": "torch.matrix_rank"})
    assert result.stdout == "1.7 advice\nTrue\nTrue\n", result.stderr


def test_a_row_that_is_left_out_says_so(python):
    code = "import torch, shim; print({o.patch: o.state for o in shim.status().outcomes}['torch.matrix_rank'])"
    assert python(code, env={"SHIM_FOR": "1.7", "SHIM_SKIP": "torch.matrix_rank"}).stdout == "left out\n"


def test_without_a_release_no_row_is_imported(python):
    code = "import torch, sys; print([name for name in sys.modules if name.startswith('shim.rows')])"
    assert python(code).stdout == "[]\n"


def _imported(python, env):
    """Return the modules that a program imports which imports torch."""
    return set(python("import sys, torch; print(*sys.modules)", env=env).stdout.split())


def _files_of_rows(modules):
    return {family for family in rows.FAMILIES if f"shim.rows.{family}" in modules}


@pytest.mark.parametrize("program", ["1.4", "1.7", "1.13", "2.0", "2.4", "2.9", "2.12", "2.13", "2.14", "2.16"])
def test_a_file_of_rows_is_imported_only_if_one_of_its_rows_may_be_applied(python, program):
    modules = _imported(python, {"SHIM_FOR": program})
    # The index does not have ``versions``, the releases of torch on which the patch of a row works.
    every = [row._replace(versions="") for row in rows.load() if row.works and not row.optional]
    of_loaded = [row for row in every if row.of in {"python", *modules}]
    outcomes = Registry(of_loaded).plan(shim.layout.probe(), Choice(written_for=written_for(program)))
    # Any other row is applied now, or waits for the import of its module.
    due = {outcome.patch for outcome in outcomes if outcome.state not in (*FINAL, "advice")}
    needed = {family for family, inside in rows.by_family().items() for row in inside if row.name in due}
    # Another file may use what moved.py holds.
    assert _files_of_rows(modules) - {"moved"} == needed - {"moved"}
    assert "moved" in _files_of_rows(modules) or "moved" not in needed


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("verbose", "lr_scheduler"),
        ("torch.symeig", "linalg"),
        ("numbers", "optim"),
    ],
)
def test_a_named_row_imports_its_own_file_only(python, name, family):
    assert _files_of_rows(_imported(python, {"SHIM_PATCHES": name})) == {family}


def test_the_index_has_the_rows_of_each_file():
    """``scripts/matrix --table`` writes it."""
    written = {
        family: tuple((row.name, row.of, "" if row.optional else row.works) for row in inside if row.targets)
        for family, inside in rows.by_family().items()
    }
    assert written == ROWS


@pytest.mark.parametrize("text", ["1.99", "old", "1.7.9", "2.99", "3.0"])
class TestAnUnknownRelease:
    def test_run_refuses_an_unknown_release_in_one_line(self, python, text):
        result = python(["-m", "shim", "run", "--for", text, "-c", "print('ran')"], door="src")
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert text in result.stderr

    def test_an_unknown_release_in_the_environment_is_reported_once_and_applies_nothing(self, python, text):
        code = "import torch, sys, torch.utils.data, shim; print(shim.status().written_for, 'shim.rows' in sys.modules)"
        result = python(code, env={"SHIM_FOR": text})
        assert result.stdout == "None False\n"
        assert result.stderr.count(text) == 1 and result.stderr.count("\n") == 1

    def test_activate_raises_for_an_unknown_release(self, text):
        with pytest.raises(ValueError, match=text):
            shim.activate(written_for=text)


@pytest.mark.parametrize("door, by_torchrun", [("sitecustomize", 0), ("src", 1)])
def test_only_one_of_several_ranks_reports_an_unknown_release(python, door, by_torchrun):
    first = "import preimport, torch" if door == "src" else "import torch"
    for rank, times in (("0", 1), ("1", 0)):
        result = python(first, door, env={"SHIM_FOR": "banana", "RANK": rank})
        assert result.returncode == 0 and result.stderr.count("banana") == times
    result = python(first, door, env={"SHIM_FOR": "banana", "RANK": "0", "TORCHELASTIC_RUN_ID": "x"})
    assert result.returncode == 0 and result.stderr.count("banana") == by_torchrun


def test_a_release_given_as_a_number_is_a_type_error_that_says_to_write_a_string():
    with pytest.raises(TypeError, match="as a string, '1.7', not 1.1: as a number 1.10 is 1.1"):
        shim.activate(written_for=1.10)


def test_the_release_after_the_newest_that_is_known_is_taken():
    major, minor = max(TORCH)
    assert written_for(f"{major}.{minor + 1}").numbers == (major, minor + 1, 0)
    with pytest.raises(ValueError, match="there is no torch"):
        written_for(f"{major}.{minor + 2}")


def test_an_unknown_patch_is_an_error_that_lists_the_names():
    for act in (shim.activate, shim.plan):
        with pytest.raises(ValueError, match="there is no patch 'no such patch'; there are: .*adam, .*verbose"):
            act("no such patch", written_for="1.7")
    assert shim.status().written_for is None, "nothing was done"


@pytest.mark.parametrize("odd", [3, 2.10, None, b"verbose", ["verbose"], len])
def test_every_entry_point_names_a_value_that_is_not_a_string(odd):
    for act in (shim.activate, shim.plan):
        with pytest.raises(TypeError, match="names of optional patches as strings, 'verbose', not .*written_for='1.7'"):
            act("verbose", odd, written_for="1.7")
        if odd is not None:
            with pytest.raises(TypeError, match="write the release of torch as a string, '1.7', not "):
                act(written_for=odd)
    with pytest.raises(TypeError, match=r"shim\.guard takes a subclass of torch\.optim\.Optimizer, not "):
        shim.guard(odd)
    assert shim.status().written_for is None, "nothing was done"


def test_rows_of_pillow_and_numpy_need_no_torch(python):
    pytest.importorskip("PIL")
    code = """
        import sys
        from PIL import Image
        print(Image.ANTIALIAS == Image.LANCZOS)
        import numpy
        print(numpy.float is float, "torch" in sys.modules)
    """
    ran = python(code, env={"SHIM_FOR": "1.7"})
    assert ran.stdout == "True\nTrue False\n", ran.stderr


OF_PYTHON = """
import sys
from time import clock
from {module} import {name}
print(callable({name}), "torch" in sys.modules, "shim.activation" in sys.modules)
import torch, shim, {module}
print({module}.{name} is {name})
shim.deactivate()
print(hasattr({module}, "{name}"), hasattr({module}, "__getattr__"))
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python itself has some of the names")
@pytest.mark.parametrize(
    "module, name",
    [("collections", "Mapping"), ("inspect", "getargspec"), ("fractions", "gcd"), ("base64", "encodestring")],
)
@pytest.mark.parametrize("door, first", [("sitecustomize", ""), ("src", "import preimport")])
def test_rows_of_python_need_no_torch(python, module, name, door, first):
    code = first + OF_PYTHON.format(module=module, name=name)
    ran = python(["-c", code], door=door, env={"SHIM_FOR": "1.7"})
    assert ran.stdout == "True False True\nTrue\nFalse False\n", ran.stderr


def test_a_name_that_python_never_had_stays_missing(python):
    code = """
        import collections, inspect
        print(hasattr(collections, "Nothing"), hasattr(inspect, "nothing"), getattr(inspect, "nothing", 0))
        try:
            collections.Nothing
        except AttributeError as error:
            print(error)
    """
    ran = python(code, env={"SHIM_FOR": "1.7"})
    assert ran.stdout == "False False 0\nmodule 'collections' has no attribute 'Nothing'\n", ran.stderr


def test_a_process_that_uses_no_removed_name_loads_only_the_hook(python):
    code = "import base64, collections, fractions, inspect, sys, time; print([m for m in sys.modules if 'shim' in m])"
    assert python(code, env={"SHIM_FOR": "1.7"}).stdout == "['shim.import_hook']\n"


def test_child_processes_inherit_the_release(python):
    code = textwrap.dedent("""
        import subprocess, sys
        print(subprocess.check_output([sys.executable, "-c", "import torch, shim; print(shim.status().written_for)"]))
    """)
    result = python(["-m", "shim", "run", "--for=1.7", "-c", code], door="src")
    assert "b'1.7" in result.stdout, result.stderr


def test_no_two_rows_have_one_name():
    names = [row.name for row in rows.load()]
    assert sorted(names) == sorted({*names})


def test_a_torch_release_gives_the_packages_of_its_time():
    assert of_the_time("torchvision", written_for("1.7")) == (0, 8, 1)
    assert of_the_time("torchvision", written_for("2.1"))[:2] == (0, 16)
    assert of_the_time("torchaudio", written_for("1.13"))[:2] == (0, 13)
    assert of_the_time("numpy", written_for("1.7"))[:2] == (1, 19)
