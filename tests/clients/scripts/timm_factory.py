"""timm: None as an argument of its optimizer factory, which passes None on if it is called with parameters."""

from __future__ import annotations

import client
import cpu_torchvision  # noqa: F401
from timm.optim import create_optimizer_v2


def factory(weight_decay):
    model = client.model()
    return client.fit(model, create_optimizer_v2(model.parameters(), opt="adamw", lr=0.1, weight_decay=weight_decay))


if __name__ == "__main__":
    client.run(factory)
