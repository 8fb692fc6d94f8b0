"""Each file that Python runs at its start runs the same with shim's sitecustomize, and only once."""

from __future__ import annotations

import importlib.machinery
import os
import py_compile
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from neighbour_programs import ANNOUNCE, DIES, loads

from shim.launch import SITE


class TestSitecustomize:
    FINDERS = "import sys; print(sum(hasattr(f, '_shim') for f in sys.meta_path), 'sitecustomize' in sys.modules)"

    def test_the_distributions_sitecustomize_runs_once_and_is_the_one_programs_see(self, python, checkout):
        code = "import sitecustomize; print(sitecustomize.__file__)"
        system = next((path for path in ("/usr/bin/python3", "/usr/bin/python") if os.path.exists(path)), None)
        plain = python(code, door=None, executable=system) if system else None
        if plain is None or plain.returncode != 0:
            pytest.skip("no Python of a distribution that has a sitecustomize on this machine")
        result = python(["-v", "-c", code], door="sitecustomize", executable=system)
        assert result.stdout == plain.stdout
        assert loads(result.stderr) == [str(checkout), os.path.dirname(plain.stdout.strip())]

    def test_two_copies_of_shims_sitecustomize_arm_once(self, python, tmp_path, checkout, fake_torch):
        copy = tmp_path / "copy"
        shutil.copytree(str(checkout / "src"), str(copy / "src"), ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        shutil.copy(str(checkout / "sitecustomize.py"), str(copy))
        result = python(
            ANNOUNCE + "import torch.optim\n" + self.FINDERS,
            env={"PYTHONPATH": os.pathsep.join(map(str, [checkout, copy, SITE, fake_torch]))},
        )
        assert result.stdout == "torch.optim runs\narrived: torch.optim\n1 True\n", result.stderr

    @pytest.mark.parametrize("spelling", ["{0}:{0}", "{0}:{1}", "{1}:{0}", "{0}/:{0}", "{0}/../{2}:{0}"])
    def test_a_sitecustomize_of_shim_that_is_found_twice_arms_once(self, python, checkout, spelling, fake_torch):
        path = spelling.format(checkout, SITE, checkout.name) + os.pathsep + str(fake_torch)
        code = ANNOUNCE + "import torch.optim\n" + self.FINDERS + "; print(sys.path[1:2])"
        result = python(code, env={"PYTHONPATH": path})
        assert result.stdout == f"torch.optim runs\narrived: torch.optim\n1 True\n['{fake_torch}']\n", result.stderr

    @pytest.fixture
    def behind(self, python, tmp_path):
        """Return a function that runs Python with a directory after shim's that Python has not searched before.

        The directory is like site-packages in this. Python searches the directories of PYTHONPATH before it finds the
        modules that it needs to start, so a sitecustomize in front of shim's clears the cache.
        """
        first = tmp_path / "first"
        first.mkdir()

        def run(place, *, door=SITE, prepare=""):
            (first / "sitecustomize.py").write_text(
                prepare + "import os, sys\n"
                "sys.path.remove(os.path.dirname(__file__))\n"
                "sys.path_importer_cache.clear()\n"
                "del sys.modules['sitecustomize']\n"
                "import sitecustomize\n"
            )
            path = [str(first), *([door] if door else []), str(place)]
            return python("pass", door=None, env={"PYTHONPATH": os.pathsep.join(path)})

        return run

    def test_a_chain_of_three_runs_in_order_and_each_once(self, python, tmp_path):
        entries = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            entries.append(str(tmp_path / name))
        (tmp_path / "first" / "sitecustomize.py").write_text(
            textwrap.dedent(
                """
                print("first")
                import os, sys
                here = os.path.dirname(__file__)
                sys.path.remove(here)
                del sys.modules["sitecustomize"]
                import sitecustomize
                sys.path.insert(0, here)
                """
            )
        )
        (tmp_path / "second" / "sitecustomize.py").write_text("print('second')\n")
        path = os.pathsep.join([entries[0], SITE, entries[1]])
        result = python("import sitecustomize; print(sitecustomize.__file__)", door=None, env={"PYTHONPATH": path})
        assert result.stdout == f"first\nsecond\n{entries[1]}/sitecustomize.py\n", result.stderr

    @pytest.mark.parametrize(
        "fault", ["raise ImportError('theirs')", "raise SystemExit(3)", "1 +", "raise KeyboardInterrupt"]
    )
    def test_an_exception_of_a_shadowed_sitecustomize_is_reported_as_without_shim(self, python, tmp_path, fault):
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        (theirs / "sitecustomize.py").write_text("import os\n" + fault + "\n")
        code = "import sys; print('sitecustomize' in sys.modules)"
        with_shim = python(code, env={"PYTHONPATH": SITE + os.pathsep + str(theirs)})
        without = python(code, door=None, env={"PYTHONPATH": str(theirs)})
        assert (with_shim.stdout, with_shim.returncode) == (without.stdout, without.returncode)
        assert without_our_frames(with_shim.stderr) == without_our_frames(without.stderr)

    def test_a_sitecustomize_in_a_package_or_zip_is_found(self, python, tmp_path):
        (tmp_path / "theirs" / "sitecustomize").mkdir(parents=True)
        (tmp_path / "theirs" / "sitecustomize" / "__init__.py").write_text("print(__name__, __path__ != [])\n")
        packed = shutil.make_archive(str(tmp_path / "packed"), "zip", str(tmp_path / "theirs"))
        for place in (tmp_path / "theirs", packed):
            result = python("pass", env={"PYTHONPATH": SITE + os.pathsep + str(place)})
            assert result.stdout == "sitecustomize True\n", result.stderr

    def test_a_sitecustomize_is_found_wherever_python_would_find_it(self, behind, tmp_path):
        source = tmp_path / "source.py"
        source.write_text("print(__name__, 'runs')\n")
        for place in ("package/sitecustomize", "file", "compiled"):
            (tmp_path / place).mkdir(parents=True)
        shutil.copy(str(source), str(tmp_path / "package" / "sitecustomize" / "__init__.py"))
        shutil.copy(str(source), str(tmp_path / "file" / "sitecustomize.py"))
        py_compile.compile(str(source), str(tmp_path / "compiled" / "sitecustomize.pyc"), doraise=True)
        packed = shutil.make_archive(str(tmp_path / "packed"), "zip", str(tmp_path / "file"))
        for place in (tmp_path / "package", tmp_path / "file", tmp_path / "compiled", packed):
            result = behind(place)
            assert result.stdout == "sitecustomize runs\n", (place, result.stderr)

    def test_an_entry_of_sys_path_that_is_no_string_is_skipped(self, behind, tmp_path):
        (tmp_path / "sitecustomize.py").write_text("print('runs')\n")
        odd = "import pathlib, sys\nsys.path[1:1] = [pathlib.Path('/'), b'/', None, ['/']]\n"
        with_shim, without = behind(tmp_path, prepare=odd), behind(tmp_path, prepare=odd, door=None)
        assert (with_shim.stdout, with_shim.stderr) == (without.stdout, without.stderr) == ("runs\n", "")

    @pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
    @pytest.mark.parametrize("suffix", importlib.machinery.EXTENSION_SUFFIXES)
    def test_a_sitecustomize_that_is_an_extension_module_runs(self, behind, tmp_path, suffix):
        """The extension module of this test runs, and then fails to become a module."""
        source = '#include <stdio.h>\nvoid *PyInit_sitecustomize(void) { puts("runs"); fflush(stdout); return 0; }\n'
        (tmp_path / "source.c").write_text(source)
        library = str(tmp_path / ("sitecustomize" + suffix))
        subprocess.run(["cc", "-shared", "-fPIC", str(tmp_path / "source.c"), "-o", library], check=True)
        with_shim, without = behind(tmp_path), behind(tmp_path, door=None)
        assert with_shim.stdout == without.stdout == "runs\n"
        assert without_our_frames(with_shim.stderr) == without_our_frames(without.stderr)

    def test_a_sitecustomize_is_found_by_a_path_hook_of_another_tool(self, behind, tmp_path):
        """The path hook is like one for an encrypted or remote directory, which is empty for all other finders."""
        hook = """
            import importlib.util, os, sys

            class Finder:
                def __init__(self, path):
                    if os.path.basename(path) != "behind":
                        raise ImportError
                def find_spec(self, name, target=None):
                    return importlib.util.spec_from_loader(name, self) if name == "sitecustomize" else None
                def create_module(self, spec):
                    return None
                def exec_module(self, module):
                    print("found by the hook")

            sys.path_hooks.insert(0, Finder)
            """
        (tmp_path / "behind").mkdir()
        result = behind(tmp_path / "behind", prepare=textwrap.dedent(hook))
        assert result.stdout == "found by the hook\n", result.stderr


def without_our_frames(stderr):
    """Remove the frames of shim from a traceback that Python prints while it starts."""
    lines = stderr.splitlines()
    kept, ours = [], False
    for line in lines:
        if line.startswith("  File "):
            ours = "sitecustomize.py" in line and ("_main" in line or "_run_shadowed" in line or SITE in line)
        elif not line.startswith("    "):
            ours = False
        if not ours:
            kept.append(line)
    return kept


class TestStartUpFiles:
    def test_a_usercustomize_runs_as_without_shim(self, python, tmp_path):
        """A usercustomize needs a user site directory, which a virtual environment does not have."""
        base = getattr(sys, "_base_executable", sys.executable)
        env = {"PYTHONUSERBASE": str(tmp_path / "base")}
        where = "import site; print(site.getusersitepackages(), site.ENABLE_USER_SITE)"
        user_site, enabled = python(where, door=None, env=env, executable=base).stdout.split()
        if enabled != "True":
            pytest.skip("this Python has no user site")
        Path(user_site).mkdir(parents=True)
        (Path(user_site) / "usercustomize.py").write_text("import sys\nprint('usercustomize', sys.path[0])\n")
        (Path(user_site) / "some.pth").write_text("import sys; print('pth', 'sitecustomize' in sys.modules)\n")
        plain = python("pass", door=None, env=env, executable=base)
        assert plain.stdout.startswith("pth") and "\nusercustomize" in plain.stdout
        armed = python("pass", env={**env, "PYTHONPATH": SITE}, executable=base)
        assert armed.stdout.splitlines()[0] == plain.stdout.splitlines()[0]
        assert armed.stdout.count("usercustomize") == 1

    def test_a_pth_file_that_imports_torch_is_guarded_and_called_late(self, python, tmp_path, environment):
        executable = environment(with_torch=True)
        site_packages = next(executable.parents[1].glob("lib/python*/site-packages"))
        early = site_packages / "zzz_early.pth"
        early.write_text("import os; os.environ.get('EARLY') and __import__('torch')\n")
        try:
            result = python(
                DIES + "import shim; print(shim.status().late)",
                env={"PYTHONPATH": SITE, "EARLY": "1"},
                executable=executable,
            )
        finally:
            early.unlink()
        assert result.stdout == "weight decay 0.0\nTrue\n", result.stderr
