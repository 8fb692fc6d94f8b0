"""Optimizers in which None has a meaning: they train without shim, and shim does not change what they do."""

from __future__ import annotations

import client
import torch


class Freezing(torch.optim.AdamW):
    """AdamW that does not train the groups whose weight decay is None."""

    def step(self, closure=None):
        groups = self.param_groups
        self.param_groups = [group for group in groups if group["weight_decay"] is not None]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups


class Pruning(torch.optim.SGD):
    """SGD with a proximal step at its end: it sets small weights to zero in the groups whose weight decay is None."""

    def step(self, closure=None):
        marked = [group for group in self.param_groups if group["weight_decay"] is None]
        for group in marked:
            group["weight_decay"] = 0
        loss = super().step(closure)
        for group in marked:
            group["weight_decay"] = None
            for parameter in group["params"]:
                parameter.data = torch.nn.functional.softshrink(parameter.data, group["lr"] * 0.1)
        return loss


def train(optimizer_class, weight_decay):
    model = client.model()
    first, last = model[0], model[2]
    groups = [
        {"params": list(first.parameters()), "weight_decay": weight_decay},
        {"params": list(last.parameters()), "weight_decay": 0.01},
    ]
    optimizer = optimizer_class(groups, lr=0.1)
    parameters = client.fit(model, optimizer)
    print(type(optimizer).__name__, "holds", [group["weight_decay"] for group in optimizer.param_groups])
    return parameters


def freezing(weight_decay):
    return train(Freezing, weight_decay)


def pruning(weight_decay):
    return train(Pruning, weight_decay)


if __name__ == "__main__":
    client.run(freezing, pruning)
