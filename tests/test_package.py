"""The sdist and the wheel are complete, and work after their installation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build")

DIES = "import torch; print(torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None).defaults)"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the sdist, and the wheel from the sdist, as a release is built."""
    out = tmp_path_factory.mktemp("dist")
    checkout = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(checkout)]
    tool = subprocess.run(command, capture_output=True, text=True, cwd=str(out))
    assert tool.returncode == 0, tool.stdout + tool.stderr
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Install the wheel into a clean environment that finds the dependencies in this one."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(str(home), with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", str(built[0])], check=True)
    site_packages = next(home.glob("lib/python*/site-packages"))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_contains_the_package_and_a_separate_directory_for_pythonpath(built, checkout):
    with zipfile.ZipFile(str(built[0])) as wheel:
        names = wheel.namelist()
        assert "sitecustomize.py" not in names
        assert [name for name in names if name.startswith("shim/site/")] == ["shim/site/sitecustomize.py"]
        assert wheel.read("shim/site/sitecustomize.py") == (checkout / "sitecustomize.py").read_bytes()
        assert {"preimport.py", "shim/py.typed", "shim/patches/torch_optim.py"} <= set(names)
        metadata = wheel.read(next(name for name in names if name.endswith("METADATA"))).decode()
    required = {line.split()[1].split(">")[0] for line in metadata.splitlines() if line.startswith("Requires-Dist")}
    runtime = {name for name in required if f"Requires-Dist: {name}" in metadata and f"{name}; extra" not in metadata}
    assert {"torch", "wrapt"} <= runtime and "packaging" not in runtime


def test_the_sdist_can_build_the_wheel(built):
    with tarfile.open(str(built[1])) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"sitecustomize.py", "pyproject.toml", "LICENSE", "src/shim/site/sitecustomize.py"} <= names


def test_the_native_kernel_is_built_with_a_compiler_and_left_out_without_one(built, checkout, tmp_path):
    """One native library for every Python and torch. Without it, the package works like an uninstalled checkout."""
    with zipfile.ZipFile(str(built[0])) as wheel:
        assert ("shim/adopt/_native.so" in wheel.namelist()) == bool(shutil.which("cc"))
    assert "-cp38-abi3-" in built[0].name
    with tarfile.open(str(built[1])) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
        assert {"setup.py", *(f"src/shim/adopt/native{end}" for end in (".c", "_loop.h", "_tensor.h"))} <= names
        assert not [name for name in names if name.endswith(".so")]

    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(built[1])]
    tool = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CC": "false"})
    assert tool.returncode == 0, tool.stdout + tool.stderr
    with zipfile.ZipFile(str(next(tmp_path.glob("*.whl")))) as wheel:
        assert not [name for name in wheel.namelist() if name.endswith(".so")]
        assert "shim/adopt/native.py" in wheel.namelist()


def test_the_requirement_of_torch_cannot_replace_an_installed_torch(built):
    with zipfile.ZipFile(str(built[0])) as wheel:
        metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    assert "Requires-Dist: torch>=1.4" in metadata.splitlines()


class TestEveryDoorOfTheInstalledWheel:
    @pytest.fixture
    def run(self, installed, python):
        return lambda what, **options: python(what, door=None, executable=installed, **options)

    def test_without_a_door_the_program_dies(self, run):
        assert "TypeError" in run(DIES).stderr

    def test_run_guards_the_program(self, run, installed):
        assert "'weight_decay': 0.0" in run(["-m", "shim", "run", "-c", DIES]).stdout
        script = installed.with_name("shim")
        shell = subprocess.run([str(script), "run", "-c", DIES], capture_output=True, text=True)
        assert "'weight_decay': 0.0" in shell.stdout, shell.stderr

    def test_pythonpath_guards_the_program(self, run):
        line = run(["-m", "shim", "env"]).stdout
        path = line.split("'")[1]
        assert set(os.listdir(path)) - {"__pycache__"} == {"sitecustomize.py"}
        assert "'weight_decay': 0.0" in run(DIES, env={"PYTHONPATH": path}).stdout

    def test_preimport_guards_the_program(self, run):
        assert "'weight_decay': 0.0" in run("import preimport; " + DIES).stdout


def test_uninstalling_removes_the_file_of_enable(built, tmp_path):
    venv.create(str(tmp_path), with_pip=True)
    python = str(tmp_path / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(built[0])], check=True)
    site_packages = next(tmp_path.glob("lib/python*/site-packages"))
    subprocess.run([python, "-m", "shim", "enable"], check=True)
    assert (site_packages / "_torch_shim.pth").exists()
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "torch-shim"], check=True)
    assert not list(site_packages.glob("*shim*"))


def test_the_api_page_lists_every_public_name(checkout):
    import shim

    listed = re.findall(r"^::: shim\.(\w+)$", (checkout / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(shim.__all__)


def test_the_changelog_mentions_the_version(checkout, python):
    result = python(["-m", "shim", "--version"], door="src")
    changelog = (checkout / "CHANGELOG.md").read_text()
    assert result.stdout.split()[1] in changelog
