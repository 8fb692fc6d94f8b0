"""torch.utils.data: names that came later, for new programs on an older torch."""

from __future__ import annotations

import math
from typing import Any

from .row import argument, names


@names(
    "torch.utils.data",
    called="default_collate",
    works=">=1.11",
    says=(
        r"cannot import name 'default_(collate|convert)' from 'torch\.utils\.data'",
        r"module 'torch\.utils\.data' has no attribute 'default_(collate|convert)'",
    ),
    example="""
from torch.utils.data import default_collate, default_convert
print(default_collate([{"a": 1}, {"a": 2}])["a"].tolist(), default_convert([1.0, "b"]))
""",
)
def collate() -> dict[str, Any]:
    """torch.utils.data has default_collate and default_convert since 1.11; torch.utils.data._utils has had them."""
    from torch.utils.data._utils import collate as here

    return {"default_collate": here.default_collate, "default_convert": here.default_convert}


@argument(
    "torch.utils.data.dataloader:DataLoader.__init__",
    called="prefetch_factor",
    works=">=2.0",
    says=(
        r"\bprefetch_factor=None\b.* TypeError: '>' not supported between instances of 'NoneType' and 'int'",
        r"\bprefetch_factor=None\b.* ValueError: prefetch_factor option could only be specified in multiprocessing",
        r"\bprefetch_factor=None\b.* TypeError: __init__\(\) got an unexpected keyword argument 'prefetch_factor'",
    ),
    example="""
from torch.utils.data import DataLoader
print([batch.tolist() for batch in DataLoader([1, 2, 3], batch_size=2, num_workers=0, prefetch_factor=None)])
""",
)
def prefetch_factor(original: Any, *args: Any, **kwargs: Any) -> None:
    """DataLoader accepts prefetch_factor=None, its default, since 2.0."""
    # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/utils/data/dataloader.py#L232
    if kwargs.get("prefetch_factor", 0) is None:
        del kwargs["prefetch_factor"]
    original(*args, **kwargs)


@argument(
    "torch.utils.data.dataset:random_split",
    called="random_split",
    works=">=1.13",
    # Wrong lengths raise the same message.
    says=r"\brandom_split\(.{1,200}[\[(] ?0?\.\d.*Sum of input lengths does not equal the length of the input dataset",
    example="""
import torch
from torch.utils.data import random_split
torch.manual_seed(0)
parts = random_split(list(range(10)), [0.55, 0.25, 0.2])
print([len(part) for part in parts], sorted(value for part in parts for value in part))
""",
)
def random_split(original: Any, dataset: Any, lengths: Any, *args: Any, **kwargs: Any) -> Any:
    """random_split takes fractions since 1.13."""
    # https://github.com/pytorch/pytorch/blob/v1.13.1/torch/utils/data/dataset.py#L325
    lengths = list(lengths)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for i, fraction in enumerate(lengths):
            if fraction < 0 or fraction > 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1")
        whole = [math.floor(len(dataset) * fraction) for fraction in lengths]
        for i in range(len(dataset) - sum(whole)):
            whole[i % len(whole)] += 1
        lengths = whole
    return original(dataset, lengths, *args, **kwargs)
