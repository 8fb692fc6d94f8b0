"""A program says which torch it was written for, and gets what worked there and does not work here."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import shim
from shim import rows
from shim.explain import explain
from shim.releases import TORCH, is_in, of_the_time, release, written_for

CHECKOUT = Path(__file__).resolve().parents[1]
HERE = release(torch.__version__).numbers


def installed(package):
    """Return the numbers of a package that can be imported here; None if it cannot."""
    if package == "python":
        return sys.version_info[:3]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return release(importlib.import_module(package).__version__).numbers
    except ImportError:
        return None


EXAMPLES = [row for row in rows.load() if row.example]
INSTALLED = {package: installed(package) for package in {row.of for row in EXAMPLES}}
ROWS = [row for row in EXAMPLES if INSTALLED[row.of]]


def program_for(row):
    """Return the last release of torch with which what the row is about works."""
    return next(
        f"{a}.{b}" for a, b in reversed(list(TORCH)) if is_in(of_the_time(row.of, written_for(f"{a}.{b}")), row.works)
    )


#: The rows that break on what is here and that a patch mends, each with a release that the program is for.
BROKEN = {
    row: program_for(row)
    for row in ROWS
    if row.targets and not is_in(INSTALLED[row.of], row.works) and is_in(HERE, row.versions)
}
WORKING = [row for row in ROWS if is_in(INSTALLED[row.of], row.works)]
#: What a release in ``works`` printed for the example, and which release that was.
PRINTED = json.loads((Path(__file__).parent / "rows" / "printed.json").read_text())


def name_of(row):
    return row.name


def is_wanted(row, door, program, named):
    """Tell whether a test looks at the example of a row under a door, for a release, with the patch named."""
    if not door:
        return True
    if row in BROKEN:
        return named or program in (BROKEN[row], ".".join(map(str, HERE[:2])))
    return program in ("1.4", "2.15")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Return a function that runs the example of a row: under a door or none, for a release, with a patch named.

    torch is imported once for all rows of a release, and each example runs in a fork.
    """
    driver = Path(__file__).with_name("run_examples.py")
    results = {}

    def run(row, door=True, program=None, named=False):
        how = (door, program, named)
        if how not in results:
            environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
            environment.update({"PYTHONPATH": str(CHECKOUT)} if door else {})
            environment.update({} if program is None else {"SHIM_FOR": program})
            those = [each for each in ROWS if is_wanted(each, *how)]
            asked = [[each.name if named else "", each.example] for each in those]
            ran = subprocess.run(
                [sys.executable, str(driver)],
                input=json.dumps(asked),
                stdout=subprocess.PIPE,
                env=environment,
                cwd=str(tmp_path_factory.mktemp("examples")),
                text=True,
                check=True,
            )
            results[how] = {each.name: Ran(*result) for each, result in zip(those, json.loads(ran.stdout))}
        return results[how][row.name]

    return run


class Ran(NamedTuple):
    """The result of an example."""

    returncode: int
    stdout: str
    stderr: str


def as_it_was(ran, row):
    """Tell whether an example printed what it printed where the row works."""
    return (ran.returncode, ran.stdout) == (0, PRINTED[row.name]["printed"])


@pytest.mark.parametrize("row", BROKEN, ids=name_of)
class TestABreakage:
    def test_without_us_its_example_dies_with_a_message_that_the_row_answers_or_prints_something_else(
        self, examples, row
    ):
        ran = examples(row, door=False)
        if ran.returncode and row.answers:
            assert [answer.name for answer in explain(ran.stderr)] == [row.name]
        else:
            assert not as_it_was(ran, row)

    def test_it_prints_what_it_printed_where_it_worked(self, examples, row):
        ran = examples(row, program=BROKEN[row])
        # An optional row is never part of --for: it must be named.
        assert as_it_was(ran, row) is not row.optional, ran.stderr

    def test_by_its_name_it_is_mended_too(self, examples, row):
        ran = examples(row, named=True)
        assert ran.stdout == PRINTED[row.name]["printed"], ran.stderr

    def test_for_a_program_for_this_torch_nothing_is_mended(self, examples, row):
        here = ".".join(map(str, HERE[:2]))
        # Another package may be newer here than the releases that belong to this torch.
        mended = is_in(of_the_time(row.of, written_for(here)), row.works)
        assert as_it_was(examples(row, program=here), row) == mended


@pytest.mark.parametrize("row", WORKING, ids=name_of)
def test_where_it_works_without_us_nothing_is_touched(examples, row):
    plain = examples(row, door=False)
    assert plain.stdout == PRINTED[row.name]["printed"], plain.stderr
    for program in ("1.4", "2.15"):
        assert examples(row, program=program).stdout == plain.stdout


@pytest.mark.parametrize("row", [row for row in EXAMPLES if not INSTALLED[row.of]], ids=name_of)
def test_of_a_package_that_is_not_here(row):
    pytest.skip(f"{row.of} is not installed")


#: One row of each kind of place, as a program of its own: the patch is there before torch, and however it starts.
EACH_KIND = {row.targets[0].kind: row for row in BROKEN if not row.optional}


@pytest.mark.parametrize("door", ["run", "environment", "patches"])
@pytest.mark.parametrize("row", EACH_KIND.values(), ids=name_of)
def test_every_door(python, tmp_path, row, door):
    script = tmp_path / "program.py"
    script.write_text(row.example)
    if door == "run":
        ran = python(["-W", "ignore", "-m", "shim", "run", "--for", BROKEN[row], script], door="src")
    else:
        ran = python(
            ["-W", "ignore", script],
            env={"SHIM_FOR": BROKEN[row]} if door == "environment" else {"SHIM_PATCHES": row.name},
        )
    assert (ran.returncode, ran.stdout) == (0, PRINTED[row.name]["printed"]), ran.stderr


def test_every_row_has_a_result_of_a_release_on_which_it_works():
    for row in rows.load():
        if row.example:
            printed = PRINTED[row.name]
            assert is_in(release(printed["release"]).numbers, row.works) and printed["printed"].strip()


def test_the_status_says_of_each_row_what_became_of_it(python):
    code = """
        import torch, shim
        status = shim.status()
        print(status.written_for, {outcome.patch: outcome.state for outcome in status.outcomes}["THC headers"])
        print({outcome.state for outcome in status.outcomes} <= {
            "applied", "skipped", "not needed here", "not for this program", "left out", "advice"})
        print("written for: torch 1.7" in str(status))
    """
    result = python(code, env={"SHIM_FOR": "1.7", "SHIM_SKIP": "torch.matrix_rank"})
    assert result.stdout == "1.7 advice\nTrue\nTrue\n", result.stderr


def test_a_row_that_is_left_out_says_so(python):
    code = "import torch, shim; print({o.patch: o.state for o in shim.status().outcomes}['torch.matrix_rank'])"
    assert python(code, env={"SHIM_FOR": "1.7", "SHIM_SKIP": "torch.matrix_rank"}).stdout == "left out\n"


def test_without_a_release_no_row_is_imported(python):
    code = "import torch, sys; print([name for name in sys.modules if name.startswith('shim.rows')])"
    assert python(code).stdout == "[]\n"


def test_a_file_of_rows_is_imported_only_if_they_may_be_needed(python):
    """Those about a package wait for it, and those of what is newer serve newer programs alone."""
    code = """
        import sys, torch
        imported = {name.rpartition(".")[2] for name in sys.modules if name.startswith("shim.rows.")} - {"row"}
        import shim.rows
        shim.rows.by_family()
        conditions = shim.rows.FAMILIES
        hold = {conditions[family] for family in imported}
        print(sorted(hold), imported == {family for family, condition in conditions.items() if condition in hold})
    """
    assert python(code, env={"SHIM_FOR": "1.4"}).stdout == "[''] True\n"
    assert python(code, env={"SHIM_FOR": "2.16"}).stdout == "['', 'newer'] True\n"


def test_the_conditions_of_the_files_are_true():
    of_packages = {"PIL", "torchvision", "torchaudio"}
    assert {*rows.FAMILIES.values()} == {"", "newer", "advice", *of_packages}
    for family, patches in rows.by_family().items():
        condition = rows.FAMILIES[family]
        if condition == "newer":  # of no use to a program that was written for an older torch, or for this one
            assert {patch.of for patch in patches} == {"torch"} and all(
                re.fullmatch(r">=[\d.]+", patch.works) for patch in patches if patch.targets
            )
        elif condition == "advice":
            assert not any(patch.targets for patch in patches)
        elif condition in of_packages:
            assert {patch.of for patch in patches} == {condition}
            assert all(target.module.startswith(condition) for patch in patches for target in patch.targets)


@pytest.mark.parametrize("text", ["1.99", "old", "1.7.9", "2.99", "3.0"])
class TestAReleaseThatNeverWas:
    def test_run_refuses_it_in_one_line(self, python, text):
        result = python(["-m", "shim", "run", "--for", text, "-c", "print('ran')"], door="src")
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert text in result.stderr

    def test_in_the_environment_it_is_said_once_and_nothing_is_applied(self, python, text):
        code = "import torch, sys, torch.utils.data, shim; print(shim.status().written_for, 'shim.rows' in sys.modules)"
        result = python(code, env={"SHIM_FOR": text})
        assert result.stdout == "None False\n"
        assert result.stderr.count(text) == 1 and result.stderr.count("\n") == 1

    def test_activate_raises(self, text):
        with pytest.raises(ValueError, match=text):
            shim.activate(written_for=text)


@pytest.mark.parametrize("door, by_torchrun", [("sitecustomize", 0), ("src", 1)])
def test_of_several_ranks_one_complains_or_torchrun_has(python, door, by_torchrun):
    first = "import preimport, torch" if door == "src" else "import torch"
    for rank, times in (("0", 1), ("1", 0)):
        result = python(first, door, env={"SHIM_FOR": "banana", "RANK": rank})
        assert result.returncode == 0 and result.stderr.count("banana") == times
    result = python(first, door, env={"SHIM_FOR": "banana", "RANK": "0", "TORCHELASTIC_RUN_ID": "x"})
    assert result.returncode == 0 and result.stderr.count("banana") == by_torchrun


def test_a_release_given_as_a_number_is_a_type_error_that_says_to_write_a_string():
    with pytest.raises(TypeError, match="as a string, '1.7', not 1.1: as a number 1.10 is 1.1"):
        shim.activate(written_for=1.10)


def test_the_release_after_the_newest_that_is_known_is_taken():
    major, minor = max(TORCH)
    assert written_for(f"{major}.{minor + 1}").numbers == (major, minor + 1, 0)
    with pytest.raises(ValueError, match="there is no torch"):
        written_for(f"{major}.{minor + 2}")


def test_an_unknown_patch_is_an_error_that_lists_the_names():
    for act in (shim.activate, shim.plan):
        with pytest.raises(ValueError, match="there is no patch 'no such patch'; there are: .*adam.*torch._six"):
            act("no such patch", written_for="1.7")
    assert shim.status().written_for is None, "nothing was done"


@pytest.mark.parametrize("odd", [3, 2.10, None, b"verbose", ["verbose"], len])
def test_what_is_not_a_string_is_named_by_every_entry_point(odd):
    for act in (shim.activate, shim.plan):
        with pytest.raises(TypeError, match="names of optional patches as strings, 'verbose', not .*written_for='1.7'"):
            act("verbose", odd, written_for="1.7")
        if odd is not None:
            with pytest.raises(TypeError, match="write the release of torch as a string, '1.7', not "):
                act(written_for=odd)
    with pytest.raises(TypeError, match=r"shim\.guard takes a subclass of torch\.optim\.Optimizer, not "):
        shim.guard(odd)
    assert shim.status().written_for is None, "nothing was done"


#: Looks at every module that is loaded, and at the classes that it defines; tells what is another object than before.
EVERY_NAME = """
import sys, torch, torch.utils.data, torch.distributed, torch.optim, json, os
for name in sys.argv[1].split(","):
    try:
        __import__(name)
    except ImportError:
        pass

def everything():
    found = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("shim", "__main__", "__mp_main__") or not hasattr(module, "__dict__"):
            continue
        found[name] = module
        for key, value in list(vars(module).items()):
            found[f"{name}:{key}"] = value
            if isinstance(value, type) and str(getattr(value, "__module__", "")) == name:
                found.update((f"{name}:{key}.{inside}", held) for inside, held in list(vars(value).items()))
    return found

import shim, shim.rows
shim.rows.load()
shim.plan(written_for="1.4")  # imports what the tables need
"""


@pytest.mark.parametrize("program", ["1.4", "1.13", "2.15"])
def test_deactivate_takes_every_name_back(python, program):
    code = (
        EVERY_NAME
        + f"""
before = everything()
shim.activate(written_for={program!r})
during = everything()
print(sum(during.get(name) is not value for name, value in before.items()) + len(during.keys() - before.keys()) > 20)
shim.deactivate()
after = everything()
for name in sorted(before.keys() | after.keys()):
    # Modules that have been imported meanwhile stay; those that rows have made do not. The last one counts the hooks
    # that there ever were.
    new = name.partition(":")[0] not in before or (name not in before and type(after.get(name)) is type(sys))
    spec = getattr(after.get(name), "__spec__", None)
    made = type(after.get(name)) is type(sys) and getattr(spec, "origin", None) == "shim"
    if new and not made or name.endswith((":__warningregistry__", "Handle.next_id")):
        continue
    if before.get(name) is not after.get(name):
        print(name)
"""
    )
    modules = ",".join(dict.fromkeys(target.module for row in rows.load() for target in row.targets))
    said = python(["-W", "ignore", "-c", code, modules], door="src").stdout
    # A message of torch about CUDA may come first.
    assert said.partition("True\n")[1:] == ("True\n", "")


def test_without_a_release_every_name_is_there_or_not_as_without_us(python):
    paths = [target.path for row in rows.load() for target in row.targets]
    code = """
import sys, operator, importlib
for path in sys.argv[1].split(","):
    module, _, name = path.partition(":")
    try:
        value = importlib.import_module(module)
        print(path, "torch" in sys.modules and not name or operator.attrgetter(name)(value) is not None)
    except Exception as error:
        print(path, type(error).__name__, error)
"""
    asked = ["-W", "ignore", "-c", code, ",".join(dict.fromkeys(paths))]
    plain = python(asked, door=None)
    assert plain.stdout.count("\n") >= len(dict.fromkeys(paths))
    assert python(asked).stdout == plain.stdout


#: Scripts modules and functions whose source calls what rows change, and prints how each ended.
SCRIPTED = """
import torch
from torch import nn

def upsampled(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0)

def loss(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy(x, x)

layer, decoder = nn.TransformerEncoderLayer(8, 2), nn.TransformerDecoderLayer(8, 2)
modules = [nn.MultiheadAttention(8, 2), nn.Transformer(8, 2, 1, 1, 8), layer, decoder]
modules += [nn.TransformerEncoder(layer, 1), nn.TransformerDecoder(decoder, 1)]
modules += [each(scale_factor=2) for each in (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)]
modules += [nn.BCELoss(), nn.CrossEntropyLoss(), nn.CTCLoss(), nn.LSTM(2, 2), nn.Softmax(dim=1), nn.GELU(), nn.ELU()]
for what in [*modules, upsampled, loss]:
    name = getattr(what, "__name__", type(what).__name__)
    try:
        torch.jit.script(what)
        print(name, "is compiled")
    except Exception as error:
        print(name, type(error).__name__, str(error).strip().partition("\\n")[0])
"""


@pytest.mark.parametrize("program", ["1.4", "1.7", "1.12", "2.7"])
def test_torchscript_compiles_torchs_own_code_as_without_us(python, tmp_path, program):
    script = tmp_path / "program.py"
    script.write_text(SCRIPTED)
    plain = python(["-W", "ignore", script], door=None)
    assert plain.stdout.count("is compiled") > 9, plain.stderr
    assert python(["-W", "ignore", script], env={"SHIM_FOR": program}).stdout == plain.stdout


@pytest.mark.skipif(not (2, 3) <= HERE < (3, 0), reason="TorchScript asks a function what to compile from 2.3 on")
def test_torchscript_compiles_what_it_would_without_us(python, tmp_path):
    script = tmp_path / "program.py"
    script.write_text("""
import pickle, torch

def spectrum(x, window):
    return torch.stft(x, 16, 8, window=window, return_complex=True)

x, window = torch.ones(1, 64), torch.ones(16)
print(torch.equal(torch.jit.script(spectrum)(x, window), spectrum(x, window)))
print(pickle.loads(pickle.dumps(torch.stft)) is torch.stft)
""")
    result = python([script], env={"SHIM_FOR": "1.7"})
    assert result.stdout == "True\nTrue\n", result.stderr


#: Pickles and unpickles every function and class that the rows put somewhere or call something around; prints the
#: paths of those that come back as another object or not at all although what was there before did, and then the paths
#: of the functions that look otherwise than before.
PICKLES = """
import importlib, inspect, operator, pickle, sys, types
import torch.utils.data, torch.distributed, torch.onnx, shim.rows
from shim.targets import expanded

def held_at(target):
    module, _, path = target.path.partition(":")
    try:
        return operator.attrgetter(path)(importlib.import_module(module))
    except (ImportError, AttributeError):
        return None

def comes_back(held):
    try:
        return pickle.loads(pickle.dumps(held)) is held
    except Exception as error:
        return False

kinds_of_functions = ("around", "instead", "wrapper", "arguments")
places = [each for row in shim.rows.load() for each in expanded(row.targets)]
places = [each for each in places if each.kind in (*kinds_of_functions, "name", "made")]
kinds = {each.path: each.kind for each in places}
before = {each.path: held_at(each) for each in places}
fine = {path for path, held in before.items() if callable(held) and comes_back(held)}
shim.activate(written_for=sys.argv[1])
now = {each.path: held_at(each) for each in places}
put = [path for path, held in now.items() if held is not before[path]]
print(len(put) > 0, [path for path in put if path in fine and not comes_back(now[path])])

def looks(held):
    try:
        signature = str(inspect.signature(held))
    except ValueError:  # it wraps a builtin
        signature = None
    return inspect.getfullargspec(held), signature, held.__name__, held.__doc__, held.__defaults__, held.__kwdefaults__

changed = [path for path in put if isinstance(before[path], types.FunctionType) and kinds[path] in kinds_of_functions]
# A wrapper of torch's own shows *args, **kwargs already.
changed = [path for path in changed if not inspect.getfullargspec(before[path]).varargs]
print([path for path in changed if looks(before[path]) != looks(now[path])])
"""


@pytest.mark.parametrize("program", ["1.1", "1.7", "1.13", "2.15"])
def test_a_changed_function_can_be_pickled_and_looks_as_before(python, program):
    said = python(["-W", "ignore", "-c", PICKLES, program], door="src")
    assert said.stdout.splitlines()[-2] in ("True []", "False []"), said.stdout + said.stderr
    assert said.stdout.splitlines()[-1] == "[]", said.stdout


def test_rows_of_pillow_and_numpy_need_no_torch(python):
    pytest.importorskip("PIL")
    code = """
        import sys
        from PIL import Image
        print(Image.ANTIALIAS == Image.LANCZOS)
        import numpy
        print(numpy.float is float, "torch" in sys.modules)
    """
    ran = python(code, env={"SHIM_FOR": "1.7"})
    assert ran.stdout == "True\nTrue False\n", ran.stderr


OF_PYTHON = """
import sys
from time import clock
from {module} import {name}
print(callable({name}), "torch" in sys.modules, "shim.activation" in sys.modules)
import torch, shim, {module}
print({module}.{name} is {name})
shim.deactivate()
print(hasattr({module}, "{name}"), hasattr({module}, "__getattr__"))
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python itself has some of the names")
@pytest.mark.parametrize(
    "module, name",
    [("collections", "Mapping"), ("inspect", "getargspec"), ("fractions", "gcd"), ("base64", "encodestring")],
)
@pytest.mark.parametrize("door, first", [("sitecustomize", ""), ("src", "import preimport")])
def test_rows_of_python_need_no_torch(python, module, name, door, first):
    code = first + OF_PYTHON.format(module=module, name=name)
    ran = python(["-c", code], door=door, env={"SHIM_FOR": "1.7"})
    assert ran.stdout == "True False True\nTrue\nFalse False\n", ran.stderr


def test_a_name_that_python_never_had_is_missing_as_ever(python):
    code = """
        import collections, inspect
        print(hasattr(collections, "Nothing"), hasattr(inspect, "nothing"), getattr(inspect, "nothing", 0))
        try:
            collections.Nothing
        except AttributeError as error:
            print(error)
    """
    ran = python(code, env={"SHIM_FOR": "1.7"})
    assert ran.stdout == "False False 0\nmodule 'collections' has no attribute 'Nothing'\n", ran.stderr


def test_a_process_that_asks_for_no_lost_name_loads_no_more_than_the_hook(python):
    code = "import base64, collections, fractions, inspect, sys, time; print([m for m in sys.modules if 'shim' in m])"
    assert python(code, env={"SHIM_FOR": "1.7"}).stdout == "['shim.import_hook']\n"


def test_children_inherit_it(python):
    code = textwrap.dedent("""
        import subprocess, sys
        print(subprocess.check_output([sys.executable, "-c", "import torch, shim; print(shim.status().written_for)"]))
    """)
    result = python(["-m", "shim", "run", "--for=1.7", "-c", code], door="src")
    assert "b'1.7" in result.stdout, result.stderr


def test_no_two_rows_have_one_name():
    names = [row.name for row in rows.load()]
    assert sorted(names) == sorted({*names})


def test_the_packages_of_the_time():
    assert of_the_time("torchvision", written_for("1.7")) == (0, 8, 1)
    assert of_the_time("torchvision", written_for("2.1"))[:2] == (0, 16)
    assert of_the_time("torchaudio", written_for("1.13"))[:2] == (0, 13)
    assert of_the_time("numpy", written_for("1.7"))[:2] == (1, 19)
