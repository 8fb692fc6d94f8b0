"""Fixture of the tests of the guards, which run with shim active."""

from __future__ import annotations

import pytest

import shim


@pytest.fixture(autouse=True)
def active():
    with shim.activated():
        yield
