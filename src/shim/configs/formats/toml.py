"""TOML. Unlike ``tomllib``, this parser keeps positions. TOML has no null, so a wrong weight decay is a string."""

from __future__ import annotations

import re

from ..tree import NUMBER, OTHER, TEXT, Entry, Mapping, Node, ParseError, Scalar, Sequence

KEY = "weight_decay = "
DEEPEST = 200
BLANK = re.compile(r"[ \t]*")
SPACE = re.compile(r"[ \t\r\n]+")
COMMENT = re.compile(r"#[^\n]*")
LINE_END = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
BARE = re.compile(r"[A-Za-z0-9_-]+")
# What ends a string, and what may not be in it. All loops over a string are in Python, because a regular expression
# that repeats a group takes memory for each repetition.
CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
SHORT = {'"': re.compile(r'\\.|["\r\n' + CONTROL + "]", re.DOTALL), "'": re.compile(r"['\r\n" + CONTROL + "]")}
# The next escape or end in a multi-line string. Up to two quotes may stand right before the three closing ones.
LONG = {'"': re.compile(r'\\.|"{3,5}', re.DOTALL), "'": re.compile(r"'{3,5}")}
ESCAPE = re.compile(
    r'\\(?:([btnfr"\\e])|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|[ \t]*\r?\n[ \t\r\n]*|(.))', re.DOTALL
)
ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\", "e": "\x1b"}
DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[-+]\d\d:\d\d)?)?|\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
)
TOKEN = re.compile(r"[-+.:\w]{1,200}")
PLAIN = re.compile(
    r"(?P<word>true|false)"
    r"|0x[0-9A-Fa-f]+(?:_[0-9A-Fa-f]+)*|0o[0-7]+(?:_[0-7]+)*|0b[01]+(?:_[01]+)*"
    r"|[-+]?(?:(?:0|[1-9]\d*(?:_\d+)*)(?:\.\d+(?:_\d+)*)?(?:[eE][-+]?\d+(?:_\d+)*)?|inf|nan)"
)


def parse(text: str) -> list[Node]:
    """Return the one document of a TOML text."""
    return [_Scan(text).document()]


class _Table:
    """A mapping while it is read: its keys, and how it was defined.

    ``how`` is "path" (by the header of a table inside it), "header", "dotted", or "closed" (an inline table).
    """

    __slots__ = ("how", "keys", "node")

    def __init__(self, node: Mapping, how: str) -> None:
        self.node = node
        self.how = how
        self.keys: dict[str, _Table | _Tables | None] = {}


class _Tables:
    """An array of tables: its list, and the last table, to which further headers refer."""

    __slots__ = ("last", "node")

    def __init__(self, node: Sequence, last: _Table) -> None:
        self.node = node
        self.last = last


class _Scan:
    """One pass over the text; ``at`` is where the next token starts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def document(self) -> Mapping:
        root = table = _Table(Mapping(0, spelling=KEY, block=True), "header")
        while True:
            self.skip_lines()
            if self.at == len(self.text):
                return root.node
            if self.text[self.at] == "[":
                table = self.header(root)
            else:
                self.pair(table, 0)
            match = LINE_END.match(self.text, self.at)
            if match is None:
                raise self.wrong("the end of the line")
            self.at = match.end()

    def skip(self) -> str:
        """Skip white space in a line, and return the next character."""
        match = BLANK.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return self.text[self.at : self.at + 1]

    def skip_lines(self) -> str:
        """Skip white space, line ends and comments, and return the next character."""
        while True:
            char = self.text[self.at : self.at + 1]
            match = (COMMENT if char == "#" else SPACE).match(self.text, self.at)
            if match is None:
                return char
            self.at = match.end()

    def wrong(self, expected: str) -> ParseError:
        here = self.text[self.at : self.at + 1]
        return ParseError(f"expected {expected}, found {ascii(here) if here else 'the end of the file'}", self.at)

    def header(self, root: _Table) -> _Table:
        start = self.at
        array = self.text.startswith("[[", start)
        self.at += 2 if array else 1
        self.skip()
        path = self.path()
        if not self.text.startswith("]]" if array else "]", self.at):
            raise self.wrong("']]'" if array else "']'")
        self.at += 2 if array else 1
        table = root
        for key, at in path[:-1]:
            table = self.step(table, key, at, "path")
        key, at = path[-1]
        old = table.keys.get(key)
        if array and (key not in table.keys or isinstance(old, _Tables)):
            made = _Table(Mapping(start, spelling=KEY, block=True), "header")
            if isinstance(old, _Tables):
                old.node.items.append(made.node)
                old.last = made
            else:
                sequence = Sequence(start)
                sequence.items.append(made.node)
                table.keys[key] = _Tables(sequence, made)
                table.node.entries.append(Entry(key, at, sequence))
            return made
        if not array and isinstance(old, _Table) and old.how == "path":
            old.how = "header"
            old.node.start = start
            return old
        if key in table.keys:
            raise ParseError(f"{key!r} is there already", at)
        return self.grow(table, key, at, start, "header")

    def grow(self, table: _Table, key: str, at: int, start: int, how: str) -> _Table:
        made = _Table(Mapping(start, spelling=KEY, block=True), how)
        table.keys[key] = made
        table.node.entries.append(Entry(key, at, made.node))
        return made

    def step(self, table: _Table, key: str, at: int, how: str) -> _Table:
        """Return the table at a key, which is made if it is not there."""
        if key not in table.keys:
            return self.grow(table, key, at, at, how)
        inner = table.keys[key]
        if isinstance(inner, _Tables) and how == "path":
            return inner.last
        if not isinstance(inner, _Table) or inner.how == "closed" or (how == "dotted" and inner.how != "dotted"):
            raise ParseError(f"{key!r} is there already, and cannot be extended", at)
        return inner

    def pair(self, table: _Table, depth: int) -> None:
        first = self.at
        path = self.path()
        if self.text[self.at : self.at + 1] != "=":
            raise self.wrong("'='")
        self.at += 1
        self.skip()
        holder = table
        for key, at in path[:-1]:
            holder = self.step(holder, key, at, "dotted")
        key, at = path[-1]
        if key in holder.keys:
            raise ParseError(f"{key!r} is there already", at)
        holder.keys[key] = None
        value = self.value(depth + len(path))
        if isinstance(value, Mapping):
            holder.keys[key] = CLOSED
        holder.node.entries.append(Entry(key, at, value))
        if holder is table and holder.node.block and holder.node.site < 0:
            holder.node.site = first

    def path(self) -> list[tuple[str, int]]:
        """Read a dotted key and the white space after it."""
        path: list[tuple[str, int]] = []
        while True:
            at = self.at
            char = self.text[at : at + 1]
            match = BARE.match(self.text, at)
            if match is not None:
                self.at = match.end()
                path.append((match.group(), at))
            elif char in ("'", '"'):
                path.append((self.short(char), at))
            else:
                raise self.wrong("a key")
            if len(path) > DEEPEST:
                raise ParseError(f"nested deeper than {DEEPEST}", at)
            if self.skip() != ".":
                return path
            self.at += 1
            self.skip()

    def value(self, depth: int) -> Node:
        start = self.at
        if depth > DEEPEST:
            raise ParseError(f"nested deeper than {DEEPEST}", start)
        char = self.text[start : start + 1]
        if char in ("'", '"'):
            value = self.string(char)
            return Scalar(TEXT, value, start, self.at, plain=False)
        if char == "[":
            return self.array(depth)
        if char == "{":
            return self.inline(depth)
        date = DATE.match(self.text, start)
        token = date or TOKEN.match(self.text, start)
        plain = PLAIN.fullmatch(token.group()) if token is not None and date is None else None
        if token is None or (date is None and plain is None):
            raise self.wrong("a value")
        self.at = token.end()
        kind = OTHER if plain is None or plain.group("word") else NUMBER
        return Scalar(kind, token.group(), start, self.at)

    def string(self, quote: str) -> str:
        start = self.at
        if not self.text.startswith(quote * 3, start):
            return self.short(quote)
        self.at += 3
        while True:
            found = LONG[quote].search(self.text, self.at)
            if found is None:
                raise ParseError("expected a string that is closed", start)
            self.at = found.end()
            if found.group()[0] == quote:
                break
        inner = self.text[start + 3 : self.at - 3]
        inner = inner[1:] if inner.startswith("\n") else inner[2:] if inner.startswith("\r\n") else inner
        return self.unescape(inner, start) if quote == '"' else inner

    def short(self, quote: str) -> str:
        start = self.at
        self.at += 1
        while True:
            found = SHORT[quote].search(self.text, self.at)
            if found is None or found.group()[0] not in (quote, "\\"):
                raise ParseError("expected a string, closed on its line", start)
            self.at = found.end()
            if found.group() == quote:
                break
        inner = self.text[start + 1 : self.at - 1]
        return self.unescape(inner, start) if quote == '"' else inner

    def unescape(self, text: str, at: int) -> str:
        if "\\" not in text:
            return text

        def one(match: re.Match[str]) -> str:
            short, four, eight, two, wrong = match.groups()
            if short:
                return ESCAPED[short]
            if wrong:
                raise ParseError(f"no such escape in TOML: \\{wrong}", at)
            code = int(four or eight or two or "0", 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise ParseError("no such character in TOML", at)
            return chr(code) if four or eight or two else ""

        return ESCAPE.sub(one, text)

    def array(self, depth: int) -> Sequence:
        made = Sequence(self.at)
        self.at += 1
        while self.skip_lines() != "]":
            made.items.append(self.value(depth + 1))
            char = self.skip_lines()
            if char == ",":
                self.at += 1
            elif char != "]":
                raise self.wrong("',' or ']'")
        self.at += 1
        return made

    def inline(self, depth: int) -> Mapping:
        table = _Table(Mapping(self.at, site=self.at + 1, spelling=KEY), "header")
        self.at += 1
        # Line ends and a comma after the last entry are TOML 1.1.
        while self.skip_lines() != "}":
            self.pair(table, depth + 1)
            char = self.skip_lines()
            if char == ",":
                self.at += 1
            elif char != "}":
                raise self.wrong("',' or '}'")
        self.at += 1
        return table.node


CLOSED = _Table(Mapping(0), "closed")
