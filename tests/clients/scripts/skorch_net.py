"""skorch: None as optimizer__weight_decay."""

from __future__ import annotations

import client
import torch
from skorch import NeuralNetRegressor


def regressor(weight_decay):
    inputs = torch.cat(client.batches())
    net = NeuralNetRegressor(
        client.model,
        max_epochs=client.STEPS,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=weight_decay,
        train_split=None,
        verbose=0,
    )
    return net.fit(inputs, inputs[:, :2]).module_.parameters()


if __name__ == "__main__":
    client.run(regressor)
