"""doctor says in words and as data what a job started here would meet."""

from __future__ import annotations

import json
import os
import re
import sys
import types

import pytest
import torch

from shim import doctor, launch


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


#: Says the same in words and as data, of one examination, which takes its time.
BOTH = """
import functools, sys
from shim import doctor
from shim.__main__ import main
doctor.examine = functools.lru_cache()(doctor.examine)
main(["doctor", "--json"])
print("in words")
sys.exit(main(["doctor"]))
"""


def test_where_all_is_well_it_says_so_and_exits_with_0_and_the_data_say_the_same(python, checkout):
    result = python(BOTH, door="src")
    assert result.returncode == 0, result.stdout + result.stderr
    data, _, words = result.stdout.partition("in words\n")
    assert words.endswith("\nA job is guarded here.\n")
    assert torch.__version__ in words
    too_long = [line for line in words.splitlines() if len(line) > 80]
    assert all("/" in line for line in too_long), "only a path may be longer"
    assert "\x1b" not in words

    found = json.loads(data)
    assert found["guarded"] and not found["obstacles"]
    assert found["torch"]["version"] == torch.__version__
    assert {door["door"]: door["works"] for door in found["doors"]} == {
        "run": True,
        "PYTHONPATH": True,
        "preimport": True,
    }
    assert {patch["patch"]: patch["state"] for patch in found["torch"]["patches"]}["adamw"] == "applied"
    documented = (checkout / "docs" / "doctor.md").read_text()
    within = [f"{name}.{key}" for name in ("python", "torch") for key in found[name]]
    for key in [*found, *within, *found["torch"]["patches"][0], *found["doors"][0]]:
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


def test_another_tools_patch_that_looks_like_the_original_is_named(monkeypatch):
    wrapt = pytest.importorskip("wrapt")
    wrapped = wrapt.FunctionWrapper(torch.optim.Adam.step, lambda wrapped, instance, args, kwargs: None)
    monkeypatch.setattr(torch.optim.Adam, "step", wrapped)
    assert any(
        re.search(r"^torch.optim.adam:Adam, its step, in \S*FunctionWrapper$", each)
        for each in doctor.patched_by_others()
    )


def test_the_options_of_this_python_are_those_of_the_job(examine, python, checkout):
    result = python(["-E", "-m", "shim", "doctor", "--json"], door=None, cwd=checkout / "src")
    found = as_data(result)
    assert result.returncode == 1
    assert any("runs with -E" in sentence for sentence in found["obstacles"])
    run, path, _ = found["doors"]
    assert (run["works"], path["works"]) == (False, False)
    assert "python is run with -E" in run["reason"]


def test_what_is_in_the_way_is_said_where_there_is_no_torch_too(python, checkout):
    result = python(["-S", "-m", "shim", "doctor"], door="src")
    assert result.returncode == 1
    assert "torch   none: ModuleNotFoundError: No module named 'torch'" in result.stdout
    assert "this Python runs with -S: no sitecustomize is read" in result.stdout


def test_all_that_can_be_in_the_way_fits_into_80_columns(monkeypatch, tmp_path):
    for name in ("isolated", "ignore_environment", "no_site", "safe_path"):
        flags = dict.fromkeys(("isolated", "ignore_environment", "no_site", "safe_path"), 0)
        monkeypatch.setattr(sys, "flags", types.SimpleNamespace(**{**flags, name: 1}))
        (sentence,) = doctor._obstacles({})
        assert all(len(line) <= 80 for line in doctor._wrapped("  - ", sentence))
    monkeypatch.undo()
    (tmp_path / "sitecustomize.py").touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), launch.SITE]))
    for name in ("SHIM_DISABLE", "SHIM_STRICT", "SHIM_SKIP"):
        monkeypatch.setenv(name, "adam,adamw," * 20)
    torch = {
        "version": "9.9.9+cpu", "location": "/a/torch", "era": 15, "releases": "2.15", "known": False,
        "imported_at_startup": True, "patched_by_others": ["torch.optim.adam:Adam, its step, in ddtrace"],
        "patches": [{"patch": "a", "state": "applied", "reason": "x " * 90},
                    {"patch": "a long name", "state": "failed", "reason": "OSError: a full disk"}],
        "error": "MemoryError: " + "no memory " * 20,
    }  # fmt: skip
    found = {
        "shim": "1", "python": {"version": "3.8", "executable": "/python"}, "torch": torch, "guarded": False,
        "doors": [{"door": "PYTHONPATH", "works": False, "reason": "TypeError: " + "None " * 40}],
        "obstacles": list(doctor._obstacles(torch)),
    }  # fmt: skip
    assert len(found["obstacles"]) == 7
    lines = doctor.in_words(found)
    assert [line for line in lines if len(line) > 80 and "/" not in line and "adam,adamw" not in line] == []
    columns = {line.index(state) for line in lines for state in ("applied", "failed   ") if line.startswith("  a")
               and state in line}  # fmt: skip
    assert len(columns) == 1


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


def test_a_message_that_no_patch_answers_is_not_explained(examine):
    result = examine("--explain", "RuntimeError: CUDA out of memory")
    assert (result.returncode, result.stdout) == (1, "No patch answers this message.\n")


def test_every_optional_patch_says_which_messages_it_answers():
    from shim.patches import optional

    assert all(patch.answers and patch.optional for patch in optional.PATCHES)
