"""Fixtures of the tests of the doors: environments with other tools, a stand-in for torch, and programs to start."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def environment(request):
    """Return a function that makes a virtual environment with the packages named, and returns its interpreter.

    The environment is kept in pytest's cache directory, so that only the first run waits for the installation. If its
    packages cannot be installed, the test is skipped with the reason. With ``with_torch`` the environment also finds
    the packages of this interpreter, after its own.
    """
    made = request.config.cache.mkdir("environments")

    def make(*packages, with_torch=False):
        what = "%s %s %s" % (sys.version, " ".join(packages), sys.prefix if with_torch else "")
        home = made / hashlib.sha256(what.encode()).hexdigest()[:16]
        python = home / "bin" / "python"
        with home.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two workers may need the same environment at once
            if not (home / "complete").exists():
                # With the packages of this interpreter it also finds their pip. Unpacking another pip takes seconds.
                shared = with_torch and Path(sysconfig.get_path("purelib"), "pip").is_dir()
                venv.create(str(home), with_pip=not shared, clear=True)
                if with_torch:
                    site_packages = next(home.glob("lib/python*/site-packages"))
                    (site_packages / "zz_torch.pth").write_text(sysconfig.get_path("purelib") + "\n")
                if packages:
                    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
                    tool = subprocess.run(pip, capture_output=True, text=True, check=False)
                    if tool.returncode != 0:
                        why = (tool.stderr.strip().splitlines() or ["no message"])[-1]
                        pytest.skip(f"{' '.join(packages)} cannot be installed here: {why}")
                (home / "complete").touch()
        return python

    return make


@pytest.fixture
def fake_torch(tmp_path):
    """Make a directory with a package named torch, whose torch.optim is imported quickly, and return it.

    It replaces torch in tests of the import machinery alone: when a module arrives, and how often. It has no guards;
    ``neighbour_programs.ANNOUNCE`` prints a line instead of putting guards in place.
    """
    top = tmp_path / "fake"
    optim = top / "torch" / "optim"
    optim.mkdir(parents=True)
    (top / "torch" / "__init__.py").write_text("")
    (optim / "__init__.py").write_text("print('torch.optim runs')\nmark = 'original'\n")
    return top


@pytest.fixture(scope="session")
def console_script(tmp_path_factory):
    """Return the path of a ``shim`` command like that which an installer writes."""
    path = tmp_path_factory.mktemp("bin") / "shim"
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom shim.__main__ import main\nsys.exit(main())\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def doors(checkout, console_script):
    """Return a function that returns how a Python command is started without shim and through each door.

    It maps the name of each door to the words of the command and the PYTHONPATH. ``None`` stands for no door.
    """
    ours, src = str(checkout), str(checkout / "src")

    def commands(command, options=(), python=sys.executable, path=src):
        plain = [python, *options, *command] if python else command
        run = [python or sys.executable, *options, "-m", "shim", "run", *command]
        found = {
            None: (plain, path),
            "PYTHONPATH": (plain, ours + os.pathsep + path),
            "run": (run, path),
        }
        if python == sys.executable:
            found["shim"] = ([console_script, "run", *options, *command], path)
        return {door: ([str(word) for word in words], path) for door, (words, path) in found.items()}

    return commands


@pytest.fixture
def same(doors, tmp_path):
    """Return a function that runs a command without shim and through every door, and checks that nothing differs.

    It returns the exit code and output of the process without shim. ``clean`` removes text that may differ.
    """

    def run(command, options=(), env=(), cwd=tmp_path, input="", clean=lambda text: text, **how):
        results = {}
        for door, (words, path) in doors(command, options, **how).items():
            process = subprocess.run(
                words,
                env={**os.environ, "PYTHONPATH": path, **dict(env)},
                cwd=str(cwd),
                input=input,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            results[door] = process.returncode, clean(process.stdout), clean(process.stderr)
        plain = results.pop(None)
        for door, (code, out, err) in results.items():
            assert out == plain[1], door
            assert (code, err) == (plain[0], plain[2]), door
        return plain

    return run


@pytest.fixture
def script(tmp_path):
    """Write a program that dies of a known breakage, and return its path."""
    from hint_programs import DIES  # imported here, because the module imports torch

    path = tmp_path / "train.py"
    path.write_text(DIES)
    return path


@pytest.fixture(autouse=True)
def plain_shell(monkeypatch):
    """Remove the environment variables that make Python behave in unusual ways."""
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        monkeypatch.delenv(name)
