"""Lightning: None in the groups of configure_optimizers, and in the YAML file of a LightningCLI."""

from __future__ import annotations

import tempfile
from pathlib import Path

import client
import lightning
import torch
from lightning.pytorch.cli import LightningCLI

TRAINER = {
    "max_steps": client.STEPS,
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Model(lightning.LightningModule):
    def __init__(self, weight_decay: float | None = 0.01):
        super().__init__()
        self.layers = client.model()
        self.weight_decay = weight_decay

    def training_step(self, batch, _):
        return self.layers(batch).pow(2).mean()

    def train_dataloader(self):
        return torch.utils.data.DataLoader(client.batches(), batch_size=None)

    def configure_optimizers(self):
        raise NotImplementedError


class Grouped(Model):
    def configure_optimizers(self):
        weights = [parameter for parameter in self.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.parameters() if parameter.ndim <= 1]
        return torch.optim.AdamW([{"params": weights}, {"params": others, "weight_decay": self.weight_decay}], lr=0.1)


class Plain(Model):
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1, weight_decay=self.weight_decay)


def groups(weight_decay):
    model = Grouped(weight_decay)
    lightning.Trainer(**TRAINER).fit(model)
    return model.parameters()


def cli(weight_decay):
    config = Path(tempfile.mkdtemp()) / "config.yaml"
    settings = "".join(f"  {name}: {str(value).lower()}\n" for name, value in TRAINER.items())
    number = "null" if weight_decay is None else weight_decay
    config.write_text(f"seed_everything: 0\ntrainer:\n{settings}model:\n  weight_decay: {number}\n")
    return LightningCLI(Plain, args=["fit", "--config", str(config)], save_config_callback=None).model.parameters()


if __name__ == "__main__":
    client.run(groups, cli)
