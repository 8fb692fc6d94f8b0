"""torch.distributed and torch.nn.parallel: the launcher, elastic, and what mmcv reads of DistributedDataParallel."""

from __future__ import annotations

from typing import Any

from .messages import lost
from .row import argument, behaviour, module, name, names, row


@behaviour(
    "torch.distributed.run:config_from_args",
    called="--local_rank",
    works="<2.0",
    says=r"error: unrecognized arguments: --local-rank=\d+",
    example="""
import os, runpy, socket, sys, tempfile

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
with tempfile.TemporaryDirectory() as folder:
    script = os.path.join(folder, "train.py")
    with open(script, "w") as file:
        file.write("import argparse\\nparser = argparse.ArgumentParser()\\n")
        file.write("parser.add_argument('--local_rank', type=int)\\nprint(parser.parse_args())\\n")
    sys.argv = ["launch", "--nproc_per_node=1", "--master_port=%d" % port, script]
    runpy.run_module("torch.distributed.launch", run_name="__main__")
""",
)
def local_rank(original: Any, *args: Any, **kwargs: Any) -> Any:
    """torch.distributed.launch spelled the option that it gives the script --local_rank up to 1.13."""
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/distributed/launch.py#L107
    config, command, arguments = original(*args, **kwargs)
    option = "--local-rank="
    spelled = [
        "--local_rank=" + each[len(option) :] if isinstance(each, str) and each.startswith(option + "$") else each
        for each in arguments
    ]
    return config, command, spelled


@names(
    "torch.distributed.elastic.agent.server.api",
    called="elastic.log",
    works=">=1.9,<2.4",
    versions=">=1.9",
    says=r"cannot import name '(log|_get_socket_with_port)' from 'torch\.distributed\.elastic\.agent\.server\.api'",
    example="""
from torch.distributed.elastic.agent.server.api import _get_socket_with_port, log
with _get_socket_with_port() as free:
    print(free.getsockname()[1] > 0, log.name)
""",
)
def elastic() -> dict[str, Any]:
    """DeepSpeed takes log and _get_socket_with_port, which were removed in 2.4, from torchelastic's api."""
    # https://github.com/deepspeedai/DeepSpeed/blob/v0.14.0/deepspeed/elasticity/elastic_agent.py#L9
    import logging
    import socket

    def _get_socket_with_port() -> socket.socket:
        for family, kind, protocol, _, _ in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM):
            free = socket.socket(family, kind, protocol)
            try:
                free.bind(("localhost", 0))
                free.listen(0)
            except OSError:
                free.close()
            else:
                return free
        raise RuntimeError("Failed to create a socket")

    name = "torch.distributed.elastic.agent.server.api"
    return {"log": logging.getLogger(name), "_get_socket_with_port": _get_socket_with_port}


@argument(
    "torch.nn.parallel._functions:_get_stream",
    works="<2.1",
    note="run without a GPU",
    says=r"/torch/nn/parallel/_functions\.py\b(?:(?!\bFile ).)*AttributeError: 'int' object has no attribute 'type'",
    example="from torch.nn.parallel._functions import _get_stream\nprint(_get_stream(-1))",
)
def get_stream(original: Any, device: Any) -> Any:
    """_get_stream took the number of a GPU, or -1 for the CPU; mmcv 1.x gives it one."""
    # https://github.com/pytorch/pytorch/blob/v2.1.2/torch/nn/parallel/_functions.py#L114
    # https://github.com/open-mmlab/mmcv/blob/v1.7.2/mmcv/parallel/_functions.py#L75
    import torch

    if isinstance(device, int):
        device = torch.device("cpu") if device == -1 else torch.device("cuda", device)
    return original(device)


row(
    "name",
    ("torch.nn.parallel.distributed:DistributedDataParallel._use_replicated_tensor_module",),
    False,
    None,
    {
        "called": "DistributedDataParallel._use_replicated_tensor_module",
        # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/nn/parallel/distributed.py#L639
        # https://github.com/open-mmlab/mmcv/blob/v1.7.2/mmcv/parallel/distributed.py#L160
        "reason": "DistributedDataParallel had _use_replicated_tensor_module, a False, up to 2.0; mmcv 1.x reads it",
        "works": "<2.1",
        "says": r"DistributedDataParallel' object has no attribute '_use_replicated_tensor_module'",
        "example": """
import os, tempfile, torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

class MMDistributedDataParallel(DistributedDataParallel):
    def _run_ddp_forward(self, *inputs, **kwargs):
        module = self._replicated_tensor_module if self._use_replicated_tensor_module else self.module
        return module(*inputs, **kwargs)

with tempfile.TemporaryDirectory() as folder:
    distributed.init_process_group("gloo", init_method="file://" + os.path.join(folder, "x"), rank=0, world_size=1)
    linear = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.ones_(linear.weight)
    y = MMDistributedDataParallel(linear)(torch.ones(3, 2))
    y.sum().backward()
    print(y.tolist(), linear.weight.grad.tolist())
    # No destroy_process_group: up to 2.0 it may wait forever for a thread that waits for the GIL, see
    # https://github.com/pytorch/pytorch/issues/56297
""",
    },
)


@name(
    "torch.nn.parallel.distributed:DistributedDataParallel._sync_params",
    called="DistributedDataParallel._sync_params",
    works="<1.12",
    says=r"DistributedDataParallel' object has no attribute '_sync_params'",
    # No example, because a process of 1.7 or 1.8 with DistributedDataParallel may not end. tests/rows calls it.
)
def sync_params(self: Any) -> None:
    """_sync_params, which mmcv calls before a forward, has been _sync_buffers since 1.12."""
    # https://github.com/pytorch/pytorch/blob/v1.12.0/torch/nn/parallel/distributed.py#L1568
    # https://github.com/open-mmlab/mmcv/blob/v1.4.0/mmcv/parallel/distributed.py#L48
    if self._check_sync_bufs_pre_fwd():
        self._sync_buffers()


_C10D = "torch.distributed.distributed_c10d"


@argument(
    f"{_C10D}:_object_to_tensor",
    called="_object_to_tensor",
    works=">=1.7,<1.13",
    versions=">=1.13",
    says=r"_object_to_tensor\(\) missing \d required positional arguments?: ('device' and )?'group'|"
    r"_object_to_tensor\(\) missing 1 required positional argument: 'device'",
    example="""
from torch.distributed.distributed_c10d import _object_to_tensor
tensor, size = _object_to_tensor([1, "a"])
print(tensor.dtype, size.tolist() == [tensor.numel()])
""",
)
def object_to_tensor(original: Any, obj: Any, device: Any = None, group: Any = None) -> Any:
    """_object_to_tensor took only the object up to 1.12, and the object and the device up to 2.2."""
    # https://github.com/pytorch/pytorch/blob/v1.12.1/torch/distributed/distributed_c10d.py#L1557
    import inspect

    given = {"device": "cpu" if device is None else device, "group": group}
    return original(obj, **{key: given[key] for key in inspect.signature(original).parameters if key in given})


@argument(
    f"{_C10D}:_object_to_tensor",
    called="_object_to_tensor of a device",
    works=">=1.13,<2.3",
    versions=">=2.3",
    example="""
import torch
from torch.distributed.distributed_c10d import _object_to_tensor
tensor, size = _object_to_tensor([1, "a"], torch.device("cpu"))
print(tensor.dtype, size.tolist() == [tensor.numel()])
""",
)
def object_to_tensor_on_a_device(original: Any, obj: Any, device: Any, group: Any = None) -> Any:
    """_object_to_tensor took the object and the device from 1.13 to 2.2."""
    # https://github.com/pytorch/pytorch/blob/v2.2.2/torch/distributed/distributed_c10d.py#L2108
    return original(obj, device, group)


@argument(
    f"{_C10D}:_tensor_to_object",
    called="_tensor_to_object",
    works=">=1.7,<2.3",
    versions=">=1.7",
    example="""
import pickle, torch
from torch.distributed.distributed_c10d import _tensor_to_object
data = pickle.dumps([1, "a"])
print(_tensor_to_object(torch.tensor(list(data), dtype=torch.uint8), len(data)))
""",
)
def tensor_to_object(original: Any, tensor: Any, tensor_size: Any, group: Any = None) -> Any:
    """_tensor_to_object took the tensor and its size up to 2.2."""
    # https://github.com/pytorch/pytorch/blob/v2.2.2/torch/distributed/distributed_c10d.py#L2120
    return original(tensor, tensor_size, group)


@names(
    _C10D,
    called="_default_pg",
    works="<1.8",
    says=(
        rf"cannot import name '_(check_)?default_pg' from '{_C10D}'",
        rf"module '{_C10D}' has no attribute '_(check_)?default_pg'",
    ),
    example="""
import os, tempfile
from torch import distributed
from torch.distributed import distributed_c10d

print(distributed_c10d._default_pg)
with tempfile.TemporaryDirectory() as folder:
    distributed.init_process_group("gloo", init_method="file://" + os.path.join(folder, "x"), rank=0, world_size=1)
    distributed_c10d._check_default_pg()
    print(distributed_c10d._default_pg is not None, distributed.get_world_size(distributed_c10d._default_pg))
    distributed.destroy_process_group()
print(distributed_c10d._default_pg, hasattr(distributed_c10d, "_no_such_name"))
""",
)
def default_pg() -> dict[str, Any]:
    """_default_pg was the group of all processes, which _get_default_group returns since 1.8."""
    # https://github.com/pytorch/pytorch/blob/v1.7.1/torch/distributed/distributed_c10d.py#L153
    # https://github.com/pytorch/pytorch/blob/v1.8.1/torch/distributed/distributed_c10d.py#L342
    from torch.distributed import distributed_c10d

    def now() -> Any:
        return distributed_c10d.GroupMember.WORLD if distributed_c10d.is_initialized() else None

    def _check_default_pg() -> None:
        assert now() is not None, "Default process group is not initialized"

    def __getattr__(attribute: str) -> Any:
        if attribute == "_default_pg":
            return now()
        raise AttributeError(f"module {distributed_c10d.__name__!r} has no attribute {attribute!r}")

    return {"__getattr__": __getattr__, "_check_default_pg": _check_default_pg}


@module(
    "torch.distributed.fsdp.flat_param",
    works=">=1.13,<2.2",
    versions=">=2.2",
    says=(
        r"No module named 'torch\.distributed\.fsdp\.flat_param'",
        r"cannot import name 'flat_param' from 'torch\.distributed\.fsdp'",
    ),
    example="""
import torch.distributed.fsdp.flat_param
from torch.distributed.fsdp.flat_param import FlatParameter, FlatParamHandle
print(issubclass(FlatParameter, torch.nn.Parameter), FlatParamHandle.__name__)
""",
)
def flat_param() -> dict[str, Any]:
    """torch.distributed.fsdp.flat_param has an underscore since 2.2."""
    from importlib import import_module

    held = vars(import_module("torch.distributed.fsdp._flat_param"))
    return {key: value for key, value in held.items() if not key.startswith("__")}


@argument(
    "torch.distributed.launcher.api:LaunchConfig.__init__",
    called="LaunchConfig",
    works=">=1.9,<2.3",
    versions=">=2.3",
    says=(
        r"LaunchConfig\.__init__\(\) got an unexpected keyword argument '(log_dir|redirects|tee)'",
        r"LaunchConfig\((?:(?!\bFile |Error: ).)*TypeError: __init__\(\) got an unexpected keyword argument "
        r"'(log_dir|redirects|tee)'",
    ),
    example="""
from torch.distributed.elastic.multiprocessing import Std
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

def work(a):
    print("worked")
    return a + 1

config = LaunchConfig(1, 1, 1, "run", rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
                      start_method="fork", redirects=Std.NONE, tee=Std.NONE, monitor_interval=0.1)
print(config.run_id, elastic_launch(config, work)(2))
""",
)
def launch_config(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """LaunchConfig took log_dir, redirects and tee up to 2.2, which logs_specs holds since."""
    # https://github.com/pytorch/pytorch/blob/v2.3.1/torch/distributed/launcher/api.py#L70
    from torch.distributed.elastic import multiprocessing

    logs = {key: kwargs.pop(key) for key in ("log_dir", "redirects", "tee") if key in kwargs}
    if len(args) > 3 and isinstance(args[3], str):  # run_id, from before logs_specs was inserted in front of it
        args = (*args[:3], None, *args[3:])
    if logs:
        specs = multiprocessing.DefaultLogsSpecs(**logs)
        if len(args) > 3:
            args = (*args[:3], specs, *args[4:])
        else:
            kwargs["logs_specs"] = specs
    original(self, *args, **kwargs)


_MULTIGPU = [f"{each}_multigpu" for each in ("all_gather", "all_reduce", "broadcast", "reduce", "reduce_scatter")]


@names(
    "torch.distributed",
    called="multigpu",
    works="<2.2",
    says=lost("torch.distributed", *_MULTIGPU),
    example="""
import tempfile, torch, torch.distributed as dist
dist.init_process_group("gloo", init_method="file://" + tempfile.mktemp(), rank=0, world_size=1)
x, y = torch.ones(2), torch.zeros(2)
print(dist.all_reduce_multigpu([x]), dist.broadcast_multigpu([x], 0), dist.reduce_multigpu([x], 0), x.tolist())
print(dist.all_reduce_multigpu([y], async_op=True) is None, y.tolist())
dist.destroy_process_group()
""",
)
def multigpu() -> dict[str, Any]:
    """The collectives over several GPUs of a process were removed in 2.2. This row serves one GPU for each process."""
    import torch.distributed as dist

    def only(tensors: Any) -> Any:
        if len(tensors) != 1:
            raise RuntimeError("with torch 2.2 and newer there is one GPU for each process: start them with torchrun")
        return tensors[0]

    added = dist.ReduceOp.SUM

    def all_reduce_multigpu(tensor_list: Any, op: Any = added, group: Any = None, async_op: bool = False) -> Any:
        return dist.all_reduce(only(tensor_list), op, group, async_op)

    def broadcast_multigpu(
        tensor_list: Any, src: int, group: Any = None, async_op: bool = False, src_tensor: int = 0
    ) -> Any:
        return dist.broadcast(only(tensor_list), src, group, async_op)

    def reduce_multigpu(
        tensor_list: Any, dst: int, op: Any = added, group: Any = None, async_op: bool = False, dst_tensor: int = 0
    ) -> Any:
        return dist.reduce(only(tensor_list), dst, op, group, async_op)

    def all_gather_multigpu(
        output_tensor_lists: Any, input_tensor_list: Any, group: Any = None, async_op: bool = False
    ) -> Any:
        return dist.all_gather(only(output_tensor_lists), only(input_tensor_list), group, async_op)

    def reduce_scatter_multigpu(
        output_tensor_list: Any, input_tensor_lists: Any, op: Any = added, group: Any = None, async_op: bool = False
    ) -> Any:
        return dist.reduce_scatter(only(output_tensor_list), only(input_tensor_lists), op, group, async_op)

    given = (all_gather_multigpu, all_reduce_multigpu, broadcast_multigpu, reduce_multigpu, reduce_scatter_multigpu)
    return {each.__name__: each for each in given}


names(
    "torch.distributed.distributed_c10d",
    called="multigpu of distributed_c10d",
    works="<2.2",
    says=lost("torch.distributed.distributed_c10d", *_MULTIGPU),
    example="""
import torch.distributed as dist
from torch.distributed.distributed_c10d import all_reduce_multigpu, broadcast_multigpu
print(all_reduce_multigpu.__name__, broadcast_multigpu.__name__)
""",
)(multigpu)
