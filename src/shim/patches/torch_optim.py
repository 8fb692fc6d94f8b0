"""torch's own optimizers: their constructors, their steps, their functional forms; those of torch.distributed.optim.

Where torch deletes the attribute ``torch.optim.adam``: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/__init__.py#L38
"""

from __future__ import annotations

import sys
from operator import attrgetter

from ..layout import Layout
from ..registry import Patch
from ..targets import Target

#: module in torch.optim, class, functional form
OPTIMIZERS = (
    ("_adafactor", "Adafactor", "adafactor"),  # since 2.5
    ("_muon", "Muon", "muon"),  # since 2.9
    ("adadelta", "Adadelta", "adadelta"),
    ("adagrad", "Adagrad", "adagrad"),
    ("adam", "Adam", "adam"),
    ("adamax", "Adamax", "adamax"),
    ("adamw", "AdamW", "adamw"),  # since 1.2
    ("asgd", "ASGD", "asgd"),
    ("nadam", "NAdam", "nadam"),  # since 1.10
    ("radam", "RAdam", "radam"),  # since 1.10
    ("rmsprop", "RMSprop", "rmsprop"),
    ("sgd", "SGD", "sgd"),
)

#: Those of torch.distributed.optim, which take weight_decay in the constructor only: module, class.
#: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/distributed/optim/functional_adam.py#L47
FUNCTIONAL_OPTIMIZERS = (
    ("functional_adadelta", "_FunctionalAdadelta"),
    ("functional_adagrad", "_FunctionalAdagrad"),
    ("functional_adam", "_FunctionalAdam"),
    ("functional_adamax", "_FunctionalAdamax"),
    ("functional_adamw", "_FunctionalAdamW"),
    ("functional_rmsprop", "_FunctionalRMSprop"),
    ("functional_sgd", "_FunctionalSGD"),
)

#: The messages of a None that an optimizer takes as weight_decay: of torch's own, and of those in third_party. Only the
#: first two name weight_decay. Other code raises the others, too (see ``shim.explain``).
NONE_ANSWERS = (
    # A fused form. grad_scale and found_inf are None in it unless gradients are scaled.
    r"_fused_(adagrad|adam|adamw|sgd)_\(\) received an invalid combination of arguments - got "
    r"\((?![^)]*\b(lr|lr_decay|eps|beta1|beta2|momentum|dampening)=NoneType)[^)]*\bweight_decay=NoneType",
    r"for argument 'weight_decay' but instead found type 'NoneType'",
    r"'<=' not supported between instances of 'float' and 'NoneType'",
    r"'[<>]' not supported between instances of 'NoneType' and 'float'",
    r"unsupported operand type\(s\) for \*: '(float|Tensor|Parameter)' and 'NoneType'",
    r"unsupported operand type\(s\) for \*: 'NoneType' and '(float|Tensor|Parameter)'",
    r"bad operand type for unary -: 'NoneType'",
    r"\b(_foreach_)?add_?\(\): argument 'alpha' must be Number, not NoneType",
    r"\b_foreach_add_?\(\) received an invalid combination of arguments - got \(\w+, \w+, alpha=NoneType\)",
    # torch 1.4 passes the factor first. Any method called add may raise this, so its line must name weight_decay:
    # https://github.com/pytorch/pytorch/blob/v1.4.0/torch/optim/adam.py#L92
    r"/torch/optim/\w+\.py\b(?:(?!\bFile ).){0,120}?\.add_?\((?:group\['weight_decay'\]|weight_decay), "
    r"(?:(?!\bFile ).){0,120}?TypeError: add_?\(\) takes 1 positional argument but 2 were given",
)


def _targets(module: str, cls: str, functional: str) -> tuple[Target, ...]:
    classes = (
        f"torch.optim.{module}:{cls}",
        f"torch.optim._multi_tensor:{cls}",  # 1.7-1.11 classes of their own, 1.12-2.6 subclasses
    )
    # torch.optim.functional first: in 2.15 its functions wrap the ones in the modules, and hold them in a closure:
    # https://github.com/pytorch/pytorch/blob/v2.15.0/torch/optim/functional.py#L49
    functionals = (
        f"torch.optim.functional:{functional}",  # 1.7, and public since 2.15
        f"torch.optim._functional:{functional}",  # 1.8-1.11, and an alias since
        f"torch.optim.{module}:{functional}",  # since 1.12
        f"torch.optim.{module}:_single_tensor_{functional}",
        f"torch.optim.{module}:_multi_tensor_{functional}",
        f"torch.optim.{module}:_fused_{functional}",  # since 1.13
    )
    return (
        *(Target("constructor", path) for path in classes),
        *(Target("step", path) for path in classes),
        *(Target("functional", path) for path in functionals),
    )


def none_guard(module: str, cls: str, functional: str) -> Patch:
    """Return the row of one optimizer of torch.optim."""
    return Patch(
        name=functional,
        reason=f"{cls} computes with weight_decay: None in a config, a group or a checkpoint is a TypeError there",
        targets=_targets(module, cls, functional),
    )


#: The classes in torch.optim that take no weight_decay.
_WITHOUT = ("LBFGS", "Optimizer", "Rprop", "SparseAdam")


def newcomers(layout: Layout) -> tuple[Patch, ...]:
    """Return a row for each optimizer and functional form of the loaded torch that the table does not list."""
    names = {*_WITHOUT, *(cls for _, cls, _ in OPTIMIZERS)}
    classes = [value for value in list(vars(sys.modules["torch.optim"]).values()) if isinstance(value, type)]
    if layout.known and names.issuperset([cls.__name__ for cls in classes]):
        return ()  # every import of torch would wait while all functions of torch.optim are looked at
    listed = {target.path for patch in PATCHES for target in patch.targets}
    kinds = ((layout.optimizers, ("constructor", "step")), (layout.functionals, ("functional",)))
    return tuple(
        Patch(
            name=callee.paths[0],
            reason="found in this torch, which is newer than the table",
            targets=tuple(Target(kind, callee.paths[0]) for kind in kinds_of_it),
        )
        for callees, kinds_of_it in kinds
        for callee in callees
        if not listed.intersection(callee.paths)
    )


PATCHES = (
    *(none_guard(*row) for row in OPTIMIZERS),
    Patch(
        name="torch.optim.adam",
        reason="torch deletes the attribute, but older code uses torch.optim.adam.adam, or calls torch.optim.adam",
        targets=(Target("submodule", "torch.optim:adam", how=attrgetter("Adam")),),
    ),
    Patch(
        name="distributed",
        reason="the functional optimizers behind DistributedOptimizer compare weight_decay with 0.0",
        targets=tuple(
            Target("constructor", f"torch.distributed.optim.{module}:{cls}") for module, cls in FUNCTIONAL_OPTIMIZERS
        ),
    ),
)
