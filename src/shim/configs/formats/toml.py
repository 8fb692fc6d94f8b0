"""TOML: tomlkit keeps every byte but tells no positions; a value is found by where a changed copy differs.

TOML has no null, so what can stand at a weight decay and be wrong is a string.
"""

from __future__ import annotations

import re
from typing import Any, Tuple, Union

from ..tree import NUMBER, OTHER, TEXT, Entry, Mapping, Node, ParseError, Room, Scalar, Sequence, room_above
from .need import need

TomlThing = Any  # the module, a document, or plain data out of one
Path = Tuple[Union[str, int], ...]


def parse(text: str) -> list[Node]:
    """Return the one document of a TOML text."""
    tomlkit = need("tomlkit", "tomlkit", "TOML")
    try:
        document = tomlkit.parse(text)
        data = document.unwrap()
        kept = tomlkit.dumps(document) == text
    except RecursionError:
        raise ParseError("nested too deeply") from None
    except Exception as error:  # tomlkit lets errors of its own making through, beside its ParseError
        line, column = getattr(error, "line", 1), getattr(error, "col", 0)
        starts = [0] + [found.end() for found in re.finditer("\n", text)]
        offset = starts[min(line, len(starts)) - 1] + column
        message = str(error) or type(error).__name__
        raise ParseError(re.sub(r" at line \d+ col \d+\Z", "", message), min(offset, len(text))) from None
    return [_Converter(tomlkit, document, text, kept).node(data, ())]


class _Converter:
    def __init__(self, tomlkit: TomlThing, document: TomlThing, text: str, kept: bool) -> None:
        self.tomlkit = tomlkit
        self.document = document
        self.text = text
        self.kept = kept
        self.mark = 987654321
        while str(self.mark) in text:
            self.mark += 1

    def node(self, data: TomlThing, path: Path) -> Node:
        if isinstance(data, dict):
            made = Mapping(0)
            for key, value in data.items():
                made.entries.append(Entry(key, 0, self.node(value, (*path, key))))
            if path and "optim" in str(path[-1]).lower() and "weight_decay" not in data:
                made.room = self.room(data, path)
                made.start = made.room.offset if made.room else 0
            return made
        if isinstance(data, list):
            sequence = Sequence(0)
            sequence.items.extend(self.node(value, (*path, index)) for index, value in enumerate(data))
            return sequence
        if isinstance(data, str):
            return self.string(data, path)
        if isinstance(data, (int, float)) and not isinstance(data, bool):
            return Scalar(NUMBER, repr(data), 0, 0)
        return Scalar(OTHER, repr(data), 0, 0)

    def string(self, value: str, path: Path) -> Scalar:
        made = Scalar(TEXT, value, 0, 0, plain=False)
        key = str(path[-1]).lower()
        if "decay" in key or "wd" in key:
            where = self.locate(path)
            if where is None:
                made.stuck = "its place in the text is not certain"
            else:
                made.start, made.end = where
        return made

    def locate(self, path: Path) -> tuple[int, int] | None:
        """Return where the value at ``path`` is written.

        A number that occurs nowhere else is put there for a moment: it shows the place.
        """
        if not self.kept:
            return None
        try:
            holder = self.document
            for step in path[:-1]:
                holder = holder[step]
            item = holder[path[-1]]
            raw = item.as_string()
            holder[path[-1]] = self.mark
            changed = self.tomlkit.dumps(self.document)
            holder[path[-1]] = item
        except Exception:  # as above; a value that cannot be found is reported without being mended
            return None
        start = changed.find(str(self.mark))
        end = start + len(raw)
        if start < 0 or self.text[:start] + self.text[start:end] + changed[start + 9 :] != self.text:
            return None
        return (start, end) if self.text[start:end] == raw else None

    def room(self, data: TomlThing, path: Path) -> Room | None:
        for key, value in data.items():
            if not isinstance(value, (dict, list)):
                where = self.locate((*path, key))
                if where is None:
                    return None
                start = max(self.text.rfind("\n", 0, where[0]), self.text.rfind("\r", 0, where[0])) + 1
                line = re.fullmatch(rf"([ \t]*){re.escape(key)}[ \t]*=[ \t]*", self.text[start : where[0]])
                return room_above(self.text, start + line.end(1), "weight_decay = ") if line else None
        return None
