"""A parsed document as its readers see it: the place of each value, and the framework whose settings are there."""

from __future__ import annotations

import re
from typing import Iterator

from .frameworks import HOMES, LONGEST_NAME, LOOK_ALIKES, Home, names_optimizer
from .tree import NULL, TEXT, Entry, Mapping, Node, Scalar, Sequence

KEY = "weight_decay"
REFERENCE = re.compile(r"\$\{(\.*)([\w-]+(?:[.\[][\w\]-]+)*)\}")
# Aliases of aliases can stand for billions of places (a YAML bomb). A shared node is visited at most this often, and
# beyond that no value in it is fixed.
MOST_PLACES = 16
# Aliases can also nest deeper than the text does. What is deeper than this is judged only where it is written.
DEEPEST = 400


class Place:
    """A value and the keys that lead to it."""

    __slots__ = ("_section", "depth", "homes_inside", "key", "node", "up")

    def __init__(self, node: Node, key: str | int, up: Place | None) -> None:
        self.node = node
        self.key = key
        self.up = up
        self.depth: int = up.depth + 1 if up is not None else 0
        self._section: tuple[str, ...] | None = None
        #: The cached result of ``Document.around``.
        self.homes_inside: tuple[Home | None, Home | None] | None = None

    def path(self) -> str:
        """Return the path as people write it: ``groups[0].weight_decay``."""
        steps: list[str] = []
        place = self
        while place.up is not None:
            steps.append(f"[{place.key}]" if isinstance(place.key, int) else f".{shortened(place.key)}")
            place = place.up
        return shortened("".join(reversed(steps)).lstrip("."))

    def section(self) -> tuple[str, ...]:
        """Return the last keys of the path, without list indices, for the rows of the table of frameworks.

        A key with dots counts as several. One more key is returned than any row compares, so that a row with ``top``
        can see whether something stands above it.
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

    def with_around(self) -> list[Mapping]:
        """Return the mapping at this place and the one right around it."""
        both = (self.node, self.up.node if self.up is not None else None)
        return [node for node in both if isinstance(node, Mapping)]


class Document:
    """One document of a file.

    ``cut`` holds the ids of the mappings and lists that were not visited at each of their places.
    """

    def __init__(self, root: Node, format_name: str) -> None:
        self.root = root
        self.is_python = format_name == "python"
        # The keys at the top that say what kind of config this is.
        entries = root.entries if isinstance(root, Mapping) else []
        top = {entry.key for entry in entries if not is_null(entry.value)}
        # The rows that this document can fit: HOMES and LOOK_ALIKES.
        self.homes, self.look_alikes = (
            tuple(
                row for row in rows if format_name in row.formats and not (row.top_has and top.isdisjoint(row.top_has))
            )
            for rows in (HOMES, LOOK_ALIKES)
        )
        # A document that completes another one, where the key may stand (mmengine, hydra).
        self.inherits = not top.isdisjoint(("_base_", "defaults"))
        self.cut: set[int] = set()
        self._absolute: dict[int, Scalar] = {}

    def walk(self, *, scalars: bool = False) -> Iterator[Place]:
        """Yield the places of mappings and lists in order, and on request those of scalars, as the program gets them.

        A shared node comes once for each of its places, up to ``MOST_PLACES``.
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
        """Yield the entries that the program gets; in Python, where a key is an assignment, all of them."""
        live = node.live()
        for entry in node.entries:
            if entry.key != "<<" and (live[entry.key] is entry or self.is_python):
                yield entry
        for key, entry in node.merged.items():
            if key not in live:
                yield entry

    def places_of(self, values: set[int]) -> dict[int, list[Place]]:
        """Return all places of some scalars, by the ids of the scalars."""
        found: dict[int, list[Place]] = {key: [] for key in values}
        for place in self.walk(scalars=True):
            value = place.node
            if isinstance(value, Scalar) and id(value) not in found and value.kind == TEXT and "${" in value.value:
                value = self.resolve(value, place)
            places = found.get(id(value))
            if places is not None:
                places.append(place)
        return found

    def resolve(self, value: Scalar, place: Place) -> Scalar:
        """Follow ``${a.b}`` to the value in the same document that it names; else return the value itself."""
        if value.kind != TEXT or "${" not in value.value or self.is_python:
            return value
        if id(value) in self._absolute:
            return self._absolute[id(value)]
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
            self._absolute[id(written)] = value
        return value

    def home(self, holder: Place | None) -> Home | None:
        """Return the row for the mapping that holds a key, or for one around it that covers it."""
        if holder is None or not isinstance(holder.node, Mapping):
            return None
        known, look_alike = self.around(holder.up)
        if known is not None and known.ignored:
            return known
        return self.own(self.homes, holder) or known or self.own(self.look_alikes, holder) or look_alike

    def around(self, place: Place | None) -> tuple[Home | None, Home | None]:
        """Return the rows, of each of the two tables, that cover what is inside a place: the nearest one's."""
        if place is None:
            return (None, None)
        if place.homes_inside is None:
            outer = self.around(place.up)
            if isinstance(place.node, Mapping):
                known, look_alike = (self.own(rows, place, inside=True) for rows in (self.homes, self.look_alikes))
                # A row that is to be ignored covers whatever is inside.
                if outer[0] is not None and outer[0].ignored:
                    known = outer[0]
                outer = (known or outer[0], look_alike or outer[1])
            place.homes_inside = outer
        return place.homes_inside

    def own(self, rows: tuple[Home, ...], place: Place, *, inside: bool = False) -> Home | None:
        """Return the first row that describes the mapping at a place, or, on request, what is inside it."""
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
        if row.has and sum(is_set(mapping, key) for key in row.has) < row.least:
            return False
        if row.typed and not any(names_optimizer(name) for name in self.types(place, mapping, row.typed)):
            return False
        return row.under is None or any(row.under.fullmatch(key) for p in place.ancestors() for key in p.section())

    def types(self, place: Place, mapping: Mapping, keys: tuple[str, ...]) -> list[str]:
        """Return the class names that stand at ``keys`` in the mapping, or in the one right around it."""
        around = place.up.node if place.up is not None else None
        # class_path stands in the mapping around init_args. With hydra, the mapping around a parameter group
        # has no class name.
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


def shortened(text: str) -> str:
    """Return a text that can be shown: of a longer one its two ends."""
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME // 2]}...{text[-LONGEST_NAME // 2 :]}"


def is_set(mapping: Mapping, key: str) -> bool:
    """Tell whether a key is there, with something else than null."""
    entry = mapping.get(key)
    return entry is not None and not is_null(entry.value)


def is_null(node: Node) -> bool:
    """Tell whether a value is null."""
    return isinstance(node, Scalar) and node.kind == NULL
