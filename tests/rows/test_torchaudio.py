"""Audio files and spectrograms have the format of torchaudio 0.4 and 0.7."""

from __future__ import annotations

import array
import wave

import pytest
import torch

import shim
from shim.releases import release

# torchaudio warns about its backends when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def torchaudio():
    found = pytest.importorskip("torchaudio")
    if release(found.__version__).numbers < (0, 11, 0):
        pytest.skip("the same without shim up to 0.8")
    shim.activate(written_for="1.7")
    yield found
    shim.deactivate()


@pytest.fixture
def path(torchaudio, tmp_path):
    if release(torchaudio.__version__).numbers >= (2, 9, 0):
        pytest.skip("this torchaudio reads with torchcodec")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(array.array("h", WORDS).tobytes())
    return str(tmp_path / "a.wav")


WORDS = [0, 1, -2, 300, -32768, 32767]
HALVES = [word / 2**15 for word in WORDS]


#: Each with the result of torchaudio 0.4.0 and 0.7.2.
@pytest.mark.parametrize(
    "options, expected",
    [
        ({"normalization": False}, [[word * 2.0**16 for word in WORDS]]),
        ({"normalization": 2**15}, [[word * 2.0 for word in WORDS]]),
        ({"normalization": lambda x: x.abs().max()}, [HALVES]),
        ({"normalization": True, "out": torch.zeros(0)}, [HALVES]),
        ({"offset": 2, "num_frames": 2}, [HALVES[2:4]]),
        ({"offset": 4, "num_frames": 0, "channels_first": False}, [[half] for half in HALVES[4:]]),
        ({}, [HALVES]),
    ],
)
def test_load_accepts_its_old_arguments(torchaudio, path, options, expected):
    found, rate = torchaudio.load(path, **options)
    assert (found.tolist(), found.dtype, rate) == (expected, torch.float32, 8000)


def test_load_accepts_its_old_arguments_by_position(torchaudio, path):
    assert torchaudio.load(path, None, True, False, 0, 4)[0].tolist() == [[half] for half in HALVES[4:]]


def test_load_and_save_accept_the_old_name_of_the_file(torchaudio, path, tmp_path):
    saved = str(tmp_path / "b.wav")
    torchaudio.save(filepath=saved, src=torchaudio.load(filepath=path)[0], sample_rate=8000)
    assert torchaudio.load(saved)[0].tolist() == [HALVES]
    assert torchaudio.load(filepath=path, offset=1, num_frames=1)[0].tolist() == [HALVES[1:2]]


def test_load_wav_returns_numbers_of_16_bits(torchaudio, path):
    assert torchaudio.load_wav(path)[0].tolist() == [[float(word) for word in WORDS]]
    assert torchaudio.load_wav(path, num_frames=2)[0].tolist() == [[0.0, 1.0]]


def test_a_complex_spectrogram_consists_of_pairs(torchaudio):
    x = torch.arange(16.0).sin().reshape(1, 16)
    transforms, functional = torchaudio.transforms, torchaudio.functional
    pairs = transforms.Spectrogram(8, power=None)(x)
    assert pairs.shape == (1, 5, 5, 2) and pairs.dtype == torch.float32
    assert torch.equal(functional.spectrogram(x, 0, torch.hann_window(8), 8, 4, 8, None, False), pairs)
    assert torch.allclose(transforms.ComplexNorm(power=2.0)(pairs), transforms.Spectrogram(8)(x), atol=1e-6)
    stretched = transforms.TimeStretch(hop_length=4, n_freq=5)(pairs, 1.25)
    assert stretched.shape == (1, 5, 4, 2)
