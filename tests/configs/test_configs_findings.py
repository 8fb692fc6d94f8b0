"""The findings in one small config for each form that the frameworks use."""

from __future__ import annotations

from typing import Any

import pytest
from findings_cases import PEACE, PROBLEMS, UNCLEAR

from shim.configs.findings import Finding, find
from shim.configs.formats import FORMATS
from shim.configs.frameworks import LOWER, OTHERS, TORCH, constructor_says, names_optimizer, step_says
from shim.configs.source import Source


def findings(kind: str, text: str) -> list[Finding]:
    source = Source("config", text.encode(), kind)
    return find(source, FORMATS[kind], FORMATS[kind].parse(source.text))


def seen(kind: str, text: str) -> list[tuple[str, ...]]:
    return [(f.level, f.path, f.found, f.framework, f.why_not) for f in findings(kind, text)]


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_null_where_a_framework_keeps_its_weight_decay_is_found(name: str) -> None:
    kind, text, path, found, framework = PROBLEMS[name]
    assert seen(kind, text) == [("finding", path, found, framework, "")]


@pytest.mark.parametrize("name", PEACE)
def test_a_null_that_is_no_mistake_is_not_reported(name: str) -> None:
    assert seen(*PEACE[name]) == []


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_null_that_only_resembles_a_mistake_is_reported_as_unclear(name: str) -> None:
    kind, text, path = UNCLEAR[name]
    (finding,) = findings(kind, text)
    assert (finding.level, finding.path) == ("note", path)
    assert finding.effect.startswith("unclear")
    assert "TypeError" not in finding.effect
    assert finding.why_not


@pytest.mark.parametrize("section", ["option", "add_argument", "class A"])
def test_a_section_of_a_config_is_no_default_of_a_program(section: str) -> None:
    (finding,) = findings("yaml", f"{section}:\n  weight_decay: null\n")
    assert finding.found == "null"
    assert "default" not in finding.effect
    assert "command line" not in finding.effect


MISSING: dict[str, tuple[str, str, str, str]] = {
    "nanotron": ("yaml", "optimizer: {zero_stage: 0, accumulate_grad_in_fp32: true}", "finding", "requires"),
    "hydra": ("yaml", "o: {_target_: torch.optim.AdamW}", "note", "0.01"),
    "Lightning": ("yaml", "optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1}}", "note", "0.01"),
    "DeepSpeed": ("json", '{"optimizer": {"type": "Adam", "params": {"lr": 1}}}', "note", "default"),
    "mmengine": ("python", "optimizer = dict(type='AdamW', lr=1)", "note", "0.01"),
    "torchtitan": ("toml", '[optimizer]\nname = "AdamW"', "note", "default"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_key_is_reported_as_what_it_is(name: str) -> None:
    kind, text, level, effect = MISSING[name]
    (finding,) = findings(kind, text)
    assert (finding.level, finding.found) == (level, "missing")
    assert effect in finding.effect


MULTIPLIED: dict[str, tuple[str, str, str]] = {
    **{
        f"mmengine, {key}": (
            "python",
            f"optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01), paramwise_cfg=dict({key}=0.))",
            "optim_wrapper.optimizer.weight_decay",
        )
        for key in ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")
    },
    "mmengine, by a name": (
        "python",
        "o = dict(type='SGD')\noptim_wrapper = dict(optimizer=o, paramwise_cfg=dict(norm_decay_mult=1))",
        "optim_wrapper.optimizer.weight_decay",
    ),
    "mmengine, YAML": (
        "yaml",
        "optim_wrapper:\n  optimizer: {type: SGD, lr: 0.01}\n  paramwise_cfg: {norm_decay_mult: 0.0}\n",
        "optim_wrapper.optimizer.weight_decay",
    ),
    "mmcv": (
        "python",
        "optimizer = dict(type='SGD', lr=1, paramwise_cfg=dict(norm_decay_mult=0))",
        "optimizer.weight_decay",
    ),
    "mmengine, custom keys": (
        "python",
        "optim_wrapper = dict(optimizer=dict(type='SGD'), paramwise_cfg=dict(custom_keys={'a.b': dict(decay_mult=0)}))",
        "optim_wrapper.optimizer.weight_decay",
    ),
    "mmengine, a null multiplier": (
        "yaml",
        "optim_wrapper:\n  optimizer: {type: SGD, lr: 0.01}\n  paramwise_cfg: {norm_decay_mult: null}\n",
        "optim_wrapper.optimizer.weight_decay",
    ),
    "mmengine, in place of the base's": (
        "python",
        "_base_ = 'a.py'\noptim_wrapper = dict(\n    optimizer=dict(_delete_=True, type='SGD'),\n"
        "    paramwise_cfg=dict(norm_decay_mult=0))",
        "optim_wrapper.optimizer.weight_decay",
    ),
}


def test_a_null_that_mmengine_multiplies_raises_the_error_of_a_missing_one() -> None:
    text = "optim_wrapper = dict(optimizer=dict(type='SGD', weight_decay=None), paramwise_cfg=dict({}))"
    (multiplied,) = findings("python", text.format("bias_decay_mult=0"))
    (other,) = findings("python", text.format("custom_keys=dict(head=dict(lr_mult=10))"))
    assert "base_wd should not be None" in multiplied.effect
    assert "constructor" in other.effect


@pytest.mark.parametrize("name", MULTIPLIED)
def test_a_missing_key_that_mmengine_multiplies_is_a_finding(name: str) -> None:
    kind, text, path = MULTIPLIED[name]
    (finding,) = findings(kind, text)
    assert (finding.level, finding.path, finding.missing, finding.why_not) == ("finding", path, True, "")
    assert "base_wd should not be None" in finding.effect


OPTIMIZERS = sorted({*TORCH, *OTHERS, *LOWER})


def test_a_class_is_an_optimizer_by_its_whole_name() -> None:
    for name in OPTIMIZERS:
        assert names_optimizer(name)
        for other in (
            name + "d",
            name + "Detector",
            name + "Client",
            "My" + name,
            name + "._schedule",
            f"{name}s.Model",
        ):
            assert not names_optimizer(other) or other in OPTIMIZERS, other
        assert not names_optimizer(f"keras.optimizers.{name}")
    assert names_optimizer("torch.optim.AdamW")
    assert names_optimizer("timm.optim:Lion")


@pytest.mark.parametrize("path", ["my.project.{}", "torch.optim.swa_utils.{}", "torchs.optim.{}"])
def test_a_class_of_an_unknown_module_is_given_no_weight_decay(path: str) -> None:
    for name in sorted(TORCH):
        for finding in findings("yaml", f"o: {{_target_: {path.format(name)}, lr: 1}}"):
            assert (finding.level, bool(finding.why_not)) == ("note", True)


def raised(act: Any) -> str:
    try:
        act()
    except TypeError as error:
        return str(error).split("\n")[0]
    return "nothing"


@pytest.mark.parametrize("name", sorted(TORCH))
def test_the_prediction_for_a_run_is_what_happens_there(name: str) -> None:
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, name):
        pytest.skip(f"this torch has no {name}")
    made = getattr(torch.optim, name)
    weight = torch.nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)

    alone = raised(lambda: made([weight], lr=0.1, weight_decay=None))
    group = raised(made([{"params": [weight], "weight_decay": None}], lr=0.1).step)

    config = f"o: {{_target_: torch.optim.{name}, weight_decay: null}}\n"
    grouped = f"o:\n  _target_: torch.optim.{name}\n  weight_decay: 0.1\n  params: [{{weight_decay: null}}]\n"
    assert [f"({alone})" in f.effect for f in findings("yaml", config)] == [True]
    assert [f"({group})" in f.effect for f in findings("yaml", grouped)] == [True]
    assert alone in constructor_says(name)
    assert group in step_says(name)
    assert alone not in step_says(name)


@pytest.mark.parametrize("path", ["my.project.AdamW", "bitsandbytes.optim.AdamW8bit", "timm.optim.Lion"])
@pytest.mark.parametrize("settings", ["weight_decay: null", "weight_decay: 0.1, p: [{weight_decay: null}]"])
def test_the_error_of_an_unknown_constructor_is_not_predicted(path: str, settings: str) -> None:
    (finding,) = findings("yaml", f"o: {{_target_: {path}, {settings}}}")
    assert "supported" not in finding.effect
    assert "alpha" not in finding.effect


@pytest.mark.parametrize(
    ("imports", "call", "known"),
    [
        ("import torch", "torch.optim.SGD", True),
        ("import torch.optim as o", "o.SGD", True),
        ("from torch import optim", "optim.SGD", True),
        ("from torch.optim import SGD as S", "S", True),
        ("from torch.optim import *", "SGD", True),
        ("from keras.optimizers import SGD", "SGD", False),
        ("import tensorflow as tf", "tf.keras.optimizers.SGD", False),
        ("from tensorflow import keras as k", "k.optimizers.SGD", False),
        ("from my.project import SGD", "SGD", None),
    ],
)
def test_a_python_class_is_identified_by_its_import(imports: str, call: str, known: bool | None) -> None:
    (finding,) = findings("python", f"{imports}\noptimizer = {call}(p, lr=1, weight_decay=None)\n")
    assert finding.level == ("note" if known is False else "finding")
    assert ("'<' not supported" in finding.effect) == bool(known)


def test_the_error_of_a_constructor_is_not_predicted_for_a_group() -> None:
    for text in (
        "o = torch.optim.SGD([dict(params=p, weight_decay=None)], lr=1)",
        "o = torch.optim.SGD(params=[{'params': p, 'weight_decay': None}], lr=1)",
        "optimizer = dict(type='SGD', weight_decay=0.1, groups=[dict(weight_decay=None)])",
    ):
        (finding,) = findings("python", text)
        assert "passes the constructor" in finding.effect
        assert "alpha" in finding.effect


STUCK: dict[str, tuple[str, str, str]] = {
    "a word": ("yaml", "optimizer: {weight_decay: high}", "the intended number"),
    "a key without a colon": ("yaml", "optimizer: {weight_decay, lr: 1}", "no colon"),
    "an anchor that others use": ("yaml", "clip: &n null\noptimizer: {weight_decay: *n}", "clip shares"),
    "a value that a resembling name shares": (
        "yaml",
        "optimizer: {weight_decay: &wd null, embedding_weight_decay: *wd}",
        "embedding_weight_decay shares",
    ),
    "a value that an unclear place shares": (
        "yaml",
        "b: &b {weight_decay: null}\noptimizer: {<<: *b}\ndetector: {<<: *b}",
        "detector.weight_decay shares",
    ),
    "a reference that others use": (
        "yaml",
        "wd: null\nclip: ${wd}\noptimizer: {weight_decay: '${wd}'}",
        "clip shares",
    ),
    "a Python variable used elsewhere": (
        "python",
        "wd = None\noptimizer = dict(type='SGD', weight_decay=wd)\nx = f(1 if wd else 2)\n",
        "used elsewhere",
    ),
}


@pytest.mark.parametrize("name", STUCK)
def test_a_finding_that_cannot_be_fixed_says_why(name: str) -> None:
    kind, text, why = STUCK[name]
    (finding,) = findings(kind, text)
    assert finding.level == "finding"
    assert why in finding.why_not


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("kind", ["yaml", "python"])
def test_the_position_is_the_one_an_editor_shows(kind: str, end: str) -> None:
    texts = {
        "yaml": ["# 𝄞 é", "optimizer:", "  é: 𝄞", "  {}weight_decay: null"],
        "python": ["# 𝄞 é", "optimizer = dict(type='AdamW',", "  é='𝄞',", "  weight_decay=None)"],
    }
    text = end.join(texts[kind]).replace("{}", "")
    (finding,) = findings(kind, text)
    assert (finding.line, finding.column) == (4, {"yaml": 17, "python": 16}[kind])


def test_yaml_is_read_alike_with_and_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    yaml = pytest.importorskip("yaml")
    texts = [text for kind, text, *_ in [*PROBLEMS.values(), *PEACE.values(), *UNCLEAR.values()] if kind == "yaml"]

    def spots(text: str) -> list[tuple[Any, ...]]:
        return [(f[:8], getattr(f.spot, "start", 0), getattr(f.spot, "end", 0)) for f in findings("yaml", text)]

    fast = [spots(text) for text in texts]
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert [spots(text) for text in texts] == fast
