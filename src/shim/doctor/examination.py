"""Examine an interpreter, its torch, the doors, and what prevents them from working.

torch is not imported into this process. Child processes import it, started as a job would be started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import Any, Iterator, NamedTuple

from .. import __version__, import_hook, interpreter, launch, releases, switches

#: The directory from which the package can be imported: site-packages, or the src of a checkout.
ROOT = str(Path(import_hook.PACKAGE).parent)

LOOK = (Path(__file__).parent / "look.py").read_text()
TRAIN = (Path(__file__).parent / "train.py").read_text()


#: The seconds that an interpreter has to answer.
PATIENCE = 30.0


class NoPythonError(Exception):
    """``--python`` is not a Python interpreter that shim supports."""


class NoReleaseError(Exception):
    """``--for`` is not a release of torch."""


class Child:
    """A child process and its output."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
        )
        self._said: tuple[str, str] | None = None

    def lines(self, stream: int = 0, patience: float | None = None) -> list[str]:
        """Return the lines of stdout, or of stderr, once the process has ended: an exit handler may print, too.

        Raises:
            subprocess.TimeoutExpired: if that takes more seconds than ``patience``.
        """
        if self._said is None:
            self._said = self.process.communicate(timeout=patience)
        return [line.strip() for line in self._said[stream].splitlines() if line.strip()]

    def complaint(self) -> str:
        """Return the last line of stderr, or the exit code."""
        return (self.lines(stream=1) or [f"exit code {self.process.returncode}"])[-1]


class Door(NamedTuple):
    """A door, and how code is started through it."""

    name: str
    #: What goes in front of ``-c CODE``; empty if the door refuses.
    command: list[str]
    environment: dict[str, str]
    #: A format string for the code.
    form: str = "{}"
    #: Why the door cannot be used here; empty if it can.
    refusal: str = ""

    def start(self, code: str) -> Child:
        """Start code through the door."""
        code = code if self.form == "{}" else self.form.format(repr(code))
        return Child([*self.command, "-c", code], self.environment)


def examine(python: str | None = None, written_for: str | None = None) -> dict[str, Any]:
    """Examine an interpreter, by default this one with its options. Return what ``--json`` prints.

    Args:
        python: the interpreter.
        written_for: the release of torch that the program was written for, by default SHIM_FOR.

    Raises:
        NoPythonError: if ``python`` cannot be started, or is not supported.
        NoReleaseError: if torch never had this release.
    """
    if written_for is not None and _no_release(written_for):
        raise NoReleaseError(f"--for: {_no_release(written_for)}")
    environment = {} if written_for is None else {"SHIM_FOR": written_for}
    command = [sys.executable, *interpreter.own_options()] if python is None else [_executable(python)]
    version = sys.version.split()[0] if python is None else _version(command)
    doors = [
        door._replace(environment={**door.environment, **environment})
        for door in _doors(command, is_this=python is None)
    ]
    # All children run at the same time. The two that import torch start first, because they take seconds.
    look = Child([*command, "-c", LOOK, ROOT], {"SHIM_DISABLE": "1", **environment})
    first = next((door for door in doors if not door.refusal), None)
    training = first and first.start(TRAIN)
    asked = [None if door.refusal else door.start(launch.IS_ARMED) for door in doors]
    shell = _shell(python)
    armed = [child is not None and "True" in child.lines() for child in asked]
    through = next((door for door, is_armed in zip(doors, armed) if is_armed), None)
    if through is not None and through is not first:
        training = through.start(TRAIN)
    trained = _what_went_wrong(training)
    torch = _seen(look)
    if switches.switched_on("SHIM_DISABLE"):
        torch["patches"] = [
            {**row, "state": "skipped", "reason": "SHIM_DISABLE is set"} for row in torch.get("patches", ())
        ]
    found: dict[str, Any] = {
        "shim": __version__,
        "python": {"version": version, "executable": command[0]},
        "torch": torch,
        "doors": [_door(door, is_armed, trained) for door, is_armed in zip(doors, armed)] * ("missing" not in torch),
        "shell": shell,
        "obstacles": list(_obstacles(torch, command[1:])),
        "command": _command(written_for),
    }
    found["guarded"] = bool(found["doors"]) and all(door["works"] for door in found["doors"])
    found["advice"] = list(_advice(found, is_this=python is None))
    return found


def _executable(python: str) -> str:
    path = which(python)
    if path is None:
        raise NoPythonError(f"{python} is not an executable file")
    return path


def _version(command: list[str]) -> str:
    try:
        child = Child([*command, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"])
    except OSError as error:
        raise NoPythonError(f"{command[0]} cannot be started: {error.strerror}") from None
    try:
        version = (child.lines(patience=PATIENCE) or [""])[-1]
    except subprocess.TimeoutExpired:
        child.process.kill()
        raise NoPythonError(f"{command[0]} prints no version within {PATIENCE:.0f} seconds") from None
    if version.count(".") != 2 or not version.replace(".", "").isdigit():
        raise NoPythonError(f"{command[0]} is not a Python interpreter")
    if tuple(map(int, version.split("."))) < (3, 8):
        raise NoPythonError(f"{command[0]} is Python {version}, and shim needs 3.8 or later: a job is NOT guarded")
    return version


def _no_release(text: str) -> str:
    """Return why a text is not a release of torch; an empty string if it is one."""
    try:
        releases.written_for(text)
    except ValueError as error:
        return str(error)
    return ""


def _command(written_for: str | None) -> str:
    """Return the command that starts a job in the way that was examined."""
    # In a directory with another module called shim, `python -m shim` runs that one.
    words = ["shim run" if _another_shim() else "python -m shim run", f"--for {written_for}" * bool(written_for)]
    return " ".join([*filter(None, words), "YOUR_SCRIPT.py"])


# --- the doors ------------------------------------------------------------------------------------------------------


def _doors(command: list[str], is_this: bool) -> list[Door]:
    given = os.environ.get("PYTHONPATH", "")
    # What `python -m shim` needs: this installation, or the checkout's src. Another interpreter must not find the
    # packages that are installed beside shim, so it gets no site-packages.
    importable = given if not is_this and _is_installed() else os.pathsep.join([ROOT, given]).strip(os.pathsep)
    preimport = Door("preimport", command, {"PYTHONPATH": importable}, form="import preimport; exec({})")
    try:
        executable, argv, environment = launch.prepare(["-c", ""] if is_this else [*command, "-c", ""])
        run = Door("run", [executable, *argv[1:-2]], environment)
    except launch.RefusalError as refusal:
        run = Door("run", [], {}, refusal=str(refusal))
    try:
        path = Door("PYTHONPATH", command, {"PYTHONPATH": launch.python_path()})
    except launch.RefusalError as refusal:
        path = Door("PYTHONPATH", [], {}, refusal=str(refusal))
    return [run, path, preimport]


def _is_installed() -> bool:
    """Tell whether this is an installation, which guards its own environment only; a checkout guards every Python."""
    return Path(ROOT).name in ("site-packages", "dist-packages")


def _what_went_wrong(training: Child | None) -> str:
    """Return what went wrong in a training; an empty string if it ran to its end."""
    if training is None:
        return "every door was refused"
    return "" if "[0.0, 0.0]" in training.lines() else training.complaint()


def _door(door: Door, is_armed: bool, trained: str) -> dict[str, Any]:
    reason = trained
    if not is_armed:
        reason = door.refusal or _why_not_armed(door)
    return {"door": door.name, "works": not reason, "reason": reason}


def _why_not_armed(door: Door) -> str:
    if switches.switched_on("SHIM_DISABLE"):
        return "SHIM_DISABLE is set"
    child = door.start("pass")
    child.lines()
    if child.process.returncode != 0:
        return child.complaint()
    if _is_installed() and door.command[0] != sys.executable:
        return f"this shim is installed for another environment ({ROOT})"
    return "this Python does not load shim's sitecustomize.py"


def _shell(python: str | None) -> dict[str, Any]:
    """Return which Python a plain ``python`` of this shell is, and whether it is armed."""
    plain = which(python or "python") or which("python3")
    armed = plain is not None and "True" in Child([plain, "-c", launch.IS_ARMED]).lines()
    return {"python": plain, "armed": armed}


# --- torch ----------------------------------------------------------------------------------------------------------


def _seen(look: Child) -> dict[str, Any]:
    for line in reversed(look.lines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {"missing": f"the process that examines torch died: {look.complaint()}"}


# --- problems, and what to do about them ----------------------------------------------------------------------------


def _obstacles(torch: dict[str, Any], options: list[str]) -> Iterator[str]:
    """Yield a sentence for each problem that a door has here."""
    if _private_environment():
        yield _private_environment()
    letters = "".join(option for option in options if option[:2] != "--" and option[:2] not in ("-X", "-W"))
    for letter in "IES":
        if letter in letters:
            yield f"this Python runs with -{letter}, and reads no sitecustomize: use `import preimport`"
    if os.environ.get("PYTHONSAFEPATH") or "P" in letters:
        yield "PYTHONSAFEPATH or -P is set: `import preimport` finds an installed shim only, not one beside the script"
    for name, effect in (
        ("SHIM_DISABLE", "shim is off"),
        ("SHIM_STRICT", "a None raises TypeError and is not replaced"),
        ("SHIM_SKIP", "the patches that it names are left out"),
    ):
        if _is_on(name):
            yield f"{name} is set: {effect}"
    for variable in ("SHIM_SKIP", "SHIM_PATCHES"):
        unknown = _unknown_names(variable, [row["patch"] for row in torch.get("patches", ())])
        if unknown:
            yield f"{variable} names unknown patches: {', '.join(unknown)}"
    in_front = _sitecustomize_in_front()
    if in_front:
        yield (
            f"{in_front} comes before shim's on PYTHONPATH, so shim's runs only if that file runs the next one; put "
            "shim's directory first, or start the job with `python -m shim run` after the command that sets PYTHONPATH"
        )
    for_none = switches.text("SHIM_FOR") and _no_release(switches.text("SHIM_FOR"))
    if for_none:
        yield f"SHIM_FOR is ignored: {for_none}"
    theirs = _another_shim()
    if theirs:
        yield f"{theirs} is another module called shim, which `python -m shim` runs in this directory: use `shim run`"
    if torch.get("imported_at_startup"):
        yield "torch is imported while Python starts (by a .pth file or usercustomize), before shim waits for it"
    for target in torch.get("patched_by_others", ()):
        yield f"another tool has patched {target}"
    failed: dict[str, list[str]] = {}
    for row in torch.get("patches", ()):
        if row["state"] == "failed":
            failed.setdefault(row["reason"], []).append(row["patch"])
    for reason, names in failed.items():
        yield f"{', '.join(names)} failed: {reason}; all other patches work, and SHIM_SKIP leaves one out"
    if torch.get("error"):
        yield f"torch runs without guards, because of an error in shim: {torch['error']}; please report it"


def _unknown_names(variable: str, patches: list[str]) -> list[str]:
    """Return the names in a variable that are neither a patch nor a family of patches."""
    names = switches.names(variable) if patches else []
    if names:
        from .. import rows

        patches = patches + [row.name for row in rows.load()]
    names = [name for name in names if ":" not in name]  # shim.guard may add a patch called module:Class
    return [name for name in names if not any(f"{patch}.".startswith(f"{name}.") for patch in patches)]


def _another_shim() -> Path | None:
    """Return the module or package in the current directory that ``python -m shim`` runs in place of ours."""
    theirs = next((path for path in (Path("shim", "__init__.py"), Path("shim.py")) if path.exists()), None)
    return None if theirs is None or theirs.resolve().parent == Path(import_hook.PACKAGE) else theirs


def _private_environment() -> str:
    try:
        launch.refuse_a_private_environment()
    except launch.RefusalError as refusal:
        return str(refusal)
    return ""


def _sitecustomize_in_front() -> str | None:
    """Return a sitecustomize that comes before shim's on PYTHONPATH; None if shim's is not on it."""
    before: list[Path] = []
    for entry in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        places = (Path(entry) / "src" / "shim" / "site", Path(entry).parent / "site")  # a checkout; an installation
        if any((place / "sitecustomize.py").exists() for place in places):
            return next((str(file) for file in before if file.exists()), None)
        before.append(Path(entry) / "sitecustomize.py")
    return None


def _advice(found: dict[str, Any], is_this: bool) -> Iterator[str]:
    """Yield a sentence for each thing to do."""
    torch, python, shell = found["torch"], found["python"]["executable"], found["shell"]
    if "missing" in torch:
        plain = shell["python"]
        if is_this and plain and not interpreter.is_this_interpreter(plain):
            yield f"examine the Python of this shell: `shim doctor --python {plain}`"
        elif is_this:
            yield "examine the Python that your job runs with: `shim doctor --python PATH`"
        if not _private_environment():
            yield f"{'or ' * is_this}install torch for this one: `{python} -m pip install torch`"
        return
    if not is_this and _is_installed() and not found["guarded"]:
        yield f"install shim beside that torch, with `{python} -m pip install`"
    for name in ("SHIM_DISABLE", "SHIM_STRICT", "SHIM_SKIP"):
        if _is_on(name):
            yield f"unset {name}"
    if found["guarded"] and not shell["armed"]:
        yield 'guard every Python that this shell starts: `eval "$(shim env)"`'


def _is_on(name: str) -> bool:
    """Tell whether a variable has an effect. SHIM_SKIP lists names; the others are on or off."""
    return bool(switches.names(name)) if name == "SHIM_SKIP" else switches.switched_on(name)
