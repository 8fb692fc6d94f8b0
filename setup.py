"""Build the native kernel of ADOPT where there is a compiler; everything else is in pyproject.toml."""

from setuptools import Extension, setup

# No Python module, but a plain library that native.py loads. It uses nothing of Python, hence the stable ABI's name.
KERNEL = Extension(
    "shim.adopt._native",
    ["src/shim/adopt/native.c"],
    extra_compile_args=["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno"],
    libraries=["m"],
    py_limited_api=True,
    optional=True,  # without a compiler the package installs and works all the same
)

setup(ext_modules=[KERNEL], options={"bdist_wheel": {"py_limited_api": "cp38"}})
