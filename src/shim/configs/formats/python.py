"""Python configs, as mmengine writes them: parsed with ``ast``, never executed.

A call is a mapping of its keywords (``dict(...)`` is nothing else; any other callee stands at ``_target_``),
a name that is assigned once is the value that it was given. Function and class bodies are not read.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import warnings
from collections import Counter
from typing import Iterator

from ..tree import (
    NULL,
    NUMBER,
    OTHER,
    TEXT,
    Entry,
    Mapping,
    Node,
    ParseError,
    Room,
    Scalar,
    Sequence,
    room_inside,
)

BLOCKS = ("body", "orelse", "finalbody", "handlers")
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def parse(text: str) -> list[Node]:
    """Return a Python module as one document: its top-level names are the keys."""
    lines = _lines(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are the author's business
            module = ast.parse(text)
        return [_Converter(text, lines, module).document]
    except SyntaxError as error:
        line = min(max(error.lineno or 1, 1), len(lines))
        offset = min(lines[line - 1] + max((error.offset or 1) - 1, 0), len(text))
        raise ParseError(f"{error.msg} (read as Python {sys.version_info[0]}.{sys.version_info[1]})", offset) from None
    except (RecursionError, MemoryError):  # MemoryError: the parser of Python 3.8 on deep nesting
        raise ParseError("nested too deeply") from None
    except ValueError as error:  # null bytes
        raise ParseError(str(error), max(text.find("\0"), 0)) from None


def _lines(text: str) -> list[int]:
    starts = [0]
    for line in io.StringIO(text, newline=""):
        starts.append(starts[-1] + len(line))
    return starts


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for a name or an attribute of a name, else an empty string."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


class _Converter:
    def __init__(self, text: str, lines: list[int], module: ast.Module) -> None:
        self.text = text
        self.lines = lines
        self.used: Counter[str] = Counter()
        self.open: set[str] = set()
        self.values: dict[str, ast.expr] = {}
        self.done: dict[str, Node] = {}
        stored: Counter[str] = Counter()
        loaded: Counter[str] = Counter()
        for node in ast.walk(module):
            if isinstance(node, ast.Name):
                (loaded if isinstance(node.ctx, ast.Load) else stored)[node.id] += 1
            elif isinstance(node, SCOPES):
                stored[node.name] += 2
            elif isinstance(node, ast.alias):
                stored[(node.asname or node.name).split(".")[0]] += 2
            elif isinstance(node, ast.arg):
                stored[node.arg] += 2
        statements = list(self.statements(module))
        for path, value in statements:
            if len(path) == 1 and stored[path[0]] == 1:
                self.values[path[0]] = value
        self.document = Mapping(0)
        for path, value in statements:
            self.add(path, value)
        for name, made in self.done.items():
            if isinstance(made, Scalar) and loaded[name] > self.used[name]:
                made.stuck = f"the variable {name} is used elsewhere too"

    def statements(self, block: ast.AST) -> Iterator[tuple[tuple[str, ...], ast.expr]]:
        """Yield each assignment, and each call that stands alone, of a block and the blocks in it."""
        for field in BLOCKS:
            for statement in getattr(block, field, ()):
                if isinstance(statement, SCOPES):
                    continue
                value = getattr(statement, "value", None)
                if isinstance(statement, ast.Assign):
                    for target in statement.targets:
                        path = self.target(target)
                        if path:
                            yield path, statement.value
                elif isinstance(statement, ast.AnnAssign) and value is not None:
                    path = self.target(statement.target)
                    if path:
                        yield path, value
                elif isinstance(statement, ast.Expr) and isinstance(value, ast.Call):
                    name = dotted(value.func)
                    if name.endswith(".update") and value.args:
                        yield tuple(name.split(".")[:-1]), value.args[0]
                    elif name:
                        yield tuple(name.split(".")), value
                yield from self.statements(statement)

    def target(self, node: ast.expr) -> tuple[str, ...]:
        """Return the path that an assignment sets: ``a.b['c']`` is a, b, c; empty where it is not plain."""
        if isinstance(node, ast.Name):
            return (node.id,)
        if isinstance(node, ast.Attribute):
            before = self.target(node.value)
            return (*before, node.attr) if before else ()
        if isinstance(node, ast.Subscript):
            index = getattr(node.slice, "value", node.slice)  # Python 3.8 wraps it: Index(value)
            key = getattr(index, "value", index)
            before = self.target(node.value)
            return (*before, key) if before and isinstance(key, str) else ()
        return ()

    def add(self, path: tuple[str, ...], value: ast.expr) -> None:
        holder = self.document
        for key in path[:-1]:
            if key == "_base_":
                continue
            inner = Mapping(self.offset(value))
            holder.entries.append(Entry(key, inner.start, inner))
            holder = inner
        holder.entries.append(Entry(path[-1], self.offset(value), self.variable(path, value)))

    def variable(self, path: tuple[str, ...], value: ast.expr) -> Node:
        if len(path) == 1 and self.values.get(path[0]) is value:
            return self.named(path[0])
        return self.node(value)

    def named(self, name: str) -> Node:
        if name not in self.done:
            self.open.add(name)
            self.done[name] = self.node(self.values[name])
            self.open.discard(name)
        return self.done[name]

    def offset(self, node: ast.expr) -> int:
        return self.at(node.lineno, node.col_offset)

    def at(self, line: int, column: int) -> int:
        """Return an offset; ``ast`` counts columns in bytes of UTF-8."""
        start = self.lines[min(line, len(self.lines)) - 1]
        part = self.text[start : start + column]
        return start + (column if part.isascii() else len(part.encode("utf-8")[:column].decode("utf-8", "ignore")))

    def node(self, node: ast.expr) -> Node:
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.Dict):
            made = Mapping(self.offset(node))
            for key, value in zip(node.keys, node.values):
                known = isinstance(key, ast.Constant) and isinstance(key.value, str)
                name = str(getattr(key, "value", "")) if known else "**" if key is None else "?" + ast.dump(key)
                made.entries.append(Entry(name, self.offset(key or value), self.node(value)))
            made.room = room_inside(self.text, made.start + 1, not node.keys, '"weight_decay": ')
            return made
        if isinstance(node, (ast.List, ast.Tuple)):
            sequence = Sequence(self.offset(node))
            sequence.items.extend(self.node(item) for item in node.elts)
            return sequence
        if isinstance(node, ast.Name) and node.id in self.values and node.id not in self.open:
            self.used[node.id] += 1
            return self.named(node.id)
        return self.scalar(node)

    def scalar(self, node: ast.expr) -> Scalar:
        start = self.offset(node)
        end = self.at(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
        value = node.value if isinstance(node, ast.Constant) else node
        if value is None:
            return Scalar(NULL, "None", start, end)
        if isinstance(value, str):
            return Scalar(TEXT, value, start, end, plain=False)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Scalar(NUMBER, repr(value), start, end)
        return Scalar(OTHER, dotted(node) or ast.dump(node), start, end)

    def call(self, node: ast.Call) -> Mapping:
        made = Mapping(self.offset(node))
        name = dotted(node.func)
        if isinstance(node.func, ast.Call) and len(node.func.args) == 1:
            name = dotted(node.func.args[0])  # LazyCall(AdamW)(...)
        if name != "dict":
            made.entries.append(Entry("_target_", made.start, Scalar(OTHER, name, made.start, made.start)))
        if node.args:
            args = Sequence(made.start)
            args.items.extend(self.node(item) for item in node.args)
            made.entries.append(Entry("args", made.start, args))
        for keyword in node.keywords:
            made.entries.append(Entry(keyword.arg or "**", self.offset(keyword.value), self.node(keyword.value)))
        made.room = self.room(node) if name == "dict" and not node.args else None
        return made

    def room(self, node: ast.Call) -> Room | None:
        func = node.func
        end = self.at(func.end_lineno or func.lineno, func.end_col_offset or func.col_offset)
        opening = re.compile(r"[ \t]*\(").match(self.text, end)
        return room_inside(self.text, opening.end(), not node.keywords, "weight_decay=") if opening else None
