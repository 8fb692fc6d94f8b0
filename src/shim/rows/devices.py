"""Modules of devices that an older torch does not have. They say that there is no such device."""

from __future__ import annotations

from typing import Any

from .row import module


def _missing(name: str) -> tuple[str, str]:
    return rf"module 'torch' has no attribute '{name}'", rf"No module named 'torch\.{name}'"


def _none() -> int:
    return 0


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing: there is no such device."""


@module(
    "torch.mps",
    works=">=2.0",
    says=_missing("mps"),
    example="import torch.mps\nprint(callable(torch.mps.empty_cache))",
)
def mps() -> dict[str, Any]:
    """torch.mps came with 2.0."""
    return {"device_count": _none, "empty_cache": _nothing, "is_available": lambda: False, "manual_seed": _nothing}


@module(
    "torch.xpu",
    works=">=2.3",
    says=_missing("xpu"),
    example="import torch\ntorch.manual_seed(0)\nprint(torch.xpu.is_available(), torch.xpu.device_count())",
)
def xpu() -> dict[str, Any]:
    """torch.xpu came with 2.3."""
    return {
        # torch.manual_seed of 2.2 calls it: https://github.com/pytorch/pytorch/blob/v2.2.2/torch/random.py#L46
        "_is_in_bad_fork": lambda: False,
        "device_count": _none,
        "empty_cache": _nothing,
        "is_available": lambda: False,
        "manual_seed": _nothing,
        "manual_seed_all": _nothing,
    }


@module(
    "torch.accelerator",
    works=">=2.6",
    says=_missing("accelerator"),
    example="""
import torch
here = torch.cuda.is_available()
print(torch.accelerator.is_available() == here)
print(not here or torch.accelerator.device_count() == torch.cuda.device_count())
print(not here or torch.accelerator.current_accelerator().type == "cuda")
""",
)
def accelerator() -> dict[str, Any]:
    """torch.accelerator, for a GPU of any kind, came with 2.6; on an older torch this row uses torch.cuda."""
    import torch

    def current_accelerator(check_available: bool = False) -> Any:
        built = torch.version.cuda or getattr(torch.version, "hip", None)
        there = torch.cuda.is_available() if check_available else built
        return torch.device("cuda") if there else None

    return {
        "current_accelerator": current_accelerator,
        "current_device_index": torch.cuda.current_device,
        "current_stream": torch.cuda.current_stream,
        "device_count": torch.cuda.device_count,
        "is_available": torch.cuda.is_available,
        "set_device_index": torch.cuda.set_device,
        "set_stream": getattr(torch.cuda, "set_stream", _nothing),
        "synchronize": torch.cuda.synchronize,
    }
