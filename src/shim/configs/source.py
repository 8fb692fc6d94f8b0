"""Decode a file's bytes to text and encode it again, so that the same text gives the same bytes."""

from __future__ import annotations

import codecs
import io
import json
import tokenize
from bisect import bisect_right

from .tree import ParseError

# Longer byte order marks first: the one of UTF-32 begins with the one of UTF-16.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Source:
    """A config file as it was read.

    ``text`` has neither a byte order mark nor translated line ends; ``encode`` gives the bytes back.

    Raises:
        ParseError: the bytes are not text in the encoding that the file claims.

    """

    def __init__(self, name: str, raw: bytes, format_name: str) -> None:
        self.name = name
        self.raw = raw
        self._mark, self._codec = _encoding(raw, format_name)
        try:
            self.text = raw[len(self._mark) :].decode(self._codec)
        except UnicodeDecodeError as error:
            raise ParseError(f"byte {error.start + len(self._mark)} is not {self._codec}: {error.reason}") from None
        except (LookupError, ValueError) as error:  # a codec that is unknown, or not one for text
            raise ParseError(f"cannot decode as {self._codec}: {error}") from None
        self._starts: list[int] = []

    def encode(self, text: str) -> bytes:
        """Return ``text`` as this file's bytes: its byte order mark and its encoding."""
        return self._mark + text.encode(self._codec)

    def position(self, offset: int) -> tuple[int, int]:
        """Return line and column of an offset in the text, both counted from 1."""
        if not self._starts:
            self._starts = [0]
            at = 0
            for line in io.StringIO(self.text, newline=""):
                at += len(line)
                self._starts.append(at)
        row = bisect_right(self._starts, offset)
        if row == len(self._starts) and row > 1 and self.text[-1:] not in "\r\n":
            row -= 1  # the end of a last line that has no line end
        return row, offset - self._starts[row - 1] + 1


def _encoding(raw: bytes, format_name: str) -> tuple[bytes, str]:
    for mark, codec in MARKS:
        if raw.startswith(mark):
            return mark, codec
    if format_name in ("json", "jsonc"):
        return b"", json.detect_encoding(raw)
    if format_name == "python":
        try:
            return b"", tokenize.detect_encoding(io.BytesIO(raw).readline)[0]
        except (SyntaxError, LookupError) as error:  # from 3.14 on, LookupError for a codec that is not one for text
            raise ParseError(str(error)) from None
    return b"", "utf-8"
