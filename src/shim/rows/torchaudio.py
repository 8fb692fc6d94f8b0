"""torchaudio: the backends that it chose among."""

from __future__ import annotations

from typing import Any

from .row import advice, names


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
print(isinstance(torchaudio.list_audio_backends(), list))
if torchaudio.list_audio_backends():
    torchaudio.set_audio_backend(torchaudio.list_audio_backends()[0])
print(torchaudio.get_audio_backend() is None or isinstance(torchaudio.get_audio_backend(), str))
""",
)
def backends() -> dict[str, Any]:
    """One chose how torchaudio reads files up to 2.8; now it reads all with torchcodec."""

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


advice(
    "torchcodec",
    "torchaudio.load and save want the package torchcodec since 2.9: install the release of it that belongs to this "
    "torch, or read the file with soundfile: "
    "torch.from_numpy(soundfile.read(file, dtype='float32', always_2d=True)[0].T).",
    r"TorchCodec is required for (load|save)_with_torchcodec",
    works="<2.9",
    of="torchaudio",
)
