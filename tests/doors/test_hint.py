"""If a program dies of a known breakage, the command that runs it is printed below its traceback; else nothing is."""

from __future__ import annotations

import builtins
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from shim import hint, rows
from shim.releases import TORCH, Release, is_in, of_the_time, release

HERE = release(torch.__version__).numbers

#: A line that dies on this torch, the row that answers, and the release that the hint names.
if HERE >= (1, 8):
    BREAKS, ROW, RELEASE = "print(tuple(torch.rfft(torch.ones(4), 1).shape))", "torch.rfft", "1.7"
else:
    BREAKS, ROW, RELEASE = "print(torch.compiler.is_compiling())", "torch.compiler", "2.1"
PRINTS = "(3, 2)\n" if HERE >= (1, 8) else "False\n"
DIES = f"import torch\n{BREAKS}\n"

#: An optimizer of the program's own, which computes with a None.
OWN_OPTIMIZER = """
import torch
class Plain(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, weight_decay=0.0, momentum=0.0):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    def step(self, closure=None):
        for group in self.param_groups:
            if closure is not None:
                closure()
            for parameter in group["params"]:
                parameter.data.mul_(1 - group["lr"] * group["weight_decay"])
"""
TAKES_A_STEP = "Plain([torch.nn.Parameter(torch.ones(1))], weight_decay=None).step()\n"


def said(process):
    """Return the hints in what a process wrote to stderr."""
    return re.findall(r"^shim: .*?(?=\n\n|\Z)", process.stderr.rstrip("\n"), re.MULTILINE | re.DOTALL)


def the_command(process):
    """Check the one hint below the traceback, and return its command."""
    (paragraph,) = said(process)
    lines = paragraph.splitlines()
    assert len(lines) <= 5 and lines[-1].startswith("    "), paragraph
    assert process.stderr.index("Traceback") < process.stderr.index(paragraph)
    return lines[-1].strip()


def in_a_shell(command, cwd, path):
    """Run a command as a user would who has copied it into the same shell."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    shell = ["/bin/sh", "-c", command]
    return subprocess.run(shell, env=environment, cwd=str(cwd), capture_output=True, text=True, timeout=300, check=True)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(DIES)
    return path


class TestTheCommandRuns:
    """A shell runs the last line of the hint, and the program runs."""

    def test_a_script(self, python, tmp_path, checkout):
        where = tmp_path / "with spaces; $HOME & 'quotes'"
        where.mkdir()
        (where / "train.py").write_text(DIES + "import sys; print(sys.argv[1:])")
        died = python([where / "train.py", "--name", "it's", "$x", "*"])
        assert died.returncode == 1
        command = the_command(died)
        assert command.startswith(f"{sys.executable} -m shim run --for {RELEASE} '")
        assert in_a_shell(command, tmp_path, checkout).stdout == PRINTS + "['--name', \"it's\", '$x', '*']\n"

    def test_a_module(self, python, script, tmp_path, checkout):
        command = the_command(python(["-m", "train", "-x"]))
        assert command == f"{sys.executable} -m shim run --for {RELEASE} -m train -x"
        assert in_a_shell(command, tmp_path, checkout).stdout == PRINTS

    def test_a_line_of_code(self, python, tmp_path, checkout):
        command = the_command(python(["-W", "ignore", "-c", f"import torch; {BREAKS}", "-v"]))
        assert in_a_shell(command, tmp_path, checkout).stdout == PRINTS

    def test_what_run_started(self, python, script, tmp_path, checkout):
        command = the_command(python(["-m", "shim", "run", "-B", script], door="src"))
        assert command == f"{sys.executable} -m shim run --for {RELEASE} -B {script}"
        assert in_a_shell(command, tmp_path, checkout / "src").stdout == PRINTS

    def test_preimport(self, python, script, tmp_path, checkout):
        script.write_text("import preimport\n" + DIES)
        command = the_command(python([script], door="src"))
        assert command == f"SHIM_FOR={RELEASE} {sys.executable} {script}"
        assert in_a_shell(command, tmp_path, checkout / "src").stdout == PRINTS

    def test_isolated_from_the_environment_preimport_runs_it(self, python, script, tmp_path, checkout):
        script.write_text(f"import sys; sys.path.insert(0, {str(checkout / 'src')!r})\nimport preimport\n" + DIES)
        command = the_command(python(["-I", script], door=None))
        assert command == f"SHIM_FOR={RELEASE} {sys.executable} -I {script}"
        assert in_a_shell(command, tmp_path, "").stdout == PRINTS

    def test_a_project_with_a_shim_of_its_own(self, python, script, tmp_path, checkout):
        (tmp_path / "shim.py").write_text("mine = True\n")
        command = the_command(python([script]))
        assert command == f"SHIM_FOR={RELEASE} {sys.executable} {script}"
        assert in_a_shell(command, tmp_path, checkout).stdout == PRINTS

    def test_a_program_on_stdin_has_no_command_line_to_repeat(self, python):
        command = the_command(python(["-"], input=DIES))
        assert command == f"SHIM_FOR={RELEASE} in front of the command that started the job"

    def test_code_of_many_lines_does_not_become_many_lines(self, python):
        assert the_command(python(["-c", DIES])) == f"{sys.executable} -m shim run --for {RELEASE} -c ..."


class TestWhatIsSaid:
    def test_what_happened_when_and_what_is_installed(self, python, script):
        (paragraph,) = said(python([script]))
        text = " ".join(paragraph.split())
        reason = next(row.reason for row in rows.load() if row.name == ROW)
        assert text.startswith(("shim: " + reason, f"shim: {ROW}: {reason}"))
        since = f"up to {RELEASE}" if HERE >= (1, 8) else f"from {RELEASE} on"
        assert f"Such programs run on torch {since}, and this is torch {'.'.join(map(str, HERE))}" in text

    def test_below_everything_and_with_the_exit_code_and_output_of_before(self, python, script):
        plain, ours = python([script], door=None), python([script])
        assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
        assert ours.stderr.startswith(plain.stderr + "\nshim: ")

    def test_an_optimizer_of_the_programs_own(self, python, script, tmp_path):
        script.write_text(OWN_OPTIMIZER + TAKES_A_STEP)
        died = python([script])
        (paragraph,) = said(died)
        assert died.returncode == 1 and "`shim.guard(Plain)`" in paragraph and len(paragraph.splitlines()) <= 5
        script.write_text(OWN_OPTIMIZER + "import shim\nshim.guard(Plain)\n" + TAKES_A_STEP)
        assert python([script]).returncode == 0

    @pytest.mark.parametrize(
        "step",
        [
            "Plain([torch.nn.Parameter(torch.ones(1))], weight_decay=None, lr=None).step()",
            "Plain([torch.nn.Parameter(torch.ones(1))], weight_decay=0.0, lr=None).step()",
            "def closure(): return 0.5 * None\nPlain([torch.nn.Parameter(torch.ones(1))], weight_decay=None)"
            ".step(closure)",
            "print(0.5 * Plain([torch.nn.Parameter(torch.ones(1))], weight_decay=None).defaults['weight_decay'])",
        ],
        ids=["and another None", "another None", "in a closure", "elsewhere"],
    )
    def test_a_none_that_a_guard_would_not_mend(self, python, script, step):
        script.write_text(OWN_OPTIMIZER + step)
        died = python([script])
        assert died.returncode == 1 and said(died) == []


def error_of(kind, message, file="/venv/site-packages/library/core.py"):
    """Return an exception that code in a file raised."""
    namespace = {"__name__": "library.core", "error": kind(message)}
    try:
        exec(compile("raise error", file, "exec"), namespace)
    except Exception as error:
        return error
    raise AssertionError(kind)


def hint_for(message, kind=AttributeError, **where):
    error = error_of(kind, message, **where)
    return hint.hint(error, error.__traceback__)


IS_GONE = f"module 'torch' has no attribute '{ROW.partition('.')[2]}'"


class TestWhatIsOnAlready:
    def test_a_row_that_is_on_is_not_suggested(self, monkeypatch):
        assert "--for " in hint_for(IS_GONE) or "SHIM_FOR" in hint_for(IS_GONE)
        monkeypatch.setenv("SHIM_FOR", RELEASE)
        assert hint_for(IS_GONE) == ""

    @pytest.mark.parametrize("variable", ["SHIM_PATCHES", "SHIM_SKIP"])
    def test_nor_one_that_is_named_or_left_out(self, variable, monkeypatch):
        monkeypatch.setenv(variable, ROW)
        assert hint_for(IS_GONE) == ""
        monkeypatch.setenv(variable, "torch")  # its family
        assert hint_for(IS_GONE) == ""

    def test_a_program_for_a_release_without_it_is_for_another(self, python, script, tmp_path, checkout):
        installed = ".".join(map(str, HERE[:2]))
        died = python(["-m", "shim", "run", f"--for={installed}", script], door="src", env={"SHIM_PATCHES": "verbose"})
        command = the_command(died)
        assert command == f"SHIM_PATCHES=verbose {sys.executable} -m shim run --for {RELEASE} {script}"
        assert in_a_shell(command, tmp_path, checkout / "src").stdout == PRINTS

    @pytest.mark.parametrize(
        "works, written_for, nearest",
        [("<1.5", "1.8", ("1.4", True)), (">=2.12", "2.9", ("2.12", False)), (">=2.12", "1.3", None)],
    )
    def test_the_next_release_is_further_on_the_same_side(self, works, written_for, nearest, monkeypatch):
        monkeypatch.setattr(hint, "_installed", lambda package: (1, 9, 0))
        row = next(row for row in rows.load() if row.name == ROW)._replace(works=works)
        assert hint._nearest(row, release(written_for)) == nearest

    def test_a_row_that_no_release_brings_is_named(self, monkeypatch):
        row = next(row for row in rows.load() if row.name == ROW)._replace(works=">=99")
        monkeypatch.setattr(rows, "load", lambda: (row,))
        monkeypatch.setenv("SHIM_FOR", "1.4")
        last = hint_for(IS_GONE).splitlines()[-1]
        assert f"SHIM_PATCHES={ROW} " in last and ("--for 1.4 " in last or "SHIM_FOR=1.4" in last)

    def test_a_release_that_never_was_is_none(self, monkeypatch):
        monkeypatch.setenv("SHIM_FOR", "1.99")
        assert f"SHIM_FOR={RELEASE}" in hint_for(IS_GONE) or f"--for {RELEASE}" in hint_for(IS_GONE)


class TestKindsOfRows:
    def test_one_that_must_be_named_is_and_with_its_risk(self, monkeypatch):
        message = "API has changed, `state_steps` argument must contain a list of singleton tensors"
        text = hint_for(message, AssertionError)
        assert "off unless you name it:" in text and "SHIM_PATCHES=resume " in text.splitlines()[-1]
        assert "--for" not in text
        risky = next(row for row in rows.load() if row.name == "resume")._replace(note="it may do harm")
        monkeypatch.setattr(rows, "load", lambda: (risky,))
        assert "name it (it may do harm):" in " ".join(hint_for(message, AssertionError).split())
        monkeypatch.setenv("SHIM_PATCHES", "resume")
        assert hint_for(message, AssertionError) == ""

    @pytest.mark.skipif(HERE < (1, 11), reason="it works on this torch")
    def test_advice_has_no_command(self):
        text = hint_for("fatal error: THC/THC.h: No such file or directory", RuntimeError)
        reason = next(row.reason for row in rows.load() if row.name == "THC headers")
        assert " ".join(text.split()) == f"shim: THC headers: {reason}"
        assert len(text.splitlines()) <= 5

    def test_long_advice_stays_within_five_lines(self, monkeypatch):
        advice = next(row for row in rows.load() if row.name == "THC headers")
        advice = advice._replace(works="<1.0", reason="many words " * 300)
        monkeypatch.setattr(rows, "load", lambda: (advice,))
        text = hint_for("fatal error: THC/THC.h: No such file or directory", RuntimeError)
        assert " ".join(text.split()).count("many words") == 300 and len(text.splitlines()) == 5

    def test_a_package_that_died_while_it_was_imported_is_as_it_is_installed(self, monkeypatch):
        before = hint._installed("torch")
        monkeypatch.delitem(sys.modules, "torch")
        assert hint._installed("torch") == before == HERE

    def test_every_row_that_breaks_here_has_a_nearest_release_and_it_is_in_works(self):
        broken = [row for row in rows.load() if row.works and row.targets and row.of == "torch"]
        broken = [row for row in broken if not row.optional and not is_in(HERE, row.works)]
        assert broken
        for row in broken:
            named, older = hint._nearest(row)
            numbers = tuple(map(int, named.split(".")))
            assert is_in((*numbers, TORCH[numbers]), row.works), row.name
            assert older == (numbers <= HERE[:2])
            between = [each for each in TORCH if min(numbers, HERE[:2]) < each < max(numbers, HERE[:2])]
            nearer = [each for each in between if is_in((*each, TORCH[each]), row.works)]
            assert nearer == [], row.name

    def test_a_row_of_another_package_is_counted_in_its_releases(self):
        row = rows.load()[0]._replace(of="numpy", works="<1.24")
        named, older = hint._nearest(row)
        a, b = map(int, named.split("."))
        assert is_in(of_the_time("numpy", Release("", (a, b, 0))), "<1.24")
        assert older and (a, b) == min((1, 13), HERE[:2])


#: Programs that end without a hint, and their exit codes; ``BREAKS`` stands for the line.
QUIET = {
    "caught": ("try:\n    BREAKS\nexcept Exception:\n    print('caught')", 0),
    "caught, and an exit": ("try:\n    BREAKS\nexcept Exception as e:\n    sys.exit(3)", 3),
    "caught, and an exit with its message": ("try:\n    BREAKS\nexcept Exception as e:\n    sys.exit(e)", 1),
    "Ctrl-C": ("try:\n    BREAKS\nexcept Exception:\n    raise KeyboardInterrupt", -2),
    "in a thread": ("t = threading.Thread(target=work)\nt.start()\nt.join()", 0),
    "in a daemon thread": ("t = threading.Thread(target=work, daemon=True)\nt.start()\nt.join()", 0),
    "os._exit": ("try:\n    BREAKS\nfinally:\n    os._exit(5)", 5),
    "os._exit in a hook": ("sys.excepthook = lambda *error: os._exit(6)\nBREAKS", 6),
    "at exit": ("atexit.register(work)", 0),
    "in a finalizer": ("class Late:\n    def __del__(self):\n        BREAKS\nlate = Late()", 0),
    "the program's own words": ("raise RuntimeError(IS_GONE)", 1),
    "an assertion": ("assert False, IS_GONE", 1),
    "a class of the program's own": (
        "class Own(Exception):\n    def __str__(self):\n        return IS_GONE\nraise Own",
        1,
    ),
    "a cause": ("try:\n    BREAKS\nexcept Exception as error:\n    raise ValueError('no') from error", 1),
    "a context": ("try:\n    BREAKS\nexcept Exception as error:\n    {}['fused']", 1),
    "a key of the program's own": ("{}['fused']", 1),
    "an attribute of the program's own": ("class A: pass\nA().rfft", 1),
    "a class that is called as one of torch's": (
        "class GELU:\n    pass\nGELU().approximate",
        1,
    ),
    "an iterator that is called as one of torch's": (
        "class _SingleProcessDataLoaderIter: pass\n_SingleProcessDataLoaderIter().next()",
        1,
    ),
    "a scheduler that is called as one of torch's": (
        "class StepLR:\n    def __init__(self, optimizer): pass\nStepLR(1, verbose=True)",
        1,
    ),
    "a mask that is subtracted from a tensor": (
        "a = torch.ones(2)\na - (a > 1)",
        1,
    ),
    "kept for a debugger": (
        "def session():\n    try:\n        work()\n    except Exception as error:\n"
        "        sys.last_type, sys.last_value, sys.last_exc = type(error), error, error\n"
        "        sys.last_traceback = error.__traceback__\nsession()",
        0,
    ),
}


@pytest.mark.parametrize("case", QUIET)
def test_not_said(python, script, case):
    program, code = QUIET[case]
    program = program.replace("BREAKS", BREAKS).replace("IS_GONE", repr(IS_GONE))
    script.write_text(f"import atexit, os, sys, threading, torch\n\ndef work():\n    {BREAKS}\n\n{program}\n")
    ended = python([script])
    assert ended.returncode == code, ended.stderr
    if case.endswith("called as one of torch's") and sys.version_info < (3, 10):
        pytest.skip("Python 3.10 tells whose attribute is missing, and which class was called")
    assert "shim: " not in ended.stderr
    if case.startswith(("in a", "at exit")):
        assert "has no attribute" in ended.stderr


def test_not_said_once_shim_is_taken_back(python):
    died = python(f"import torch, shim\nshim.deactivate()\n{BREAKS}")
    assert died.returncode == 1 and said(died) == []


#: Programs that die, with what stands before the line that they die of, in circumstances that change nothing.
STILL_SAID = {
    "a hook of its own": ("sys.excepthook = lambda *error: print('mine: Traceback', file=sys.stderr)", []),
    "a hook that shortens the traceback": (
        "def hook(kind, error, last):\n    print('Traceback:', error.with_traceback(None), file=sys.stderr)\n"
        "sys.excepthook = hook",
        [],
    ),
    "a daemon thread that goes on": ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", []),
    "a thread that the end waits for": ("threading.Thread(target=time.sleep, args=(0.3,)).start()", []),
    "functions at exit": ("atexit.register(print, 'end')", []),
    "another current directory": ("os.chdir('/')", []),
    "faulthandler": ("", ["-X", "faulthandler"]),
    "optimized": ("", ["-OO"]),
    "development mode": ("", ["-X", "dev"]),
    "bytes are no strings": ("", ["-bb", "-W", "error::DeprecationWarning:__main__"]),
}


@pytest.mark.skipif(HERE < (1, 11, 0), reason="before, no code of torch asked for it")
def test_said_of_an_attribute_that_torch_asks_of_the_programs_subclass(python, script):
    script.write_text(
        "import torch\nclass Around(torch.optim.Optimizer):\n"
        "    def __init__(self, optimizer):\n        self.param_groups = optimizer.param_groups\n"
        "Around(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)).zero_grad()\n"
    )
    assert "--for 1.10 " in the_command(python([script]))
    script.write_text(script.read_text().replace("zero_grad()", "defaults"))  # here the program asks
    assert said(python([script])) == []


@pytest.mark.parametrize("case", STILL_SAID)
def test_said(python, script, case):
    before, options = STILL_SAID[case]
    script.write_text(f"import atexit, os, sys, threading, time, traceback\n{before}\n{DIES}")
    died = python([*options, script])
    assert died.returncode == 1 and died.stderr.count("Traceback") == 1
    assert f"--for {RELEASE} " in the_command(died)


def test_said_where_it_is_raised_again(python, script):
    script.write_text(f"import torch\ntry:\n    {BREAKS}\nexcept Exception as error:\n    raise error\n")
    assert f"--for {RELEASE} " in the_command(python([script]))


def test_every_warning_is_an_error(python, script):
    """Some releases of torch die of that themselves, and there is no hint."""
    plain, ours = python(["-W", "error", script], door=None), python(["-W", "error", script])
    assert ours.returncode == plain.returncode == 1
    assert ours.stderr.startswith(plain.stderr)
    assert len(said(ours)) == (IS_GONE in plain.stderr)


def test_with_a_safe_path(python, script):
    assert the_command(python([script], env={"PYTHONSAFEPATH": "1"})).endswith(f"--for {RELEASE} {script}")


@pytest.mark.parametrize("how", [{"SHIM_HINT": "0"}, {"SHIM_HINT": "off"}, {"SHIM_DISABLE": "1"}])
def test_it_can_be_silenced(python, script, how):
    assert python([script], env=how).stderr == python([script], door=None).stderr


def test_a_crash_is_a_crash(python, script):
    script.write_text("import torch, faulthandler\nfaulthandler.enable()\nfaulthandler._sigsegv()\n")
    plain, ours = python([script], door=None), python([script])
    assert ours.returncode == plain.returncode < 0 and said(ours) == []


class TestInteractive:
    def test_a_session_goes_on_after_the_death_of_its_script(self, python, script):
        session = python(["-i", script], input="print(6 * 7)\n")
        assert (session.returncode, session.stdout) == (0, "42\n")
        assert "has no attribute" in session.stderr and said(session) == []

    def test_a_session_in_which_it_was_typed(self, python):
        session = python(["-i", "-q"], input=DIES)
        assert session.returncode == 0 and "has no attribute" in session.stderr and said(session) == []


class TestOtherTools:
    def test_pytest_has_said_it(self, python, tmp_path):
        (tmp_path / "test_it.py").write_text(f"import torch\ndef test_it():\n    {BREAKS}\n")
        (tmp_path / "test_other.py").write_text(DIES)
        for file in ("test_it.py", "test_other.py"):
            ran = python(["-m", "pytest", "-q", "-p", "no:cacheprovider", file])
            assert ran.returncode in (1, 2) and "has no attribute" in ran.stdout, ran.stderr
            assert "shim: " not in ran.stdout + ran.stderr

    def test_ipython_has_said_it(self, python, script, environment):
        executable = environment("ipython", with_torch=True)
        home = {"IPYTHONDIR": str(script.parent / "ipython"), "HOME": str(script.parent)}
        for words in (["--colors=NoColor", script], ["--colors=NoColor", "-c", DIES]):
            ran = python(["-m", "IPython", *words], executable=executable, env=home)
            assert "has no attribute" in ran.stdout + ran.stderr
            assert "shim: " not in ran.stdout + ran.stderr
        session = python(["-m", "IPython", "--simple-prompt"], executable=executable, env=home, input=DIES)
        assert session.returncode == 0 and "has no attribute" in session.stdout
        assert "shim: " not in session.stdout + session.stderr

    def test_a_profiler_lets_it_through(self, python, script):
        command = the_command(python(["-m", "cProfile", script]))
        assert command == f"{sys.executable} -m shim run --for {RELEASE} -m cProfile {script}"


class TestChildren:
    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_workers_of_multiprocessing_say_it_once(self, python, script, method):
        script.write_text(
            "import multiprocessing, torch\ndef work():\n    " + BREAKS + "\nif __name__ == '__main__':\n"
            f"    context = multiprocessing.get_context('{method}')\n"
            "    for _ in range(3):\n        worker = context.Process(target=work)\n        worker.start()\n"
            "        worker.join()\n"
        )
        ran = python([script, "x"])
        assert ran.returncode == 0 and ran.stderr.count("Traceback") == 3
        (paragraph,) = said(ran)
        last = paragraph.split("\nProcess ")[0].splitlines()[-1].strip()
        if method == "forkserver":
            assert last == f"SHIM_FOR={RELEASE} in front of the command that started the job"
        else:
            assert last == f"{sys.executable} -m shim run --for {RELEASE} {script} x"

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="an exception takes no note before 3.11")
    def test_below_the_traceback_of_the_worker(self, python, script):
        script.write_text(
            "import multiprocessing, torch\ndef work():\n    " + BREAKS + "\nif __name__ == '__main__':\n"
            "    worker = multiprocessing.Process(target=work)\n    worker.start()\n    worker.join()\n"
        )
        the_command(python([script]))

    def test_a_worker_whose_exception_is_caught_or_is_an_exit_says_nothing(self, python, script):
        script.write_text(
            "import multiprocessing, sys, torch\ndef work(how):\n    try:\n        " + BREAKS + "\n"
            "    except Exception as error:\n        sys.exit(3) if how else None\n"
            "if __name__ == '__main__':\n    for how in (0, 1):\n"
            "        worker = multiprocessing.Process(target=work, args=(how,))\n        worker.start()\n"
            "        worker.join()\n        print(worker.exitcode)\n"
        )
        ran = python([script])
        assert (ran.stdout, ran.stderr) == ("0\n3\n", "")

    @pytest.mark.parametrize("dies", [False, True])
    def test_an_exception_that_the_parent_handles_while_it_starts_a_worker(self, python, script, dies):
        script.write_text(
            "import multiprocessing, torch\ndef work(dies):\n    if dies:\n        " + BREAKS + "\n"
            "if __name__ == '__main__':\n    try:\n        work(True)\n    except Exception:\n"
            "        context = multiprocessing.get_context('fork')\n"
            f"        worker = context.Process(target=work, args=({dies},))\n        worker.start()\n"
            "        worker.join()\n"
        )
        ran = python([script])
        assert ran.returncode == 0 and len(said(ran)) == dies, ran.stderr

    @pytest.mark.parametrize(
        "pool", ["multiprocessing.Pool(1)", "concurrent.futures.ProcessPoolExecutor(1)"], ids=["Pool", "futures"]
    )
    def test_a_pool_raises_it_in_the_parent(self, python, script, pool):
        script.write_text(
            "import concurrent.futures, multiprocessing, torch\ndef work(_):\n    " + BREAKS + "\n"
            f"if __name__ == '__main__':\n    with {pool} as pool:\n        list(pool.map(work, [1]))\n"
        )
        assert the_command(python([script])).endswith(f"--for {RELEASE} {script}")

    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_worker_of_a_data_loader(self, python, script, workers):
        script.write_text(
            "import torch, torch.utils.data\nclass Data(torch.utils.data.Dataset):\n"
            "    def __len__(self):\n        return 4\n    def __getitem__(self, index):\n        " + BREAKS + "\n"
            "if __name__ == '__main__':\n"
            f"    list(torch.utils.data.DataLoader(Data(), num_workers={workers}))\n"
        )
        died = python([script])
        assert died.returncode == 1 and ("worker process" in died.stderr) == bool(workers)
        assert the_command(died).endswith(f"--for {RELEASE} {script}")

    def test_torch_multiprocessing(self, python, script):
        script.write_text(
            "import torch, torch.multiprocessing\ndef work(rank):\n    " + BREAKS + "\n"
            "if __name__ == '__main__':\n    torch.multiprocessing.spawn(work, nprocs=2)\n"
        )
        assert the_command(python([script])).endswith(f"--for {RELEASE} {script}")

    @pytest.mark.skipif(HERE < (1, 10), reason="torchrun is of 1.10")
    @pytest.mark.parametrize("record", ["", "@torch.distributed.elastic.multiprocessing.errors.record\n"])
    def test_under_torchrun_with_two_ranks(self, python, script, record):
        script.write_text(
            f"import torch.distributed.elastic.multiprocessing.errors\n{record}def main():\n    {BREAKS}\nmain()\n"
        )
        # Once torchrun sees that one rank died, it kills the other, which may be rank 0.
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--monitor_interval=4"]
        died = python([*torchrun, script, "-x"], env={"OMP_NUM_THREADS": "1"})
        assert died.returncode == 1
        assert died.stderr.count("\nshim: ") == 1
        words = re.escape(" ".join(map(str, [sys.executable, "-m shim run --for", RELEASE, *torchrun, script, "-x"])))
        assert re.search(f"^    {words}$", died.stderr, re.MULTILINE), died.stderr

    @pytest.mark.parametrize("rank, times", [("0", 1), ("1", 0)])
    def test_under_another_launcher_rank_0_alone(self, python, script, rank, times):
        died = python([script], env={"RANK": rank, "LOCAL_RANK": "0"})
        assert died.returncode == 1 and len(said(died)) == times
        if times:
            assert the_command(died) == f"SHIM_FOR={RELEASE} in front of the command that started the job"

    def test_a_child_that_is_waited_for(self, python, script, tmp_path):
        starts = f"import subprocess, sys, torch\nsubprocess.check_call([sys.executable, {str(script)!r}])\n"
        (tmp_path / "start.py").write_text(starts)
        died = python([tmp_path / "start.py"])
        assert died.returncode == 1 and died.stderr.count("\nshim: ") == 1
        assert f"--for {RELEASE} {script}\n" in died.stderr


#: What a program may have done to its stderr by the time that it dies.
STREAMS = {
    "closed": "sys.stderr.close()",
    "none": "sys.stderr = None",
    "deleted": "del sys.stderr",
    "raises": "sys.stderr = type('S', (), {'write': lambda self, text: 1 / 0, 'flush': lambda self: None})()",
    "exits": "sys.stderr = type('S', (), {'write': lambda self, text: sys.exit(9), 'flush': lambda self: None})()",
    "kept in memory": "import io; sys.stderr = io.StringIO()",
    "full": "sys.stderr = open('/dev/full', 'w')",
    "not in this encoding": "sys.stderr = open(sys.stderr.fileno(), 'w', encoding='ascii', closefd=False)",
}


@pytest.fixture
def copy(tmp_path, checkout):
    """Copy the checkout, to break something in it."""
    copy = tmp_path / "copy"
    shutil.copytree(str(checkout / "src"), str(copy / "src"), ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(str(checkout / "sitecustomize.py"), str(copy))
    return copy


class TestWhateverIsBroken:
    @pytest.mark.parametrize("stream", STREAMS)
    def test_a_stderr_that_takes_nothing(self, python, script, stream):
        script.write_text(f"import sys\n{STREAMS[stream]}\n{DIES}")
        plain, ours = python([script], door=None), python([script])
        assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
        before, after = (re.sub("0x[0-9a-f]+", "", process.stderr) for process in (plain, ours))
        assert after.startswith(before) and (after == before or stream == "not in this encoding")

    @pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&-", "2>&1 | head -c 10"])
    def test_a_stderr_that_the_shell_gives(self, python, script, redirection):
        command = ["-c", f'{sys.executable} {script} {redirection}; echo "code $?"']
        plain, ours = (python(command, executable="/bin/sh", door=door) for door in (None, "sitecustomize"))
        assert (ours.stdout, ours.stderr) == (plain.stdout, plain.stderr)

    @pytest.mark.parametrize(
        "file, old, new",
        [
            ("rows/moved.py", "from __future__", "raise SystemExit(7)\nfrom __future__"),
            ("rows/moved.py", "import annotations\n", "import annotations\nraise SystemExit(7)\n"),
            ("rows/moved.py", "import annotations\n", "import annotations\nraise MemoryError\n"),
            ("rows/moved.py", "import annotations\n", "import annotations\nraise KeyboardInterrupt\n"),
            ("rows/moved.py", r'r"No module named', r'r"(No module named'),
            ("explain.py", "import annotations\n", "import annotations\nimport no_such_module\n"),
        ],
        ids=["syntax", "exit", "memory", "ctrl-c", "regular expression", "explain"],
    )
    def test_a_table_that_does_not_load(self, python, script, copy, file, old, new):
        broken = copy / "src" / "shim" / file
        assert old in broken.read_text()
        broken.write_text(broken.read_text().replace(old, new, 1))
        died = python([script], env={"PYTHONPATH": str(copy)})
        assert (died.returncode, died.stdout) == (1, "")
        assert re.match("Traceback", died.stderr) and re.search(r"\nAttributeError: .*\n\Z", died.stderr)

    def test_a_copy_that_is_not_broken_says_it(self, python, script, copy):
        assert len(said(python([script], env={"PYTHONPATH": str(copy)}))) == 1


def messages(file):
    """Return the exceptions of a file of messages: type and message of the last one of each block."""
    text = (Path(__file__).parents[1] / "explain" / file).read_text()
    for block in re.split(r"^%%.*\n", text, flags=re.MULTILINE)[1:]:
        found = re.search(r"^(?!  |Traceback)(?:\w+\.)*(\w+): (.*)", block.rstrip("\n"), re.MULTILINE | re.DOTALL)
        if found and hasattr(builtins, found.group(1)):
            yield getattr(builtins, found.group(1)), found.group(2)


def test_an_error_that_only_resembles_is_not_answered(record_property):
    resembles = list(messages("only_resemble.txt"))
    assert [(words, text) for kind, words in resembles for text in [hint_for(words, kind)] if text] == []
    ours = [bool(hint_for(words, kind)) for kind, words in messages("ours.txt")]
    assert len(resembles) > 60 and sum(ours) > 10
    record_property("error messages that resemble those of a breakage, and get no hint", len(resembles))


def test_a_program_that_has_not_died_has_loaded_nothing_for_it_and_keeps_its_hooks(python):
    code = """
        import sys, threading
        hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
        import torch
        print({"shim.rows", "shim.hint", "shim.explain", "shim.launch"} & {*sys.modules})
        print(hooks == (sys.excepthook, threading.excepthook, sys.unraisablehook))
    """
    ran = python(code)
    assert (ran.stdout, ran.stderr) == ("set()\nTrue\n", "")


def test_without_torch_nothing_is_registered(python):
    code = textwrap.dedent("""
        import atexit, sys
        print(atexit._ncallbacks(), "shim.uncaught" in sys.modules)
        {}["fused"]
    """)
    plain, ours = python(code, door=None), python(code)
    assert (ours.stdout, ours.stderr) == (plain.stdout, plain.stderr)
