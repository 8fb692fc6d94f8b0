"""A reference implementation of ADOPT: float64, out of place, one line for each line of the algorithm."""

import torch


class Oracle:
    """The path of one real parameter under ADOPT (arXiv 2411.02853, algorithm 2, with the clip)."""

    def __init__(self, param):
        self.p = param.detach().double().clone()
        self.m = torch.zeros_like(self.p)
        self.v = torch.zeros_like(self.p)
        self.t = 0

    def step(
        self,
        grad,
        lr=1e-3,
        betas=(0.9, 0.9999),
        eps=1e-6,
        weight_decay=0.0,
        decouple=False,
        maximize=False,
        clip=lambda t: t**0.25,
    ):
        if grad is None:
            return
        beta1, beta2 = betas
        g = grad.double()
        if maximize:
            g = -g
        if weight_decay != 0 and not decouple:  # not multiplied by 0, because 0 * inf is NaN
            g = g + weight_decay * self.p
        if self.t == 0:
            self.v = g * g
            self.t = 1
            return
        if weight_decay != 0 and decouple:
            self.p = self.p - lr * weight_decay * self.p
        n = g / at_least(self.v.sqrt(), eps)
        if clip is not None:
            c = clip(float(self.t))
            n = -at_least(-at_least(n, -c), -c)
        self.m = beta1 * self.m + (1 - beta1) * n
        self.p = self.p - lr * self.m
        self.v = beta2 * self.v + (1 - beta2) * g * g
        self.t = self.t + 1


def at_least(tensor, low):
    """Return the maximum with a number. NaN stays NaN, unlike with torch.max of old releases."""
    return torch.where(tensor < low, torch.full_like(tensor, low), tensor)


def real(tensor):
    """Return a view of `tensor` with each complex number as a pair of reals."""
    return torch.view_as_real(tensor) if torch.is_complex(tensor) else tensor


def assert_close(actual, expected, tolerance):
    """Compare elementwise, relative to max(1, |expected|); NaN equals NaN and inf equals inf."""
    actual, expected = actual.detach().double(), expected.double()
    assert actual.shape == expected.shape
    assert torch.equal(torch.isnan(actual), torch.isnan(expected)), (actual, expected)
    finite = torch.isfinite(expected)
    infinite = ~finite & ~torch.isnan(expected)
    assert torch.equal(actual[infinite], expected[infinite]), (actual, expected)
    error = (actual[finite] - expected[finite]).abs() / expected[finite].abs().clamp(min=1.0)
    worst = error.max().item() if error.numel() else 0.0
    assert worst <= tolerance, f"off by {worst:.2e}, more than {tolerance:.0e}"
