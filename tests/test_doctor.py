"""doctor says in words and as data what a job started here would meet."""

from __future__ import annotations

import json
import sys
import types

import pytest
import torch

from shim import doctor


@pytest.fixture
def examine(python):
    def run(*arguments, **options):
        options.setdefault("door", "src")
        result = python(["-m", "shim", "doctor", *arguments], **options)
        assert "Traceback" not in result.stderr, result.stderr
        return result

    return run


def as_data(result):
    return json.loads(result.stdout)


def test_where_all_is_well_it_says_so_and_exits_with_0(examine):
    result = examine()
    assert result.returncode == 0, result.stdout
    assert result.stdout.endswith("\nA job is guarded here.\n")
    assert torch.__version__ in result.stdout
    too_long = [line for line in result.stdout.splitlines() if len(line) > 80]
    assert all("/" in line for line in too_long), "only a path may be longer"
    assert "\x1b" not in result.stdout


def test_the_data_say_the_same(examine, checkout):
    found = as_data(examine("--json"))
    assert found["guarded"] and not found["obstacles"]
    assert found["torch"]["version"] == torch.__version__
    assert {door["door"]: door["works"] for door in found["doors"]} == {
        "run": True,
        "PYTHONPATH": True,
        "preimport": True,
    }
    assert {patch["patch"]: patch["state"] for patch in found["torch"]["patches"]}["adamw"] == "applied"
    documented = (checkout / "docs" / "doctor.md").read_text()
    for key in [*found, *(f"torch.{key}" for key in found["torch"])]:
        assert f"`{key}`" in documented or f"`{key}." in documented, key


def test_without_a_torch_it_says_which_error_and_exits_with_1(examine, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcuda is lost')")
    result = examine(cwd=tmp_path)
    assert result.returncode == 1
    assert "torch   none: ImportError: libcuda is lost" in result.stdout


@pytest.mark.parametrize(
    "env, sentence",
    [
        ({"SHIM_DISABLE": "1"}, "SHIM_DISABLE is set: shim is off"),
        ({"SHIM_STRICT": "1"}, "SHIM_STRICT is set: a None is an error, not repaired"),
        ({"SHIM_SKIP": "adam,adamw"}, "SHIM_SKIP is set: patches are left out: adam,adamw"),
    ],
)
def test_a_switch_that_turns_the_guards_off_is_named(examine, env, sentence):
    result = examine("--json", env=env)
    assert result.returncode == 1
    assert sentence in as_data(result)["obstacles"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 brought PYTHONSAFEPATH")
def test_a_safe_path_is_named_and_stops_no_door(examine):
    result = examine("--json", env={"PYTHONSAFEPATH": "1"})
    assert result.returncode == 0, result.stderr
    assert "PYTHONSAFEPATH is set" in " ".join(as_data(result)["obstacles"])


def test_a_sitecustomize_in_front_of_ours_is_named(examine, tmp_path, checkout):
    (tmp_path / "sitecustomize.py").write_text("")
    path = f"{tmp_path}:{checkout}:{checkout / 'src'}"
    found = as_data(examine("--json", env={"PYTHONPATH": path}))
    assert any(f"{tmp_path}/sitecustomize.py stands in front of ours" in sentence for sentence in found["obstacles"])


def test_another_tools_patch_on_the_same_target_is_named(examine, tmp_path, checkout):
    (tmp_path / "sitecustomize.py").write_text(
        "import torch.optim\n"
        "original = torch.optim.Adam.__init__\n"
        "def __init__(self, *args, **kwargs):\n    original(self, *args, **kwargs)\n"
        "torch.optim.Adam.__init__ = __init__\n"
    )
    found = as_data(examine("--json", env={"PYTHONPATH": f"{tmp_path}:{checkout / 'src'}"}))
    assert "torch is imported while Python starts" in " ".join(found["obstacles"])
    assert "another tool has patched torch.optim.adam:Adam, its constructor, in sitecustomize" in " ".join(
        found["obstacles"]
    )


@pytest.mark.parametrize("option", ["-E", "-S", "-I"])
def test_an_option_that_keeps_sitecustomize_out_is_named(option, monkeypatch):
    flags = {"-I": "isolated", "-E": "ignore_environment", "-S": "no_site"}
    values = {name: name == flags[option] for name in flags.values()}
    monkeypatch.setattr(sys, "flags", types.SimpleNamespace(**values))
    assert any(f"runs with {option}" in sentence for sentence in doctor._obstacles({}))


def test_a_report_at_exit_says_which_guards_fired(python):
    code = """
        import torch
        for _ in range(2):
            torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
    """
    result = python(code, env={"SHIM_REPORT": "1", "PYTHONWARNINGS": "ignore"})
    assert "AdamW got weight_decay=None in its arguments, at <string>:4, 2x\n" in result.stderr
    assert python("import torch", env={"SHIM_REPORT": "1"}).stderr.endswith("the guards found no weight_decay=None\n")


@pytest.mark.parametrize(
    "message, patch",
    [
        ("TypeError: unsupported operand type(s) for *: 'float' and 'NoneType'", "adamw"),
        ("TypeError: '<=' not supported between instances of 'float' and 'NoneType'", "adamw"),
        ("TypeError: add(): argument 'alpha' must be Number, not NoneType", "adamw"),
        ("ModuleNotFoundError: No module named 'torch._six'", "torch._six"),
        ("AttributeError: module 'torch' has no attribute '_six'", "torch._six"),
        ("ImportError: cannot import name 'LRScheduler' from 'torch.optim.lr_scheduler' (x.py)", "lr_scheduler"),
        ("The provided lr scheduler `StepLR` doesn't follow PyTorch's LRScheduler API. You should", "lr_scheduler"),
        ("TypeError: StepLR.__init__() got an unexpected keyword argument 'verbose'", "verbose"),
        ("AssertionError: If capturable=False, state_steps should not be\n  CUDA tensors.", "state_steps"),
        ("API has changed, `state_steps` argument must contain a list of singleton tensors", "resume"),
        ("KeyError: 'foreach'", "resume"),
        ("ValueError: betas must be either both floats or both Tensors", "numbers"),
        ("'<=' not supported between instances of 'float' and 'str'", "numbers"),
    ],
)
def test_a_message_is_explained_by_the_patch_that_answers_it(message, patch, capsys):
    assert doctor.main(["--explain", message]) == 0
    names, *rest = capsys.readouterr().out.split("\n    ")
    assert patch in names.replace(",", " ").split()
    optional = patch != "adamw"
    assert (f"SHIM_PATCHES={patch}" in "".join(rest)) == optional


def test_a_message_that_no_patch_answers_is_not_explained(examine):
    result = examine("--explain", "RuntimeError: CUDA out of memory")
    assert (result.returncode, result.stdout) == (1, "No patch answers this message.\n")


def test_every_optional_patch_says_which_messages_it_answers():
    from shim.patches import optional

    assert all(patch.answers and patch.optional for patch in optional.PATCHES)
