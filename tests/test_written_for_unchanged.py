"""Functions that --for has patched look, compile and are pickled as before, and deactivate() restores them."""

from __future__ import annotations

import pytest
import torch

from shim import rows
from shim.releases import release

HERE = release(torch.__version__).numbers

#: Collects the objects in every loaded module and in the classes that it defines; prints those that differ from before.
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
        ours = name.partition(".")[0] == "shim" and not name.startswith("shim.rows.")
        if ours or name in ("__main__", "__mp_main__") or not hasattr(module, "__dict__"):
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


@pytest.mark.parametrize("programs", [("1.4",), ("1.13",), ("2.15",), ("1.4", "1.1", "2.15", "1.4")])
def test_deactivate_restores_every_name(python, programs):
    code = (
        EVERY_NAME
        + f"""
before = everything()
for program in {programs}:
    shim.deactivate()
    shim.activate(written_for=program)
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
    # The first line may be a message of torch about CUDA.
    assert said.partition("True\n")[1:] == ("True\n", "")


def test_without_a_release_the_names_are_those_without_shim(python):
    # Without the door there is no shim, unless it is installed.
    paths = [each.path for row in rows.load() for each in row.targets if not each.module.startswith("shim.")]
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


#: Scripts modules and functions whose source calls functions that rows change, and prints the result of each.
SCRIPTED = """
import torch
from torch import nn

def upsampled(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0)

def loss(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy(x, x)

def statistics(x: torch.Tensor) -> torch.Tensor:
    order = torch.sort(x, 0)[0] + torch.argsort(x, 0) + torch.std(x, dim=0) + x.var(0, unbiased=False)
    return nn.functional.gelu(order).round().clamp(0.0, 1.0).squeeze(0) * torch.any(x > 0) * (x > 0).all(0)

def convolution(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.conv1d(x, x, padding=1)

layer, decoder = nn.TransformerEncoderLayer(8, 2), nn.TransformerDecoderLayer(8, 2)
modules = [nn.MultiheadAttention(8, 2), nn.Transformer(8, 2, 1, 1, 8), layer, decoder]
modules += [nn.TransformerEncoder(layer, 1), nn.TransformerDecoder(decoder, 1)]
modules += [each(scale_factor=2) for each in (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)]
modules += [nn.BCELoss(), nn.CrossEntropyLoss(), nn.CTCLoss(), nn.LSTM(2, 2), nn.Softmax(dim=1), nn.GELU(), nn.ELU()]
for what in [*modules, upsampled, loss, statistics, convolution]:
    name = getattr(what, "__name__", type(what).__name__)
    try:
        torch.jit.script(what)
        print(name, "is compiled")
    except Exception as error:
        print(name, type(error).__name__, str(error).strip().partition("\\n")[0])
"""


@pytest.mark.parametrize("program", ["1.4", "1.7", "1.12", "2.7"])
def test_torchscript_compiles_the_code_of_torch_as_without_shim(python, tmp_path, program):
    script = tmp_path / "program.py"
    script.write_text(SCRIPTED)
    plain = python(["-W", "ignore", script], door=None)
    assert plain.stdout.count("is compiled") > 9, plain.stderr
    assert python(["-W", "ignore", script], env={"SHIM_FOR": program}).stdout == plain.stdout


@pytest.mark.skipif(not (2, 3) <= HERE < (3, 0), reason="TorchScript asks a function what to compile from 2.3 on")
def test_torchscript_compiles_what_it_compiles_without_shim(python, tmp_path):
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


#: Pickles and unpickles every function and class that a row adds or wraps. Prints the paths of those that no longer
#: give the same object although the original did, and then the paths of the functions that look different from it.
PICKLES = """
import importlib, inspect, operator, pickle, sys, types
import torch.utils.data, torch.distributed, torch.onnx, shim.rows
from shim.targets import expanded

def held_at(target):
    module, _, path = target.path.partition(":")
    try:
        return operator.attrgetter(path)(importlib.import_module(module))
    except (ImportError, AttributeError, RuntimeError):  # RuntimeError: torchvision beside another build of torch
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


#: Traces a program that calls functions that rows change, and prints the code and the result.
TRACED = """
import torch
from torch import fx, nn

class Program(nn.Module):
    def forward(self, x):
        y = torch.sort(torch.clamp(x, 0.0, 1.0), 1)[0] + torch.std(x, 1) + torch.squeeze(x, 0).var(1, unbiased=False)
        return nn.functional.conv1d(y.reshape(1, 1, 4), torch.ones(1, 1, 3)) * torch.any(x > 0) * (x > 0).all(1)

traced = fx.symbolic_trace(Program())
print(traced.code, [getattr(node.target, "__name__", node.target) for node in traced.graph.nodes])
print(traced(torch.tensor([[1.0, 2.0], [0.5, 3.0]])))
"""


@pytest.mark.skipif(HERE < (1, 8), reason="torch.fx came with 1.8")
@pytest.mark.parametrize("program", ["1.4", "2.7", "2.15"])
def test_fx_traces_the_functions_of_torch_as_without_shim(python, tmp_path, program):
    script = tmp_path / "program.py"
    script.write_text(TRACED)
    plain = python(["-W", "ignore", script], door=None)
    assert "tensor(" in plain.stdout, plain.stderr
    assert python(["-W", "ignore", script], env={"SHIM_FOR": program}).stdout == plain.stdout
