"""Through each door, in real processes, the guards are active, and nothing else is different."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

#: A program that fails at its second line without guards, and prints the weight decay with them.
DIES = """
import torch
optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
print("weight decay", optimizer.param_groups[0]["weight_decay"])
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(DIES)
    return path


def interpreters():
    """Find a Python of each supported minor release on this machine."""
    for minor in range(8, 16):
        name = f"3.{minor}"
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{name}.*/bin/python"))
        found = str(pyenv[-1]) if pyenv else shutil.which("python" + name)
        missing = pytest.mark.skip(reason=f"no Python {name} on this machine")
        yield pytest.param(found, id=name, marks=[] if found else [missing])


every_interpreter = pytest.mark.parametrize("executable", list(interpreters()))


class TestEveryDoor:
    def test_without_a_door_the_program_dies_of_a_type_error(self, python, script):
        result = python([script], door=None)
        assert result.returncode == 1
        assert "TypeError" in result.stderr

    def test_run_guards_the_program(self, python, script):
        result = python(["-m", "shim", "run", script], door="src")
        assert result.stdout == "weight decay 0.0\n", result.stderr
        assert "train.py:3: NoneWeightDecayWarning: AdamW got weight_decay=None" in result.stderr

    def test_pythonpath_guards_the_program(self, python, script):
        result = python([script], door="sitecustomize")
        assert result.stdout == "weight decay 0.0\n", result.stderr

    def test_preimport_guards_the_program(self, python, script):
        script.write_text("import preimport\n" + DIES)
        result = python([script], door="src")
        assert result.stdout == "weight decay 0.0\n", result.stderr

    def test_preimport_after_torch_patches_at_once_and_reports_late(self, python, script):
        code = "import torch\nfrom torch.optim import AdamW\nimport preimport, shim\nprint(shim.status().late)\n"
        script.write_text(code + DIES)
        result = python([script], door="src")
        assert result.stdout == "True\nweight decay 0.0\n", result.stderr
        assert "late" in python(code + "print(shim.status())", door="src").stdout

    def test_all_doors_together_arm_once(self, python, script):
        script.write_text(
            "import preimport, sys, shim\n" + DIES + "shim.activate()\n"
            "print(sum(hasattr(finder, '_shim') for finder in sys.meta_path), shim.status().door)"
        )
        result = python(["-m", "shim", "run", script], door="src")
        assert result.stdout.endswith("\n1 sitecustomize\n"), result.stdout + result.stderr


class TestCosts:
    @every_interpreter
    def test_arming_loads_no_module_that_bare_python_does_not_load(self, python, executable):
        code = "import sys; print(sorted(sys.modules))"
        bare = eval(python(code, door=None, executable=executable).stdout)
        armed = eval(python(code, door="sitecustomize", executable=executable).stdout)
        assert set(armed) - set(bare) == {"sitecustomize"} - set(bare)

    @every_interpreter
    def test_the_doors_work_without_a_torch_on_every_interpreter(self, python, executable):
        code = "import sys, os; print(len(sys.meta_path)); import json, email; print('fine', sys.path[1:])"
        bare = python(code, door=None, executable=executable)
        armed = python(code, door="sitecustomize", executable=executable)
        run = python(["-m", "shim", "run", "-c", code], door="src", executable=executable)
        assert armed.stdout.splitlines()[1:] == bare.stdout.splitlines()[1:]
        assert int(armed.stdout.split()[0]) == int(bare.stdout.split()[0]) + 1 == int(run.stdout.split()[0])
        assert armed.stderr == run.stderr == bare.stderr == ""

    def test_import_shim_loads_neither_torch_nor_slow_modules(self, python):
        code = """
            import shim, sys
            heavy = {"torch", "wrapt", "packaging", "logging", "typing", "inspect", "argparse", "importlib.util"}
            print(sorted(heavy & set(sys.modules)))
        """
        bare = "import sys; print(sorted({'typing', 'inspect', 'importlib.util'} & set(sys.modules)))"
        assert python(code, door="src").stdout == python(bare, door=None).stdout

    def test_a_program_without_torch_is_left_alone(self, python):
        code = "import sys, logging; print('torch' in sys.modules, 'shim' in sys.modules)"
        assert python(code).stdout == "False False\n"


class TestSwitches:
    def test_disable_turns_everything_off(self, python, script):
        off = {"SHIM_DISABLE": "1"}
        code = "import sys; print(sorted(sys.modules), [type(finder) for finder in sys.meta_path])"
        outputs = [python(code, **door).stdout for door in ({"env": off}, {"door": None})]
        # Some systems have a sitecustomize of their own.
        ours, bare = (output.replace("'sitecustomize', ", "") for output in outputs)
        assert ours == bare
        call = "import shim; shim.activate(); print(shim.status().door)"
        assert python(call, door="src", env=off).stdout == "None\n"
        for door in ("sitecustomize", "src"):
            assert "TypeError" in python([script], door=door, env=off).stderr

    def test_skip_leaves_a_patch_out(self, python, script):
        result = python([script], env={"SHIM_SKIP": "adam, adamw"})
        assert "TypeError" in result.stderr
        code = "import torch, shim; print([o.reason for o in shim.status().outcomes if o.patch == 'adamw'])"
        assert python(code, env={"SHIM_SKIP": "adamw"}).stdout == "['left out by SHIM_SKIP']\n"

    def test_skip_with_an_unknown_name_lists_the_known_names(self, python):
        result = python("import torch", env={"SHIM_SKIP": "adamx"})
        assert result.returncode == 0
        assert "SHIM_SKIP names 'adamx', which is not a patch; did you mean adam" in result.stderr
        assert "There are: adafactor, muon, " in result.stderr
        assert len(result.stderr) < 2000  # rows by their families

    def test_strict_is_an_error_at_the_users_line(self, python, script):
        result = python([script], env={"SHIM_STRICT": "1"})
        assert result.returncode == 1
        assert "AdamW got weight_decay=None in its arguments. Give it a number" in result.stderr

    def test_an_unknown_log_level_is_reported_once(self, python):
        result = python("import torch, torch.utils.data", env={"SHIM_LOG": "loud"})
        assert result.stderr == "SHIM_LOG=loud is not a level; there are: debug, info, warning, error\n"

    def test_log_shows_the_patches(self, python):
        assert (
            "shim: adamw: applied (torch.optim.adamw: AdamW" in python("import torch", env={"SHIM_LOG": "info"}).stderr
        )
        assert python("import torch").stderr == ""

    @pytest.mark.parametrize("value", ["", "0", "false", "no", "off", "²", "nonsense"])
    def test_a_switch_set_to_no_is_off(self, python, script, value):
        assert python([script], env={"SHIM_DISABLE": value, "SHIM_STRICT": value}).returncode == 0


class TestTheProgramIsUnchanged:
    def test_sys_path_and_the_modules_loaders_are_as_without_shim(self, python):
        code = """
            import sys, torch.optim
            module = sys.modules["torch.optim"]
            print(type(module.__loader__), module.__spec__.loader is module.__loader__)
        """
        assert python(code).stdout == python(code, door=None).stdout
        paths = "import sys; print(sys.path)"
        assert python(paths).stdout == python(paths, door=None).stdout

    def test_a_project_with_a_shim_of_its_own_keeps_it_and_is_guarded(self, python, script, tmp_path):
        (tmp_path / "shim.py").write_text("mine = 'the own one'\n")
        script.write_text(DIES + "import shim; print(shim.mine)")
        result = python([script])
        assert result.stdout == "weight decay 0.0\nthe own one\n", result.stderr

    def test_of_two_copies_of_shim_the_armed_one_is_imported(self, python, checkout, tmp_path):
        shutil.copytree(checkout / "src" / "shim", tmp_path / "installed" / "shim")
        path = f"{checkout}:{tmp_path / 'installed'}"
        for code in ("import torch, shim", "import shim, torch"):
            result = python(code + "; print(shim.status().active, shim.__file__)", env={"PYTHONPATH": path})
            assert result.stdout == f"True {checkout / 'src' / 'shim' / '__init__.py'}\n", result.stderr

    def test_shim_can_be_imported_behind_a_bare_checkout(self, python):
        result = python("import shim; print(shim.status().door); import preimport")
        assert result.stdout == "sitecustomize\n", result.stderr

    def test_child_processes_are_guarded(self, python, script):
        code = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, {str(script)!r}]))"
        assert python(["-m", "shim", "run", "-c", code], door="src").stdout == "weight decay 0.0\n"

    @pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
    def test_multiprocessing_workers_are_guarded(self, python, script, method):
        script.write_text(
            f"""
import multiprocessing, torch
def work(weight_decay):
    return torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=weight_decay).defaults["weight_decay"]
if __name__ == "__main__":
    with multiprocessing.get_context("{method}").Pool(1) as pool:
        print(pool.map(work, [None, 0.5]))
"""
        )
        assert python([script]).stdout == "[0.0, 0.5]\n"


class TestNeighbours:
    def test_a_shadowed_sitecustomize_runs_once_and_is_the_one_that_programs_see(self, python, tmp_path, checkout):
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        (theirs / "sitecustomize.py").write_text("print('theirs')\nmark = 1\n")
        path = f"{checkout}:{theirs}"
        result = python(
            "import sitecustomize, sys; print(sitecustomize.mark, len(sys.meta_path))",
            env={"PYTHONPATH": path},
        )
        armed = python("import sys; print(len(sys.meta_path))").stdout
        assert result.stdout == f"theirs\n1 {armed}", result.stderr

    def test_errors_of_a_shadowed_sitecustomize_are_reported(self, python, tmp_path, checkout):
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        (theirs / "sitecustomize.py").write_text("raise ValueError('from theirs')\n")
        code = "import sys; print(hasattr(sys.meta_path[0], '_shim'))"
        with_shim = python(code, env={"PYTHONPATH": f"{checkout}:{theirs}"})
        without = python(code, door=None, env={"PYTHONPATH": str(theirs)})
        assert with_shim.stderr == without.stderr != ""
        assert with_shim.stdout == "True\n"

    def test_another_environment_is_left_alone(self, python, tmp_path, checkout):
        site_packages = tmp_path / "env" / "lib" / "python3.99" / "site-packages"
        shutil.copytree(checkout / "src" / "shim", site_packages / "shim")
        door = {"PYTHONPATH": str(site_packages / "shim" / "site")}
        code = "import sys; print(hasattr(sys.meta_path[0], '_shim'), sys.path)"
        bare = python(code, door=None)
        foreign = python(code, door=None, env=door)
        assert (foreign.stdout, foreign.stderr) == (bare.stdout, "")
        own = {"PYTHONPATH": door["PYTHONPATH"] + ":" + str(site_packages)}
        assert python(code, door=None, env=own).stdout.startswith("True")

    def test_an_unsupported_python_is_left_alone(self, python, checkout):
        old = sorted(Path.home().glob(".pyenv/versions/2.7.*/bin/python")) or [shutil.which("python2.7")]
        if not old[0]:
            pytest.skip("no Python 2.7 on this machine")
        result = python("import sys; print(sys.version_info[0], len(sys.meta_path))", executable=old[0])
        assert (result.stdout, result.stderr) == ("(2, 0)\n", "")


class TestFailure:
    """An error inside shim does not stop the program."""

    @pytest.fixture
    def broken(self, tmp_path, checkout):
        """Return a function that makes a copy of the checkout with a file replaced, and the PYTHONPATH to it."""

        def make(file, text):
            copy = tmp_path / "copy"
            shutil.copytree(checkout / "src", copy / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
            shutil.copy(checkout / "sitecustomize.py", copy)
            (copy / "src" / "shim" / file).write_text(text)
            return {"PYTHONPATH": str(copy)}

        return make

    def test_an_import_hook_that_cannot_be_loaded_does_not_stop_the_program(self, python, broken):
        result = python("print('fine')", env=broken("import_hook.py", "raise MemoryError('x')"))
        assert (result.stdout, result.stderr, result.returncode) == ("fine\n", "", 0)

    def test_a_layout_that_cannot_be_loaded_does_not_stop_the_program(self, python, broken):
        result = python("import torch; print('fine')", env=broken("layout.py", "import no_such_module"))
        assert (result.stdout, result.returncode) == ("fine\n", 0)
        assert result.stderr == (
            "shim: torch runs without guards, because of an error in shim, "
            "ModuleNotFoundError: No module named 'no_such_module'; please report it\n"
        )

    def test_strict_applies_to_none_and_not_to_errors_of_shim(self, python, broken):
        env = broken("layout.py", "import no_such_module")
        result = python("import torch", env={**env, "SHIM_STRICT": "1"})
        assert result.returncode == 0 and "torch runs without guards" in result.stderr

    def test_a_torch_optim_whose_first_import_fails_is_guarded_after_the_second(self, python):
        code = """
            import sys
            import torch, shim
            scheduler = sys.modules["torch.optim.lr_scheduler"]
            for name in [name for name in sys.modules if name.startswith("torch.optim")]:
                del sys.modules[name]
            sys.modules["torch.optim.lr_scheduler"] = None  # the import fails half way
            try:
                import torch.optim
            except ImportError as error:
                print("failed")
            for name in [name for name in sys.modules if name.startswith("torch.optim")]:
                del sys.modules[name]
            import torch.optim
            new = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
            print(new.defaults["weight_decay"])
        """
        result = python(code)
        assert result.stdout == "failed\n0.0\n", result.stderr
