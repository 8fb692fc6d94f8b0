"""Releases are compared by their numbers: a pre-release has the features of the release that it precedes."""

from __future__ import annotations

import pytest

from shim.releases import TORCH, is_in, release, written_for


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("2.0.0a0+1767026.nv23.05", (2, 0, 0)),  # NVIDIA's containers
        ("1.14.0a0+44dac51c.nv23.01", (2, 0, 0)),  # their name for the torch that became 2.0
        ("2.16.0.dev20261101", (2, 16, 0)),
        ("2.4.0a0+git1a2b3c4", (2, 4, 0)),
        ("1.13.1+cu117", (1, 13, 1)),
        ("1.8.0rc2", (1, 8, 0)),
        ("2.3", (2, 3, 0)),
        ("someone's own", (0, 0, 0)),
        (None, (0, 0, 0)),
    ],
)
def test_a_version_string_gives_its_release(text, numbers):
    assert release(text, "torch").numbers == numbers and str(release(text, "torch")) == str(text)


def test_only_torch_called_its_2_0_otherwise():
    assert release("1.14.1", "wrapt").numbers == release("1.14.1").numbers == (1, 14, 1)


@pytest.mark.parametrize(
    "specifier, inside, outside",
    [
        ("", ["1.4", "2.15"], []),
        ("<2.0", ["1.13.1", "0.4"], ["2.0.0a0+nv23", "2.0", "2.15"]),
        (">=2.0", ["2.0.0a0+nv23", "2.0.0.dev20221201", "10.0"], ["1.13.1"]),
        (">=1.1,<1.8", ["1.1", "1.7.1"], ["1.0.1", "1.8.0"]),
        ("==1.12.0", ["1.12", "1.12.0+cu113"], ["1.12.1"]),
        ("!=1.12", ["1.12.1"], ["1.12.0"]),
        ("==1.12.*", ["1.12.0", "1.12.1"], ["1.13.0"]),
        ("!=1.12.*", ["1.13.0"], ["1.12.1"]),
        ("~=1.4", ["1.4", "1.9"], ["1.3", "2.0"]),
        ("<1.8 || >=2.1", ["1.7", "2.1"], ["1.8", "2.0.1"]),
        ("<=1.9, > 1.5", ["1.9.0", "1.5.1"], ["1.9.1", "1.5.0"]),
    ],
)
def test_a_specifier_contains_the_releases_between_its_bounds(specifier, inside, outside):
    assert all(is_in(release(text).numbers, specifier) for text in inside)
    assert not any(is_in(release(text).numbers, specifier) for text in outside)


@pytest.mark.parametrize("specifier", ["2.0", "newer", ">=", "=>1.0", ">=1.0;<2"])
def test_an_invalid_specifier_is_an_error_that_names_it(specifier):
    with pytest.raises(ValueError, match="is not a version specifier"):
        is_in((1, 0, 0), specifier)


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("1.7", (1, 7, 1)),
        ("1.14.0a0+44dac51c.nv23.01", (2, 0, 0)),
        ("1.7.0", (1, 7, 0)),
        ("1.13.1+cu117", (1, 13, 1)),
        (" 2.15 ", (2, 15, 0)),
        ("2.16", (2, 16, 0)),
    ],
)
def test_written_for_reads_the_release_of_a_program(text, numbers):
    assert written_for(text).numbers == numbers


@pytest.mark.parametrize("text", ["1.14", "1.99", "1.7.9", "0.5"])
def test_an_unknown_release_is_an_error_that_names_it(text):
    with pytest.raises(ValueError, match=f"there is no torch {text}; releases of .* are known"):
        written_for(text)


@pytest.mark.parametrize("text", ["", "old", "1", "one.seven", "1.7 or so", "latest", "1.7junk", "1.7rc"])
def test_a_word_is_no_release(text):
    with pytest.raises(ValueError, match="is not a release of torch such as 1.7"):
        written_for(text)


def test_the_table_of_releases_is_in_order():
    assert list(TORCH) == sorted(TORCH)
