"""torch.distributed and torch.nn.parallel: the launcher, elastic, and what mmcv reads of DistributedDataParallel."""

from __future__ import annotations

from typing import Any

from .row import argument, behaviour, names, row


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
    """DeepSpeed takes log and _get_socket_with_port, which left in 2.4, from torchelastic's api."""
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
        "reason": "_use_replicated_tensor_module was there up to 2.0, and False; what mmcv 1.x overrides reads it",
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
    distributed.destroy_process_group()
""",
    },
)
