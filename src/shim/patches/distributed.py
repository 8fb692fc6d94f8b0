"""The functional optimizers of torch.distributed.optim, which take weight_decay in the constructor only.

https://github.com/pytorch/pytorch/blob/v2.13.0/torch/distributed/optim/functional_adam.py#L47
"""

from __future__ import annotations

from ..registry import Patch
from ..targets import Target

#: module in torch.distributed.optim, class
OPTIMIZERS = (
    ("functional_adadelta", "_FunctionalAdadelta"),
    ("functional_adagrad", "_FunctionalAdagrad"),
    ("functional_adam", "_FunctionalAdam"),
    ("functional_adamax", "_FunctionalAdamax"),
    ("functional_adamw", "_FunctionalAdamW"),
    ("functional_rmsprop", "_FunctionalRMSprop"),
    ("functional_sgd", "_FunctionalSGD"),
)

PATCHES = (
    Patch(
        name="distributed",
        reason="the functional optimizers behind DistributedOptimizer compare weight_decay with 0.0",
        targets=tuple(Target("constructor", f"torch.distributed.optim.{module}:{cls}") for module, cls in OPTIMIZERS),
    ),
)
