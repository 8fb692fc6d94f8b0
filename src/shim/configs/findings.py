"""From a parsed file to its findings: what stands where a weight decay belongs, and what it would do."""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

from .formats import Format
from .frameworks import HOMES, LOOK_ALIKES, RATES, TOP, Home, default_of, names_optimizer
from .source import Source
from .tree import NULL, NUMBER, TEXT, Mapping, Node, ParseError, Scalar, Sequence

KEY = "weight_decay"
RESEMBLES = re.compile(r"(?i)weight[-_ ]?decay")
# The names under which people write down the value that a weight_decay elsewhere refers to.
STANDS_FOR_IT = re.compile(r"(?i)weight_decay|(default_|my_)?(wd|decay|weight[-_ ]?decay)|.*_wd")
NULLISH = ("", "none", "null", "nil", "~")
# Filled in later by somebody else: DeepSpeed's auto, OmegaConf's ???, environment variables and templates.
LATER = re.compile(r"auto|\?\?\?|.*[$]\w+.*|.*[$]\{.*|.*\{\{.*", re.DOTALL)
REFERENCE = re.compile(r"\$\{(\.*)([\w-]+(?:[.\[][\w\]-]+)*)\}")
# Aliases of aliases can stand for billions of places (a YAML bomb).
MOST_REVISITS = 100_000


class Finding(NamedTuple):
    """One thing to say about a file.

    ``level`` is "finding" where a run would suffer, "note" for what is legal or unclear. ``found`` says what
    stands there, ``effect`` what it would do, ``why_not`` why it cannot be mended (empty: it can).
    ``spot`` is the scalar to replace or the mapping to add the key to.
    """

    level: str
    line: int
    column: int
    path: str
    found: str
    framework: str
    effect: str
    why_not: str
    spot: Node
    missing: bool = False


class Place:
    """A value and how the walk came to it."""

    __slots__ = ("key", "node", "section", "up")

    def __init__(self, node: Node, key: str | int, up: Place | None, section: str) -> None:
        self.node = node
        self.key = key
        self.up = up
        # The dotted path without list indices: what the table of frameworks matches.
        self.section = section

    def path(self) -> str:
        """Return the path as people write it: ``groups[0].weight_decay``."""
        steps: list[str] = []
        place = self
        while place.up is not None:
            steps.append(f"[{place.key}]" if isinstance(place.key, int) else f".{place.key}")
            place = place.up
        return "".join(reversed(steps)).lstrip(".")


def walk(root: Node, *, last_wins: bool) -> Iterator[Place]:
    """Yield every place of a document in order, a shared value at each of its places.

    ``last_wins``: of equal keys only the last counts.

    Raises:
        ParseError: aliases make more than ``MOST_REVISITS`` places of few.

    """
    stack = [Place(root, "", None, "")]
    seen: dict[int, Node] = {}
    revisits = 0
    while stack:
        place = stack.pop()
        yield place
        node = place.node
        if isinstance(node, Scalar):
            continue
        if id(node) in seen:
            revisits += 1
            if revisits > MOST_REVISITS:
                raise ParseError(f"aliases stand for more than {MOST_REVISITS} places")
            if _inside_itself(place):
                continue
        seen[id(node)] = node
        if isinstance(node, Sequence):
            stack.extend(Place(item, index, place, place.section) for index, item in _backwards(node.items))
            continue
        live = {entry.key: entry for entry in node.entries}
        for entry in reversed(node.entries):
            if entry.key != "<<" and (not last_wins or live[entry.key] is entry):
                section = f"{place.section}.{entry.key}" if place.section else entry.key
                stack.append(Place(entry.value, entry.key, place, section))


def _backwards(items: list[Node]) -> Iterator[tuple[int, Node]]:
    for index in range(len(items) - 1, -1, -1):
        yield index, items[index]


def _inside_itself(place: Place) -> bool:
    up = place.up
    while up is not None:
        if up.node is place.node:
            return True
        up = up.up
    return False


def find(source: Source, kind: Format, documents: list[Node]) -> list[Finding]:
    """Return what there is to say about a file, in the order of its lines.

    Raises:
        ParseError: see ``walk``.

    """
    found: list[Finding] = []
    for number, root in enumerate(documents, 1):
        prefix = f"document {number}: " if len(documents) > 1 else ""
        found.extend(_Document(source, kind, root, prefix).findings())
    return sorted(found, key=lambda f: (f.line, f.column))


class _Document:
    def __init__(self, source: Source, kind: Format, root: Node, prefix: str) -> None:
        self.source = source
        self.kind = kind
        self.root = root
        self.prefix = prefix
        # The keys at the top that say what kind of config this is.
        entries = root.entries if isinstance(root, Mapping) else []
        self.top = {entry.key for entry in entries if not _is_null(entry.value)}
        # A document that completes another one, where the key may stand (mmengine, hydra).
        self.inherits = not self.top.isdisjoint(("_base_", "defaults"))

    def findings(self) -> Iterator[Finding]:
        uses: dict[int, list[Place]] = {}
        groups: dict[int, tuple[Scalar, list[Place]]] = {}
        missing: dict[int, Finding] = {}
        for place in walk(self.root, last_wins=self.kind.name != "python"):
            if isinstance(place.node, Scalar):
                value = self.resolve(place)
                uses.setdefault(id(value), []).append(place)
                if isinstance(place.key, str) and RESEMBLES.search(place.key):
                    groups.setdefault(id(value), (value, []))[1].append(place)
            elif isinstance(place.node, Mapping) and id(place.node) not in missing:
                absent = self.absent(place)
                if absent is not None:
                    missing[id(place.node)] = absent
        for key, (value, places) in groups.items():
            finding = self.judge(value, places, uses[key])
            if finding is not None:
                yield finding
        yield from missing.values()

    def resolve(self, place: Place) -> Scalar:
        """Follow ``${a.b}`` to the value in the same document that it names; else return the value itself."""
        value = place.node
        assert isinstance(value, Scalar)
        if value.kind != TEXT or "${" not in value.value or self.kind.name == "python":
            return value
        for _ in range(10):
            match = REFERENCE.fullmatch(value.value)
            if match is None:
                break
            dots, path = match.groups()
            here: Node | None = self.root
            if dots:
                up: Place | None = place
                for _ in dots:
                    up = up.up if up is not None else None
                here = up.node if up is not None else None
            for step in re.findall(r"[\w-]+", path):
                if isinstance(here, Mapping):
                    entry = here.get(step)
                    here = entry.value if entry is not None else None
                elif isinstance(here, Sequence) and step.isdigit() and int(step) < len(here.items):
                    here = here.items[int(step)]
                else:
                    here = None
            if not isinstance(here, Scalar) or here is value:
                break
            value = here
            if dots:  # a second relative reference would start elsewhere
                break
        return value

    def home(self, holder: Place | None) -> Home | None:
        """Return the row for the mapping that holds a key, or for one around it that covers it."""
        for rows in (HOMES, LOOK_ALIKES):
            here = holder
            while here is not None:
                if isinstance(here.node, Mapping):
                    for row in rows:
                        if (here is holder or row.covers) and self.fits(row, here, here.node):
                            return row
                here = here.up
        return None

    def fits(self, row: Home, place: Place, mapping: Mapping) -> bool:
        """Tell whether a row of the table describes a mapping."""
        if self.kind.name not in row.formats or row.at.fullmatch(place.section) is None:
            return False
        if row.at is TOP and place.up is not None:
            return False  # a list of records has no top
        if row.has and not any(_is_set(mapping, key) for key in row.has):
            return False
        if row.top_has and self.top.isdisjoint(row.top_has):
            return False
        return not row.typed or any(names_optimizer(name) for name in self.types(place, mapping, row.typed))

    def types(self, place: Place, mapping: Mapping, keys: tuple[str, ...]) -> list[str]:
        """Return what the mapping, or the one right around it, says at the keys that name a class."""
        around = place.up.node if place.up is not None else None
        # Around init_args stands class_path; around a group of hydra's stands nothing of the kind.
        both = [mapping, around] if keys == ("class_path",) else [mapping]
        return [node.name(key) for node in both if isinstance(node, Mapping) for key in keys]

    def judge(self, value: Scalar, places: list[Place], uses: list[Place]) -> Finding | None:
        """Say what a value does at the places that carry its name; None if nothing is wrong with it."""
        if value.kind not in (NULL, TEXT) or (value.kind == TEXT and LATER.fullmatch(value.value)):
            return None
        nullish = value.kind == NULL or value.value.strip().lower() in NULLISH
        claimed: tuple[Place, Home] | None = None
        for place in places:
            home = self.home(place.up) if place.key == KEY else None
            if home is not None and not home.framework:
                return None
            if home is not None and not self.is_template(place, home):
                claimed = (place, home)
                break
        if claimed is None:
            return self.unclear(value, places[0]) if nullish else None
        place, home = claimed
        number = number_of(value)
        if number is not None and self.reads(home, value):
            return None
        if nullish:
            effect = home.on_null if value.kind == NULL else "a string stands where the optimizer needs a number"
        elif number is not None:
            effect = "read as a string, not as a number (YAML 1.1 asks for 1.0e-5)" if value.plain else "a string"
            effect += ": the optimizer, or the framework's own check, refuses it"
        else:
            effect = "a string stands where the optimizer needs a number"
        why_not = "" if nullish or number is not None else "what number was meant is not known"
        why_not = value.stuck or why_not or self.shared(value, uses)
        stands = uses[0].path()
        away = f" (it stands at {stands})" if stands != place.path() else ""
        return self.finding("finding", value, place, self.found(value) + away, home.framework, effect, why_not)

    def reads(self, home: Home, value: Scalar) -> bool:
        """Tell whether a framework takes a string such as ``1e-5`` for the number it spells."""
        return home.numbers == "any" or (home.numbers == "1.2" and value.plain and self.kind.name == "yaml")

    def is_template(self, place: Place, home: Home) -> bool:
        """Tell whether the learning rate beside it is null too: a form, where null means "as before"."""
        mapping = place.up.node if place.up is not None else None
        if not isinstance(mapping, Mapping) or home.framework not in ("Hugging Face", "optimizer settings"):
            return False
        return any(mapping.get(key) is not None and not _is_set(mapping, key) for key in RATES)

    def unclear(self, value: Scalar, place: Place) -> Finding:
        if place.key == KEY:
            effect = "unclear: no framework known here keeps an optimizer's settings at this place"
        else:
            effect = f"unclear: {place.key} only resembles {KEY}"
        return self.finding("note", value, place, self.found(value), "", effect, "it is not known to be an optimizer's")

    def shared(self, value: Scalar, uses: list[Place]) -> str:
        """Return why a shared value cannot be mended where it stands: somebody else means it too."""
        written = next((use for use in uses if use.node is value), uses[0])
        for use in uses:
            if use is written:
                fine = isinstance(use.key, str) and STANDS_FOR_IT.fullmatch(use.key) is not None
            else:
                home = self.home(use.up) if use.key == KEY else None
                fine = home is not None and bool(home.framework)
            if not fine:
                return f"{use.path()} shares this value"
        return ""

    def found(self, value: Scalar) -> str:
        written = self.source.text[value.start : value.end]
        if value.start == value.end and value.kind == NULL:
            return "empty"
        return f"the string {value.value!r}" if value.kind == TEXT else written

    def absent(self, place: Place) -> Finding | None:
        """Say that a mapping of optimizer settings has no weight_decay at all."""
        mapping = place.node
        assert isinstance(mapping, Mapping)
        if mapping.get(KEY) is not None or self.inherits:
            return None
        inner = mapping.get("params")
        if inner is not None and isinstance(inner.value, Mapping):
            return None  # DeepSpeed's settings are one level further down
        named = any(entry.key in ("_target_", "class_path", "type") for entry in mapping.entries)
        if not named and "optim" not in place.section:
            return None
        row = next((row for row in HOMES if self.fits(row, place, mapping)), None)
        if row is None or not row.missing:
            return None
        line, column = self.source.position(mapping.start)
        path = self.prefix + ".".join(part for part in (place.path(), KEY) if part)
        if row.missing == "required":
            level, effect = "finding", f"{row.framework} requires it"
        else:
            around = place.up.node if place.up is not None else None
            both = [node for node in (mapping, around) if isinstance(node, Mapping)]
            names = [node.name(key) for node in both for key in ("_target_", "class_path", "type", "name")]
            default = next(filter(None, map(default_of, names)), None) if row.missing == "torch" else None
            level, effect = (
                "note",
                f"legal: the optimizer takes its default{', ' + default if default else ''}",
            )
        why_not = "" if mapping.room is not None else "no sure place to add it"
        return Finding(level, line, column, path, "missing", row.framework, effect, why_not, mapping, True)

    def finding(
        self, level: str, value: Scalar, place: Place, found: str, framework: str, effect: str, why_not: str
    ) -> Finding:
        line, column = self.source.position(value.start)
        path = self.prefix + place.path()
        return Finding(level, line, column, path, found, framework, effect, why_not, value)


def _is_set(mapping: Mapping, key: str) -> bool:
    entry = mapping.get(key)
    return entry is not None and not _is_null(entry.value)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.kind == NULL


def number_of(value: Scalar) -> float | None:
    """Return the number that a string spells, such as 1e-5; None if it spells no weight decay."""
    if value.kind == NUMBER:
        return None
    try:
        number = float(value.value) if value.kind == TEXT else float("nan")
    except ValueError:
        return None
    return number if 0.0 <= number < float("inf") else None
