"""The releases in which each public name of torch, torchvision and torchaudio exists.

``timeline.json`` is written by ``scripts/api_timeline``, from the sources in the wheels of all releases. It does not
have the names that exist in all of them.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator, NamedTuple

DATA = Path(__file__).with_name("timeline.json")

_MODULE = r"(?P<module>torch(?:vision|audio)?(?:\.\w+)*)"
#: What Python says of a name that is not there, with every space and line break as one space.
SAID = tuple(
    re.compile(pattern)
    for pattern in (
        rf"cannot import name '(?P<name>\w+)' from '{_MODULE}'",
        rf"module '{_MODULE}' has no attribute '(?P<name>\w+)'",
        r"(?<!\w)'Tensor' object has no attribute '(?P<name>\w+)'",
        # inspect and other packages have a class Parameter, too. None of them would be asked for such a name.
        r"(?<!\w)'Parameter' object has no attribute '(?P<name>\w+_\w+)'",
        rf"No module named '{_MODULE}'",
    )
)

#: What Python says of an argument that a function, or since Python 3.10 a class, does not take.
_ARGUMENT_SAID = re.compile(
    r"(?<![\w.])(?P<function>\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(?P<argument>\w+)'"
)


class Lifetime(NamedTuple):
    """The releases that have a name."""

    #: With its module: ``torch.rfft``.
    name: str
    #: The package whose releases ``spans`` names.
    package: str
    #: The first and the last release of each time: ``(("1.4", "1.7"),)``.
    spans: tuple[tuple[str, str], ...]

    @property
    def works(self) -> str:
        """Return the releases as a specifier: ``<1.8``."""
        known = _releases(self.package)
        found = []
        for first, last in self.spans:
            after = known[known.index(last) + 1 :]
            since = [] if first == known[0] else [f">={first}"]
            found.append(",".join(since + [f"<{release}" for release in after[:1]]))
        return " || ".join(found)

    @property
    def sentence(self) -> str:
        """Say since when it is there, or gone.

        >>> Lifetime("torch.rfft", "torch", (("1.4", "1.7"),)).sentence
        'torch.rfft was removed in torch 1.8'
        """
        known = _releases(self.package)
        if len(self.spans) == 1:
            [(first, last)] = self.spans
            if first == known[0]:
                return f"{self.name} was removed in {self.package} {known[known.index(last) + 1]}"
            if last == known[-1]:
                return f"{self.name} came with {self.package} {first}"
        times = [first if first == last else f"{first} to {last}" for first, last in self.spans]
        return f"{self.name} exists only in {self.package} {' and '.join(times)}"

    @property
    def remedy(self) -> str:
        """Say what to install: ``install torch<1.8``."""
        return f"install {self.package}{self.works.replace(' || ', ' or ')}"


def find(name: str) -> Lifetime | None:
    """Return the releases that have a name of a module, or a method of ``torch.Tensor``; None if all have it, or none.

    Args:
        name: with the module: ``torch.func.vmap``.
    """
    module, _, last = name.rpartition(".")
    return _lifetime(name, _names(module).get(last)) or (find_module(name) if last.startswith("_") else None)


def find_module(name: str) -> Lifetime | None:
    """Return the releases that have a module, or a package that it is in; None if all have it, or none."""
    parts = name.split(".")
    paths = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    data = _data().get(parts[0], {"modules": {}})
    return next((_lifetime(path, data["modules"][path]) for path in paths if path in data["modules"]), None)


def find_argument(function: str, argument: str) -> Lifetime | None:
    """Return the releases in which a function takes an argument; None if it does in all, or in none.

    Args:
        function: with its module: ``torch.meshgrid``.
        argument: its name.
    """
    spans = _data().get(function.partition(".")[0], {"arguments": {}})["arguments"].get(function, {})
    having = next((span for span, names in spans.items() if argument in names.split()), None)
    return _lifetime(f"{function}({argument}=)", having)


def said_of(text: str) -> Iterator[tuple[str, Lifetime]]:
    """Yield what a message says of names that not all releases have, each with the name's releases.

    Args:
        text: the message, with every space and line break as one space.
    """
    for pattern in SAID:
        for match in pattern.finditer(text):
            said = match.groupdict()
            module = said.get("module") or "torch.Tensor"
            found = find(f"{module}.{said['name']}") if said.get("name") else find_module(module)
            if found is not None:
                yield match.group(), found


def arguments_said_in(text: str) -> Iterator[Lifetime]:
    """Yield the arguments in a message that only some releases of torch take, if its functions of that name agree.

    Python does not say in which module the function is, so it may be one of another package. Functions of torchaudio
    and torchvision are left out: many packages have a ``load`` or a ``resize``.

    Args:
        text: the message, with every space and line break as one space.
    """
    for match in _ARGUMENT_SAID.finditer(text):
        alike = [name for name in _data()["torch"]["arguments"] if name.rpartition(".")[2] == match["function"]]
        lifetimes = [find_argument(name, match["argument"]) for name in sorted(alike, key=len)]
        found = [lifetime for lifetime in lifetimes if lifetime is not None]
        if len({lifetime[1:] for lifetime in found}) == 1:
            yield found[0]


@lru_cache(maxsize=None)
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return data


def _lifetime(name: str, spans: str | None) -> Lifetime | None:
    package = name.partition(".")[0]
    return None if spans is None else Lifetime(name, package, _read(spans, package))


def _releases(package: str) -> list[str]:
    releases: str = _data()[package]["releases"]
    return releases.split()


@lru_cache(maxsize=None)
def _names(module: str) -> dict[str, str]:
    """Return the names of a module, each with its spans."""
    spans = _data().get(module.partition(".")[0], {"names": {}})["names"].get(module, {})
    return {name: span for span, names in spans.items() for name in names.split()}


def _read(spans: str, package: str) -> tuple[tuple[str, str], ...]:
    """Read ``-1.7 2.0-``: where a number is missing, the oldest or the newest release is meant."""
    known = _releases(package)
    pairs = (span.split("-") for span in spans.split())
    return tuple((first or known[0], last or known[-1]) for first, last in pairs)
