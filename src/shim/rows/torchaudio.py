"""torchaudio: backends, complex numbers as pairs, options of ``load``, helpers of its datasets, and older defaults."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Iterator

from .messages import IN_THIS_LINE, lost
from .row import advice, argument, behaviour, defaults, made, names, renamed


@names(
    "torchaudio",
    called="torchaudio.list_audio_backends",
    works="<2.9",
    says=(
        r"module 'torchaudio' has no attribute '(list_audio_backends|get_audio_backend|set_audio_backend)'",
        r"cannot import name '(list_audio_backends|get_audio_backend|set_audio_backend)' from 'torchaudio'",
    ),
    example="""
import torchaudio
print(torchaudio.get_audio_backend() is None or isinstance(torchaudio.get_audio_backend(), str))
if hasattr(torchaudio, "list_audio_backends"):  # not yet in 0.5
    for backend in torchaudio.list_audio_backends()[:1]:
        torchaudio.set_audio_backend(backend)
""",
)
def backends() -> dict[str, Any]:
    """The backend for audio files was selectable up to 2.8; since 2.9 torchaudio always uses torchcodec."""

    def list_audio_backends() -> list[str]:
        from importlib.util import find_spec

        needs = {"ffmpeg": "torchcodec", "soundfile": "soundfile"}
        return [backend for backend, package in needs.items() if find_spec(package) is not None]

    def set_audio_backend(backend: str | None) -> None:
        """Do nothing, as from 2.1 on."""

    return {
        "list_audio_backends": list_audio_backends,
        "get_audio_backend": lambda: None,
        "set_audio_backend": set_audio_backend,
    }


_LOST = ("angle", "complex_norm", "create_fb_matrix", "magphase")


@names(
    "torchaudio.functional",
    called="torchaudio.functional.magphase",
    works="<0.11",
    says=lost("torchaudio.functional", *_LOST),
    example="""
import torch
from torchaudio.functional import angle, complex_norm, create_fb_matrix, magphase
x = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
print(complex_norm(x).tolist(), complex_norm(x, power=2.0).tolist(), angle(x).tolist())
magnitude, phase = magphase(x)
print(magnitude.tolist(), phase.tolist())
print([round(each, 4) for each in create_fb_matrix(6, 0.0, 8000.0, 3, 16000)[2].tolist()])
""",
)
def of_pairs() -> dict[str, Any]:
    """complex_norm, angle and magphase took complex numbers as pairs of real numbers, up to 0.10."""
    import torch

    def complex_norm(complex_tensor: Any, power: float = 1.0) -> Any:
        return complex_tensor.pow(2.0).sum(-1).pow(0.5 * power)

    def angle(complex_tensor: Any) -> Any:
        return torch.atan2(complex_tensor[..., 1], complex_tensor[..., 0])

    def magphase(complex_tensor: Any, power: float = 1.0) -> tuple[Any, Any]:
        return complex_norm(complex_tensor, power), angle(complex_tensor)

    create_fb_matrix = import_module("torchaudio.functional").melscale_fbanks
    return {"angle": angle, "complex_norm": complex_norm, "create_fb_matrix": create_fb_matrix, "magphase": magphase}


@made(
    "torchaudio.transforms:ComplexNorm",
    works="<0.11",
    says=lost("torchaudio.transforms", "ComplexNorm"),
    example="""
import torch
from torchaudio.transforms import ComplexNorm
print(ComplexNorm(power=2.0)(torch.tensor([[3.0, 4.0]])).tolist(), isinstance(ComplexNorm(), torch.nn.Module))
""",
)
def complex_norm_of_pairs(transforms: Any) -> Any:
    """ComplexNorm computed the norm of complex numbers given as pairs of real numbers, up to 0.10."""
    import torch

    class ComplexNorm(torch.nn.Module):
        def __init__(self, power: float = 1.0) -> None:
            super().__init__()
            self.power = power

        def forward(self, complex_tensor: Any) -> Any:
            return complex_tensor.pow(2.0).sum(-1).pow(0.5 * self.power)

    ComplexNorm.__module__, ComplexNorm.__qualname__ = transforms.__name__, "ComplexNorm"
    return ComplexNorm


@behaviour(
    "torchaudio.functional:spectrogram",
    called="torchaudio.functional.spectrogram of pairs",
    works="<0.10",
)
def spectrogram(original: Any, *args: Any, **kwargs: Any) -> Any:
    """A spectrogram with power=None had complex numbers as pairs of real numbers up to 0.9, without return_complex."""
    # https://github.com/pytorch/audio/blob/v0.9.1/torchaudio/functional/functional.py#L52
    import torch

    asked = kwargs.pop("return_complex", False)
    found = original(*args, **kwargs)
    return torch.view_as_real(found) if found.is_complex() and not asked else found


@behaviour(
    "torchaudio.functional:phase_vocoder",
    "torchaudio.transforms:TimeStretch.forward",
    works="<0.11",
    # TimeStretch warns about real numbers, goes on, and fails in phase_vocoder.
    says=r"/torchaudio/functional/functional\.py\b[^:]*phase_vocoder (?:(?!\bFile ).)*RuntimeError: "
    r"(?:The size of tensor a \(\d+\) must match the size of tensor b \(\d+\) at non-singleton dimension \d+|"
    r"\w+ is not implemented for tensors with non-complex dtypes\.?)",
    example="""
import torch
from torchaudio.functional import phase_vocoder
from torchaudio.transforms import TimeStretch
x = torch.arange(30.0).sin().reshape(1, 3, 5, 2)
advance = torch.linspace(0, 3.14 * 2, 3)[..., None]
for y in (phase_vocoder(x, 1.3, advance), TimeStretch(hop_length=2, n_freq=3, fixed_rate=1.3)(x)):
    print(tuple(y.shape), [round(each, 3) for each in y.flatten().tolist()[:8]])
""",
)
def of_a_spectrogram_of_pairs(original: Any, *args: Any, **kwargs: Any) -> Any:
    """phase_vocoder and TimeStretch took complex numbers as pairs of real numbers, up to 0.10."""
    # https://github.com/pytorch/audio/blob/v0.10.0/torchaudio/functional/functional.py#L861
    # https://github.com/pytorch/audio/blob/v0.11.0/torchaudio/functional/functional.py#L634
    import torch

    def as_complex(value: Any) -> Any:
        pairs = isinstance(value, torch.Tensor) and value.dim() > 2 and not value.is_complex() and value.shape[-1] == 2
        return torch.view_as_complex(value.contiguous()) if pairs else value

    first = original.__name__ == "forward"  # of which the first argument is the transform
    given = [*args[:first], *map(as_complex, args[first : first + 1]), *args[first + 1 :]]
    named = {key: as_complex(value) for key, value in kwargs.items()}
    changed = any(new is not old for new, old in zip((*given, *named.values()), (*args, *kwargs.values())))
    found = original(*given, **named)
    return torch.view_as_real(found) if changed else found


@names(
    "torchaudio.functional",
    called="torchaudio.functional.istft",
    works="<0.7",
    says=lost("torchaudio.functional", "istft"),
    example="""
import torch
from torchaudio.functional import istft
x = torch.arange(32.0).sin()
window = torch.hann_window(8)
pairs = torch.stack([torch.ones(1, 5, 9), torch.zeros(1, 5, 9)], -1)
y = istft(pairs, n_fft=8, hop_length=4, window=window, length=30)
print(tuple(y.shape), [round(each, 3) for each in y[0, :6].tolist()])
""",
)
def istft_of_pairs() -> dict[str, Any]:
    """torchaudio.functional.istft became torch.istft in 0.7, which takes complex tensors."""
    import torch

    def istft(
        stft_matrix: Any,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = None,
        center: bool = True,
        pad_mode: str = "reflect",
        normalized: bool = False,
        onesided: bool = True,
        length: int | None = None,
    ) -> Any:
        if not stft_matrix.is_complex():
            stft_matrix = torch.view_as_complex(stft_matrix.contiguous())
        return torch.istft(stft_matrix, n_fft, hop_length, win_length, window, center, normalized, onesided, length)

    return {"istft": istft}


@argument(
    "torchaudio.functional:griffinlim",
    "torchaudio.transforms:GriffinLim.__init__",
    works=">=0.5,<0.9",
    says=r"(?:griffinlim|GriffinLim\.__init__)\(\) got an unexpected keyword argument 'normalized'",
    example="""
import torch
from torchaudio.functional import griffinlim
from torchaudio.transforms import GriffinLim
x = torch.arange(45.0).sin().abs().reshape(1, 5, 9)
y = griffinlim(x, torch.hann_window(8), 8, 4, 8, 2.0, normalized=False, n_iter=4, momentum=0.5, length=None,
               rand_init=False)
z = GriffinLim(8, normalized=False, rand_init=False)(x)
print(tuple(y.shape), tuple(z.shape))
""",
    versions=">=1.9",
)
def griffinlim(original: Any, *args: Any, **kwargs: Any) -> Any:
    """GriffinLim took the argument normalized up to 0.8, and ignored it."""
    # https://github.com/pytorch/audio/blob/v0.8.1/torchaudio/functional/functional.py#L123
    kwargs.pop("normalized", None)
    place = _PLACES_OF_NORMALIZED[original.__name__]
    if len(args) > place and isinstance(args[place], bool):
        args = (*args[:place], *args[place + 1 :])
    return original(*args, **kwargs)


#: The position of ``normalized`` in each. What stands there today, ``n_iter`` and ``wkwargs``, is no bool.
_PLACES_OF_NORMALIZED = {"griffinlim": 6, "__init__": 7}


@argument(
    "torchaudio.functional:sliding_window_cmn",
    works=">=0.6,<0.9",
    says=r"sliding_window_cmn\(\) got an unexpected keyword argument 'waveform'",
    example="""
import torch
from torchaudio.functional import sliding_window_cmn
y = sliding_window_cmn(waveform=torch.arange(12.0).reshape(1, 4, 3) ** 2, cmn_window=2, min_cmn_window=1)
print([round(each, 3) for each in y.flatten().tolist()])
""",
    versions=">=1.9",
)
def sliding_window_cmn(original: Any, *args: Any, **kwargs: Any) -> Any:
    """The first argument of sliding_window_cmn was called waveform up to 0.8, and is called specgram since."""
    # https://github.com/pytorch/audio/blob/v0.8.1/torchaudio/functional/functional.py#L878
    if "waveform" in kwargs:
        kwargs["specgram"] = kwargs.pop("waveform")
    return original(*args, **kwargs)


renamed(
    "torchaudio:load",
    "torchaudio:save",
    "torchaudio:info",
    now={"filepath": "uri"},
    called="torchaudio.load.filepath",
    works="<2.1",
    reason="torchaudio.load, save and info called the file filepath up to 2.0, now uri",
    says=(
        rf"\btorchaudio\.(?:load|save|info)\({IN_THIS_LINE}TypeError: (?:\S+\.)?\w+\(\) got an unexpected keyword "
        "argument 'filepath'",
        r"\bget_(?:load|save|info)_func\.<locals>\.\w+\(\) got an unexpected keyword argument 'filepath'",
    ),
)


@argument(
    "torchaudio:load",
    called="torchaudio.load of old",
    works="<0.9",
    says=(
        r"\bload\(\) got an unexpected keyword argument '(?:normalization|signalinfo|encodinginfo|filetype)'",
        rf"\btorchaudio\.load\({IN_THIS_LINE}TypeError: load\(\) got an unexpected keyword argument '(?:offset|out)'",
    ),
)
def load(original: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
    """torchaudio.load took out, normalization, offset and the other options of SoX up to 0.8."""
    # https://github.com/pytorch/audio/blob/v0.8.1/torchaudio/backend/sox_backend.py#L20
    import torch

    old = ("normalization", "offset", "out", "signalinfo", "encodinginfo", "filetype")
    # The second argument was out, and is frame_offset now.
    if args and (args[0] is None or isinstance(args[0], torch.Tensor)):
        kwargs.update(zip((*_BEFORE_0_9, "signalinfo", "encodinginfo", "filetype"), args))
        args = ()
    elif not any(each in kwargs for each in old):
        return original(filepath, *args, **kwargs)
    asked = {each: kwargs.pop(each) for each in old if each in kwargs}
    divisor = asked.get("normalization", True)
    kwargs["num_frames"] = kwargs.get("num_frames") or -1  # 0 meant all
    found, rate = original(filepath, *args, frame_offset=asked.get("offset", 0), **kwargs)
    if divisor is not True:
        found = found * 2.0**31  # SoX gave whole numbers of 32 bits
        if divisor is not False:
            found = found / (divisor(found) if callable(divisor) else divisor)
    if asked.get("out") is not None:
        found = asked["out"].resize_(found.shape).copy_(found)
    return found, rate


_BEFORE_0_9 = ("out", "normalization", "channels_first", "num_frames", "offset")


@names(
    "torchaudio",
    called="torchaudio.load_wav",
    works="<0.9",
    says=lost("torchaudio", "load_wav"),
)
def load_wav_names() -> dict[str, Any]:
    """torchaudio.load_wav returned the samples as 16-bit integers, stored as floats, up to 0.8."""
    torchaudio: Any = import_module("torchaudio")

    def load_wav(filepath: Any, **kwargs: Any) -> Any:
        kwargs["normalization"] = 1 << 16
        return load(torchaudio.load, filepath, **kwargs)

    return {"load_wav": load_wav}


@names(
    "torchaudio.datasets.utils",
    called="torchaudio.datasets.utils.walk_files",
    works="<0.8",
    says=lost("torchaudio.datasets.utils", "makedir_exist_ok", "unicode_csv_reader", "walk_files"),
    example="""
import os, tempfile
from torchaudio.datasets.utils import makedir_exist_ok, unicode_csv_reader, walk_files
with tempfile.TemporaryDirectory() as folder:
    makedir_exist_ok(os.path.join(folder, "b"))
    makedir_exist_ok(os.path.join(folder, "b"))
    for name in ("b/2.wav", "1.wav", "3.txt"):
        open(os.path.join(folder, name), "w").close()
    print(sorted(walk_files(folder, (".wav", ".txt"))), sorted(walk_files(folder, suffix=".wav", remove_suffix=True)))
    print([path[len(folder) :] for path in walk_files(os.path.join(folder, "b"), ".wav", prefix=True)])
print([*unicode_csv_reader(["a\\tb", "c\\td"], delimiter="\\t")])
""",
)
def walking() -> dict[str, Any]:
    """torchaudio.datasets.utils had walk_files and other helpers up to 0.7."""
    import csv
    import os
    from pathlib import Path

    def walk_files(root: str, suffix: Any, prefix: bool = False, remove_suffix: bool = False) -> Iterator[str]:
        for folder, folders, files in os.walk(Path(root).expanduser()):
            folders.sort()
            for name in sorted(each for each in files if each.endswith(suffix)):
                stem = name[: -len(suffix)] if remove_suffix else name
                yield str(Path(folder, stem)) if prefix else stem

    def unicode_csv_reader(unicode_csv_data: Any, **kwargs: Any) -> Iterator[list[str]]:
        yield from csv.reader(unicode_csv_data, **kwargs)

    def makedir_exist_ok(dirpath: str) -> None:
        Path(dirpath).mkdir(parents=True, exist_ok=True)

    return {"walk_files": walk_files, "unicode_csv_reader": unicode_csv_reader, "makedir_exist_ok": makedir_exist_ok}


@names(
    "torchaudio.datasets.utils",
    called="torchaudio.datasets.utils.download_url",
    works="<2.0",
    says=lost("torchaudio.datasets.utils", "download_url", "extract_archive"),
    example="""
import os, pathlib, tempfile, zipfile
from torchaudio.datasets.utils import download_url, extract_archive
with tempfile.TemporaryDirectory() as folder:
    with zipfile.ZipFile(os.path.join(folder, "a.zip"), "w") as archive:
        archive.writestr("b/c.txt", "d")
    to = os.path.join(folder, "e")
    os.mkdir(to)
    download_url(pathlib.Path(folder, "a.zip").as_uri(), to, progress_bar=False)
    extract_archive(os.path.join(to, "a.zip"), to)
    with open(os.path.join(to, "b", "c.txt")) as file:
        print(sorted(os.listdir(to)), file.read())
""",
)
def archives() -> dict[str, Any]:
    """torchaudio.datasets.utils had download_url and extract_archive up to 0.13."""
    import hashlib
    import tarfile
    import zipfile
    from pathlib import Path

    from torch.hub import download_url_to_file

    def download_url(
        url: str,
        download_folder: str,
        filename: str | None = None,
        hash_value: str | None = None,
        hash_type: str = "sha256",
        progress_bar: bool = True,
        resume: bool = False,
    ) -> None:
        path = Path(download_folder, filename or url.rpartition("/")[2])
        if path.exists() and not resume:
            raise RuntimeError(f"{path} already exists. Delete the file manually and retry.")
        if not path.exists():
            download_url_to_file(url, str(path), progress=progress_bar)
        if hash_value and hashlib.new(hash_type, path.read_bytes()).hexdigest() != hash_value:
            raise RuntimeError(f"The hash of {path} does not match. Delete the file manually and retry.")

    def extract_archive(from_path: str, to_path: str | None = None, overwrite: bool = False) -> list[str]:
        to = Path(from_path).parent if to_path is None else Path(to_path)
        archive: Any
        if tarfile.is_tarfile(from_path):
            archive = tarfile.open(from_path)  # noqa: SIM115
            held = {each.name: each for each in archive.getmembers() if each.isfile()}
        elif zipfile.is_zipfile(from_path):
            archive = zipfile.ZipFile(from_path)
            held = {each: each for each in archive.namelist()}
        else:
            raise NotImplementedError(f"{from_path} is neither a tar archive nor a zip archive")
        with archive:
            for name, each in held.items():
                if overwrite or not (to / name).exists():
                    archive.extract(each, to)
        return [str(to / name) for name in held]

    return {"download_url": download_url, "extract_archive": extract_archive}


@behaviour(
    "torchaudio.transforms:MelScale.forward",
    called="torchaudio.transforms.MelScale.n_stft",
    works="<0.10",
    says=rf"mel_specgram = torch\.matmul\({IN_THIS_LINE}Error: (mat1 and mat2 shapes|Expected size for first)",
    example="""
import torch, torchaudio
mel = torchaudio.transforms.MelScale(4, 8000)
print(["%.3f" % v for v in mel(torch.arange(33.0).reshape(1, 33, 1)).flatten().tolist()], tuple(mel.fb.shape))
""",
)
def n_stft(original: Any, self: Any, specgram: Any) -> Any:
    """MelScale without n_stft took it from its first input; since 0.10 it is 201."""
    # https://github.com/pytorch/audio/blob/v0.9.1/torchaudio/transforms.py#L293
    if self.fb.size(0) == 201 != specgram.size(-2):
        size = specgram.size(-2), self.f_min, self.f_max, self.n_mels, self.sample_rate, self.norm, self.mel_scale
        self.fb = import_module("torchaudio.functional").melscale_fbanks(*size).to(self.fb)
    return original(self, specgram)


@defaults(
    "torchaudio.compliance.kaldi:spectrogram",
    "torchaudio.compliance.kaldi:fbank",
    "torchaudio.compliance.kaldi:mfcc",
    called="torchaudio.compliance.kaldi.dither",
    were={"dither": 1.0, "energy_floor": 0.0},
    works="<0.5",
    example="""
import torch, torchaudio.compliance.kaldi as kaldi
torch.manual_seed(0)
silence = torch.zeros(1, 1600)
print((kaldi.fbank(silence).std() > 1e-3).item(), kaldi.fbank(silence, dither=0.0, use_energy=True)[0, 0].item() < -10)
""",
)
def dither() -> None:
    """Kaldi features had dither=1.0 and energy_floor=0.0 by default up to 0.4, now 0.0 and 1.0."""
    # https://github.com/pytorch/audio/blob/v0.4.0/torchaudio/compliance/kaldi.py#L175


advice(
    "InverseMelScale",
    "InverseMelScale used SGD up to 2.0, and solves a least-squares problem since 2.1. Drop max_iter, "
    "tolerance_loss, tolerance_change and sgdargs.",
    r"(?:InverseMelScale\.)?__init__\(\) got an unexpected keyword argument "
    r"'(?:max_iter|tolerance_loss|tolerance_change|sgdargs)'",
    works="<2.1",
    of="torchaudio",
)

advice(
    "torchcodec",
    "torchaudio.load and save need the package torchcodec since 2.9: install its release for this torch, or "
    "read the file with soundfile: "
    "torch.from_numpy(soundfile.read(file, dtype='float32', always_2d=True)[0].T).",
    r"TorchCodec is required for (load|save)_with_torchcodec",
    works="<2.9",
    of="torchaudio",
)
