"""An error inside shim leaves the program as it is without shim, and doctor reports the error."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from shim.launch import SITE

DIES = "import torch; torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None)"
RUNS = "import torch; print(torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=0.5).defaults['lr'])"


@pytest.fixture
def copy(tmp_path, checkout):
    """Copy the checkout, so that the test can break files of the copy."""
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns("*.so", "__pycache__", "site")
    shutil.copytree(str(checkout / "src"), str(copy / "src"), ignore=ignored)
    shutil.copy(str(checkout / "sitecustomize.py"), str(copy))
    return copy


class TestPlaces:
    def test_a_read_only_installation_guards_and_is_not_written_to(self, python, copy):
        for directory in (copy, copy / "src", *(copy / "src").glob("**/")):
            if not (directory / "__pycache__").exists():
                (directory / "__pycache__").write_text("root may write everywhere, but not a directory over a file")
        before = sorted(str(path) for path in copy.glob("**/*"))
        result = python("import torch, shim; print(shim.status().active)", env={"PYTHONPATH": str(copy)})
        assert (result.stdout, result.stderr) == ("True\n", "")
        assert sorted(str(path) for path in copy.glob("**/*")) == before

    @pytest.mark.parametrize("path", ["/a", "relative:/a", ":/a"])
    def test_a_deleted_current_directory_ends_the_same_with_and_without_shim(self, python, tmp_path, path, checkout):
        """Newer Pythons do not start in a deleted directory if PYTHONPATH is relative, with and without shim."""
        code = "import sys; print([entry for entry in sys.path if 'lib' not in entry])"
        move = f'mkdir gone; cd gone; rmdir ../gone; exec {sys.executable} "$@"'

        def start(*words, path):
            result = python(["-c", move, "sh", *words], executable="/bin/sh", door=None, env={"PYTHONPATH": path})
            return result.stdout, result.stderr.partition("thread")[0], result.returncode

        plain = start("-c", code, path=path)
        assert start("-c", code, path=path + os.pathsep + SITE) == plain
        if plain[2] == 0:
            src = path + os.pathsep + str(checkout / "src")
            assert start("-m", "shim", "run", "-c", code, path=src) == start("-c", code, path=src)

    def test_closed_standard_streams_do_not_stop_the_program(self, python):
        run = ["-c", f'exec {sys.executable} "$@" <&- >&- 2>&-', "sh"]
        code = f"import os; {RUNS.replace('print', 'str')}; os._exit(9)"
        assert python([*run, "-c", code], executable="/bin/sh", env={"SHIM_LOG": "debug"}).returncode == 9
        assert python([*run, "-m", "shim", "run", "-c", code], executable="/bin/sh", door="src").returncode == 9


class TestBrokenDependencies:
    @pytest.mark.parametrize(
        "fault", ["raise ImportError('broken')", "1 +", "import no_such_module", "raise MemoryError"]
    )
    @pytest.mark.parametrize("package", ["packaging", "wrapt"])
    def test_a_broken_package_of_the_project_does_not_stop_the_guards(self, python, tmp_path, package, fault):
        (tmp_path / "own" / package).mkdir(parents=True)
        (tmp_path / "own" / package / "__init__.py").write_text(fault + "\n")
        env = {"PYTHONPATH": os.pathsep.join([SITE, str(tmp_path / "own")])}
        if python(RUNS, env={**env, "SHIM_DISABLE": "1"}).returncode != 0:
            pytest.skip("this torch needs packaging, too")
        result = python(RUNS, env=env)
        assert (result.stdout, result.stderr, result.returncode) == ("0.001\n", "", 0)
        assert "TypeError" not in python(DIES, env=env).stderr

    def test_a_broken_wrapt_does_not_stop_the_guards(self, python, tmp_path):
        (tmp_path / "wrapt.py").write_text("raise ImportError('the C extension is for another Python')\n")
        result = python("import torch, shim; print(shim.status().active, shim.status().error)", cwd=tmp_path)
        assert result.stdout == "True None\n", result.stderr

    def test_doctor_says_what_broke(self, python, copy):
        layout = copy / "src" / "shim" / "layout.py"
        layout.write_text(layout.read_text() + "\n\ndef probe():\n    raise MemoryError('no memory for shim')\n")
        result = python(["-m", "shim", "doctor", "--json"], door=None, env={"PYTHONPATH": str(copy / "src")})
        assert result.returncode == 1
        assert "no memory for shim" in result.stdout, result.stdout + result.stderr
        assert json.loads(result.stdout)["guarded"] is False

    def test_doctor_says_which_patch_failed(self, python, copy):
        guards = copy / "src" / "shim" / "guards.py"
        guards.write_text(guards.read_text() + "\n\ndef step(*args):\n    raise OSError('a full disk')\n")
        result = python(["-m", "shim", "doctor"], door=None, env={"PYTHONPATH": str(copy / "src"), "COLUMNS": "500"})
        assert result.returncode == 1
        assert "sgd failed: OSError: a full disk" in " ".join(result.stdout.split())
        program = python(RUNS, door=None, env={"PYTHONPATH": str(copy)})
        assert (program.stdout, program.returncode) == ("0.001\n", 0)


#: Raises at the n-th event inside shim's files, activates again, and prints what is left in each case. Runs in one
#: process for all n, because importing torch is slow. Under test is shim's reaction to the arrival of torch.
SWEEP = """
import json, sys, warnings
import torch, torch.optim
import shim
from shim import activation, import_hook

warnings.simplefilter("ignore")
fault = {"KeyboardInterrupt": KeyboardInterrupt, "MemoryError": MemoryError}[sys.argv[1]]
kinds = sys.argv[2].split(",")

def originals():
    found = []
    for name in sorted(name for name in sys.modules if name.startswith("torch.optim")):
        for key, value in sorted(vars(sys.modules[name]).items(), key=lambda item: item[0]):
            if isinstance(value, type) and value.__module__.startswith("torch.optim"):
                found += [(name, key, method, vars(value).get(method)) for method in ("__init__", "step")]
            elif callable(value):
                found.append((name, key, "", value))
    return found

def build(weight_decay):
    return torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=weight_decay)

def guarded():
    try:
        return build(None).defaults["weight_decay"]
    except TypeError:
        return None

class Tracer:
    def __init__(self, at):
        self.left = at
    def __call__(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(import_hook.PACKAGE):
            return None
        if event in kinds:
            self.left -= 1
            if self.left == 0:
                raise fault
        return self

def attempt(action, at):
    tracer = Tracer(at)
    sys.settrace(tracer)
    try:
        action()
        outcome = "quiet"
    except fault:
        outcome = "raised"
    finally:
        sys.settrace(None)
    return outcome, tracer.left > 0

build(0.0)  # at the first one, torch wraps the step of the class
shim.activate(); shim.deactivate()  # whatever is imported by now stays imported
before = originals()
problems, points, number, outcomes = [], 0, 2, set()  # the first event is the call of shim itself
sys.stderr = None
while True:
    import_hook.state["door"] = "sitecustomize"
    outcome, past_the_end = attempt(lambda: import_hook.arrived("torch.optim"), number)
    if past_the_end:
        break
    points += 1
    outcomes.add(outcome)
    state = guarded()
    failed = [each.patch for each in shim.status().outcomes if each.state == "failed"]
    if outcome == "quiet" and shim.status().error is None and state != 0.0 and failed != ["adamw"]:
        problems.append((number, "quiet, without an error, and not guarded"))
    if shim.status().error is not None and state is not None:
        problems.append((number, "failed, and guarded all the same"))
    shim.activate()
    if guarded() != 0.0 or shim.status().error:
        problems.append((number, "cannot be tried again", str(shim.status().error)))
    shim.deactivate()
    if guarded() is not None:
        problems.append((number, "guarded after deactivate"))
    changed = [a[:3] for a, b in zip(originals(), before) if a[3] is not b[3]]
    if changed:
        problems.append((number, "not the original", changed[:3]))
    number += max(1, number // int(sys.argv[3]))
print(json.dumps({"points": points, "last": number, "outcomes": sorted(outcomes), "problems": problems[:20]}))
"""


#: Raises at the n-th executed line of shim's two files that are part of the import system, and prints how the import of
#: the program ended. Each n has a fork, and torch is a package that is imported quickly. The first line of a function
#: that Python calls is left out: an error there has the same effect as if Python had not called the function.
IMPORT_SWEEP = """
import json, os, sys
import importlib.metadata, logging, typing  # shim imports them; now they need not be imported in every fork

fault = {"KeyboardInterrupt": KeyboardInterrupt, "MemoryError": MemoryError}[sys.argv[1]]
OURS = ("/sitecustomize.py", "/shim/import_hook.py")

class Tracer:
    def __init__(self, at):
        self.seen, self.at, self.where = 0, at, None
    def __call__(self, frame, event, arg):
        code, caller = frame.f_code, frame.f_back.f_code
        if not code.co_filename.endswith(OURS):
            return None
        python_calls = code.co_name != "<module>" and not caller.co_filename.endswith(OURS)
        return self.first_line if python_calls else self.line
    def first_line(self, frame, event, arg):
        return self.line
    def line(self, frame, event, arg):
        if event == "line":
            self.seen += 1
            if self.seen == self.at:
                self.where = frame.f_code.co_name, frame.f_lineno
                raise fault
        return self.line

def attempt(at):
    sys.stderr = None
    tracer = Tracer(at)
    sys.settrace(tracer)
    try:
        import torch.optim
        outcome = "quiet"
    except BaseException as error:
        outcome = type(error).__name__
    sys.settrace(None)
    there = "torch.optim" in sys.modules
    import torch.optim
    return [tracer.where, outcome, there, torch.optim.mark, type(torch.optim.__loader__).__name__,
            torch.optim.__spec__.loader is torch.optim.__loader__, tracer.seen]

def in_a_fork(at):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, json.dumps(attempt(at)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        found = json.load(file)
    os.wait()
    return found

points = in_a_fork(0)[-1]
print(json.dumps([in_a_fork(at)[:-1] for at in range(1, points + 1)]))
"""


class TestAnyPointOfTheImport:
    #: Functions that only call another function, which catches errors. A MemoryError in their own lines is like one in
    #: Python's import system.
    HAND_ON = ("find_spec", "hand_over", "create_module", "exec_module", "arrived", "_failed", "switched_on")

    @pytest.mark.parametrize("fault", ["KeyboardInterrupt", "MemoryError"])
    def test_an_error_inside_shim_stays_inside_and_ctrl_c_reaches_the_program(
        self, python, tmp_path, fake_torch, fault
    ):
        (fake_torch / "torch" / "optim" / "__init__.py").write_text("mark = 'original'\n")
        (tmp_path / "sweep.py").write_text(IMPORT_SWEEP)
        result = python(["sweep.py", fault], env={"PYTHONPATH": SITE + os.pathsep + str(fake_torch)})
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        if fault == "MemoryError":
            found = [each for each in found if each[0][0] not in self.HAND_ON]
        assert len(found) > 100
        ends = {"KeyboardInterrupt": ["KeyboardInterrupt", False], "MemoryError": ["quiet", True]}[fault]
        assert [each for each in found if each[1:] != [*ends, "original", "SourceFileLoader", True]] == []

    def test_an_import_hook_that_cannot_be_loaded_leaves_torch_unguarded(self, python, copy, fake_torch):
        (copy / "src" / "shim" / "import_hook.py").write_text("raise MemoryError('no memory for shim')\n")
        env = {"PYTHONPATH": os.pathsep.join(map(str, [copy, fake_torch]))}
        result = python("import torch.optim; print(torch.optim.mark)", env=env)
        assert (result.stdout, result.returncode) == ("torch.optim runs\noriginal\n", 0)
        assert result.stderr == (
            "shim: torch runs without guards, because of an error in shim, MemoryError: no memory for shim; "
            "please report it\n"
        )
        doctor = python(["-m", "shim", "doctor"], env={"PYTHONPATH": str(copy / "src")})
        assert doctor.returncode == 1
        assert doctor.stdout == (
            "doctor cannot start: MemoryError: no memory for shim\nA job is NOT guarded here.\n"
        ), doctor.stderr

    def test_a_ctrl_c_reaches_the_program_and_the_status(self, python, copy):
        layout = copy / "src" / "shim" / "layout.py"
        layout.write_text(layout.read_text() + "\n\ndef probe():\n    raise KeyboardInterrupt\n")
        code = """
            import torch
            print("not reached")
        """
        late = f"try:\n    {RUNS.partition(';')[0]}\nexcept KeyboardInterrupt:\n    from shim import import_hook\n"
        result = python(late + "    print(type(import_hook.state['error']).__name__)", env={"PYTHONPATH": str(copy)})
        assert result.stdout == "KeyboardInterrupt\n", result.stderr
        assert python(code, env={"PYTHONPATH": str(copy)}).stdout == ""


class TestAnyPointOfTheActivation:
    @pytest.mark.parametrize("fault", ["KeyboardInterrupt", "MemoryError"])
    def test_an_error_leaves_all_or_nothing_and_activation_can_be_repeated(self, python, tmp_path, fault):
        """A patch that fails is undone completely, and its outcome says so. The other patches may stay."""
        (tmp_path / "sweep.py").write_text(SWEEP)
        result = python(["sweep.py", fault, "call", "8"], door="src")
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        assert found["points"] > 50
        assert found["problems"] == []
        assert found["outcomes"] == {"KeyboardInterrupt": ["raised"], "MemoryError": ["quiet"]}[fault]
