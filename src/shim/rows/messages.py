r"""Error messages as regular expressions, for ``doctor --explain``.

They are searched for in the message, or in the traceback that ends with it. Before the search, each run of spaces and
line breaks becomes one space, and backslashes in paths become slashes.
"""

from __future__ import annotations

#: The part of a traceback behind the last frame's file, up to the message.
IN_THIS_LINE = r"(?:(?!\bFile |Error: ).)*"

#: A frame of torch.optim that is the last one of the traceback.
_IN_OPTIM = r"/torch/optim/\w+\.py\b(?:(?!\bFile ).)*?"


def raised_in_optim(*messages: str) -> str:
    """Match messages that any code may raise: only in a traceback whose last frame is in torch.optim."""
    return rf"{_IN_OPTIM}(?:{'|'.join(messages)})"


def of_an_optimizer(*messages: str) -> str:
    """Match messages that are typical of an optimizer: without a traceback, or in one that ends in torch.optim."""
    return rf"(?:^(?!.*\bFile ).*?|{_IN_OPTIM})(?:{'|'.join(messages)})"


def lost(module: str, *names: str) -> tuple[str, str]:
    """Match what Python says of names that a module lacks."""
    here, either = module.replace(".", r"\."), "|".join(names)
    return rf"module '{here}' has no attribute '({either})'", rf"cannot import name '({either})' from '{here}'"


def gone(module: str) -> tuple[str, ...]:
    """Match what Python says of a module that does not exist."""
    package, _, last = module.rpartition(".")
    return (r"No module named '{}'".format(module.replace(".", r"\.")), *lost(package, last))


def unexpected(arguments: str, paths: list[str]) -> list[str]:
    """Match what Python says of arguments that functions do not take. Up to Python 3.9 it does not name the class.

    Args:
        arguments: their names, with a space between them.
        paths: the paths of the functions, ``"torch.hub:load"``.
    """
    said = rf"\(\) got an unexpected keyword argument '(?:{arguments.replace(' ', '|')})'"
    given = rf"\((?:(?!\bFile |Error: ).)*?\b(?:{arguments.replace(' ', '|')})="
    found = []
    for path in paths:
        cls, _, function = path.partition(":")[2].rpartition(".")
        if function in ("__init__", "forward"):  # other classes have them, too
            found.append(rf"\b{cls}\.{function}{said}")
            if function == "__init__":
                found.append(rf"\b{cls}{given}{IN_THIS_LINE}TypeError: __init__{said}")
        else:
            found.append(rf"\b{function}{said}")
    return list(dict.fromkeys(found))
