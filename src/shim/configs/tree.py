"""What every format is parsed into: values with their positions in the text.

Places that share a value (a YAML alias, a merge, a Python variable) share the node: they are the same by ``is``.
Offsets count characters of the text, not bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, Union

NULL, TEXT, NUMBER, OTHER = "null", "text", "number", "other"
LINE_END = re.compile(r"\r\n?|\n")


class ParseError(Exception):
    """Say that a text cannot be parsed: the parser's message, and the offset where it stopped."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Scalar:
    """One value: its kind, its spelling as a string, and the text ``[start, end)`` that a fix replaces.

    ``pad`` is written before the new value if there was no text for the old one. ``stuck`` says why the value cannot be
    replaced. ``plain`` means: written without quotes. ``default_of`` says of a None in Python code whose default it is:
    "field" (of a class), "option", or "option without a default"; empty for any other value.
    """

    __slots__ = ("default_of", "end", "kind", "pad", "plain", "start", "stuck", "value")

    def __init__(self, kind: str, value: str, start: int, end: int, *, plain: bool = True) -> None:
        self.kind = kind
        self.value = value
        self.start = start
        self.end = end
        self.plain = plain
        self.pad = ""
        self.stuck: str | None = None
        self.default_of = ""


class Entry(NamedTuple):
    """A key of a mapping, where it is written, and its value."""

    key: str
    start: int
    value: Node


class Room(NamedTuple):
    """Where ``weight_decay`` can be added to a mapping, and what is written before and after its value there."""

    offset: int
    before: str
    after: str


class Mapping:
    """Keys and values in order.

    A key is added at ``site``: above a block's first key, or after an opening bracket; -1 if no key can be added.
    ``spelling`` is the key as the format writes it, with its colon or equals sign. ``merged`` holds the entries that
    come from a YAML merge (``<<``).
    """

    __slots__ = ("_index", "_indexed", "block", "entries", "merged", "site", "spelling", "start")

    def __init__(self, start: int, *, site: int = -1, spelling: str = "", block: bool = False) -> None:
        self.start = start
        self.site = site
        self.spelling = spelling
        self.block = block
        self.entries: list[Entry] = []
        self.merged: dict[str, Entry] = NOTHING
        self._index: dict[str, Entry] = NOTHING
        self._indexed = 0

    def live(self) -> dict[str, Entry]:
        """Return the entries that the program gets: for a repeated key the last one, as in parsers."""
        if self._indexed != len(self.entries):
            self._index = {entry.key: entry for entry in self.entries}
            self._indexed = len(self.entries)
        return self._index

    def get(self, key: str) -> Entry | None:
        """Return the entry that the program gets at a key. Of the merged entries, only those in ``ASKED`` were kept."""
        return self.live().get(key) or self.merged.get(key)

    def name(self, key: str) -> str:
        """Return the name that stands at ``key`` (a string, a Python name, a tag), or an empty string."""
        entry = self.get(key)
        if entry is not None and isinstance(entry.value, Scalar) and entry.value.kind in (TEXT, OTHER):
            return entry.value.value
        return ""

    def room(self, text: str) -> Room:
        """Return how a key is added at ``site``."""
        make = _above if self.block else _inside
        return make(text, self.site, self.spelling, not self.entries)


NOTHING: dict[str, Entry] = {}


class Sequence:
    """Values in order."""

    __slots__ = ("items", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.items: list[Node] = []


Node = Union[Scalar, Mapping, Sequence]


def _inside(text: str, opening: int, key: str, empty: bool) -> Room:
    """Add a key just after an opening bracket, with the white space that the entries there have."""
    end = opening
    while end < len(text) and text[end] in " \t\r\n":
        end += 1
    space = text[opening:end]
    if empty:
        return Room(opening, key, "")
    return Room(opening, space + key, "," if space else ", ")


def _above(text: str, first: int, key: str, _empty: bool) -> Room:
    """Add a key on a line of its own, above a block's first key, which starts at ``first``."""
    start = first
    while start and text[start - 1] not in "\r\n":
        start -= 1
    # More than white space may precede the key ("- name: x"). So the new key takes its place, and the old one moves to
    # the next line, in the same column.
    return Room(first, key, newline(text) + "".join("\t" if c == "\t" else " " for c in text[start:first]))


@lru_cache(maxsize=1)
def newline(text: str) -> str:
    """Return the line end that ``text`` uses first, a line feed if it has none."""
    found = LINE_END.search(text)
    return found.group() if found else "\n"


def differs_only_at(
    old: list[Node], new: list[Node], fixed: set[int], grown: set[int], key: str, values: set[float]
) -> bool:
    """Compare two parsed texts, document by document.

    ``fixed`` holds the ids of old scalars that must now be one of the numbers ``values``, ``grown`` those of
    old mappings that must now have ``key`` with such a number. Everything else must be equal, and values that
    were shared must still be shared.
    """
    if len(old) != len(new):
        return False
    seen: set[tuple[int, int]] = set()
    partner: dict[int, Node] = {}
    stack: list[tuple[Node, Node]] = list(zip(old, new))
    while stack:
        a, b = stack.pop()
        if (id(a), id(b)) in seen:
            continue
        seen.add((id(a), id(b)))
        if partner.setdefault(id(a), b) is not b:
            return False
        if isinstance(a, Scalar):
            if not isinstance(b, Scalar):
                return False
            if id(a) in fixed:
                if not _is_number(b, values):
                    return False
            elif (a.kind, a.value) != (b.kind, b.value):
                return False
        elif isinstance(a, Mapping):
            if not isinstance(b, Mapping):
                return False
            entries = b.entries
            if id(a) in grown:
                added = [e for e in entries if e.key == key]
                if len(added) != 1 or not _is_number(added[0].value, values):
                    return False
                entries = [e for e in entries if e is not added[0]]
            if [e.key for e in a.entries] != [e.key for e in entries]:
                return False
            stack.extend((x.value, y.value) for x, y in zip(a.entries, entries))
        else:
            if not isinstance(b, Sequence) or len(a.items) != len(b.items):
                return False
            stack.extend(zip(a.items, b.items))
    return True


def _is_number(node: Node, values: set[float]) -> bool:
    if not isinstance(node, Scalar) or node.kind != NUMBER:
        return False
    try:
        return float(node.value) in values
    except ValueError:
        return False
