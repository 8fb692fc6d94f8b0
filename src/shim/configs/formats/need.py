"""Import a parser that is an optional dependency."""

from __future__ import annotations

import importlib
from typing import Any


class MissingParserError(Exception):
    """Say that the library that reads a format is not installed."""


def need(module: str, project: str, what: str) -> Any:
    """Import a parser, or raise an error that says how to install it.

    Raises:
        MissingParserError: it is not installed.

    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingParserError(
            f"reading {what} needs {project}, which cannot be imported here ({error}): pip install 'torch-shim[config]'"
        ) from None
