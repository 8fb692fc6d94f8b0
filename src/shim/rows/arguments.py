"""Arguments that have another place or another name now, or are keywords only."""

from __future__ import annotations

from typing import Any, Callable

from ..registry import installed_release
from ..releases import is_in
from .messages import IN_THIS_LINE
from .row import advice, argument, renamed


def _never(given: Any) -> bool:
    return False


def _is_torch(releases: str) -> bool:
    torch = installed_release("torch")
    return torch is not None and is_in(torch.numbers, releases)


def _call(original: Any, *args: Any, **kwargs: Any) -> Any:
    return original(*args, **kwargs)


def _by_position(
    path: str, at: int, names: str, is_new: Callable[[Any], bool] = _never, then: Any = _call, **facts: Any
) -> None:
    """Make a row of arguments that old programs gave by position.

    Args:
        path: the function. A constructor's position 0 is ``self``.
        at: the first position at which the signatures differ.
        names: the names of the old signature from there on.
        is_new: says of the argument at that position that the call was written for the newer signature.
        then: the function of another row, which knows what became of one of the names.
        facts: see ``row``.
    """
    old = names.split()

    def call(original: Any, *args: Any, **kwargs: Any) -> Any:
        given = args[at:]
        if not given or len(given) > len(old) or is_new(given[0]):
            return original(*args, **kwargs)
        return then(original, *args[:at], **dict(zip(old, given)), **kwargs)

    argument(path, **facts)(call)


@argument(
    "torch.autograd.gradcheck:gradcheck",
    called="torch.autograd.gradcheck.gradcheck.check_sparse_nnz",
    works="<2.3",
    says=r"\bgradcheck\(\) got an unexpected keyword argument 'check_sparse_nnz'",
    example="""
import torch
x = torch.ones(3, dtype=torch.double, requires_grad=True)
print(torch.autograd.gradcheck(torch.exp, (x,), check_sparse_nnz=False))
""",
)
def masked(original: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.autograd.gradcheck took check_sparse_nnz up to 2.2, now masked."""
    # https://github.com/pytorch/pytorch/blob/v2.2.2/torch/autograd/gradcheck.py#L1967
    if "check_sparse_nnz" in kwargs and _is_torch(">=2.3"):
        kwargs["masked"] = kwargs.pop("check_sparse_nnz")
    return original(*args, **kwargs)


# https://github.com/pytorch/pytorch/blob/v1.9.1/torch/autograd/gradcheck.py#L1153
_by_position(
    "torch.autograd.gradcheck:gradcheck",
    2,
    "eps atol rtol raise_exception check_sparse_nnz nondet_tol check_undefined_grad check_grad_dtypes "
    "check_batched_grad check_forward_ad fast_mode",
    then=masked,
    works="<1.10",
    reason="gradcheck took eps, atol and the rest by position up to 1.9",
    says=r"\bgradcheck\(\) takes 2 positional arguments but \d+ were given",
    example="""
import torch
from torch.autograd import gradcheck
x = torch.ones(3, dtype=torch.double, requires_grad=True)
print(gradcheck(torch.exp, (x,), 1e-6, 1e-4), gradcheck(torch.sin, [x], 1e-6, 1e-4, 1e-3, True, False))
""",
)
_by_position(
    "torch.autograd.gradcheck:gradgradcheck",
    3,
    "eps atol rtol gen_non_contig_grad_outputs raise_exception nondet_tol check_undefined_grad check_grad_dtypes "
    "check_batched_grad fast_mode",
    works="<1.10",
    reason="gradgradcheck took eps, atol and the rest by position up to 1.9",
    says=r"\bgradgradcheck\(\) takes from 2 to 3 positional arguments but \d+ were given",
    example="""
import torch
from torch.autograd import gradgradcheck
x = torch.ones(3, dtype=torch.double, requires_grad=True)
print(gradgradcheck(torch.exp, (x,), None, 1e-6, 1e-4))
""",
)


@argument(
    "torch.autograd.profiler:profile.__init__",
    "torch.profiler.profiler:profile.__init__",
    called="profiler.profile.use_cuda",
    works="<2.14",
    says=rf"\bprofile(\({IN_THIS_LINE}TypeError: |\.)__init__\(\) got an unexpected keyword argument 'use_cuda'",
    example="""
import torch
def finds_add(profile):
    with profile(use_cuda=False) as profiled:
        torch.ones(2) + 1
    return any("add" in each.key for each in profiled.key_averages())
older = torch.autograd.profiler
print(finds_add(older.profile), finds_add(getattr(torch, "profiler", older).profile))  # torch.profiler came with 1.8
""",
)
def use_cuda(original: Any, *args: Any, **kwargs: Any) -> Any:
    """The profilers took use_cuda up to 2.13; autograd.profiler takes use_device now, and torch.profiler activities."""
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/autograd/profiler.py#L235
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/profiler/profiler.py#L950
    wanted = kwargs.pop("use_cuda", None) if _is_torch(">=2.14") else None
    if wanted is not None and original.__module__ == "torch.profiler.profiler":
        from torch import profiler

        cuda = profiler.ProfilerActivity.CUDA
        others = set(kwargs.get("activities") or profiler.supported_activities()) - {cuda}  # type: ignore[no-untyped-call]
        kwargs["activities"] = others | {cuda} if wanted else others
    elif wanted:
        kwargs["use_device"] = "cuda"
    return original(*args, **kwargs)


# https://github.com/pytorch/pytorch/blob/v1.7.1/torch/autograd/profiler.py#L388
_by_position(
    "torch.autograd.profiler:profile.__init__",
    2,
    "use_cuda record_shapes profile_memory with_stack",
    then=use_cuda,
    works="<1.8",
    reason="autograd.profiler.profile took use_cuda and the rest by position up to 1.7",
    called="torch.autograd.profiler.profile",
    says=(
        rf"\bprofile(\({IN_THIS_LINE}TypeError: |\.)__init__\(\) takes from 1 to 2 positional "
        r"arguments but \d+ were given"
    ),
    example="""
import torch
with torch.autograd.profiler.profile(True, False, True) as profiled:
    torch.ones(2, 3) @ torch.ones(3, 2)
print(any([[2, 3], [3, 2]] == [list(shape) for shape in each.input_shapes] for each in profiled.function_events))
""",
)


# https://github.com/pytorch/pytorch/blob/v2.4.1/torch/onnx/utils.py#L189. Without an example, because that needs the
# package onnx. The arguments behind these have other places in each release.
_by_position(
    "torch.onnx:export",
    3,
    "export_params verbose training input_names output_names",
    works="<2.5",
    called="torch.onnx.export.by position",
    reason="torch.onnx.export took export_params, verbose, training and the names by position up to 2.4",
    says=r"\bexport\(\) takes from 1 to 3 positional arguments but \d+ were given",
    only_if="the function is torch.onnx.export",
)

# https://github.com/pytorch/pytorch/blob/v2.6.0/torch/utils/cpp_extension.py#L1623
_by_position(
    "torch.utils.cpp_extension:load_inline",
    3,
    "functions extra_cflags extra_cuda_cflags extra_ldflags extra_include_paths build_directory verbose with_cuda "
    "is_python_module with_pytorch_error_handling keep_intermediates use_pch",
    works="<2.7",
    reason="load_inline took functions as its fourth argument up to 2.6; sycl_sources is there now",
)
# https://github.com/pytorch/pytorch/blob/v2.6.0/torch/utils/cpp_extension.py#L1288
_by_position(
    "torch.utils.cpp_extension:load",
    4,
    "extra_ldflags extra_include_paths build_directory verbose with_cuda is_python_module is_standalone "
    "keep_intermediates",
    works="<2.7",
    reason="cpp_extension.load took extra_ldflags as its fifth argument up to 2.6; extra_sycl_cflags is there now",
)


@argument(
    "torch.utils.cpp_extension:include_paths",
    "torch.utils.cpp_extension:library_paths",
    called="torch.utils.cpp_extension.include_paths.cuda",
    works="<2.6",
    says=r"\b(include|library)_paths\(\) got an unexpected keyword argument 'cuda'",
    example="""
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()):  # older releases print which CUDA they find
    from torch.utils.cpp_extension import include_paths, library_paths
print(len(include_paths(cuda=False)) > 1, include_paths(False) == include_paths(), len(library_paths(False)) > 0)
""",
)
def device_type(original: Any, *args: Any, **kwargs: Any) -> Any:
    """include_paths and library_paths took a bool for CUDA up to 2.5, now the type of the device."""
    # https://github.com/pytorch/pytorch/blob/v2.5.1/torch/utils/cpp_extension.py#L1142
    given = kwargs.pop("cuda") if "cuda" in kwargs else args[0] if args else None
    if isinstance(given, bool):
        args = ("cuda" if given else "cpu", *args[1:])
    return original(*args, **kwargs)


# https://github.com/pytorch/pytorch/blob/v2.6.0/torch/nn/parallel/distributed.py#L632
_by_position(
    "torch.nn.parallel.distributed:DistributedDataParallel.__init__",
    6,
    "process_group bucket_cap_mb find_unused_parameters check_reduction gradient_as_bucket_view static_graph",
    lambda given: isinstance(given, bool),
    called="DistributedDataParallel.process_group",
    works="<2.7",
    reason="DistributedDataParallel took process_group as its sixth argument up to 2.6; init_sync is there now",
    example="""
import tempfile, torch
torch.distributed.init_process_group("gloo", "file://" + tempfile.mktemp(), rank=0, world_size=1)
group = torch.distributed.new_group([0])
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1), None, None, 0, True, group, 12)
print(model.process_group is group, model.bucket_bytes_cap == 12 * 1024 * 1024)
""",
)
# https://github.com/pytorch/pytorch/blob/v2.0.1/torch/optim/swa_utils.py#L98
_by_position(
    "torch.optim.swa_utils:AveragedModel.__init__",
    4,
    "use_buffers",
    lambda given: not isinstance(given, bool),
    called="AveragedModel.use_buffers",
    works=">=1.11,<2.1",
    versions=">=2.1",
    reason="AveragedModel took use_buffers as its fourth argument up to 2.0; multi_avg_fn is there now",
    example="""
import torch
averaged = torch.optim.swa_utils.AveragedModel(torch.nn.BatchNorm1d(1), None, None, True)
print(averaged.use_buffers)
""",
)
# https://github.com/pytorch/pytorch/blob/v1.10.2/torch/autocast_mode.py#L126
_by_position(
    "torch.amp.autocast_mode:autocast.__init__",
    2,
    "enabled",
    lambda given: not isinstance(given, bool),
    called="torch.autocast.enabled",
    works=">=1.10,<1.11",
    versions=">=1.13",
    reason="torch.autocast of 1.10 took enabled as its second argument; dtype is there since 1.11",
    example="""
import torch
with torch.autocast("cpu", True):
    print((torch.ones(1, 1) @ torch.ones(1, 1)).dtype)
with torch.autocast("cpu", False):
    print((torch.ones(1, 1) @ torch.ones(1, 1)).dtype)
""",
)


renamed(
    "torch.nn.modules.container:ParameterList.__init__",
    now={"parameters": "values"},
    called="ParameterList.parameters",
    works="<1.12",
    reason="ParameterList took parameters up to 1.11, now values",
    says=rf"ParameterList(\({IN_THIS_LINE}TypeError: |\.)__init__\(\) got an unexpected keyword argument 'parameters'",
    example="""
import torch
print(len(torch.nn.ParameterList(parameters=[torch.nn.Parameter(torch.ones(1))])))
""",
)
renamed(
    "torch.hub:load",
    now={"github": "repo_or_dir"},
    called="torch.hub.load.github",
    works="<1.7",
    reason="torch.hub.load called its first argument github up to 1.6, now repo_or_dir",
    says=r"\bload\(\) missing 1 required positional argument: 'repo_or_dir'",
    example="""
import tempfile, torch
directory = tempfile.mkdtemp()
with open(directory + "/hubconf.py", "w") as file:
    file.write("def twice(x):\\n    return 2 * x\\n")
torch.hub._get_cache_or_reload = lambda *args, **kwargs: directory  # nothing is downloaded
print(torch.hub.load(github="owner/name", model="twice", x=3))
""",
)
renamed(
    "torch:use_deterministic_algorithms",
    now={"d": "mode"},
    called="torch.use_deterministic_algorithms.d",
    works=">=1.8,<1.9",
    versions=">=1.9",
    reason="use_deterministic_algorithms of 1.8 called its argument d, now mode",
    says=r"use_deterministic_algorithms\(\) got an unexpected keyword argument 'd'",
    example="""
import torch
torch.use_deterministic_algorithms(d=True)
print(torch.are_deterministic_algorithms_enabled())
""",
)
advice(
    "positional-only",
    "The first argument of these functions has no name since torch 2.5, and no patch gives it back: they are called "
    "too often. Write torch.is_tensor(x) instead of torch.is_tensor(obj=x), and torch.set_default_dtype(dtype) "
    "instead of torch.set_default_dtype(d=dtype).",
    (
        r"\b(is_tensor|is_storage|set_default_dtype|set_default_tensor_type|set_warn_always)\(\) got some "
        r"positional-only arguments passed as keyword arguments",
        r"\btypename\(\) got an unexpected keyword argument 'o'",
    ),
    works="<2.5",
)
