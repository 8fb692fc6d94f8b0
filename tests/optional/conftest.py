"""Fixture that switches optional patches on for a test, and off again."""

from __future__ import annotations

import pytest

import shim


@pytest.fixture
def mended():
    """Return a function that switches optional patches on. They are off again after the test."""
    yield shim.activate
    shim.deactivate()
