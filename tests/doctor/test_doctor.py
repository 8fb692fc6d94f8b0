"""doctor reports, as text and as JSON, what shim does for a job that is started in this environment."""

from __future__ import annotations

import json
import os
import re
import sys
import venv

import pytest
import torch

from shim import launch
from shim.doctor import examination, look, words

#: Starts doctor like the command `shim`, which does not look for packages in the current directory.
LIKE_THE_COMMAND = """
import sys
sys.path.remove("")
from shim.__main__ import main
sys.exit(main(["doctor"]))
"""


def as_data(result):
    return json.loads(result.stdout)


def states(found):
    return {patch["patch"]: patch["state"] for patch in found["torch"]["patches"]}


#: Prints one examination as JSON and as text. An examination is slow.
BOTH = """
import functools, sys
from shim import doctor
from shim.__main__ import main
doctor.examine = functools.lru_cache()(doctor.examine)
main(["doctor", "--json"])
print("in words")
main(["doctor"])
print("all of it")
sys.exit(main(["doctor", "--verbose"]))
"""


def test_a_guarded_job_is_reported_as_text_and_data_with_exit_code_0(python, checkout):
    result = python(BOTH, door="src")
    assert result.returncode == 0, result.stdout + result.stderr
    data, _, both = result.stdout.partition("in words\n")
    short, _, verbose = both.partition("all of it\n")
    assert short.startswith("A job is guarded here: python -m shim run YOUR_SCRIPT.py\n")
    assert verbose.startswith(short)
    assert torch.__version__ in short
    assert len(short.splitlines()) < 25
    too_long = [line for line in verbose.splitlines() if len(line) > 80]
    assert all("/" in line for line in too_long), "only a path may be longer"
    assert "\x1b" not in verbose and "\r" not in result.stderr

    found = json.loads(data)
    assert found["guarded"] and not found["obstacles"]
    assert found["torch"]["version"] == torch.__version__
    assert {door["door"]: door["works"] for door in found["doors"]} == {
        "run": True,
        "PYTHONPATH": True,
        "preimport": True,
    }
    assert states(found)["adamw"] == "applied"
    assert all(re.search(rf"^  {re.escape(name)} +{state} ", verbose, re.M) for name, state in states(found).items())
    documented = (checkout / "docs" / "doctor.md").read_text()
    within = [f"{name}.{key}" for name in ("python", "torch", "shell") for key in found[name]]
    for key in [*found, *within, *found["torch"]["patches"][0], *found["doors"][0]]:
        assert f"`{key}`" in documented or f"`{key}." in documented, key


class TestWithoutTorch:
    def test_the_error_and_the_remedy_are_printed_with_exit_code_1(self, examine, tmp_path):
        (tmp_path / "torch.py").write_text("raise ImportError('libcuda is lost')")
        result = examine(cwd=tmp_path)
        assert result.returncode == 1
        assert "torch   none: ImportError: libcuda is lost" in result.stdout
        assert f"`{sys.executable} -m pip install torch`" in result.stdout, "a command stays on one line"
        assert "`shim doctor --python " in result.stdout

    def test_another_python_on_the_path_of_the_shell_is_named(self, examine, tmp_path):
        venv.create(str(tmp_path / "mine"), symlinks=True)
        (tmp_path / "torch.py").write_text("raise ImportError('lost')")
        found = as_data(examine("--json", cwd=tmp_path, env={"PATH": f"{tmp_path}/mine/bin:/usr/bin:/bin"}))
        assert f"examine the Python of this shell: `shim doctor --python {tmp_path}/mine/bin/python`" in found["advice"]

    @pytest.mark.parametrize("package", ["packaging", "wrapt"])
    def test_a_package_of_the_project_with_the_name_of_a_dependency_changes_nothing(self, examine, tmp_path, package):
        (tmp_path / f"{package}.py").write_text("raise ImportError('this is the project's own')")
        found = as_data(examine("--json", cwd=tmp_path))
        if "missing" in found["torch"]:
            pytest.skip("this torch needs packaging")
        assert found["guarded"] and found["torch"]["error"] is None


class TestSwitches:
    @pytest.mark.parametrize(
        "env, sentence",
        [
            ({"SHIM_STRICT": "1"}, "SHIM_STRICT is set: a None raises TypeError and is not replaced"),
            ({"SHIM_SKIP": "adam,adamw"}, "SHIM_SKIP is set: the patches that it names are left out"),
        ],
    )
    def test_a_switch_that_turns_guards_off_is_named(self, examine, env, sentence):
        result = examine("--json", env=env)
        assert result.returncode == 1
        assert sentence in as_data(result)["obstacles"]
        assert f"unset {next(iter(env))}" in as_data(result)["advice"]

    @pytest.mark.parametrize("variable", ["SHIM_SKIP", "SHIM_PATCHES"])
    def test_an_unknown_patch_name_is_reported(self, examine, variable):
        family, patch = "torchvision", "adamw"
        found = as_data(examine("--json", env={variable: f"{family}, no_such,{patch},adam_"}))
        assert f"{variable} names unknown patches: no_such, adam_" in found["obstacles"]

    def test_with_shim_disabled_no_patch_is_reported_as_applied(self, examine):
        result = examine("--json", env={"SHIM_DISABLE": "1"})
        found = as_data(result)
        assert result.returncode == 1
        assert "SHIM_DISABLE is set: shim is off" in found["obstacles"]
        assert set(states(found).values()) == {"skipped"}
        assert {door["reason"] for door in found["doors"]} == {"SHIM_DISABLE is set"}

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 brought PYTHONSAFEPATH")
    def test_a_safe_path_is_named_and_closes_no_door(self, examine):
        result = examine("--json", env={"PYTHONSAFEPATH": "1"})
        assert result.returncode == 0, result.stderr
        assert "PYTHONSAFEPATH or -P is set" in " ".join(as_data(result)["obstacles"])


class TestOtherTools:
    def test_shim_does_not_report_itself_as_another_tool(self, examine, checkout):
        for path in (str(checkout), launch.SITE):
            found = as_data(examine("--json", env={"PYTHONPATH": os.pathsep.join([path, str(checkout / "src")])}))
            assert found["torch"]["patched_by_others"] == found["obstacles"] == []
            assert found["guarded"]

    def test_a_sitecustomize_in_front_of_shims_is_named(self, examine, tmp_path, checkout):
        (tmp_path / "sitecustomize.py").write_text("")
        path = f"{tmp_path}:{checkout}:{checkout / 'src'}"
        found = as_data(examine("--json", env={"PYTHONPATH": path}))
        assert any(f"{tmp_path}/sitecustomize.py comes before shim's" in each for each in found["obstacles"])

    def test_a_patch_on_the_same_target_is_named(self, examine, tmp_path, checkout):
        (tmp_path / "sitecustomize.py").write_text(
            "import torch.optim\n"
            "original = torch.optim.Adam.__init__\n"
            "def __init__(self, *args, **kwargs):\n    original(self, *args, **kwargs)\n"
            "torch.optim.Adam.__init__ = __init__\n"
        )
        found = as_data(examine("--json", env={"PYTHONPATH": f"{tmp_path}:{checkout / 'src'}"}))
        obstacles = " ".join(found["obstacles"])
        assert "torch is imported while Python starts" in obstacles
        assert (
            "another tool has patched the constructor of torch.optim.adam:Adam, which is now defined in sitecustomize"
            in obstacles
        )

    def test_a_patch_that_looks_like_the_original_is_named(self, monkeypatch):
        wrapt = pytest.importorskip("wrapt")
        wrapped = wrapt.FunctionWrapper(torch.optim.Adam.step, lambda wrapped, instance, args, kwargs: None)
        monkeypatch.setattr(torch.optim.Adam, "step", wrapped)
        assert any(
            re.search(r"^the step of torch.optim.adam:Adam, which is now defined in \S*FunctionWrapper$", each)
            for each in look.patched_by_others()
        )

    def test_output_of_a_sitecustomize_does_not_confuse_doctor(self, examine, tmp_path, checkout):
        (tmp_path / "sitecustomize.py").write_text(
            "import atexit; print('hello'); atexit.register(print, end='no line end')"
        )
        result = examine("--json", env={"PYTHONPATH": f"{checkout}:{tmp_path}:{checkout / 'src'}"})
        found = json.loads(result.stdout[result.stdout.index("{") : result.stdout.rindex("}") + 1])
        assert "missing" not in found["torch"]


class TestThirdParty:
    def test_an_installed_package_waits_and_a_missing_one_is_not_installed(self, examine, tmp_path):
        (tmp_path / "lion_pytorch").mkdir()
        (tmp_path / "lion_pytorch" / "__init__.py").write_text("raise SystemExit('imported')")
        (tmp_path / "apex").mkdir()  # another package with this name, without the optimizers
        (tmp_path / "apex" / "__init__.py").touch()
        result = examine("--json", cwd=tmp_path)
        rows = {row["patch"]: row for row in as_data(result)["torch"]["patches"]}
        assert rows["lion-pytorch"]["state"] == "waits"
        assert rows["lion-pytorch"]["reason"] == "will be guarded when it is imported (lion_pytorch)"
        assert (rows["apex"]["state"], rows["apex"]["reason"]) == ("skipped", "apex.optimizers is not installed")
        assert rows["adopt"]["state"] == "waits"

    def test_a_package_that_is_left_out_is_reported_as_left_out(self, examine, tmp_path):
        (tmp_path / "lion_pytorch.py").touch()
        found = as_data(examine("--json", cwd=tmp_path, env={"SHIM_SKIP": "lion-pytorch"}))
        assert found["guarded"]
        row = next(row for row in found["torch"]["patches"] if row["patch"] == "lion-pytorch")
        assert (row["state"], row["reason"]) == ("skipped", "left out by SHIM_SKIP")

    @pytest.mark.parametrize("name", ["torch.optim", "json.decoder", "xml.etree.ElementTree"])
    def test_an_installed_module_counts_as_importable(self, name):
        assert look.can_be_imported(name)

    @pytest.mark.parametrize("name", ["torch.no_such", "no_such.torch", "json.decoder.more", "sys.path"])
    def test_a_missing_module_does_not_count_as_importable(self, name):
        assert not look.can_be_imported(name)


def test_another_shim_in_this_directory_is_named(tmp_path, monkeypatch, checkout):
    monkeypatch.chdir(checkout / "src")
    assert list(examination._obstacles({}, [])) == []
    (tmp_path / "shim.py").touch()
    monkeypatch.chdir(tmp_path)
    (sentence,) = examination._obstacles({}, [])
    assert (
        sentence
        == "shim.py is another module called shim, which `python -m shim` runs in this directory: use `shim run`"
    )


def test_where_run_guards_and_another_door_is_closed_a_job_is_guarded(tmp_path, python):
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "__init__.py").touch()
    result = python(LIKE_THE_COMMAND, door="src", cwd=tmp_path)
    assert result.stdout.startswith("A job is guarded here: shim run YOUR_SCRIPT.py\n"), result.stderr
    assert "  - preimport: ImportError: " in result.stdout
    assert result.returncode == 1, "one of the doors is closed"


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
    assert (result.returncode, result.stdout) == (1, words.NO_ANSWER + "\n")


def test_the_training_check_does_not_load_dynamo_and_trains_the_same(python):
    trains = examination.TRAIN + "\nsys.stdout.write(str('torch._dynamo.convert_frame' in sys.modules))"
    result = python(trains)
    assert result.stdout.split("\n")[-2:] == ["[0.0, 0.0]", "False"], result.stderr
    bare = python(trains, door=None)
    assert bare.returncode == 1 and "TypeError" in bare.stderr


#: Rows without a message and without an example. Most have tests of their own in tests/rows; an example of the others
#: would need a compiler, the package onnx, or an optional module.
WITHOUT_EXAMPLE = {
    *("AT_CHECK of load", "ModuleDict.update", "in-place on views of several", "verbose.printed"),
    *("torch.onnx.symbolic_helper._set_opset_version.of 2.9", "torchaudio.functional.spectrogram of pairs"),
    *("torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load_inline"),
    *("torchvision.ops.misc._output_size of DETR", "verbose.printed.ReduceLROnPlateau"),
}


def test_every_row_says_which_messages_it_answers_or_shows_which_result_it_changes():
    from shim import rows

    silent = [row for row in rows.load() if not row.answers]
    assert all(row.targets for row in silent)  # advice without a message would never be printed
    assert {row.name for row in silent if not row.example} == WITHOUT_EXAMPLE
    assert all(row.optional or row.works for row in rows.load() if row.targets)
