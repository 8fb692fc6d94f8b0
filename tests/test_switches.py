"""Each environment variable is in the table of ``shim.switches``, and documented."""

from __future__ import annotations

import re

import pytest

from shim import switches

NAMES = [each.partition("=")[0] for each in switches.SWITCHES]


def test_each_one_that_the_source_reads_is_in_the_table(checkout):
    source = "\n".join(path.read_text() for path in (checkout / "src").rglob("*.py"))
    assert {*re.findall(r"\bSHIM_[A-Z]+\b", source)} == {*NAMES}


def test_readme_and_usage_list_each(checkout, python):
    rows = re.findall(r"^\| `(SHIM_[A-Z]+)=", (checkout / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(NAMES)
    assert sorted(re.findall(r"^  (SHIM_[A-Z]+)=", python(["-m", "shim", "--help"]).stdout, re.MULTILINE)) == sorted(
        NAMES
    )


@pytest.mark.parametrize(
    ("value", "on", "off"),
    [
        ("1", True, False),
        (" Yes ", True, False),
        ("0", False, True),
        ("OFF", False, True),
        ("", False, False),
        ("2", False, False),
    ],
)
def test_a_switch_is_on_off_or_as_if_not_set(monkeypatch, value, on, off):
    monkeypatch.setenv("SHIM_HINT", value)
    assert (switches.switched_on("SHIM_HINT"), switches.switched_off("SHIM_HINT")) == (on, off)


def test_names_are_separated_by_commas_with_or_without_spaces(monkeypatch):
    monkeypatch.setenv("SHIM_SKIP", " adam, sgd,,torch.optim.adam ,")
    assert switches.names("SHIM_SKIP") == ["adam", "sgd", "torch.optim.adam"]
    monkeypatch.delenv("SHIM_SKIP")
    assert (switches.names("SHIM_SKIP"), switches.text("SHIM_SKIP")) == ([], "")
