"""Offer ADOPT, the Adam that converges for every beta2, on any PyTorch that the package supports."""

from .optimizer import ADOPT, adopt

__all__ = ["ADOPT", "adopt"]
