"""Build the native kernel of ADOPT where there is a compiler; nearly everything else is in pyproject.toml."""

from __future__ import annotations

import sysconfig
import warnings
from pathlib import Path

import setuptools
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# They change what numbers come out, and at linking that of the whole process which loads the library.
UNSAFE = ("-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-fassociative-math", "-freciprocal-math")
UNSAFE += (
    "-ffinite-math-only",
    "-fno-signed-zeros",
    "-mdaz-ftz",
    "-ffp-model=fast",
    "-ffp-model=aggressive",
    "/fp:fast",
)

#: A compiler's own words for C11, for speed, and for the same numbers on every processor.
FLAGS = {
    "unix": ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno"],
    "msvc": ["/std:c11", "/O2", "/fp:precise"],  # MSVC and clang-cl
}

# No Python module, but a plain library that native.py loads. It uses nothing of Python.
KERNEL = Extension(
    "shim.adopt._native",
    ["src/shim/adopt/native.c"],
    depends=["src/shim/adopt/native_loop.h", "src/shim/adopt/native_tensor.h"],
    extra_compile_args=FLAGS["unix"],
    libraries=["m"],
    optional=True,  # without a compiler the package installs and works all the same
)


class BuildLibrary(build_ext):
    """Build under one name for every interpreter, and with none of the flags that change numbers."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return where the library goes below a directory of packages."""
        return str(Path(*fullname.split(".")).with_suffix(".so"))  # native.LIBRARY

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """Return what Windows' linkers are to export beyond what the source says: no PyInit, as this is no module."""
        return []

    def build_extensions(self) -> None:
        """Build, once the compiler and its commands are known."""
        if self.compiler.compiler_type == "msvc":
            KERNEL.extra_compile_args, KERNEL.libraries = FLAGS["msvc"], []
        for name in ("compiler", "compiler_so", "linker_so", "linker_exe"):
            command = getattr(self.compiler, name, None) or []
            left_out = [flag for flag in command if flag in UNSAFE]
            if left_out:
                warnings.warn(f"ADOPT's kernel is built without {' '.join(left_out)}, for right numbers", stacklevel=1)
                setattr(self.compiler, name, [flag for flag in command if flag not in UNSAFE])
        super().build_extensions()


# Licence expressions came with setuptools 77; Python 3.8 has 75 at most, which refuses them in pyproject.toml.
LICENCE = "license_expression" if int(setuptools.__version__.partition(".")[0]) >= 77 else "license"

if __name__ == "__main__":
    # The wheel is good for every Python from 3.8 on. For a free-threaded one, wheels know no such tag.
    free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")
    setup(
        **{LICENCE: "MIT"},
        ext_modules=[KERNEL],
        cmdclass={"build_ext": BuildLibrary},
        options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp38"}},
    )
