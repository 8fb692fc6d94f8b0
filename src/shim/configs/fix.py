"""Fix a file: replace the bytes of the value, check that nothing else changed, and replace the file atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
import time
from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import accumulate
from select import select
from typing import BinaryIO, NamedTuple

from .findings import Finding, number_of
from .formats import Format
from .places import KEY
from .source import Source
from .tree import Mapping, Node, ParseError, Scalar, differs_only_at

try:
    import fcntl
except ImportError:  # Windows: a temporary file that is open cannot be deleted there, so none needs a lock
    fcntl = None  # type: ignore[assignment]

# No config is larger. A larger file holds data.
MOST_BYTES = 10 << 20
# Streams that the shell has opened. They may be pipes.
STREAM = re.compile(r"/dev/(?:stdin|fd/(\d+))|/proc/self/fd/(\d+)")
# Does not contain the name of the config, which may already be as long as a file name can be.
TEMPORARY = ".shim-fix-"
LOCK_SECONDS = 10.0
LINE = re.compile(r"[^\n]*\n|[^\n]+")
# The number of unchanged lines that a patch shows around a change.
AROUND = 3


class FixError(Exception):
    """Say why a file is left as it is."""


class ChangedError(FixError):
    """Say that the file has changed since it was checked."""


class Edit(NamedTuple):
    """Replace the text ``[start, end)``."""

    start: int
    end: int
    text: str


def spell(value: float) -> str:
    """Write a number so that every format reads it as a float; YAML 1.1 wants the point in ``1.0e-05``."""
    text = repr(value)
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text


def edit_for(finding: Finding, value: float, text: str) -> Edit:
    """Return the edit for a finding that can be fixed. A string that spells a number becomes that number."""
    spot = finding.spot
    if isinstance(spot, Scalar):
        number = number_of(spot)
        return Edit(spot.start, spot.end, spot.pad + spell(value if number is None else number))
    assert isinstance(spot, Mapping)
    room = spot.room(text)
    return Edit(room.offset, room.offset, room.before + spell(value) + room.after)


def splice(text: str, edits: list[Edit]) -> str:
    """Return the text with edits, which come in order, made in it."""
    parts: list[str] = []
    at = 0
    for edit in edits:
        parts += (text[at : edit.start], edit.text)
        at = edit.end
    return "".join([*parts, text[at:]])


def patch(source: Source, edits: list[Edit]) -> str:
    """Return a unified diff, made from the edits: a comparison of the two texts would take quadratic time."""
    lines = LINE.findall(source.text)  # not splitlines, which also splits at form feeds and the like
    starts = [0, *accumulate(map(len, lines))]
    # The changed parts: first line, line after the last, and their edits; and the hunks that these make.
    parts: list[tuple[int, int, list[Edit]]] = []
    for edit in edits:
        first = max(min(bisect_right(starts, edit.start), len(lines)) - 1, 0)
        last = max(bisect_left(starts, edit.end), first + 1)
        if parts and first < parts[-1][1]:
            first, before, inner = parts.pop()
            last = max(last, before)
        else:
            inner = []
        inner.append(edit)
        parts.append((first, last, inner))
    shown = [f"--- {source.name}\n+++ {source.name}\n"]
    grown = 0
    hunk: list[str] = []
    start = end = 0  # the old lines that the hunk shows
    for index, (first, last, inner) in enumerate(parts):
        if not hunk:
            start = end = max(first - AROUND, 0)
        hunk += (" " + line for line in lines[end:first])
        old = lines[first:last]
        base = starts[first]
        shifted = [Edit(e.start - base, e.end - base, e.text) for e in inner]
        new = LINE.findall(splice("".join(old), shifted))
        same = 0
        while same < min(len(old), len(new)) and old[-1 - same] == new[-1 - same]:
            same += 1
        hunk += ("-" + line for line in old[: len(old) - same])
        hunk += ("+" + line for line in new[: len(new) - same])
        end = last - same
        if index + 1 == len(parts) or parts[index + 1][0] - last > 2 * AROUND:
            hunk += (" " + line for line in lines[end : last - same + AROUND])
            end = min(last - same + AROUND, len(lines))
            more = sum(line[0] == "+" for line in hunk) - sum(line[0] == "-" for line in hunk)
            shown.append(f"@@ -{_range(start, end - start)} +{_range(start + grown, end - start + more)} @@\n")
            shown += (line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in hunk)
            grown += more
            hunk = []
    return "".join(shown)


def _range(start: int, count: int) -> str:
    return f"{start + 1}" if count == 1 else f"{start + bool(count)},{count}"


class Fixed(NamedTuple):
    """The new bytes of a file, and the edits that made them."""

    raw: bytes
    edits: list[Edit]


def fix(source: Source, kind: Format, documents: list[Node], findings: list[Finding], value: float) -> Fixed:
    """Return the file's bytes with the findings fixed.

    Raises:
        FixError: the result would differ from the file in anything but the values.

    """
    edits = sorted(edit_for(finding, value, source.text) for finding in findings)
    try:
        if source.encode(source.text) != source.raw:
            raise FixError("its encoding does not give back the same bytes")
        fixed = source.encode(splice(source.text, edits))
        again = kind.parse(Source(source.name, fixed, kind.name).text)
    except (ParseError, UnicodeEncodeError) as error:
        raise FixError(f"the fixed text would not parse ({error})") from None
    scalars = {id(f.spot) for f in findings if not f.missing}
    mappings = {id(f.spot) for f in findings if f.missing}
    numbers = {value} | {
        n for n in (number_of(f.spot) for f in findings if isinstance(f.spot, Scalar)) if n is not None
    }
    if not differs_only_at(documents, again, scalars, mappings, KEY, numbers):
        raise FixError("the fix would also change another value in the file")
    return Fixed(fixed, edits)


class Seen(NamedTuple):
    """A file as it was when it was read: its real path behind symbolic links (empty: a stream), bytes, status."""

    path: str
    raw: bytes
    status: os.stat_result


class UnreadableError(Exception):
    """Say that a path is not a file that could hold a config."""


def read(path: str) -> Seen:
    """Read a file, or a stream that the shell opened (``/dev/stdin``, ``<(...)``).

    Raises:
        UnreadableError: it is something else (a pipe, a device), or too large for a config.
        OSError: it cannot be read.

    """
    stream = STREAM.fullmatch(path)
    if stream is not None:
        # Duplicates the handle, because a pipe or a socket cannot be opened again by this name everywhere.
        handle = os.dup(int(stream.group(1) or stream.group(2) or 0))
        with os.fdopen(handle, "rb") as file:
            return Seen("", read_all(file, waits=True), os.fstat(handle))
    real = os.path.realpath(path)
    # Checked before it is opened, because opening some devices has an effect.
    _refuse(os.stat(real))  # noqa: PTH116
    handle = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        _refuse(status)
        return Seen(real, read_all(file, waits=False), status)


def _refuse(status: os.stat_result) -> None:
    kind = status.st_mode
    if stat.S_ISREG(kind):
        if status.st_size > MOST_BYTES:
            raise UnreadableError(too_large(MOST_BYTES))
        return
    names = ((stat.S_ISDIR, "directory"), (stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"))
    raise UnreadableError(f"a {next((name for test, name in names if test(kind)), 'device')}, not a file")


def read_all(file: BinaryIO, *, waits: bool) -> bytes:
    """Read to the end, up to ``MOST_BYTES``.

    Args:
        file: what to read.
        waits: wait for more data, as from a pipe.

    Raises:
        UnreadableError: it is too large for a config.

    """
    parts: list[bytes] = []
    size = 0
    while True:
        part = file.read(1 << 20)
        if part is None:  # the handle does not block, and there is no data now
            if not waits:  # /proc/kmsg, which os.stat calls a regular file
                raise UnreadableError("nothing can be read from it without waiting")
            select([file], (), ())
            continue
        parts.append(part)
        size += len(part)
        if not part:
            return b"".join(parts)
        if size > MOST_BYTES:
            raise UnreadableError(too_large(MOST_BYTES))


def too_large(most: int) -> str:
    """Return why a file of more bytes is not parsed."""
    return f"larger than {most >> 20} MB, too large for a config"


def replace(seen: Seen, fixed: bytes) -> None:
    """Replace a file that was read by the fixed bytes, atomically.

    Owner, group, mode, access control list and extended attributes stay.

    Raises:
        ChangedError: the file changed since it was read.
        FixError: the file is read-only, has hard links, or one of the above cannot be kept.
        OSError: the directory or the disk cannot be written.

    """
    if not seen.path:
        raise FixError("it is a stream; with - as the path, the fixed text goes to standard output")
    if not seen.status.st_mode & 0o222 or not os.access(seen.path, os.W_OK):
        raise FixError("it is read-only")
    if seen.status.st_nlink > 1:
        raise FixError(f"it has {seen.status.st_nlink} hard links, and a new file would not be linked with the others")
    with contextlib.ExitStack() as stack:
        if fcntl is not None:
            # If two fixes run at once, the second one checks what the first one has written.
            original = stack.enter_context(open(seen.path, "rb"))  # noqa: PTH123
            _lock(original.fileno(), time.monotonic() + LOCK_SECONDS)
        handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=os.path.dirname(seen.path))  # noqa: PTH120
        stack.callback(_unlink, temporary)
        try:
            with os.fdopen(handle, "wb") as file:
                if fcntl is not None:
                    _lock(handle, 0.0)  # so that ``sweep`` in another process leaves it
                file.write(fixed)
                file.flush()
                os.fsync(handle)
                if fcntl is not None:
                    _copy_permissions(handle, seen)
                    _exchange(temporary, seen)
            if fcntl is None:
                _exchange(temporary, seen)
        except FileNotFoundError:  # deleted by ``sweep`` before it was locked, or the config itself was deleted
            raise ChangedError("it changed while it was being checked") from None


def _exchange(temporary: str, seen: Seen) -> None:
    now = read(seen.path)
    same = os.path.samestat(now.status, seen.status) and now.status.st_ctime_ns == seen.status.st_ctime_ns
    if now.raw != seen.raw or not same:  # its bytes, or its permissions
        raise ChangedError("it changed while it was being checked")
    os.replace(temporary, seen.path)  # noqa: PTH105


def _lock(handle: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return  # a file system without locks
            if time.monotonic() >= until:
                raise FixError("another program holds a lock on it") from None
        time.sleep(0.01)


def _copy_permissions(handle: int, seen: Seen) -> None:
    """Give the new file the owner, group, mode, access control list and extended attributes of the old one."""
    old = seen.status
    with contextlib.suppress(OSError):  # whether it worked is checked below
        os.fchown(handle, old.st_uid, old.st_gid)
    wanted, present = _attributes(seen.path), _attributes(handle)
    for name in present:
        if name not in wanted:
            with contextlib.suppress(OSError):
                os.removexattr(handle, name)
    for name, value in wanted.items():
        if present.get(name) != value:
            with contextlib.suppress(OSError):
                os.setxattr(handle, name, value)
    # After chown, which clears the set-user-ID bits. Until here the temporary file had mode 0600, so it never granted
    # more than the old file does, whatever the mode grants to others or to the group of an access control list.
    with contextlib.suppress(OSError):
        os.fchmod(handle, stat.S_IMODE(old.st_mode))
    new = os.fstat(handle)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        raise FixError(f"a new file cannot be given its owner and group ({old.st_uid}:{old.st_gid})")
    if new.st_mode != old.st_mode:
        raise FixError(f"a new file cannot be given its mode ({stat.S_IMODE(old.st_mode):04o})")
    kept = _attributes(handle)
    for name in sorted({*wanted, *kept}):
        if wanted.get(name) != kept.get(name):
            what = "access control list" if "acl" in name else f"attribute {name}"
            raise FixError(f"a new file cannot be given its {what}")


def _attributes(file: str | int) -> dict[str, bytes]:
    """Return the extended attributes, among them access control lists. Python reads them on Linux only."""
    if not hasattr(os, "listxattr"):
        return {}
    try:
        return {name: os.getxattr(file, name) for name in os.listxattr(file)}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return {}
        raise


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108


@lru_cache(maxsize=None)
def sweep(folder: str) -> None:
    """Delete the temporary files that killed fixes have left in a directory, once per process."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder or "."):  # noqa: PTH208
            if name.startswith(TEMPORARY):
                with contextlib.suppress(OSError, FixError):
                    path = os.path.join(folder, name)  # noqa: PTH118
                    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
                    try:
                        if fcntl is not None:
                            _lock(handle, 0.0)
                    finally:
                        os.close(handle)
                    os.unlink(path)  # noqa: PTH108
