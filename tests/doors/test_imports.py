"""Modules may be imported in any order, repeatedly, lazily or not at all. Only executed modules are patched."""

from __future__ import annotations

import textwrap

import pytest

BUILD = "torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], weight_decay=None).defaults['weight_decay']"

#: The recipe of importlib: https://docs.python.org/3/library/importlib.html#implementing-lazy-imports
LAZILY = textwrap.dedent("""
        import importlib.util, sys, torch
        for name in [name for name in sys.modules if name == "torch.optim" or name.startswith("torch.optim.")]:
            del sys.modules[name]
        spec = importlib.util.find_spec("torch.optim")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules["torch.optim"] = torch.optim = module
        spec.loader.exec_module(module)
""")

WAYS = {
    "torch.optim and all below it, again": """
        import sys, torch
        for name in [name for name in sys.modules if name == "torch.optim" or name.startswith("torch.optim.")]:
            del sys.modules[name]
        import torch.optim
        """,
    "one module of it, again": """
        import sys, torch
        del sys.modules["torch.optim.adamw"]
        import torch.optim.adamw
        """,
    "reloaded": """
        import importlib, torch
        importlib.reload(sys.modules["torch.optim.adam"])
        importlib.reload(sys.modules["torch.optim.adamw"])
        """,
    "lazily, the recipe of importlib": LAZILY + "import torch.optim.adam\n",
    "lazily, and executed by the first use": LAZILY,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_import_torch_is_guarded_without_output(python, way):
    code = "import sys, warnings\n" + textwrap.dedent(WAYS[way])
    code += f"warnings.simplefilter('ignore')\nprint({BUILD})\n"
    env = {"SHIM_LOG": "warning"}
    result = python(code, env=env)
    assert (result.stdout, result.stderr) == ("0.0\n", "")


@pytest.mark.parametrize("way", WAYS)
def test_without_a_none_strict_changes_nothing(python, way):
    code = "import sys\n" + textwrap.dedent(WAYS[way])
    code += "print(type(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)).__name__)\n"
    result = python(code, env={"SHIM_STRICT": "1"})
    assert (result.stdout, result.stderr) == ("SGD\n", "")


def test_shim_does_not_execute_a_lazily_loaded_module(python, tmp_path):
    (tmp_path / "lazy.py").write_text("print('imported')")
    code = """
        import importlib.util, sys, torch
        spec = importlib.util.find_spec("lazy")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        sys.modules["lazy"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        import shim
        shim.activate()
        shim.deactivate()
        print("used")
        module.anything
        """
    result = python(code, door="src")
    assert result.stdout == "used\nimported\n"


@pytest.mark.parametrize("collects", [True, False])
def test_the_garbage_collector_keeps_its_state(python, collects):
    code = f"import gc\n{'' if collects else 'gc.disable()'}\nimport torch\nprint(gc.isenabled())\nraise SystemExit"
    result = python(code, env={"SHIM_FOR": "1.7"})
    assert result.stdout == f"{collects}\n"


@pytest.mark.parametrize("error", ["ImportError('no')", "ValueError('no')", "KeyError(1)"])
def test_the_traceback_of_an_error_in_an_awaited_module_has_no_frame_of_shim(python, tmp_path, error):
    (tmp_path / "torch" / "optim").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").write_text("import torch.optim\n")
    (tmp_path / "torch" / "optim" / "__init__.py").write_text(f"raise {error}\n")
    plain, ours = (python("import torch", door=door, cwd=tmp_path) for door in (None, "sitecustomize"))
    assert plain.returncode == ours.returncode == 1
    assert ours.stderr == plain.stderr


@pytest.mark.parametrize("name", ["torch.optim", "torch.optim._multi_tensor"])
def test_the_spec_of_an_awaited_module_looks_like_its_own(python, name):
    code = f"""
        import copy, importlib.abc, importlib.machinery, importlib.util, pickle, weakref
        if "." in {name!r}[6:]:
            import torch
        spec, again = importlib.util.find_spec({name!r}), importlib.util.find_spec({name!r})
        print(spec == again, spec.loader == again.loader, hash(spec.loader) == hash(again.loader))
        for kind in (importlib.abc.InspectLoader, importlib.abc.SourceLoader, importlib.machinery.SourceFileLoader):
            print(isinstance(spec.loader, kind))
        for made in (copy.copy(spec), copy.deepcopy(spec), pickle.loads(pickle.dumps(spec))):
            print(made == spec, spec == made, made.loader == spec.loader, spec.loader == made.loader)
        print(vars(spec.loader), repr(spec.loader).partition(" object at ")[0])
        print(weakref.ref(spec.loader)() is spec.loader)
    """
    plain, ours = (python(code, door=door) for door in (None, "sitecustomize"))
    assert ours.stdout == plain.stdout != "", ours.stderr


@pytest.mark.parametrize("name", ["exec_module", "create_module", "get_code", "marked"])
def test_a_tool_may_replace_methods_of_an_awaited_modules_loader(python, name):
    code = f"""
        import importlib.util, sys
        from unittest import mock

        class Tool:
            asked = False

            def find_spec(self, fullname, path=None, target=None):
                if fullname != "torch.optim" or self.asked:
                    return None
                self.asked = True
                spec = importlib.util.find_spec(fullname)
                held = getattr(spec.loader, {name!r}, None)

                def wrapper(*args):
                    print("called")
                    return held(*args)

                with mock.patch.object(spec.loader, {name!r}, wrapper, create=True):
                    print(spec.loader.{name} is wrapper)
                print(getattr(spec.loader, {name!r}, None) == held)
                spec.loader.{name} = wrapper
                del spec.loader.{name}
                print(getattr(spec.loader, {name!r}, None) == held)
                spec.loader.{name} = wrapper
                print(spec.loader.{name} is wrapper)
                return spec

        sys.meta_path.insert(0, Tool())
        import torch
        try:
            torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1, weight_decay=None)
            print("guarded")
        except TypeError:
            print("not guarded")
    """
    plain, ours = (python(code, door=door) for door in (None, "sitecustomize"))
    assert ours.stdout.endswith("\nguarded\n"), ours.stderr
    assert ours.stdout == plain.stdout.replace("not guarded", "guarded")


def test_the_entries_of_the_meta_path_can_be_copied_and_have_what_finders_have(python):
    code = """
        import copy, importlib, sys
        for _ in range(2):
            copied = copy.deepcopy(sys.meta_path)
            ours = [finder for finder in sys.meta_path if hasattr(finder, "_shim")]
            print(len(ours), [callable(finder.find_spec) for finder in ours], type(ours[0]).__name__)
            importlib.invalidate_caches()
            sys.meta_path[:] = copied
            import torch.optim
    """
    result = python(code)
    assert result.stdout == "1 [True] Finder\n" * 2, result.stderr
