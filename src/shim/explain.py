"""``doctor --explain``: which patch fixes an error, found by its message, and how the patch is turned on.

A message is answered only if a patch is known to fix the error, or advice is known. A message that other code raises,
too, such as ``'<=' not supported between instances of 'float' and 'NoneType'``, is answered with a condition. If the
traceback is given, it decides whether the condition holds.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple

if TYPE_CHECKING:
    from .timeline import Lifetime

from . import switches

#: The escape sequences of a terminal: colours and cursor movements (CSI), links and titles (OSC).
_ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x1b\\|\x07)")
#: The prefix of each line in the output of torchrun and others, ``[rank0]: ``, and of pytest, ``E       ``.
_PREFIX = re.compile(r"^(?:E {3,})?(?:\[[a-z]*\d+\]:\s?)*")
#: What chats and web pages make of quotation marks.
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
#: A frame of a traceback, as Python and IPython print it, and the arrow of IPython in front of a line of code.
_FRAME = re.compile(r"^\s*File (?:\"([^\"]+)\", line \d+|(\S+?):\d+, in )")
_ARROW = re.compile(r"^-+> *\d+ (.*)")


#: Only so many characters at the end of a message are searched: some expressions take quadratic time.
LONGEST = 20_000


#: Printed in place of the switch if there is none.
NO_PATCH = "there is no patch for it"
NO_SWITCH = "no switch is needed: it is on wherever shim is on"


class Answer(NamedTuple):
    """A patch that fixes an error, or advice."""

    #: The name of the patch, or of a family of patches that have one answer.
    name: str
    #: The error messages, as regular expressions. Before they are searched for, each run of spaces and line breaks in
    #: the program's message becomes one space, and backslashes in paths become slashes.
    messages: tuple[str, ...]
    reason: str
    #: How it is turned on, as text.
    switch: str
    #: The name for SHIM_PATCHES; empty if none is needed.
    option: str = ""
    #: The torch releases that it is for, as a version specifier; empty for all.
    versions: str = ""
    #: The parameter of an optimizer that the message must be about, because other parameters and other code raise the
    #: same message.
    parameter: str = ""
    #: Added to the reason, with the named groups of the expression that matched.
    more: str = ""
    #: False if there is no patch: the reason is advice.
    mends: bool = True


def explain(message: str, answers: list[Answer] | None = None) -> list[Answer]:
    """Return the answers to an error message, or to the traceback that ends with it.

    Args:
        message: as it was printed.
        answers: the possible answers; by default all that are known.
    """
    message = html.unescape(message[-LONGEST:]).translate(_QUOTES)
    lines = [_PREFIX.sub("", line) for line in _ESCAPES.sub("", message).replace("\\", "/").splitlines()]
    words = [" ".join(line.split()) for line in lines]
    text = " ".join(words)
    starts = list(accumulate((len(line) + 1 for line in words), initial=0))
    found = []
    for answer in known() if answers is None else answers:
        for pattern in answer.messages:
            matches = list(_compiled(pattern).finditer(text))
            if matches:
                match = matches[-1]
                line = bisect_right(starts, match.start()) - 1
                named = {name: value or "..." for name, value in match.groupdict().items()}
                reason = f"{answer.reason}; {answer.more.format(**named)}" if answer.more else answer.reason
                found.append(_if_it_applies(answer._replace(reason=reason), pattern, match.group(), lines[:line]))
                break
    held = [answer for answer in found if answer is not None]
    if answers is not None:
        return held
    return [*held, *_answers_about_lost_names(text)] or [*_answers_about_arguments(text)]


#: Compiles an expression once. There are more of them than the cache of ``re`` holds.
_compiled = lru_cache(maxsize=None)(re.compile)


def known() -> list[Answer]:
    """List all answers: one for the None guards, then one for each row and each plugin's patch that has messages."""
    from .patches import torch_optim

    guards = Answer(
        name="the guards",
        messages=torch_optim.NONE_ANSWERS,
        reason="an optimizer got weight_decay=None, in the constructor, a parameter group or a checkpoint; shim takes "
        "it as 0.0",
        switch=NO_SWITCH,
        parameter="weight_decay",
    )
    return [guards, *(_answer_of(patch) for patch in _patches() if patch.answers)]


def _patches() -> Any:
    from . import plugins, rows
    from .process import REGISTRY
    from .registry import Registry

    patches = Registry(REGISTRY)  # a copy, so that the plugins' patches are not added to the live registry
    plugins.load(patches, ())
    for row in rows.load():
        if row.name not in patches:
            patches.add(row)
    return patches


def _answer_of(patch: Any) -> Answer:
    reason = f"only if {patch.only_if}: {patch.reason}" if patch.only_if else patch.reason
    if not patch.targets:
        return Answer(patch.name, patch.answers, reason, NO_PATCH, mends=False)
    option = patch.name if patch.optional or patch.works else ""
    switch = f"{switches.in_a_shell([option])}, or shim.activate({option!r})" if option else NO_SWITCH
    if patch.works and not patch.optional and patch.of == "torch":
        switch += f"; or --for with a release of torch {patch.works}, for all that such a program needs"
    return Answer(patch.name, patch.answers, reason, switch, option, patch.versions, more=patch.more)


def _answers_about_lost_names(text: str) -> Iterator[Answer]:
    for name, patch in lost_names(text):
        if patch is not None:
            yield _answer_of(patch)._replace(reason=name.sentence)
        else:
            yield Answer(name.name, (), name.sentence, f"{NO_PATCH}: {name.remedy}", mends=False)


def _answers_about_arguments(text: str) -> Iterator[Answer]:
    from . import timeline

    for argument in timeline.arguments_said_in(text):
        function = argument.name.partition("(")[0]
        reason = f"only if the function is {function}: {argument.sentence}"
        yield Answer(argument.name, (), reason, f"{NO_PATCH}: {argument.remedy}", mends=False)


def lost_names(text: str) -> Iterator[tuple[Lifetime, Any]]:
    """Yield each name in a message that other releases have, and the patch that restores it; None if there is none.

    A message that some patch already answers is left out.

    Args:
        text: the message, with every space and line break as one space.
    """
    from . import timeline

    said = dict(timeline.said_of(text))
    patches = list(_patches()) if said else []
    given = {target.path.replace(":", "."): patch for patch in patches for target in patch.targets}
    for message, name in said.items():
        if not any(_compiled(pattern).search(message) for patch in patches for pattern in patch.answers):
            yield name, given.get(name.name)


def command(answers: list[Answer]) -> str:
    """Return the command that starts a job with the answers turned on, and with the patches that are on already."""
    named = switches.names("SHIM_PATCHES")
    options = dict.fromkeys([*named, *(answer.option for answer in answers if answer.option)])
    switch = f"{switches.in_a_shell(options)} " if any(answer.option for answer in answers) else ""
    return f"{switch}python -m shim run YOUR_SCRIPT.py"


# --- messages that other code raises, too ----------------------------------------------------------------------------

#: Other parameters of optimizers. A None in one of them is not replaced.
OTHER_PARAMETERS = frozenset(
    """
    lr lr_decay eps d t0 betas beta beta1 beta2 beta3 beta2_decay momentum momentum_decay dampening alpha rho lambd
    etas step_size step_sizes initial_accumulator_value
    """.split()  # noqa: SIM905
)
_WEIGHT_DECAYS = frozenset(("weight_decay", "wd"))


def _if_it_applies(answer: Answer, pattern: str, said: str, before: list[str]) -> Answer | None:
    """Return the answer to a message with these lines before it, or with its condition; None if it does not apply."""
    # https://github.com/pytorch/pytorch/blob/v1.4.0/torch/optim/adam.py#L92
    of_1_4 = "takes 1 positional argument" in said  # torch 1.4 raises this for a string, too
    if not answer.parameter or (answer.parameter in pattern and not of_1_4):
        return answer
    only_if = answer._replace(
        reason=f"only if the None is an optimizer's weight_decay: {answer.reason}. A None in lr, eps, betas or "
        "momentum is not replaced. To find out which one it is, give the whole traceback: "
        "shim doctor --explain - < train.log",
        switch="no switch is needed",
    )
    frame = _last_frame(before)
    if frame is None or of_1_4:
        return only_if
    path, code = frame
    if not _guarded_files().search(path):
        return None
    # In a product, the order in the message tells which factor is None. Names of keyword arguments tell nothing.
    factors = re.search(r"for \*: '(\w+)' and '\w+'", said)
    is_product = factors is not None and code.count(" * ") == 1
    if factors and is_product:
        code = code.split(" * ")[factors.group(1) != "NoneType"]
    words = set(re.findall(r"\w+", re.sub(r"\b\w+=(?!=)", "", code)))
    if words & OTHER_PARAMETERS:
        return only_if if words & _WEIGHT_DECAYS else None
    if words & _WEIGHT_DECAYS:
        return answer
    return None if is_product else only_if


def _guarded_files() -> re.Pattern[str]:
    """Match the paths of the optimizers that are guarded. The user's own optimizers are not."""
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
