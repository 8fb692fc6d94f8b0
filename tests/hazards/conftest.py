"""What the hazards share: comparing what was observed with and without shim."""

from __future__ import annotations

import json
import operator
from pathlib import Path

import pytest
from hazard_observer import TOGETHER, observed


@pytest.fixture
def same(request):
    """Return a function that compares an observation of the test's module: armed and late, with without us.

    What is only raised or missing without us, too, is torch's own: the test is skipped and says so. An observation
    that returned None had nothing to look at here.
    """
    module = Path(str(request.fspath)).stem
    modules = TOGETHER if module in TOGETHER else (module,)

    def compare(function, doors=("armed", "late"), equal=operator.eq):
        name = f"{module}.{function.__name__}"
        without = observed(modules, "without")[name]
        for door in doors:
            ours = observed(modules, door)[name]
            assert equal(ours, without), f"{door} is not as without us: {ours} where there was {without}"
        if without is None:
            pytest.skip("does not exist in this release")
        if isinstance(without, dict) and "raised" in without:
            pytest.skip("torch's own: " + without["raised"])
        if isinstance(without, dict) and "limit" in without:
            pytest.skip("limit: " + without["limit"])
        return json.loads(json.dumps(without))

    return compare
