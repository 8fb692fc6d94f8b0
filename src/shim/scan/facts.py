"""Which releases have a name, and which row of the table of breakages gives it back."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Any, NamedTuple, Sequence

from .. import timeline
from ..releases import TORCH, Release, is_in, of_the_time, release, written_for
from .uses import PACKAGES, Use

#: Only so many parts of a dotted name are looked up.
MOST_PARTS = 9
#: Names of a row that other releases have than those in which the row's programs work.
OTHER_RELEASES = {
    **dict.fromkeys(("numpy.bool", "numpy.long"), "<1.24 || >=2.0"),  # since 2.0 with another meaning
    **{f"torch._six.{name}": "<2.0" for name in ("inf", "math", "nan", "string_classes", "with_metaclass")},
    **{f"torch.amp.{name}": ">=1.10" for name in ("autocast", "autocast_mode")},
    **{f"torch.utils._pytree.{name}": ">=1.8" for name in ("tree_flatten", "tree_unflatten")},
    "torch.optim.lr_scheduler._LRScheduler": "",  # in all
}


class Fact(NamedTuple):
    """A name that not every release has."""

    #: The name, or ``torch.meshgrid(indexing=)``.
    name: str
    #: The package whose releases are meant.
    package: str
    #: The releases that have it, as a specifier.
    works: str
    #: A sentence: since which release it is there, or gone.
    sentence: str
    #: The row that gives it back; empty if none does.
    row: str = ""
    #: The releases in which that row's programs work, as a specifier.
    given: str = ""
    #: The row is applied only if SHIM_PATCHES names it.
    named: bool = False
    #: A sentence, if it depends on the value of the argument whether the row helps, and the value is not known.
    condition: str = ""


def facts_of(use: Use) -> tuple[Fact, ...]:
    """Return the facts about a use: about the name and each module in it, or about the argument.

    What every release has gives no fact.
    """
    if use.argument:
        return tuple(filter(None, [_of_argument(use.name, use.argument, use.value)]))
    return _of_name(use.name, use.how)


@lru_cache(maxsize=None)
def _of_name(name: str, how: str) -> tuple[Fact, ...]:
    parts = name.split(".")
    found = []
    for end in range(2, min(len(parts), MOST_PARTS) + 1):
        whole = end == len(parts)
        # In ``from x.y import z``, x and x.y are modules.
        as_module = how == "import" or (how == "from" and not whole)
        found.append(_of_path(".".join(parts[:end]), "import" if as_module else how if whole else "attribute"))
    return tuple(filter(None, found))


@lru_cache(maxsize=None)
def _of_path(path: str, how: str) -> Fact | None:
    module, _, last = path.rpartition(".")
    if last.startswith("_") and module.rpartition(".")[2].lstrip("_")[:1].isupper():
        return None  # a row changes what the class has there
    kinds = ("name", "made", "submodule", *(["callable"] if how == "call" else []))
    says = [f"No module named '{path}'"]
    if how != "import":  # for example torch.tensor is a function, though the module of that name is gone
        says = [f"module '{module}' has no attribute '{last}'", f"cannot import name '{last}' from '{module}'"]
    row = next((row for row in _rows() if any(t.kind in kinds and _dotted(t) == path for t in row.targets)), None)
    return _fact(path, timeline.find_module(path) if how == "import" else timeline.find(path), row or _answering(says))


def _fact(name: str, lifetime: timeline.Lifetime | None, row: Any) -> Fact | None:
    """Return what the timeline says about a name, or else the row. ``row`` is set if a row restores the name."""
    if row is None and lifetime is None:
        return None
    given = (row.name, row.works, row.optional) if row is not None and row.targets and row.works else ()
    if lifetime is not None:
        return Fact(name, lifetime.package, lifetime.works, lifetime.sentence, *given)
    works = OTHER_RELEASES.get(name, row.works)
    return Fact(name, row.of, works, _since(name, row.of, works), *given) if works else None


@lru_cache(maxsize=None, typed=True)  # 0 is not False
def _of_argument(function: str, argument: str, value: Any) -> Fact | None:
    lifetime = timeline.find_argument(function, argument)
    name = f"{function}({argument}=)"
    last = function.rpartition(".")[2]
    said = f"() got an unexpected keyword argument '{argument}'"
    row = _answering([f"{last}{said}", f"{last}.__init__{said}"], but_not=f"another_function{said}")
    if row is not None and row.of != function.partition(".")[0]:
        row = None
    if row is None and lifetime is not None:
        row = _answering([f"{last}{said}", f"{last}.__init__{said}", f" __init__{said}"])
    fact = _fact(name, lifetime, row)
    if fact is None or row is None or row.helps is None or row.helps(argument, value):
        return fact
    return fact._replace(condition=row.more) if value is ... else fact._replace(row="", given="", named=False)


@lru_cache(maxsize=None)
def _rows() -> tuple[Any, ...]:
    from .. import rows

    return tuple(row for row in rows.load() if row.of in (*PACKAGES, "python"))


def _answering(says: list[str], but_not: str = "") -> Any:
    """Return the row that answers one of these messages; None if there is none."""
    for row, pattern in _patterns():
        if any(map(pattern.search, says)) and not (but_not and pattern.search(but_not)):
            return row
    return None


@lru_cache(maxsize=None)
def _patterns() -> tuple[tuple[Any, re.Pattern[str]], ...]:
    """Return each row with each of its messages. Python itself keeps only 512 expressions compiled."""
    return tuple((row, re.compile(pattern)) for row in _rows() for pattern in row.answers)


def _dotted(target: Any) -> str:
    return str(target.path).replace(":", ".")


def _since(name: str, package: str, works: str) -> str:
    """Return a sentence that says since which release a name is there, or gone."""
    package = PACKAGES.get(package, package.capitalize())
    found = re.fullmatch(r"(<|>=)\s*([\d.]+)", works)
    if found is None:
        return f"{name} is in {package} {works} alone"
    return f"{name} {'was removed in' if found.group(1) == '<' else 'came with'} {package} {found.group(2)}"


# --- releases --------------------------------------------------------------------------------------------------------


class Here(NamedTuple):
    """The release of torch that the code runs on, and the packages installed beside it."""

    torch: Release
    #: Package -> its installed release.
    installed: dict[str, tuple[int, int, int]]

    def has(self, fact: Fact) -> bool:
        """Tell whether the name exists in these releases."""
        return is_in(self.installed.get(fact.package) or of_the_time(fact.package, self.torch), fact.works)


def here(torch: str = "") -> Here:
    """Return the named release; without a name the installed one, or else the newest.

    Raises:
        ValueError: if there is no such release.
    """
    from importlib.metadata import PackageNotFoundError, version

    if torch:
        return Here(written_for(torch), {})
    found: dict[str, tuple[int, int, int]] = {"python": sys.version_info[:3]}
    for package, distribution in PACKAGES.items():
        try:
            found[package] = release(version(distribution), package).numbers
        except PackageNotFoundError:
            continue
    numbers = found.get("torch", (*max(TORCH), 0))
    return Here(Release("%d.%d.%d" % numbers, numbers), found)


def releases_for(facts: frozenset[Fact]) -> list[Release]:
    """Return the releases of torch that lack the fewest of the names, oldest first; without names all releases.

    Args:
        facts: the facts about the names that are used.
    """
    every = [Release(f"{a}.{b}", (a, b, last)) for (a, b), last in TORCH.items() if (a, b) >= (1, 0)]
    lacks = [
        sum(not is_in(of_the_time(fact.package, each), works) for fact in facts for works in (fact.works, fact.given))
        for each in every
    ]
    return [each for each, number in zip(every, lacks) if number == min(lacks)]


def nearest(releases: Sequence[Release], place: Here) -> Release | None:
    """Return the release that is nearest to the one here. Older releases are preferred."""
    older = [each for each in releases if each.numbers[:2] <= place.torch.numbers[:2]]
    return older[-1] if older else next(iter(releases), None)
