"""The fused form on a GPU: one launch of a Triton kernel for all tensors of a group with the same dtypes."""

from __future__ import annotations

import array
import itertools
from typing import Any, Iterable, List, Sequence, Tuple

import torch
from torch import Tensor

from .low_precision import LOW_PRECISION
from .memory import PLAIN

try:
    import triton
    import triton.language as tl

    from . import triton_kernels as kernels
except ImportError as error:  # Triton comes with torch's CUDA builds only
    _NO_TRITON = f"fused=True on a GPU needs Triton, which comes with torch's CUDA builds: {error}"
else:
    _NO_TRITON = ""

Column = List[Tensor]
Table = Tuple[Tensor, Tensor]  # the table (see triton_kernels), and the column of the table for each program

# A cache of tables; the keys are everything that a table depends on. No training needs so many.
_tables: dict[tuple[object, ...], Table | None] = {}
_TABLES_KEPT = 64


def why_not(params: Iterable[Tensor]) -> str | None:
    """Say why the kernels cannot step `params`, or return None if they can."""
    if _NO_TRITON:
        return _NO_TRITON
    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 3):
        return f"fused=True on a GPU needs Triton 3.3 or later (torch 2.7), this is {triton.__version__}"
    try:
        torch.autograd.graph.increment_version([])
    except (AttributeError, TypeError, RuntimeError):
        return f"fused=True on a GPU needs a later torch, {torch.__version__} cannot mark tensors as changed"
    for param in map(_local, params):
        if type(param) not in PLAIN or param.layout != torch.strided:
            return f"fused=True takes dense tensors and DTensors, not {type(param).__name__} with {param.layout}"
        if param.dtype != torch.float32 and param.dtype not in LOW_PRECISION:
            return f"fused=True on a GPU takes float32, bfloat16 and float16, not {param.dtype}"
        if not param.is_cuda and not _interpreted():
            return f"Triton runs on a GPU, not on {param.device}"
    return None


def fused_step_(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    compensations: Sequence[Tensor | None],
    *,
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
    beta1: float,
    beta2: float,
    lr: float | Tensor,
    clip_exp: float | None,
    weight_decay: float,
    decouple: bool,
    eps: float,
    maximize: bool,
) -> None:
    """Perform one ADOPT step, in place, on `params` for which :func:`why_not` returns None.

    The host reads nothing from the device, so that a CUDA graph can capture the step.

    Raises:
        RuntimeError: a tensor has another shape or device than its parameter, or a state has the wrong dtype.

    """
    lists: list[Any] = [params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations]
    if any(hasattr(param, "to_local") for param in params):
        lists = [[_local(tensor, param) for tensor, param in zip(tensors, params)] for tensors in lists]
    launches: dict[Any, list[int]] = {}
    for i, (param, grad, exp_avg, _, _, compensation) in enumerate(zip(*lists)):
        key = (param.device, param.dtype, grad.dtype, exp_avg.dtype, compensation is not None)
        launches.setdefault(key, []).append(i)
    for (device, param_dtype, grad_dtype, state_dtype, compensated), positions in launches.items():
        columns = [[tensors[i] for i in positions] for tensors in lists]
        steps = columns.pop(4)
        widened = param_dtype in LOW_PRECISION and state_dtype == torch.float32
        finfo = torch.finfo(param_dtype)
        _launch(
            columns if compensated else columns[:4],
            steps,
            positions,
            found_inf=_on(device, found_inf),
            grad_scale=_on(device, grad_scale),
            lr_tensor=_on(device, lr) if isinstance(lr, Tensor) else None,
            lr=0.0 if isinstance(lr, Tensor) else float(lr),
            beta1=float(beta1),
            one_minus_beta1=1.0 - beta1,
            beta2=float(beta2),
            one_minus_beta2=1.0 - beta2,
            eps=float(eps),
            weight_decay=float(weight_decay) if weight_decay != 0 else None,
            clip_exp=float(clip_exp) if clip_exp is not None else None,
            decouple=decouple,
            maximize=maximize,
            param_dtype=_triton_dtype(param_dtype),
            grad_dtype=_triton_dtype(grad_dtype),
            state_dtype=_triton_dtype(state_dtype),
            rounding="compensated" if compensated else "stochastic" if widened else "nearest",
            smallest_normal=finfo.tiny,
            epsilon=finfo.eps,
            largest=finfo.max,
        )
    changed = itertools.chain(params, exp_avgs, exp_avg_sqs, state_steps, compensations)
    torch.autograd.graph.increment_version([tensor for tensor in changed if tensor is not None])


def _launch(
    columns: list[Column], steps: Column, positions: list[int], found_inf: Tensor | None, **settings: Any
) -> None:
    """Run the kernels on parameters (`columns[0]`), gradients, averages, squared averages and compensations."""
    ordered = _in_one_order(columns)
    table = _table_of(ordered, steps, positions)
    if table is None:  # tensors share memory: step one parameter after the other, as the other forms do
        for k, position in enumerate(positions):
            _launch([[column[k]] for column in columns], [steps[k]], [position], found_inf, **settings)
        return
    addresses, owners = table
    n = len(steps)
    lr_tensor, lr = settings["lr_tensor"], settings["lr"]
    nonzero = None  # needed only if lr may be 0, because a first step with lr 0 and a zero gradient does not count
    if lr_tensor is not None or lr == 0:
        nonzero = torch.zeros(n, dtype=torch.int32, device=steps[0].device)
    with torch.cuda.device_of(steps[0]):  # type: ignore[no-untyped-call]
        if len(owners) and nonzero is not None:
            grad_dtype = settings["grad_dtype"]
            kernels.nonzero_kernel[(len(owners),)](
                addresses, owners, n, lr_tensor, lr, nonzero, grad_dtype, block=kernels.BLOCK
            )
        if len(owners):
            # Without fused multiply-add, so that results are rounded as in the other forms.
            kernels.step_kernel[(len(owners),)](
                addresses, owners, n, found_inf=found_inf, nonzero=nonzero, **settings,
                block=kernels.BLOCK, num_warps=8, enable_fp_fusion=False,
            )  # fmt: skip
        kernels.count_kernel[(-(-n // 256),)](addresses, n, found_inf, lr_tensor, lr, nonzero, block=256)
    for column, copies in zip(columns, ordered):
        for tensor, copy in zip(column, copies):
            if copy is not tensor and column is not columns[1]:
                tensor.copy_(copy)


def _in_one_order(columns: list[Column]) -> list[Column]:
    """Return the columns, with contiguous copies of tensors that have gaps or another order than their parameter."""
    if all(all(map(Tensor.is_contiguous, column)) for column in columns):
        return columns
    orders = [torch.empty_like(param, device="meta").stride() for param in columns[0]]
    return [
        [
            tensor if tensor.stride() == order else torch.empty_like(param, dtype=tensor.dtype).copy_(tensor)
            for tensor, param, order in zip(column, columns[0], orders)
        ]
        for column in columns
    ]


def _table_of(columns: list[Column], steps: Column, positions: list[int]) -> Table | None:
    """Return the table of a launch, or None if some tensors share memory."""
    device = columns[0][0].device
    rows = [tuple(map(Tensor.data_ptr, column)) for column in columns]
    rows += [(0,) * len(steps)] * (5 - len(rows))  # no compensations
    rows += [tuple(map(Tensor.data_ptr, steps)), tuple(map(Tensor.numel, columns[0])), tuple(positions)]
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        # A graph may outlive this cache. So it captures the construction of its own table, and repeats it at each
        # replay.
        _check(columns, steps)
        return _table(rows, columns, device)
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    key = (device, stream, *rows)
    if key not in _tables:
        _check(columns, steps)
        if len(_tables) == _TABLES_KEPT:
            _tables.pop(next(iter(_tables)))
        _tables[key] = _table(rows, columns, device)
    return _tables[key]


def _table(rows: list[tuple[int, ...]], columns: list[Column], device: torch.device) -> Table | None:
    numels = rows[6]
    if len(numels) > 1 and _share_memory(
        rows[: len(columns)], [column[0].element_size() for column in columns], numels
    ):
        return None
    programs = [-(-numel // kernels.BLOCK) for numel in numels]
    first_programs = [0, *itertools.accumulate(programs)]
    total = first_programs.pop()
    table = _constants([*itertools.chain(*rows, first_programs, programs)], device)
    return table, torch.repeat_interleave(table[-len(programs) :], output_size=total)


def _constants(values: list[int], device: torch.device) -> Tensor:
    """Return `values` in a tensor, without waiting for the device."""
    if device.type != "cuda":
        return _int64(values)
    if not torch.cuda.is_current_stream_capturing():
        return _int64(values).pin_memory().to(device, non_blocking=True)
    # A graph would copy from the host's memory again at each replay. It keeps only the arguments of kernels.
    # https://github.com/pytorch/pytorch/pull/161583
    constants = torch.zeros(len(values), dtype=torch.int64, device=device)
    torch._foreach_add_(constants.unbind(), values)
    return constants


def _int64(values: list[int]) -> Tensor:
    # Several times as fast as torch.tensor.
    return torch.frombuffer(array.array("q", values), dtype=torch.int64)


def _share_memory(addresses: list[tuple[int, ...]], sizes: list[int], numels: tuple[int, ...]) -> bool:
    """Say whether some tensors share memory: sorted by address, one starts before the one in front of it ends."""
    starts, order = _int64([*itertools.chain(*addresses)]).sort()
    ends = starts + torch.outer(_int64(sizes), _int64([*numels])).flatten()[order]
    return bool((starts[1:] < ends[:-1]).any())


def _check(columns: list[Column], steps: Column) -> None:
    """Raise if a kernel would read or write beyond a tensor, or misread its dtype."""
    params, _, exp_avgs, exp_avg_sqs, *compensations = columns
    shapes = [param.shape for param in params]
    if any([tensor.shape for tensor in column] != shapes for column in columns):
        raise RuntimeError("fused=True needs gradients and state in the shape of their parameter")
    if any({*map(Tensor.get_device, column)} != {params[0].get_device()} for column in (*columns, steps)):
        raise RuntimeError(f"fused=True on a GPU needs gradients, state and state_steps there, on {params[0].device}")
    wide = {tensor.dtype for column in (steps, *compensations) for tensor in column}
    if wide != {torch.float32} or any(v.dtype != exp_avgs[0].dtype for v in exp_avg_sqs):
        raise RuntimeError("fused=True needs averages of one dtype, and steps and compensations in float32")


def _local(tensor: Any, param: Any = None) -> Any:
    """Return a tensor, or the local part of a DTensor, sharded like its parameter."""
    if not hasattr(tensor, "to_local"):
        return tensor
    if param is not None and tensor.shape == param.shape and tensor.placements != param.placements:
        tensor = tensor.redistribute(placements=param.placements)
    return tensor.to_local()


def _on(device: torch.device, tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _local(tensor).to(device, non_blocking=True)


def _triton_dtype(dtype: torch.dtype) -> Any:
    return getattr(tl, str(dtype).replace("torch.", ""))


def _interpreted() -> bool:
    """Say whether Triton was imported with TRITON_INTERPRET=1, which runs its kernels on any device."""
    return not isinstance(kernels.step_kernel, triton.JITFunction)
