"""YAML. The tree is built from PyYAML's events in one pass; no object is constructed and no tag is executed."""

from __future__ import annotations

import re
from typing import Any, Iterator

from ..frameworks import ASKED
from ..tree import NULL, NUMBER, OTHER, TEXT, Entry, Mapping, Node, ParseError, Scalar, Sequence
from .need import need

YamlThing = Any  # the module, a loader, an event; PyYAML is imported when it is needed
DEEPEST = 200
KEY = "weight_decay: "
TAG = "tag:yaml.org,2002:"
KINDS = {TAG + "null": NULL, TAG + "str": TEXT, TAG + "int": NUMBER, TAG + "float": NUMBER}
# A key that is itself a mapping or a list is represented by so many characters of its text.
COMPLEX_KEY = 100
# What may stand before a value: an anchor, which a fix keeps, and a tag, which it replaces together with the value.
ANCHOR = re.compile(r"&[^\s,\[\]{}]+")
TAGGED = re.compile(r"!(?:<[^>\s]*>|[^\s,\[\]{}]*)")
BLANK = re.compile(r"(?:\s+|(?<=\s)#[^\r\n]*)+")
BEHIND_ANCHOR = re.compile(r"&[^\s,\[\]{}]+\Z")


def parse(text: str) -> list[Node]:
    """Return the documents of a YAML text (1.1, which is what PyYAML and most frameworks read)."""
    yaml = need("yaml", "PyYAML", "YAML")
    # libyaml, where PyYAML was built with it, gives the same events more than twenty times as fast.
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loader = kind(text)
        try:
            return _Composer(text, yaml, loader).documents
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = [word for word in (error.context, error.problem) if word]
        raise ParseError(", ".join(words) or "not YAML", mark.index if mark else 0) from None
    except yaml.reader.ReaderError as error:
        # One of the two parsers counts the position in bytes, the other one in characters. So search the text.
        char = error.character if isinstance(error.character, int) else 0
        raise ParseError(f"character U+{char:04X} is not allowed in YAML", max(text.find(chr(char)), 0)) from None
    except RecursionError:
        raise ParseError("nested too deeply") from None
    except (ValueError, OverflowError) as error:  # int() or chr() on the huge number of a %YAML directive or an escape
        raise ParseError(str(error)) from None


def _events(loader: YamlThing) -> Iterator[YamlThing]:
    while True:
        event = loader.get_event()
        if event is None:
            return
        yield event


class _Composer:
    """PyYAML's composer with a limit of depth, which libyaml lacks, and with our own nodes.

    An alias is the node of its anchor, so that a shared value stays one node.
    """

    def __init__(self, text: str, yaml: YamlThing, loader: YamlThing) -> None:
        self.text = text
        self.loader = loader
        self.scalar_node = yaml.ScalarNode
        self.tags: dict[str, str] = {}
        self.anchors: dict[str, Node] = {}
        self.documents: list[Node] = []
        # The open containers, innermost last, each with the key that still needs its value (None if there is none).
        self.open: list[Mapping | Sequence] = []
        self.keys: list[tuple[str, int] | None] = []
        self.merging: set[int] = set()
        # For each open container: where it starts if it is itself a key, else -1.
        self.complex: list[int] = []
        kinds = {
            yaml.ScalarEvent: self.scalar,
            yaml.AliasEvent: self.alias,
            yaml.MappingStartEvent: self.start,
            yaml.SequenceStartEvent: self.start,
            yaml.MappingEndEvent: self.end,
            yaml.SequenceEndEvent: self.end,
            yaml.DocumentStartEvent: self.document,
        }
        self.mapping_start = yaml.MappingStartEvent
        for event in _events(loader):
            handle = kinds.get(type(event))
            if handle is not None:
                handle(event)

    def document(self, _event: YamlThing) -> None:
        self.anchors = {}

    def waits_for_key(self) -> bool:
        return bool(self.open) and self.keys[-1] is None and isinstance(self.open[-1], Mapping)

    def put(self, node: Node) -> None:
        """Put a finished value where it belongs: a document, a list, or the key that still needs its value."""
        if not self.open:
            self.documents.append(node)
            return
        holder = self.open[-1]
        if isinstance(holder, Sequence):
            holder.items.append(node)
            return
        key = self.keys[-1]
        assert key is not None
        holder.entries.append(Entry(key[0], key[1], node))
        self.keys[-1] = None

    def put_key(self, name: str, start: int) -> None:
        holder = self.open[-1]
        assert isinstance(holder, Mapping)
        if holder.block and holder.site < 0:
            holder.site = start
        self.keys[-1] = (name, start)

    def anchor(self, event: YamlThing, node: Node) -> None:
        if event.anchor in self.anchors:
            raise ParseError(f"found duplicate anchor {event.anchor!r}", event.start_mark.index)
        self.anchors[event.anchor] = node

    def alias(self, event: YamlThing) -> None:
        node = self.anchors.get(event.anchor)
        start = event.start_mark.index
        if node is None:
            raise ParseError(f"found undefined alias {event.anchor!r}", start)
        if not self.waits_for_key():
            self.put(node)
        else:
            self.put_key(node.value if isinstance(node, Scalar) else "*" + event.anchor, start)

    def scalar(self, event: YamlThing) -> None:
        value = event.value
        tag = event.tag
        start = event.start_mark.index
        if tag is None or tag == "!":
            tag = self.resolve(value) if event.implicit[0] else TAG + "str"
        if self.waits_for_key():
            # "<<" is kept as a key, so that an edit that changes what is merged is noticed.
            if tag == TAG + "merge":
                self.merging.add(id(self.open[-1]))
            self.put_key(value, start)
            if event.anchor is not None:
                self.anchor(event, Scalar(TEXT, value, start, event.end_mark.index))
            return
        kind = KINDS.get(tag, OTHER)
        if kind == OTHER:
            value = tag + " " + value
        elif kind == NUMBER:
            value = value.replace("_", "")
        made = Scalar(kind, value, start, event.end_mark.index, plain=event.style in (None, ""))
        if start == made.end or self.text[start] in "&!":
            self.place(made)
        if event.anchor is not None:
            self.anchor(event, made)
        self.put(made)

    def resolve(self, value: str) -> str:
        """Return the tag of a plain scalar, as the loader resolves it, from a cache."""
        tag = self.tags.get(value)
        if tag is None:
            tag = str(self.loader.resolve(self.scalar_node, value, (True, False)))
            if len(value) < COMPLEX_KEY:
                self.tags[value] = tag
        return tag

    def start(self, event: YamlThing) -> None:
        start = event.start_mark.index
        if len(self.open) >= DEEPEST:
            raise ParseError(f"nested deeper than {DEEPEST}", start)
        made: Mapping | Sequence
        if type(event) is not self.mapping_start:
            made = Sequence(start)
        elif event.flow_style:
            # The mapping in "[a: b]" has no braces. One with an anchor or a tag always has.
            braced = self.text[start] == "{" or event.anchor is not None or event.tag is not None
            made = Mapping(start, site=self.text.index("{", start) + 1 if braced else -1, spelling=KEY)
        else:
            made = Mapping(start, spelling=KEY, block=True)
        if event.anchor is not None:
            self.anchor(event, made)
        self.complex.append(start if self.waits_for_key() else -1)
        self.open.append(made)
        self.keys.append(None)

    def end(self, event: YamlThing) -> None:
        made = self.open.pop()
        self.keys.pop()
        if isinstance(made, Mapping):
            self.merge(made)
        start = self.complex.pop()
        if start < 0:
            self.put(made)
        else:
            self.put_key("? " + self.text[start : min(event.end_mark.index, start + COMPLEX_KEY)], start)

    def merge(self, made: Mapping) -> None:
        """Give a mapping what it merges, for the keys in ``ASKED`` only: to copy all would take quadratic time."""
        if id(made) not in self.merging:
            return
        parts: list[Node] = []
        for entry in made.entries:
            if entry.key == "<<":
                parts.extend(entry.value.items if isinstance(entry.value, Sequence) else [entry.value])
        kept: dict[str, Entry] = {}
        for part in parts:
            if isinstance(part, Mapping):
                own = part.live()
                for key in ASKED:
                    found = own.get(key) or part.merged.get(key)
                    if found is not None and key not in kept:
                        kept[key] = found
        made.merged = kept

    def place(self, made: Scalar) -> None:
        """Set the text to be replaced: after an anchor; after the colon if nothing is written."""
        start, end = made.start, made.end
        tag = end
        while start < end:
            anchor = ANCHOR.match(self.text, start, end)
            if anchor is not None:
                start = anchor.end()
            else:
                tagged = TAGGED.match(self.text, start, end)
                if tagged is None:
                    break
                tag, start = start, tagged.end()
            blank = BLANK.match(self.text, start, end)
            if blank is not None and blank.end() < end:
                start = blank.end()
        if tag < made.end:
            between = self.text[tag:start]
            if "&" in between:
                made.stuck = "a tag stands before its anchor"
            start = tag
        made.start = start
        if start == end:
            back = start
            while back and self.text[back - 1] in " \t":
                back -= 1
            # Right after "key:" or an anchor, not after the white space there, because a comment may follow.
            made.start = made.end = back
            made.pad = " "
            if self.text[back - 1 : back] in ("-", "?"):
                return
            if self.text[back - 1 : back] != ":" and not BEHIND_ANCHOR.search(self.text[max(back - 200, 0) : back]):
                made.stuck = "the key has no colon"
