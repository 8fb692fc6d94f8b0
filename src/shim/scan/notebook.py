"""The Python in a Jupyter notebook."""

from __future__ import annotations

import json
import re

#: A line that IPython runs itself: ``%magic``, ``!command``, ``?name``, ``name = !command``, and ``name?``.
_OF_IPYTHON = re.compile(r"^(\s*)(?:[%!?]|[\w., ]+=\s*[%!]|[\w.]+\?{1,2}\s*$)")
#: Magics of a cell whose text is Python. The cell of any other one is left out.
_PYTHON_CELLS = re.compile(r"%%(?:capture|time|timeit|prun|px)\b")


def python_of(raw: bytes) -> tuple[str, list[int]]:
    """Return the code cells as one source, and the number of the line of it at which each cell begins, the first at 1.

    A line of IPython becomes ``pass``. A cell that is not code, or not Python, is empty.

    Raises:
        ValueError: if this is not a notebook.
    """
    try:
        cells = json.loads(raw)["cells"]
        texts = ["".join(cell["source"]) if cell["cell_type"] == "code" else "" for cell in cells]
    except (KeyError, TypeError, ValueError):
        raise ValueError("not a notebook of Jupyter") from None
    lines: list[str] = []
    starts = []
    for text in texts:
        starts.append(len(lines) + 1)
        magic, _, rest = text.lstrip().partition("\n")
        if magic.startswith("%%"):
            text = f"pass\n{rest}" if _PYTHON_CELLS.match(magic) else ""
        lines += [_OF_IPYTHON.sub(r"\1pass #", line) for line in text.splitlines()]
    return "\n".join(lines), starts
