"""The native library is built with one name for every interpreter, and without flags that change results."""

import ctypes
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shim.adopt import native

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler"),
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not a checkout"),
]

# Sets the build variables of another interpreter, and runs setup.py with the arguments.
SETUP = """
import runpy, sys, sysconfig
import setuptools, setuptools.command.build_ext
others, real = {others}, sysconfig.get_config_var
sysconfig.get_config_var = lambda name: others[name] if name in others else real(name)
sys.argv[0] = "setup.py"
runpy.run_path("setup.py", run_name="__main__")
"""


def build(folder, *command, others=None, **env):
    """Run setup.py, and return its output."""
    pytest.importorskip("setuptools", minversion="77")  # older ones refuse the licence
    arguments = ["build", "--build-base", folder / "base", "--build-lib", folder / "lib", *command]
    done = subprocess.run(
        [sys.executable, "-c", SETUP.format(others=others or {}), *map(str, arguments)],
        env={**os.environ, **env},
        cwd=str(ROOT),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


@pytest.mark.parametrize("suffix", [".cpython-315-x86_64-linux-gnu.so", ".abi3-x86_64-linux-gnu.so", ".pyd"])
def test_the_library_has_one_name_whatever_the_interpreters_suffixes_are(suffix, tmp_path):
    build(tmp_path, others={"EXT_SUFFIX": suffix, "SOABI": suffix[1:]})

    built = tmp_path / "lib" / "shim" / "adopt" / native.LIBRARY.name
    assert built.exists(), list(built.parent.iterdir())
    assert hasattr(ctypes.CDLL(str(built)), "shim_adopt_7")


def test_a_free_threaded_python_gets_a_wheel(tmp_path):
    build(
        *(tmp_path, "bdist_wheel", "--dist-dir", tmp_path / "dist", "--bdist-dir", tmp_path / "wheel"),
        others={"Py_GIL_DISABLED": 1},
    )

    (wheel,) = (tmp_path / "dist").iterdir()
    assert "abi3" not in wheel.name


def test_fast_math_flags_are_removed_from_compiling_and_linking_with_a_warning(tmp_path):
    """A library linked with -ffast-math contains crtfastmath, which makes 5e-324 zero in the whole process."""
    build(tmp_path / "plain", CFLAGS="", LDFLAGS="")
    said = build(tmp_path / "fast", CFLAGS="-Ofast -ffast-math -funsafe-math-optimizations", LDFLAGS="-ffast-math")

    plain, fast = (tmp_path / name / "lib" / "shim" / "adopt" / native.LIBRARY.name for name in ("plain", "fast"))
    assert "ADOPT's kernel is built without -Ofast -ffast-math" in said
    assert fast.read_bytes() == plain.read_bytes()
    ctypes.CDLL(str(fast))
    assert 5e-324 * 1.0 != 0.0


def test_fast_math_from_a_compilers_own_options_builds_no_kernel(tmp_path):
    """A compiler may read the flag from a file of options. The package is then built without the kernel."""
    options = tmp_path / "options"
    options.write_text("-ffast-math")

    said = build(tmp_path, CFLAGS=f"@{options}")

    assert "built with fast math" in said
    assert not (tmp_path / "lib" / "shim" / "adopt" / native.LIBRARY.name).exists()


def test_windows_linkers_are_not_asked_to_export_a_module_init_function():
    setuptools = pytest.importorskip("setuptools", minversion="77")
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="looked at")

    assert setup["BuildLibrary"](setuptools.Distribution()).get_export_symbols(setup["KERNEL"]) == []
