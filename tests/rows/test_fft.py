"""Fourier transforms give the numbers of torch 1.7.1. These tests run on that release, too."""

from __future__ import annotations

import pytest
import torch

import shim


@pytest.fixture(autouse=True)
def rows():
    shim.activate("torch.irfft", "torch.stft", "torch.istft")
    yield
    shim.deactivate()


#: Half spectra as a layer learns them: columns that should be symmetric are not. The shape of a spectrum of pairs,
#: signal_ndim, onesided and signal_sizes, then a weighted sum of the result on torch 1.7.1, in which each number has
#: another weight, and the same sum of its gradient.
SPECTRA = [
    ((5, 2), 1, False, (), 0.536535, 0.449896),
    ((2, 6, 2), 1, False, (), -0.523785, 1.155961),
    ((2, 5, 2), 1, True, (), -0.229404, 0.271088),
    ((3, 5, 2), 1, True, (8,), 0.108936, 0.201505),
    ((4, 3, 2), 2, True, (4, 4), 0.370338, 0.562838),
    ((4, 4, 2), 2, False, (), 0.369225, 0.526736),
    ((4, 5, 2), 2, False, (), -1.257272, 0.519624),
    ((2, 5, 3, 2), 2, True, (5, 5), 0.991452, 1.476662),
    ((17, 9, 2), 2, True, (17, 16), -0.646857, 0.535764),
    ((16, 9, 2), 2, True, (16, 17), -0.592492, 0.538249),
    ((15, 20, 2), 2, False, (), 1.117358, 0.52639),
    ((3, 4, 3, 2), 3, True, (3, 4, 4), 0.87978, 0.554004),
    ((2, 4, 4, 4, 2), 3, False, (), -0.068792, -0.439501),
    ((9, 9, 5, 2), 3, True, (9, 9, 9), 0.511078, 0.540877),
    ((9, 8, 5, 2), 3, True, (9, 8, 9), -1.234426, 0.539828),
]


def weighed(tensor):
    return float((tensor * torch.arange(1.0, 1 + tensor.numel()).double().reshape(tensor.shape).cos()).sum())


@pytest.mark.filterwarnings("ignore")  # torch 1.7 warns about its deprecation
@pytest.mark.parametrize("shape, signal_ndim, onesided, sizes, value, gradient", SPECTRA)
def test_the_inverse_of_an_asymmetric_spectrum_is_as_in_1_7(shape, signal_ndim, onesided, sizes, value, gradient):
    numbers = torch.arange(1.0, 1 + torch.Size(shape).numel()).double()
    spectrum = (numbers * 0.7).sin().reshape(shape).requires_grad_()
    signal = torch.irfft(spectrum, signal_ndim, onesided=onesided, signal_sizes=sizes)
    signal.sin().sum().backward()
    assert (weighed(signal.detach()), weighed(spectrum.grad)) == pytest.approx((value, gradient), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "inverse",
    [
        lambda pairs: torch.istft(pairs, 16),
        lambda pairs: pairs.istft(16),
        lambda pairs: torch.functional.istft(input=pairs, n_fft=16, length=64),
    ],
    ids=["function", "method", "by keyword"],
)
def test_istft_inverts_the_result_of_stft(inverse):
    signal = (torch.arange(128.0).reshape(2, 64) * 0.7).sin()
    pairs = torch.stft(signal, 16).requires_grad_()
    back = inverse(pairs)
    assert pairs.shape[-1] == 2 and torch.allclose(back, signal, atol=1e-5)
    back.sum().backward()
    assert pairs.grad.shape == pairs.shape and float(pairs.grad.abs().sum()) > 0
