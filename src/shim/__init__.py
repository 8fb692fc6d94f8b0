"""Run training jobs whose optimizer was given ``weight_decay=None``, on any PyTorch."""

__version__ = "0.1.0"
