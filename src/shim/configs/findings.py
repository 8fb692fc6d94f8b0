"""Find the values of weight_decay in a parsed file, and say what each does to a run."""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

from .formats import Format
from .frameworks import (
    ELSEWHERE,
    LONGEST_NAME,
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
from .places import KEY, MOST_PLACES, Document, Place, is_set, shortened
from .source import Source
from .tree import NULL, NUMBER, TEXT, Mapping, Node, Scalar

# The names under which people write down the value that a weight_decay elsewhere refers to.
STANDS_FOR_IT = re.compile(r"(?i)weight_decay|(default_|my_)?(wd|decay|weight[-_ ]?decay)|.*_wd")
NULLISH = ("", "none", "null", "nil", "~")
# Filled in later by another program: DeepSpeed's auto, OmegaConf's ???, and every form of reference, call or template:
# ${a.b}, $WD, ~{a}, @a, $@a * 2, %(a)s, {{ a }}, {% a %}, <a>, choice(1, 2).
LATER = re.compile(r"\A\s*(?:auto|\?\?\?)\s*\Z|[$@%{}<>()]")
# A comment that says what a null is meant to be.
MEANS = re.compile(
    r"(?i)\b(null|none|nil|defaults?|unset|optional|disabled?|inherit(ed|s)?|omit(ted)?|no (weight )?decay"
    r"|(un|not )used|ignored)\b"
)
# With each of these, mmengine and mmcv multiply the weight decay.
MULTIPLIERS = ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")
# Where these stand, any key may come from elsewhere: Python's **settings, hydra's positional arguments.
ANYTHING = ("**", "_args_")
MULTIPLIED = "a multiplier in paramwise_cfg needs a number: ValueError (base_wd should not be None)"
# The number of characters of a line that are searched for a comment.
COMMENT_WITHIN = 300
MENTION = re.compile(r"(?i)decay|optim|_target_|class_path|\\")
# A backslash can spell any name. In Python it is no reason to parse a file, because that takes the most memory.
MENTION_IN_PYTHON = re.compile(r"(?i)decay|optim")


class Finding(NamedTuple):
    """One thing to say about a file.

    Args:
        level: "finding" where a run would suffer, "note" for what is legal or unclear.
        line: counted from 1.
        column: counted from 1.
        path: the keys that lead to it.
        found: what stands there.
        framework: who reads it, as far as that is known.
        effect: what it would do to a run.
        why_not: why it cannot be fixed (empty: it can).
        spot: the scalar to replace, or the mapping to add the key to.
        missing: the key is missing.

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


def may_hold_findings(text: str, kind: Format) -> bool:
    """Tell whether a text can hold a finding. If not, it need not be parsed."""
    return (MENTION_IN_PYTHON if kind.name == "python" else MENTION).search(text) is not None


def find(source: Source, kind: Format, documents: list[Node]) -> list[Finding]:
    """Return the findings of a file, in the order of its lines."""
    found: list[Finding] = []
    omegaconf = kind.name == "yaml" and OMEGACONF.search(source.text) is not None
    for number, root in enumerate(documents, 1):
        prefix = f"document {number}: " if len(documents) > 1 else ""
        found.extend(_Judge(source, kind, Document(root, kind.name), prefix, omegaconf=omegaconf).findings())
    return sorted(found, key=lambda f: (f.line, f.column))


class _Judge:
    """Finds the weight decays of one document, and decides what is wrong with each."""

    def __init__(self, source: Source, kind: Format, document: Document, prefix: str, *, omegaconf: bool) -> None:
        self.source = source
        self.kind = kind
        self.document = document
        self.prefix = prefix
        self.omegaconf = omegaconf

    def findings(self) -> Iterator[Finding]:
        groups: dict[int, tuple[Scalar, list[Place]]] = {}
        missing: dict[int, Finding] = {}
        for place in self.document.walk():
            node = place.node
            if not isinstance(node, Mapping):
                continue
            for entry in self.document.entries(node):
                if isinstance(entry.value, Scalar) and RESEMBLES.search(entry.key):
                    self.note(groups, entry.value, Place(entry.value, entry.key, place))
            if id(node) not in missing or missing[id(node)].level == "note":
                absent = self.absent(place)
                if absent is not None:
                    missing[id(node)] = absent
        uses = self.document.places_of({*groups}) if groups else {}
        for key, (value, places) in groups.items():
            finding = self.judge(value, places, uses.get(key, places))
            if finding is not None:
                yield finding
        yield from missing.values()

    def note(self, groups: dict[int, tuple[Scalar, list[Place]]], written: Scalar, place: Place) -> None:
        """Add a place to those of its value, if that is a null or a string that is not filled in later."""
        value = self.document.resolve(written, place)
        if value.kind not in (NULL, TEXT) or (value.kind == TEXT and LATER.search(value.value)):
            return
        places = groups.setdefault(id(value), (value, []))[1]
        if len(places) < MOST_PLACES:
            places.append(place)

    def judge(self, value: Scalar, places: list[Place], uses: list[Place]) -> Finding | None:
        """Say what a value does at the places whose key is a weight decay; None if nothing is wrong with it."""
        nullish = value.kind == NULL or value.value.strip().lower() in NULLISH
        claimed: tuple[Place, Place, Home] | None = None
        template = ""
        for place in places:
            holder = self.document.holder(place)
            home = self.document.home(holder)
            if home is not None and home.ignored:
                return None
            if holder is not None and home is not None:
                if not self.is_template(holder, home):
                    claimed = (place, holder, home)
                    break
                template = "the learning rate beside it is null, too: the file looks like a template"
        if claimed is None:
            return self.unclear(value, places[0], template) if nullish else None
        place, holder, home = claimed
        number = number_of(value)
        if number is not None and self.reads(home, value):
            return None
        if value.kind == NULL and not home.known:
            hint = self.hint(value, holder)
            if hint:
                return self.unclear(value, place, hint)
        why_not = ""
        if value.kind == NULL:
            effect = self.on_null(home, holder)
        elif number is not None:
            effect = (
                "a string to PyYAML, not a number (YAML 1.1 asks for 1.0e-5)"
                if value.plain
                else "a string, not a number"
            )
            effect += ": the optimizer, or the framework's own check, refuses it" if home.known else f"; {UNSEEN}"
        else:
            effect = "a string stands where the optimizer needs a number"
            why_not = "" if nullish else "the intended number is not known"
        why_not = value.stuck or why_not or self.shared(value, uses)
        written = uses[0].path()
        away = f" (the value is written at {written})" if written != place.path() else ""
        return self.finding(value, place, self.found(value) + away, effect, why_not, home)

    def on_null(self, home: Home, holder: Place) -> str:
        """Say what a null does: what the row says, or what this optimizer does, here or in a group."""
        if home.on_null and home.known:
            return home.on_null
        if home.multiplied and _is_multiplied(holder.with_around()):
            return MULTIPLIED
        types = self.document.types
        names = [n for p in holder.ancestors() if isinstance(p.node, Mapping) for n in types(p, p.node, TYPES)]
        name = next(filter(names_optimizer, names), "")
        if isinstance(holder.key, int) and (name or "group" in "".join(holder.section()[-1:]).lower()):
            own = types(holder, holder.node, TYPES) if isinstance(holder.node, Mapping) else []
            if not any(names_optimizer(n) for n in own):
                return step_says(name)
        return constructor_says(name) if home.known else home.on_null

    def hint(self, value: Scalar, holder: Place) -> str:
        """Return what suggests that a null is meant, at a place that no known framework reads."""
        if isinstance(holder.node, Mapping):
            for name in self.document.types(holder, holder.node, TYPES):
                if name and len(name) <= LONGEST_NAME and ELSEWHERE.search(name):
                    return f"{name} may take a null as no decay"
        comment = self.comment(value)
        if comment and MEANS.search(comment):
            said = ascii(comment)[1:-1]
            return f"the comment beside it says {said!r}, and the file does not show which program reads the null"
        return ""

    def comment(self, value: Scalar) -> str:
        """Return the comment after a value, or on the line above it."""
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
        """Tell whether the learning rate beside it is null too: a template, where null means "as before"."""
        if not isinstance(holder.node, Mapping) or not home.may_be_template:
            return False
        return any(holder.node.get(key) is not None and not is_set(holder.node, key) for key in RATES)

    def unclear(self, value: Scalar, place: Place, hint: str) -> Finding:
        """Return the note for a null of which nobody can say whether an optimizer gets it."""
        why_not = "it is not known whether it belongs to an optimizer"
        key = shortened(str(place.key))
        if hint:
            effect = f"unclear: {hint}"
            why_not = "a null may be meant"
        elif value.default_of == "field":
            effect = f"unclear: a default. If it is not given, the code that reads {key} gets None"
        elif value.default_of:
            default = "a default; " if value.default_of == "option" else ""
            effect = f"unclear: {default}without {key} on the command line it is None"
        elif self.document.holder(place) is not None:
            effect = "unclear: no framework known here keeps an optimizer's settings at this place"
        else:
            effect = f"unclear: {key} only resembles {KEY}"
        return self.finding(value, place, self.found(value), effect, value.stuck or why_not, None)

    def shared(self, value: Scalar, uses: list[Place]) -> str:
        """Return why a shared value cannot be fixed where it stands: another place needs it as it is."""
        cut = self.document.cut
        if cut and any(id(place.node) in cut for use in uses for place in use.ancestors()):
            return f"more than {MOST_PLACES} places share this value"
        written = next((use for use in uses if use.node is value), uses[0])
        for use in uses:
            if use is written:
                fine = isinstance(use.key, str) and STANDS_FOR_IT.fullmatch(use.key.split(".")[-1]) is not None
            else:
                home = self.document.home(self.document.holder(use)) if isinstance(use.key, str) else None
                fine = home is not None and not home.ignored
            if not fine:
                return f"{use.path()} shares this value"
        return ""

    def found(self, value: Scalar) -> str:
        written = self.source.text[value.start : value.end]
        if value.start == value.end and value.kind == NULL:
            return value.value if value.default_of == "option without a default" else "empty"
        return f"the string {shortened(value.value)!r}" if value.kind == TEXT else shortened(written)

    def absent(self, place: Place) -> Finding | None:
        """Return the finding for a mapping of optimizer settings that has no weight_decay at all."""
        mapping = place.node
        assert isinstance(mapping, Mapping)
        both = place.with_around()
        document = self.document
        # mmengine's _delete_ takes nothing from the config that this one completes.
        if mapping.get(KEY) is not None or (document.inherits and all(node.get("_delete_") is None for node in both)):
            return None
        if any(mapping.get(key) is not None for key in ANYTHING):
            return None
        inner = mapping.get("params")
        if inner is not None and isinstance(inner.value, Mapping):
            return None  # DeepSpeed's settings are one level further down
        named = any(mapping.get(key) is not None for key in ("_target_", "_component_", "class_path", "type"))
        if not named and not any("optim" in key for key in place.section()):
            return None
        row = next((row for row in document.homes if row.missing and document.fits(row, place, mapping)), None)
        home = document.home(place) if row is not None else None
        if row is None or home is None or home.ignored:
            return None
        names = [name for node in both for name in (node.name(key) for key in TYPES) if name]
        why_not = "" if mapping.site >= 0 else "no sure place to add it"
        level = "finding"
        if row.missing == "required":
            effect = f"{row.framework} requires it"
        elif row.multiplied and _is_multiplied(both):
            effect = MULTIPLIED
        else:
            default = next(filter(None, map(default_of, names)), None) if row.missing == "torch" else None
            level = "note"
            effect = f"legal: the optimizer takes its default{', ' + default if default else ''}"
            if not any(map(surely, document.types(place, mapping, row.typed) if row.typed else names)):
                why_not = why_not or "whether this optimizer takes it is not known"
        line, column = self.source.position(mapping.start)
        return Finding(
            level=level,
            line=line,
            column=column,
            path=self.prefix + ".".join(part for part in (place.path(), KEY) if part),
            found="missing",
            framework=row.framework,
            effect=effect,
            why_not=why_not,
            spot=mapping,
            missing=True,
        )

    def finding(self, value: Scalar, place: Place, found: str, effect: str, why_not: str, home: Home | None) -> Finding:
        """Return the finding for a value; a note where no framework is known to read it."""
        line, column = self.source.position(value.start)
        return Finding(
            level="finding" if home is not None else "note",
            line=line,
            column=column,
            path=self.prefix + place.path(),
            found=found,
            framework=home.framework if home is not None else "",
            effect=effect,
            why_not=why_not,
            spot=value,
        )


def _is_multiplied(holders: list[Mapping]) -> bool:
    """Tell whether mmengine multiplies the weight decay of some parameters. A key is enough, whatever its value."""
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


def _inside(mapping: Mapping, key: str) -> Mapping | None:
    entry = mapping.get(key)
    return entry.value if entry is not None and isinstance(entry.value, Mapping) else None


def number_of(value: Scalar) -> float | None:
    """Return the number that a string spells, such as 1e-5; None if it spells no weight decay."""
    if value.kind == NUMBER or len(value.value) > LONGEST_NAME:
        return None
    try:
        number = float(value.value) if value.kind == TEXT else float("nan")
    except ValueError:
        return None
    return number if 0.0 <= number < float("inf") else None
