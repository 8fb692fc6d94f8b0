"""All names that NumPy has removed exist, as the same objects as before, also without torch."""

from __future__ import annotations

import pytest

import shim
from shim.releases import release

numpy = pytest.importorskip("numpy")
HERE = release(numpy.__version__).numbers
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def given_back():
    import torch  # noqa: F401

    shim.activate("numpy")
    yield
    shim.deactivate()


@pytest.mark.skipif(HERE < (1, 24, 0), reason="this NumPy has the names")
def test_the_aliases_of_pythons_types_are_those_types(given_back):
    assert (numpy.float, numpy.int, numpy.complex, numpy.object, numpy.str) == (float, int, complex, object, str)
    assert numpy.unicode is str and numpy.ones(2, numpy.bool).dtype == bool


@pytest.mark.skipif(HERE < (2, 0, 0), reason="this NumPy has the names")
class TestNamesOfNumPy1:
    def test_every_name_of_numpy_1_exists(self, given_back):
        from shim.rows.numpy import _MADE, _MOVED, _RENAMED

        missing = [name for name in (*_MADE, *_MOVED, *_RENAMED) if not hasattr(numpy, name)]
        # These names were removed from the other module, too.
        assert set(missing) <= {"ModuleDeprecationWarning", "RankWarning", "compare_chararrays", "tracemalloc_domain"}
        assert numpy.float_ is numpy.float64 and numpy.string_ is numpy.bytes_ and numpy.infty is numpy.inf

    def test_bool_and_long_of_numpy_2_are_not_replaced(self, given_back):
        assert numpy.bool is numpy.bool_ and issubclass(numpy.long, numpy.signedinteger)

    #: Each with the result of NumPy 1.19.5.
    @pytest.mark.parametrize(
        "call, expected",
        [
            (lambda: numpy.cast["f4"](3).dtype.name, "float32"),
            (lambda: numpy.asfarray([1], "i4").dtype.name, "float64"),
            (lambda: numpy.asfarray([1], "f4").dtype.name, "float32"),
            (lambda: numpy.issctype(numpy.int32), True),
            (lambda: numpy.issctype(3), False),
            (lambda: numpy.issctype(numpy.dtype("str")), True),
            (lambda: numpy.issubclass_(3, int), False),
            (lambda: numpy.issubsctype("f8", float), True),
            (lambda: numpy.obj2sctype(numpy.array([1.0])).__name__, "float64"),
            (lambda: numpy.obj2sctype("no such type", "x"), "x"),
            (lambda: numpy.sctype2char(float), "d"),
            (lambda: [each.__name__ for each in numpy.sctypes["int"]], ["int8", "int16", "int32", "int64"]),
            (lambda: [each.__name__ for each in numpy.sctypes["uint"]], ["uint8", "uint16", "uint32", "uint64"]),
            (lambda: [each.__name__ for each in numpy.sctypes["float"]][:3], ["float16", "float32", "float64"]),
            (lambda: numpy.maximum_sctype(numpy.uint8).__name__, "uint64"),
            (lambda: numpy.nbytes["c16"], 16),
            (lambda: numpy.safe_eval("[1, (2, 'a')]"), [1, (2, "a")]),
            (lambda: numpy.msort(numpy.array([[3, 1], [2, 4]])).tolist(), [[2, 1], [3, 4]]),
            (lambda: numpy.product([]), 1.0),
            (lambda: numpy.alltrue([[1, 0], [1, 1]], axis=0).tolist(), [True, False]),
            (lambda: numpy.recfromcsv(["a,b", "1,2.5"]).b.tolist(), 2.5),
        ],
    )
    def test_recreated_functions_return_what_1_19_did(self, given_back, call, expected):
        assert call() == expected


@pytest.mark.skipif(HERE < (1, 24, 0), reason="this NumPy has the names")
@pytest.mark.parametrize("env", [{"SHIM_FOR": "1.7"}, {"SHIM_PATCHES": "numpy.float"}, {"SHIM_PATCHES": "numpy"}])
def test_a_program_without_torch_has_the_names_too(python, env):
    result = python("import numpy, sys; print(numpy.float, 'torch' in sys.modules)", env=env)
    assert result.stdout == "<class 'float'> False\n", result.stderr
