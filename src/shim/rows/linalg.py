"""Linear algebra that moved to torch.linalg, or was removed."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ..releases import release
from .row import name, names

_REMOVED = r"This function was deprecated since version 1\.9 and is now removed\."


def _removed(now: str, function: str) -> tuple[str, str]:
    """Return the two messages of a removed function, of torch 1.13 and of 2.0 and later."""
    return (
        _REMOVED + rf"(?:', ')? ?Please use the `torch\.linalg\.{function}` function instead",
        _REMOVED + now,
    )


def _returned(function: str, fields: str) -> Any:
    """Make the named tuple of a function's results, with the name and the repr of torch's."""

    def in_words(result: Any) -> str:
        values = ",\n".join(f"{field}={value!r}" for field, value in zip(result._fields, result))
        return f"torch.return_types.{function}(\n{values})"

    return type(
        f"_{function}", (namedtuple(function, fields),), {"__slots__": (), "__module__": __name__, "__repr__": in_words}
    )


_symeig = _returned("symeig", "eigenvalues eigenvectors")
_eig = _returned("eig", "eigenvalues eigenvectors")
_solve = _returned("solve", "solution LU")
_lstsq = _returned("lstsq", "solution QR")
_qr = _returned("qr", "Q R")


def _filled(result: Any, out: Any) -> Any:
    """Return the result, copied into the tensors of ``out`` if they are given."""
    if out is None:
        return result
    for tensor, value in zip(out, result):
        tensor.resize_(value.shape).copy_(value)
    return type(result)(*out)


@name(
    "torch:matrix_rank",
    works="<1.13",
    says=_REMOVED + r".*torch\.linalg\.matrix_rank",
    example="import torch\nprint(torch.matrix_rank(torch.eye(3)))",
)
def matrix_rank(input: Any, tol: Any = None, symmetric: bool = False, *, out: Any = None) -> Any:
    """torch.matrix_rank moved to torch.linalg."""
    import torch

    given = {} if tol is None else {"tol": tol}
    return torch.linalg.matrix_rank(input, **given, hermitian=symmetric, out=out)


@name(
    "torch:symeig",
    "torch:Tensor.symeig",
    works="<2.0",
    says=(_REMOVED + r".*torch\.symeig\(", _REMOVED + r" Please use the `torch\.linalg\.eigh` function instead"),
    example="""
import torch
a = torch.tensor([[[2.0, 1.0], [9.0, 3.0]], [[1.0, 0.5], [0.5, 5.0]]], requires_grad=True)
values, vectors = torch.symeig(a, eigenvectors=True)
(values * torch.tensor([1.0, 2.0])).sum().backward()
upper = torch.triu(a)
symmetric = upper + torch.triu(a, 1).transpose(-1, -2)
print([[round(v, 4) for v in row] for row in values.tolist()])
print(bool(torch.allclose(symmetric @ vectors, vectors * values.unsqueeze(-2), atol=1e-4)))
print([round(v, 3) for v in (a.grad + a.grad.transpose(-1, -2)).flatten().tolist()])
only = a.detach().symeig(upper=False)
print(only.eigenvectors.numel(), [round(v, 4) for v in only[0].flatten().tolist()])
""",
)
def symeig(input: Any, eigenvectors: bool = False, upper: bool = True, *, out: Any = None) -> Any:
    """torch.symeig became torch.linalg.eigh, which reads the lower triangle by default."""
    import torch

    triangle = "U" if upper else "L"
    if eigenvectors:
        return _filled(_symeig(*torch.linalg.eigh(input, UPLO=triangle)), out)
    no_vectors = input.new_empty(0 if input.numel() else input.shape)
    return _filled(_symeig(torch.linalg.eigvalsh(input, UPLO=triangle), no_vectors), out)


@name(
    "torch:eig",
    "torch:Tensor.eig",
    works="<1.13",
    says=_removed(r".*torch\.eig\(", "eig"),
    example="""
import torch
a = torch.tensor([[2.0, 1.0, 0.0], [-1.0, 3.0, 0.0], [0.0, 0.0, 4.0]])
values, vectors = torch.eig(a, eigenvectors=True)
print([[round(v, 3) for v in row] for row in values.tolist()])
print([[abs(round(v, 3)) for v in row] for row in vectors.tolist()])
print(a.eig().eigenvectors.numel())
""",
)
def eig(input: Any, eigenvectors: bool = False, *, out: Any = None) -> Any:
    """torch.eig became torch.linalg.eig, which returns complex tensors in place of pairs of columns."""
    import torch

    # https://github.com/pytorch/pytorch/issues/85950
    if not torch.isfinite(input).all():  # eigvals of 2.13 crashes then
        raise RuntimeError("torch.eig: the matrix should not contain infs or NaNs")
    if not eigenvectors:
        return _filled(_eig(torch.view_as_real(torch.linalg.eigvals(input)), input.new_empty(0)), out)
    values, vectors = torch.linalg.eig(input)
    # LAPACK's geev: of two conjugate eigenvalues the one with the positive imaginary part is first, and their two
    # columns hold the real and the imaginary part of its eigenvector.
    columns = torch.where(values.imag < 0, -vectors.imag, vectors.real)
    return _filled(_eig(torch.view_as_real(values), columns), out)


@name(
    "torch:solve",
    "torch:Tensor.solve",
    works="<1.12",
    says=_removed(r".*`torch\.solve` is deprecated in favor of", "solve"),
    example="""
import torch
a = torch.tensor([[[2.0, 1.0], [1.0, 3.0]], [[4.0, 1.0], [2.0, 3.0]]])
solution, factors = torch.solve(torch.ones(2, 1), a)
print([round(v, 4) for v in solution.flatten().tolist()], [round(v, 4) for v in factors.flatten().tolist()])
""",
)
def solve(input: Any, A: Any, *, out: Any = None) -> Any:  # noqa: N803
    """torch.solve became torch.linalg.solve, which takes the matrix first and returns no factors."""
    import torch

    broadcast: Any = torch.broadcast_shapes
    batch = broadcast(input.shape[:-2], A.shape[:-2])
    right = input.expand(*batch, *input.shape[-2:])
    left = A.expand(*batch, *A.shape[-2:])
    return _filled(_solve(torch.linalg.solve(left, right), torch.linalg.lu_factor(left)[0]), out)


@name(
    "torch:lstsq",
    "torch:Tensor.lstsq",
    works="<1.13",
    says=_removed(r".*`torch\.lstsq` is deprecated in favor of", "lstsq"),
    example="""
import torch
tall = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])
solution, factors = torch.lstsq(torch.ones(3, 1), tall)
print([round(v, 3) for v in solution.flatten().tolist()], [round(v, 3) for v in factors.flatten().tolist()])
wide = torch.lstsq(torch.ones(2, 1), tall.t().contiguous())
print([round(v, 3) for v in wide.solution.flatten().tolist()])
""",
)
def lstsq(input: Any, A: Any, *, out: Any = None) -> Any:  # noqa: N803
    """torch.lstsq became torch.linalg.lstsq, which takes the matrix first and returns no residual rows."""
    import torch

    if input.dim() == 1:  # a single column, as in LAPACK
        input = input.unsqueeze(1)
    rows, columns = A.shape
    if rows < columns:
        solution = torch.linalg.lstsq(A, input, driver="gels").solution
        return _filled(_lstsq(solution, torch.geqrf(A.t())[0].t()), out)
    # The same as LAPACK's gels. The rows below the solution hold the residuals of the right-hand side.
    q, r = torch.linalg.qr(A, mode="complete")
    turned = q.t() @ input
    solution = torch.linalg.solve_triangular(r[:columns], turned[:columns], upper=True)
    return _filled(_lstsq(torch.cat([solution, turned[columns:]]), torch.geqrf(A)[0]), out)


@name(
    "torch:qr",
    "torch:Tensor.qr",
    works="<2.14",
    says=_REMOVED + r".*`torch\.qr` is deprecated in favor of",
    example="""
import torch
a = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], requires_grad=True)
q, r = torch.qr(a)
print(q.shape, [round(v, 4) for v in (q @ r).flatten().tolist()])
r.abs().sum().backward()
print([round(v, 3) for v in a.grad.flatten().tolist()], a.detach().qr(some=False).Q.shape)
""",
)
def qr(input: Any, some: bool = True, *, out: Any = None) -> Any:
    """torch.qr became torch.linalg.qr, which takes a mode."""
    import torch

    return _filled(_qr(*torch.linalg.qr(input, mode="reduced" if some else "complete")), out)


@name(
    "torch:cholesky",
    "torch:Tensor.cholesky",
    works="<2.14",
    says=_REMOVED + r".*`torch\.cholesky` is deprecated in favor of",
    example="""
import torch
a = torch.tensor([[4.0, 2.0], [2.0, 5.0]], requires_grad=True)
for upper in (False, True):
    factor = torch.cholesky(a, upper=upper)
    print(factor.tolist(), [round(v, 4) for v in torch.autograd.grad(factor.sum(), a)[0].flatten().tolist()])
print(a.detach().cholesky(True).tolist())
""",
)
def cholesky(input: Any, upper: bool = False, *, out: Any = None) -> Any:
    """torch.cholesky became torch.linalg.cholesky."""
    import torch

    return torch.linalg.cholesky(input, upper=upper, out=out)


_OF_LAPACK = "btrifact|btrifact_with_info|btrisolve|btriunpack|gels|gesv|potrf|potri|potrs|trtrs"


@names(
    "torch",
    called="torch.gesv",
    works="<1.2",
    says=rf"module 'torch' has no attribute '({_OF_LAPACK})'",
    example="""
import torch
a = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
b = torch.tensor([[1.0], [2.0]])
x, lu = torch.gesv(b, a)
print([round(v, 4) for v in x.flatten().tolist()], [round(v, 4) for v in lu.flatten().tolist()])
u = torch.potrf(a)
print([round(v, 4) for v in u.flatten().tolist()], [round(v, 4) for v in torch.potrf(a, False).flatten().tolist()])
print([round(v, 4) for v in torch.potrs(b, u).flatten().tolist()])
print([round(v, 4) for v in torch.potri(u).flatten().tolist()])
print([round(v, 4) for v in torch.trtrs(b, u, upper=True)[0].flatten().tolist()])
factors, pivots = torch.btrifact(a[None])
print([round(v, 4) for v in torch.btrisolve(b[None, :, 0], factors, pivots).flatten().tolist()])
p, l, u = torch.btriunpack(factors, pivots)
print([round(v, 4) for v in (p @ l @ u).flatten().tolist()])
print([round(v, 4) for v in torch.gels(b, a)[0].flatten().tolist()])
""",
)
def of_lapack() -> dict[str, Any]:
    """Up to 1.1, functions had the names of LAPACK: gesv is solve, potrf is cholesky, gels is lstsq."""
    import torch

    def potrf(input: Any, upper: bool = True) -> Any:
        # torch.cholesky works up to 2.13, and torch.linalg.cholesky takes upper since 1.10.
        if release(torch.__version__).numbers < (1, 10, 0):
            return torch.cholesky(input, upper=upper)
        return torch.linalg.cholesky(input, upper=upper)

    def potrs(b: Any, input: Any, upper: bool = True) -> Any:
        return torch.cholesky_solve(b.unsqueeze(-1) if b.dim() == 1 else b, input, upper=upper)

    def trtrs(b: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False) -> Any:  # noqa: N803
        return torch.triangular_solve(b, A, upper, transpose, unitriangular)

    def btrifact_with_info(A: Any, pivot: bool = True) -> Any:  # noqa: N803
        return torch.lu(A, pivot=pivot, get_infos=True)

    def btrifact(A: Any, info: Any = None, pivot: bool = True) -> Any:  # noqa: N803
        return torch.lu(A, pivot=pivot)

    def btrisolve(b: Any, factors: Any, pivots: Any) -> Any:
        return torch.lu_solve(b.unsqueeze(-1), factors, pivots).squeeze(-1)

    there = release(torch.__version__).numbers < (1, 12, 0)
    return {
        "btrifact": btrifact,
        "btrifact_with_info": btrifact_with_info,
        "btrisolve": btrisolve,
        "btriunpack": torch.lu_unpack,
        # They have their present names since 1.2; solve is in torch up to 1.11, lstsq up to 1.12.
        "gels": vars(torch)["lstsq"] if there else lstsq,
        "gesv": vars(torch)["solve"] if there else solve,
        "potrf": potrf,
        "potri": lambda input, upper=True: torch.cholesky_inverse(input, upper=upper),
        "potrs": potrs,
        "trtrs": trtrs,
    }
