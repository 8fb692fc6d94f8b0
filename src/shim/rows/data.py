"""torch.utils.data: iterators and samplers."""

from __future__ import annotations

import sys
from typing import Any

from ..releases import release
from .row import advice, argument, behaviour, name


@name(
    "torch.utils.data.dataloader:_BaseDataLoaderIter.next",
    called="DataLoader.next",
    works="<1.13",
    says=r"'_(?:SingleProcess|MultiProcessing)DataLoaderIter' object has no attribute 'next'",
    example="""
from torch.utils.data import DataLoader
iterator = iter(DataLoader([1, 2, 3], batch_size=2))
print(iterator.next(), iterator.next())
""",
)
def next(self: Any) -> Any:
    """The iterator of a DataLoader had the method next, as in Python 2, up to 1.12."""
    return self.__next__()


@behaviour(
    "torch.utils.data.dataset:Subset.__init__",
    called="Subset.__getitem__",
    works="<2.1",
    says=r"\w+ overrides __getitem__ but not __getitems__\.",
    example="""
from torch.utils.data import DataLoader, Subset
class Tenfold(Subset):
    def __getitem__(self, index):
        return 10 * super().__getitem__(index)
print(next(iter(DataLoader(Tenfold(range(9), [1, 3, 5]), batch_size=2))).tolist())
""",
)
def one_by_one(original: Any, subset: Any, dataset: Any, indices: Any) -> None:
    """A DataLoader took the items of a Subset from __getitem__ up to 2.0. Since 2.1 it takes them from __getitems__."""
    # https://github.com/pytorch/pytorch/blob/v2.1.2/torch/utils/data/_utils/fetch.py#L48
    cls, base = type(subset), sys.modules["torch.utils.data.dataset"].Subset
    if cls.__getitem__ is base.__getitem__ or cls.__getitems__ is not base.__getitems__:
        original(subset, dataset, indices)
    else:
        subset.dataset, subset.indices = dataset, indices
        subset.__dict__["__getitems__"] = None  # the DataLoader then calls __getitem__


@name(
    "torch.utils.data.sampler:Sampler.__init__",
    called="Sampler.data_source",
    works="<2.10",
    # object.__init__ raises this for any class, so it is answered only if the traceback shows a sampler.
    says=(
        r"[sS]ampler.* in __init__ (?:super\([^)]*\)|\w*Sampler)\.__init__\((?:self, ?)?[\w.=]+\) (?:[~^]+ )?"
        r"TypeError: object\.__init__\(\) takes exactly one argument"
    ),
    example="""
from torch.utils.data import DataLoader, Sampler

class OddSampler(Sampler):
    def __init__(self, data_source):
        super().__init__(data_source)
        self.size = len(data_source)

    def __iter__(self):
        return iter(range(1, self.size, 2))

    def __len__(self):
        return self.size // 2

print([batch.tolist() for batch in DataLoader([5, 6, 7, 8], sampler=OddSampler([5, 6, 7, 8]))])
""",
)
def sampler_init(self: Any, data_source: Any = None) -> None:
    """Sampler.__init__ took data_source, and ignored it, up to 2.9."""


@argument(
    "torch.utils.data.dataloader:DataLoader.__init__",
    called="prefetch_factor of 0 workers",
    works=">=1.7,<2.0",
    says=(
        r"prefetch_factor option could only be specified in multiprocessing\. ?let num_workers > 0 to enable "
        r"multiprocessing, otherwise set prefetch_factor to None",
        r"\bprefetch_factor=(?!None\b).* TypeError: __init__\(\) got an unexpected keyword argument 'prefetch_factor'",
    ),
    example="""
from torch.utils.data import DataLoader
print([batch.tolist() for batch in DataLoader([1, 2, 3], batch_size=2, num_workers=0, prefetch_factor=2)])
""",
)
def without_prefetching(original: Any, *args: Any, **kwargs: Any) -> None:
    """A DataLoader without workers took a prefetch_factor of 2, which is the default, from 1.7 to 1.13."""
    # https://github.com/pytorch/pytorch/blob/v2.0.1/torch/utils/data/dataloader.py#L244
    import torch

    workers = args[6] if len(args) > 6 else kwargs.get("num_workers", 0)  # args[0] is the loader
    # Up to 1.6, each worker was always two batches ahead:
    # https://github.com/pytorch/pytorch/blob/v1.6.0/torch/utils/data/dataloader.py#L763
    fixed = release(torch.__version__).numbers < (1, 7, 0)
    if kwargs.get("prefetch_factor") == 2 and (workers == 0 or fixed):
        del kwargs["prefetch_factor"]
    original(*args, **kwargs)


_OF_1_1 = "_DataLoaderIter|_use_shared_memory|numpy_type_map|pin_memory_batch|_worker_loop"
advice(
    "DataLoader of 1.1",
    "torch.utils.data.dataloader was written anew in 1.2, and code that subclasses or copies the loader of 1.1 needs "
    "that one. Use today's DataLoader (a collate_fn, a worker_init_fn or a sampler does most of what such code does).",
    (
        rf"cannot import name '({_OF_1_1})' from 'torch\.utils\.data\.dataloader'",
        rf"module 'torch\.utils\.data\.dataloader' has no attribute '({_OF_1_1})'",
    ),
    works="<1.2",
)
