"""ADOPT's form for a GPU: its error without Triton; with Triton, its kernels in the interpreter and the compiler.

The tests of the kernels are in triton_cases.py and triton_launch_cases.py. Triton reads TRITON_INTERPRET when it is
imported, so the GPU and the interpreter each need a separate process.
"""

import os
import re
from pathlib import Path

import pytest
import torch

from shim.adopt import cuda

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="TRITON_INTERPRET is set for all")
MISSING = cuda.why_not([])
needs_triton = pytest.mark.skipif(bool(MISSING), reason=MISSING or "")
HERE = Path(__file__).resolve().parent
CASES = (HERE / "triton_cases.py", HERE / "triton_launch_cases.py")


@needs_triton
@pytest.mark.parametrize("where", ["interpreter", "GPU"])
def test_the_kernels_pass_all_their_cases(where, python):
    if where == "GPU" and not torch.cuda.is_available():
        pytest.skip("no GPU")

    done = python(
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", *CASES],
        door="src",
        env={"TRITON_INTERPRET": "1" if where == "interpreter" else "0"},
        cwd=HERE.parents[1],
    )

    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed.group(1)) > 40, done.stdout
    print(where, passed.group(0))


def test_the_error_names_a_missing_triton(python):
    done = python(
        """
        import sys
        sys.modules["triton"] = None
        import torch
        from shim.adopt import cuda
        print(cuda.why_not([torch.ones(2)]))
        """,
        door="src",
    )

    assert done.stdout.startswith("fused=True on a GPU needs Triton"), done.stdout + done.stderr


@needs_triton
def test_the_error_for_a_cpu_names_the_interpreter():
    assert "Triton runs on a GPU, not on cpu" in cuda.why_not([torch.ones(2)])


# Options of the kernel for which the CUDA form passes None when they are off.
OPTIONAL = {
    "grad_scale": "*fp32",
    "found_inf": "*fp32",
    "lr_tensor": "*fp32",
    "nonzero": "*i32",
    "weight_decay": "fp32",
    "clip_exp": "fp32",
}


@needs_triton
@pytest.mark.parametrize("options", [[], list(OPTIONAL)], ids=["plain", "all options"])
@pytest.mark.parametrize(
    "rounding, dtype", [("nearest", "float32"), ("compensated", "bfloat16"), ("stochastic", "float16")]
)
@pytest.mark.parametrize("capability", [80, 90])
def test_the_step_kernel_compiles_for_gpus_and_moves_16_bytes_at_a_time(
    capability, rounding, dtype, options, tmp_path, monkeypatch
):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from shim.adopt.triton_kernels import BLOCK, step_kernel, tl

    ptx = compiled(
        step_kernel,
        capability,
        {"table": "*i64", "owners": "*i64", "n": "i32", **{name: OPTIONAL[name] for name in options}},
        {
            **{name: None for name in OPTIONAL if name not in options},
            "decouple": False,
            "maximize": True,
            "param_dtype": getattr(tl, dtype),
            "grad_dtype": getattr(tl, dtype),
            "state_dtype": tl.float32,
            "rounding": rounding,
            "smallest_normal": 2.0**-126,
            "epsilon": 2.0**-7,
            "largest": 3e38,
            "block": BLOCK,
        },
    )

    assert "ld.global.v4.b32" in ptx and "st.global.v4.b32" in ptx


@needs_triton
@pytest.mark.parametrize("options", [[], ["found_inf"], ["nonzero"], ["found_inf", "nonzero", "lr_tensor"]])
def test_the_count_kernel_compiles_for_gpus(options, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from shim.adopt.triton_kernels import count_kernel

    types = {"table": "*i64", "n": "i32", "lr": "fp32", **{name: OPTIONAL[name] for name in options}}
    off = {name: None for name in ("found_inf", "nonzero", "lr_tensor") if name not in options}

    assert "st.global.b32" in compiled(count_kernel, 90, types, {"block": 256, **off})


@needs_triton
@pytest.mark.parametrize("options", [[], ["lr_tensor"]], ids=["number", "tensor"])
def test_the_kernel_that_looks_for_zeros_compiles_for_gpus(options, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from shim.adopt.triton_kernels import BLOCK, nonzero_kernel, tl

    types = {"table": "*i64", "owners": "*i64", "n": "i32", "nonzero": "*i32", "lr_tensor": "*fp32"}
    off = {} if options else {"lr_tensor": None}

    assert "st.global.b32" in compiled(nonzero_kernel, 90, types, {"grad_dtype": tl.float32, "block": BLOCK, **off})


def compiled(kernel, capability, types, constants):
    """Compile for an NVIDIA GPU of a compute capability, and return the intermediate PTX."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    names = kernel.arg_names
    source = ASTSource(
        kernel,
        signature={name: "constexpr" if name in constants else types.get(name, "fp32") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
    )
    done = compile(source, target=GPUTarget("cuda", capability, 32), options={"enable_fp_fusion": False})
    assert len(done.asm["cubin"]) > 0
    return done.asm["ptx"]
