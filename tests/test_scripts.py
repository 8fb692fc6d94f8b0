"""The scripts for workflows that call a file, and the scripts that check the tests and other projects."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys

import pytest


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train it.py"
    path.write_text(
        "import sys, torch\n"
        "optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], weight_decay=None)\n"
        "print(optimizer.defaults['weight_decay'], sys.argv[1:])\n"
        "sys.exit(3)\n"
    )
    return path


@pytest.mark.parametrize("name", ["wrapper_script.py", "direct_adam_patch.py"])
def test_a_script_runs_guarded_with_its_arguments_and_exit_code(python, checkout, script, name):
    result = python([checkout / "scripts" / name, script, "two words", "--flag"], door=None)
    assert (result.stdout, result.returncode) == ("0.0 ['two words', '--flag']\n", 3), result.stderr


def test_direct_adam_patch_without_a_script_checks_itself_and_explains(python, checkout):
    result = python([checkout / "scripts" / "direct_adam_patch.py"], door=None)
    assert result.returncode == 0, result.stderr
    assert "patched: Adam took weight_decay=None as 0.0" in result.stdout
    assert "A patch lives and dies with its process" in result.stdout


def test_direct_adam_patch_reports_that_it_cannot_patch(python, checkout):
    result = python([checkout / "scripts" / "direct_adam_patch.py"], door=None, env={"SHIM_DISABLE": "1"})
    assert result.returncode == 1
    assert result.stderr.startswith("shim: Adam could not be patched here")


def test_the_smoke_test_that_users_can_run_passes_and_can_fail(checkout, tmp_path):
    smoke = checkout / "scripts" / "test_wrapper.sh"
    passed = subprocess.run(["sh", str(smoke)], env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"})
    assert passed.returncode == 0
    (tmp_path / "wrapper_script.py").write_text(
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    )
    broken = tmp_path / "test_wrapper.sh"
    broken.write_text(smoke.read_text())
    failed = subprocess.run(["sh", str(broken)], env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"})
    assert failed.returncode == 1


def test_patch_adam_optimizer_returns_whether_the_guards_are_active(python):
    code = "import shim; print(shim.patch_adam_optimizer(), shim.patch_adam_optimizer())"
    assert python(code, door="src").stdout == "True True\n"
    assert python(code, door="src", env={"SHIM_SKIP": "adam"}).stdout == "False False\n"
    assert python(code, door="src", env={"SHIM_DISABLE": "1"}).stdout == "False False\n"


def test_the_source_text_that_wrong_guards_replace_exists(checkout):
    """A wrong guard is the right one with a mistake in one place, so the script has to name source text.

    If this fails after a refactoring, write the new text of that place into scripts/wrong_wrappers.
    """
    script = runpy.run_path(str(checkout / "scripts" / "wrong_wrappers"))
    changes = [change for wrong in script["WRONG"] for change in wrong.changes]
    assert changes
    for file, old, new in changes:
        assert (checkout / file).read_text(encoding="utf-8").count(old) == 1, (file, old)
        assert new != old


@pytest.mark.parametrize(
    "test, code",
    [("assert torch.optim.SGD(weights, lr=1.0)", 0), ("torch.optim.SGD(weights, lr=1.0, weight_decay=None)", 1)],
    ids=["the same", "another"],
)
def test_neighbours_tells_whether_a_suite_has_the_same_results(checkout, tmp_path, monkeypatch, capsys, test, code):
    script = runpy.run_path(str(checkout / "scripts" / "neighbours"))
    suite = tmp_path / "test_suite.py"
    suite.write_text(
        "import torch\n\nweights = [torch.nn.Parameter(torch.ones(1))]\n\n"
        f"def test_that_passes():\n    pass\n\ndef test_it():\n    {test}\n"
    )
    there = script["main"].__globals__
    monkeypatch.setitem(there, "WORK", tmp_path / "work")
    command = (*there["PYTEST"], str(suite))
    monkeypatch.setitem(there, "SUITES", {"one": there["Suite"]("1.0", (), "", command, there["DOOR"])})
    monkeypatch.setattr(sys, "argv", ["neighbours", "one"])
    assert there["main"]() == code
    said = capsys.readouterr().out
    assert "2 tests" in said
    assert ("the same, test by test" in said) == (code == 0)
    assert ("test_suite.test_it" in said) == (code == 1)


@pytest.fixture
def pages(checkout):
    return runpy.run_path(str(checkout / "scripts" / "matrix_pages.py"))


@pytest.mark.parametrize(
    "reason, text",
    [
        ("a module of torch imported it", "A module of torch imported it."),
        ("torch._six held names.", "torch._six held names."),
        ("zero_grad set gradients to zero", "zero_grad set gradients to zero."),
        ("int() rounds", "int() rounds."),
        ("in1d became isin", "in1d became isin."),
        ("torchaudio has no SoX any more", "torchaudio has no SoX any more."),
        ("adam, adamw and sgd count", "adam, adamw and sgd count."),
    ],
)
def test_an_identifier_at_the_start_of_a_sentence_stays_as_it_is(pages, reason, text):
    assert pages["sentence"](reason) == text


@pytest.mark.parametrize(
    "package, works, text",
    [
        ("torch", "<1.9", "torch up to 1.8"),
        ("torch", "<2.0", "torch up to 1.13"),
        ("torch", ">=1.5,<1.7", "torch 1.5 to 1.6"),
        ("torch", ">=1.12,<1.13", "torch 1.12"),
        ("torch", ">=1.9,<1.13 || >=2.1", "torch 1.9 to 1.12 and 2.1 or later"),
        ("torch", "!=1.12.0", "torch !=1.12.0"),
        ("torchvision", ">=0.9,<0.14", "torchvision 0.9 or later, before 0.14"),
        ("PIL", "<10", "Pillow before 10"),
    ],
)
def test_a_specifier_is_printed_as_the_releases_that_match_it(pages, package, works, text):
    assert pages["in_words"](package, works) == text


def test_every_specifier_of_a_row_but_an_exclusion_can_be_printed_in_words(pages):
    printed = [pages["in_words"](row.of, row.works) for row in pages["rows"].load() if row.works]
    assert [text for text in printed if re.search("[<>=]", text) and "!=" not in text] == []
