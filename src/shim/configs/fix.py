"""Mend a file: splice the value's bytes, prove that nothing else changed, and replace the file at once."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from typing import NamedTuple

from .findings import KEY, Finding, number_of
from .formats import Format
from .source import Source
from .tree import Mapping, Node, ParseError, Scalar, differs_only_at


class MendError(Exception):
    """Say why a file is left as it is."""


class Edit(NamedTuple):
    """Replace the text ``[start, end)``."""

    start: int
    end: int
    text: str


def spell(value: float) -> str:
    """Write a number so that every format reads it as a float; YAML 1.1 wants the point in ``1.0e-05``."""
    text = repr(value)
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text


def edit_for(finding: Finding, value: float) -> Edit:
    """Return the edit for a finding that can be mended. A string that spells a number becomes that number."""
    spot = finding.spot
    if isinstance(spot, Scalar):
        number = number_of(spot)
        return Edit(spot.start, spot.end, spot.pad + spell(value if number is None else number))
    assert isinstance(spot, Mapping)
    assert spot.room is not None
    return Edit(spot.room.offset, spot.room.offset, spot.room.before + spell(value) + spot.room.after)


def mend(source: Source, kind: Format, documents: list[Node], findings: list[Finding], value: float) -> bytes:
    """Return the file's bytes with the findings mended.

    Raises:
        MendError: the result would differ from the file in anything but the values.

    """
    edits = sorted(edit_for(finding, value) for finding in findings)
    text = source.text
    for edit in reversed(edits):
        text = text[: edit.start] + edit.text + text[edit.end :]
    try:
        if source.encode(source.text) != source.raw:
            raise MendError("its encoding does not give back the same bytes")
        mended = source.encode(text)
        again = kind.parse(Source(source.name, mended, kind.name).text)
    except (ParseError, UnicodeEncodeError) as error:
        raise MendError(f"the mended text would not parse ({error})") from None
    scalars = {id(f.spot) for f in findings if not f.missing}
    mappings = {id(f.spot) for f in findings if f.missing}
    numbers = {value} | {
        n for n in (number_of(f.spot) for f in findings if isinstance(f.spot, Scalar)) if n is not None
    }
    if not differs_only_at(documents, again, scalars, mappings, KEY, numbers):
        raise MendError("the mended text would mean something else in another place")
    return mended


class Seen(NamedTuple):
    """A file as it was when it was read: the real path behind symbolic links, its bytes, and its status."""

    path: str
    raw: bytes
    status: os.stat_result


def read(path: str) -> Seen:
    """Read a file.

    Raises:
        OSError: it cannot be read.

    """
    real = os.path.realpath(path)
    with open(real, "rb") as file:  # noqa: PTH123 - realpath gave a string
        return Seen(real, file.read(), os.fstat(file.fileno()))


def replace(seen: Seen, mended: bytes) -> None:
    """Put the mended bytes in the place of a file that was read, at once or not at all.

    Raises:
        MendError: the file is read-only, has several names, or changed since it was read.
        OSError: the directory or the disk does not let us write.

    """
    if not seen.status.st_mode & 0o222 or not os.access(seen.path, os.W_OK):
        raise MendError("it is read-only")
    if seen.status.st_nlink > 1:
        raise MendError(f"it has {seen.status.st_nlink} hard links, and replacing it would part them")
    folder, name = os.path.split(seen.path)
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
    left: str | None = temporary
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(mended)
            file.flush()
            os.fsync(file.fileno())
        if hasattr(os, "chown"):
            with contextlib.suppress(PermissionError):  # somebody else's file in a directory of ours
                os.chown(temporary, seen.status.st_uid, seen.status.st_gid)
        # Behind chown, which takes away the set-user-ID bits.
        os.chmod(temporary, stat.S_IMODE(seen.status.st_mode))  # noqa: PTH101
        now = read(seen.path)
        if now.raw != seen.raw or now.status.st_ino != seen.status.st_ino:
            raise MendError("it changed while it was being checked")
        os.replace(temporary, seen.path)  # noqa: PTH105
        left = None
    finally:
        if left is not None:
            os.unlink(left)  # noqa: PTH108
