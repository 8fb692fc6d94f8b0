"""accelerate: None in the groups of an optimizer that is prepared."""

from __future__ import annotations

import accelerate
import client
import torch


def prepare(weight_decay):
    accelerator = accelerate.Accelerator(cpu=True)
    model = client.model()
    groups = [{"params": list(model.parameters()), "weight_decay": weight_decay}]
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(groups, lr=0.1))
    for batch in client.batches():
        optimizer.zero_grad()
        accelerator.backward(model(batch).pow(2).mean())
        optimizer.step()
    return model.parameters()


if __name__ == "__main__":
    client.run(prepare)
