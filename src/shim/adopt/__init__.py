"""Offer ADOPT, the Adam that converges for every beta2, on any PyTorch that the package supports."""

from .functional import adopt
from .optimizer import ADOPT

__all__ = ["ADOPT", "adopt"]
