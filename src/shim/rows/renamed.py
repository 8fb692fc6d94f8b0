"""Names of torch that have another name, or are in another module, now."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .messages import gone, lost
from .row import module, name, names


@module(
    "torch.tensor",
    works="<1.9",
    # The attribute torch.tensor is the function, and stays so.
    says=r"No module named 'torch\.tensor'",
    example="""
from torch.tensor import Tensor
import torch, torch.tensor
print(Tensor is torch.Tensor, torch.tensor([1]).tolist())
""",
)
def tensor() -> dict[str, Any]:
    """The module torch.tensor has been torch._tensor since 1.9."""
    return _public_and_private("torch._tensor")


@module(
    "torch._overrides",
    works=">=1.5,<1.7",
    versions=">=1.7",
    says=gone("torch._overrides"),
    example="""
import torch
from torch._overrides import get_ignored_functions, has_torch_function
print(has_torch_function((torch.ones(2),)), torch.tensor in get_ignored_functions())
""",
)
def overrides() -> dict[str, Any]:
    """torch._overrides has been torch.overrides since 1.7."""
    return _public_and_private("torch.overrides")


def _public_and_private(module: str) -> dict[str, Any]:
    return {key: value for key, value in vars(import_module(module)).items() if not key.startswith("__")}


@names(
    "torch._utils_internal",
    called="torch._utils_internal.get_source_lines_and_file",
    works=">=1.4,<1.10",
    says=lost("torch._utils_internal", "get_source_lines_and_file"),
    example="""
import os
import textwrap
from torch._utils_internal import get_source_lines_and_file
lines, first, path = get_source_lines_and_file(textwrap.dedent)
print(lines[0].strip(), first > 1, os.path.basename(path))
""",
)
def utils_internal() -> dict[str, Any]:
    """get_source_lines_and_file has been in torch._sources since 1.10."""
    return {"get_source_lines_and_file": import_module("torch._sources").get_source_lines_and_file}


@names(
    "torch.autograd.gradcheck",
    called="torch.autograd.gradcheck.zero_gradients",
    works="<1.9",
    says=lost("torch.autograd.gradcheck", "container_abcs", "istuple", "iter_tensors", "zero_gradients"),
    example="""
import torch
from torch.autograd.gradcheck import iter_tensors, zero_gradients
x, y, z = (torch.ones(2, requires_grad=True) for _ in range(3))
(x * y * 3).sum().backward()
zero_gradients(x)
zero_gradients(z)
print(x.grad.tolist(), y.grad.tolist(), z.grad)
zero_gradients([(y, z)])
print(y.grad.tolist(), len(list(iter_tensors([x, (y, torch.ones(1))], only_requiring_grad=True))))
""",
)
def gradcheck() -> dict[str, Any]:
    """torch.autograd.gradcheck had zero_gradients and iter_tensors up to 1.8."""
    import collections.abc

    import torch

    def zero_gradients(x: Any) -> None:
        if isinstance(x, torch.Tensor):
            if x.grad is not None:
                x.grad.detach_()
                x.grad.zero_()
        elif isinstance(x, collections.abc.Iterable):
            for each in x:
                zero_gradients(each)

    def iter_tensors(x: Any, only_requiring_grad: bool = False) -> Any:
        if isinstance(x, torch.Tensor):
            if x.requires_grad or not only_requiring_grad:
                yield x
        elif isinstance(x, collections.abc.Iterable) and not isinstance(x, str):
            for each in x:
                yield from iter_tensors(each, only_requiring_grad)

    return {
        "container_abcs": collections.abc,
        "istuple": lambda obj: isinstance(obj, tuple),
        "iter_tensors": iter_tensors,
        "zero_gradients": zero_gradients,
    }


_DETERMINISTIC = ("is_deterministic", "set_deterministic")


@names(
    "torch",
    called="torch.set_deterministic",
    works=">=1.7,<1.10",
    versions=">=1.8",
    says=lost("torch", *_DETERMINISTIC),
    example="""
import torch
torch.set_deterministic(True)
print(torch.is_deterministic())
torch.set_deterministic(d=False)
print(torch.is_deterministic())
""",
)
def deterministic() -> dict[str, Any]:
    """set_deterministic became use_deterministic_algorithms."""
    import torch

    def set_deterministic(d: bool) -> None:
        torch.use_deterministic_algorithms(d)

    return {"set_deterministic": set_deterministic, "is_deterministic": torch.are_deterministic_algorithms_enabled}


@names(
    "torch.hub",
    called="torch.hub._download_url_to_file",
    works="<1.12",
    says=lost("torch.hub", "_download_url_to_file", "import_module"),
    example="""
from torch import hub
print(callable(hub._download_url_to_file), hub.HASH_REGEX.search("resnet18-5c106cde.pth").group(1))
""",
)
def hub() -> dict[str, Any]:
    """_download_url_to_file is now download_url_to_file, and import_module is _import_module."""
    import torch.hub

    there: Any = torch.hub
    found = {
        "_download_url_to_file": there.download_url_to_file,
        "import_module": getattr(there, "_import_module", None),
    }
    return {key: value for key, value in found.items() if value is not None}


@names(
    "torch._inductor.utils",
    called="torch._inductor.utils.has_triton",
    works=">=2.0,<2.2",
    versions=">=2.2",
    says=lost("torch._inductor.utils", "has_triton"),
    example="from torch._inductor.utils import has_triton\nprint(has_triton() in (True, False))",
)
def has_triton() -> dict[str, Any]:
    """has_triton has been in torch.utils._triton since 2.2."""
    return {"has_triton": import_module("torch.utils._triton").has_triton}


_OF_GRAD_SCALER = ("OptState", "_MultiDeviceReplicator", "_refresh_per_optimizer_state")


@names(
    "torch.cuda.amp.grad_scaler",
    called="torch.cuda.amp.grad_scaler._refresh_per_optimizer_state",
    works=">=1.6,<2.3",
    versions=">=2.3",
    says=lost("torch.cuda.amp.grad_scaler", *_OF_GRAD_SCALER),
    example="""
import torch
from torch.cuda.amp.grad_scaler import OptState, _MultiDeviceReplicator, _refresh_per_optimizer_state
print(_refresh_per_optimizer_state() == {"stage": OptState.READY, "found_inf_per_device": {}}, OptState.STEPPED.value)
print(callable(_MultiDeviceReplicator))
""",
)
def grad_scaler() -> dict[str, Any]:
    """What fairscale takes from torch.cuda.amp.grad_scaler has been in torch.amp.grad_scaler since 2.3."""
    here = import_module("torch.amp.grad_scaler")
    return {each: getattr(here, each) for each in _OF_GRAD_SCALER}


@name(
    "torch.autograd.profiler_util:FunctionEventAvg.__getattr__",
    "torch.autograd.profiler_util:FunctionEvent.__getattr__",
    called="cuda_time_total",
    works="<2.4",
    says=r"'FunctionEvent(?:Avg)?' object has no attribute '(self_)?cuda_(time(_total)?(_str)?|memory_usage)'",
    example="""
import torch
with torch.autograd.profiler.profile() as profile:
    torch.ones(1) + 1
for event in [profile.key_averages()[0], profile.function_events[0]]:
    print(float(event.cuda_time_total), float(event.cuda_time), event.cuda_time_total_str)
    print(event.self_cpu_time_total >= 0, hasattr(event, "cudas"))
""",
)
def of_the_device(event: Any, attribute: str) -> Any:
    """cuda_time_total and the like, which the profiler measures, are called device_time_total since 2.4."""
    now = attribute.replace("cuda_", "device_")
    if now != attribute and not attribute.startswith("__"):
        return getattr(event, now)
    raise AttributeError(f"{type(event).__name__!r} object has no attribute {attribute!r}")


#: Names that modules of torch imported from torch._six, and programs from these modules: module, name, last release.
_TAKEN = (
    ("torch.utils.data._utils.collate", "container_abcs", "<1.9"),
    ("torch.utils.data._utils.collate", "int_classes", "<1.9"),
    ("torch.utils.data._utils.pin_memory", "container_abcs", "<1.9"),
    ("torch.utils.data.sampler", "_int_classes", "<1.9"),
    ("torch.utils.data._utils.collate", "string_classes", "<2.0"),
    ("torch.utils.data._utils.pin_memory", "string_classes", "<2.0"),
    ("torch.utils.data.dataloader", "string_classes", "<2.0"),
    ("torch.serialization", "_string_classes", "<2.0"),
)


def _taken_from_six(place: str, taken: str, works: str) -> None:
    def give() -> dict[str, Any]:
        """A module of torch imported this name from torch._six, and programs imported it from that module."""
        from .moved import torch_six

        return {taken: torch_six()[taken.lstrip("_")]}

    called = f"{place}.{taken}"
    example = f"from {place} import {taken}\nprint(isinstance([], getattr({taken}, 'Sequence', {taken})))"
    names(place, called=called, works=works, says=lost(place, taken), example=example)(give)


for _taken in _TAKEN:
    _taken_from_six(*_taken)


def _of_types(place: str) -> None:
    def give() -> dict[str, Any]:
        """The type variable T_co has had an underscore since 2.5."""
        return {"T_co": vars(import_module(place))["_T_co"]}

    names(
        place,
        called=f"{place}.T_co",
        works=">=1.7,<2.5",
        versions=">=2.5",
        says=lost(place, "T_co"),
        example=f"from {place} import T_co\nprint(T_co.__covariant__)",
    )(give)


for _place in ("torch.utils.data.dataset", "torch.utils.data.sampler"):
    _of_types(_place)
