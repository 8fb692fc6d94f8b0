"""From a parsed file to its findings: what stands where a weight decay belongs, and what it would do."""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

from .formats import Format
from .formats.python import NO_DEFAULT, OPTIONS
from .frameworks import (
    ELSEWHERE,
    HOMES,
    LONGEST_NAME,
    LOOK_ALIKES,
    OMEGACONF,
    RATES,
    RESEMBLES,
    TYPES,
    UNSEEN,
    Home,
    constructor_says,
    default_of,
    names_optimizer,
    step_says,
    surely,
)
from .source import Source
from .tree import NULL, NUMBER, TEXT, Entry, Mapping, Node, Scalar, Sequence

KEY = "weight_decay"
# The names under which people write down the value that a weight_decay elsewhere refers to.
STANDS_FOR_IT = re.compile(r"(?i)weight_decay|(default_|my_)?(wd|decay|weight[-_ ]?decay)|.*_wd")
NULLISH = ("", "none", "null", "nil", "~")
# Filled in later by somebody else: DeepSpeed's auto, OmegaConf's ???, and whatever refers, calls or stands for others:
# ${a.b}, $WD, ~{a}, @a, $@a * 2, %(a)s, {{ a }}, {% a %}, <a>, choice(1, 2).
LATER = re.compile(r"\A\s*(?:auto|\?\?\?)\s*\Z|[$@%{}<>()]")
REFERENCE = re.compile(r"\$\{(\.*)([\w-]+(?:[.\[][\w\]-]+)*)\}")
# A comment that says what a null is meant to be.
MEANS = re.compile(
    r"(?i)\b(null|none|nil|defaults?|unset|optional|disabled?|inherit(ed|s)?|omit(ted)?|no (weight )?decay"
    r"|(un|not )used|ignored)\b"
)
# In mmengine and mmcv, each of these asks for a weight decay to be multiplied.
MULTIPLIERS = ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")
# Where these stand, any key may come from elsewhere: Python's **settings, hydra's positional arguments.
ANYTHING = ("**", "_args_")
MULTIPLIED = "a multiplier in paramwise_cfg asks for it: ValueError (base_wd should not be None)"
# Aliases of aliases can stand for billions of places (a YAML bomb). What is shared more often than this is looked at in
# so many places, and no value in it is mended; what is nested deeper (by aliases) is looked at where it is written.
MOST_PLACES = 16
DEEPEST = 400
# So many characters of a line are looked at for a comment.
COMMENT_WITHIN = 300
MENTION = re.compile(r"(?i)decay|optim|_target_|class_path|\\")
# To parse Python takes the most memory: there a backslash, which can spell any name, is no reason to.
MENTION_IN_PYTHON = re.compile(r"(?i)decay|optim")


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

    __slots__ = ("_homes", "_section", "depth", "key", "node", "up")

    def __init__(self, node: Node, key: str | int, up: Place | None) -> None:
        self.node = node
        self.key = key
        self.up = up
        self.depth: int = up.depth + 1 if up is not None else 0
        self._section: tuple[str, ...] | None = None
        self._homes: tuple[Home | None, Home | None] | None = None

    def path(self) -> str:
        """Return the path as people write it: ``groups[0].weight_decay``."""
        steps: list[str] = []
        place = self
        while place.up is not None:
            steps.append(f"[{place.key}]" if isinstance(place.key, int) else f".{_short(place.key)}")
            place = place.up
        return _short("".join(reversed(steps)).lstrip("."))

    def section(self) -> tuple[str, ...]:
        """Return the last keys on the way here, without list indices: what the table of frameworks looks at.

        A key with dots is several. There is one more than a row asks for, so that a row can tell what is the top.
        """
        if self._section is None:
            before = self.up.section() if self.up is not None else ()
            if isinstance(self.key, str) and self.up is not None:
                before = (*before, *(self.key.split(".") if len(self.key) <= LONGEST_NAME else [""]))
            self._section = before[-4:]
        return self._section

    def ancestors(self) -> Iterator[Place]:
        """Yield this place and those around it."""
        here: Place | None = self
        while here is not None:
            yield here
            here = here.up


def may_hold_findings(text: str, kind: Format) -> bool:
    """Tell whether there can be anything to say about a text: else it need not be parsed."""
    return (MENTION_IN_PYTHON if kind.name == "python" else MENTION).search(text) is not None


def find(source: Source, kind: Format, documents: list[Node]) -> list[Finding]:
    """Return what there is to say about a file, in the order of its lines."""
    found: list[Finding] = []
    omegaconf = kind.name == "yaml" and OMEGACONF.search(source.text) is not None
    for number, root in enumerate(documents, 1):
        prefix = f"document {number}: " if len(documents) > 1 else ""
        found.extend(_Document(source, kind, root, prefix, omegaconf).findings())
    return sorted(found, key=lambda f: (f.line, f.column))


class _Document:
    def __init__(self, source: Source, kind: Format, root: Node, prefix: str, omegaconf: bool) -> None:
        self.source = source
        self.kind = kind
        self.root = root
        self.prefix = prefix
        self.omegaconf = omegaconf
        # The keys at the top that say what kind of config this is.
        entries = root.entries if isinstance(root, Mapping) else []
        self.top = {entry.key for entry in entries if not _is_null(entry.value)}
        # The rows that this document can fit: HOMES and LOOK_ALIKES.
        self.homes, self.looks = (
            tuple(
                row
                for row in rows
                if kind.name in row.formats and not (row.top_has and self.top.isdisjoint(row.top_has))
            )
            for rows in (HOMES, LOOK_ALIKES)
        )
        # A document that completes another one, where the key may stand (mmengine, hydra).
        self.inherits = not self.top.isdisjoint(("_base_", "defaults"))
        self.absolute: dict[int, Scalar] = {}
        # The mappings and lists that were not looked at in each of their places.
        self.cut: set[int] = set()

    def findings(self) -> Iterator[Finding]:
        groups: dict[int, tuple[Scalar, list[Place]]] = {}
        missing: dict[int, Finding] = {}
        for place in self.walk():
            node = place.node
            if not isinstance(node, Mapping):
                continue
            for entry in self.entries(node):
                if isinstance(entry.value, Scalar) and RESEMBLES.search(entry.key):
                    self.note(groups, entry.value, Place(entry.value, entry.key, place))
            if id(node) not in missing or missing[id(node)].level == "note":
                absent = self.absent(place)
                if absent is not None:
                    missing[id(node)] = absent
        uses = self.uses(groups) if groups else {}
        for key, (value, places) in groups.items():
            finding = self.judge(value, places, uses.get(key, places))
            if finding is not None:
                yield finding
        yield from missing.values()

    def walk(self, *, scalars: bool = False) -> Iterator[Place]:
        """Yield the places of mappings and lists in order, and on request those of scalars, as a reader sees them.

        What is shared comes at each of its places, but at no more than ``MOST_PLACES``.
        """
        stack = [Place(self.root, "", None)]
        visits: dict[int, int] = {}
        while stack:
            place = stack.pop()
            node = place.node
            if isinstance(node, Scalar):
                if scalars:
                    yield place
                continue
            visits[id(node)] = count = visits.get(id(node), 0) + 1
            if count > MOST_PLACES or place.depth > DEEPEST:
                self.cut.add(id(node))
                continue
            yield place
            inner: list[tuple[str | int, Node]]
            if isinstance(node, Sequence):
                inner = list(enumerate(node.items))
            else:
                inner = [(entry.key, entry.value) for entry in self.entries(node)]
            for key, value in reversed(inner):
                if scalars or not isinstance(value, Scalar):
                    stack.append(Place(value, key, place))

    def entries(self, node: Mapping) -> Iterator[Entry]:
        """Yield the entries that a reader sees; in Python, where a key is an assignment, all of them."""
        live = node.live()
        for entry in node.entries:
            if entry.key != "<<" and (live[entry.key] is entry or self.kind.name == "python"):
                yield entry
        for key, entry in node.merged.items():
            if key not in live:
                yield entry

    def note(self, groups: dict[int, tuple[Scalar, list[Place]]], written: Scalar, place: Place) -> None:
        value = self.resolve(written, place)
        if value.kind not in (NULL, TEXT) or (value.kind == TEXT and LATER.search(value.value)):
            return
        places = groups.setdefault(id(value), (value, []))[1]
        if len(places) < MOST_PLACES:
            places.append(place)

    def uses(self, groups: dict[int, tuple[Scalar, list[Place]]]) -> dict[int, list[Place]]:
        """Return the places of some values."""
        found: dict[int, list[Place]] = {key: [] for key in groups}
        for place in self.walk(scalars=True):
            value = place.node
            if isinstance(value, Scalar) and id(value) not in found and value.kind == TEXT and "${" in value.value:
                value = self.resolve(value, place)
            uses = found.get(id(value))
            if uses is not None:
                uses.append(place)
        return found

    def resolve(self, value: Scalar, place: Place) -> Scalar:
        """Follow ``${a.b}`` to the value in the same document that it names; else return the value itself."""
        if value.kind != TEXT or "${" not in value.value or self.kind.name == "python":
            return value
        if id(value) in self.absolute:
            return self.absolute[id(value)]
        written = value
        relative = False
        for _ in range(10):
            match = REFERENCE.fullmatch(value.value) if len(value.value) < 1000 else None
            if match is None:
                break
            dots, path = match.groups()
            here: Node | None = self.root
            if dots:
                relative = True
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
        if not relative:
            self.absolute[id(written)] = value
        return value

    def home(self, holder: Place | None) -> Home | None:
        """Return the row for the mapping that holds a key, or for one around it that covers it."""
        if holder is None or not isinstance(holder.node, Mapping):
            return None
        known, look = self.around(holder.up)
        if known is not None and not known.framework:
            return known
        return self.own(self.homes, holder) or known or self.own(self.looks, holder) or look

    def around(self, place: Place | None) -> tuple[Home | None, Home | None]:
        """Return the rows, of each table, that cover what is inside a place: the nearest one's."""
        if place is None:
            return (None, None)
        if place._homes is None:
            outer = self.around(place.up)
            if isinstance(place.node, Mapping):
                homes, looks = (self.own(rows, place, inside=True) for rows in (self.homes, self.looks))
                # What is to be left in peace covers whatever is inside.
                if outer[0] is not None and not outer[0].framework:
                    homes = outer[0]
                outer = (homes or outer[0], looks or outer[1])
            place._homes = outer
        return place._homes

    def own(self, rows: tuple[Home, ...], place: Place, *, inside: bool = False) -> Home | None:
        assert isinstance(place.node, Mapping)
        for row in rows:
            if (row.covers or not inside) and self.fits(row, place, place.node):
                return row
        return None

    def fits(self, row: Home, place: Place, mapping: Mapping) -> bool:
        """Tell whether a row of the table describes a mapping."""
        if row.at or row.top:
            keys = place.section()
            if len(keys) < len(row.at) or (row.top and len(keys) != len(row.at)):
                return False
            if row.top and not row.at and place.up is not None:
                return False  # a list of records has no top
            if not all(p.fullmatch(key) for p, key in zip(row.at, keys[len(keys) - len(row.at) :])):
                return False
        if row.has and sum(_is_set(mapping, key) for key in row.has) < row.least:
            return False
        if row.typed and not any(names_optimizer(name) for name in self.types(place, mapping, row.typed)):
            return False
        return row.under is None or any(row.under.fullmatch(key) for p in place.ancestors() for key in p.section())

    def types(self, place: Place, mapping: Mapping, keys: tuple[str, ...]) -> list[str]:
        """Return what the mapping, or the one right around it, says at the keys that name a class."""
        around = place.up.node if place.up is not None else None
        # Around init_args stands class_path; around a group of hydra's stands nothing of the kind.
        both = [mapping, around] if keys == ("class_path",) else [mapping]
        return [node.name(key) for node in both if isinstance(node, Mapping) for key in keys]

    def holder(self, place: Place) -> Place | None:
        """Return the place of the mapping that holds a weight decay; ``SOLVER.WEIGHT_DECAY`` is in SOLVER."""
        assert isinstance(place.key, str)
        *before, last = place.key.split(".") if len(place.key) <= LONGEST_NAME else [""]
        if last not in (KEY, KEY.upper()):
            return None
        up = place.up
        if before and up is not None:
            return Place(up.node, ".".join(before), up)
        return up

    def judge(self, value: Scalar, places: list[Place], uses: list[Place]) -> Finding | None:
        """Say what a value does at the places that carry its name; None if nothing is wrong with it."""
        nullish = value.kind == NULL or value.value.strip().lower() in NULLISH
        claimed: tuple[Place, Place, Home] | None = None
        form = ""
        for place in places:
            holder = self.holder(place)
            home = self.home(holder)
            if home is not None and not home.framework:
                return None
            if holder is not None and home is not None:
                if not self.is_template(holder, home):
                    claimed = (place, holder, home)
                    break
                form = "the learning rate beside it is null too, as in a form to be filled in"
        if claimed is None:
            return self.unclear(value, places[0], form) if nullish else None
        place, holder, home = claimed
        number = number_of(value)
        if number is not None and self.reads(home, value):
            return None
        if value.kind == NULL and not home.known:
            hint = self.hint(value, holder)
            if hint:
                return self.unclear(value, place, hint)
        if nullish:
            effect = (
                self.on_null(home, holder)
                if value.kind == NULL
                else "a string stands where the optimizer needs a number"
            )
        elif number is not None:
            effect = (
                "a string to PyYAML, not a number (YAML 1.1 asks for 1.0e-5)"
                if value.plain
                else "a string, not a number"
            )
            effect += ": the optimizer, or the framework's own check, refuses it" if home.known else f"; {UNSEEN}"
        else:
            effect = "a string stands where the optimizer needs a number"
        why_not = "" if nullish or number is not None else "what number was meant is not known"
        why_not = value.stuck or why_not or self.shared(value, uses)
        stands = uses[0].path()
        away = f" (it stands at {stands})" if stands != place.path() else ""
        return self.finding("finding", value, place, self.found(value) + away, home.framework, effect, why_not)

    def on_null(self, home: Home, holder: Place) -> str:
        """Say what a null does: what the row says, or what this optimizer does, here or in a group."""
        if home.on_null and home.known:
            return home.on_null
        if home.framework == "mmengine" and self.multiplies(_with_around(holder)):
            return MULTIPLIED
        names = [n for p in holder.ancestors() if isinstance(p.node, Mapping) for n in self.types(p, p.node, TYPES)]
        name = next(filter(names_optimizer, names), "")
        if isinstance(holder.key, int) and (name or "group" in "".join(holder.section()[-1:]).lower()):
            own = self.types(holder, holder.node, TYPES) if isinstance(holder.node, Mapping) else []
            if not any(names_optimizer(n) for n in own):
                return step_says(name)
        return constructor_says(name) if home.known else home.on_null

    def hint(self, value: Scalar, holder: Place) -> str:
        """Return what speaks for a null that somebody means, where nothing is known of who reads it."""
        if isinstance(holder.node, Mapping):
            for name in self.types(holder, holder.node, TYPES):
                if name and len(name) <= LONGEST_NAME and ELSEWHERE.search(name):
                    return f"{name} may take a null as no decay"
        comment = self.comment(value)
        if comment and MEANS.search(comment):
            return f"the comment beside it says {ascii(comment)[1:-1]!r}, and nothing here says who reads the null"
        return ""

    def comment(self, value: Scalar) -> str:
        """Return the comment behind a value, or on the line above it."""
        mark, text = self.kind.comment, self.source.text
        if not mark:
            return ""
        behind = re.split(r"[\r\n]", text[value.end : value.end + COMMENT_WITHIN], maxsplit=1)[0]
        match = re.match(r"[\s,)\]}]*" + mark + r"+\s*(\S.*)", behind)
        if match is None:
            lines = re.split(r"\r\n?|\n", text[max(value.start - COMMENT_WITHIN, 0) : value.start])
            match = re.match(r"\s*" + mark + r"+\s*(\S.*)", lines[-2]) if len(lines) > 1 else None
        return match.group(1).strip() if match else ""

    def reads(self, home: Home, value: Scalar) -> bool:
        """Tell whether a framework takes a string such as ``1e-5`` for the number it spells."""
        if home.numbers == "any":
            return True
        return value.plain and self.kind.name == "yaml" and (home.numbers == "1.2" or self.omegaconf)

    def is_template(self, holder: Place, home: Home) -> bool:
        """Tell whether the learning rate beside it is null too: a form, where null means "as before"."""
        if not isinstance(holder.node, Mapping) or home.framework not in ("Hugging Face", "optimizer settings"):
            return False
        return any(holder.node.get(key) is not None and not _is_set(holder.node, key) for key in RATES)

    def unclear(self, value: Scalar, place: Place, hint: str = "") -> Finding:
        why_not = "it is not known to be an optimizer's"
        keys = place.section()
        key = _short(str(place.key))
        if hint:
            effect = f"unclear: {hint}"
            why_not = "a null may be meant"
        elif len(keys) > 1 and keys[-2].startswith("class "):
            effect = f"unclear: a default; whoever gives nothing gives None to what reads {key}"
        elif len(keys) > 1 and keys[-2] in OPTIONS:
            default = "" if value.value == NO_DEFAULT else "a default; "
            effect = f"unclear: {default}without {key} on the command line it is None"
        elif self.holder(place) is not None:
            effect = "unclear: no framework known here keeps an optimizer's settings at this place"
        else:
            effect = f"unclear: {key} only resembles {KEY}"
        return self.finding("note", value, place, self.found(value), "", effect, value.stuck or why_not)

    def shared(self, value: Scalar, uses: list[Place]) -> str:
        """Return why a shared value cannot be mended where it stands: somebody else means it too."""
        if self.cut and any(id(place.node) in self.cut for use in uses for place in use.ancestors()):
            return f"more than {MOST_PLACES} places share this value"
        written = next((use for use in uses if use.node is value), uses[0])
        for use in uses:
            if use is written:
                fine = isinstance(use.key, str) and STANDS_FOR_IT.fullmatch(use.key.split(".")[-1]) is not None
            else:
                home = self.home(self.holder(use)) if isinstance(use.key, str) else None
                fine = home is not None and bool(home.framework)
            if not fine:
                return f"{use.path()} shares this value"
        return ""

    def found(self, value: Scalar) -> str:
        written = self.source.text[value.start : value.end]
        if value.start == value.end and value.kind == NULL:
            return "empty" if value.value != NO_DEFAULT else NO_DEFAULT
        return f"the string {_short(value.value)!r}" if value.kind == TEXT else _short(written)

    def absent(self, place: Place) -> Finding | None:
        """Say that a mapping of optimizer settings has no weight_decay at all."""
        mapping = place.node
        assert isinstance(mapping, Mapping)
        both = _with_around(place)
        # mmengine's _delete_ takes nothing from the config that this one completes.
        if mapping.get(KEY) is not None or (self.inherits and all(node.get("_delete_") is None for node in both)):
            return None
        if any(mapping.get(key) is not None for key in ANYTHING):
            return None
        inner = mapping.get("params")
        if inner is not None and isinstance(inner.value, Mapping):
            return None  # DeepSpeed's settings are one level further down
        named = any(mapping.get(key) is not None for key in ("_target_", "_component_", "class_path", "type"))
        if not named and not any("optim" in key for key in place.section()):
            return None
        row = next((row for row in self.homes if row.missing and self.fits(row, place, mapping)), None)
        home = self.home(place) if row is not None else None
        if row is None or home is None or not home.framework:
            return None
        names = [name for node in both for name in (node.name(key) for key in TYPES) if name]
        line, column = self.source.position(mapping.start)
        path = self.prefix + ".".join(part for part in (place.path(), KEY) if part)
        why_not = "" if mapping.site >= 0 else "no sure place to add it"
        level = "finding"
        if row.missing == "required":
            effect = f"{row.framework} requires it"
        elif row.framework == "mmengine" and self.multiplies(both):
            effect = MULTIPLIED
        else:
            default = next(filter(None, map(default_of, names)), None) if row.missing == "torch" else None
            level = "note"
            effect = f"legal: the optimizer takes its default{', ' + default if default else ''}"
            if not any(map(surely, self.types(place, mapping, row.typed) if row.typed else names)):
                why_not = why_not or "whether this optimizer takes it is not known"
        return Finding(level, line, column, path, "missing", row.framework, effect, why_not, mapping, True)

    def multiplies(self, holders: list[Mapping]) -> bool:
        """Tell whether mmengine multiplies the weight decay of some parameters; a key alone asks for it."""
        for settings in (_inside(node, "paramwise_cfg") for node in holders):
            if settings is None:
                continue
            custom = _inside(settings, "custom_keys")
            values = [entry.value for entry in custom.live().values()] if custom is not None else []
            if any(settings.get(key) is not None for key in MULTIPLIERS) or any(
                isinstance(value, Mapping) and value.get("decay_mult") is not None for value in values
            ):
                return True
        return False

    def finding(
        self, level: str, value: Scalar, place: Place, found: str, framework: str, effect: str, why_not: str
    ) -> Finding:
        line, column = self.source.position(value.start)
        path = self.prefix + place.path()
        return Finding(level, line, column, path, found, framework, effect, why_not, value)


def _short(text: str) -> str:
    """Return a text that can be shown: of a longer one its two ends."""
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME // 2]}...{text[-LONGEST_NAME // 2 :]}"


def _with_around(place: Place) -> list[Mapping]:
    """Return the mapping at a place and the one right around it."""
    both = (place.node, place.up.node if place.up is not None else None)
    return [node for node in both if isinstance(node, Mapping)]


def _inside(mapping: Mapping, key: str) -> Mapping | None:
    entry = mapping.get(key)
    return entry.value if entry is not None and isinstance(entry.value, Mapping) else None


def _is_set(mapping: Mapping, key: str) -> bool:
    entry = mapping.get(key)
    return entry is not None and not _is_null(entry.value)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.kind == NULL


def number_of(value: Scalar) -> float | None:
    """Return the number that a string spells, such as 1e-5; None if it spells no weight decay."""
    if value.kind == NUMBER or len(value.value) > LONGEST_NAME:
        return None
    try:
        number = float(value.value) if value.kind == TEXT else float("nan")
    except ValueError:
        return None
    return number if 0.0 <= number < float("inf") else None
