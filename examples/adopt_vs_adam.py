"""Draw Adam, AMSGrad and ADOPT on a problem that only ADOPT solves with every β₂: docs/adopt_vs_adam.png.

The parameter lives on [-1, 1] and starts at 0. Its gradient is k² with probability 1/k and -k else, so that
the mean gradient is k - (k - 1) = 1 and the optimum is -1. Adam divides a rare large gradient by a second
moment that contains it already, so that it counts for less than the many small ones in the other direction.
(After Reddi et al., ICLR 2018; problem and step size as in the ADOPT paper, arXiv:2411.02853.)

    python examples/adopt_vs_adam.py [--steps 40000] [--seeds 64] [--output docs/adopt_vs_adam.png]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from shim.adopt import ADOPT

K = 7
BETA2S = (0.1, 0.5, 0.9, 0.99, 0.999)
OPTIMIZERS = {
    "Adam": lambda p, betas: torch.optim.Adam(p, lr=0.01, betas=betas),
    "AMSGrad": lambda p, betas: torch.optim.Adam(p, lr=0.01, betas=betas, amsgrad=True),
    "ADOPT": lambda p, betas: ADOPT(p, lr=0.01, betas=betas),
}


def print_nothing(done: int) -> None:
    """Show no progress."""


def path(
    name: str, beta2: float, steps: int = 40_000, seeds: int = 64, tick: Callable[[int], None] = print_nothing
) -> torch.Tensor:
    """Run one optimizer on the problem.

    Args:
        name: a key of OPTIMIZERS.
        beta2: the optimizer's β₂; β₁ is 0.9.
        steps: the number of steps; the learning rate of step t is 0.01 / √(1 + 0.01 t).
        seeds: the number of independent problems, run side by side as the elements of one parameter.
        tick: called with the number of steps done, every 1000.

    Returns:
        The mean over the seeds of the parameter after each step, shape (steps,).

    """
    generator = torch.Generator().manual_seed(0)
    p = torch.zeros(seeds, requires_grad=True)
    p.grad = torch.zeros(seeds)
    optimizer = OPTIMIZERS[name]([p], (0.9, beta2))
    means = torch.empty(steps)
    for t in range(steps):
        rare = torch.rand(seeds, generator=generator) < 1 / K
        p.grad.copy_(torch.where(rare, torch.tensor(float(K**2)), torch.tensor(float(-K))))
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + 0.01 * t) ** 0.5
        optimizer.step()
        with torch.no_grad():
            p.clamp_(-1, 1)
            means[t] = p.mean()
        if t % 1000 == 999:
            tick(t + 1)
    return means


def last_tenth(means: torch.Tensor) -> float:
    """Return the mean of the last tenth of a path, which is where the optimizer ends."""
    return means[-max(1, len(means) // 10) :].mean().item()


def draw(paths: dict[str, dict[float, torch.Tensor]], output: Path) -> None:
    """Draw one panel for each optimizer, one line for each β₂, into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(paths), figsize=(11, 3.6), sharey=True, constrained_layout=True)
    colors = plt.get_cmap("viridis")(torch.linspace(0, 0.85, len(BETA2S)).numpy())
    for ax, (name, by_beta2) in zip(axes, paths.items()):
        for color, (beta2, means) in zip(colors, by_beta2.items()):
            every = max(1, len(means) // 1000)
            ax.plot(range(0, len(means), every), means[::every].numpy(), color=color, lw=1.4, label=f"{beta2}")
        ax.axhline(-1, color="0.4", lw=0.8, ls="--")
        ax.set_title(name)
        ax.set_xlabel("step")
        ax.set_ylim(-1.1, 1.1)
    axes[0].set_ylabel("parameter (mean of the seeds)")
    axes[0].annotate("optimum", (0, -1), xytext=(0.02, -0.95), textcoords=("axes fraction", "data"), color="0.3")
    axes[-1].legend(title="β₂", loc="upper right")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=130)


def main() -> None:
    """Run the optimizers over the β₂, with a progress bar, print where they end, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent.parent / "docs" / "adopt_vs_adam.png")
    args = parser.parse_args()
    torch.set_num_threads(1)

    total, before = len(OPTIMIZERS) * len(BETA2S) * args.steps, 0
    paths: dict[str, dict[float, torch.Tensor]] = {name: {} for name in OPTIMIZERS}
    for name, by_beta2 in paths.items():
        for beta2 in BETA2S:

            def tick(done: int, before: int = before, name: str = name, beta2: float = beta2) -> None:
                share = (before + done) / total
                bar = "#" * int(30 * share)
                sys.stderr.write(f"\r[{bar:<30}] {share:4.0%} {name} beta2={beta2}      ")

            by_beta2[beta2] = path(name, beta2, args.steps, args.seeds, tick)
            before += args.steps
    sys.stderr.write("\n")

    sys.stdout.write("beta2   " + "".join(f"{name:>10}" for name in paths) + "\n")
    for beta2 in BETA2S:
        ends = "".join(f"{last_tenth(by_beta2[beta2]):>+10.3f}" for by_beta2 in paths.values())
        sys.stdout.write(f"{beta2:<8}{ends}\n")
    draw(paths, args.output)
    sys.stdout.write(f"drawn: {args.output}\n")


if __name__ == "__main__":
    main()
