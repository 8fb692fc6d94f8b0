"""The hint: the text that is printed below the traceback of a program that died of a known breakage.

It says what the reason is, and which command runs the program. ``uncaught`` calls ``hint`` when a process dies, and
drops an error of this module.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Iterator

from . import import_hook
from .record import Record

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from .registry import Choice, Patch
    from .releases import Release

#: What a launcher raises when a child process has died. The child has printed the hint itself.
_OF_CHILDREN = ("CalledProcessError", "ChildFailedError")


class _Command(Record):
    """What the command that runs the program needs."""

    #: The release for ``--for``; empty for none.
    release: str = ""
    #: The name to add to SHIM_PATCHES; empty for none.
    patch: str = ""


class _Value(Record):
    """An argument of the call that failed."""

    name: str
    #: ``...`` if it is not known.
    value: Any


class _Advice(Record):
    """The text of a hint, and the command below it, if there is one."""

    text: str
    command: _Command | None = None


# --- the text of the hint -------------------------------------------------------------------------------------------


def hint(error: Exception, last: TracebackType) -> str:
    """Return the hint for an exception that ended a program; an empty string if no patch answers it.

    Args:
        error: the exception.
        last: its traceback.
    """
    import traceback

    kind = type(error)
    if kind.__name__ in _OF_CHILDREN or hasattr(kind.__str__, "__code__"):  # a __str__ written in Python may run code
        return ""
    frames = list(traceback.walk_tb(last))
    while last.tb_next is not None:
        last = last.tb_next
    if _is_raised_by_the_program(last) or (kind is KeyError and _package(last.tb_frame) != "torch"):
        return ""
    message = _message(error)
    if not message:
        return ""
    advice = _advice(error, message, frames)
    return "\n".join(_paragraph(advice)) if advice is not None else ""


def _message(error: Exception) -> str:
    """Return the type and the message of an exception, without the source code that the message quotes.

    The quoted code may contain messages, too. The result is empty for a KeyError of a DataLoader's worker: torch raises
    it again in this process, so it is not known whether the program's own code has raised it:
    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_utils.py#L775
    """
    message = f"{type(error).__name__}: {error}"
    if "Traceback (most recent call last)" in message:  # the traceback of a worker
        lines = [] if type(error) is KeyError else message.splitlines()
        return "\n".join(line for line in lines if not line.startswith("    "))
    # TorchScript quotes the source code that it cannot compile:
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/jit/frontend.py#L159
    return message.partition('\n  File "')[0]


def _advice(error: Exception, message: str, frames: list[tuple[FrameType, int]]) -> _Advice | None:
    """Return what to say about the exception; None if nothing is known about it."""
    import linecache

    frame, line = frames[-1]
    where = [f'  File "{each.f_code.co_filename}", line {number}, in {each.f_code.co_name}' for each, number in frames]
    code = linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
    for patch in _patches_for("\n".join([*where, f"    {code}", message])):
        value = _given(error, frames) if patch.helps is not None else None
        advice = _about_patch(patch, value) if _is_about(patch.of, error, frame) else None
        if advice is not None:
            return advice
    advice = _about_lost_name(error, message) if _is_about("torch", error, frame) else None
    if advice is not None:
        return advice
    optimizer = _unguarded(message, [each for each, _ in frames])
    return _Advice(_ON_GUARD.format(optimizer)) if optimizer else None


_ON_GUARD = (
    "the optimizer {0} got weight_decay=None, and is not one that shim knows. If None means no weight decay, write "
    "`import shim` and `@shim.guard` above the class, or `shim.guard({0})` below it: None is then taken as 0.0."
)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _is_raised_by_the_program(innermost: TracebackType) -> bool:
    """Tell whether the program's own code raised the exception, whose message may then mean anything.

    Args:
        innermost: the last entry of the exception's traceback.
    """
    import opcode
    from pathlib import Path

    frame = innermost.tb_frame
    if frame.f_code.co_code[innermost.tb_lasti] != opcode.opmap["RAISE_VARARGS"]:
        return False
    path = Path(frame.f_code.co_filename)
    of_python = Path(os.__file__).parent in path.parents or path.name.startswith("<frozen ")
    return not of_python and _package(frame) != "torch" and not {"site-packages", "dist-packages"} & {*path.parts}


def _patches_for(text: str) -> Iterator[Patch]:
    """Yield the patches that answer a message."""
    from . import explain, rows
    from .process import REGISTRY

    patches = {patch.name: patch for patch in (*rows.load(), *REGISTRY) if patch.answers and not patch.only_if}
    answers = [explain.Answer(patch.name, patch.answers, patch.reason, "") for patch in patches.values()]
    for answer in explain.explain(text, answers):
        yield patches[answer.name]


def _about_lost_name(error: Exception, message: str) -> _Advice | None:
    """Return what to say about a name that the installed release lacks and others have."""
    from . import explain
    from .releases import is_in

    if not isinstance(error, (ImportError, AttributeError)):
        return None
    for name, patch in explain.lost_names(" ".join(message.split())):
        installed = _installed(name.package)
        if installed is None or is_in(installed, name.works):
            continue
        if patch is not None:
            return _about_patch(patch)
        here = f"and this is {name.package} {'.'.join(map(str, installed))}"
        return _Advice(f"{name.sentence}, {here}. No patch gives it back: {name.remedy}.")
    return None


def _is_about(package: str, error: Exception, frame: FrameType) -> bool:
    """Tell whether the class that a message names is the package's, and not the program's own of the same name."""
    import re

    found = re.match(r"'(\w+)' object has no|(\w+)\.__init__\(\)", str(error))
    if found is None or _package(frame) == package:  # the package reads an attribute of the program's subclass
        return True
    name = found[1] or found[2]
    if found[1]:
        owner = type(error.obj) if hasattr(error, "obj") else None  # since Python 3.10
    else:
        owner = {**frame.f_globals, **frame.f_locals}.get(name)
    named = [base for base in owner.__mro__ if base.__name__ == name] if isinstance(owner, type) else []
    return not named or any(base.__module__.partition(".")[0] in (package, "builtins") for base in named)


def _given(error: Exception, frames: list[tuple[FrameType, int]]) -> _Value | None:
    """Return the unexpected argument of a call, of which the patch accepts only some values."""
    import re

    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    calls = [each for each in frames if _package(each[0]) != "shim"]  # a row may have passed the argument on
    return _Value(found[1], _value_of(found[1], *calls[-1])) if found and calls else None


def _value_of(argument: str, frame: FrameType, line: int) -> Any:
    """Return the value that the calls on a line give an argument: a constant, or a variable. ``...`` if in doubt."""
    import ast
    import linecache

    from .scan.uses import constant

    code = frame.f_code
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename, frame.f_globals)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # also without a file
        return ...
    values = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.lineno <= line <= (node.end_lineno or node.lineno):
            for keyword in node.keywords:
                if keyword.arg == argument:
                    named = isinstance(keyword.value, ast.Name) and keyword.value.id
                    held = {**frame.f_globals, **frame.f_locals}.get(named, ...) if named else constant(keyword.value)
                    values.append(held if type(held) in (type(None), bool, int, float, str) else ...)
    return values[0] if len(values) == 1 else ...


def _about_patch(patch: Patch, given: _Value | None = None) -> _Advice | None:
    """Return what to say about a patch that answers the message; None if it would not help.

    Args:
        patch: the patch.
        given: the argument that the message is about, for a patch that accepts only some values.
    """
    from .process import choice

    installed, chosen = _installed(patch.of), choice()
    if installed is None or not _would_help(patch, installed, chosen):
        return None
    about = f"{patch.reason.rstrip('.')}."
    if not about.lower().startswith(patch.name.lower()):
        about = f"{patch.name}: {about}"
    if patch.optional:
        risk = f" ({patch.note})" if patch.note else ""
        return _Advice(f"{about} This patch is off unless you name it{risk}:", _Command(patch=patch.name))
    if not patch.targets:
        return _Advice(about)
    here = f"and this is {patch.of} {'.'.join(map(str, installed))}"
    helps = patch.helps is None or (given is not None and patch.helps(*given))
    if given is not None and given.value is not ... and not helps:
        return _Advice(f"{about} {given.name}={given.value!r} needs {patch.of} {patch.works}, {here}.")
    run = "This runs it" if helps else f"{patch.more[:1].upper()}{patch.more[1:]}; with the default this runs it"
    nearest = _nearest(patch, chosen.written_for)
    if nearest is None:
        text = f"{about} It works with {patch.of} {patch.works}, {here}. {run}:"
        return _Advice(text, _Command(patch=patch.name))
    release, older = nearest
    bounds = f"up to {release}" if older else f"from {release} on"
    works = f"torch {bounds}" if patch.of == "torch" else f"{patch.of} {patch.works}"
    text = f"{about} Such programs run on {works}, {here}. {run} as on torch {release}:"
    return _Advice(text, _Command(release))


def _would_help(patch: Patch, installed: tuple[int, int, int], chosen: Choice) -> bool:
    """Tell whether the patch is of use on this release of its package, and is neither on already nor left out."""
    from .releases import is_in, of_the_time

    family = {patch.name[:end] for end, letter in enumerate(patch.name + ".") if letter == "."}
    if patch.name in chosen.named or family & {*chosen.left_out} or not is_in(installed, patch.versions):
        return False
    if patch.works and is_in(installed, patch.works):
        return False
    if patch.optional:
        return True
    if not patch.works:  # it is on wherever shim is on
        return False
    if not patch.targets or chosen.written_for is None:
        return True
    return not is_in(of_the_time(patch.of, chosen.written_for), patch.works)


def _nearest(patch: Patch, written_for: Release | None = None) -> tuple[str, bool] | None:
    """Return the release of torch to name with ``--for``, and whether it is older than the installed one.

    It is the nearest to the installed release. If the program was started with ``--for`` already and died all the same,
    it is one further away on the same side, so that the rows that were applied stay applied.
    """
    from .releases import TORCH, Release

    here = (_installed("torch") or (0, 0, 0))[:2]
    asked = here if written_for is None else written_for.numbers[:2]
    runs = [(a, b) for (a, b), last in TORCH.items() if _works(patch, Release("", (a, b, last)))]
    older = [release for release in runs if release <= asked <= here]
    newer = [release for release in runs if release > asked >= here]
    nearest = max(older) if older else min(newer, default=None)
    return None if nearest is None else ("%d.%d" % nearest, bool(older))


def _installed(package: str) -> tuple[int, int, int] | None:
    """Return the release of a package, None if it is not installed. It need not be loaded: its import may have died."""
    from importlib.metadata import PackageNotFoundError, version

    from .registry import installed_release
    from .releases import release

    loaded = installed_release(package)
    try:
        return (loaded or release(version({"PIL": "Pillow"}.get(package, package)), package)).numbers
    except PackageNotFoundError:
        return None


def _works(patch: Patch, torch: Release) -> bool:
    from .releases import is_in, of_the_time

    return is_in(of_the_time(patch.of, torch), patch.works)


def _paragraph(advice: _Advice) -> list[str]:
    """Return at most five lines: the text in at most four, or three and a command."""
    import textwrap

    most, text = (4 if advice.command else 5), "shim: " + advice.text
    width = 100
    while len(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)) > most:
        width += 20
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [*lines, "    " + _in_a_shell(advice.command)] if advice.command else lines


# --- the command ----------------------------------------------------------------------------------------------------


def _in_a_shell(command: _Command) -> str:
    """Return the command that starts the job again: the one that started it, if that is known, with shim added."""
    from . import switches
    from .process import choice

    written_for = choice().written_for
    release = command.release or (str(written_for) if written_for else "")
    named = switches.names("SHIM_PATCHES") + ([command.patch] if command.patch else [])
    patches = switches.in_a_shell(named) if named else ""
    environment = f"SHIM_FOR={release}" if release else ""
    words = _started_with()
    if not words:
        return " ".join(filter(None, (patches, environment))) + " in front of the command that started the job"
    if _run_reaches(words):
        words[1:1] = ["-m", "shim", "run", *(["--for", release] if release else [])]
        environment = ""
    return " ".join(filter(None, (patches, environment, *map(_quoted, words))))


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word) if word.isprintable() and len(word) <= 300 else "..."


def _run_reaches(words: list[str]) -> bool:
    """Tell whether ``python -m shim run`` works here: not in a project with its own ``shim``, not with -I, -E or -S."""
    from . import interpreter

    options, _ = interpreter.split(words[1:])
    locked_out = any(not option.startswith("--") and {*option} & {*"IES"} for option in options)
    return import_hook.state["door"] != "preimport" and __package__ == "shim" and not locked_out


def _started_with() -> list[str]:
    """Return the command line that the user typed, beginning with the interpreter; empty if it is not known."""
    from multiprocessing import process

    from . import interpreter

    words = interpreter.command_line(os.getpid())
    worker = bool(process.current_process()._identity)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun or accelerate: the user has started the parent of this process.
        words = [] if worker else interpreter.command_line(os.getppid())
    elif "RANK" in os.environ:
        words = []
    elif "--multiprocessing-fork" in words:
        words = interpreter.command_line(os.getppid())
    python, program = words[:1], interpreter.split(words[1:])[1]
    known = python and program[:1] not in ([], ["-"]) and interpreter.is_python(python[0])
    return words if known and not any("from multiprocessing." in word for word in words) else []


# --- a None that no guard covers ------------------------------------------------------------------------------------


def _unguarded(message: str, frames: list[FrameType]) -> str:
    """Return the name of the unguarded optimizer class in which a weight_decay of None caused the error."""
    import re

    from . import guards
    from .explain import OTHER_PARAMETERS
    from .patches.torch_optim import NONE_ANSWERS

    base = getattr(sys.modules.get("torch.optim"), "Optimizer", None)
    if base is None or not any(re.search(pattern, message) for pattern in NONE_ANSWERS):
        return ""
    for frame in reversed(frames):
        values = frame.f_locals
        first = values.get(frame.f_code.co_varnames[0]) if frame.f_code.co_varnames else None
        kind = type(first)
        if base in kind.__mro__:
            places: list[Any] = [values, values.get("kwargs"), *(vars(first).get("param_groups") or ())]
            nones = [each for each in places if isinstance(each, dict) and each.get(guards.WEIGHT_DECAY, 0.0) is None]
            sure = nones and not any(each.get(name, 0.0) is None for each in nones for name in OTHER_PARAMETERS)
            known = guards.is_guarded(kind) or kind.__module__.startswith("torch.")
            return kind.__name__ if sure and not known else ""
        if _package(frame) != "torch" and values.get(guards.WEIGHT_DECAY, 0.0) is not None:
            return ""  # for example a closure of the program
    return ""
