"""Python configs, as mmengine has them: parsed with ``ast``, never executed.

A call becomes a mapping of its keywords, with the name of the callee at ``_target_`` unless it is ``dict``. A name that
is assigned once is replaced by its value. Of the bodies of functions and classes, only the defaults of fields and of
options are read: they stand at ``class Name`` and ``add_argument``, and are ``NO_DEFAULT`` where an option has none.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import warnings
from array import array
from collections import Counter
from typing import Any, Iterable, Iterator

from ..frameworks import RESEMBLES
from ..tree import NULL, NUMBER, OTHER, TEXT, Entry, Mapping, Node, ParseError, Scalar, Sequence

BLOCKS = ("body", "orelse", "finalbody", "handlers")
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
OPENING = re.compile(r"[ \t]*\(")
# An expression that is not a constant is represented by so many of its characters.
SHOWN = 200
# The parser of Python up to 3.11 takes time quadratic in the length of an f-string. So the letter f is blanked out,
# which makes it an ordinary string with braces: one that is filled in later. See fstring_find_expr_location in
# https://github.com/python/cpython/blob/0220182801292d4b12ee263e2bad67108dec2451/Parser/string_parser.c
F_STRING = re.compile(r"\b(?:[fF]([rR]?)|([rR])[fF])(?=['\"])")
# The calls that define an option of a command line.
OPTIONS = ("add_argument", "add_option", "option", "DEFINE_float")
# The default that is reported for an option without one.
NO_DEFAULT = "without a default"
THE_OPTION = re.compile(r"--?weight[-_]decay")
# With one of these keywords, an option that is not given need not be None.
OTHERWISE = {"default", "required", "is_flag", "flag_value", "count", "multiple", "prompt", "cls", "callback"}


def parse(text: str) -> list[Node]:
    """Return a Python module as one document: its top-level names are the keys."""
    lines = _lines(text)
    if sys.version_info < (3, 12):
        text = F_STRING.sub(lambda match: " " + (match.group(1) or match.group(2) or ""), text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes in the config
            module = ast.parse(text)
        return [_Converter(text, lines, module).document]
    except SyntaxError as error:
        line = min(max(error.lineno or 1, 1), len(lines))
        offset = min(lines[line - 1] + max((error.offset or 1) - 1, 0), len(text))
        raise ParseError(f"{error.msg} (read as Python {sys.version_info[0]}.{sys.version_info[1]})", offset) from None
    # MemoryError: the parsers of Python 3.8 and 3.14 on deep nesting, https://github.com/python/cpython/issues/135028
    except (RecursionError, MemoryError):
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


def _walk(module: ast.Module) -> Iterator[ast.AST]:
    """Yield every node, as ``ast.walk`` does, but depth first, which takes less memory."""
    stack: list[Any] = [module]
    while stack:
        node = stack.pop()
        yield node
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                stack.extend(item for item in reversed(value) if isinstance(item, ast.AST))
            elif isinstance(value, ast.AST) and value._fields:
                stack.append(value)


class _Converter:
    def __init__(self, text: str, lines: list[int], module: ast.Module) -> None:
        self.text = text
        self.lines = lines
        # For each line that is not all ASCII: the character at each byte, because ast counts bytes.
        self.columns: dict[int, array[int]] = {}
        self.used: Counter[str] = Counter()
        self.open: set[str] = set()
        self.values: dict[str, ast.expr] = {}
        self.done: dict[str, Node] = {}
        # The full path of each imported name: "keras.optimizers.AdamW" for AdamW.
        self.imports: dict[str, str] = {}
        self.document = Mapping(0)
        stored: Counter[str] = Counter()
        loaded: Counter[str] = Counter()
        defaults: list[tuple[str, str, ast.expr]] = []
        given: set[str] = set()  # by set_defaults, which overrides the defaults of options
        for node in _walk(module):
            if isinstance(node, ast.Name):
                (loaded if isinstance(node.ctx, ast.Load) else stored)[node.id] += 1
            elif isinstance(node, SCOPES):
                stored[node.name] += 2
                if isinstance(node, ast.ClassDef):
                    defaults.extend(_fields(node))
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self.imports.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
            elif isinstance(node, ast.Import):
                self.imports.update({a.asname: a.name for a in node.names if a.asname})
            elif isinstance(node, ast.alias):
                stored[(node.asname or node.name).split(".")[0]] += 2
            elif isinstance(node, ast.arg):
                stored[node.arg] += 2
            elif isinstance(node, ast.Call):
                defaults.extend(_option(node))
                given.update(_given(node))
        statements = list(self.statements(module))
        for path, value in statements:
            if len(path) == 1 and stored[path[0]] == 1:
                self.values[path[0]] = value
        for path, value in statements:
            self.add(path, value)
        for name, made in self.done.items():
            if isinstance(made, Scalar) and loaded[name] > self.used[name]:
                made.stuck = f"the variable {name} is used elsewhere too"
        for holder, key, value in defaults:
            scalar = self.scalar(value)
            if scalar.kind != NULL:  # the name of an option without a default
                if given:
                    continue
                scalar = Scalar(NULL, NO_DEFAULT, scalar.start, scalar.start)
            scalar.stuck = "a default is the program's, not a config's"
            option = "option without a default" if scalar.value == NO_DEFAULT else "option"
            scalar.default_of = "field" if holder.startswith("class ") else option
            inner = Mapping(scalar.start)
            inner.entries.append(Entry(key, scalar.start, scalar))
            self.document.entries.append(Entry(holder, scalar.start, inner))

    def statements(self, module: ast.Module) -> Iterator[tuple[tuple[str, ...], ast.expr]]:
        """Yield each assignment, and each call that stands alone, of the module and the blocks in it."""
        stack: list[Any] = [module]
        while stack:
            statement = stack.pop()
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
                elif name and not name.endswith(("add_argument", "option")):
                    yield tuple(name.split(".")), value
            for field in reversed(BLOCKS):
                stack.extend(reversed(getattr(statement, field, None) or ()))

    def target(self, node: ast.expr) -> tuple[str, ...]:
        """Return the path that an assignment sets: ``a.b['c']`` is a, b, c. Empty if a key is not a constant."""
        path: list[str] = []
        while not isinstance(node, ast.Name):
            if isinstance(node, ast.Attribute):
                path.append(node.attr)
            elif isinstance(node, ast.Subscript):
                index = getattr(node.slice, "value", node.slice)  # Python 3.8 wraps it: Index(value)
                key = getattr(index, "value", index)
                if not isinstance(key, str):
                    return ()
                path.append(key)
            else:
                return ()
            node = node.value
        return (node.id, *reversed(path))

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

    def end(self, node: ast.expr) -> int:
        return self.at(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)

    def at(self, line: int, column: int) -> int:
        """Return an offset; ``ast`` counts columns in bytes of UTF-8."""
        line = min(line, len(self.lines))
        start = self.lines[line - 1]
        if self.text.isascii():
            return start + column
        columns = self.columns.get(line)
        if columns is None:
            end = self.lines[line] if line < len(self.lines) else len(self.text)
            columns = self.columns[line] = _columns(self.text[start:end])
        if not columns:
            return start + column
        return start + columns[min(column, len(columns) - 1)]

    def node(self, node: ast.expr) -> Node:
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.Dict):
            start = self.offset(node)
            made = Mapping(start, site=start + 1, spelling='"weight_decay": ')
            for key, value in zip(node.keys, node.values):
                known = isinstance(key, ast.Constant) and isinstance(key.value, str)
                name = str(getattr(key, "value", "")) if known else "**" if key is None else "? " + self.shown(key)
                made.entries.append(Entry(name, self.offset(key or value), self.node(value)))
            return made
        if isinstance(node, (ast.List, ast.Tuple)):
            sequence = Sequence(self.offset(node))
            sequence.items.extend(self.node(item) for item in node.elts)
            return sequence
        if isinstance(node, ast.Name) and node.id in self.values and node.id not in self.open:
            self.used[node.id] += 1
            return self.named(node.id)
        return self.scalar(node)

    def shown(self, node: ast.expr) -> str:
        start = self.offset(node)
        return self.text[start : min(self.end(node), start + SHOWN)]

    def scalar(self, node: ast.expr) -> Scalar:
        start, end = self.offset(node), self.end(node)
        value = node.value if isinstance(node, ast.Constant) else node
        if value is None:
            return Scalar(NULL, "None", start, end)
        if isinstance(value, str):
            return Scalar(TEXT, value, start, end, plain=False)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Scalar(NUMBER, self.text[start:end], start, end)
        return Scalar(OTHER, dotted(node) or self.text[start : min(end, start + SHOWN)], start, end)

    def call(self, node: ast.Call) -> Mapping:
        start = self.offset(node)
        name = dotted(node.func)
        if isinstance(node.func, ast.Call) and len(node.func.args) == 1:
            name = dotted(node.func.args[0])  # LazyCall(AdamW)(...)
        first, dot, rest = name.partition(".")
        name = self.imports.get(first, first) + dot + rest
        made = Mapping(start, spelling="weight_decay=")
        if name != "dict":
            made.entries.append(Entry("_target_", start, Scalar(OTHER, name, start, start)))
        elif not node.args:
            opening = OPENING.match(self.text, self.end(node.func))
            made.site = opening.end() if opening else -1
        if node.args:
            args = Sequence(start)
            args.items.extend(self.node(item) for item in node.args)
            made.entries.append(Entry("args", start, args))
        for keyword in node.keywords:
            value = self.node(keyword.value)
            made.entries.append(Entry(keyword.arg or "**", self.offset(keyword.value), value))
        return made


def _columns(line: str) -> array[int]:
    """Return, for each byte of a line in UTF-8, the index of its character; empty if all are ASCII."""
    columns = array("L")
    if line.isascii():
        return columns
    for index, char in enumerate(line):
        columns.extend([index] * len(char.encode("utf-8", "surrogatepass")))
    columns.append(len(line))
    return columns


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _default(keywords: Iterable[ast.keyword]) -> ast.expr | None:
    return next((keyword.value for keyword in keywords if keyword.arg == "default"), None)


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, ast.expr]]:
    """Yield the fields of a class that resemble a weight decay and are None by default."""
    for statement in node.body:
        target = getattr(statement, "target", None) or (getattr(statement, "targets", None) or [None])[0]
        value = getattr(statement, "value", None)
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or not isinstance(target, ast.Name):
            continue
        if isinstance(value, ast.Call):  # field(default=None), or pydantic's Field(None)
            value = _default(value.keywords) or next(iter(value.args), None)
        if RESEMBLES.search(target.id) and value is not None and _is_none(value):
            yield f"class {node.name}", target.id, value


def _option(node: ast.Call) -> Iterator[tuple[str, str, ast.expr]]:
    """Yield the None that an option for a weight decay has by default, or its name where it has no default.

    An option is one of argparse, ``add_argument("--weight-decay", default=None)``, optparse's ``add_option``, click's
    ``option``, or absl's ``DEFINE_float("weight_decay", None, "help")``.
    """
    called = _called(node)
    if called not in OPTIONS:
        return
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    names = [arg for arg in (*node.args, keywords.get("dest")) if _text(arg)]
    name = next((name for name in names if RESEMBLES.search(_text(name))), None)
    if name is None:
        return
    second = node.args[1] if called == "DEFINE_float" and len(node.args) > 1 else None
    value = keywords.get("default") or second
    if value is not None and _is_none(value):
        yield called, _text(name), value
    elif (
        called != "DEFINE_float"
        and (any(THE_OPTION.fullmatch(_text(arg)) for arg in names) or _text(keywords.get("dest")) == "weight_decay")
        and OTHERWISE.isdisjoint(keywords)
        and None not in keywords  # **more
        and ("action" not in keywords or _text(keywords["action"]) == "store")
    ):
        yield called, _text(name), name


def _given(node: ast.Call) -> Iterator[str]:
    """Yield the keywords of a call that give a default to options that have none."""
    for keyword in node.keywords:
        name = keyword.arg or "**"
        if name == "argument_default" or (_called(node) == "set_defaults" and (RESEMBLES.search(name) or name == "**")):
            yield name


def _called(node: ast.Call) -> str:
    func = node.func
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
