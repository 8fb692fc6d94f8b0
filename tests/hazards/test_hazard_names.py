"""Names imported before activation, and every alias of a functional, are guarded"""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
import traceback

from hazard_observer import NONE, observation

FORMS = [
    "adam",
    "_single_tensor_adam",
    "_multi_tensor_adam",
    "adamw",
    "_single_tensor_adamw",
    "_multi_tensor_adamw",
    "sgd",
]
MODULES = ["functional", "_functional", "adam", "adamw", "sgd"]

#: Values for the arguments that the functionals of all releases may require; the tensor arguments are in _lists.
VALUES = {
    "amsgrad": False, "beta1": 0.9, "beta2": 0.999, "lr": 0.1, "eps": 1e-8, "maximize": False, "momentum": 0.0,
    "dampening": 0.0, "nesterov": False, "capturable": False, "differentiable": False, "grad_scale": None,
    "found_inf": None, "has_complex": False, "decoupled_weight_decay": False, "has_sparse_grad": False, "fused": None,
    "foreach": None,
}  # fmt: skip


def _lists(integers):
    import torch

    step = 1 if integers else torch.tensor(1.0)
    return {
        "params": [torch.ones(2)], "grads": [torch.full((2,), 0.5)], "d_p_list": [torch.full((2,), 0.5)],
        "exp_avgs": [torch.zeros(2)], "exp_avg_sqs": [torch.zeros(2)], "max_exp_avg_sqs": [],
        "state_steps": [step], "momentum_buffer_list": [None], "momentum_buffers": [None],
    }  # fmt: skip


def _called(function, weight_decay):
    """Call a functional form with all arguments of its signature; return the parameters or the error."""
    for integers in (False, True):
        known = {**_lists(integers), **VALUES, "weight_decay": weight_decay}
        parameters = inspect.signature(function).parameters
        try:
            function(**{name: known[name] for name in parameters})
            return known["params"][0].tolist()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"[:80]
            mended = "NoneType" not in failure
    return failure if mended else "None was not mended"


def _held():
    """Return the functional forms of this release, by each of their names."""
    held = {}
    for module in MODULES:
        try:
            module = importlib.import_module("torch.optim." + module)
        except ImportError:
            continue
        for name in FORMS:
            if inspect.isroutine(getattr(module, name, None)):
                held[f"{module.__name__}:{name}"] = getattr(module, name)
    return held


@observation
def aliases():
    _held()
    yield
    held = _held()
    return {path: [_called(function, 0.1), _called(function, NONE)] for path, function in held.items()} or None


@observation
def early_bound_in_a_module():
    for path, function in _held().items():
        globals()["early_" + path.partition(":")[2]] = function
    yield
    early = {name: value for name, value in globals().items() if name.startswith("early_")}
    return {name: _called(function, NONE) for name, function in early.items()} or None


def adam(params):
    """A function of the program that has the name of one of torch's functions."""
    return params


@observation
def a_namesake():
    before = {name: globals().get(name) for name in FORMS}
    yield
    during = {name: globals().get(name) for name in FORMS}
    yield
    return [each[name] is value for name, value in before.items() for each in (during, globals()) if value is not None]


@observation
def early_bound_out_of_reach():
    """Return the results of dispatching forms that were put into a list before activation.

    Such a form looks up the form that computes at each call, and so finds the guarded one.
    """
    import torch

    held = [_held().get("torch.optim.adam:adam"), _held().get("torch.optim.sgd:sgd")]
    yield
    if held[0] is None:
        return LIMIT
    return [_called(function, NONE) for function in held] + [torch.optim.Adam.__name__]


LIMIT = {"limit": "a functional form that computes itself is not replaced where only a list or a closure holds it"}


@observation
def early_bound_classes():
    from torch.optim import Adam, AdamW

    yield
    import torch

    seen = []
    for cls in (Adam, AdamW, torch.optim.SGD):
        parameter = torch.nn.Parameter(torch.ones(2))
        optimizer = cls([parameter], lr=0.1, weight_decay=NONE)
        parameter.grad = torch.full((2,), 0.5)
        optimizer.step()
        seen.append(parameter.tolist())
    return seen


@observation
def aliases_stay_one_object():
    """Return the groups of names of one object. They must be the same as without shim."""
    groups = {}
    for path, function in _held().items():
        groups.setdefault(id(function), []).append(path)
    return sorted(groups.values()) or None


@observation
def torch_optim_adam_as_a_submodule():
    """Return whether every import statement that works without shim imports the module."""
    from torch.optim import adam, sgd

    import_module = importlib.import_module("torch.optim.adam")
    return [adam is import_module, sgd is sys.modules["torch.optim.sgd"], adam.Adam.__name__]


def an_error_about(module, name):
    """Return Python's message about a missing name of a module. Newer Pythons suggest an existing name."""
    try:
        getattr(module, name)
    except AttributeError as error:
        return ["".join(traceback.format_exception_only(type(error), error)), error.__traceback__.tb_next is None]


@observation
def introspection_of_torch_optim():
    """Return what introspection shows of torch.optim, and the optimizer that a program finds by a lower-case name."""
    import torch

    optim = torch.optim
    found = {name.lower(): value for name, value in vars(optim).items() if not name.startswith("_")}
    asked_for = optim.adam if hasattr(optim, "adam") else optim.Adam
    built = [each([torch.nn.Parameter(torch.ones(1))], lr=0.5) for each in (found["adam"], asked_for)]
    copied = copy.deepcopy(built)
    return [
        sorted(vars(optim)),
        dir(optim) == sorted(optim.__dict__),
        [name for name, _ in inspect.getmembers(optim)],
        [name for name in dir(optim) if name.lower() == "adam"],
        an_error_about(optim, "AdamX"),
        [type(each) is optim.Adam and each.defaults["lr"] == 0.5 for each in built + copied],
        list(inspect.signature(asked_for).parameters),
        repr(optim).partition(" from ")[0],
        isinstance(optim, type(sys)),
        hasattr(optim, "adamw") or hasattr(optim, "Nonsense"),
    ]


def test_introspection_of_torch_optim_shows_the_same_as_without_shim(same):
    same(introspection_of_torch_optim)


def test_every_alias_of_an_optimizer_is_guarded(same):
    same(aliases)


def test_a_functional_that_a_module_imported_before_activation_is_guarded(same):
    same(early_bound_in_a_module)


def test_a_functional_held_in_a_list_before_activation_is_guarded_if_it_dispatches(same):
    same(early_bound_out_of_reach)


def test_a_function_of_the_program_with_the_name_of_a_functional_is_not_replaced(same):
    assert same(a_namesake) == [True, True]


def test_classes_imported_before_activation_are_guarded(same):
    same(early_bound_classes)


def test_aliases_stay_one_object(same):
    same(aliases_stay_one_object)


def test_submodules_are_imported_as_without_shim(same):
    same(torch_optim_adam_as_a_submodule)
