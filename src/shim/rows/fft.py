"""Fourier transforms: the old functions, on pairs of real numbers, and the old default of stft."""

from __future__ import annotations

import sys
from typing import Any

from ..wrapping import with_globals_of
from .row import argument, callable_module, name, often


def _norm(normalized: bool) -> str | None:
    return "ortho" if normalized else None


def _last(count: int) -> list[int]:
    return list(range(-count, 0))


def _lost(function: str) -> tuple[str, str]:
    return (
        rf"module 'torch' has no attribute '{function}'",
        rf"'Tensor' object has no attribute '{function}'",
    )


@name(
    "torch:rfft",
    "torch:Tensor.rfft",
    works="<1.8",
    says=_lost("rfft"),
    example="""
import torch
x = torch.arange(12.0).reshape(2, 6).requires_grad_()
y = torch.rfft(x, 1, normalized=True)
(y ** 2).sum().backward()
print(tuple(y.shape), [round(v, 3) for v in y.flatten().tolist()], [round(v, 3) for v in x.grad.flatten().tolist()])
print(tuple(x.detach().rfft(2, onesided=False).shape), round(float(torch.rfft(x.detach(), 2, False, False).sum()), 3))
""",
)
def rfft(input: Any, signal_ndim: int, normalized: bool = False, onesided: bool = True) -> Any:
    """torch.rfft became torch.fft.rfftn, which returns complex tensors."""
    import torch

    transform = torch.fft.rfftn if onesided else torch.fft.fftn
    return torch.view_as_real(transform(input, dim=_last(signal_ndim), norm=_norm(normalized)))


@name(
    "torch:irfft",
    "torch:Tensor.irfft",
    works="<1.8",
    says=_lost("irfft"),
    example="""
import torch
x = torch.arange(20.0).reshape(2, 5, 2)
print([round(v, 3) for v in torch.irfft(x, 1).flatten().tolist()])
print([round(v, 3) for v in torch.irfft(x, 1, normalized=True, signal_sizes=(9,)).flatten().tolist()])
print([round(v, 3) for v in x.irfft(1, onesided=False).flatten().tolist()])
""",
)
def irfft(
    input: Any, signal_ndim: int, normalized: bool = False, onesided: bool = True, signal_sizes: Any = None
) -> Any:
    """torch.irfft became torch.fft.irfftn, which takes complex tensors."""
    import torch

    pairs = torch.view_as_complex(input.contiguous())
    sizes = tuple(signal_sizes or ())
    if not onesided:
        sizes = sizes or tuple(pairs.shape[-signal_ndim:])
    # Without sizes, the old function assumed a signal of odd length, and today's assumes an even length.
    sizes = sizes or (*pairs.shape[-signal_ndim:-1], 2 * pairs.shape[-1] - 1)
    half = pairs[..., : sizes[-1] // 2 + 1]
    # The value is computed from the numbers that were read. The gradient is distributed over all of them, as if each
    # half were the mirror image of the other. Transforms differ in what they read of other spectra:
    # https://github.com/pytorch/pytorch/issues/154496
    unread = half.detach() - _read(half.detach(), signal_ndim, sizes)
    if not onesided:
        dims = _last(signal_ndim)
        mean = (pairs + pairs.flip(dims).roll([1] * signal_ndim, dims).conj())[..., : half.shape[-1]] / 2
        half, unread = mean, unread + (mean - half).detach()
    return torch.fft.irfftn(half - unread, s=sizes, dim=_last(signal_ndim), norm=_norm(normalized))


def _read(half: Any, signal_ndim: int, sizes: tuple[int, ...]) -> Any:
    """Return a half spectrum whose inverse transform equals that of ``half`` on torch 1.7, on the CPU.

    Two columns are their own mirror images: the first one, and the one at half the length. They hold each number twice.
    Today's transform takes the mean of both. That of MKL for several dimensions, which 1.7 called, read the upper rows
    only, except for large signals. torch no longer calls it, see the note in ``_fft_c2r_mkl``:
    https://github.com/pytorch/pytorch/blob/077ae3a488c0ca8851fe448e44710afbe9c34370/aten/src/ATen/native/mkl/SpectralOps.cpp
    """
    large = sizes[-1] % 2 == 0 and min(sizes[-2:]) >= 16 if signal_ndim == 2 else min(sizes) >= 9
    if signal_ndim == 1 or large or half.device.type != "cpu":
        return half
    half, rows = half.clone(), half.shape[-2]
    upper = (rows + 1) // 2
    for column in {0} if sizes[-1] % 2 else {0, sizes[-1] // 2}:
        half[..., 1:upper, column] *= 2
        half[..., rows - upper + 1 :, column] = 0
    return half


@name(
    "torch:ifft",
    "torch:Tensor.ifft",
    works="<1.8",
    says=_lost("ifft"),
    example="""
import torch
x = torch.arange(16.0).reshape(2, 4, 2)
print([round(v, 3) for v in torch.ifft(x, 1).flatten().tolist()])
print([round(v, 3) for v in x.ifft(2, normalized=True).flatten().tolist()])
""",
)
def ifft(input: Any, signal_ndim: int, normalized: bool = False) -> Any:
    """torch.ifft became torch.fft.ifftn, which takes complex tensors."""
    import torch

    pairs = torch.view_as_complex(input.contiguous())
    return torch.view_as_real(torch.fft.ifftn(pairs, dim=_last(signal_ndim), norm=_norm(normalized)))


@often(
    "torch.functional:stft",
    called="torch.stft",
    works="<2.0",
    says=r"stft requires the return_complex parameter be given for real inputs",
    example="""
import torch
x = torch.arange(64.0).reshape(1, 64)
y = torch.stft(x, 16, 8, window=torch.ones(16))
print(tuple(y.shape), tuple(x.stft(16, 8, window=torch.ones(16)).shape), round(float(y.abs().sum()), 1))
""",
)
def stft(original: Any) -> Any:
    """torch.stft of a real signal returned pairs of real numbers up to 1.13, unless return_complex was given."""
    torch: Any = sys.modules["torch"]

    # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/functional.py#L616
    def stft(*args: Any, **kwargs: Any) -> Any:
        if (kwargs.get("return_complex") if len(args) < 10 else args[9]) is not None:
            return original(*args, **kwargs)
        signal = args[0] if args else kwargs.get("input")
        window = args[4] if len(args) > 4 else kwargs.get("window")
        if signal is None or signal.is_complex() or (window is not None and window.is_complex()):
            return original(*args, **kwargs)
        if len(args) < 10:
            kwargs["return_complex"] = True
        else:
            args = (*args[:9], True, *args[10:])
        return torch.view_as_real(original(*args, **kwargs))

    return with_globals_of(original, stft)


@callable_module(
    "torch.fft",
    works="<1.8",
    says=(
        r"\btorch\.fft\((?:(?!\bFile ).)*TypeError: 'module' object is not callable",
        r"'Tensor' object has no attribute 'fft'",
    ),
    example="""
import torch
x = torch.arange(12.0).reshape(3, 2, 2).requires_grad_()
y = torch.fft(x, 1, normalized=True)
(y ** 2).sum().backward()
print([round(v, 3) for v in y.flatten().tolist()], [round(v, 3) for v in x.grad.flatten().tolist()])
print([round(v, 3) for v in torch.fft(x.detach(), 2).flatten().tolist()])
""",
)
def fft(input: Any, signal_ndim: int, normalized: bool = False) -> Any:
    """torch.fft was a function on pairs of real numbers up to 1.7. Now it is a module; the patch makes it callable."""
    import torch

    pairs = torch.view_as_complex(input.contiguous())
    return torch.view_as_real(torch.fft.fftn(pairs, dim=_last(signal_ndim), norm=_norm(normalized)))


@name(
    "torch:Tensor.fft",
    called="torch.fft.Tensor",
    works="<1.8",
    example="import torch\nprint(torch.tensor([[1.0, 0.0], [2.0, 1.0]]).fft(1).tolist())",
)
def tensor_fft(input: Any, signal_ndim: int, normalized: bool = False) -> Any:
    """Tensor.fft was torch.fft."""
    return fft(input, signal_ndim, normalized)


@argument(
    "torch:istft",
    "torch:Tensor.istft",
    called="torch.istft",
    works=">=1.6,<2.0",
    versions=">=1.8",
    says=r"istft requires a complex-valued input tensor matching the output from stft with return_complex=True",
    example="""
import torch
window = torch.hann_window(16)
pairs = torch.arange(9 * 17 * 2.0).reshape(1, 9, 17, 2).sin().requires_grad_()
y = torch.istft(pairs, 16, 4, window=window, length=64)
y.sum().backward()
print(tuple(y.shape), [round(v, 3) for v in y[0, 8:14].tolist()], round(float(pairs.grad.abs().sum()), 2))
print(tuple(pairs.detach().istft(16, hop_length=4, window=window).shape))
""",
)
def istft(original: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.istft took pairs of real numbers up to 1.13, as torch.stft returned them."""
    # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/functional.py#L686
    import torch

    if isinstance(input, torch.Tensor) and not input.is_complex() and input.shape[-1:] == (2,):
        input = torch.view_as_complex(input.contiguous())
    return original(input, *args, **kwargs)
