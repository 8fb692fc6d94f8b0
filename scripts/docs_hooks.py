"""Hooks for mkdocs: links to files outside of docs/ become text, and a search lists the error messages first."""

from __future__ import annotations

import posixpath
import re
from typing import Any

#: A page of the site -> the file of the checkout that it includes.
INCLUDED = {"index.md": "README.md", "changes.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
_LINK = re.compile(r"(?<!!)\[([^]]+)\]\(([^)#:]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """Rewrite the links of one page, and set how high a search lists it."""
    if page.file.src_path == "errors.md":
        page.meta["search"] = {"boost": 4}
    pages = {source: target for target, source in INCLUDED.items()}

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_path), target))
        if path in pages:
            return f"[{text}]({pages[path]}{anchor})"
        if path.startswith("docs/") and files.get_file_from_path(path[len("docs/") :]):
            return match[0]
        return text if "`" in text else f"{text} (`{path}`)"

    return _LINK.sub(link, markdown)
