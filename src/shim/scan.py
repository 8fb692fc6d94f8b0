"""``shim scan PATH…``: which names of torch in Python sources the torch that is here lacks, and what gives them back.

The sources are parsed, never run. A name counts where an import of the same file says whose it is. What stands behind a
check of its own (``try`` with an ``except ImportError``, ``hasattr``, a look at a version) is a note, no finding.
"""

from __future__ import annotations

import argparse
import ast
import gc
import json
import re
import sys
from functools import lru_cache
from typing import Any, Iterator, NamedTuple, Sequence

from . import timeline
from .configs import command, fix
from .configs.source import Source
from .configs.tree import ParseError
from .releases import TORCH, Release, is_in, of_the_time, release, written_for

PACKAGES = ("torch", "torchvision", "torchaudio")
#: What a program asks before it uses a name that may not be there: words of conditions and of decorators.
ASKS = re.compile(
    r"(?i)version|hasattr|getattr|available|supports?\b|_supports|\bhas_|_has_|legacy|torch_?(ge|gt|le|lt)\b|"
    r"greater|_gte?_|_lte?_|_ge_|_lt_|at_least|min_torch|require|skip|TYPE_CHECKING|is_scripting|find_spec"
)
#: A longer dotted name has nothing more to look up.
MOST_PARTS = 9
#: What an ``except`` catches where a name is not there.
CATCHES = frozenset(("ImportError", "ModuleNotFoundError", "AttributeError", "Exception", "BaseException"))


class Use(NamedTuple):
    """A name or an argument as a source uses it."""

    line: int
    column: int
    #: With its module, as far as it is known: ``torch.symeig``; of an argument, the function's.
    name: str
    #: The argument; empty where it is the name itself.
    argument: str = ""
    #: How the name is used: ``import``, ``attribute`` or ``call``.
    how: str = "attribute"
    #: The program asks first whether it is there.
    asked: bool = False


class Fact(NamedTuple):
    """What is known of a name that not every release has."""

    #: The name, or ``torch.meshgrid(indexing=)``.
    name: str
    #: Whose releases are counted.
    package: str
    #: The releases that have it, as a specifier.
    works: str
    #: Since when it is there, or gone.
    sentence: str
    #: The row that gives it back; empty if none does.
    row: str = ""
    #: The releases in which that row's programs work, as a specifier.
    given: str = ""
    #: The row must be named in SHIM_PATCHES.
    named: bool = False


class Finding(NamedTuple):
    """A use of a name that the release which is here lacks."""

    use: Use
    fact: Fact


class Result(NamedTuple):
    """What came of one file."""

    name: str
    findings: tuple[Finding, ...] = ()
    #: What is known of each name that is used without a question first: it tells the release written for.
    facts: frozenset[Fact] = frozenset()
    error: str = ""
    line: int = 1
    column: int = 1
    skipped: str = ""


# --- what a source uses ---------------------------------------------------------------------------------------------


def uses(text: str) -> list[Use]:
    """Return the names of torch, torchvision and torchaudio that a source uses, in their order.

    Args:
        text: the source.

    Raises:
        SyntaxError: it is no Python of today.
    """
    if not re.search(r"\btorch", text):
        return []
    reader = _Reader(text)
    reader.block(ast.parse(text).body)
    made = reader.made
    return [use for use in reader.found if use.name not in made]


class _Reader:
    """Walk over a source once, with what its imports have bound."""

    def __init__(self, text: str) -> None:
        self.found: list[Use] = []
        #: Names that the source itself puts into torch.
        self.made: set[str] = set()
        self._lines = re.split(r"\r\n?|\n", text)
        #: From the innermost scope to the outermost: what a name stands for, None for something else.
        self._scopes: list[dict[str, str | None]] = [{}]
        self._asked = 0
        #: Names that hold the answer to a question.
        self._answers: set[str] = set()

    # statements

    def block(self, statements: Sequence[ast.stmt]) -> None:
        asked = self._asked
        for node in statements:
            self._statement(node)
            if isinstance(node, ast.If) and self._asks(node.test) and _leaves(node.body):
                self._asked += 1  # what follows runs only if the answer was no
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
        else:
            self._use(node.func, path, how="call")
            if not any(isinstance(each, ast.Starred) for each in node.args):
                for keyword in node.keywords:
                    if keyword.arg:
                        self._use(keyword if hasattr(keyword, "lineno") else node, path, keyword.arg)
            if path.rpartition(".")[2] in ("setattr", "patch"):
                return
        if isinstance(node.func, ast.Name) and node.func.id == "setattr" and len(node.args) > 1:
            self._made_by(node)
        for each in node.args:
            self._expression(each)
        for keyword in node.keywords:
            self._expression(keyword.value)

    def _made_by(self, node: ast.Call) -> None:
        """Take ``setattr(torch, "name", …)`` for what it is."""
        holder, name = node.args[:2]
        path = self._path(holder) if isinstance(holder, (ast.Attribute, ast.Name)) else None
        if path is not None and isinstance(name, ast.Constant) and isinstance(name.value, str):
            self.made.add(f"{path}.{name.value}")

    def _path(self, node: ast.expr) -> str | None:
        """Return the dotted name that an expression stands for; None if no import says so."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        held = next((scope[node.id] for scope in self._scopes if node.id in scope), None)
        return None if held is None else ".".join([held, *reversed(parts)])

    def _bind(self, name: str, path: str | None) -> None:
        """Bind a name in the innermost scope; one that may stand for two things stands for neither."""
        scope = self._scopes[0]
        ours = path is not None and path.partition(".")[0] in PACKAGES
        scope[name] = path if ours and scope.get(name, path) == path else None

    def _asks(self, node: ast.expr) -> bool:
        """Tell whether a condition asks if something is there."""
        for each in ast.walk(node):
            word = each.id if isinstance(each, ast.Name) else each.attr if isinstance(each, ast.Attribute) else ""
            if word and (ASKS.search(word) or word in self._answers):
                return True
        return False

    def _use(self, node: Any, name: str, argument: str = "", how: str = "attribute") -> None:
        if name.partition(".")[0] not in PACKAGES:
            return
        line = self._lines[node.lineno - 1] if node.lineno <= len(self._lines) else ""
        column = len(line.encode()[: node.col_offset].decode("utf-8", "replace")) + 1
        self.found.append(Use(node.lineno, column, name, argument, how, self._asked > 0))


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


def _catches(handler: ast.ExceptHandler) -> bool:
    named = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    words = (getattr(each, "id", getattr(each, "attr", "")) for each in named)
    return handler.type is None or any(word in CATCHES for word in words)


def _stored(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id
        elif isinstance(each, ast.alias):
            yield (each.asname or each.name).partition(".")[0]


# --- what is known of a name ----------------------------------------------------------------------------------------


def facts_of(use: Use) -> tuple[Fact, ...]:
    """Return what is known of a name and of the modules it is in, or of an argument: of what not all releases have."""
    if use.argument:
        return tuple(filter(None, [_of_argument(use.name, use.argument)]))
    return _of_name(use.name, use.how)


@lru_cache(maxsize=None)
def _of_name(name: str, how: str) -> tuple[Fact, ...]:
    parts = name.split(".")
    found = []
    for end in range(2, min(len(parts), MOST_PARTS) + 1):
        whole = end == len(parts)
        # What ``from x.y import z`` names before ``z`` are modules.
        as_module = how == "import" or (how == "from" and not whole)
        found.append(_of_path(".".join(parts[:end]), "import" if as_module else how if whole else "attribute"))
    return tuple(filter(None, found))


@lru_cache(maxsize=None)
def _of_path(path: str, how: str) -> Fact | None:
    module, _, last = path.rpartition(".")
    kinds = ("name", "made", "attribute", "submodule", *(["callable"] if how == "call" else []))
    says = [f"No module named '{path}'"]
    if how != "import":  # torch.tensor is a function, whatever became of the module of that name
        says = [f"module '{module}' has no attribute '{last}'", f"cannot import name '{last}' from '{module}'"]
    row = next((row for row in _rows() if any(t.kind in kinds and _dotted(t) == path for t in row.targets)), None)
    return _fact(path, timeline.find_module(path) if how == "import" else timeline.find(path), row or _answering(says))


def _fact(name: str, lifetime: timeline.Lifetime | None, row: Any) -> Fact | None:
    """Return what the timeline knows of a name, or else the row; and the row where it mends."""
    if row is None and lifetime is None:
        return None
    given = (row.name, row.works, row.optional) if row is not None and row.targets and row.works else ()
    if lifetime is not None:
        return Fact(name, lifetime.package, lifetime.works, lifetime.sentence, *given)
    return Fact(name, row.of, row.works, _since(name, row.of, row.works), *given)


@lru_cache(maxsize=None)
def _of_argument(function: str, argument: str) -> Fact | None:
    lifetime = timeline.find_argument(function, argument)
    name = f"{function}({argument}=)"
    last = function.rpartition(".")[2]
    said = f"() got an unexpected keyword argument '{argument}'"
    row = _answering([f"{last}{said}", f"{last}.__init__{said}"], but_not=f"another_function{said}")
    if row is not None and row.of != function.partition(".")[0]:
        row = None
    if row is None and lifetime is not None:
        row = _answering([f"{last}{said}", f"{last}.__init__{said}", f" __init__{said}"])
    return _fact(name, lifetime, row)


@lru_cache(maxsize=None)
def _rows() -> tuple[Any, ...]:
    from . import rows

    return tuple(row for row in rows.load() if row.of in PACKAGES)


def _answering(says: list[str], but_not: str = "") -> Any:
    """Return the row that answers one of the messages; None if none does."""
    for row in _rows():
        for pattern in row.answers:
            if any(re.search(pattern, each) for each in says) and not (but_not and re.search(pattern, but_not)):
                return row
    return None


def _dotted(target: Any) -> str:
    return str(target.path).replace(":", ".")


def _since(name: str, package: str, works: str) -> str:
    """Say since when a name is there, or gone, from the releases that have it."""
    found = re.fullmatch(r"(<|>=)\s*([\d.]+)", works)
    if found is None:
        return f"{name} is in {package} {works} alone"
    return f"{name} {'is gone since' if found.group(1) == '<' else 'came with'} {package} {found.group(2)}"


# --- files ----------------------------------------------------------------------------------------------------------


class Here(NamedTuple):
    """The release of torch that the code shall run on, and what is beside it."""

    torch: Release
    #: The very releases of the packages that are installed.
    installed: dict[str, tuple[int, int, int]]

    def has(self, fact: Fact) -> bool:
        """Tell whether a name is there."""
        return is_in(self.installed.get(fact.package) or of_the_time(fact.package, self.torch), fact.works)


def here(torch: str = "") -> Here:
    """Return the release that is named, or installed, or else the newest.

    Raises:
        ValueError: there is no such release.
    """
    from importlib.metadata import PackageNotFoundError, version

    if torch:
        return Here(written_for(torch), {})
    found: dict[str, tuple[int, int, int]] = {}
    for package in PACKAGES:
        try:
            found[package] = release(version(package)).numbers
        except PackageNotFoundError:
            continue
    numbers = found.get("torch", (*max(TORCH), 0))
    return Here(Release("%d.%d.%d" % numbers, numbers), found)


def scan(name: str, place: Here, *, named: bool = True) -> Result:
    """Scan one file, ``-`` for standard input.

    Args:
        name: its path.
        place: what it shall run on.
        named: the user named this file, rather than a directory that holds it.
    """
    line = column = 1
    try:
        raw = fix.read("/dev/stdin" if name == "-" else name).raw
        found = uses(Source(name, raw, "python").text)
    except (SyntaxError, ParseError) as error:  # Python 2, a template, no text
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        why = f"no Python that can be read: {getattr(error, 'msg', None) or getattr(error, 'message', error)}"
    except (RecursionError, MemoryError):
        why = "nested too deeply"
    except (fix.UnreadableError, OSError, ValueError) as error:
        why = str(getattr(error, "strerror", None) or error)
    else:
        known = [(use, facts_of(use)) for use in found]
        lacking = ((use, next((fact for fact in facts if not place.has(fact)), None)) for use, facts in known)
        findings = tuple(dict.fromkeys(Finding(use, fact) for use, fact in lacking if fact is not None))
        return Result(name, findings, frozenset(fact for use, facts in known if not use.asked for fact in facts))
    return Result(name, error=why, line=line, column=column) if named else Result(name, skipped=why)


def releases_for(facts: frozenset[Fact]) -> list[Release]:
    """Return the releases of torch that have the most of what is used, oldest first; all where nothing tells.

    Args:
        facts: of the names that are used.
    """
    every = [Release(f"{a}.{b}", (a, b, last)) for (a, b), last in TORCH.items() if (a, b) >= (1, 0)]
    lacks = [
        sum(not is_in(of_the_time(fact.package, each), works) for fact in facts for works in (fact.works, fact.given))
        for each in every
    ]
    return [each for each, number in zip(every, lacks) if number == min(lacks)]


def nearest(releases: Sequence[Release], place: Here) -> Release | None:
    """Return the release that is nearest to the one here: an older one, if there is one."""
    older = [each for each in releases if each.numbers[:2] <= place.torch.numbers[:2]]
    return older[-1] if older else next(iter(releases), None)


# --- the command ----------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``shim scan``'s arguments."""
    made = argparse.ArgumentParser(
        prog="python -m shim scan",
        description="Find in Python sources, without running them, what the torch that is here lacks.",
        epilog="Exit code: 0 nothing, 1 findings, 2 a usage error, or a file that could not be read.",
    )
    made.add_argument("paths", nargs="+", metavar="PATH", help="a file, a directory, or - for standard input")
    made.add_argument("--torch", metavar="RELEASE", default="", help="of torch to run on (default: the installed one)")
    made.add_argument("--json", action="store_true", help="report as JSON")
    made.add_argument("--quiet", action="store_true", help="report findings and errors only: no notes, no summary")
    return made


def main(argv: Sequence[str]) -> int:
    """Run ``shim scan`` with the arguments behind the word ``scan``; return the exit code."""
    return command.guarded("scan", _main, argv)


def _main(argv: Sequence[str]) -> int:
    arguments = parser()
    try:
        options = arguments.parse_args(list(argv))
        place = here(options.torch)
    except ValueError as error:
        sys.stderr.write(f"shim scan: {error}\n")
        return command.FAILED
    except SystemExit as stop:
        return int(stop.code or 0)
    gc.disable()  # trees are no garbage, and to look for some takes a third of the time
    results = list(_scan_all(options.paths, place))
    gc.enable()
    ending = _Ending(results, place)
    if options.json:
        command.say(sys.stdout, json.dumps(_as_data(results, ending), indent=2))
    else:
        _report(results, place, options.quiet)
        if not options.quiet:
            for line in ending.lines():
                command.say(sys.stdout, line)
    if any(result.error for result in results):
        return command.FAILED
    return command.FOUND if any(not f.use.asked for result in results for f in result.findings) else command.CLEAN


def _scan_all(paths: Sequence[str], place: Here) -> Iterator[Result]:
    unlisted: list[OSError] = []
    for name, named in command.files_of(paths, unlisted.append):
        if named or name.endswith((".py", ".pyw")):
            yield scan(name, place, named=named)
    for error in unlisted:
        yield Result(str(error.filename), error=str(error.strerror))


def _report(results: list[Result], place: Here, quiet: bool) -> None:
    for result in results:
        for use, fact in result.findings:
            if not (quiet and use.asked):
                note = "note: " * use.asked
                line = f"{result.name}:{use.line}:{use.column}: {note}{fact.sentence}: {_remedy(fact, place)}"
                command.say(sys.stdout, command.shown(line))
        if result.skipped and not quiet:
            command.say(sys.stderr, command.shown(f"{result.name}: skipped: {result.skipped}"))
        if result.error:
            line = f"{result.name}:{result.line}:{result.column}: error: {result.error}"
            command.say(sys.stderr, command.shown(line))


def _remedy(fact: Fact, place: Here) -> str:
    if fact.row and fact.named:
        return f"SHIM_PATCHES={fact.row} gives it back"
    if fact.row:
        chosen = nearest(releases_for(frozenset([fact])), place)
        return f"--for {chosen} gives it back ({fact.row})"
    return f"no patch gives it back: install {fact.package}{fact.works.replace(' || ', ' or ')}"


class _Ending:
    """What the findings of all files say together."""

    def __init__(self, results: list[Result], place: Here) -> None:
        facts = frozenset(fact for result in results for fact in result.facts)
        found = [finding for result in results for finding in result.findings if not finding.use.asked]
        lost = {finding.fact for finding in found}
        releases = releases_for(facts)
        self.files = sum(not result.skipped for result in results)
        self.findings = len(found)
        self.torch = str(place.torch)
        #: The first and the last release that the code seems to be written for; none where nothing tells.
        self.written_for = [str(releases[0]), str(releases[-1])] if facts else []
        self.options = ""
        rows = [fact for fact in lost if fact.row]
        self.unmended = len([fact for fact in lost if not fact.row])
        named = ",".join(sorted({fact.row for fact in rows if fact.named}))
        chosen = nearest(releases, place) if any(not fact.named for fact in rows) else None
        self.release = str(chosen) if chosen is not None else ""
        self.command = ""
        if rows:
            environment = f"SHIM_PATCHES={named} " if named else ""
            option = f"--for {self.release} " if self.release else ""
            self.command = f"{environment}python -m shim run {option}YOUR_SCRIPT.py"

    def lines(self) -> Iterator[str]:
        """Yield the end of the report."""
        yield f"{_count(self.files, 'file')} read, {_count(self.findings, 'finding')} for torch {self.torch}"
        if self.findings and self.written_for:
            first, last = self.written_for
            yield f"The code seems to be written for torch {first if first == last else f'{first} to {last}'}."
        if self.command:
            yield f"Start it with: {self.command}"
        if self.unmended:
            yield f"No patch gives back {self.unmended} of the names."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _as_data(results: list[Result], ending: _Ending) -> dict[str, object]:
    return {
        "files": ending.files,
        "torch": ending.torch,
        "findings": [
            {
                "file": result.name,
                "line": use.line,
                "column": use.column,
                "level": "note" if use.asked else "finding",
                "name": fact.name,
                "since": fact.sentence,
                "works": f"{fact.package}{fact.works}",
                "row": fact.row,
            }
            for result in results
            for use, fact in result.findings
        ],
        "errors": [
            {"file": result.name, "line": result.line, "column": result.column, "message": result.error}
            for result in results
            if result.error
        ],
        "skipped": [{"file": result.name, "reason": result.skipped} for result in results if result.skipped],
        "written_for": ending.written_for,
        "for": ending.release,
        "command": ending.command,
    }
