"""A record behaves like the class that typing.NamedTuple makes from the same definition, but is made in another way."""

from __future__ import annotations

import copy
import pickle
from typing import Any, NamedTuple

import pytest

from shim.record import Record


class Ours(Record):
    name: str
    targets: tuple = ()
    how: Any = None

    @property
    def first(self):
        return self.targets[0]


class Theirs(NamedTuple):
    name: str
    targets: tuple = ()
    how: Any = None

    @property
    def first(self):
        return self.targets[0]


CALLS = [
    (("a",), {}),
    (("a", (1,)), {}),
    (("a", (1,), 2), {}),
    (("a",), {"how": 2}),
    ((), {"targets": (1,), "name": "a"}),
    ((), {"name": "a", "targets": (), "how": 3}),
    ((), {}),
    ((), {"targets": (1,)}),
    (("a", (1,), 2, 3), {}),
    (("a",), {"name": "b"}),
    (("a", (1,)), {"targets": (2,)}),
    (("a",), {"other": 1}),
    (("a", (1,), 2, 3), {"how": 1}),
]


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_a_record_takes_and_holds_what_a_named_tuple_does(args, kwargs):
    try:
        theirs = Theirs(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError, match="^Ours\\(\\) "):
            Ours(*args, **kwargs)
        return
    ours = Ours(*args, **kwargs)
    assert ours == theirs and hash(ours) == hash(theirs)
    assert (ours.name, ours.targets, ours.how) == (theirs.name, theirs.targets, theirs.how)
    assert ours._replace(how=5) == theirs._replace(how=5) and type(ours._replace(how=5)) is Ours
    assert ours._asdict() == theirs._asdict() and ours._fields == theirs._fields
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    for same in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert same == ours and type(same) is Ours
    with pytest.raises(AttributeError):
        ours.name = "b"
    with pytest.raises(TypeError):
        ours._replace(other=1)


def test_a_class_of_records_may_have_properties():
    assert Ours("a", (1, 2)).first == 1
