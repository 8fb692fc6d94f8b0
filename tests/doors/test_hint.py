"""If a program dies of a known breakage, the command that runs it is printed below its traceback, else nothing."""

from __future__ import annotations

import builtins
import re
import sys
import textwrap
from pathlib import Path

import pytest
from hint_programs import BREAKS, DIES, HERE, IS_GONE, PRINTS, RELEASE, ROW, hint_for, in_a_shell, said, the_command

from shim import hint, rows
from shim.releases import TORCH, Release, is_in, of_the_time, release

#: An optimizer class of the program, which computes with a None.
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


class TestTheCommandRuns:
    """The last line of the hint is a command that runs the program in a shell."""

    def test_the_command_of_a_script_runs(self, python, tmp_path, checkout):
        where = tmp_path / "with spaces; $HOME & 'quotes'"
        where.mkdir()
        (where / "train.py").write_text(DIES + "import sys; print(sys.argv[1:])")
        died = python([where / "train.py", "--name", "it's", "$x", "*"])
        assert died.returncode == 1
        command = the_command(died)
        assert command.startswith(f"{sys.executable} -m shim run --for {RELEASE} '")
        assert in_a_shell(command, tmp_path, checkout).stdout == PRINTS + "['--name', \"it's\", '$x', '*']\n"

    def test_the_command_of_a_module_runs(self, python, script, tmp_path, checkout):
        command = the_command(python(["-m", "train", "-x"]))
        assert command == f"{sys.executable} -m shim run --for {RELEASE} -m train -x"
        assert in_a_shell(command, tmp_path, checkout).stdout == PRINTS

    def test_the_command_of_a_line_of_code_runs(self, python, tmp_path, checkout):
        command = the_command(python(["-W", "ignore", "-c", f"import torch; {BREAKS}", "-v"]))
        assert in_a_shell(command, tmp_path, checkout).stdout == PRINTS

    def test_the_command_of_a_job_under_run_runs(self, python, script, tmp_path, checkout):
        command = the_command(python(["-m", "shim", "run", "-B", script], door="src"))
        assert command == f"{sys.executable} -m shim run --for {RELEASE} -B {script}"
        assert in_a_shell(command, tmp_path, checkout / "src").stdout == PRINTS

    def test_the_command_of_a_program_with_preimport_runs(self, python, script, tmp_path, checkout):
        script.write_text("import preimport\n" + DIES)
        command = the_command(python([script], door="src"))
        assert command == f"SHIM_FOR={RELEASE} {sys.executable} {script}"
        assert in_a_shell(command, tmp_path, checkout / "src").stdout == PRINTS

    def test_the_command_of_an_isolated_program_with_preimport_runs(self, python, script, tmp_path, checkout):
        script.write_text(f"import sys; sys.path.insert(0, {str(checkout / 'src')!r})\nimport preimport\n" + DIES)
        command = the_command(python(["-I", script], door=None))
        assert command == f"SHIM_FOR={RELEASE} {sys.executable} -I {script}"
        assert in_a_shell(command, tmp_path, "").stdout == PRINTS

    def test_the_command_of_a_project_with_its_own_shim_module_runs(self, python, script, tmp_path, checkout):
        (tmp_path / "shim.py").write_text("mine = True\n")
        command = the_command(python([script]))
        assert command == f"SHIM_FOR={RELEASE} {sys.executable} {script}"
        assert in_a_shell(command, tmp_path, checkout).stdout == PRINTS

    def test_a_program_on_stdin_gets_the_environment_variable_and_no_command(self, python):
        command = the_command(python(["-"], input=DIES))
        assert command == f"SHIM_FOR={RELEASE} in front of the command that started the job"

    def test_code_of_many_lines_is_abbreviated_in_the_command(self, python):
        assert the_command(python(["-c", DIES])) == f"{sys.executable} -m shim run --for {RELEASE} -c ..."


class TestTextOfTheHint:
    def test_the_hint_says_what_happened_since_when_and_what_is_installed(self, python, script):
        (paragraph,) = said(python([script]))
        text = " ".join(paragraph.split())
        reason = next(row.reason for row in rows.load() if row.name == ROW)
        assert text.startswith(("shim: " + reason, f"shim: {ROW}: {reason}"))
        since = f"up to {RELEASE}" if HERE >= (1, 8) else f"from {RELEASE} on"
        assert f"Such programs run on torch {since}, and this is torch {'.'.join(map(str, HERE))}" in text

    def test_the_hint_is_below_all_output_and_changes_neither_exit_code_nor_output(self, python, script):
        plain, ours = python([script], door=None), python([script])
        assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
        assert ours.stderr.startswith(plain.stderr + "\nshim: ")

    def test_the_hint_for_an_optimizer_of_the_program_names_shim_guard(self, python, script, tmp_path):
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
    def test_a_none_that_no_guard_replaces_gets_no_hint(self, python, script, step):
        script.write_text(OWN_OPTIMIZER + step)
        died = python([script])
        assert died.returncode == 1 and said(died) == []


class TestRowsThatAreOnAlready:
    def test_a_row_that_is_on_is_not_suggested(self, monkeypatch):
        assert "--for " in hint_for(IS_GONE) or "SHIM_FOR" in hint_for(IS_GONE)
        monkeypatch.setenv("SHIM_FOR", RELEASE)
        assert hint_for(IS_GONE) == ""

    @pytest.mark.parametrize("variable", ["SHIM_PATCHES", "SHIM_SKIP"])
    def test_a_row_that_is_named_or_left_out_is_not_suggested(self, variable, monkeypatch):
        monkeypatch.setenv(variable, ROW)
        assert hint_for(IS_GONE) == ""
        monkeypatch.setenv(variable, "torch")  # the family of the row
        assert hint_for(IS_GONE) == ""

    def test_a_program_for_a_release_without_the_name_gets_another_release(self, python, script, tmp_path, checkout):
        installed = ".".join(map(str, HERE[:2]))
        died = python(["-m", "shim", "run", f"--for={installed}", script], door="src", env={"SHIM_PATCHES": "verbose"})
        command = the_command(died)
        assert command == f"SHIM_PATCHES=verbose {sys.executable} -m shim run --for {RELEASE} {script}"
        assert in_a_shell(command, tmp_path, checkout / "src").stdout == PRINTS

    @pytest.mark.parametrize(
        "works, written_for, nearest",
        [("<1.5", "1.8", ("1.4", True)), (">=2.12", "2.9", ("2.12", False)), (">=2.12", "1.3", None)],
    )
    def test_the_suggested_release_is_further_from_the_installed_one_than_the_current(
        self, works, written_for, nearest, monkeypatch
    ):
        monkeypatch.setattr(hint, "_installed", lambda package: (1, 9, 0))
        row = next(row for row in rows.load() if row.name == ROW)._replace(works=works)
        assert hint._nearest(row, release(written_for)) == nearest

    def test_a_row_that_no_release_switches_on_is_named(self, monkeypatch):
        row = next(row for row in rows.load() if row.name == ROW)._replace(works=">=99")
        monkeypatch.setattr(rows, "load", lambda: (row,))
        monkeypatch.setenv("SHIM_FOR", "1.4")
        last = hint_for(IS_GONE).splitlines()[-1]
        assert f"SHIM_PATCHES={ROW} " in last and ("--for 1.4 " in last or "SHIM_FOR=1.4" in last)

    def test_an_unknown_release_counts_as_not_set(self, monkeypatch):
        monkeypatch.setenv("SHIM_FOR", "1.99")
        assert f"SHIM_FOR={RELEASE}" in hint_for(IS_GONE) or f"--for {RELEASE}" in hint_for(IS_GONE)


class TestKindsOfRows:
    def test_an_optional_row_is_named_with_its_risk(self, monkeypatch):
        message = "API has changed, `state_steps` argument must contain a list of singleton tensors"
        text = hint_for(message, AssertionError)
        assert "off unless you name it:" in text and "SHIM_PATCHES=resume " in text.splitlines()[-1]
        assert "--for" not in text
        risky = next(row for row in rows.load() if row.name == "resume")._replace(note="it may do harm")
        monkeypatch.setattr(rows, "load", lambda: (risky,))
        assert "name it (it may do harm):" in " ".join(hint_for(message, AssertionError).split())
        monkeypatch.setenv("SHIM_PATCHES", "resume")
        assert hint_for(message, AssertionError) == ""

    @pytest.mark.skipif(HERE < (1, 11), reason="the breakage does not exist on this torch")
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

    def test_a_package_whose_import_failed_counts_with_its_installed_release(self, monkeypatch):
        before = hint._installed("torch")
        monkeypatch.delitem(sys.modules, "torch")
        assert hint._installed("torch") == before == HERE

    def test_every_row_that_breaks_here_has_a_nearest_release_in_works(self):
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

    def test_a_row_of_another_package_names_the_releases_of_that_package(self):
        row = rows.load()[0]._replace(of="numpy", works="<1.24")
        named, older = hint._nearest(row)
        a, b = map(int, named.split("."))
        assert is_in(of_the_time("numpy", Release("", (a, b, 0))), "<1.24")
        assert older and (a, b) == min((1, 13), HERE[:2])


class TestArgumentsOfWhichSomeValuesHelp:
    """The row "arguments of 1.11" runs ``antialias=False`` on an older torch, and no other value."""

    def of_a_call(self, tmp_path, monkeypatch, call):
        """Return the hint for a call of a function without the argument, as torch 1.8.1 has it."""
        path = tmp_path / "program.py"
        path.write_text(f"def interpolate(x): ...\n{call}\n")
        monkeypatch.setattr(hint, "_installed", lambda package: (1, 8, 1))
        try:
            exec(compile(path.read_text(), str(path), "exec"), {"__name__": "__main__"})
        except TypeError as error:
            return " ".join(hint.hint(error, error.__traceback__).split())

    @pytest.mark.parametrize(
        "call", ["interpolate(1, antialias=False)", "no = False\ninterpolate(\n    1,\n    antialias=no,\n)"]
    )
    def test_with_the_default_the_command_is_promised(self, tmp_path, monkeypatch, call):
        text = self.of_a_call(tmp_path, monkeypatch, call)
        assert "1.8.1. This runs it as on torch 1.11:" in text and "With another value" not in text

    @pytest.mark.parametrize("call", ["interpolate(1, antialias=True)", "yes = True\ninterpolate(1, antialias=yes)"])
    def test_with_another_value_there_is_no_command(self, tmp_path, monkeypatch, call):
        text = self.of_a_call(tmp_path, monkeypatch, call)
        assert text.endswith(" antialias=True needs torch >=1.11, and this is torch 1.8.1.")

    @pytest.mark.parametrize(
        "call",
        [
            "interpolate(1, **{'antialias': True})",
            "interpolate(1, antialias=bool(1))",
            "interpolate(interpolate(1, antialias=True), antialias=False)",
        ],
    )
    def test_with_an_unknown_value_the_condition_is_said(self, tmp_path, monkeypatch, call):
        text = self.of_a_call(tmp_path, monkeypatch, call)
        assert (
            "With another value than the default the program may need torch 1.11 or newer; with the default this runs "
            "it as on torch 1.11:"
        ) in text

    @pytest.mark.skipif(HERE >= (2, 7), reason="absent: this torch takes the argument")
    def test_a_promised_command_runs(self, python, script, tmp_path, checkout):
        line = "import torch\ntorch.optim.Adam([torch.ones(1, requires_grad=True)], decoupled_weight_decay=%s)\n"
        script.write_text(line % "False" + "print(1)")
        assert in_a_shell(the_command(python([script])), tmp_path, checkout).stdout == "1\n"
        script.write_text(line % "True")
        (paragraph,) = said(python([script]))
        assert "decoupled_weight_decay=True needs torch >=2.7" in " ".join(paragraph.split())
        assert "--for" not in paragraph


def messages(file):
    """Return the last exception of each block of a file of messages, as type and message."""
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


def test_a_running_program_keeps_its_hooks_and_loads_no_module_for_the_hint(python):
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
