"""Patches of other packages are found, awaited, applied, reported and undone; a broken one is left out."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import textwrap
import types
from importlib.machinery import PathFinder
from operator import attrgetter

import pytest
import torch  # noqa: F401  # probe() reads it
import wrapt

import shim
from shim import plugins, registry
from shim.layout import probe


def package(place, code, entry_points):
    """Write an installed package: its module, and metadata with its entry points."""
    (place / "acme.py").write_text(textwrap.dedent(code))
    metadata = place / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[shim.patches]\n" + textwrap.dedent(entry_points))


def as_a_directory(place):
    return place


def as_an_egg(place):
    (place / "acme-1.0.dist-info").rename(place / "EGG-INFO")
    (place / "EGG-INFO" / "METADATA").rename(place / "EGG-INFO" / "PKG-INFO")
    return place.rename(place.with_name("acme-1.0.egg"))


def as_an_archive(place):
    return shutil.make_archive(str(place), "zip", place)


def beside_a_finder(place):
    """Make the package available through a finder in sys.meta_path, as editable installations do."""
    from importlib.metadata import MetadataPathFinder

    class Finder(MetadataPathFinder):
        @classmethod
        def find_distributions(cls, context=None):
            from importlib.metadata import DistributionFinder

            return super().find_distributions(DistributionFinder.Context(path=[str(place)]))

        @staticmethod
        def find_spec(name, path=None, target=None):
            return PathFinder.find_spec(name, [str(place)]) if name == "acme" else None

    sys.meta_path.append(Finder)
    return "/nowhere"


@pytest.mark.parametrize("laid", [as_a_directory, as_an_egg, as_an_archive, beside_a_finder])
def test_a_plugin_is_found_wherever_python_finds_packages(laid, tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    package(place, "import shim\nPATCHES = shim.Patch('acme', 'found', ())", "acme = acme:PATCHES")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(sys, "path", [str(laid(place)), *sys.path])
    monkeypatch.delitem(sys.modules, "acme", raising=False)
    one = registry.Registry()
    assert plugins.load(one, ())
    assert [patch.reason for patch in one] == ["found"]
    sys.modules.pop("acme")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs a package and returns a registry with the patches that could be loaded."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme", raising=False)

    def install(code, entry_points="acme = acme:PATCHES", skip=()):
        package(tmp_path, code, entry_points)
        made.append(registry.Registry())
        plugins.load(made[0], skip)
        return made[0]

    made = []
    yield install
    for one in made:
        one.restore()


def target(name, **attributes):
    """Put the module that the tests patch into sys.modules."""
    module = types.ModuleType(name)
    vars(module).update(attributes)
    return module


class Greeter:
    def greet(self, name):
        return f"hello {name}"

    @staticmethod
    def shout(name):
        return name.upper()

    @classmethod
    def named(cls):
        return cls.__name__


@pytest.fixture
def patched(monkeypatch):
    """Return a function that applies patches to the module ``acme_target``, and returns the registry."""
    monkeypatch.setitem(sys.modules, "acme_target", target("acme_target", Greeter=Greeter))
    made = []

    def apply(*patches):
        made.append(registry.Registry(patches))
        made[-1].apply(probe(), registry.Choice())
        return made[-1]

    yield apply
    for one in made:
        one.restore()


def around(path, **options):
    @shim.patch(path, reason="for the test", **options)
    def twice(wrapped, instance, args, kwargs):
        return [instance is not None, wrapped(*args, **kwargs)]

    return twice


@pytest.mark.parametrize(
    "attribute, call, result",
    [
        ("greet", lambda: Greeter().greet(name="you"), [True, "hello you"]),
        ("shout", lambda: Greeter.shout("you"), [False, "YOU"]),
        ("named", lambda: Greeter.named(), [True, "Greeter"]),
    ],
)
def test_a_wrapper_gets_wrapts_arguments_and_restore_returns_the_same_object(patched, attribute, call, result):
    original = vars(Greeter)[attribute]
    one = patched(around(f"acme_target:Greeter.{attribute}"))
    assert one.outcomes() == (registry.Outcome("twice", "applied", f"acme_target: Greeter.{attribute}"),)
    assert call() == result
    one.restore()
    assert vars(Greeter)[attribute] is original


def test_a_wrapper_inside_another_wrapper_is_off_after_restore(patched):
    original = vars(Greeter)["greet"]
    one = patched(around("acme_target:Greeter.greet"))
    ours = vars(Greeter)["greet"]
    Greeter.greet = wrapt.FunctionWrapper(ours, lambda wrapped, instance, args, kwargs: wrapped(*args, **kwargs))
    try:
        one.restore()
        assert Greeter().greet("you") == "hello you"
    finally:
        Greeter.greet = original


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"versions": "<1.0"}, "for torch <1.0, this is "),
        ({"package": "no-such-package>=1"}, "no-such-package is not installed"),
        ({"package": "wrapt<1"}, f"for wrapt<1, this is {wrapt.__version__}"),
    ],
)
def test_a_patch_for_other_releases_is_skipped_with_that_reason(patched, options, reason):
    state = patched(around("acme_target:Greeter.greet", **options)).outcomes()[0]
    assert state.state == "skipped" and state.reason.startswith(reason)
    assert Greeter().greet("you") == "hello you"


def test_an_invalid_specifier_is_a_failure_of_that_patch_only(patched):
    good = around("acme_target:Greeter.greet", name="good")
    one = patched(around("acme_target:Greeter.shout", versions="newest"), good)
    assert [outcome.state for outcome in one.outcomes()] == ["failed", "applied"]
    assert "is not a version specifier" in one.outcomes()[0].reason


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(patched, monkeypatch):
    greet = around("acme_target:Greeter.greet", name="planned")
    other = around("acme_target:Greeter.no_such", name="missing")
    broken = around("acme_target:Greeter.shout", name="broken", versions="newest")
    one = registry.Registry([greet, other, broken])
    original = vars(Greeter)["greet"]
    assert [(outcome.state, outcome.reason) for outcome in one.plan(probe(), registry.Choice())[:2]] == [
        ("planned", "acme_target: Greeter.greet"),
        ("skipped", "acme_target:Greeter.no_such does not exist in the installed release"),
    ]
    assert one.plan(probe(), registry.Choice())[2].state == "failed"
    assert vars(Greeter)["greet"] is original


def test_plan_lists_the_patches_of_this_process_and_plugins(python):
    code = """
        import torch, shim
        before = torch.optim.AdamW.__init__
        plan = {outcome.patch: outcome for outcome in shim.plan("numbers")}
        assert torch.optim.AdamW.__init__ is before and not shim.status().active
        print(plan["adamw"].state, plan["numbers"].state, "verbose" in plan)
    """
    result = python(code, door="src")
    assert result.stdout == "planned planned False\n", result.stderr


GOOD = """
import shim

@shim.patch("acme_target:Greeter.greet", reason="for the test")
def good(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)

PATCHES = [good]
"""


def test_an_entry_point_may_name_a_patch_or_several(installed):
    one = installed(GOOD, "acme = acme:PATCHES\nsingle = acme:good")
    assert [patch.name for patch in one] == ["good"]
    assert one.absent["single"].reason.endswith("a patch named 'good' is registered already")


@pytest.mark.parametrize(
    "code, reason",
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("class Own(BaseException): pass\nraise Own('mine')", "Own: mine"),
        ("class Own(BaseException):\n    def __str__(self): 1 / 0\nraise Own('mine')", "Own"),
        ("raise GeneratorExit", "GeneratorExit: "),
        ("PATCHES = 3", "TypeError: 'int' object is not iterable"),
        ("PATCHES = ['adam']", "TypeError: 'adam' is not a shim.Patch"),
        ("NOTHING = ()", "AttributeError: module 'acme' has no attribute 'PATCHES'"),
        ("def broken():\n    yield 1 / 0\nPATCHES = broken()", "ZeroDivisionError: division by zero"),
        ("import shim\nPATCHES = shim.patch('acme:f')", "TypeError: patch() missing 1 required"),
    ],
)
def test_a_broken_plugin_is_reported_and_left_out(installed, code, reason):
    one = installed(code)
    outcome = one.outcomes()[0]
    assert (outcome.patch, outcome.state) == ("acme", "failed")
    assert outcome.reason.startswith(f"shim.patches = acme:PATCHES: {reason}")


def test_a_ctrl_c_while_a_plugin_is_loaded_is_the_users(installed):
    with pytest.raises(KeyboardInterrupt):
        installed("raise KeyboardInterrupt")


@pytest.mark.parametrize("error", [RuntimeError, GeneratorExit, SystemExit, type("Own", (BaseException,), {})])
def test_a_patch_that_raises_while_it_is_applied_is_reported(error):
    def how(owner):
        raise error("mine")

    one = registry.Registry([registry.Patch("acme", "", (registry.Target("attribute", "math:nothing", how=how),))])
    one.apply(shim.layout.probe(), registry.Choice())
    assert one.outcomes() == (registry.Outcome("acme", "failed", f"{error.__name__}: mine"),)


def test_metadata_that_cannot_be_read_is_reported(installed, monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **group: 1 / 0)
    one = installed("PATCHES = ()")
    assert one.outcomes() == (registry.Outcome("shim.patches", "failed", "ZeroDivisionError: division by zero"),)


def test_a_skipped_plugin_is_not_imported(installed):
    one = installed("1 / 0", skip=["acme"])
    assert one.outcomes() == (registry.Outcome("acme", "skipped", "left out by SHIM_SKIP"),)


def test_a_plugin_is_loaded_after_torch_and_its_target_is_awaited(python, tmp_path, checkout):
    package(
        tmp_path,
        """
        import shim, torch
        assert not torch.__spec__._initializing

        @shim.patch("acme_later:answer", reason="for the test")
        def acme_answer(wrapped, instance, args, kwargs):
            return -wrapped(*args, **kwargs)
        """,
        "acme = acme:acme_answer",
    )
    (tmp_path / "acme_later.py").write_text("import torch\ndef answer(): return 42\n")
    for order in ("import torch, acme_later", "import acme_later"):
        environment = {"PYTHONPATH": f"{checkout}:{tmp_path}", "SHIM_LOG": "warning"}
        result = python(f"{order}\nprint(acme_later.answer())\n", env=environment)
        assert (result.stdout, result.stderr) == ("-42\n", ""), order


def test_a_broken_plugin_leaves_the_program_and_the_guards_alone(python, tmp_path, checkout):
    package(tmp_path, "1 / 0", "acme = acme:PATCHES")
    code = """
        import torch, shim
        print({o.patch: o.state for o in shim.status().outcomes if o.patch in ("acme", "adamw")})
    """
    result = python(code, env={"PYTHONPATH": f"{checkout}:{tmp_path}"})
    assert result.stdout == "{'adamw': 'applied', 'acme': 'failed'}\n", result.stderr
    environment = {"PYTHONPATH": f"{checkout / 'src'}:{tmp_path}"}
    data = json.loads(python(["-m", "shim", "doctor", "--json"], env=environment).stdout)
    row = next(patch for patch in data["torch"]["patches"] if patch["patch"] == "acme")
    assert row["state"] == "failed" and "ZeroDivisionError" in row["reason"]


def test_importing_shim_loads_neither_plugins_nor_torch_nor_wrapt(python, tmp_path):
    package(tmp_path, "raise SystemExit('imported')", "acme = acme:PATCHES")
    code = "import shim, sys; print({'torch', 'wrapt', 'acme', 'importlib.metadata'} & {*sys.modules})"
    assert python(code, door="src").stdout == "set()\n"


@pytest.mark.parametrize(
    "release, gil, taken", [("1.16.0", False, ["Python"]), ("1.17.0", False, ["C"]), ("1.16.0", True, ["C"])]
)
def test_an_old_wrapt_does_not_turn_the_gil_of_a_free_threaded_python_on(
    python, tmp_path, checkout, release, gil, taken
):
    place = tmp_path / "wrapt"
    place.mkdir()
    (place / "_wrappers.py").write_text("FunctionWrapper = 'C'")  # it replaces the C extension
    form = "try:\n    from ._wrappers import FunctionWrapper\nexcept ImportError:\n    FunctionWrapper = 'Python'\n"
    (place / "__init__.py").write_text(form)
    metadata = tmp_path / f"wrapt-{release}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: wrapt\nVersion: {release}\n")
    code = f"import sys\nsys._is_gil_enabled = lambda: {gil}\n"
    code += "from shim import row_kinds\nprint([row_kinds._function_wrapper()])"

    said = python(code, env={"PYTHONPATH": f"{tmp_path}:{checkout / 'src'}"})

    assert said.stdout == f"{taken}\n", said.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory, request):
    """Install the example as a user would, into a separate directory."""
    for tool in ("pip", "setuptools"):
        try:
            importlib.metadata.distribution(tool)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"there is no {tool} here")
    place = tmp_path_factory.mktemp("site")
    example = request.config.rootpath / "examples" / "patch_package"
    source = tmp_path_factory.mktemp("source")
    for file in example.iterdir():
        if file.is_file():
            (source / file.name).write_text(file.read_text())
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps"]
    tool = subprocess.run([*command, "--target", str(place), str(source)], capture_output=True, text=True)
    assert tool.returncode == 0, tool.stderr
    return place


class TestTheExamplePackage:
    def test_the_patches_of_the_example_are_applied_and_shown(self, site, python, tmp_path, checkout):
        (tmp_path / "acme_optim.py").write_text(
            "import torch\n"
            "class Acme(torch.optim.SGD):\n"
            "    def step(self, closure=None):\n"
            "        for group in self.param_groups:\n"
            "            assert 0.5 * group['weight_decay'] == 0.0\n"
        )
        code = """
            import torch, shim, acme_optim
            p = torch.nn.Parameter(torch.ones(2))
            p.grad = torch.ones(2)
            torch.nn.utils.clip_grad_norm_([p], None)
            assert p.grad.tolist() == [1.0, 1.0]
            acme_optim.Acme([{"params": [p], "weight_decay": None}], lr=0.1).step()
            print({o.patch: o.state for o in shim.status().outcomes if o.patch.startswith("acme")})
        """
        environment = {"PYTHONPATH": f"{checkout}:{site}", "PYTHONWARNINGS": "ignore"}
        result = python(code, env=environment)
        assert result.stdout == "{'acme-clip': 'applied', 'acme': 'applied'}\n", result.stderr

    def test_doctor_explains_with_it(self, site, python, checkout):
        result = python(
            ["-m", "shim", "doctor", "--explain", "ValueError: acme: max_norm is None"],
            env={"PYTHONPATH": f"{checkout / 'src'}:{site}"},
        )
        assert result.returncode == 0 and result.stdout.startswith("acme-clip\n")


@pytest.mark.parametrize("name", [*shim.__all__, "adopt.ADOPT", "adopt.adopt"])
def test_each_public_name_has_an_example_that_is_run(name):
    importlib.import_module("shim.adopt")
    runner = doctest.DocTestRunner()
    try:
        for example in doctest.DocTestFinder(recurse=False).find(attrgetter(name)(shim), name):
            runner.run(example)
    finally:
        shim.deactivate()
    assert runner.tries and not runner.failures


def test_a_package_that_only_has_the_name_of_a_known_one_is_left_alone(python, tmp_path):
    (tmp_path / "lion_pytorch.py").write_text("class Lion: pass\nclass Lion8bit: step = None\n")
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").touch()
    (tmp_path / "timm" / "optim.py").write_text("AdamP = RAdam = 3\n")
    result = python("import torch, lion_pytorch, timm.optim", env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_patch_that_fails_is_reported_once_and_names_shim(python):
    code = """
        import shim, torch

        class Frozen(type):
            def __setattr__(cls, name, value):
                raise RuntimeError("no")

        class Own(torch.optim.SGD, metaclass=Frozen):
            def __init__(self, params, lr=0.1, weight_decay=0.0):
                super().__init__(params, lr=lr, weight_decay=weight_decay)

        for _ in range(3):
            assert shim.guard(Own) is Own
    """
    result = python(code)
    expected = (
        "the patch __main__:Own of shim failed and was undone: RuntimeError: no; "
        "all others work, and SHIM_SKIP=__main__:Own leaves it out\n"
    )
    assert (result.returncode, result.stderr) == (0, expected)
    result = python(code, env={"SHIM_SKIP": "__main__:Own"})
    assert (result.returncode, result.stderr) == (0, "")
