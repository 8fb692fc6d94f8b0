"""Train a few steps with a None in the constructor and one in a group, and print what the two became.

The text of this file is run with ``python -c``, through a door.
"""

from __future__ import annotations

import json
import sys
import warnings
from types import ModuleType
from typing import Any

warnings.simplefilter("ignore")
import torch  # noqa: E402


def stand_in_for_dynamo() -> None:
    """Avoid the import of torch._dynamo, which takes longer than the import of torch.

    The first optimizer of a process imports it for ``disable``, and the first step for ``graph_break``. Outside of
    torch.compile both do nothing. Every other attribute comes from the real module. See
    ``_disable_dynamo``: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_compile.py#L28 and
    ``_use_grad_for_differentiable``: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L59
    """
    name = "torch._dynamo"
    if name in sys.modules:
        return
    module: Any = ModuleType(name)

    def real(attribute: str) -> Any:
        sys.modules.pop(name, None)
        import importlib

        return getattr(importlib.import_module(name), attribute)

    module.disable = lambda function=None, *args, **kwargs: function or (lambda function: function)
    module.graph_break = lambda *args, **kwargs: None
    module.__getattr__ = real
    sys.modules[name] = module
    vars(torch)["_dynamo"] = module


def train() -> list[Any]:
    """Return the weight decay of two groups after three steps."""

    def group() -> dict[str, Any]:
        parameter = torch.nn.Parameter(torch.ones(2))
        parameter.grad = torch.ones(2)
        return {"params": [parameter]}

    optimizer = torch.optim.AdamW([group()], lr=0.1, weight_decay=None)  # type: ignore[arg-type]
    optimizer.add_param_group({**group(), "weight_decay": None})
    for _ in range(3):
        optimizer.step()
    return [each["weight_decay"] for each in optimizer.param_groups]


if __name__ == "__main__":
    stand_in_for_dynamo()
    decays = train()
    sys.stdout.write("\n" + json.dumps(decays) + "\n")
