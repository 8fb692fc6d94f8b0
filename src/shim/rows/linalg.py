"""Linear algebra: what moved to torch.linalg, and torch's first Fourier transforms."""

from __future__ import annotations

from typing import Any

from .row import name


@name(
    "torch:matrix_rank",
    works="<1.13",
    says=r"This function was deprecated since version 1\.9 and is now removed[\s\S]*torch\.linalg\.matrix_rank",
    example="import torch\nprint(torch.matrix_rank(torch.eye(3)))",
)
def matrix_rank(input: Any, tol: Any = None, symmetric: bool = False, *, out: Any = None) -> Any:
    """matrix_rank moved to torch.linalg."""
    import torch

    given = {} if tol is None else {"tol": tol}
    return torch.linalg.matrix_rank(input, **given, hermitian=symmetric, out=out)
