"""``doctor --explain`` answers the errors that a patch fixes, and does not answer similar ones."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
import torch

from shim import doctor, rows
from shim.explain import explain, known
from shim.process import REGISTRY

DATA = Path(__file__).parent / "explain"


def messages(file):
    """Return the blocks of a file: the text of the line with the percent signs, and the message below it."""
    blocks = re.split(r"^%%", (DATA / file).read_text(), flags=re.MULTILINE)[1:]
    return [(name.strip(), message.rstrip("\n")) for name, _, message in (block.partition("\n") for block in blocks)]


OURS = messages("ours.txt")
ONLY_RESEMBLE = [message for _, message in messages("only_resemble.txt")]


def answers(message):
    """Return the names of the answers to a message, in the notation of ours.txt."""
    return [answer.name + ", if" * answer.reason.startswith("only if") for answer in explain(message)]


def test_every_listed_message_has_its_answer_and_no_other(record_property):
    wrong = [(expected, answers(message), message) for expected, message in OURS if answers(message) != [expected]]
    assert wrong == []
    record_property("error messages that explain answers, with the right patch alone", len(OURS))


def test_no_message_that_only_resembles_a_listed_one_is_answered(record_property):
    assert [(answers(message), message) for message in ONLY_RESEMBLE if answers(message)] == []
    assert len(ONLY_RESEMBLE) >= len(OURS)
    record_property("error messages that resemble those, and that explain leaves unanswered", len(ONLY_RESEMBLE))


#: The collected breakages between releases, each with its number, the row that answers it, and Python's message, or the
#: traceback if the message has other causes, too. A breakage without a message changes a result silently.
BREAKAGES = messages("breakages.txt")


def test_every_breakage_is_answered_by_its_row_alone(record_property):
    numbers = [int(name.split()[0]) for name, _ in BREAKAGES]
    assert numbers == [*range(1, 153)]
    rows_of = {row.name: row for row in (*REGISTRY, *rows.load())}
    expected = [(name.partition(" ")[2], message) for name, message in BREAKAGES]
    assert [name for name, _ in expected if name.partition(", if")[0] not in rows_of] == []
    assert [(name, answers(said), said) for name, said in expected if said and answers(said) != [name]] == []
    silent = [rows_of[name] for name, message in expected if not message]
    assert [row.name for row in silent if not row.targets and row.name != "torch.__version__"] == []
    record_property("breakages that a row or an advice answers", len(BREAKAGES))


def test_every_answer_has_a_message():
    named = {expected.partition(",")[0] for expected, _ in OURS}
    named |= {name.partition(" ")[2].partition(",")[0] for name, message in BREAKAGES if message}
    dies = {row.name for row in rows.load() if row.example}  # test_breakages checks the messages of these
    assert named | dies >= {answer.name for answer in known()}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: re.sub(r"(\w+)", "\x1b[1;35m\\1\x1b[0m", text),
        lambda text: re.sub(r"(\S+)", "\x1b[38;2;1;2;3m\\1\x1b[39m\x1b[K", text),
        lambda text: "\x1b]8;;https://pytorch.org\x1b\\" + text + "\x1b]8;;\x07",
        lambda text: "".join(f"[rank3]: {line}\n" for line in text.splitlines()),
        lambda text: "Epoch 3: loss 0.5\n" + text + "\n",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(f"E       {line}\n" for line in text.splitlines()),
        lambda text: re.sub("'(.*?)'", "\u2018\\1\u2019", text),
        html.escape,
    ],
    ids=["colour", "true colour", "link", "rank", "log", "crlf", "pytest", "typography", "html"],
)
def test_additions_of_a_terminal_or_launcher_change_no_answer(change):
    assert [answers(change(message)) for _, message in OURS] == [[expected] for expected, _ in OURS]
    assert [message for message in ONLY_RESEMBLE if answers(change(message))] == []


@pytest.mark.filterwarnings("ignore")
class TestMessagesOfThisTorch:
    """The messages of the installed torch's optimizers."""

    @staticmethod
    def errors(name, value):
        """Yield each argument of an optimizer, with the traceback of the error if the value is given for it."""
        import inspect
        import traceback

        cls = getattr(torch.optim, name)
        for parameter, declared in inspect.signature(cls.__init__).parameters.items():
            if type(declared.default) not in (int, float) and parameter != "weight_decay":
                continue
            for in_group in (False, True):
                tensor = torch.nn.Parameter(torch.ones(3, 2))
                tensor.grad = torch.ones(3, 2)
                lr = {} if parameter == "lr" and not in_group else {"lr": 0.1}
                try:
                    if in_group:
                        cls([{"params": [tensor], parameter: value}], **lr).step()
                    else:
                        cls([tensor], **lr, **{parameter: value}).step()
                except (TypeError, RuntimeError):
                    yield parameter, traceback.format_exc()

    @pytest.mark.parametrize("name", ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "RMSprop", "SGD"])
    def test_a_none_is_answered_for_weight_decay_and_for_no_other_argument(self, name):
        said = dict.fromkeys(("weight_decay", "other"), 0)
        for parameter, error in self.errors(name, None):
            expected = ["the guards"] if parameter == "weight_decay" else []
            if (
                expected and "takes 1 positional argument but 2 were given" in error
            ):  # torch 1.4 says the same about a string
                expected = ["the guards, if"]
            assert answers(error) == expected, error
            said["weight_decay" if expected else "other"] += 1
        assert all(said.values())

    @pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
    def test_a_string_is_answered_with_numbers_or_not_at_all(self, name):
        said = [error for _, error in self.errors(name, "1e-3")]
        # torch 1.4 says the same about a None in this argument.
        found = [answers(error) for error in said if "takes 1 positional argument but 2 were given" not in error]
        assert ["numbers"] in found
        assert [each for each in found if each not in ([], ["numbers"])] == []


class TestTheCommand:
    def test_a_none_is_answered_once(self, capsys):
        assert doctor.main(["--explain", "TypeError: unsupported operand type(s) for *: 'float' and 'NoneType'"]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith("the guards\n") and "adafactor" not in printed.lower()
        assert len(printed.splitlines()) < 10

    def test_a_none_that_may_be_in_another_argument_gets_no_promise(self, capsys):
        for name, message in OURS:
            doctor.main(["--explain", message])
            assert ("no switch is needed: it is on" in capsys.readouterr().out) == (name == "the guards")

    @pytest.mark.parametrize(
        "message, set_already, last_line",
        [
            (  # a name with a space, as a shell takes it
                "a view of a leaf Variable that requires grad is being used in an in-place operation.",
                "",
                "SHIM_PATCHES='views of leaves' python -m shim run YOUR_SCRIPT.py",
            ),
            ("No module named 'torch._six'", "", "SHIM_PATCHES=torch._six python -m shim run YOUR_SCRIPT.py"),
            ("KeyError: 'capturable'", "numbers", "SHIM_PATCHES=numbers,resume python -m shim run YOUR_SCRIPT.py"),
            ("'<' not supported between instances of 'NoneType' and 'float'", "", "python -m shim run YOUR_SCRIPT.py"),
        ],
    )
    def test_the_last_line_is_a_command_with_the_patch_on(self, message, set_already, last_line, capsys, monkeypatch):
        monkeypatch.setenv("SHIM_PATCHES", set_already)
        doctor.main(["--explain", message])
        assert capsys.readouterr().out.splitlines()[-1] == f"Start your job with: {last_line}"

    def test_two_errors_in_one_paste_need_both_patches(self, capsys):
        both = "No module named 'torch._six'\nStepLR.__init__() got an unexpected keyword argument 'verbose'"
        doctor.main(["--explain", both])
        assert "SHIM_PATCHES=torch._six,verbose python" in capsys.readouterr().out

    def test_json_contains_the_answers_and_the_command(self, capsys):
        assert doctor.main(["--json", "--explain", "KeyError: 'capturable'"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["answers"][0]["patch"] == "resume"
        assert found["command"] == "SHIM_PATCHES=resume python -m shim run YOUR_SCRIPT.py"
        assert doctor.main(["--json", "--explain", "RuntimeError: CUDA out of memory"]) == 1
        assert json.loads(capsys.readouterr().out) == {"answers": [], "command": None}

    @pytest.mark.parametrize("package", ["packaging", "wrapt"])
    def test_explain_needs_no_other_package(self, python, tmp_path, package):
        (tmp_path / f"{package}.py").write_text("raise ModuleNotFoundError('not here')")
        result = python(["-m", "shim", "doctor", "--explain", "-"], door="src", input="KeyError: 'capturable'")
        assert (result.returncode, result.stderr) == (0, "") and result.stdout.startswith("resume")

    def test_explain_applies_no_patch_and_changes_no_registry(self):
        from shim.process import REGISTRY

        before = list(REGISTRY), dict(REGISTRY.absent)
        assert answers("KeyError: 'capturable'") == answers("KeyError: 'capturable'") == ["resume"]
        assert (list(REGISTRY), REGISTRY.absent) == before


def test_a_file_of_the_table_that_was_imported_before_keeps_its_rows(python):
    code = """
        import shim.rows.{0}
        from shim.rows import by_family
        print([(family, row.name) for family, rows in by_family().items() for row in rows])
    """
    of_all = python(code.format("moved")).stdout
    assert of_all.startswith("[('moved', 'torch._six')")
    for family in ("serialization", "advice"):
        assert python(code.format(family)).stdout == of_all
