"""The hint is printed in all circumstances in which a program dies of a breakage, and in no others."""

from __future__ import annotations

import sys

import pytest
from hint_programs import BREAKS, DIES, HERE, IS_GONE, RELEASE, said, the_command

#: Programs that end without a hint, and their exit codes. ``BREAKS`` stands for the line that fails.
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
def test_no_hint_is_printed_if_the_program_does_not_die_of_a_breakage(python, script, case):
    program, code = QUIET[case]
    program = program.replace("BREAKS", BREAKS).replace("IS_GONE", repr(IS_GONE))
    script.write_text(f"import atexit, os, sys, threading, torch\n\ndef work():\n    {BREAKS}\n\n{program}\n")
    ended = python([script])
    assert ended.returncode == code, ended.stderr
    if case.endswith("called as one of torch's") and sys.version_info < (3, 10):
        pytest.skip("only Python 3.10 and later name the object of a missing attribute, and the class of a call")
    assert "shim: " not in ended.stderr
    if case.startswith(("in a", "at exit")):
        assert "has no attribute" in ended.stderr


def test_no_hint_is_printed_after_deactivation(python):
    died = python(f"import torch, shim\nshim.deactivate()\n{BREAKS}")
    assert died.returncode == 1 and said(died) == []


#: Programs that get a hint: the lines before the one that fails, and the options of Python.
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


@pytest.mark.skipif(HERE < (1, 11, 0), reason="older releases do not read this attribute")
def test_the_hint_is_printed_if_torch_reads_an_attribute_of_the_programs_subclass(python, script):
    script.write_text(
        "import torch\nclass Around(torch.optim.Optimizer):\n"
        "    def __init__(self, optimizer):\n        self.param_groups = optimizer.param_groups\n"
        "Around(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)).zero_grad()\n"
    )
    assert "--for 1.10 " in the_command(python([script]))
    script.write_text(script.read_text().replace("zero_grad()", "defaults"))  # now the program reads the attribute
    assert said(python([script])) == []


@pytest.mark.parametrize("case", STILL_SAID)
def test_the_hint_is_printed_in_any_state_of_the_process(python, script, case):
    before, options = STILL_SAID[case]
    script.write_text(f"import atexit, os, sys, threading, time, traceback\n{before}\n{DIES}")
    died = python([*options, script])
    assert died.returncode == 1 and died.stderr.count("Traceback") == 1
    assert f"--for {RELEASE} " in the_command(died)


def test_the_hint_is_printed_if_the_exception_is_raised_again(python, script):
    script.write_text(f"import torch\ntry:\n    {BREAKS}\nexcept Exception as error:\n    raise error\n")
    assert f"--for {RELEASE} " in the_command(python([script]))


def test_with_warnings_as_errors_the_output_stays_and_the_hint_follows(python, script):
    """Some releases of torch fail because of their own warnings. Then there is no hint."""
    plain, ours = python(["-W", "error", script], door=None), python(["-W", "error", script])
    assert ours.returncode == plain.returncode == 1
    assert ours.stderr.startswith(plain.stderr)
    assert len(said(ours)) == (IS_GONE in plain.stderr)


def test_the_hint_is_printed_with_a_safe_path(python, script):
    assert the_command(python([script], env={"PYTHONSAFEPATH": "1"})).endswith(f"--for {RELEASE} {script}")


@pytest.mark.parametrize("how", [{"SHIM_HINT": "0"}, {"SHIM_HINT": "off"}, {"SHIM_DISABLE": "1"}])
def test_the_hint_can_be_switched_off(python, script, how):
    assert python([script], env=how).stderr == python([script], door=None).stderr


def test_a_crash_of_the_interpreter_prints_no_hint(python, script):
    script.write_text("import torch, faulthandler\nfaulthandler.enable()\nfaulthandler._sigsegv()\n")
    plain, ours = python([script], door=None), python([script])
    assert ours.returncode == plain.returncode < 0 and said(ours) == []


class TestInteractiveSessions:
    def test_no_hint_is_printed_if_an_interactive_session_follows(self, python, script):
        session = python(["-i", script], input="print(6 * 7)\n")
        assert (session.returncode, session.stdout) == (0, "42\n")
        assert "has no attribute" in session.stderr and said(session) == []

    def test_no_hint_is_printed_for_a_line_typed_in_a_session(self, python):
        session = python(["-i", "-q"], input=DIES)
        assert session.returncode == 0 and "has no attribute" in session.stderr and said(session) == []


class TestOtherTools:
    def test_pytest_prints_the_exception_without_a_hint(self, python, tmp_path):
        (tmp_path / "test_it.py").write_text(f"import torch\ndef test_it():\n    {BREAKS}\n")
        (tmp_path / "test_other.py").write_text(DIES)
        for file in ("test_it.py", "test_other.py"):
            ran = python(["-m", "pytest", "-q", "-p", "no:cacheprovider", file])
            assert ran.returncode in (1, 2) and "has no attribute" in ran.stdout, ran.stderr
            assert "shim: " not in ran.stdout + ran.stderr

    def test_ipython_prints_the_exception_without_a_hint(self, python, script, environment):
        executable = environment("ipython", with_torch=True)
        home = {"IPYTHONDIR": str(script.parent / "ipython"), "HOME": str(script.parent)}
        for words in (["--colors=NoColor", script], ["--colors=NoColor", "-c", DIES]):
            ran = python(["-m", "IPython", *words], executable=executable, env=home)
            assert "has no attribute" in ran.stdout + ran.stderr
            assert "shim: " not in ran.stdout + ran.stderr
        session = python(["-m", "IPython", "--simple-prompt"], executable=executable, env=home, input=DIES)
        assert session.returncode == 0 and "has no attribute" in session.stdout
        assert "shim: " not in session.stdout + session.stderr

    def test_the_hint_under_a_profiler_repeats_the_profilers_command(self, python, script):
        command = the_command(python(["-m", "cProfile", script]))
        assert command == f"{sys.executable} -m shim run --for {RELEASE} -m cProfile {script}"
