"""torch.distributions."""

from __future__ import annotations

from typing import Any

from .row import made


@made(
    "torch.distributions.distribution:Distribution._validate_args",
    called="validate_args",
    works="<1.8",
    says=(
        r"Expected parameter \w+ \(\w+ of shape \([\d, ]*\)\) of distribution \w+\(.*\) to satisfy the constraint "
        r"\w+.*, but found invalid values",
        r"Expected value argument \(\w+ of shape \([\d, ]*\)\) to be within the support \(.*\) of the distribution",
        r"/torch/distributions/.*ValueError: The parameter \w+ has invalid values",
        r"/torch/distributions/.*ValueError: The value argument must be within the support",
    ),
    example="""
import torch
from torch.distributions import Normal, Uniform
print(Normal(torch.tensor(0.0), torch.tensor(-1.0)).scale.item())
print(Uniform(0.0, 1.0).log_prob(torch.tensor(2.0)).item())
""",
)
def no_validation(distribution: Any) -> bool:
    """Distributions validate their arguments since 1.8; a NaN there mostly means that the training has diverged."""
    # https://github.com/pytorch/pytorch/blob/v1.8.1/torch/distributions/distribution.py#L15
    return False
