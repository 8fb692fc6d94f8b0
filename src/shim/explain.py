"""``doctor --explain``: which patch answers an error message, and how it is switched on.

An answer is given only where the message is one that the patch is known to mend. A message that other code gives too,
such as ``'<=' not supported between instances of 'float' and 'NoneType'``, is answered with the condition under which
the answer holds; the traceback, if it is given, decides whether it does.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple

if TYPE_CHECKING:
    from .timeline import Lifetime

from . import switches

#: The escape sequences of a terminal: colours and cursor movements (CSI), links and titles (OSC).
_ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x1b\\|\x07)")
#: What torchrun and others put in front of each line: ``[rank0]: ``.
_PREFIX = re.compile(r"^(?:\[[a-z]*\d+\]:\s?)+")
#: A frame of a traceback, as Python and as IPython print it; what is on the line behind it, or behind an arrow.
_FRAME = re.compile(r"^\s*File (?:\"([^\"]+)\", line \d+|(\S+?):\d+, in )")
_ARROW = re.compile(r"^-+> *\d+ (.*)")


#: How many characters of a message are looked at, from its end: the time may grow with the square.
LONGEST = 20_000


#: What is said in place of a switch.
NO_PATCH = "no patch mends it"


class Answer(NamedTuple):
    """What mends a message."""

    #: Of the patch, or of a family of patches that is answered once.
    name: str
    #: The messages, as regular expressions. They are searched for in the message with every space and line break as
    #: one space, and backslashes in paths as slashes.
    answers: tuple[str, ...]
    reason: str
    #: How it is switched on, in words.
    switch: str
    #: What SHIM_PATCHES must name for it; empty where nothing must be named.
    option: str = ""
    #: The torch releases that it is for, as a specifier; empty for all.
    versions: str = ""
    #: The parameter of an optimizer that the message must be about: other code and other parameters give it too.
    parameter: str = ""
    #: What is added to the reason, with the named groups of the expression that matched.
    more: str = ""


def explain(message: str, answers: list[Answer] | None = None) -> list[Answer]:
    """Return the answers to an error message, or to the traceback that ends with it; none if no patch mends it.

    Args:
        message: as it was printed.
        answers: those that there may be; by default all that are known.
    """
    message = message[-LONGEST:]
    lines = [_PREFIX.sub("", line) for line in _ESCAPES.sub("", message).replace("\\", "/").splitlines()]
    words = [" ".join(line.split()) for line in lines]
    text = " ".join(words)
    starts = list(accumulate((len(line) + 1 for line in words), initial=0))
    found = []
    for answer in known() if answers is None else answers:
        for pattern in answer.answers:
            matches = list(re.finditer(pattern, text))
            if matches:
                said_in = bisect_right(starts, matches[-1].start()) - 1
                named = {name: said or "..." for name, said in matches[-1].groupdict().items()}
                full = f"{answer.reason}; {answer.more.format(**named)}" if answer.more else answer.reason
                said_of = answer._replace(reason=full)
                found.append(_as_it_holds(said_of, pattern, matches[-1].group(), lines[:said_in]))
                break
    held = [answer for answer in found if answer is not None]
    return held + list(_of_lost_names(text)) if answers is None else held


def known() -> list[Answer]:
    """List all answers: the None guards as one, then each other patch that names messages, rows and plugins' too."""
    from .patches import torch_optim

    guards = Answer(
        name="the guards",
        answers=torch_optim.NONE_ANSWERS,
        reason="an optimizer got weight_decay=None, in the constructor, a parameter group or a checkpoint; shim takes "
        "it as 0.0",
        switch="on with shim",
        parameter="weight_decay",
    )
    return [guards, *(_of_patch(patch) for patch in _patches() if patch.answers)]


def _patches() -> Any:
    from . import plugins, rows
    from .activation import REGISTRY
    from .registry import Registry

    patches = Registry(REGISTRY)  # a copy: to be read, with the plugins' patches in it
    plugins.load(patches, ())
    for row in rows.load():
        if row.name not in patches:
            patches.add(row)
    return patches


def _of_patch(patch: Any) -> Answer:
    if not patch.targets:
        return Answer(patch.name, patch.answers, patch.reason, NO_PATCH, versions="")
    option = patch.name if patch.optional or patch.works else ""
    switch = f"SHIM_PATCHES={option}, or shim.activate({option!r})" if option else "on with shim"
    return Answer(patch.name, patch.answers, patch.reason, switch, option, patch.versions, more=patch.more)


def _of_lost_names(text: str) -> Iterator[Answer]:
    for name, patch in lost_names(text):
        if patch is not None:
            yield _of_patch(patch)._replace(reason=name.sentence)
        else:
            yield Answer(name.name, (), name.sentence, f"{NO_PATCH}: {name.remedy}")


def lost_names(text: str) -> Iterator[tuple[Lifetime, Any]]:
    """Yield each name in a message that other releases have, and the patch that gives it back; None if none does.

    A name that a patch speaks of in its own messages is left to it.

    Args:
        text: the message, with every space and line break as one space.
    """
    from . import timeline

    said = dict(timeline.said_of(text))
    patches = list(_patches()) if said else []
    given = {target.path.replace(":", "."): patch for patch in patches for target in patch.targets}
    for message, name in said.items():
        if not any(re.search(pattern, message) for patch in patches for pattern in patch.answers):
            yield name, given.get(name.name)


def command(answers: list[Answer]) -> str:
    """Return the command that starts a job with the answers switched on, and with what SHIM_PATCHES names already."""
    named = switches.names("SHIM_PATCHES")
    options = dict.fromkeys([*named, *(answer.option for answer in answers if answer.option)])
    switch = f"SHIM_PATCHES={','.join(options)} " if any(answer.option for answer in answers) else ""
    return f"{switch}python -m shim run YOUR_SCRIPT.py"


# --- of a message that other code gives too --------------------------------------------------------------------------

#: Parameters of optimizers that are no weight decay; a None in one of them is not mended.
_OTHER_PARAMETERS = frozenset(
    """
    lr lr_decay eps d t0 betas beta beta1 beta2 beta3 beta2_decay momentum momentum_decay dampening alpha rho lambd
    etas step_size step_sizes initial_accumulator_value
    """.split()  # noqa: SIM905
)
_WEIGHT_DECAYS = frozenset(("weight_decay", "wd"))


def _as_it_holds(answer: Answer, pattern: str, said: str, before: list[str]) -> Answer | None:
    """Return the answer as it holds for what was said, with these lines before it; None if it does not."""
    of_1_4 = "takes 1 positional argument" in said  # which says so of a string, too
    if not answer.parameter or (answer.parameter in pattern and not of_1_4):
        return answer
    only_if = answer._replace(
        reason=f"only if the None is an optimizer's weight_decay: {answer.reason}. A None in lr, eps, betas or "
        "momentum is not mended. The traceback decides: give it whole",
        switch="no switch is needed",
    )
    frame = _last_frame(before)
    if frame is None or of_1_4:
        return only_if
    path, code = frame
    if not _guarded_files().search(path):
        return None
    # A product says by its order which factor is None; what a keyword argument is called says nothing.
    factors = re.search(r"for \*: '(\w+)' and '\w+'", said)
    is_product = factors is not None and code.count(" * ") == 1
    if factors and is_product:
        code = code.split(" * ")[factors.group(1) != "NoneType"]
    words = set(re.findall(r"\w+", re.sub(r"\b\w+=(?!=)", "", code)))
    if words & _OTHER_PARAMETERS:
        return only_if if words & _WEIGHT_DECAYS else None
    if words & _WEIGHT_DECAYS:
        return answer
    return None if is_product else only_if


def _guarded_files() -> re.Pattern[str]:
    """Match the paths of the optimizers that are guarded: an optimizer of the user's own is not."""
    from .patches import third_party

    packages = {re.split("[.:]", path)[0] for _, _, paths in third_party.FAMILIES for path in paths}
    return re.compile(rf"/(torch/(distributed/)?optim|shim/adopt|{'|'.join(sorted(packages))})/")


def _last_frame(lines: list[str]) -> tuple[str, str] | None:
    """Return the file and the line of code of the last frame of a traceback."""
    for number, line in reversed(list(enumerate(lines))):
        frame = _FRAME.match(line)
        if frame:
            arrows: Iterator[Any] = filter(None, map(_ARROW.match, lines[number + 1 :]))
            code = next((arrow.group(1) for arrow in arrows), lines[number + 1] if number + 1 < len(lines) else "")
            return frame.group(1) or frame.group(2), code
    return None
