"""torch.utils.cpp_extension: C++ and CUDA extensions that are built where the program runs."""

from __future__ import annotations

import re
from typing import Any

from .row import argument


@argument(
    "torch.utils.cpp_extension:CppExtension",
    "torch.utils.cpp_extension:CUDAExtension",
    "torch.utils.cpp_extension:load",
    "torch.utils.cpp_extension:load_inline",
    called="-std=c++14",
    works="<2.1",
    # Only a compiler dies of it, and that takes its time: tests/rows builds one.
    says=(
        r"#error C\+\+17 or later compatible compiler is required to use (PyTorch|ATen)",
        r"#error You need C\+\+17 to compile PyTorch",
    ),
)
def newer_standard(original: Any, *args: Any, **kwargs: Any) -> Any:
    """An extension says -std=c++14 where torch's headers want C++17 since 2.1; without it torch says what they want."""
    return original(*map(_without, args), **{key: _without(value) for key, value in kwargs.items()})


def _without(flags: Any) -> Any:
    if isinstance(flags, dict):
        return {key: _without(value) for key, value in flags.items()}
    if not isinstance(flags, list):
        return flags
    return [
        each
        for each in flags
        if not (isinstance(each, str) and re.fullmatch(r"[-/]std[=:](c|gnu)\+\+(11|14|1y|0x)", each))
    ]
