"""Read from the sources in a wheel which public names and arguments a release has. No code of the wheel is run.

``scripts/api_timeline`` compares the releases.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WORK = Path(__file__).resolve().parents[1] / ".timeline"

#: The platforms and Pythons whose wheels are tried, in this order: the smallest wheel first. Only torchaudio 0.11 has
#: no wheel for macOS.
WHEELS = (("macosx_10_9_x86_64", "3.8"), ("macosx_15_0_arm64", "3.11"), ("manylinux1_x86_64", "3.8"))


# --- the wheel -------------------------------------------------------------------------------------------------------


def sources(package, release):
    """Return the sources of a release as path -> text; None if it has no wheel."""
    kept = next(WORK.glob(f"{package}-{release}.*.zip"), None)
    if kept is None:
        kept = fetch(package, release)
    if kept is None:
        return None
    with zipfile.ZipFile(kept) as archive:
        return {name: archive.read(name).decode("utf-8", "replace") for name in archive.namelist()}


def fetch(package, release):
    """Download a wheel, keep its sources, and return their archive."""
    with tempfile.TemporaryDirectory() as place:
        wheel = None
        for platform, python in WHEELS:
            options = ["--no-deps", "--only-binary", ":all:", "--platform", platform, "--python-version", python]
            command = [sys.executable, "-m", "pip", "download", "-q", *options, "-d", place, f"{package}=={release}.*"]
            ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            wheel = next(Path(place).glob("*.whl"), None)
            if wheel is not None:
                break
        if wheel is None:
            print(f"{package} {release}: no wheel: {ran.stdout.strip().splitlines()[-1:]}")
            return None
        WORK.mkdir(exist_ok=True)
        kept = WORK / f"{package}-{wheel.name.split('-')[1]}.zip"
        with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as rest:
            for name in whole.namelist():
                if name.startswith(package + "/") and name.endswith((".py", ".pyi", "native_functions.yaml")):
                    rest.writestr(name, whole.read(name))
    print(f"{package} {kept.stem.partition('-')[2]}: fetched")
    return kept


# --- one module ------------------------------------------------------------------------------------------------------

#: What a name is bound to: an object of the module itself, or of another package. A pair stands for an object of
#: another module of the same package.
OWN, OUTSIDE = "own", "outside"

#: This entry among the names of a module means that it can have any name: it imports * from a compiled module, or it
#: has a __getattr__ that passes names on.
ANY = "*any"


class Module:
    """The names of a module, as its source defines them.

    ``names`` maps each to OWN, OUTSIDE, or where it is imported from: a module, and a name or None for the module
    itself. ``stars`` are the modules from which it imports *. ``listed`` is ``__all__``, None if there is none or it
    cannot be read. ``said`` are the strings in a module that creates names with code: each may be a name of the module.
    ``functions`` maps the names of functions and classes to their nodes.
    """

    def __init__(self, name, is_package, text):
        self.name, self.is_package = name, is_package
        self.names, self.stars, self.listed, self.said, self.functions = {}, [], None, set(), {}
        self._lists = []
        tree = ast.parse(text)
        self._read(tree.body)
        if re.search(r"globals\(\)|sys\.modules\[|__getattr__|\bsetattr\(|\bexec\(", text):
            strings = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
            self.said |= {each for each in strings if isinstance(each, str) and each.isidentifier()}

    def _read(self, statements):
        for node in statements:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.names[node.name] = OWN
                self.functions.setdefault(node.name, []).append(node)
                if node.name == "__getattr__" and re.search(r"\bgetattr\(|import_module\(", ast.unparse(node)):
                    self.said.add(ANY)  # it passes names on to another module
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    module = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.names[alias.asname or module] = self._origin(module, None)
            elif isinstance(node, ast.ImportFrom):
                self._read_from(node)
            elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    self._bind(target)
                if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                    self._list(node.value)
                elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
                    self._alias(targets, node.value)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                called = ast.unparse(node.value.func)
                if called in ("__all__.extend", "__all__.append") and node.value.args:
                    self._list(node.value.args[0])
            elif isinstance(node, ast.Delete):
                for target in node.targets:
                    self.names.pop(getattr(target, "id", ""), None)
            elif isinstance(node, ast.If):
                test = ast.unparse(node.test)
                if test not in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "PY2", "sys.version_info[0] == 2", "False"):
                    self._read(node.body)
                self._read(node.orelse)
            else:
                if isinstance(node, ast.Try):
                    self._read_what_may_fail(node)
                for part in ("body", "handlers", "orelse", "finalbody"):
                    for inner in getattr(node, part, ()):
                        self._read(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])

    def _read_what_may_fail(self, node):
        """Treat names imported in a ``try`` as possible names: they depend on the build."""
        for inner in node.body:
            if isinstance(inner, ast.ImportFrom):
                self.said |= {alias.asname or alias.name for alias in inner.names}
        node.body = [inner for inner in node.body if not isinstance(inner, (ast.Import, ast.ImportFrom))]

    def _read_from(self, node):
        package = self.name if self.is_package else self.name.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        module = ".".join(filter(None, (package, node.module))) if node.level else node.module
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                self.names[alias.asname or alias.name] = self._origin(module, alias.name)

    def _origin(self, module, name):
        return (module, name) if module.partition(".")[0] == self.name.partition(".")[0] else OUTSIDE

    def _bind(self, target):
        if isinstance(target, ast.Name):
            self.names[target.id] = OWN
        elif isinstance(target, (ast.Tuple, ast.List)):
            for each in target.elts:
                self._bind(each)

    def _alias(self, targets, value):
        """Treat ``List = typing.List`` as a name of the other package."""
        held = self.names.get(ast.unparse(value).partition(".")[0])
        if held == OUTSIDE:
            for target in targets:
                if isinstance(target, ast.Name):
                    self.names[target.id] = OUTSIDE

    def _list(self, value):
        """Add a value to ``__all__``."""
        self._lists.append(value)
        self.listed = self.listed if self.listed is not None else set()
        for part in ast.walk(value):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                self.listed.add(part.value)
        if any(isinstance(part, (ast.ListComp, ast.GeneratorExp)) for part in ast.walk(value)):
            self.said.add("*")  # __all__ is computed

    def arguments(self, name):
        """Return the names of a function's arguments, or of a class's constructor; None if not all are known."""
        found = []
        for node in self.functions.get(name, ()):
            if isinstance(node, ast.ClassDef):
                made = [each for each in node.body if getattr(each, "name", "") in ("__init__", "__new__")]
                if not made or any("dataclass" in ast.unparse(each) for each in node.decorator_list):
                    return None
                found += made
            else:
                found.append(node)
        if not found or any(node.args.kwarg for node in found):
            return None
        every = (each.arg for node in found for each in (*node.args.args, *node.args.kwonlyargs))
        return sorted({each for each in every if each not in ("self", "cls") and each[0] != "_"})

    def lists_of(self):
        """Yield the modules whose ``__all__`` is part of this one's, by their local name or their full name."""
        for value in self._lists:
            for part in ast.walk(value):
                held = self.names.get(part.id) if isinstance(part, ast.Name) else None
                if isinstance(part, ast.Attribute) and part.attr == "__all__":
                    yield ast.unparse(part.value)
                elif isinstance(held, tuple) and held[1] == "__all__":
                    yield held[0]


def members(node):
    """Yield the names that the body of a class defines."""
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and inner in node.body:
            yield inner.name
        elif isinstance(inner, (ast.Assign, ast.AnnAssign)) and inner in node.body:
            for target in inner.targets if isinstance(inner, ast.Assign) else [inner.target]:
                yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


# --- one release -----------------------------------------------------------------------------------------------------

#: Private modules that programs use.
PRIVATE = (
    *("torch._six", "torch._utils", "torch._tensor", "torch._dynamo", "torch.utils._pytree"),
    *("torch.distributed._tensor", "torch.utils.data._utils", "torch.utils.data._utils.collate"),
    *(
        "torch.utils.data._utils.pin_memory",
        "torch.utils.data._utils.worker",
        "torch.utils.data._utils.fetch",
        "torch._jit_internal",
    ),
)

#: The modules whose functions' and classes' arguments are read.
WITH_ARGUMENTS = (
    *("torch", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils", "torch.nn.utils.rnn"),
    *("torch.nn.parallel", "torch.optim", "torch.optim.lr_scheduler", "torch.optim.swa_utils", "torch.utils.data"),
    *("torch.utils.checkpoint", "torch.utils.tensorboard", "torch.utils.cpp_extension", "torch.autograd"),
    *("torch.autograd.functional", "torch.autograd.profiler", "torch.profiler", "torch.linalg", "torch.fft"),
    *("torch.distributed", "torch.cuda", "torch.cuda.amp", "torch.amp", "torch.testing", "torch.onnx", "torch.jit"),
    *("torch.hub", "torch.serialization", "torch.distributions", "torch.multiprocessing", "torchvision"),
    *("torchvision.transforms", "torchvision.transforms.functional", "torchvision.ops", "torchvision.utils"),
    *("torchvision.datasets", "torchvision.io", "torchvision.models", "torchvision.models.detection", "torchaudio"),
    *("torchaudio.transforms", "torchaudio.functional", "torchaudio.datasets", "torchaudio.compliance.kaldi"),
)

#: Modules that programs do not import.
LEFT_OUT = re.compile(
    r"torch\.(testing\._internal|utils\.benchmark\.examples|distributed\.benchmarks|contrib|for_onnx)\b"
)


class Package:
    """The sources of one release."""

    def __init__(self, name, files):
        self.name = name
        self._files = {}
        for path, text in files.items():
            stem, _, suffix = path.rpartition(".")
            module = stem.replace("/", ".")
            is_package = module.endswith(".__init__")
            module = module[: -len(".__init__")] if is_package else module
            beside_a_package = self._files.get(module, ("",))[0] == "package" and not is_package
            if (suffix == "py" and not beside_a_package) or (suffix == "pyi" and module not in self._files):
                self._files[module] = ("package" if is_package else "module", text)
        self._read, self._names = {}, {}
        self._texts = files

    def modules(self):
        """Return the names of the modules that a program may import."""
        return [
            module
            for module in self._files
            if not LEFT_OUT.match(module) and (module in PRIVATE or not re.search(r"\._|^_|__main__", module))
        ]

    def read(self, module):
        """Return a module; None if it is compiled or does not exist."""
        if module not in self._read:
            kind, text = self._files.get(module, ("", None))
            try:
                self._read[module] = None if text is None else Module(module, kind == "package", text)
            except SyntaxError:  # a template, or a file for another Python
                self._read[module] = None
        return self._read[module]

    def children(self, module):
        """Return the names of a package's modules."""
        return {
            each[len(module) + 1 :]
            for each in self._files
            if each.startswith(module + ".") and "." not in each[len(module) + 1 :]
        }

    def origin(self, module, name, seen=()):
        """Return the origin of a name of a module: OWN, OUTSIDE, "module", or "unknown"."""
        if name is None or f"{module}.{name}" in self._files:
            return "module"
        read = self.read(module)
        if read is None or (module, name) in seen:
            return "unknown"
        held = read.names.get(name)
        if held is None:
            for star in read.stars:
                if name in self.names(star)[1]:
                    return self.origin(star, name, (*seen, (module, name)))
            return "unknown"
        return held if held in (OWN, OUTSIDE) else self.origin(*held, (*seen, (module, name)))

    def arguments(self, module, name, seen=()):
        """Return the arguments of a function or class of a module, wherever it is defined; None if unknown."""
        read = self.read(module)
        if read is None or (module, name) in seen:
            return None
        held = read.names.get(name)
        if held == OWN:
            return read.arguments(name)
        if isinstance(held, tuple):
            return self.arguments(held[0], held[1], (*seen, (module, name)))
        for star in read.stars:
            if name in self.names(star)[1]:
                return self.arguments(star, name, (*seen, (module, name)))
        return None

    def names(self, module, seen=()):
        """Return all known names of a module, and the public ones."""
        if seen:  # incomplete in a circle of imports, so it is not cached
            return self._names_of(module, seen)
        if module not in self._names:
            self._names[module] = self._names_of(module, ())
        return self._names[module]

    def _names_of(self, module, seen):
        read = self.read(module)
        if read is None or module in seen:
            return set(), set()
        every = set(read.names)
        for star in read.stars:
            every |= self.names(star, (*seen, module))[1]
        listed = self.listed(module, (*seen, module))
        public = {name for name in every if name[0] != "_"} if listed is None else listed
        if "*" in read.said:
            public = public | {name for name in every if name[0] != "_"}
        return every | (listed or set()), public

    def listed(self, module, seen):
        """Return ``__all__`` of a module; None if it has none."""
        read = self.read(module)
        if read is None or read.listed is None:
            return None
        found = set(read.listed)
        for called in read.lists_of():
            held = read.names.get(called.partition(".")[0])
            known = [f"{module}.{called}", called]
            known += [".".join(filter(None, held))] if isinstance(held, tuple) else []
            for each in known:
                if each not in seen:
                    found |= self.listed(each, (*seen, module)) or set()
        return found

    def facts(self):
        """Return, for each module, the names that it has or may have, and its public names that are defined there.

        The third value maps each of these public names to the names of its arguments, if they are known.
        """
        found = {}
        for module in self.modules():
            read = self.read(module)
            if read is None:
                continue
            every, public = self.names(module)
            children = self.children(module)
            own = {
                name
                for name in public
                if name.isidentifier()
                and name[0] != "_"
                and (name in children or self.origin(module, name) in (OWN, "unknown"))
            }
            every |= children
            taken = {name: self.arguments(module, name) for name in own if module in WITH_ARGUMENTS}
            taken = {name: found for name, found in taken.items() if found is not None}
            if any(self.read(star) is None for star in read.stars):
                every = every | {ANY}
            found[module] = (every | read.said, own | {child for child in children if child[0] != "_"}, taken)
        if "torch" in found:
            found["torch"] = self._torch(*found["torch"])
            found["torch.Tensor"] = (*self._tensor(), {})
        return found

    def _texts_of(self, *paths):
        return [self._texts[path] for path in paths if path in self._texts]

    def _torch(self, every, public, taken):
        """Add the compiled names of torch, from the stubs and from the calls that add their documentation."""
        texts = self._texts_of("torch/__init__.pyi", "torch/_C/__init__.pyi", "torch/_C/_VariableFunctions.pyi")
        compiled = {name for text in texts for name, held in Module("torch", True, text).names.items() if held == OWN}
        for text in self._texts_of("torch/_torch_docs.py"):
            compiled |= set(re.findall(r"add_docstr\(\s*torch\.(\w+),", text))
        return every | compiled, public | {name for name in compiled if name[0] != "_"}, taken

    def _tensor(self):
        names = set()
        stubs = ("torch/__init__.pyi", "torch/_C/__init__.pyi")
        for text in self._texts_of(*stubs, "torch/_tensor.py", "torch/tensor.py"):
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef) and node.name in ("Tensor", "_TensorBase", "TensorBase"):
                    names |= set(members(node))
        for text in self._texts_of("torch/_tensor_docs.py"):
            names |= set(re.findall(r"add_docstr_all\(\s*['\"](\w+)['\"]", text))
        return names, {name for name in names if name[0] != "_"}
