"""JSON, strict or with comments and trailing commas: a scan that keeps positions, as ``json`` does not."""

from __future__ import annotations

import json
import re

from ..tree import NULL, NUMBER, OTHER, TEXT, Entry, Mapping, Node, ParseError, Scalar, Sequence, room_inside

KEY = '"weight_decay": '
SPACE = re.compile(r"[ \t\r\n]*")
COMMENTS = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
NUMBERS = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|-?Infinity|NaN")
WORDS = {"null": NULL, "true": OTHER, "false": OTHER}
WORD = re.compile("|".join(WORDS))
DEEPEST = 200


def parse(text: str) -> list[Node]:
    """Return the one document of a JSON text; NaN and Infinity are numbers, as in Python's ``json``."""
    return [_Scan(text, SPACE, comments=False).document()]


def parse_with_comments(text: str) -> list[Node]:
    """Return the one document of a JSON text that may hold comments and trailing commas."""
    return [_Scan(text, COMMENTS, comments=True).document()]


class _Scan:
    """One pass over the text; ``at`` is where the next token starts."""

    def __init__(self, text: str, space: re.Pattern[str], *, comments: bool) -> None:
        self.text = text
        self.space = space
        self.comments = comments
        self.at = 0

    def document(self) -> Node:
        self.skip()
        found = self.value(0)
        self.skip()
        if self.at != len(self.text):
            raise self.wrong("the end of the file")
        return found

    def skip(self) -> None:
        match = self.space.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def wrong(self, expected: str) -> ParseError:
        here = self.text[self.at : self.at + 1]
        hint = ""
        if here == "/" and not self.comments:
            hint = " (a comment? JSON has none: name the file .jsonc or use --format jsonc)"
        return ParseError(f"expected {expected}, found {ascii(here) if here else 'the end of the file'}{hint}", self.at)

    def value(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise ParseError(f"nested deeper than {DEEPEST}", self.at)
        char = self.text[self.at : self.at + 1]
        if char == "{":
            return self.mapping(depth)
        if char == "[":
            return self.sequence(depth)
        start = self.at
        if char == '"':
            return Scalar(TEXT, self.string(), start, self.at, plain=False)
        match = NUMBERS.match(self.text, start)
        if match is not None and match.end() > start:
            self.at = match.end()
            return Scalar(NUMBER, match.group(), start, self.at)
        match = WORD.match(self.text, start)
        if match is None:
            raise self.wrong("a value")
        self.at = match.end()
        return Scalar(WORDS[match.group()], match.group(), start, self.at)

    def string(self) -> str:
        match = STRING.match(self.text, self.at)
        if match is None:
            raise self.wrong("a string, closed on its line")
        try:
            value = json.loads(match.group())
        except ValueError as error:
            raise ParseError(f"not a JSON string: {error}", self.at) from None
        self.at = match.end()
        return str(value)

    def mapping(self, depth: int) -> Mapping:
        made = Mapping(self.at)
        self.at += 1
        opening = self.at
        self.skip()
        while not self.closes("}", not made.entries):
            if self.text[self.at : self.at + 1] != '"':
                raise self.wrong("a key in double quotes")
            start, key = self.at, self.string()
            self.skip()
            if self.text[self.at : self.at + 1] != ":":
                raise self.wrong("':'")
            self.at += 1
            self.skip()
            made.entries.append(Entry(key, start, self.value(depth + 1)))
            self.separator("}")
        made.room = room_inside(self.text, opening, not made.entries, KEY)
        return made

    def sequence(self, depth: int) -> Sequence:
        made = Sequence(self.at)
        self.at += 1
        self.skip()
        while not self.closes("]", not made.items):
            made.items.append(self.value(depth + 1))
            self.separator("]")
        return made

    def closes(self, bracket: str, empty: bool) -> bool:
        """Step over the closing bracket if it is here: at once, or behind a value or a trailing comma."""
        if self.text[self.at : self.at + 1] != bracket:
            return False
        behind_comma = not empty and self.comma
        if behind_comma and not self.comments:
            raise self.wrong("a value behind the comma (a trailing comma? use --format jsonc)")
        self.at += 1
        return True

    comma = False

    def separator(self, bracket: str) -> None:
        self.skip()
        self.comma = self.text[self.at : self.at + 1] == ","
        if self.comma:
            self.at += 1
            self.skip()
        elif self.text[self.at : self.at + 1] != bracket:
            raise self.wrong(f"',' or '{bracket}'")
