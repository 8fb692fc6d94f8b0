"""Generate a function that calls a wrapper, as wrapt does, with the parameters of the one that it wraps."""

from __future__ import annotations

import contextlib
import functools
import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, Callable

from .lookalike import Parameters, free_name, generated, lookalike, parameters_of


def is_plain(function: Any) -> bool:
    """Tell whether it is a Python function that runs when it is called: no coroutine, no generator, no builtin."""
    special = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
    return isinstance(function, FunctionType) and not function.__code__.co_flags & special


if TYPE_CHECKING:
    #: The signature of a wrapt wrapper: the bound function, the object that it is bound to, and the arguments.
    How = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]


def wrap_like(original: Any, how: How, enabled: Callable[[], bool], method: bool, exact: bool) -> FunctionType:
    """Generate a function that calls ``how(wrapped, instance, args, kwargs)`` in place of ``original``, as wrapt does.

    It is a plain function like the original, so it can be copied, pickled and compiled by TorchScript as well.

    Args:
        original: a plain function.
        how: the wrapper.
        enabled: called at each call. If it returns False, the original is called.
        method: ``wrapped`` is bound to the first argument; otherwise ``instance`` is None.
        exact: the new function has exactly the parameters of the original. ``args`` and ``kwargs`` are then all
            arguments, also those that the caller left out, by position if possible. Otherwise they are as the caller
            gave them, and the parameters of the original are visible to ``inspect`` and in ``co_varnames`` only.
    """
    held = {"how": how, "enabled": enabled}
    parameters = parameters_of(original)
    if exact and (parameters.positional or parameters.args or not method):  # else `self` has no name
        lines = _lines_for_all_arguments(parameters, method)
        return lookalike(original, lines, held, original.__globals__, parameters)
    lines = _lines_for_given_arguments(parameters, method)
    function = generated(original, _packed(parameters), lines, held, original.__globals__)
    functools.update_wrapper(function, original)
    show_parameters(original, function)
    return function


def _lines_for_all_arguments(parameters: Parameters, method: bool) -> str:
    """Return the lines that call the wrapper with all arguments, also those that the caller left out."""
    positional = [*parameters.names[bool(method) : parameters.positional]]
    if parameters.args:
        positional.append(f"*{parameters.args}" + "[1:]" * (method and not parameters.positional))
    by_name = [f'"{name}": {name}' for name in parameters.names[parameters.positional :]]
    by_name += [f"**{parameters.kwargs}"] * bool(parameters.kwargs)
    wrapped, instance = ("{original}.__get__({first})", "{first}") if method else ("{original}", "None")
    arguments = f"({''.join(each + ', ' for each in positional)}), {{{{{', '.join(by_name)}}}}}"
    return f"if {{enabled}}():\n    return {{how}}({wrapped}, {instance}, {arguments})\n"


def _lines_for_given_arguments(parameters: Parameters, method: bool) -> str:
    """Return the lines that call the wrapper with the arguments as the caller gave them, packed."""
    lines = (
        "if {enabled}() and {args}:\n    return {how}({original}.__get__({args}[0]), {args}[0], {args}[1:], {kwargs})\n"
        if method
        else "if {enabled}():\n    return {how}({original}, None, {args}, {kwargs})\n"
    ) + "return {call}\n"
    if parameters.names:  # never reached. It puts the names into co_varnames
        lines += " = ".join(parameters.names) + " = None\n"
    return lines


def _packed(parameters: Parameters) -> Parameters:
    """Return the parameters ``*args, **kwargs``, under names that none of ``parameters`` has."""
    args, kwargs = (free_name(name, parameters.names) for name in ("args", "kwargs"))
    both = f"*{args}, **{kwargs}"
    return parameters._replace(parameter_list=both, argument_list=both, args=args, kwargs=kwargs)


def show_parameters(original: FunctionType, function: Any) -> None:
    """Give a function with ``*args, **kwargs`` the parameters of another one for inspect. Calls do not use them."""
    with contextlib.suppress(TypeError, ValueError):  # it wraps a builtin without a signature
        own, shown = (inspect.signature(original, follow_wrapped=follows) for follows in (False, True))
        if [*own.parameters] == [*shown.parameters]:  # it is no wrapper with *args, **kwargs itself
            vars(function)["__signature__"] = own
            function.__defaults__, function.__kwdefaults__ = original.__defaults__, original.__kwdefaults__


def with_globals_of(original: Any, function: Any) -> Any:
    """Return a function with the globals of the original, if that is written in Python.

    TorchScript compiles the source of the original, and up to torch 2.2 looks up its names in the globals of the
    function that takes its place, which must use none itself:
    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_jit_internal.py#L390
    """
    names = getattr(original, "__globals__", None)
    return function if names is None else FunctionType(function.__code__, names, closure=function.__closure__)
