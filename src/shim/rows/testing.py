"""torch.testing: the groups of dtypes, and helpers of torch's own tests that programs use."""

from __future__ import annotations

from typing import Any

from .messages import lost
from .row import names

_GROUPS = (
    "all_types",
    "all_types_and",
    "all_types_and_complex",
    "all_types_and_complex_and",
    "all_types_and_half",
    "complex_types",
    "double_types",
    "empty_types",
    "floating_and_complex_types",
    "floating_and_complex_types_and",
    "floating_types",
    "floating_types_and",
    "floating_types_and_half",
    "get_all_complex_dtypes",
    "get_all_fp_dtypes",
    "get_all_int_dtypes",
    "integral_types",
    "integral_types_and",
)
_OLDER = (
    "get_all_device_types",
    "get_all_dtypes",
    "get_all_math_dtypes",
    "make_non_contiguous",
    "rand_like",
    "randn_like",
)


@names(
    "torch.testing",
    called="torch.testing.floating_types",
    works=">=1.7,<2.0",
    versions=">=1.7",
    says=lost("torch.testing", *_GROUPS, "rand", "randn", "is_integral", "is_quantized"),
    example="""
from torch import testing
import torch
print(testing.floating_types(), testing.floating_types_and(torch.half), testing.integral_types()[0])
print(testing.all_types_and_complex_and(torch.bool), testing.get_all_fp_dtypes(), testing.get_all_int_dtypes())
""",
)
def groups() -> dict[str, Any]:
    """The groups of dtypes of torch.testing are internal to torch since 2.0."""
    import torch
    from torch.testing._internal import common_dtype

    here: Any = common_dtype
    found = {each: getattr(here, each, None) for each in _GROUPS}
    found.update(rand=torch.rand, randn=torch.randn, is_integral=_is_integral, is_quantized=_is_quantized)
    return {key: value for key, value in found.items() if value is not None}


def _is_integral(dtype: Any) -> bool:
    import torch

    return dtype in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def _is_quantized(dtype: Any) -> bool:
    import torch

    return dtype in (torch.quint8, torch.qint8, torch.qint32, torch.quint4x2)


@names(
    "torch.testing",
    called="torch.testing.get_all_dtypes",
    works="<2.0",
    says=lost("torch.testing", *_OLDER),
    example="""
import torch
from torch import testing
print(torch.float32 in testing.get_all_dtypes(), torch.int8 in testing.get_all_math_dtypes("cpu"))
print(testing.get_all_device_types()[0])
x = torch.arange(6.0).reshape(2, 3)
y = testing.make_non_contiguous(x)
print(y.is_contiguous(), torch.equal(x, y), testing.make_non_contiguous(x[:1, :1]).tolist())
""",
)
def older() -> dict[str, Any]:
    """get_all_dtypes and make_non_contiguous of torch.testing are internal to torch since 2.0."""
    import random

    import torch
    from torch.testing._internal import common_dtype

    def make_non_contiguous(tensor: Any) -> Any:
        if tensor.numel() <= 1:
            return tensor.clone()
        size = [each + random.randint(4, 15) * random.randint(0, 1) for each in tensor.shape]
        wide = tensor.new_empty((*size, random.randint(2, 3)))[..., 0]
        for dim, (given, needed) in enumerate(zip(size, tensor.shape)):
            wide = wide.narrow(dim, random.randint(0, given - needed), needed)
        return wide.copy_(tensor)

    return {
        "get_all_device_types": lambda: ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"],
        "get_all_dtypes": common_dtype.get_all_dtypes,
        "get_all_math_dtypes": common_dtype.get_all_math_dtypes,
        "make_non_contiguous": make_non_contiguous,
        "rand_like": torch.rand_like,
        "randn_like": torch.randn_like,
    }
