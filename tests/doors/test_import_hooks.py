"""shim's import hook and other finders and loaders work together."""

from __future__ import annotations

import os
import textwrap

import pytest
from neighbour_programs import ANNOUNCE

from shim.launch import SITE


class TestImportHooks:
    """The finder works with other finders and loaders. The tests use a package that only has the name of torch."""

    @pytest.fixture
    def armed(self, python, fake_torch):
        def run(code, **options):
            env = {"PYTHONPATH": SITE + os.pathsep + str(fake_torch)}
            code = [*code, ANNOUNCE] if isinstance(code, list) else ANNOUNCE + textwrap.dedent(code)
            result = python(code, env=env, **options)
            assert result.returncode == 0, result.stderr
            return result.stdout.splitlines()

        return run

    ONCE = ("torch.optim runs", "arrived: torch.optim")

    def test_a_reloaded_module_is_patched_again(self, armed):
        code = """
            import importlib, torch.optim
            torch.optim.mark = "edited"
            before = torch.optim
            print(importlib.reload(torch.optim) is before, torch.optim.mark)
        """
        assert armed(code) == [*self.ONCE, *self.ONCE, "True original"]

    def test_a_module_that_is_removed_and_imported_again_is_patched_again(self, armed):
        code = """
            import sys, torch.optim
            del sys.modules["torch.optim"], torch.optim
            import torch.optim
        """
        assert armed(code) == [*self.ONCE, *self.ONCE]

    def test_a_module_whose_first_import_fails_is_patched_after_the_next_one(self, armed, fake_torch):
        (fake_torch / "torch" / "optim" / "__init__.py").write_text(
            "import os\n1 / len(os.environ['DIVISOR'])\nprint('runs')\n"
        )
        code = """
            import os, sys
            os.environ["DIVISOR"] = ""
            try:
                import torch.optim
            except ZeroDivisionError as error:
                trace = error.__traceback__
                while trace:
                    print(trace.tb_frame.f_code.co_filename.rpartition("/")[2])
                    trace = trace.tb_next
            print("torch.optim" in sys.modules)
            os.environ["DIVISOR"] = "1"
            import torch.optim
        """
        lines = armed(code)
        assert lines[-3:] == ["False", "runs", "arrived: torch.optim"]
        assert lines[-4] == "__init__.py"

    def test_a_lazily_loaded_module_is_patched_when_it_is_executed(self, armed):
        code = """
            import importlib.util, sys
            spec = importlib.util.find_spec("torch.optim")
            loader = importlib.util.LazyLoader(spec.loader)
            spec.loader = loader
            module = importlib.util.module_from_spec(spec)
            sys.modules["torch.optim"] = module
            loader.exec_module(module)
            print("lazy")
            print(module.mark, type(module).__name__, type(module.__loader__).__name__)
        """
        assert armed(code) == ["lazy", *self.ONCE, "original module SourceFileLoader"]

    def test_a_thread_can_import_a_hooked_submodule_while_its_package_is_being_imported(
        self, armed, fake_torch, python, monkeypatch
    ):
        (fake_torch / "torch" / "__init__.py").write_text(
            textwrap.dedent(
                """
                import importlib, os, threading
                thread = threading.Thread(target=importlib.import_module, args=["torch.optim"])
                thread.start()
                thread.join(float(os.environ["SECONDS"]))
                print("waits for ever" if thread.is_alive() else "imported")
                """
            )
        )
        plain = python("import torch", env={"PYTHONPATH": str(fake_torch), "SECONDS": "20"})
        if plain.stdout.startswith("waits"):
            pytest.skip("the import of a submodule waits for its package here, without shim, too")
        monkeypatch.setenv("SECONDS", "240")
        assert armed("import torch") == [*self.ONCE, "imported"]

    def test_many_threads_that_import_a_module_at_once_patch_it_once(self, armed):
        code = """
            import importlib, sys, threading
            sys.setswitchinterval(1e-6)
            start = threading.Barrier(16)
            def work():
                start.wait()
                assert importlib.import_module("torch.optim").mark == "original"
            threads = [threading.Thread(target=work) for _ in range(16)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        """
        assert armed(code) == list(self.ONCE)

    @pytest.mark.parametrize("where", ["in front of ours", "behind ours"])
    def test_a_finder_of_another_tool_that_wraps_loaders_too_works_with_shims(self, armed, where):
        code = """
            import importlib.util, sys

            class Loader:
                def __init__(self, loader):
                    self.loader = loader
                def create_module(self, spec):
                    return self.loader.create_module(spec)
                def exec_module(self, module):
                    self.loader.exec_module(module)
                    print("theirs:", module.__name__)

            class Finder:
                asking = False
                def find_spec(self, name, path=None, target=None):
                    if name != "torch.optim" or self.asking:
                        return None
                    self.asking = True
                    spec = importlib.util.find_spec(name)
                    self.asking = False
                    spec.loader = Loader(spec.loader)
                    return spec

            sys.meta_path.insert({"in front of ours": 0, "behind ours": 1}["WHERE"], Finder())
            import torch.optim
        """
        lines = armed(code.replace("WHERE", where))
        assert lines[0] == "torch.optim runs"
        assert sorted(lines[1:]) == ["arrived: torch.optim", "theirs: torch.optim"]

    def test_the_finders_of_wrapt_and_importlib_metadata_work_with_shims(self, armed):
        pytest.importorskip("wrapt")
        code = """
            import importlib.metadata, wrapt
            wrapt.register_post_import_hook(lambda module: print("wrapt:", module.mark), "torch.optim")
            import torch.optim
            print(importlib.metadata.version("wrapt") != "")
        """
        lines = armed(code)
        assert sorted(lines) == sorted([*self.ONCE, "wrapt: original", "True"])

    def test_inspecting_the_spec_of_a_module_does_not_import_it(self, armed):
        code = """
            import importlib.util, pkgutil, sys
            spec = importlib.util.find_spec("torch.optim")
            [package] = importlib.util.find_spec("torch").submodule_search_locations
            print(spec.name, spec.origin == package + "/optim/__init__.py")
            print(spec.loader.get_source("torch.optim").splitlines()[1], spec.loader.is_package("torch.optim"))
            print("torch.optim" in sys.modules, spec.loader.get_resource_reader("torch.optim") is not None)
        """
        assert armed(code) == ["torch.optim True", "mark = 'original' True", "False True"]

    def test_the_assertion_rewriting_of_pytest_works_with_shims_hook(self, python, fake_torch, tmp_path):
        (tmp_path / "conftest.py").write_text("pytest_plugins = ['plugin']\n")
        (tmp_path / "plugin.py").write_text("def check(x):\n    assert x == 1\n")
        (tmp_path / "test_it.py").write_text(
            ANNOUNCE + "def test():\n    import torch.optim, plugin\n    value = [1, 2]\n    assert value == [1, 3]\n"
        )
        env = {"PYTHONPATH": SITE + os.pathsep + str(fake_torch)}
        result = python(
            ["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--rootdir", tmp_path, "test_it.py"], env=env
        )
        assert "At index 1 diff: 2 != 3" in result.stdout
        assert "torch.optim runs\narrived: torch.optim\n" in result.stdout

    @pytest.mark.parametrize("module", ["torch.optim", "torch.optim.adam"])
    def test_python_m_runs_a_hooked_module(self, python, fake_torch, module):
        main = "print(__name__, __spec__.name, __file__, __package__)\nimport inspect, sys\ndef f(): 'source'\n"
        main += "print(inspect.getsource(f), sys.argv)\n"
        (fake_torch / "torch" / "optim" / "__main__.py").write_text(main)
        (fake_torch / "torch" / "optim" / "adam.py").write_text(main)
        plain = python(["-m", module, "x"], door=None, env={"PYTHONPATH": str(fake_torch)})
        env = {"PYTHONPATH": SITE + os.pathsep + str(fake_torch), "SHIM_DISABLE": ""}
        armed = python(["-m", module, "x"], door=None, env=env)
        assert armed.stdout == plain.stdout != ""
        assert armed.returncode == 0
