"""Optional patches are switched on for a test, and off again."""

from __future__ import annotations

import pytest

import shim


@pytest.fixture
def mended():
    """Return a function that switches optional patches on; they are off again afterwards."""
    yield shim.activate
    shim.deactivate()
