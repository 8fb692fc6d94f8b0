"""JSON, strict or with comments and trailing commas. Unlike ``json``, this parser keeps positions."""

from __future__ import annotations

import re
from json import JSONDecoder

from ..tree import NULL, NUMBER, OTHER, TEXT, Entry, Mapping, Node, ParseError, Scalar, Sequence

KEY = '"weight_decay": '
SPACE = re.compile(r"[ \t\r\n]+")
COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)
LITERAL = re.compile(r"(null)|(true|false)|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|-?Infinity|NaN")
DEEPEST = 200
# The scanner of the standard library, which is written in C.
SCAN_STRING = JSONDecoder().parse_string  # type: ignore[attr-defined]


def parse(text: str) -> list[Node]:
    """Return the one document of a JSON text; NaN and Infinity are numbers, as in Python's ``json``."""
    return [_Scan(text, comments=False).document()]


def parse_with_comments(text: str) -> list[Node]:
    """Return the one document of a JSON text that may hold comments and trailing commas."""
    return [_Scan(text, comments=True).document()]


class _Scan:
    """One pass over the text; ``at`` is where the next token starts."""

    def __init__(self, text: str, *, comments: bool) -> None:
        self.text = text
        self.comments = comments
        self.at = 0

    def document(self) -> Node:
        self.skip()
        found = self.value(0)
        self.skip()
        if self.at != len(self.text):
            raise self.wrong("the end of the file")
        return found

    def skip(self) -> str:
        """Skip white space and comments, and return the next character."""
        char = self.text[self.at : self.at + 1]
        while char in " \t\r\n/" and char:
            # A loop, because a regular expression that repeats a group takes memory for each repetition.
            match = (COMMENT if char == "/" else SPACE).match(self.text, self.at)
            if match is None or (char == "/" and not self.comments):
                break
            self.at = match.end()
            char = self.text[self.at : self.at + 1]
        return char

    def wrong(self, expected: str) -> ParseError:
        here = self.text[self.at : self.at + 1]
        hint = ""
        if here == "/" and not self.comments:
            hint = " (a comment? JSON has none: name the file .jsonc or use --format jsonc)"
        return ParseError(f"expected {expected}, found {ascii(here) if here else 'the end of the file'}{hint}", self.at)

    def value(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise ParseError(f"nested deeper than {DEEPEST}", self.at)
        start = self.at
        char = self.text[start : start + 1]
        if char == '"':
            return Scalar(TEXT, self.string(), start, self.at, plain=False)
        if char == "{":
            return self.mapping(depth)
        if char == "[":
            return self.sequence(depth)
        match = LITERAL.match(self.text, start)
        if match is None:
            raise self.wrong("a value")
        self.at = match.end()
        kind = NULL if match.group(1) else OTHER if match.group(2) else NUMBER
        return Scalar(kind, match.group(), start, self.at)

    def string(self) -> str:
        try:
            value, self.at = SCAN_STRING(self.text, self.at + 1, True)
        except ValueError as error:
            reason = getattr(error, "msg", None) or error
            raise ParseError(f"not a JSON string, closed on its line: {reason}", self.at) from None
        return str(value)

    def mapping(self, depth: int) -> Mapping:
        made = Mapping(self.at, site=self.at + 1, spelling=KEY)
        self.at += 1
        char = self.skip()
        while char != "}":
            if char != '"':
                raise self.wrong("a key in double quotes")
            start, key = self.at, self.string()
            if self.skip() != ":":
                raise self.wrong("':'")
            self.at += 1
            self.skip()
            made.entries.append(Entry(key, start, self.value(depth + 1)))
            char = self.separator("}")
        self.at += 1
        return made

    def sequence(self, depth: int) -> Sequence:
        made = Sequence(self.at)
        self.at += 1
        char = self.skip()
        while char != "]":
            made.items.append(self.value(depth + 1))
            char = self.separator("]")
        self.at += 1
        return made

    def separator(self, bracket: str) -> str:
        """Skip a comma; return the next character, or the closing bracket."""
        char = self.skip()
        if char == ",":
            self.at += 1
            char = self.skip()
            if char == bracket and not self.comments:
                raise self.wrong("a value after the comma (a trailing comma? use --format jsonc)")
        elif char != bracket:
            raise self.wrong(f"',' or '{bracket}'")
        return char
