"""torch.utils.data: iterators and samplers."""

from __future__ import annotations

from typing import Any

from .row import name


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
    """An iterator of a DataLoader had a method of this name, as iterators of Python 2 had."""
    return self.__next__()


@name(
    "torch.utils.data.sampler:Sampler.__init__",
    called="Sampler.data_source",
    works="<2.10",
    # Only object's __init__ says so, of any class: it is answered where the traceback shows a sampler.
    says=(
        r"[sS]ampler.* in __init__ super\([^)]*\)\.__init__\(\w+\) (?:[~^]+ )?"
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
    """The base class of samplers took the data source, and did nothing with it, up to 2.9."""
