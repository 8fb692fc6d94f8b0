"""Which names of torch, torchvision, torchaudio, NumPy, Pillow and the standard library a Python source uses.

A name counts if an import of the same file says that it belongs to one of these packages. Of the standard library,
only the modules in ``import_hook.OF_PYTHON`` count, in which the table of breakages restores names. A use behind a
check (``try`` with ``except ImportError``, ``hasattr``, a comparison of versions) is marked: the program can run
without it.
"""

from __future__ import annotations

import ast
import re
from typing import Any, Iterator, NamedTuple, Sequence

from ..import_hook import OF_PYTHON

#: The packages whose names are checked, and what each is installed as.
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "numpy": "numpy",
    "PIL": "pillow",
}
#: The first parts of the names that are checked.
JUDGED = frozenset((*PACKAGES, *OF_PYTHON))
#: Words of conditions and decorators with which a program checks whether a name is there.
ASKS = re.compile(
    r"(?i)version|hasattr|getattr|available|supports?\b|_supports|\bhas_|_has_|legacy|torch_?(ge|gt|le|lt)\b|"
    r"greater|_gte?_|_lte?_|_ge_|_lt_|at_least|min_torch|require|skip|TYPE_CHECKING|is_scripting|find_spec"
)
#: What an ``except`` catches if a name is not there.
CATCHES = frozenset(("ImportError", "ModuleNotFoundError", "AttributeError", "Exception", "BaseException"))

#: The method of Python 2 that an iterator of a DataLoader had. Any other iterator lacks it in Python 3.
ITERATOR_NEXT = "torch.utils.data.dataloader._BaseDataLoaderIter.next"


class Use(NamedTuple):
    """A name or an argument as a source uses it."""

    line: int
    column: int
    #: The full name, ``torch.symeig``. For an argument, that of the function.
    name: str
    #: The argument; empty if the name itself is used.
    argument: str = ""
    #: How the name is used: ``import``, ``from``, ``attribute`` or ``call``.
    how: str = "attribute"
    #: The program checks first whether the name is there.
    asked: bool = False
    #: The value of the argument, if it is a constant; ``...`` if it is not known.
    value: Any = ...


def uses(text: str) -> list[Use]:
    """Return the names of these packages that a source uses, in their order.

    Args:
        text: the source.

    Raises:
        SyntaxError: if it is not valid in this version of Python.
    """
    if not re.search(r"\b(?:torch|numpy|PIL)", text):
        return []
    reader = _Reader(text)
    reader.block(ast.parse(text).body)
    made = reader.made
    return [use for use in reader.found if use.name not in made]


class _Reader:
    """Walks over a source once, and keeps track of what its imports bind."""

    def __init__(self, text: str) -> None:
        self.found: list[Use] = []
        #: Names that the source itself sets in these packages.
        self.made: set[str] = set()
        self._lines = re.split(r"\r\n?|\n", text)
        #: From the innermost scope to the outermost: name -> full name in a package; None for any other object.
        self._scopes: list[dict[str, str | None]] = [{}]
        self._asked = 0
        #: Variables that hold the result of a check.
        self._answers: set[str] = set()
        #: Variables that hold what ``iter`` returned.
        self._iterators: set[str] = set()

    # statements

    def block(self, statements: Sequence[ast.stmt]) -> None:
        asked = self._asked
        for node in statements:
            self._statement(node)
            if isinstance(node, ast.If) and self._asks(node.test) and _leaves(node.body):
                self._asked += 1  # the statements below run only if the check was false
        self._asked = asked

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                self._bind(alias.asname or top, alias.name if alias.asname else top)
                self._use(node, alias.name, how="import")
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                path = f"{node.module}.{alias.name}" if node.module and not node.level else None
                self._bind(alias.asname or alias.name, path)
                if path is not None:
                    name = node.module if alias.name == "*" else path
                    self._use(alias if hasattr(alias, "lineno") else node, str(name), how="from")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._function(node)
        elif isinstance(node, ast.ClassDef):
            self._bind(node.name, None)
            self._under(any(self._asks(each) for each in node.decorator_list), node.decorator_list, node.bases)
            for keyword in node.keywords:
                self._expression(keyword.value)
            self._scopes.insert(0, {})
            self._under(any(self._asks(each) for each in node.decorator_list), node.body)
            self._scopes.pop(0)
        elif isinstance(node, ast.If):
            asks = self._asks(node.test)
            self._under(asks, [node.test])
            self._under(asks, node.body)
            self._under(asks, node.orelse)
        elif isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
            self._try(node)
        elif isinstance(node, (ast.With, ast.AsyncWith)) and any(map(_suppresses, node.items)):
            for item in node.items:
                self._parts(item)
            self._under(True, node.body)
        else:
            self._other(node)

    def _try(self, node: Any) -> None:
        catches = any(_catches(handler) for handler in node.handlers)
        if catches:
            self._answers |= {name for each in node.body for name in _stored(each)}
        self._under(catches, node.body)
        for handler in node.handlers:
            self._under(catches, handler.body)
        self._under(catches, node.orelse)
        self.block(node.finalbody)

    def _function(self, node: Any) -> None:
        self._bind(node.name, None)
        asks = any(self._asks(each) for each in node.decorator_list)
        arguments = node.args
        every = [*arguments.args, *arguments.kwonlyargs, *getattr(arguments, "posonlyargs", ())]
        every += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
        outside = [*node.decorator_list, *arguments.defaults, *filter(None, arguments.kw_defaults)]
        outside += [each.annotation for each in every if each.annotation is not None]
        self._under(asks, [*outside, *filter(None, [node.returns])])
        scope: dict[str, str | None] = dict.fromkeys((each.arg for each in every), None)
        self._scopes.insert(0, scope)
        self._under(asks, node.body)
        self._scopes.pop(0)

    def _other(self, node: ast.stmt) -> None:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value is not None and self._asks(node.value):
                self._answers |= {each.id for each in targets if isinstance(each, ast.Name)}
            if node.value is not None and _is_iter(node.value):
                self._iterators |= {_spelled(each) for each in targets}
        if isinstance(node, (ast.While, ast.Assert)):
            self._under(self._asks(node.test), [node.test])
        for field, value in ast.iter_fields(node):
            if isinstance(node, (ast.While, ast.Assert)) and field == "test":
                continue
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.stmt):
                    self.block([each])
                elif isinstance(each, ast.expr):
                    self._expression(each)
                elif isinstance(each, ast.AST):
                    self._parts(each)

    def _parts(self, node: ast.AST) -> None:
        """Walk over what is neither a statement nor an expression: an item of a ``with``, a case of a ``match``."""
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.stmt):
                self.block([each])
            elif isinstance(each, ast.expr):
                self._expression(each)
            else:
                self._parts(each)

    def _under(self, asked: bool, nodes: Sequence[Any], *more: Sequence[Any]) -> None:
        self._asked += asked
        for part in (nodes, *more):
            if part and isinstance(part[0], ast.stmt):
                self.block(part)
            else:
                for each in part:
                    self._expression(each)
        self._asked -= asked

    # expressions

    def _expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.Attribute):
            path = self._path(node)
            if path is None:
                self._expression(node.value)
            elif isinstance(node.ctx, ast.Load):
                self._use(node, path)
            else:
                self.made.add(path)
        elif isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                self._bind(node.id, None)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, (ast.IfExp, ast.BoolOp)):
            first = node.test if isinstance(node, ast.IfExp) else node.values[0]
            parts = [first, node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values
            self._under(self._asks(first), parts)
        elif isinstance(node, ast.Lambda):
            every = [*node.args.args, *node.args.kwonlyargs]
            for each in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
                self._expression(each)
            self._scopes.insert(0, dict.fromkeys((each.arg for each in every), None))
            self._expression(node.body)
            self._scopes.pop(0)
        else:
            self._parts(node)

    def _call(self, node: ast.Call) -> None:
        path = self._path(node.func) if isinstance(node.func, (ast.Attribute, ast.Name)) else None
        if path is None:
            self._expression(node.func)
            if isinstance(node.func, ast.Attribute) and self._is_next_of_an_iterator(node.func, node):
                self._use(node.func, ITERATOR_NEXT)
        else:
            self._use(node.func, path, how="call")
            if not any(isinstance(each, ast.Starred) for each in node.args):
                for keyword in node.keywords:
                    if keyword.arg:
                        self._use(
                            keyword if hasattr(keyword, "lineno") else node,
                            path,
                            keyword.arg,
                            value=constant(keyword.value),
                        )
            if path.rpartition(".")[2] in ("setattr", "patch"):
                return
        if isinstance(node.func, ast.Name) and node.func.id == "setattr" and len(node.args) > 1:
            self._made_by(node)
        for each in node.args:
            self._expression(each)
        for keyword in node.keywords:
            self._expression(keyword.value)

    def _is_next_of_an_iterator(self, method: ast.Attribute, call: ast.Call) -> bool:
        of_iterator = _is_iter(method.value) or _spelled(method.value) in self._iterators
        return of_iterator and method.attr == "next" and not call.args and not call.keywords

    def _made_by(self, node: ast.Call) -> None:
        """Note the name that ``setattr(torch, "name", …)`` sets."""
        holder, name = node.args[:2]
        path = self._path(holder) if isinstance(holder, (ast.Attribute, ast.Name)) else None
        if path is not None and isinstance(name, ast.Constant) and isinstance(name.value, str):
            self.made.add(f"{path}.{name.value}")

    def _path(self, node: ast.expr) -> str | None:
        """Return the full dotted name of an expression; None if it does not begin with an imported name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        held = next((scope[node.id] for scope in self._scopes if node.id in scope), None)
        return None if held is None else ".".join([held, *reversed(parts)])

    def _bind(self, name: str, path: str | None) -> None:
        """Bind a name in the innermost scope. A name that is bound to two different things counts as neither."""
        scope = self._scopes[0]
        ours = path is not None and path.partition(".")[0] in JUDGED
        scope[name] = path if ours and scope.get(name, path) == path else None

    def _asks(self, node: ast.expr) -> bool:
        """Tell whether a condition checks for a name or a version."""
        for each in ast.walk(node):
            word = each.id if isinstance(each, ast.Name) else each.attr if isinstance(each, ast.Attribute) else ""
            if word and (ASKS.search(word) or word in self._answers):
                return True
        return False

    def _use(self, node: Any, name: str, argument: str = "", how: str = "attribute", value: Any = ...) -> None:
        if name.partition(".")[0] not in JUDGED:
            return
        line = self._lines[node.lineno - 1] if node.lineno <= len(self._lines) else ""
        column = len(line.encode()[: node.col_offset].decode("utf-8", "replace")) + 1
        self.found.append(Use(node.lineno, column, name, argument, how, self._asked > 0, value))


def constant(node: ast.expr) -> Any:
    """Return the value of an expression, if it is None, a truth value, a number or a string; else ``...``."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ...
    return value if isinstance(value, (type(None), bool, int, float, str)) else ...


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


def _catches(handler: ast.ExceptHandler) -> bool:
    named = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    words = (getattr(each, "id", getattr(each, "attr", "")) for each in named)
    return handler.type is None or any(word in CATCHES for word in words)


def _suppresses(item: ast.withitem) -> bool:
    """Tell whether an item of a ``with`` is ``contextlib.suppress(ImportError)`` or the like."""
    call = item.context_expr
    words = {getattr(each, "id", getattr(each, "attr", "")) for each in ast.walk(call)}
    return isinstance(call, ast.Call) and "suppress" in words and bool(words & CATCHES)


def _is_iter(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "iter"


def _spelled(node: ast.AST) -> str:
    """Return a name with its attributes, ``self.batches``; empty for any other expression."""
    if isinstance(node, ast.Attribute):
        holder = _spelled(node.value)
        return f"{holder}.{node.attr}" if holder else ""
    return node.id if isinstance(node, ast.Name) else ""


def _stored(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id
        elif isinstance(each, ast.alias):
            yield (each.asname or each.name).partition(".")[0]
