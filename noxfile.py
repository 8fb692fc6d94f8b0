"""Sessions: ``nox`` runs the suite, ``nox -s clients`` the frameworks, ``nox -s matrix -- 1.8.1`` other torch releases.

``nox -s optional`` runs the patches of known breakages, each on the torch where it bites.
Arguments behind ``--`` go to pytest, or to scripts/matrix.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests"]

TORCH = "scripts/torch.txt"
REQUIREMENTS = Path("tests/clients/requirements")

#: Environment -> the clients that run there; the frameworks' own runs those that need torch alone, too.
CLIENTS = {"frameworks": (), "deepspeed": ("-k", "deepspeed"), "timm": ("-k", "timm")}

#: Where the optional patches bite: Python, torch.
BITES = (("3.8", "1.11.0"), ("3.8", "1.12.0"), ("3.8", "1.13.1"), ("3.11", "2.13.0"), ("3.13", "2.15.0"))


def install(session: nox.Session, *what: str) -> None:
    """Install torch at its pin first, and whatever else without touching it."""
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
    """Run the frameworks of tests/clients, and other packages' optimizers, at their pins."""
    install(session, "-e", ".", "pytest", "expecttest")
    session.install("-c", TORCH, "-r", str(REQUIREMENTS / f"{environment}.txt"))
    if environment == "frameworks":
        session.install("-c", TORCH, "-r", "tests/third_party.txt")
    tests = ("tests/clients", "tests/test_third_party.py")
    session.run("python", "-m", "pytest", *tests, *CLIENTS[environment], *session.posargs)


@nox.session
@nox.parametrize("python, torch", BITES, ids=[torch for _, torch in BITES])
def optional(session: nox.Session, torch: str) -> None:
    """Run the optional patches on the releases where they bite."""
    numpy = "numpy<2" if torch.startswith("1.") else "numpy"
    session.install(f"torch=={torch}", numpy, "packaging", "wrapt", "pytest")
    session.run("python", "-m", "pytest", "tests/test_optional.py", *session.posargs)


@nox.session(python=False)
def matrix(session: nox.Session) -> None:
    """Run guards, hazards and ADOPT on other torch releases."""
    session.run(sys.executable, "scripts/matrix", *session.posargs)
