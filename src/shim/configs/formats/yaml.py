"""YAML: PyYAML composes the nodes and knows where they stand; nothing is constructed, no tag is executed."""

from __future__ import annotations

import re
from typing import Any, Iterable

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
    room_above,
    room_inside,
)
from .need import need

YamlNode = Any  # yaml.Node; the module is imported when it is needed
DEEPEST = 200
KEY = "weight_decay: "
TAG = "tag:yaml.org,2002:"
KINDS = {TAG + "null": NULL, TAG + "str": TEXT, TAG + "int": NUMBER, TAG + "float": NUMBER}
# What may precede a value and is no part of it: an anchor stays, a tag goes with the value that it describes.
ANCHOR = re.compile(r"&[^\s,\[\]{}]+")
TAGGED = re.compile(r"!(?:<[^>\s]*>|[^\s,\[\]{}]*)")
BLANK = re.compile(r"(?:\s|(?<=\s)#[^\r\n]*)+")


def parse(text: str) -> list[Node]:
    """Return the documents of a YAML text (1.1, which is what PyYAML and most frameworks read)."""
    yaml = need("yaml", "PyYAML", "YAML")
    # libyaml where PyYAML was built with it: the same nodes, more than twenty times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if _may_be_deep(text):
            _refuse_deep(yaml.parse(text, loader))
        nodes = list(yaml.compose_all(text, loader))
        convert = _Converter(text)
        return [convert.node(node) for node in nodes]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = [word for word in (error.context, error.problem) if word]
        raise ParseError(", ".join(words) or "not YAML", mark.index if mark else 0) from None
    except yaml.reader.ReaderError as error:
        # The two parsers count this position in characters and in bytes: look for the character.
        char = error.character if isinstance(error.character, int) else 0
        raise ParseError(f"character U+{char:04X} is not allowed in YAML", max(text.find(chr(char)), 0)) from None
    except RecursionError:
        raise ParseError("nested too deeply") from None
    except (
        ValueError,
        OverflowError,
    ) as error:  # PyYAML lets a %YAML directive or an escape with absurd numbers through to int/chr
        raise ParseError(str(error)) from None


def _may_be_deep(text: str) -> bool:
    """Tell whether a text could nest deeply: each level takes a bracket or a column."""
    longest = max(map(len, text.splitlines()), default=0)
    return text.count("[") + text.count("{") + longest > DEEPEST


def _refuse_deep(events: Iterable[YamlNode]) -> None:
    """Refuse what libyaml's composer, which calls itself for each level, would crash on."""
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if depth > DEEPEST + 2:  # the stream and the document are levels too
            raise ParseError(f"nested deeper than {DEEPEST}", event.start_mark.index)


class _Converter:
    """From PyYAML's nodes to ours; a node that is aliased is converted once, so it stays one node."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.done: dict[int, Node] = {}

    def node(self, node: YamlNode) -> Node:
        if id(node) in self.done:
            return self.done[id(node)]
        made: Node
        if node.id == "scalar":
            made = self.done[id(node)] = self.scalar(node)
        elif node.id == "sequence":
            made = self.done[id(node)] = Sequence(node.start_mark.index)
            made.items.extend(self.node(item) for item in node.value)
        else:
            made = self.done[id(node)] = Mapping(node.start_mark.index)
            self.fill(made, node)
        return made

    def scalar(self, node: YamlNode) -> Scalar:
        start, end = node.start_mark.index, node.end_mark.index
        kind = KINDS.get(node.tag, OTHER)
        value = node.value if kind != OTHER else node.tag + " " + node.value
        if kind == NUMBER:
            value = node.value.replace("_", "")
        made = Scalar(kind, value, start, end, plain=node.style in (None, ""))
        self.place(made)
        return made

    def place(self, made: Scalar) -> None:
        """Set the text to be replaced: behind an anchor; and where nothing is written, behind the colon."""
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
            # Behind "key:" or behind an anchor, never behind white space, where a comment may follow.
            made.start = made.end = back
            made.pad = " "
            if self.text[back - 1 : back] in ("-", "?"):
                return
            if self.text[back - 1 : back] != ":" and not re.search(r"&[^\s,\[\]{}]+\Z", self.text[:back][-200:]):
                made.stuck = "the key has no colon"

    def fill(self, made: Mapping, node: YamlNode) -> None:
        merges: list[Mapping] = []
        for key, value in node.value:
            converted = self.node(value)
            if key.id == "scalar" and key.tag == TAG + "merge":
                parts = converted.items if isinstance(converted, Sequence) else [converted]
                merges.extend(part for part in parts if isinstance(part, Mapping))
                # Kept under its own name too: an edit that changes what is merged must not go unseen.
                made.entries.append(Entry("<<", key.start_mark.index, converted))
                continue
            name = key.value if key.id == "scalar" else self.text[key.start_mark.index : key.end_mark.index]
            made.entries.append(Entry(name, key.start_mark.index, converted))
        own = {entry.key for entry in made.entries}
        for merged in merges:
            for entry in list(merged.entries):
                if entry.key not in own and entry.key != "<<":
                    own.add(entry.key)
                    made.entries.append(entry._replace(merged=True))
        made.room = self.room(node)

    def room(self, node: YamlNode) -> Room:
        if node.flow_style:
            opening = self.text.index("{", node.start_mark.index) + 1
            return room_inside(self.text, opening, not node.value, KEY)
        return room_above(self.text, node.value[0][0].start_mark.index, KEY)
