"""torch.compile of a step has the same frames, ops, graph breaks and recompilations"""

from __future__ import annotations

import importlib
import itertools
import sys
import warnings

from hazard_observer import CHECKOUT, NONE, observation

CASES = tuple(itertools.product(("Adam", "AdamW", "SGD", "ADOPT"), (False, True), ("float", "tensor")))


def _dynamo():
    """Return torch._dynamo; None if this torch has none, or if it does not support this Python."""
    import torch

    try:
        import torch._dynamo as dynamo
        from torch._dynamo.testing import CompileCounter

        dynamo.optimize(CompileCounter())(lambda value: value + 1)(torch.ones(1))
    except (ImportError, AttributeError):
        return None
    except RuntimeError as error:  # "Python 3.11+ not yet supported"
        if "not yet supported" in str(error) or "not supported" in str(error):
            return None
        raise
    return dynamo


def _built(name, foreach=False, lr="float", weight_decay=0.0):
    import torch

    parameters = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.5)
    momentum = {"momentum": 0.9} if name == "SGD" else {}
    rate = torch.tensor(0.1) if lr == "tensor" else 0.1
    return _class(name)(parameters, lr=rate, foreach=foreach, weight_decay=weight_decay, **momentum)


def _class(name):
    """Return a class of torch.optim, or shim's ADOPT, which can be imported without the guards."""
    import torch

    if name != "ADOPT":
        return getattr(torch.optim, name)
    sys.path.append(str(CHECKOUT / "src"))
    try:
        return importlib.import_module("shim.adopt").ADOPT
    finally:
        sys.path.remove(str(CHECKOUT / "src"))


def _parameters(optimizer):
    return [parameter.tolist() for parameter in optimizer.param_groups[0]["params"]]


def _compiled(optimizer, **options):
    """Return a compiled function that takes a step, and the counter of its compilations."""
    import torch
    from torch._dynamo.testing import CompileCounter
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    counter = CompileCounter()

    def train():
        optimizer.step()

    return torch._dynamo.optimize(counter, **options)(train), counter


def _is_torch_2_3():
    import torch

    return torch.__version__.startswith("2.3.")


def _counts(name, foreach, lr):
    from torch._dynamo.utils import counters

    try:
        optimizer = _built(name, foreach, lr)
        optimizer.step()
    except (TypeError, ValueError, RuntimeError) as error:
        return type(error).__name__
    train, counter = _compiled(optimizer)
    seen = []
    for step in range(4):
        if step > 0:
            optimizer.param_groups[0]["lr"] *= 0.5  # as a scheduler does
        train()
        seen.append([counter.frame_count, counter.op_count])
        if step == 0:
            breaks = [sum(counters["graph_break"].values()), len(counters["graph_break"])]
    same = [seen, counters["stats"].get("unique_graphs"), _parameters(optimizer)]
    inside = name == "ADOPT" or (name == "SGD" and foreach and lr == "tensor" and _is_torch_2_3())
    if inside and not hasattr(importlib.import_module("torch.optim.adam"), "_disable_dynamo_if_unsupported"):
        # Up to torch 2.3, dynamo counts a break inside of the functional form again in the guard around it.
        return {"same": same}
    return {"same": same, "breaks": breaks}


@observation
def counts():
    if _dynamo() is None:
        return None
    first = _counts("Adam", False, "float")
    yield
    return [first, *(_counts(*case) for case in CASES)]


@observation
def a_none_under_compile():
    """Return the parameters after compiled steps, with a None from the start, or with one set between two steps.

    Also return the warnings, except shim's: if dynamo cannot trace a guard, it must break the graph without a warning.
    """
    if _dynamo() is None:
        return None
    early, between = _built("Adam"), _built("SGD")
    first, _ = _compiled(early)
    first()
    yield
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        early.param_groups[0]["weight_decay"] = NONE
        first()
        from_start = _built("AdamW")
        from_start.param_groups[0]["weight_decay"] = NONE
        train, _ = _compiled(from_start)
        for _ in range(2):
            train()
        train, _ = _compiled(between)
        for _ in range(3):
            train()
            between.param_groups[0]["weight_decay"] = NONE
    others = {str(warning.message) for warning in caught if warning.category.__name__ != "NoneWeightDecayWarning"}
    return [*(_parameters(optimizer) for optimizer in (early, from_start, between)), sorted(others)]


@observation
def full_graph():
    """Return at which depths of ``step.__wrapped__`` a step compiles to one graph."""
    if _dynamo() is None:
        return None
    import torch
    from torch._dynamo.testing import CompileCounter

    early = {name: _built(name) for name in ("Adam", "SGD")}
    yield
    seen = {}
    for name, optimizer in [*early.items(), ("Adam built later", _built("Adam"))]:
        optimizer.step()
        function = type(optimizer).step
        for depth in range(4):
            torch._dynamo.reset()
            counter = CompileCounter()
            try:
                torch._dynamo.optimize(counter, nopython=True)(lambda f=function, o=optimizer: f(o))()
                seen[f"{name} {depth}"] = [counter.frame_count, counter.op_count]
            except Exception:
                seen["does not"] = "compile to one graph"
            function = getattr(function, "__wrapped__", None)
            if function is None:
                break
    return seen


@observation
def undone_after_a_compile():
    """Return whether functions that dynamo disabled stay disabled after deactivation, and results of compiled steps."""
    if _dynamo() is None:
        return None
    optimizer = _built("Adam")
    yield
    train, _ = _compiled(optimizer)
    train()
    yield
    train()
    module = sys.modules["torch.optim.adam"]
    forms = [getattr(module, name, None) for name in ("_multi_tensor_adam", "_fused_adam")]
    disabled = [getattr(form, "_torchdynamo_disable", False) for form in forms]
    return [disabled, _parameters(optimizer), _counts("Adam", True, "float")["same"]]


def test_a_guard_adds_no_graph_break_and_no_recompilation(same):
    def no_worse(ours, plain):
        if isinstance(plain, list):
            return len(ours) == len(plain) and all(map(no_worse, ours, plain))
        if isinstance(plain, dict) and "breaks" in plain:
            # If a step has any pre-hook, torch 2.15 counts its graph break once instead of twice.
            return ours["same"] == plain["same"] and all(a <= b for a, b in zip(ours["breaks"], plain["breaks"]))
        return ours == plain

    same(counts, equal=no_worse)


def test_a_none_under_compile_trains_as_zero_without_new_warnings(same):
    same(a_none_under_compile)


def test_a_guarded_step_compiles_to_one_graph_where_the_original_does(same):
    same(full_graph)


def test_deactivation_after_a_compile_leaves_torch_as_without_shim(same):
    same(undone_after_a_compile)
