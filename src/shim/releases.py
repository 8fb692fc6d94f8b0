"""Release numbers: read them, compare them, and list the releases of torch.

A pre-release has the features of the release that it precedes: NVIDIA's ``2.0.0a0+1767026.nv23.05``, a nightly
``2.16.0.dev20261101`` and ``2.4.0a0+git1a2b3c4`` count as 2.0.0, 2.16.0 and 2.4.0. By the rules of version specifiers
(PEP 440) an alpha of 2.0 is neither ``>=2.0`` nor ``<2.0``. So only the numbers are compared here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .record import Record

#: Each minor release of torch, oldest first, and its last patch release.
TORCH = {
    (0, 1): 12, (0, 2): 0, (0, 3): 1, (0, 4): 1,
    (1, 0): 1, (1, 1): 0, (1, 2): 0, (1, 3): 1, (1, 4): 0, (1, 5): 1, (1, 6): 0, (1, 7): 1, (1, 8): 2, (1, 9): 1,
    (1, 10): 2, (1, 11): 0, (1, 12): 1, (1, 13): 1,
    (2, 0): 1, (2, 1): 2, (2, 2): 2, (2, 3): 1, (2, 4): 1, (2, 5): 1, (2, 6): 0, (2, 7): 1, (2, 8): 0, (2, 9): 1,
    (2, 10): 0, (2, 11): 0, (2, 12): 1, (2, 13): 0, (2, 14): 1, (2, 15): 0,
}  # fmt: skip


#: What torch 2.0 was called before it was released: ``1.14.0a0+44dac51c.nv23.01`` in NVIDIA's containers.
#: https://github.com/pytorch/xla/pull/4392
BEFORE_2_0 = (1, 14)


class Release(Record):
    """A version as it was written, and the three numbers that are compared."""

    text: str
    numbers: tuple[int, int, int]

    def __str__(self) -> str:
        return self.text


def release(text: object, package: str = "") -> Release:
    """Read a version, and ignore what follows its numbers. A text without a number is 0.0.0.

    Args:
        text: the version.
        package: the package that has it. Only torch was once called otherwise.

    >>> release("2.0.0a0+1767026.nv23.05").numbers
    (2, 0, 0)
    """
    # A regular expression would take ten times as long, because it must be compiled first.
    apart = "".join([letter if letter.isdecimal() or letter == "." else " " for letter in str(text)])
    found = [word.strip(".") for word in apart.split() if word.strip(".")]
    numbers = [int(number) for number in (found[0] if found else "0").partition("..")[0].split(".")[:3]]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    if package == "torch" and (major, minor) == BEFORE_2_0:
        major, minor = 2, 0
    return Release(str(text), (major, minor, patch))


@lru_cache(maxsize=None)  # --for asks for each row whenever a module arrives
def is_in(numbers: tuple[int, ...], specifier: str) -> bool:
    """Tell whether a release matches ``specifier``: ``"<2.0"``, ``">=1.1,<1.8"``, ``"==1.12.0"``.

    ``||`` joins alternatives: ``"<1.8 || >=2.1"``. An empty specifier matches all releases.

    Raises:
        ValueError: if it is not a version specifier.

    >>> is_in((1, 13, 1), ">=1.1,<2"), is_in((2, 0, 0), "<2.0")
    (True, False)
    """
    # Lists: a generator that any() leaves early swallows the Ctrl-C that comes while it is closed.
    return any(
        [  # noqa: C419
            all([_holds(numbers, clause.strip()) for clause in alternative.split(",") if clause.strip()])  # noqa: C419
            for alternative in specifier.split("||")
        ]
    )


def _holds(numbers: tuple[int, ...], clause: str) -> bool:
    found = re.fullmatch(r"(<=|>=|==|!=|~=|<|>)\s*(\d+(?:\.\d+)*)(\.\*)?", clause)
    if found is None:
        raise ValueError(f"{clause!r} is not a version specifier such as >=1.7 or <2.0")
    sign, text, star = found.groups()
    given = tuple(int(number) for number in text.split("."))
    if sign == "~=":
        return numbers >= _padded(given) and numbers[: len(given) - 1] == given[:-1]
    if star:
        return (numbers[: len(given)] == given) == (sign == "==")
    other = _padded(given)
    return {
        "<": numbers < other,
        "<=": numbers <= other,
        ">": numbers > other,
        ">=": numbers >= other,
        "==": numbers == other,
        "!=": numbers != other,
    }[sign]


def _padded(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return (*numbers, 0, 0, 0)[:3]


def written_for(text: str) -> Release:
    """Read the release of torch that a program was written for. A minor release means its last patch release.

    The table ends with the newest release. The minor release after it is accepted, because it may exist by now. A later
    one is more likely a typing error.

    Raises:
        ValueError: if it is a word, or a release that never was.
        TypeError: if it is no string.

    >>> written_for("1.7").numbers
    (1, 7, 1)
    """
    if not isinstance(text, str):
        raise TypeError(f"write the release of torch as a string, '1.7', not {text!r}: as a number 1.10 is 1.1")
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?((?:\.?(?:a|b|rc|dev|post)\d+)*)(?:\+.*)?", text.strip(), re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is not a release of torch such as 1.7 or 2.3.1")
    major, minor = int(found.group(1)), int(found.group(2))
    if (major, minor) == BEFORE_2_0 and found.group(4):
        return release(text.strip(), "torch")
    last = TORCH.get((major, minor))
    newest = max(TORCH)
    newer = (major, minor) == (newest[0], newest[1] + 1)
    if (last is None and not newer) or (last is not None and int(found.group(3) or 0) > last):
        near = [f"{a}.{b}" for a, b in TORCH if a == major] or [f"{a}.{b}" for a, b in TORCH]
        raise ValueError(f"there is no torch {text.strip()}; releases of {near[0]} to {near[-1]} are known")
    patch = int(found.group(3)) if found.group(3) else last or 0
    return Release(text.strip(), (major, minor, patch))


#: For each package, a release of torch and the newest release of the package at that time.
_OF_THE_TIME = {
    "numpy": {
        (1, 0): (1, 15), (1, 2): (1, 17), (1, 4): (1, 18), (1, 6): (1, 19), (1, 8): (1, 20), (1, 9): (1, 21),
        (1, 11): (1, 22), (1, 12): (1, 23), (2, 0): (1, 24), (2, 1): (1, 26), (2, 4): (2, 0), (2, 5): (2, 1),
        (2, 6): (2, 2), (2, 8): (2, 3), (2, 10): (2, 4),
    },
    "PIL": {
        (1, 0): (5, 4), (1, 2): (6, 1), (1, 4): (7, 0), (1, 7): (8, 0), (1, 11): (9, 0), (2, 0): (9, 4),
        (2, 1): (10, 0), (2, 5): (11, 0), (2, 9): (12, 0),
    },
    "python": {
        (1, 0): (3, 6), (1, 4): (3, 7), (1, 8): (3, 8), (1, 11): (3, 9), (2, 0): (3, 10), (2, 1): (3, 11),
        (2, 5): (3, 12), (2, 9): (3, 13),
    },
}  # fmt: skip


def of_the_time(package: str, torch: Release) -> tuple[int, int, int]:
    """Return the release of a package that a program written for this torch used.

    torchvision 0.(n+1) belongs to torch 1.n and 0.(n+15) to 2.n. torchaudio 0.n belongs to torch 1.n; later it has the
    same number as torch.

    >>> of_the_time("torchvision", release("1.7")), of_the_time("torchaudio", release("2.1"))
    ((0, 8, 0), (2, 1, 0))
    """
    major, minor, patch = torch.numbers
    if package == "torchvision":
        return (0, minor + 1 if major < 2 else minor + 15, patch)
    if package == "torchaudio":
        return (0, minor, patch) if major < 2 else torch.numbers
    table = _OF_THE_TIME.get(package)
    if table is None:
        return torch.numbers
    first = max((since for since in table if since <= (major, minor)), default=min(table))
    return (*table[first], 0)
