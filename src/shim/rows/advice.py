"""Breakages that no patch can mend: what to do."""

from __future__ import annotations

from .row import advice

advice(
    "THC headers",
    "THC/THC.h is gone since 1.11. Include ATen/cuda/CUDAContext.h and c10/cuda/CUDAException.h, and write "
    "C10_CUDA_CHECK for THCudaCheck and at::ceil_div for THCCeilDiv; or build the extension with torch 1.10.",
    r"fatal error: THC/\w+\.c?u?h: No such file or directory",
    works="<1.11",
)
