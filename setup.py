"""Build the native kernel of ADOPT if there is a compiler. Nearly all other settings are in pyproject.toml."""

from __future__ import annotations

import sysconfig
import warnings
from pathlib import Path

import setuptools
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Compiler flags that change floating-point results. At linking, some change them for the whole process that loads the
# library.
UNSAFE = ("-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-fassociative-math", "-freciprocal-math")
UNSAFE += (
    "-ffinite-math-only",
    "-fno-signed-zeros",
    "-mdaz-ftz",
    "-ffp-model=fast",
    "-ffp-model=aggressive",
    "/fp:fast",
)

#: Flags per compiler: C11, optimisation, and the same results on every processor.
FLAGS = {
    "unix": ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno"],
    "msvc": ["/std:c11", "/O2", "/fp:precise"],  # MSVC and clang-cl
}

# Not a Python module, but a plain shared library that native.py loads with ctypes. It does not use Python's API.
KERNEL = Extension(
    "shim.adopt._native",
    ["src/shim/adopt/native.c"],
    depends=["src/shim/adopt/native_loop.h", "src/shim/adopt/native_tensor.h"],
    extra_compile_args=FLAGS["unix"],
    libraries=["m"],
    optional=True,  # without a compiler the package installs and works without the kernel
)


class BuildLibrary(build_ext):
    """Build under one name for every interpreter, and without the flags that change floating-point results."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the path of the library, relative to site-packages."""
        return str(Path(*fullname.split(".")).with_suffix(".so"))  # native.LIBRARY

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """Export nothing beyond the source's own exports: this is no Python module, so it has no PyInit."""
        return []

    def build_extensions(self) -> None:
        """Build without the unsafe flags. The compiler and its commands are known when this is called."""
        if self.compiler.compiler_type == "msvc":
            KERNEL.extra_compile_args, KERNEL.libraries = FLAGS["msvc"], []
        for name in ("compiler", "compiler_so", "linker_so", "linker_exe"):
            command = getattr(self.compiler, name, None) or []
            left_out = [flag for flag in command if flag in UNSAFE]
            if left_out:
                flags = " ".join(left_out)
                text = f"ADOPT's kernel is built without {flags}, because these flags change results"
                warnings.warn(text, stacklevel=1)
                setattr(self.compiler, name, [flag for flag in command if flag not in UNSAFE])
        super().build_extensions()


# Licence expressions came with setuptools 77. Python 3.8 has 75 at most, which refuses them in pyproject.toml.
LICENCE = "license_expression" if int(setuptools.__version__.partition(".")[0]) >= 77 else "license"

if __name__ == "__main__":
    # The wheel works on every Python from 3.8 on. There is no abi3-like tag for free-threaded Python.
    free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")
    setup(
        **{LICENCE: "MIT"},
        ext_modules=[KERNEL],
        cmdclass={"build_ext": BuildLibrary},
        options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp38"}},
    )
