r"""Error messages as regular expressions, for ``doctor --explain``.

They are searched for in the message, or in the traceback with the message at its end, where every run of spaces and
line breaks is one space and paths have slashes.
"""

from __future__ import annotations

#: A frame in torch.optim with no other frame behind it.
_IN_OPTIM = r"/torch/optim/\w+\.py\b(?:(?!\bFile ).)*?"


def raised_in_optim(*messages: str) -> str:
    """Match messages that any code may give: only in a traceback, and only where its last frame is in torch.optim."""
    return rf"{_IN_OPTIM}(?:{'|'.join(messages)})"


def of_an_optimizer(*messages: str) -> str:
    """Match messages that are typical of an optimizer: given alone, or raised in torch.optim."""
    return rf"(?:^(?!.*\bFile ).*?|{_IN_OPTIM})(?:{'|'.join(messages)})"
