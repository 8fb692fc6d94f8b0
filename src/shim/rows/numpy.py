"""NumPy: the aliases and functions that 1.20 to 2.4 removed, and that programs with torch use."""

from __future__ import annotations

from typing import Any, Iterable

from .row import advice, argument, names


def _lost(functions: Iterable[str]) -> tuple[str, ...]:
    """Return the messages of NumPy and Python about names that are gone."""
    some = "|".join(sorted(functions))
    return (
        rf"module 'numpy' has no attribute '({some})'",
        rf"`np\.({some})` was removed in the NumPy 2\.0 release",
        rf"cannot import name '({some})' from 'numpy' ",
    )


_BUILTIN = {
    "bool": bool,
    "complex": complex,
    "float": float,
    "int": int,
    "long": int,
    "object": object,
    "str": str,
    "unicode": str,
}


@names(
    "numpy",
    called="numpy.float",
    works="<1.24",
    says=(*_lost([*_BUILTIN, "typeDict"]), r"`np\.(object|str)` will be defined as the corresponding NumPy scalar"),
    example="""
import numpy as np
print(np.float is float, np.int is int, np.object is object, np.complex is complex, np.str is str)
print(np.array([1.7, 2], np.float).dtype, np.array([1.7, 2]).astype(np.int).tolist(), np.zeros(2, np.bool).dtype)
""",
)
def builtin() -> dict[str, Any]:
    """np.float, np.int and others were Python's types; np.bool and np.long are NumPy's own since 2.0, and stay so."""
    import numpy

    return {**_BUILTIN, "typeDict": numpy.sctypeDict}


@names(
    "numpy",
    called="numpy.asscalar",
    works="<1.23",
    says=_lost(["alen", "asscalar", "loads"]),
    example="import numpy as np\nprint(np.asscalar(np.array([2.5])), np.alen(np.ones((3, 2))))",
)
def older_functions() -> dict[str, Any]:
    """np.asscalar is a.item(), np.alen is len(a), np.loads is pickle's."""
    import pickle

    import numpy

    return {
        "alen": lambda a: len(a) if hasattr(a, "__len__") else len(numpy.array(a, ndmin=1)),
        "asscalar": lambda a: a.item(),
        "loads": lambda *args, **kwargs: pickle.loads(*args, **kwargs),
    }


#: Names that have another name, up to 2.0 and since.
_RENAMED = {
    "Inf": "inf",
    "Infinity": "inf",
    "NAN": "nan",
    "NaN": "nan",
    "PINF": "inf",
    "alltrue": "all",
    "bool8": "bool_",
    "bytes0": "bytes_",
    "cfloat": "complex128",
    "clongfloat": "clongdouble",
    "complex_": "complex128",
    "cumproduct": "cumprod",
    "float_": "float64",
    "infty": "inf",
    "int0": "intp",
    "longcomplex": "clongdouble",
    "longfloat": "longdouble",
    "mat": "asmatrix",
    "object0": "object_",
    "product": "prod",
    "round_": "round",
    "singlecomplex": "complex64",
    "sometrue": "any",
    "str0": "str_",
    "string_": "bytes_",
    "uint0": "uintp",
    "unicode_": "str_",
    "void0": "void",
}
#: Names that are in another module.
_MOVED = {
    "AxisError": "numpy.exceptions",
    "ComplexWarning": "numpy.exceptions",
    "DataSource": "numpy.lib.npyio",
    "ModuleDeprecationWarning": "numpy.exceptions",
    "RankWarning": "numpy.exceptions",
    "TooHardError": "numpy.exceptions",
    "VisibleDeprecationWarning": "numpy.exceptions",
    "add_docstring": "numpy.lib",
    "add_newdoc": "numpy.lib",
    "byte_bounds": "numpy.lib.array_utils",
    "compare_chararrays": "numpy.char",
    "format_parser": "numpy.rec",
    "tracemalloc_domain": "numpy.lib",
}
#: Names that are made here, as they were.
_MADE = (
    "NINF",
    "NZERO",
    "PZERO",
    "asfarray",
    "cast",
    "deprecate",
    "deprecate_with_doc",
    "disp",
    "fastCopyAndTranspose",
    "issctype",
    "issubclass_",
    "issubsctype",
    "math",
    "maximum_sctype",
    "msort",
    "nbytes",
    "obj2sctype",
    "recfromcsv",
    "recfromtxt",
    "safe_eval",
    "sctype2char",
    "sctypes",
)


@names(
    "numpy",
    called="numpy.Inf",
    works="<2.0",
    says=_lost([*_RENAMED, *_MOVED, *_MADE]),
    example="""
import numpy as np
print(np.Inf, np.NaN, np.NINF, np.infty is np.inf, np.float_ is np.float64, np.complex_ is np.complex128)
print(np.string_ is np.bytes_, np.unicode_ is np.str_, np.int0 is np.intp, np.PZERO, np.NZERO)
a = np.arange(1.0, 7.0).reshape(2, 3)
print(np.product(a, axis=1).tolist(), np.cumproduct(a).tolist(), bool(np.alltrue(a > 0)), bool(np.sometrue(a > 6)))
print(np.round_(a / 3, 2).tolist(), np.msort(-a).tolist(), np.asfarray([1, 2]).dtype, np.mat([[1, 2]]).T.shape)
print(np.cast[int](2.7), np.nbytes[np.float32], np.sctype2char(np.int16), np.issubsctype(np.ones(1), np.floating))
print(np.float32 in np.sctypes["float"], np.obj2sctype("f4") is np.float32, np.fastCopyAndTranspose(a).tolist())
""",
)
def names_of_1() -> dict[str, Any]:
    """NumPy 2.0 kept one name for each type and constant, and removed functions that have another name."""
    import ast
    import math
    from importlib import import_module

    import numpy

    def asfarray(a: Any, dtype: Any = numpy.float64) -> Any:
        inexact = numpy.issubdtype(numpy.dtype(dtype), numpy.inexact)
        return numpy.asarray(a, dtype if inexact else numpy.float64)

    def disp(mesg: Any, device: Any = None, linefeed: bool = True) -> None:
        import sys

        stream = sys.stdout if device is None else device
        stream.write(f"{mesg}\n" if linefeed else f"{mesg}")
        stream.flush()

    def deprecate(*args: Any, **kwargs: Any) -> Any:
        """Return the function, or a decorator that does, without the warning that NumPy's deprecate added to it."""
        return args[0] if args else lambda function: function

    made = {
        "NINF": -numpy.inf,
        "NZERO": -0.0,
        "PZERO": 0.0,
        "asfarray": asfarray,
        "deprecate": deprecate,
        "deprecate_with_doc": lambda msg: deprecate,
        "disp": disp,
        "fastCopyAndTranspose": lambda a: numpy.asarray(a).T.copy(),
        "math": math,
        "msort": lambda a: numpy.sort(numpy.array(a, subok=True, copy=True), axis=0),
        "safe_eval": ast.literal_eval,
        **_about_types(),
        **_readers(),
    }
    renamed = {old: getattr(numpy, new) for old, new in _RENAMED.items()}
    moved = {each: getattr(import_module(module), each, None) for each, module in _MOVED.items()}
    return {**made, **renamed, **{each: value for each, value in moved.items() if value is not None}}


def _about_types() -> dict[str, Any]:
    """Make the names that tell about types, and convert to them."""
    import numpy

    def is_type(rep: Any) -> bool:
        try:
            found = obj2sctype(rep)
        except Exception:
            return False
        return isinstance(rep, (type, numpy.dtype)) and found is not None and found is not numpy.object_

    def issubclass_(first: Any, second: Any) -> bool:
        try:
            return issubclass(first, second)
        except TypeError:
            return False

    def obj2sctype(rep: Any, default: Any = None) -> Any:
        if isinstance(rep, type) and issubclass(rep, numpy.generic):
            return rep
        try:
            return rep.dtype.type if isinstance(rep, numpy.ndarray) else numpy.dtype(rep).type
        except Exception:
            return default

    def sctype2char(sctype: Any) -> str:
        found = obj2sctype(sctype)
        if found is None:
            raise ValueError("unrecognized type")
        return str(numpy.dtype(found).char)

    scalars = [each for each in vars(numpy).values() if isinstance(each, type) and issubclass(each, numpy.generic)]
    concrete = [each for each in dict.fromkeys(scalars) if _is_concrete(each)]
    of_kind = {
        "int": numpy.signedinteger,
        "uint": numpy.unsignedinteger,
        "float": numpy.floating,
        "complex": numpy.complexfloating,
    }
    sctypes: dict[str, list[Any]] = {
        kind: _by_size(each for each in concrete if issubclass(each, base)) for kind, base in of_kind.items()
    }
    sctypes["others"] = [bool, object, bytes, str, numpy.void]

    def maximum_sctype(t: Any) -> Any:
        found = obj2sctype(t)
        kinds = (kind for kind, base in of_kind.items() if found is not None and issubclass(found, base))
        kind = next(kinds, None)
        return t if found is None else found if kind is None else sctypes[kind][-1]

    class Cast(dict):  # type: ignore[type-arg]
        def __missing__(self, key: Any) -> Any:
            return lambda x: numpy.array(x, copy=None).astype(key)

    class Sizes(dict):  # type: ignore[type-arg]
        def __missing__(self, key: Any) -> Any:
            return numpy.dtype(key).itemsize

    return {
        "cast": Cast(),
        "issctype": is_type,
        "issubclass_": issubclass_,
        "issubsctype": lambda arg1, arg2: issubclass(obj2sctype(arg1), obj2sctype(arg2)),
        "maximum_sctype": maximum_sctype,
        "nbytes": Sizes(),
        "obj2sctype": obj2sctype,
        "sctype2char": sctype2char,
        "sctypes": sctypes,
    }


def _readers() -> dict[str, Any]:
    """Make the functions that read a text file into an array of records."""
    import numpy

    def recfromtxt(fname: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("dtype", None)
        usemask = kwargs.get("usemask", False)
        output = numpy.genfromtxt(fname, **kwargs)
        return output.view(numpy.ma.mrecords.MaskedRecords if usemask else numpy.recarray)

    def recfromcsv(fname: Any, **kwargs: Any) -> Any:
        for key, value in {"case_sensitive": "lower", "names": True, "delimiter": ","}.items():
            kwargs.setdefault(key, value)
        return recfromtxt(fname, **kwargs)

    return {"recfromcsv": recfromcsv, "recfromtxt": recfromtxt}


def _is_concrete(scalar: type) -> bool:
    import numpy

    return not scalar.__subclasses__() and not issubclass(scalar, (numpy.timedelta64, numpy.datetime64))


def _by_size(types: Iterable[Any]) -> list[Any]:
    """Return a type of each size, the smallest first, as in sctypes."""
    import numpy

    with_bits_last = sorted(types, key=lambda each: str(each.__name__[-1:].isdigit()))  # int64 is preferred to longlong
    sizes = {numpy.dtype(each).itemsize: each for each in with_bits_last}
    return [sizes[size] for size in sorted(sizes)]


@names(
    "numpy",
    called="numpy.in1d",
    works="<2.4",
    says=_lost(["in1d", "trapz"]),
    example="""
import numpy as np
print(np.in1d([[1, 2], [3, 4]], [2, 4]).tolist(), np.in1d([1, 2], [2], invert=True).tolist(), np.in1d([], [1]).shape)
print(float(np.trapz([1.0, 2.0, 4.0], dx=0.5)), np.trapz(np.eye(3), x=[0.0, 1.0, 3.0], axis=0).tolist())
""",
)
def names_of_2_3() -> dict[str, Any]:
    """in1d became isin, which keeps the shape, and trapz became trapezoid."""
    import numpy

    def in1d(ar1: Any, ar2: Any, assume_unique: bool = False, invert: bool = False, **kwargs: Any) -> Any:
        return numpy.isin(numpy.asarray(ar1).ravel(), ar2, assume_unique=assume_unique, invert=invert, **kwargs)

    return {"in1d": in1d, "trapz": numpy.trapezoid}


_NOT_MADE = (
    "add_newdoc_ufunc",
    "compat",
    "find_common_type",
    "get_array_wrap",
    "geterrobj",
    "lookfor",
    "set_numeric_ops",
    "set_string_function",
    "seterrobj",
    "source",
    "who",
)
advice(
    "numpy<2",
    "NumPy 2.0 removed it, and nothing does just the same: install 'numpy<2', or change the line. ndarray.ptp, "
    "newbyteorder and itemset are np.ptp(a), a.view(a.dtype.newbyteorder()) and a[index] = value now.",
    (
        r"'numpy\.ndarray' object has no attribute '(itemset|newbyteorder|ptp)'|"
        r"`(itemset|newbyteorder|ptp)` was removed from the ndarray class in NumPy 2\.0",
        *_lost(_NOT_MADE),
    ),
    works="<2.0",
    of="numpy",
)


@argument(
    "numpy:array",
    called="numpy.array.copy",
    works="<2.0",
    says=r"Unable to avoid copy while creating an array as requested\. If using `np\.array\(obj, copy=False\)`",
    example="""
import numpy as np
a = np.arange(3.0)
print(np.array([1, 2], copy=False).tolist(), np.array(a, copy=False) is a, np.array(a, np.float32, copy=False).dtype)
print(np.array(a) is a, np.array(a, copy=True) is a, np.array(3, copy=False, ndmin=1).shape)
""",
)
def copy_if_needed(original: Any, *args: Any, **kwargs: Any) -> Any:
    """np.array(x, copy=False) copied if necessary in NumPy 1, and raises an error then since 2.0."""
    # https://numpy.org/devdocs/numpy_2_0_migration_guide.html#adapting-to-changes-in-the-copy-keyword
    # bool() of NumPy's _CopyMode is an error: https://github.com/numpy/numpy/blob/v2.4.6/numpy/_globals.py#L88
    if isinstance(kwargs.get("copy"), (bool, int)) and not kwargs["copy"]:
        kwargs["copy"] = None
    return original(*args, **kwargs)


advice(
    "one-element arrays",
    "int() and float() accept only a 0-dimensional array since NumPy 2.4: write a.item(), or install 'numpy<2.4'.",
    r"only 0-dimensional arrays can be converted to Python scalars",
    works="<2.4",
    of="numpy",
)
advice(
    "ragged arrays",
    "Since NumPy 1.24 an array of sequences of different lengths must be asked for: np.array(x, dtype=object). With "
    "'numpy<1.24' it is made with a warning.",
    r"setting an array element with a sequence\. The requested array has an inhomogeneous shape",
    works="<1.24",
    of="numpy",
)
