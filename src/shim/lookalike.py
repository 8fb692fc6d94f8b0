"""Generate a function with the parameters of another one, from source text, as ``dataclasses`` generates methods.

Programs inspect a constructor to learn its options, with ``inspect.getfullargspec``, ``co_varnames`` and other means
that do not follow ``__wrapped__``. A wrapper with ``*args, **kwargs`` would show them no option. It is slower, too.
"""

from __future__ import annotations

import functools
import inspect
import keyword
import linecache
import sys
from types import FunctionType
from typing import Any, Collection, Mapping
from zlib import crc32

from .precompiled import PRECOMPILED
from .record import Record


class Parameters(Record):
    """The parameters of a function, as text for the source of another one."""

    #: The names of all parameters but ``*args`` and ``**kwargs``.
    names: tuple[str, ...]
    #: How many of them can be given by position.
    positional: int
    #: Name -> default.
    defaults: dict[str, Any]
    #: The text between the parentheses of the ``def``, without defaults.
    parameter_list: str
    #: The text between the parentheses of a call that passes all of them on.
    argument_list: str
    #: An expression for the first argument.
    first: str
    #: The names of ``*args`` and of ``**kwargs``; empty if there are none.
    args: str
    kwargs: str


def parameters_of(original: Any) -> Parameters:
    """Return the parameters of a function; ``*args, **kwargs`` if it is not written in Python."""
    if isinstance(original, FunctionType):
        code = original.__code__
        positional, every = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
        packs_args, packs_kwargs = (code.co_flags & flag for flag in (inspect.CO_VARARGS, inspect.CO_VARKEYWORDS))
        names = code.co_varnames[: every + bool(packs_args) + bool(packs_kwargs)]
        if _can_be_generated(names):
            packed = iter(names[every:])
            args = next(packed) if packs_args else ""
            kwargs = next(packed, "")
            return _parameters_from(names[:every], code.co_posonlyargcount, positional, args, kwargs, original)
    return _parameters_from((), 0, 0, "args", "kwargs", original)


def _can_be_generated(names: tuple[str, ...]) -> bool:
    text = "".join(names)
    return all(map(str.isidentifier, names)) and _KEYWORDS.isdisjoint(names) and (text.isascii() or _is_normal(text))


_KEYWORDS = frozenset(keyword.kwlist)


def _is_normal(text: str) -> bool:
    import unicodedata  # an extension module, which few programs need

    return unicodedata.normalize("NFKC", text) == text


def _parameters_from(
    names: tuple[str, ...], positional_only: int, positional: int, args: str, kwargs: str, original: Any
) -> Parameters:
    in_def, in_call = list(names[:positional]), list(names[:positional])
    if positional_only:
        in_def.insert(positional_only, "/")
    if args:
        in_def.append("*" + args)
        in_call.append("*" + args)
    elif len(names) > positional:
        in_def.append("*")
    in_def += names[positional:]
    in_call += [f"{name}={name}" for name in names[positional:]]
    if kwargs:
        in_def.append("**" + kwargs)
        in_call.append("**" + kwargs)
    defaults: dict[str, Any] = {}
    if names:
        given = original.__defaults__ or ()
        defaults = {**dict(zip(names[positional - len(given) : positional], given)), **(original.__kwdefaults__ or {})}
    first = names[0] if names else _first_of_packed(args, kwargs, original)
    return Parameters(names, positional, defaults, ", ".join(in_def), ", ".join(in_call), first, args, kwargs)


def _first_of_packed(args: str, kwargs: str, original: Any) -> str:
    """Return an expression for the first argument of a function that takes only ``*args`` and ``**kwargs``.

    A caller may give it by name. It is then the first parameter of the function that ``original`` wraps.
    """
    by_name = f"{kwargs}.get({_first_name_of_wrapped(original)!r})" if kwargs else "None"
    return f"({args}[0] if {args} else {by_name})" if args else by_name


def _first_name_of_wrapped(original: Any) -> str:
    """Return the first parameter's name of the innermost function that ``original`` wraps; empty if there is none."""
    try:
        code = inspect.unwrap(original).__code__
        return str(code.co_varnames[0]) if code.co_argcount else ""
    except (AttributeError, ValueError):  # not a Python function, or a cycle of __wrapped__
        return ""


def lookalike(
    original: Any,
    before: str,
    held: Mapping[str, Any],
    in_globals: dict[str, Any] | None = None,
    parameters: Parameters | None = None,
) -> FunctionType:
    """Generate a function with the parameters of ``original`` that runs some lines, and then calls ``original``.

    Args:
        original: the function.
        before: the lines, each with a line break, as a template for ``str.format``. ``{first}`` is the first argument,
            ``{args}`` and ``{kwargs}`` are the packed ones, and ``{call}`` is the call of the original. Any other field
            becomes a name that no parameter has. It is the object of that name in ``held``, or a variable.
        held: the objects that the lines use.
        in_globals: the globals of the new function, which uses none of them; by default those of this module.
        parameters: the parameters of the original, if they are known already.

    Returns:
        The function. Its defaults are the same objects as those of the original.
    """
    parameters = parameters or parameters_of(original)
    call = "{original}({argument_list})"  # in a template, as the other lines
    if len(parameters.names) > parameters.positional and not parameters.args and not parameters.kwargs:
        held = {**held, "by_position": _by_position(original)}
        call = "{by_position}(%s)" % ", ".join(parameters.names)
    function = generated(original, parameters, before + "return {call}\n", held, in_globals, call)
    if parameters.names:
        function.__defaults__, function.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    functools.update_wrapper(function, original)
    return function


def _by_position(original: FunctionType) -> FunctionType:
    """Return a function with the same code that takes the keyword-only parameters of ``original`` by position.

    In a call, Python compares each keyword with the names of the parameters. For a dozen keywords that takes longer
    than everything else in a guard. The instructions stay valid, because the local variables keep their order.
    """
    code = original.__code__
    code = code.replace(co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0)
    return FunctionType(code, original.__globals__, original.__name__, None, original.__closure__)


def generated(
    original: Any,
    parameters: Parameters,
    lines: str,
    held: Mapping[str, Any],
    in_globals: dict[str, Any] | None,
    call: str = "{original}({argument_list})",
) -> FunctionType:
    """Return a function with these parameters that runs the lines, a template as in ``lookalike``."""
    fields = _Fields(parameters)
    fields["call"] = call.format_map(fields)
    values = {fields[name]: value for name, value in {"original": original, **held}.items()}
    name = getattr(original, "__name__", "")
    name = name if isinstance(name, str) and _can_be_generated((name,)) else "guard"
    body = "".join([f"        {line}\n" for line in lines.format_map(fields).splitlines()])

    def text(name: str) -> str:
        inner = f"    def {name}({parameters.parameter_list}):\n{body}"
        return f"def written({', '.join(values)}):\n{inner}    return {name}\n"

    within = _factory(text("guard"))(**values)  # without the name: functions with the same parameters share their code
    names: dict[str, Any] = {"co_name": name, "co_qualname": name}
    if isinstance(original, FunctionType):
        names = {part: getattr(original.__code__, part, name) for part in names}
    if sys.version_info < (3, 11):
        del names["co_qualname"]
    code = within.__code__.replace(co_filename=_file_of(text(name), original), co_firstlineno=2, **names)
    return FunctionType(code, globals() if in_globals is None else in_globals, name, None, within.__closure__)


def _factory(text: str) -> Any:
    """Return the function that the text defines. It takes the objects that the new function uses, and returns that."""
    ready = PRECOMPILED.get(crc32(text.encode()))
    if ready is not None:
        return ready
    if text not in _defined:
        defined: dict[str, Any] = {}
        exec(compile(text, "<shim>", "exec", dont_inherit=True), defined)
        _defined[text] = defined["written"]
    return _defined[text]


#: Text -> the function that it defines. Many functions of torch have the same parameters, and compiling takes time.
_defined: dict[str, Any] = {}


class _Fields(dict):  # type: ignore[type-arg]  # not Dict[str, str]: making that takes time
    """The fields of a template. A field that is not about the parameters becomes a name that no parameter has."""

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(
            first=parameters.first,
            args=parameters.args,
            kwargs=parameters.kwargs,
            argument_list=parameters.argument_list,
        )
        self._others = {*parameters.names, parameters.args, parameters.kwargs}

    def __missing__(self, field: str) -> str:
        self[field] = name = free_name("_shim_" + field, self._others)
        return name


def free_name(name: str, others: Collection[str]) -> str:
    """Return the name with as many underscores in front as make it different from the others."""
    while name in others:
        name = "_" + name
    return name


def _file_of(text: str, original: Any) -> str:
    """Register the source text for tracebacks and debuggers, and return the file name that it gets.

    ``warnings``, and ``logging`` since Python 3.11, do not count frames of importlib._bootstrap, which they know by
    their file name. So the stacklevel of a warning in the original leads to the same line as without the guard:
    https://github.com/python/cpython/blob/v3.13.0/Lib/warnings.py#L295
    """
    place = f"{getattr(original, '__module__', '?')}.{getattr(original, '__qualname__', '?')}, importlib._bootstrap"
    file, number = f"<shim: around {place}>", 1
    lines = text.splitlines(keepends=True)
    while file in linecache.cache and linecache.getlines(file) != lines:
        number += 1
        file = f"<shim: around {place}, {number}>"
    linecache.cache[file] = (len(text), None, lines, file)
    return file
