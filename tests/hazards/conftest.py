"""Fixtures of the hazards: they compare observations with and without shim."""

from __future__ import annotations

import json
import operator
from pathlib import Path

import pytest
from hazard_observer import TOGETHER, observed


def _difference(ours, without, path=""):
    """Return the first place where two observations differ."""
    if isinstance(ours, dict) and isinstance(without, dict) and ours.keys() == without.keys():
        inside = [(key, ours[key], without[key]) for key in ours]
    elif isinstance(ours, list) and isinstance(without, list) and len(ours) == len(without):
        inside = [(number, *pair) for number, pair in enumerate(zip(ours, without))]
    else:
        inside = []
    for key, one, other in inside:
        if one != other:
            return _difference(one, other, f"{path}[{key!r}]")
    return f"at {path or 'the top'}: {ours} where there was {without}"


@pytest.fixture
def same(request):
    """Return a function that compares an observation: armed with without shim, and late with without shim.

    If the observation raised an error without shim, too, the error is torch's own, and the test is skipped with this
    reason. An observation that returned None does not apply to this release.
    """
    module = Path(str(request.fspath)).stem
    modules = TOGETHER if module in TOGETHER else (module,)

    def compare(function, doors=("armed", "late"), equal=operator.eq):
        name = f"{module}.{function.__name__}"
        without = observed(modules, "without")[name]
        for door in doors:
            ours = observed(modules, door)[name]
            if not equal(ours, without):
                pytest.fail(f"{door} differs from without shim: {_difference(ours, without)}")
        if without is None:
            pytest.skip("does not exist in this release")
        if isinstance(without, dict) and "raised" in without:
            pytest.skip("torch's own: " + without["raised"])
        if isinstance(without, dict) and "limit" in without:
            pytest.skip("limit: " + without["limit"])
        return json.loads(json.dumps(without))

    return compare
