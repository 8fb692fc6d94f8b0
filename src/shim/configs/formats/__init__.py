"""The config formats, each with a parser that keeps the position of every value."""

from __future__ import annotations

from typing import Callable, NamedTuple

from ..tree import Node
from . import json, python, toml, yaml


class Format(NamedTuple):
    """A format: the suffixes of its files, how a comment begins, and ``parse`` (text to documents; raises ParseError).

    ``most`` is the size of the largest file that is parsed, in bytes.
    """

    name: str
    suffixes: tuple[str, ...]
    comment: str
    parse: Callable[[str], list[Node]]
    most: int = 10 << 20


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("yaml", (".yaml", ".yml"), "#", yaml.parse),
        Format("json", (".json",), "", json.parse),
        Format("jsonc", (".jsonc",), "//", json.parse_with_comments),
        Format("toml", (".toml",), "#", toml.parse),
        # Python's own parser takes up to 900 times as much memory as the file has bytes.
        Format("python", (".py",), "#", python.parse, most=1 << 20),
    )
}


def by_suffix(name: str) -> Format | None:
    """Return the format that belongs to the suffix of a file, or None."""
    lower = name.lower()
    for found in FORMATS.values():
        if lower.endswith(found.suffixes):
            return found
    return None
