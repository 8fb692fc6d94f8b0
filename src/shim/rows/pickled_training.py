"""Schedulers, loaders, samplers and transforms that another release pickled as whole objects."""

from __future__ import annotations

import weakref
from typing import Any, Callable

from .row import advice, made, row

_UNPICKLED = """
import torch

def unpickled(thing, *lacking, **others):
    state = {key: value for key, value in vars(thing).items() if key not in lacking}
    other = type(thing).__new__(type(thing))
    getattr(other, "__setstate__", vars(other).update)({**state, **others})
    return other

"""

_SCHEDULED = """
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)

def rates(scheduler, steps=5):
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        yield [round(optimizer.param_groups[0][name], 5) for name in ("lr", "momentum")]

"""


#: The classes of torch.optim.lr_scheduler, in messages about what they inherit.
_SCHEDULERS = r"\w+LR|ReduceLROnPlateau|CosineAnnealingWarmRestarts|ChainedScheduler"


def _restoring(cls: type, fill: Callable[[Any, dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a ``__setstate__`` for a class that calls ``fill(self, state)`` first, and then what the class had."""
    held = vars(cls).get("__setstate__")

    def __setstate__(self: Any, state: dict[str, Any]) -> None:
        state = fill(self, state)
        if held is not None:
            held(self, state)
        else:
            getattr(super(cls, self), "__setstate__", vars(self).update)(state)

    __setstate__.__module__, __setstate__.__qualname__ = cls.__module__, f"{cls.__qualname__}.__setstate__"
    return __setstate__


def _lacks(
    module: str,
    classes: str,
    works: str,
    example: str,
    called: str = "",
    **meaning: Any,
) -> None:
    """Add a row that adds attributes to a pickled state that lacks them. A value may be a function of self and state.

    Args:
        module: the module.
        classes: the classes; the first one names the row.
        works: the releases without these attributes, or that do not read them.
        example: the lines after those that define ``unpickled``.
        called: its name, if another row has that of the first class.
        meaning: the attributes, and their values for an object that has none.
    """

    def fill(self: Any, state: dict[str, Any]) -> dict[str, Any]:
        lacking = {name: value for name, value in meaning.items() if name not in state}
        return {**state, **{name: value(self, state) if callable(value) else value for name, value in lacking.items()}}

    names = classes.split()
    whose = _SCHEDULERS if "LRScheduler" in names else "|".join(names)
    row(
        "made",
        tuple(f"{module}:{name}.__setstate__" for name in names),
        lambda cls: _restoring(cls, fill),
        None,
        {
            "called": called or f"pickled.{names[0]}",
            "reason": f"objects of {names[0]} that another release pickled lack {' and '.join(meaning)}",
            "works": works,
            "says": rf"'({whose})' object has no attribute '({'|'.join(meaning)})'",
            "example": _UNPICKLED + example,
        },
    )


# --- torch.utils.data -----------------------------------------------------------------------------------------------

_LOADED = """
from torch.utils.data import DataLoader
if __name__ == "__main__":  # a worker that is not forked imports this program
    for batch in unpickled(DataLoader(range(4), batch_size=3{}), {}):
        print(batch.tolist())
"""

_lacks(
    "torch.utils.data.dataloader",
    "DataLoader",
    works="<1.6",
    called="pickled.DataLoader of 1.5",
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/utils/data/dataloader.py#L350
    generator=None,
    example=_LOADED.format("", '"generator"'),
)
_lacks(
    "torch.utils.data.dataloader",
    "DataLoader",
    works="<1.7",
    # https://github.com/pytorch/pytorch/blob/v1.7.1/torch/utils/data/dataloader.py#L409
    persistent_workers=False,
    prefetch_factor=2,  # the default of 1.7, and the constant of older releases
    example=_LOADED.format("", '"persistent_workers", "prefetch_factor"'),
)
_lacks(
    "torch.utils.data.dataloader",
    "DataLoader",
    works="<1.12",
    called="pickled.DataLoader of 1.11",
    # https://github.com/pytorch/pytorch/blob/v1.12.1/torch/utils/data/dataloader.py#L638
    pin_memory_device="",
    example=_LOADED.format(", pin_memory=True", '"pin_memory_device"'),
)
_lacks(
    "torch.utils.data.dataloader",
    "DataLoader",
    works="<2.6",
    called="pickled.DataLoader of 2.5",
    # https://github.com/pytorch/pytorch/blob/v2.6.0/torch/utils/data/dataloader.py#L1084
    in_order=True,
    example=_LOADED.format(", num_workers=1", '"in_order"'),
)
_lacks(
    "torch.utils.data.sampler",
    "RandomSampler SubsetRandomSampler WeightedRandomSampler",
    works="<1.6",
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/utils/data/sampler.py#L110
    generator=None,
    example="""
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler
for sampler in (RandomSampler(range(3)), SubsetRandomSampler([0, 1, 2]), WeightedRandomSampler([1.0, 0.0], 3)):
    print(sorted(unpickled(sampler, "generator")))
""",
)
_DISTRIBUTED = """
from torch.utils.data.distributed import DistributedSampler
sampler = unpickled(DistributedSampler(range(4), 2, 0), {})
sampler.set_epoch(1)
print(len([*sampler]))
"""
_lacks(
    "torch.utils.data.distributed",
    "DistributedSampler",
    works="<1.6",
    called="pickled.DistributedSampler of 1.5",
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/utils/data/distributed.py#L72
    seed=0,
    example=_DISTRIBUTED.format('"seed"'),
)
_lacks(
    "torch.utils.data.distributed",
    "DistributedSampler",
    works="<1.7",
    # https://github.com/pytorch/pytorch/blob/v1.7.1/torch/utils/data/distributed.py#L77
    drop_last=False,
    example=_DISTRIBUTED.format('"drop_last"'),
)


# --- torch.distributions --------------------------------------------------------------------------------------------

_lacks(
    "torch.distributions.transforms",
    "AffineTransform",
    works="<1.8",
    # https://github.com/pytorch/pytorch/blob/v1.8.1/torch/distributions/transforms.py#L677
    _event_dim=lambda self, state: state["event_dim"],
    example="""
from torch.distributions import AffineTransform
transform = unpickled(AffineTransform(1.0, 2.0), "_event_dim", event_dim=0)
print(transform(torch.ones(2)), transform.log_abs_det_jacobian(torch.ones(2), torch.ones(2)))
""",
)


# --- torch.optim.lr_scheduler ---------------------------------------------------------------------------------------


def _two_phases(self: Any, state: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the phases of a OneCycleLR of 1.7, which had these two, and no third one.

    https://github.com/pytorch/pytorch/blob/v1.7.1/torch/optim/lr_scheduler.py#L1176
    """
    names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    phases = (
        (state["step_size_up"], "initial_lr", "max_lr", "max_momentum", "base_momentum"),
        (state["total_steps"] - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"),
    )
    return [dict(zip(names, phase)) for phase in phases]


def _annealing(self: Any, state: dict[str, Any]) -> Any:
    return getattr(self, f"_annealing_{state['_anneal_func_type']}")


_lacks(
    "torch.optim.lr_scheduler",
    "LRScheduler _LRScheduler ReduceLROnPlateau",
    # 1.7 to 2.1 read it in each step: https://github.com/pytorch/pytorch/blob/v1.7.1/torch/optim/lr_scheduler.py#L166
    works="<1.7 || >=2.2",
    verbose=False,
    example=_SCHEDULED + 'print([*rates(unpickled(torch.optim.lr_scheduler.StepLR(optimizer, 2), "verbose"))])\n',
)
_lacks(
    "torch.optim.lr_scheduler",
    "OneCycleLR",
    works="<1.8",
    # https://github.com/pytorch/pytorch/blob/v1.8.1/torch/optim/lr_scheduler.py#L1301
    _schedule_phases=_two_phases,
    example=_SCHEDULED
    + """
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=8)
scheduler = unpickled(scheduler, "_schedule_phases", step_size_up=1.4, step_size_down=5.6)
print([*rates(scheduler)])
""",
)
_lacks(
    "torch.optim.lr_scheduler",
    "OneCycleLR",
    works=">=2.4",
    called="pickled.OneCycleLR of 2.4",
    # https://github.com/pytorch/pytorch/blob/v2.3.1/torch/optim/lr_scheduler.py#L1793
    # https://github.com/pytorch/pytorch/blob/v2.4.1/torch/optim/lr_scheduler.py#L2021
    anneal_func=_annealing,
    example=_SCHEDULED
    + """
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=8)
scheduler = unpickled(scheduler, "anneal_func", _anneal_func_type="cos", verbose=False)
print([*rates(scheduler)])
""",
)
_lacks(
    "torch.optim.lr_scheduler",
    "CyclicLR",
    works="<2.3",
    called="pickled.CyclicLR.use_beta1",
    # https://github.com/pytorch/pytorch/blob/v2.3.1/torch/optim/lr_scheduler.py#L1375
    use_beta1=False,  # up to 2.2 an optimizer with betas was an error
    example=_SCHEDULED
    + """
scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 1.0, 2)
print([*rates(unpickled(scheduler, "use_beta1"))])  # up to 2.0 it calls a method of the first one
""",
)

_CYCLIC = (
    _SCHEDULED
    + """
import functools
for mode in ("triangular", "triangular2", "exp_range"):
    scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 1.0, 2, mode=mode, gamma=0.5)
    {}
    scheduler.state_dict()
    print([*rates(scheduler)])
scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 1.0, 2, scale_fn=lambda cycle: 0.5)
scheduler = unpickled(scheduler, "scale_fn", "_scale_fn_custom", {}=lambda cycle: 0.5)
print([*rates(scheduler)])
"""
)


def _cyclic(cls: Any) -> Any:
    """Return a ``__setstate__`` that gives a CyclicLR the attributes for its scale that this release reads.

    Up to 1.12 it has an attribute ``scale_fn``. Since 1.13 it has a method of this name, ``_scale_fn_custom``, and
    ``_scale_fn_ref``, which is a weak reference up to 2.0:
    https://github.com/pytorch/pytorch/blob/v1.12.1/torch/optim/lr_scheduler.py#L1136
    https://github.com/pytorch/pytorch/blob/v1.13.1/torch/optim/lr_scheduler.py#L1217
    https://github.com/pytorch/pytorch/blob/v2.1.2/torch/optim/lr_scheduler.py#L1234
    """

    def fill(self: Any, state: dict[str, Any]) -> dict[str, Any]:
        state = {"use_beta1": False, **state}
        custom = state.pop("scale_fn", state.pop("_scale_fn_custom", None))
        own = f"_{state['mode']}_scale_fn"
        if getattr(custom, "__name__", "") == own:
            custom = None
        if not hasattr(cls, "scale_fn"):
            return {**state, "scale_fn": custom or getattr(self, own)}
        ref = None
        if custom is None:
            vars(self).update(state)  # the weak reference of 1.13 is to a method of the whole object
            if hasattr(self, "_init_scale_fn"):
                self._scale_fn_custom = None
                self._init_scale_fn()
                ref = self._scale_fn_ref
            else:
                ref = weakref.WeakMethod(getattr(self, own))
        return {**state, "_scale_fn_custom": custom, "_scale_fn_ref": ref}

    return _restoring(cls, fill)


for _called, _works, _says, _example in (
    (
        "pickled.CyclicLR",
        "<2.0",
        r"KeyError: '_scale_fn_(?:ref|custom)'",
        _CYCLIC.format(
            'own = getattr(scheduler, f"_{mode}_scale_fn")\n'
            '    scheduler = unpickled(scheduler, "_scale_fn_ref", "_scale_fn_custom", "use_beta1", scale_fn=own)',
            '"use_beta1", scale_fn',
        ),
    ),
    (
        "pickled.CyclicLR of 2.1",
        ">=2.1",
        (
            r"'CyclicLR' object has no attribute 'scale_fn'",
            r"_(?:triangular|triangular2|exp_range)_scale_fn\(\) missing \d required positional argument",
        ),
        _CYCLIC.format(
            'ref = getattr(type(scheduler), f"_{mode}_scale_fn")\n'
            '    ref = functools.partial(ref, 0.5) if mode == "exp_range" else ref\n'
            '    scheduler = unpickled(scheduler, "scale_fn", _scale_fn_custom=None, _scale_fn_ref=ref, verbose=False)',
            "_scale_fn_custom",
        ),
    ),
):
    made(
        "torch.optim.lr_scheduler:CyclicLR.__setstate__",
        called=_called,
        works=_works,
        says=_says,
        reason="a CyclicLR that another release has pickled keeps its scale in other attributes",
        example=_UNPICKLED + _example,
    )(_cyclic)


# --- torch.optim ----------------------------------------------------------------------------------------------------

advice(
    "pickled.LBFGS",
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/optimizer.py#L412
    "An LBFGS that is pickled as a whole loses its list of parameters, in every release. Save optimizer.state_dict(), "
    "and load it into a new LBFGS.",
    r"'LBFGS' object has no attribute '_params'",
    works="",
)
