"""torch.utils.cpp_extension: C++ and CUDA extensions that are compiled when the program runs."""

from __future__ import annotations

import inspect
import re
from typing import Any

from .row import advice, argument, name

_BUILDERS = ("CppExtension", "CUDAExtension", "load", "load_inline")


def _needs(standard: str, since: str, called: str, older: str) -> None:
    """Make the row of a release whose headers need a newer C++ standard."""
    flag = re.compile(rf"[-/]std[=:](c|gnu)\+\+({older})")

    def without(flags: Any) -> Any:
        if isinstance(flags, dict):
            return {key: without(value) for key, value in flags.items()}
        if not isinstance(flags, list):
            return flags
        return [each for each in flags if not (isinstance(each, str) and flag.fullmatch(each))]

    def call(original: Any, *args: Any, **kwargs: Any) -> Any:
        return original(*map(without, args), **{key: without(value) for key, value in kwargs.items()})

    argument(
        *(f"torch.utils.cpp_extension:{each}" for each in _BUILDERS),
        called=called,
        reason=f"The headers of torch need C++{standard} since {since}; if an extension asks for no standard, torch "
        "passes the right flag",
        works=f"<{since}",
        # No example, because a compiler takes long: tests/rows builds an extension.
        says=(
            rf"#error C\+\+{standard} or later compatible compiler is required to use (PyTorch|ATen)",
            rf"#error You need C\+\+{standard} to compile PyTorch",
        ),
    )(call)


# https://github.com/pytorch/pytorch/blob/v2.4.1/torch/csrc/api/include/torch/all.h#L4 and
# https://github.com/pytorch/pytorch/blob/v2.14.1/torch/csrc/api/include/torch/all.h#L8
_needs("17", "2.1", "-std=c++14", "11|14|0x|1y")
_needs("20", "2.14", "-std=c++17", "11|14|17|0x|1y|1z")


@argument(
    "torch.utils.cpp_extension:CppExtension",
    "torch.utils.cpp_extension:CUDAExtension",
    called="AT_CHECK",
    works="<1.5",
    # No example, because a compiler takes long: tests/rows builds an extension.
    says=r"error: \W?AT_CHECK\W? was not declared in this scope|"
    r"error: use of undeclared identifier 'AT_CHECK'|identifier \"AT_CHECK\" is undefined",
)
def with_at_check(original: Any, *args: Any, **kwargs: Any) -> Any:
    """The macro AT_CHECK of torch's headers has been TORCH_CHECK since 1.5; an extension is built with it defined."""
    # https://github.com/pytorch/pytorch/blob/v1.4.0/c10/util/Exception.h#L353
    macros = list(kwargs.get("define_macros") or [])
    if not any(each[0] == "AT_CHECK" for each in macros):
        macros.append(("AT_CHECK", "TORCH_CHECK"))
    return original(*args, **{**kwargs, "define_macros": macros})


@argument(
    "torch.utils.cpp_extension:load",
    "torch.utils.cpp_extension:load_inline",
    called="AT_CHECK of load",
    works="<1.5",
)
def load_with_at_check(original: Any, *args: Any, **kwargs: Any) -> Any:
    """The macro AT_CHECK is also defined for an extension that the program builds with load or load_inline."""
    # https://github.com/pytorch/pytorch/blob/v1.4.0/c10/util/Exception.h#L353
    given = inspect.signature(original).bind(*args, **kwargs)
    for flags in ("extra_cflags", "extra_cuda_cflags"):
        given.arguments[flags] = [*(given.arguments.get(flags) or []), "-DAT_CHECK=TORCH_CHECK"]
    return original(*given.args, **given.kwargs)


@name(
    "torch.utils.cpp_extension:check_compiler_abi_compatibility",
    called="check_compiler_abi_compatibility",
    works="<1.12",
    says=(
        r"cannot import name 'check_compiler_abi_compatibility' from 'torch\.utils\.cpp_extension'",
        r"module 'torch\.utils\.cpp_extension' has no attribute 'check_compiler_abi_compatibility'",
    ),
    example="""
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()):  # where old releases may say that there is no GPU
    from torch.utils.cpp_extension import check_compiler_abi_compatibility
print(check_compiler_abi_compatibility("g++"))
""",
)
def check_compiler_abi_compatibility(compiler: str) -> bool:
    """check_compiler_abi_compatibility became get_compiler_abi_compatibility_and_version in 1.12."""
    from torch.utils import cpp_extension

    here: Any = cpp_extension
    return bool(here.get_compiler_abi_compatibility_and_version(compiler)[0])


advice(
    "AT_DISPATCH of a type",
    "The macros AT_DISPATCH_... take a scalar type alone since 2.8 at the latest: write tensor.scalar_type() for "
    "tensor.type() in the extension's sources, and data_ptr<scalar_t>() for data<scalar_t>(). Or build it with 2.1.",
    (
        r"cannot convert \W?(const )?at::DeprecatedTypeProperties\W? to \W?(c10|at)::ScalarType",
        r"no suitable conversion function from \"(const )?at::DeprecatedTypeProperties\" to \"(c10|at)::ScalarType\"",
    ),
    works="<2.2",
)
advice(
    "torch of 2018",
    "torch.utils.ffi, torch.legacy, torch.nn.backends, torch.nn._functions and load_lua belong to torch 0.4 and "
    "older, and extensions that use them have C code for it. Rewrite the extension with torch.utils.cpp_extension, or "
    "look for a fork of the program that has; torch 0.4.1 runs on Python 3.6 and older.",
    (
        r"No module named 'torch\.(utils\.ffi|legacy|nn\.backends|nn\._functions|_thnn|utils\.serialization)\b",
        r"cannot import name 'create_extension' from 'torch\.utils\.ffi'",
        r"torch\.utils\.ffi is deprecated\. Please use cpp extensions instead",
        r"module 'torch\.utils' has no attribute 'ffi'",
    ),
    works="<1.0",
)
