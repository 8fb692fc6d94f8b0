"""inspect, typing, functools and pydoc show the same signature, parameters, name, docs and source"""

from __future__ import annotations

import functools
import importlib
import inspect
import pydoc
import sys
import typing

from hazard_observer import observation
from test_hazard_compile import _class
from test_hazard_torchscript import _functional_optimizers


def _attempt(function, value):
    try:
        return function(value)
    except (AttributeError, NameError, OSError, TypeError, ValueError) as error:
        return type(error).__name__


def _seen(value):
    """Return the result of each way of inspecting an object, except those that must differ.

    These are the file and line of a function's code, the comments above it (inspect.getcomments), and its closure
    (inspect.getclosurevars).
    """
    return {name: _attempt(look, value) for name, look in LOOKS.items()}


#: The flags about arguments and results of a call. Other flags are about closures and __future__ imports.
KIND = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE


def _parameters(code):
    """Return the parameters of a code object, read from its attributes."""
    count = code.co_argcount + code.co_kwonlyargcount
    packed = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return [code.co_varnames[: count + packed], code.co_argcount, code.co_posonlyargcount, code.co_flags & KIND]


def _wrapped(function):
    """Return a wrapper with the attributes that functools.wraps copies from a function."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class _Holder:
    """A class for a partialmethod."""


def _partial_method(function):
    _Holder.method = functools.partialmethod(function, 1)
    return [str(inspect.signature(_Holder.method)), str(inspect.signature(_Holder().method))]


def _called(function):
    names = [name for name, each in inspect.signature(function).parameters.items() if each.default is each.empty]
    names = [name for name in names if inspect.signature(function).parameters[name].kind < 4]
    return str(sorted(inspect.getcallargs(function, **dict.fromkeys(names, 3)).items()))


LOOKS = {
    "signature": lambda value: str(inspect.signature(value)),
    "signature of its own": lambda value: str(inspect.signature(value, follow_wrapped=False)),
    "parameters": lambda value: [
        [name, str(each.kind), str(each.default), str(each.annotation)]
        for name, each in inspect.signature(value, follow_wrapped=False).parameters.items()
    ],
    "bind": lambda value: str(inspect.signature(value).bind_partial(1, 2).arguments),
    "getfullargspec": lambda value: str(inspect.getfullargspec(value)),
    "getcallargs": _called,
    "code": lambda value: _parameters(value.__code__),
    "getargs": lambda value: str(inspect.getargs(value.__code__)),
    "names": lambda value: [getattr(value, name, None) for name in ("__name__", "__qualname__", "__module__")],
    "names of its code": lambda value: [value.__code__.co_name, getattr(value.__code__, "co_qualname", None)],
    "doc": lambda value: [value.__doc__, inspect.getdoc(value)],
    "defaults": lambda value: [str(value.__defaults__), str(value.__kwdefaults__)],
    "annotations": lambda value: [str(getattr(value, "__annotations__", None)), str(typing.get_type_hints(value))],
    "get_annotations": lambda value: str(inspect.get_annotations(value)),
    "type parameters": lambda value: str(value.__type_params__),
    "source": inspect.getsource,
    "source lines": lambda value: inspect.getsourcelines(value)[1],
    "source file": lambda value: inspect.getsourcefile(inspect.unwrap(value)),
    "module": lambda value: inspect.getmodule(value).__name__,
    "kind": lambda value: [name for name in dir(inspect) if name.startswith("is") and getattr(inspect, name)(value)],
    "type": lambda value: [type(value).__name__, callable(value), hasattr(value, "__get__")],
    "methods": lambda value: [
        [each.name, each.kind, each.defining_class.__name__] for each in inspect.classify_class_attrs(value)
    ],
    "members": lambda value: [name for name, _ in inspect.getmembers(value)] if inspect.isclass(value) else None,
    "partial": lambda value: str(inspect.signature(functools.partial(value, 1))),
    "partialmethod": _partial_method,
    "wraps": lambda value: [str(inspect.signature(_wrapped(value))), _wrapped(value).__name__, _wrapped(value).__doc__],
    "lru_cache": lambda value: str(inspect.signature(functools.lru_cache()(value))),
    "singledispatch": lambda value: str(inspect.signature(functools.singledispatch(value))),
    "bound": lambda value: str(inspect.signature(value.__get__(3))),
    "document": lambda value: pydoc.plaintext.document(value),
    "render_doc": lambda value: pydoc.render_doc(value, renderer=pydoc.plaintext),
    "describe": pydoc.describe,
}


@observation
def classes():
    import torch

    found = {
        f"{module.__name__}.{name}": cls
        for module in _modules_of_torch_optim()
        for name, cls in sorted(vars(module).items())
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)
    }
    found.update(_functional_optimizers())
    return {name: _seen_in(cls) for name, cls in found.items()}


def _seen_in(cls):
    return [_seen(cls), _seen(cls.__init__), _seen(cls.step)]


def _modules_of_torch_optim():
    for name in ("functional", "_functional", "_multi_tensor"):
        try:
            importlib.import_module("torch.optim." + name)
        except ImportError:
            continue
    return [sys.modules[name] for name in sorted(sys.modules) if f"{name}.".startswith("torch.optim.")]


@observation
def functionals():
    seen = {}
    for module in _modules_of_torch_optim():
        for name, value in sorted(vars(module).items()):
            if inspect.isroutine(value) and "weight_decay" in str(_attempt(inspect.signature, value)):
                seen[f"{module.__name__}.{name}"] = _seen(value)
    return seen or None


@observation
def adopt():
    cls = _class("ADOPT")
    module = sys.modules[cls.__module__]
    forms = [name for name in sorted(vars(module)) if name.endswith("adopt") and inspect.isroutine(vars(module)[name])]
    return [_seen_in(cls), *(_seen(getattr(module, name)) for name in forms)]


SIX_WAYS = {
    "getfullargspec": lambda function: inspect.getfullargspec(function).args,
    "signature": lambda function: inspect.signature(function).parameters,
    "signature of its own": lambda function: inspect.signature(function, follow_wrapped=False).parameters,
    "co_varnames": lambda function: function.__code__.co_varnames,
    "co_argcount": lambda function: function.__code__.co_varnames[: function.__code__.co_argcount],
    "getargs": lambda function: inspect.getargs(function.__code__).args,
}


@observation
def configs_that_are_filtered():
    """Return the training results of a program that passes only the options in the optimizer's signature."""
    import torch

    config = {"lr": 0.1, "weight_decay": 0.25, "momentum": 0.5, "eps": 1e-3, "epochs": 3, "warmup": 10}
    seen = {}
    for name in ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "ADOPT"):
        for way, known in SIX_WAYS.items():
            cls = _class(name)
            taken = known(cls.__init__)
            parameter = torch.nn.Parameter(torch.full((2,), 3.0))
            optimizer = cls([parameter], **{key: value for key, value in config.items() if key in taken})
            for _ in range(3):
                parameter.grad = parameter.detach() * 2
                optimizer.step()
            seen[f"{name} {way}"] = [sorted(set(config).intersection(taken)), parameter.tolist()]
    return seen


@observation
def instances():
    import torch

    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=0.1)
    return [repr(optimizer), sorted(vars(optimizer)), str(inspect.signature(optimizer.step)), optimizer.step.__name__]


def test_inspect_shows_guarded_classes_and_methods_like_the_originals(same):
    same(classes)


def test_inspect_shows_guarded_functionals_like_the_originals(same):
    same(functionals)


def test_inspect_shows_guarded_adopt_like_the_original(same):
    same(adopt)


def test_configs_filtered_by_signature_keep_weight_decay(same):
    for taken, _ in same(configs_that_are_filtered).values():
        assert {"lr", "weight_decay"} <= set(taken)


def test_instances_look_the_same_with_guards(same):
    same(instances)
