"""Fixture of the tests of doctor, which runs in a fresh process."""

from __future__ import annotations

import pytest


@pytest.fixture
def examine(python):
    """Return a function that runs doctor with these arguments, and checks that it does not fail."""

    def run(*arguments, **options):
        options.setdefault("door", "src")
        result = python(["-m", "shim", "doctor", *arguments], **options)
        assert "Traceback" not in result.stderr, result.stderr
        return result

    return run
