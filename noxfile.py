"""Sessions: ``nox`` runs the suite, ``nox -s clients`` the frameworks, ``nox -s matrix -- 1.8.1`` other torch releases.

``nox -s optional`` runs the patches of known breakages, each on a torch that has the breakage.
``nox -s programs`` runs old programs on the torch that they were written for, and on the current one with ``--for``.
``nox -s neighbours`` runs other projects' own tests with shim and without, ``-- torch timm`` some of them.
``nox -s sanitize`` fuzzes ADOPT's kernel under AddressSanitizer and UBSan, ``-- --cases N`` with N cases.
``nox -s docs`` builds the documentation as a site into .site/, and fails for a broken link or any other warning.
``nox -s wheels`` builds the sdist and a wheel for every platform, and runs the kernels that can run on this machine.
``nox -s release`` builds the same, tries it in a separate environment, and prints the obstacles to a release.
``nox -s launchers`` starts programs with every launcher of docs/children.md, ``-- torchrun ray`` some of them.
Other arguments behind ``--`` go to pytest, or to scripts/matrix.
"""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests"]

TORCH = "scripts/torch.txt"
REQUIREMENTS = Path("tests/clients/requirements")

#: Environment -> pytest options. The environment of the frameworks also runs the scripts that need torch alone.
CLIENTS = {"frameworks": (), "deepspeed": ("-k", "deepspeed"), "timm": ("-k", "timm")}

#: Releases that have the breakages of the optional patches: Python, torch.
BITES = (("3.8", "1.11.0"), ("3.8", "1.12.0"), ("3.8", "1.13.1"), ("3.11", "2.13.0"), ("3.13", "2.15.0"))

SANITIZED = ("-std=c11", "-O1", "-g", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared")
SANITIZED += ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer")
#: Compiler -> extra flags, and the runtimes to preload: they must be loaded before Python allocates memory.
SANITIZERS = {
    "gcc": ((), ("libasan.so", "libubsan.so", "libstdc++.so.6")),
    "clang": (("-shared-libsan",), ("libclang_rt.asan-x86_64.so", "libstdc++.so.6")),
}


def install(session: nox.Session, *what: str) -> None:
    """Install the pinned torch first, then the other packages without changing it."""
    session.install("-r", TORCH)
    session.install("-c", TORCH, "numpy", *what)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the suite on the pinned torch."""
    install(session, "-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
@nox.parametrize("environment", list(CLIENTS), ids=list(CLIENTS))
def clients(session: nox.Session, environment: str) -> None:
    """Run the frameworks of tests/clients, and the optimizers of other packages, at pinned releases."""
    install(session, "-e", ".", "pytest", "expecttest")
    session.install("-c", TORCH, "-r", str(REQUIREMENTS / f"{environment}.txt"))
    if environment == "frameworks":
        session.install("-c", TORCH, "-r", "tests/third_party.txt")
    tests = ("tests/clients", "tests/test_third_party.py")
    session.run("python", "-m", "pytest", *tests, *CLIENTS[environment], *session.posargs)


@nox.session
@nox.parametrize("python, torch", BITES, ids=[torch for _, torch in BITES])
def optional(session: nox.Session, torch: str) -> None:
    """Run the optional patches on the releases that have the breakages."""
    numpy = "numpy<2" if torch.startswith("1.") else "numpy"
    session.install(f"torch=={torch}", numpy, "packaging", "wrapt", "pytest")
    session.run("python", "-m", "pytest", "tests/optional", *session.posargs)


@nox.session
@nox.parametrize("python, torch", (("3.8", "1.7.1"), ("3.11", "2.13.0")), ids=["1.7.1", "2.13.0"])
def programs(session: nox.Session, torch: str) -> None:
    """Run the programs of tests/programs, and compare what they print."""
    # The programs use np.float, as torch 1.7 itself does, and NumPy has none since 1.24:
    # https://github.com/pytorch/pytorch/blob/v1.7.1/torch/utils/tensorboard/summary.py#L592
    session.install(
        f"torch=={torch}", "numpy<1.24" if torch.startswith("1.") else "numpy", "packaging", "wrapt", "pytest"
    )
    session.run("python", "-m", "pytest", "tests/test_programs.py", *session.posargs)


@nox.session(python="3.11")
def neighbours(session: nox.Session) -> None:
    """Run other projects' own tests with shim and without, and compare them test by test."""
    session.install("-r", "scripts/neighbours.txt")
    session.run("python", "scripts/neighbours", *session.posargs)


@nox.session
def sanitize(session: nox.Session) -> None:
    """Fuzz ADOPT's kernel with sanitizers, on one thread and on two, with both ways of checking tensors."""
    compiler = next(filter(shutil.which, SANITIZERS), None)
    if compiler is None:
        session.error("no gcc or clang is installed")
    flags, runtimes = SANITIZERS[compiler]
    install(session, "-e", ".")
    library = str(Path(session.create_tmp()).resolve() / "native.so")
    session.run(compiler, *SANITIZED, *flags, "src/shim/adopt/native.c", "-o", library, "-lm", external=True)
    found = [session.run(compiler, f"-print-file-name={name}", silent=True, external=True) for name in runtimes]
    env = {"LD_PRELOAD": " ".join(map(str.strip, found)), "ASAN_OPTIONS": "detect_leaks=0:exitcode=99"}
    fuzz = ("python", "tests/adopt/adopt_fuzz.py", "--library", library)
    # Check first that the sanitizer detects a known overflow.
    session.run(*fuzz, "--beyond", env=env, success_codes=[99], silent=True)
    for threads, options in (
        ("1", ()),
        ("2", ()),
        ("1", ("--exchange",)),
        ("1", ("--no-exchange",)),
        ("1", ("--python",)),
    ):
        session.run(
            *fuzz, *options, *(session.posargs or ("--cases", "10000")), env={**env, "OMP_NUM_THREADS": threads}
        )


@nox.session(python=False)
def matrix(session: nox.Session) -> None:
    """Run guards, hazards and ADOPT on other torch releases."""
    session.run(sys.executable, "scripts/matrix", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site."""
    session.install("mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1,<2", "mkdocs-include-markdown-plugin>=7.1,<8")
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def launchers(session: nox.Session) -> None:
    """Check for every launcher whether the processes it starts are guarded."""
    install(session, "-e", ".")
    session.install("-c", TORCH, "-r", "scripts/launchers.txt")
    session.run("python", "scripts/launchers", *session.posargs)


def build_wheels(session: nox.Session, *targets: str) -> list[Path]:
    """Build the sdist and the wheels into dist/, check them, and return them."""
    session.install("build", "pip", "setuptools>=77", "wheel", "ziglang>=0.13", "twine", "auditwheel")
    session.run("python", "scripts/wheels", *targets)
    built = sorted(Path("dist").glob("*"))
    session.run("twine", "check", "--strict", *map(str, built))
    for wheel in filter(is_for_here, built):
        session.run("auditwheel", "show", str(wheel))
    return built


def is_for_here(built: Path) -> bool:
    """Return whether this machine can install a wheel."""
    return "manylinux" in built.name and platform.machine() in built.name


#: Fails without guards; prints whether the kernel was found.
SMOKE = """
import torch
from shim.adopt import ADOPT, native
for make in (torch.optim.AdamW, ADOPT):
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = make([p], lr=0.1, weight_decay=None)
    for _ in range(3):
        p.grad = torch.ones(3)
        optimizer.step()
    assert p.max() < 1
print("ADOPT:", native.in_words())
"""


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the sdist and the wheels into dist/, check them, and train with the kernel of this platform's wheel."""
    for wheel in filter(is_for_here, build_wheels(session, *session.posargs)):
        install(session, str(wheel))
        said = session.run("python", "-m", "shim", "run", "-c", SMOKE, silent=True)
        if "ADOPT: native kernel" not in said:
            session.error(f"no kernel: {said}")
    session.run("python", "scripts/wheels", "--run")


@nox.session
def release(session: nox.Session) -> None:
    """Build the files of a release, try them as users install them, and print the obstacles. Nothing is uploaded."""
    built = build_wheels(session)
    session.install("-r", TORCH)
    session.install("-c", TORCH, "numpy")
    # As users install them: the wheel of this platform, the sdist with a compiler, and the sdist without one.
    sdist = next(path for path in built if path.name.endswith(".tar.gz"))
    tries = [(path, {}, "ADOPT: native kernel") for path in built if is_for_here(path)]
    tries += [(sdist, {}, "ADOPT: native kernel"), (sdist, {"CC": "false"}, "ADOPT: in blocks")]
    for path, environment, expected in tries:
        session.run("python", "-m", "pip", "install", "--no-cache-dir", str(path), env=environment, silent=True)
        session.run("shim", "doctor")
        said = session.run("shim", "run", "-c", SMOKE, silent=True)
        if expected not in said:
            session.error(f"{path.name}: expected {expected!r}, and it printed: {said}")
        if is_for_here(path):  # the kernels of the other wheels are compared with the one of this wheel
            session.run("python", "scripts/wheels", "--run")
        session.run("python", "-m", "pip", "uninstall", "-y", "torch-shim", silent=True)
        session.run("python", "-c", "import shim", success_codes=[1], silent=True)  # nothing is left behind
    session.run("python", "scripts/release")
