"""probe() describes every release correctly, and changes nothing."""

from __future__ import annotations

import inspect
import json
import sys
import types
from pathlib import Path

import pytest
import torch
from packaging.version import Version

from shim import layout


def test_the_version_is_the_release_that_is_loaded():
    assert str(layout.probe().version) == torch.__version__


@pytest.mark.parametrize(
    "text, release",
    [
        ("2.4.0a0+git1234", (2, 4, 0)),
        ("1.13.1+cu117", (1, 13, 1)),
        ("2.6.0.dev20250101+cpu", (2, 6, 0)),
        ("2.3.0a0-my-cluster", (2, 3, 0)),
        ("unknown", (0, 0, 0)),
    ],
)
def test_any_version_string_is_read(text, release):
    assert layout._version(types.SimpleNamespace(__version__=text)).numbers == release


def test_every_optimizer_of_torch_is_found_where_it_is_defined():
    found = {callee.name: callee for callee in layout.probe().optimizers}
    assert found["Adam"].paths[0] == "torch.optim.adam:Adam"
    assert found["Adam"].weight_decay == layout.WeightDecay(5, 0)
    assert found["AdamW"].weight_decay.default == 0.01
    assert not {"LBFGS", "Rprop", "SparseAdam"} & set(found)


# Facts of the releases 1.4 to 2.15, read from each: for every optimizer and functional form of torch.optim, the first
# and last release that has it, the position of weight_decay (null: keyword only), and the default.
FACTS = json.loads(Path(__file__).with_name("layout_facts.json").read_text())


def _facts_of(kind):
    """Return the facts of the loaded release. A newer release gets the facts of the newest known one."""
    release = min(Version(Version(torch.__version__).base_version), Version("2.15"))
    minor = Version(f"{release.major}.{release.minor}")
    return {
        name: tuple(fact)
        for name, runs in FACTS[kind].items()
        for first, last, *fact in runs
        if Version(first) <= minor <= Version(last)
    }


def test_every_optimizer_takes_weight_decay_where_shim_expects_it():
    found = {
        callee.name: (callee.weight_decay.position, float(callee.weight_decay.default))
        for callee in layout.probe().optimizers
        if not callee.paths[0].startswith("torch.optim._multi_tensor:")
    }
    assert found == _facts_of("optimizers")


def test_every_functional_form_takes_weight_decay_where_shim_expects_it():
    found = {
        path.replace("torch.optim.", "").replace(":", "."): (callee.weight_decay.position,)
        for callee in layout.probe().functionals
        for path in callee.paths[:1]
    }
    assert found == _facts_of("functionals")


def test_probe_changes_nothing():
    before = {name: dict(vars(module)) for name, module in sys.modules.items() if name.startswith("torch.optim")}
    modules = set(sys.modules)
    assert layout.probe() == layout.probe()
    after = {name: vars(sys.modules[name]) for name in before}
    assert set(sys.modules) == modules
    assert all(set(after[name]) == set(before[name]) for name in before)
    assert all(after[name][key] is value for name in before for key, value in before[name].items())


def test_an_unknown_torch_gets_the_newest_strategy_and_one_warning(python):
    code = """
        import torch.version
        torch.version.__version__ = "9.1.0"
        import torch, sys
        torch.__version__ = "9.1.0"
        import preimport, shim
        import torch.distributed.optim, shim.adopt  # which are awaited
        print(shim.status().layout.known, shim.status().layout.step_wrapper)
        print(shim.status())
    """
    result = python(code, door="src", env={"SHIM_LOG": "warning"})
    has_hook = hasattr(sys.modules["torch.optim.optimizer"], "register_optimizer_step_pre_hook")  # since 2.0
    assert result.stdout.startswith("False hook" if has_hook else "False function"), result.stderr
    assert "newer than any that shim was tested with" in result.stdout
    assert result.stderr.count("torch 9.1.0 is newer than any that shim was tested with") == 1


def test_probe_without_torch_says_what_is_missing(python):
    result = python("from shim.layout import probe; probe()", door="src")
    assert "RuntimeError: torch.optim is not loaded in this process; import torch first" in result.stderr


def test_probe_can_be_imported_from_shim(python):
    result = python("import torch, shim; print(shim.layout.probe().version)", door="src")
    assert result.stdout.strip() == str(layout.probe().version), result.stderr


def test_a_position_is_that_of_the_signature():
    """probe() reads the code object if that is enough, else it uses inspect.signature, which is far slower."""
    compared = 0
    for name, module in list(sys.modules.items()):
        if not (name + ".").startswith("torch.optim."):
            continue
        for value in list(vars(module).values()):
            for function in (value, vars(value).get("__init__")) if inspect.isclass(value) else (value,):
                if not callable(function):
                    continue
                parameters = list(inspect.signature(function).parameters.values()) if _is_readable(function) else []
                names = [parameter.name for parameter in parameters]
                place = layout.weight_decay_of(function)
                assert (place is not None) == ("weight_decay" in names), function
                if place is not None:
                    at = parameters[names.index("weight_decay")]
                    default = None if at.default is at.empty else at.default
                    position = None if at.kind is at.KEYWORD_ONLY else names.index("weight_decay")
                    assert (place.position, place.default) == (position, default), function
                    compared += 1
    assert compared > 20


def _is_readable(function):
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return False
    return True
