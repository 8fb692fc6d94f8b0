"""The ADOPT optimizer, an Adam that converges for every beta2, for all releases of PyTorch that shim supports."""

from .functional import adopt
from .optimizer import ADOPT

__all__ = ["ADOPT", "adopt"]
