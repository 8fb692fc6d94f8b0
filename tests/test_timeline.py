"""The timeline agrees with the public names of the installed torch."""

from __future__ import annotations

import importlib
import random
import runpy
from pathlib import Path

import pytest
import torch

from shim import timeline
from shim.explain import explain
from shim.releases import is_in, release

HERE = release(torch.__version__).numbers
#: Modules of which every name is checked. Of the other modules the tests check some.
MOST_USED = (
    *("torch", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils", "torch.optim", "torch.autograd"),
    *("torch.optim.lr_scheduler", "torch.utils.data", "torch.linalg", "torch.fft", "torch.distributed", "torch.cuda"),
    *("torch.cuda.amp", "torch.testing", "torch.jit", "torch.hub", "torch.serialization", "torch.distributions"),
)
#: Modules that need a missing package, or are a directory without a file: an import proves nothing.
UNTOLD = {"torch.utils.tensorboard", "torch.utils.ffi", "torch.utils.cpp_extension", "torch.utils.benchmark"}


def imported(module):
    """Return a module; None if this torch has no such module, or if it needs a missing package."""
    try:
        return importlib.import_module(module)
    except Exception:
        return None


def wrong(module):
    """Return the names of a module about which the timeline and this torch disagree."""
    found = torch.Tensor if module == "torch.Tensor" else imported(module)
    names = timeline._names(module) if found is not None else ()
    said = {}
    for name in names:
        path = f"{module}.{name}"
        there = hasattr(found, name) or imported(path) is not None
        if path not in UNTOLD and is_in(HERE, timeline.find(path).works) != there:
            said[path] = there
    return said


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", [*MOST_USED, "torch.Tensor"])
def test_a_main_module_has_the_names_of_the_timeline(module):
    assert wrong(module) == {}


@pytest.mark.filterwarnings("ignore")
def test_other_modules_have_the_names_of_the_timeline(record_property):
    every = sorted(timeline._data()["torch"]["names"])
    some = random.Random(19).sample([each for each in every if "._" not in each], 40)
    names = [name for module in some if module in UNTOLD or imported(module) for name in timeline._names(module)]
    assert {name: there for module in some for name, there in wrong(module).items()} == {}
    record_property("names of 40 modules compared with this torch", len(names))


@pytest.mark.parametrize(
    "name, works, sentence",
    [
        ("torch.rfft", "<1.8", "torch.rfft was removed in torch 1.8"),
        ("torch.func.vmap", ">=2.0", "torch.func came with torch 2.0"),
        ("torch.Assert", ">=1.7,<1.8", "torch.Assert exists only in torch 1.7"),
        ("torch.is_deterministic", ">=1.7,<1.10", "torch.is_deterministic exists only in torch 1.7 to 1.9"),
    ],
)
def test_a_lifetime_is_a_specifier_and_a_sentence(name, works, sentence):
    found = timeline.find(name) or timeline.find_module(name)
    assert (found.works, found.sentence) == (works, sentence)


def lost(package):
    """Yield the names of a package's modules that its newest release lacks, as module and name."""
    for module in timeline._data()[package]["names"]:
        for name in timeline._names(module):
            found = timeline.find(f"{module}.{name}")
            if found.spans[-1][1] != timeline._releases(package)[-1]:
                yield module, name


@pytest.mark.parametrize("package", ["torch", "torchvision", "torchaudio"])
@pytest.mark.parametrize(
    "message",
    [
        "ImportError: cannot import name '{name}' from '{module}' (/env/site-packages/there/__init__.py)",
        "AttributeError: module '{module}' has no attribute '{name}'",
    ],
)
def test_every_lost_name_is_answered(package, message):
    names = [each for each in lost(package) if each[0] != "torch.Tensor"]
    chosen = random.Random(19).sample(names, 25)
    said = [message.format(module=module, name=name) for module, name in chosen]
    assert [each for each in said if not explain(each)] == []


def test_every_lost_method_of_a_tensor_is_answered():
    names = [name for module, name in lost("torch") if module == "torch.Tensor"]
    assert "align_to" in names
    said = [f"AttributeError: 'Tensor' object has no attribute '{name}'" for name in names]
    assert [each for each in said if not explain(each)] == []


def test_every_name_that_the_most_used_modules_lost_has_a_row_or_an_advice(monkeypatch):
    path = Path(__file__).resolve().parents[1] / "scripts" / "api_timeline"
    if not path.exists():
        pytest.skip("only a checkout has the script")
    monkeypatch.syspath_prepend(str(path.parent))  # the script imports a module of its directory
    script = runpy.run_path(str(path))
    of_the_goal = [each for each in script["answers"]() if each[0] in script["GOAL"]]
    gone = [each for each in of_the_goal if not each[2].works.split(",")[-1].startswith(">=")]
    assert len(gone) > 150
    assert [f"{module}.{name}" for module, name, _, kind, _ in gone if kind == "timeline"] == []


@pytest.mark.parametrize(
    "message, answer, what",
    [
        ("module 'torch._dynamo' has no attribute 'config_utils'", "torch._dynamo.config_utils", "torch>=2.0,<2.2"),
        ("No module named 'torch.quantization.fx.prepare'", "torch.quantization.fx.prepare", "torch"),
        ("'Tensor' object has no attribute 'const_data_ptr'", "torch.Tensor.const_data_ptr", "torch>=2.13"),
        ("'Parameter' object has no attribute 'const_data_ptr'", "torch.Tensor.const_data_ptr", "torch>=2.13"),
        ("cannot import name 'device_mesh' from 'torch.distributed' (x.py)", "torch.distributed.device_mesh", ">=2.2"),
    ],
)
def test_a_name_that_no_row_answers_is_answered_with_its_releases(message, answer, what):
    [found] = explain(message)
    assert found.name.endswith(answer) and what in found.switch and "no patch" in found.switch


@pytest.mark.parametrize(
    "message",
    [
        "module 'torch' has no attribute 'zeros'",  # every release has this name, so the cause is something else
        "module 'torch' has no attribute 'no_such_name'",
        "cannot import name 'MyNet' from 'torch.nn'",
        "cannot import name 'rfft' from partially initialized module 'torch' (most likely due to a circular import)",
        "module 'mytorch' has no attribute 'rfft'",
        "module 'torch_geometric' has no attribute 'vmap'",
        "No module named 'torchtext.vocab'",
        "No module named 'torch'",
        "'MyTensor' object has no attribute 'align_to'",
        "'Tensor' object has no attribute 'my_method'",
        "'Parameter' object has no attribute 'names'",  # of inspect, for example
        "type object 'Tensor' has no attribute 'align_to'",
    ],
)
def test_names_outside_of_torch_or_of_no_release_are_not_answered(message):
    assert explain(message) == []


def test_a_name_that_a_row_gives_back_is_answered_by_the_row():
    assert [answer.name for answer in explain("module 'torch' has no attribute 'rfft'")] == ["torch.rfft"]
    assert explain("module 'torch' has no attribute 'rfft'")[0].option == "torch.rfft"


class TestTheHint:
    """The hint below the traceback of a program that died of a name that no row gives back."""

    @staticmethod
    def absent():
        """Return two names of torch that this release lacks and no row gives back, and the releases that have them."""
        for module in ("torch.distributed", "torch.nn", "torch.cuda", "torch.nn.functional"):
            for name in timeline._names(module):
                found = timeline.find(f"{module}.{name}")
                [answer] = explain(f"module '{module}' has no attribute '{name}'") or [None]
                if answer and not answer.option and not answer.messages and not is_in(HERE, found.works):
                    return module, name, found
        raise AssertionError("this torch has every name")

    def test_the_hint_names_the_releases_with_the_name(self, python):
        module, name, found = self.absent()
        for code in (f"import {module} as m\nm.{name}", f"from {module} import {name}"):
            said = " ".join(python(code).stderr.partition("\nshim: ")[2].split())
            here = ".".join(map(str, HERE))
            assert said == f"{found.sentence}, and this is torch {here}. No patch gives it back: {found.remedy}."

    @pytest.mark.parametrize(
        "code",
        [
            "class Tensor: pass\nimport torch\nTensor().align_to",
            "import torch\ntorch.ones(1).no_such_name",
            "import torch.nn\nraise AttributeError(\"module 'torch.nn' has no attribute 'RMSNorm'\")",
            "import torch\ntry:\n    torch.no_such_name\nexcept AttributeError:\n    pass",
        ],
    )
    def test_no_hint_is_printed_for_names_outside_of_torch(self, python, code):
        assert "shim:" not in python(code).stderr


class TestAnArgumentThatCameLater:
    @pytest.mark.parametrize(
        ("message", "sentence"),
        [
            (
                "TypeError: GroupNorm.__init__() got an unexpected keyword argument 'bias'",
                "GroupNorm(bias=) came with torch 2.12",
            ),
            (
                "TypeError: kl_div() got an unexpected keyword argument 'log_target'",
                "kl_div(log_target=) came with torch 1.6",
            ),
        ],
    )
    def test_is_explained_if_no_patch_answers(self, message, sentence):
        [answer] = explain(message)
        assert answer.reason.startswith("only if the function is torch.")
        assert answer.reason.endswith(sentence)
        assert not answer.mends

    @pytest.mark.parametrize(
        "message",
        [
            "TypeError: train() got an unexpected keyword argument 'bias'",  # no function of torch
            "TypeError: __init__() got an unexpected keyword argument 'bias'",  # of any class
            "TypeError: GroupNorm.__init__() got an unexpected keyword argument 'biases'",  # in no release
        ],
    )
    def test_is_not_explained_if_it_may_be_any(self, message):
        assert explain(message) == []
