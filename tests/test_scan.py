"""``shim scan`` finds the names in source files that this torch lacks, and what restores them. It runs no file."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import shim
from shim import rows, timeline
from shim.releases import is_in, release
from shim.scan.command import scan
from shim.scan.facts import Fact, _of_path, facts_of, here, releases_for
from shim.scan.uses import ITERATOR_NEXT, Use, uses
from shim.targets import expanded

HERE = release(torch.__version__).numbers
NOW = here("2.13")


def found(code, place=NOW):
    """Return the findings in a source without the notes, each as line, column and name."""
    return [(use.line, use.column, fact.name) for use, fact in everything(code, place) if not use.asked]


def everything(code, place=NOW):
    """Return the findings and notes in a source."""
    known = [(use, facts_of(use)) for use in uses(textwrap.dedent(code))]
    lacking = [(use, [fact for fact in facts if not place.has(fact)]) for use, facts in known]
    return [(use, facts[0]) for use, facts in lacking if facts]


class TestAName:
    @pytest.mark.parametrize(
        "code, line, column, name",
        [
            ("import torch\ntorch.rfft(x, 1)", 2, 1, "torch.rfft"),
            ("import torch as th\ny = th.rfft", 2, 5, "torch.rfft"),
            ("from torch import rfft", 1, 19, "torch.rfft"),
            ("from torch import nn, rfft as f", 1, 23, "torch.rfft"),
            (
                "import torch.distributed as dist\ndist.all_reduce_multigpu(x)",
                2,
                1,
                "torch.distributed.all_reduce_multigpu",
            ),
            ("from torch import distributed\ndistributed.reduce_multigpu", 2, 1, "torch.distributed.reduce_multigpu"),
            ("import torch\ntorch.Tensor.align_to", 2, 1, "torch.Tensor.align_to"),
            ("import torch.tensor", 1, 1, "torch.tensor"),
            ("from torch.tensor import Tensor", 1, 26, "torch.tensor"),
            ("from torch._six import inf", 1, 24, "torch._six"),
            ("import torch\ndef f():\n    return [torch.rfft(x) for x in y]", 3, 13, "torch.rfft"),
            ("import torch\nclass A:\n    x: int = torch.rfft", 3, 14, "torch.rfft"),
            ("import torch\nf = lambda x=torch.rfft: x", 2, 14, "torch.rfft"),
            ("import torch\nwith torch.rfft as x: pass", 2, 6, "torch.rfft"),
            ("import torch\nx = f'{torch.rfft}'", 2, 8, "torch.rfft"),
            ("import torch\n@torch.rfft\ndef f(): pass", 2, 2, "torch.rfft"),
            ("import torch\nä = 'ö'; torch.rfft", 2, 10, "torch.rfft"),
            ("def f():\n    import torch\n    torch.rfft", 3, 5, "torch.rfft"),
            ("import torch\nif x:\n    torch.rfft\nelse:\n    pass", 3, 5, "torch.rfft"),
            ("import torch\ntorch.fft(x, 2)", 2, 1, "torch.fft"),
            ("from torch import fft\nfft(x, 2)", 2, 1, "torch.fft"),
            ("from torchvision.transforms import Scale", 1, 36, "torchvision.transforms.Scale"),
            ("import contextlib as c, torch\nwith c.suppress(ImportError), torch.rfft as x: pass", 2, 31, "torch.rfft"),
            ("import torch\nx = iter(loader).next()", 2, 5, ITERATOR_NEXT),
            ("import torch\nit = iter(loader)\nwhile x:\n    x = it.next()", 4, 9, ITERATOR_NEXT),
            ("import torch\nclass A:\n    def f(s):\n        s.it = iter(s.x); s.it.next()", 4, 27, ITERATOR_NEXT),
        ],
    )
    def test_a_removed_name_is_found_where_it_is_used(self, code, line, column, name):
        if sys.version_info < (3, 12) and "f'" in code:
            column = found(code)[0][1]  # older Pythons do not keep the position inside of an f-string
        if sys.version_info < (3, 10) and code.startswith("from"):
            column = found(code)[0][1]  # older Pythons do not keep the position of an alias, either
        assert found(code) == [(line, column, name)]

    @pytest.mark.parametrize(
        "code",
        [
            "import numpy as torch\ntorch.rfft",
            "from mytorch import rfft",
            "from . import torch\ntorch.rfft",
            "from .torch import rfft",
            "import torch\ndef f(torch):\n    torch.rfft",
            "import torch\ndef f():\n    torch = mine\n    torch.rfft",
            "import torch\nf = lambda torch: torch.rfft",
            "import torch\ntorch.rfft = mine\ntorch.rfft(x)",
            "import torch\nsetattr(torch, 'rfft', mine)\ntorch.rfft(x)",
            "from torch import fft\nfft.fft(x)",
            "from torch import tensor\nimport torch\ntensor(1), torch.tensor(1)",
            "import torch\ntorch.fft.fft(x)",
            "import torch\nx = torch.ones(1)\nx.rfft()",
            "import torch_geometric\ntorch_geometric.rfft",
            "import torch\n'torch.rfft'  # torch.rfft",
            "torch.rfft",
            "import torch\ntorch.no_such_name",
            "import torch\nnode.next(), next(iter(x)), iter(x).next(1)",
        ],
    )
    def test_a_name_outside_of_torch_or_of_no_release_is_no_finding(self, code):
        assert everything(code) == []

    @pytest.mark.parametrize(
        "code",
        [
            "try:\n    from torch import rfft\nexcept ImportError:\n    rfft = None",
            "import torch\ntry:\n    f = torch.rfft\nexcept (ValueError, AttributeError):\n    f = torch.irfft",
            "import torch\ntry:\n    f = torch.fft.rfft\nexcept:\n    f = torch.irfft",
            "import torch\nif hasattr(torch, 'rfft'):\n    torch.rfft",
            "import torch\nif version.parse(torch.__version__) < V:\n    torch.rfft",
            "import torch\nif TORCH_VERSION >= (1, 8):\n    pass\nelse:\n    torch.rfft",
            "import torch\nf = torch.rfft if hasattr(torch, 'rfft') else None",
            "import torch\nx = hasattr(torch, 'rfft') and torch.rfft(y)",
            "import torch\nOLD = torch.__version__ < '1.8'\nif OLD:\n    torch.rfft",
            "import torch\ntry:\n    import a\n    A = 1\nexcept ImportError:\n    A = 0\nif not A:\n    torch.rfft",
            "import torch\ndef f():\n    if not hasattr(torch, 'rfft'):\n        return None\n    return torch.rfft",
            "import torch\n@pytest.mark.skipif(torch.__version__ > '1.7', reason='')\ndef f():\n    torch.rfft",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch import rfft",
            "import contextlib\nwith contextlib.suppress(ImportError):\n    from torch import rfft",
            "from contextlib import suppress as s, suppress\nwith suppress(Exception):\n    from torch import rfft",
        ],
    )
    def test_a_name_that_the_program_checks_first_is_a_note(self, code):
        notes = everything(code)
        assert notes and all(use.asked for use, _ in notes)

    def test_a_name_after_a_check_is_found_again(self):
        code = """
            import torch
            def f():
                if hasattr(torch, "rfft"):
                    return torch.rfft
            def g():
                return torch.rfft
        """
        assert found(code) == [(7, 12, "torch.rfft")]

    @pytest.mark.parametrize(
        "code, names",
        [
            ("import numpy as np\nnp.float(1), np.float32(1), np.zeros(2, np.int)", ["numpy.float", "numpy.int"]),
            ("from numpy import product, prod", ["numpy.product"]),
            ("import numpy as np\nnp.Inf, np.inf, np.in1d(x, y), np.isin(x, y)", ["numpy.Inf", "numpy.in1d"]),
            ("import numpy as np\nnp.bool(1), np.bool_(1), np.long", []),  # NumPy 2 has these names again
            ("from PIL import Image\nx.resize(s, Image.ANTIALIAS), Image.BICUBIC", ["PIL.Image.ANTIALIAS"]),
            ("from PIL import PILLOW_VERSION", ["PIL.PILLOW_VERSION"]),
            ("x.float(), x.ANTIALIAS", []),
        ],
    )
    def test_a_removed_name_of_numpy_or_pillow_is_found(self, code, names):
        beside = NOW._replace(installed={"numpy": (2, 4, 0), "PIL": (12, 0, 0)})
        assert [name for _, _, name in found(code, beside)] == names

    def test_a_name_of_the_standard_library_is_compared_with_the_running_python(self):
        code = """
            import collections, inspect, time, torch
            from collections import Mapping, OrderedDict
            import collections.abc
            inspect.getargspec(f), inspect.signature(f), time.clock(), time.time(), collections.abc.Mapping
            try:
                from fractions import gcd
            except ImportError:
                from math import gcd
        """
        lost = {
            (3, 7): [],
            (3, 8): ["time.clock"],
            (3, 11): ["collections.Mapping", "inspect.getargspec", "time.clock"],
        }
        for python, names in lost.items():
            place = NOW._replace(installed={"python": (*python, 0)})
            assert [name for _, _, name in found(code, place)] == names
        (fact,) = facts_of(Use(1, 1, "inspect.getargspec"))
        assert (fact.sentence, fact.row) == ("inspect.getargspec was removed in Python 3.11", "inspect.getargspec")
        assert here().installed["python"] == sys.version_info[:3]

    def test_a_name_of_numpy_is_compared_with_the_installed_numpy(self):
        code = "import numpy as np\nnp.bool, np.Inf"
        assert [name for _, _, name in found(code, NOW._replace(installed={"numpy": (1, 24, 4)}))] == ["numpy.bool"]

    def test_a_new_name_is_found_for_an_older_torch(self):
        code = "import torch\nfrom torch import nn\ntorch.func.vmap\nnn.RMSNorm(3)"
        assert found(code) == []
        assert [name for _, _, name in found(code, here("1.13"))] == ["torch.func", "torch.nn.RMSNorm"]


@pytest.mark.parametrize(
    "code, name",
    [
        ("from torch.optim.lr_scheduler import StepLR as S\nS(o, 1, verbose=True)", "lr_scheduler.StepLR(verbose=)"),
        ("import torch.optim as optim\noptim.lr_scheduler.StepLR(o, 1, verbose=1)", "lr_scheduler.StepLR(verbose=)"),
        ("from torchvision import utils\nutils.make_grid(x, range=(0, 1))", "torchvision.utils.make_grid(range=)"),
    ],
)
def test_a_removed_argument_is_found(code, name):
    [(_, _, full)] = found(code)
    assert full.endswith(name)


def test_an_argument_of_another_function_is_no_finding():
    assert found("from mine import StepLR, make_grid\nStepLR(o, verbose=1)\nmake_grid(range=1)") == []
    assert found("import torch\ntorch.optim.SGD(p, lr=1)\nmine(verbose=True)\ntorch.ones(3, dtype=d)") == []


#: Where the argument of the program begins. Python 3.8 only knows where the call does.
COLUMN = 21 if sys.version_info >= (3, 9) else 1


@pytest.mark.parametrize(
    "value, remedy",
    [
        ("False", "--for 1.11 gives it back (arguments of 1.11)"),
        ("True", "no patch gives it back: install torch>=1.11"),
        ("0", "no patch gives it back: install torch>=1.11"),  # the row only takes what is certainly the default
        (
            "flag",
            "--for 1.11 gives it back (arguments of 1.11); with another value than the default the program may need "
            "torch 1.11 or newer",
        ),
    ],
)
def test_a_row_that_helps_with_some_values_is_named_for_those(tmp_path, value, remedy):
    (tmp_path / "it.py").write_text(f"import torch\ntorch.optim.Adam(p, maximize={value})\n")
    result = start("--torch", "1.8", "--quiet", "it.py", cwd=str(tmp_path))
    assert result.stdout == f"it.py:2:{COLUMN}: torch.optim.Adam(maximize=) came with torch 1.11: {remedy}\n"
    data = json.loads(start("--torch", "1.8", "--json", "it.py", cwd=str(tmp_path)).stdout)
    assert [bool(each["row"]) for each in data["findings"]] == ["--for" in remedy]
    assert [each.get("condition", "") for each in data["findings"]] == [remedy.partition("; ")[2]]


def test_a_row_that_helps_with_every_value_has_no_condition():
    [fact] = facts_of(Use(1, 1, "torch.optim.Adam", "foreach"))
    assert (fact.row, fact.condition) == ("arguments of 1.12", "")


#: Functions that only report that they were removed.
STUBS = {"matrix_rank", "symeig", "eig", "solve", "lstsq"}
CLASSES_OF_ROWS = sorted(
    {
        target.path.rpartition(".")[0].replace(":", ".")
        for row in rows.load()
        for target in expanded(row.targets)
        if target.path.startswith("torch") and target.path.rpartition(".")[2].startswith("__")
        if shim.target_kinds.find(target)
    }
)
for name in ("symbolic_helper", "symbolic_opset9", "symbolic_opset11", "utils"):
    with contextlib.suppress(ImportError):  # onnx is not installed
        importlib.import_module(f"torch.onnx.{name}")
for name in ("torch.utils.hipify.hipify_python", "torch.utils._pytree", "torch._six"):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
MODULES_OF_TORCH = sorted(name for name, module in sys.modules.items() if re.match(r"torch(\.\w+)*$", name) and module)


@pytest.mark.filterwarnings("ignore")
class TestThisTorch:
    """No name that the installed torch has is a finding, except functions that only report their removal."""

    PLACE = here(".".join(map(str, HERE)))

    def test_no_name_of_the_installed_torch_is_a_finding(self, record_property):
        code = ["import torch"]
        for name, module in [(name, sys.modules[name]) for name in MODULES_OF_TORCH]:
            code += [f"{name}.{held}" for held in vars(module) if held.isidentifier() and not held.startswith("__")]
        code += [f"torch.Tensor.{name}" for name in dir(torch.Tensor) if name[0] != "_"]
        code += [f"{name}.__init__, {name}.__call__, {name}.__setstate__" for name in CLASSES_OF_ROWS]
        wrong = [name for _, _, name in found("\n".join(code), self.PLACE)]
        assert [name for name in wrong if name.rpartition(".")[2] not in STUBS] == []
        record_property("names of this torch that scan leaves alone", len(code) - len(wrong))

    def test_no_name_in_the_sources_of_the_installed_torch_is_a_finding(self):
        folder = Path(torch.__file__).parent
        some = random.Random(19).sample(sorted(folder.rglob("*.py")), 150)
        results = [scan(str(path), self.PLACE) for path in some]
        wrong = [(result.name, use.line, fact) for result in results for use, fact in result.findings if not use.asked]
        assert [each for each in wrong if each[2].package == "torch" and not each[2].row] == []


class TestTheReleaseWrittenFor:
    @pytest.mark.parametrize(
        "code, first, last",
        [
            ("torch.rfft", "1.0", "1.7"),
            ("torch.rfft, torch.Assert", "1.7", "1.7"),
            ("torch.func.vmap, torch.distributed.all_reduce_multigpu", "2.0", "2.1"),
        ],
    )
    def test_the_release_is_one_that_has_all_names(self, code, first, last):
        facts = frozenset(fact for use in uses("import torch\n" + code) for fact in facts_of(use))
        releases = releases_for(facts)
        assert (str(releases[0]), str(releases[-1])) == (first, last)
        assert all(is_in(each.numbers, fact.works) for each in releases for fact in facts)


# --- the command ----------------------------------------------------------------------------------------------------


def start(*arguments, **options):
    """Run the command."""
    environment = {**os.environ, "PYTHONPATH": str(Path(shim.__file__).parents[1])}
    command = [sys.executable, "-m", "shim", "scan", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "good.py").write_text("import torch\ntorch.ones(1)\n")
    (tmp_path / "bad.py").write_text("import torch\ntorch.rfft(torch.ones(3), 1)\n")
    (tmp_path / "notes.txt").write_text("import torch\ntorch.rfft\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "bad.py").write_text("import torch\ntorch.rfft\n")
    return tmp_path


class TestTheCommand:
    def test_the_report_has_the_place_the_release_and_the_command(self, project):
        result = start("--torch", "2.13", project / "bad.py")
        first, summary, written_for, command = result.stdout.splitlines()
        assert (
            first
            == f"{project / 'bad.py'}:2:1: torch.rfft was removed in torch 1.8: --for 1.7 gives it back (torch.rfft)"
        )
        assert summary == "1 file read, 1 finding for torch 2.13"
        assert written_for.endswith("1.0 to 1.7.") and command.endswith("python -m shim run --for 1.7 YOUR_SCRIPT.py")
        assert (result.returncode, result.stderr) == (1, "")

    def test_the_printed_command_runs(self, project, checkout):
        if HERE < (1, 8):
            pytest.skip("absent: this torch has rfft")
        command = start(project / "bad.py").stdout.splitlines()[-1].partition(": ")[2].split()
        command = [sys.executable, *command[1:-1], str(project / "bad.py")]
        environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
        subprocess.run(command, env=environment, check=True, timeout=300)

    @pytest.mark.parametrize("paths, code", [(["good.py"], 0), (["."], 1), (["good.py", "missing.py"], 2), ([], 2)])
    def test_the_exit_code_is_1_for_findings_and_2_for_errors(self, project, paths, code):
        assert start("--torch", "2.13", *paths, cwd=str(project)).returncode == code

    def test_a_directorys_python_files_are_read_and_no_others(self, project):
        data = json.loads(start("--torch", "2.13", "--json", project).stdout)
        assert data["files"] == 2 and [each["file"] for each in data["findings"]] == [str(project / "bad.py")]

    def test_json_contains_the_findings_and_the_release(self, project):
        data = json.loads(start("--torch", "2.13", "--json", "bad.py", cwd=str(project)).stdout)
        assert data["findings"] == [
            {
                "file": "bad.py",
                "line": 2,
                "column": 1,
                "level": "finding",
                "name": "torch.rfft",
                "since": "torch.rfft was removed in torch 1.8",
                "works": "torch<1.8",
                "row": "torch.rfft",
            }
        ]
        assert (data["for"], data["written_for"], data["errors"]) == ("1.7", ["1.0", "1.7"], [])

    def test_the_code_of_a_notebook_is_read_as_one_program(self, project):
        cells = [
            ("markdown", "# torch.rfft"),
            ("code", "%matplotlib inline\n!pip install torch\nimport torch\nfiles = !ls"),
            ("code", "%%bash\ntorch.rfft (("),
            ("code", "%%time\ntorch.rfft(x, 1)\ntorch?"),
        ]
        cells = [{"cell_type": kind, "source": text.splitlines(True)} for kind, text in cells]
        (project / "train.ipynb").write_text(json.dumps({"cells": cells}))
        (project / "r.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": "torch <- 1"}]}))
        data = json.loads(start("--torch", "2.13", "--json", project).stdout)
        places = [(each["file"], each["line"], each["column"]) for each in data["findings"]]
        assert places == [(f"{project / 'bad.py'}", 2, 1), (f"{project / 'train.ipynb'}:cell_4", 2, 1)]
        assert start(project / "train.ipynb").stdout.startswith(f"{project / 'train.ipynb'}:cell_4:2:1: torch.rfft was")

    @pytest.mark.parametrize("content", ["{}", "[]", "torch", '{"cells": [{}]}', '{"cells": 1}'])
    def test_what_is_no_notebook_is_an_error(self, tmp_path, content):
        (tmp_path / "odd.ipynb").write_text(content)
        result = start(tmp_path / "odd.ipynb")
        assert result.stderr == f"{tmp_path / 'odd.ipynb'}:1:1: error: not a notebook of Jupyter\n"
        assert result.returncode == 2

    @pytest.mark.parametrize(
        "content",
        [
            b"import torch\nprint 'Python 2', torch.rfft\n",
            b"\x00\xff\xfetorch",
            b"torch" + b"(" * 50_000,
            b"torch" + b".a" * 100_000,
            b"torch" + b" + 1" * 100_000,
            b"# coding: nope\ntorch",
        ],
        ids=["Python 2", "binary", "parentheses", "attributes", "a sum", "an encoding"],
    )
    def test_a_file_that_cannot_be_read_is_an_error_of_one_line(self, tmp_path, content):
        (tmp_path / "odd.py").write_bytes(content)
        named, inside = start(tmp_path / "odd.py"), start(tmp_path)
        assert (named.returncode, inside.returncode) == (2, 0)
        for said, word in ((named.stderr, "error: "), (inside.stderr, "skipped: ")):
            # The parser of Python 3.8 prints a line that starts with s_push.
            [line] = [line for line in said.splitlines() if not line.startswith("s_push")]
            assert "odd.py" in line and word in line

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="absent: no named pipes")
    def test_pipes_and_devices_are_not_opened(self, project):
        os.mkfifo(project / "pipe.py")
        (project / "device.py").symlink_to("/dev/zero")
        result = start("--torch", "2.13", project)
        assert result.returncode == 1 and result.stderr.count("skipped: a ") == 2

    def test_the_sources_are_not_run(self, tmp_path):
        (tmp_path / "runs.py").write_text("import torch, pathlib\npathlib.Path('ran').touch()\n")
        assert start("runs.py", cwd=str(tmp_path)).returncode == 0
        assert not (tmp_path / "ran").exists()

    def test_neither_torch_nor_another_package_is_imported(self, project):
        for package in ("torch", "packaging", "wrapt", "numpy", "yaml"):
            (project / f"{package}.py").write_text("raise ImportError('imported')")
        assert start("bad.py", cwd=str(project)).returncode == (HERE >= (1, 8))

    def test_an_unknown_release_is_refused(self, project):
        result = start("--torch", "1.99", project)
        assert result.returncode == 2 and "no torch 1.99" in result.stderr

    def test_the_time_of_a_scan_is_linear_in_the_size(self, project):
        """The test counts lookups, not seconds: each name is looked up once."""
        _of_path.cache_clear()
        (project / "long.py").write_text("import torch\n" + "torch.rfft(x)\n" * 3000)
        result = scan(str(project / "long.py"), NOW)
        assert len(result.findings) == 3000 and _of_path.cache_info().misses <= 2
        _of_path.cache_clear()
        facts_of(Use(1, 1, "torch" + ".a" * 3000))
        assert _of_path.cache_info().misses < 10


def test_every_lost_name_of_the_timeline_is_found():
    code, expected = ["import torch, torchvision, torchaudio"], []
    for package in ("torch", "torchvision", "torchaudio"):
        names = [f"{m}.{name}" for m in timeline._data()[package]["names"] for name in timeline._names(m)]
        for name in random.Random(19).sample(names, 60):
            if not NOW.has(Fact(name, package, timeline.find(name).works, "")):
                code.append(name)
                expected.append(len(code))
    assert sorted({line for line, _, _ in found("\n".join(code))}) == expected
