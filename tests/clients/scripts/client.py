"""Shared by the clients: a tiny problem, and a main function that prints digests of the trained parameters.

A client is run as ``python <framework>.py <training>,... <weight decay>...`` and runs each of these trainings with each
weight decay. The weight decays are JSON: ``null`` is None.
"""

from __future__ import annotations

import hashlib
import json
import sys

import torch

STEPS = 3


def model():
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def batches():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 4, generator=generator) for _ in range(STEPS)]


def fit(trained, optimizer):
    """Train in the usual way, and return the parameters."""
    for batch in batches():
        optimizer.zero_grad()
        trained(batch).pow(2).mean().backward()
        optimizer.step()
    return list(trained.parameters())


def run(*trainings):
    """Run the trainings of the command line with its weight decays, and print a digest of all parameters.

    A training takes the weight decay and returns the parameters.
    """
    torch.set_num_threads(1)
    by_name = {training.__name__: training for training in trainings}
    names, given = sys.argv[1].split(","), sys.argv[2:]
    del sys.argv[1:]  # frameworks read the command line, too, and must not see these arguments
    for name in names:
        for text in given:
            torch.manual_seed(0)
            digest = hashlib.sha256()
            for parameter in by_name[name](json.loads(text)):
                digest.update(parameter.detach().numpy().tobytes())
            # In one write, so that the lines of several processes do not mix.
            sys.stdout.write(f"trained {name} {text} {digest.hexdigest()}\n")
            sys.stdout.flush()
