"""Lightning: None in the groups of configure_optimizers, and in the YAML file of a LightningCLI, in two places."""

from __future__ import annotations

import json
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


class Unoptimized(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = client.model()

    def training_step(self, batch, _):
        return self.layers(batch).pow(2).mean()

    def train_dataloader(self):
        return torch.utils.data.DataLoader(client.batches(), batch_size=None)


class Model(Unoptimized):
    def __init__(self, weight_decay: float | None = 0.01):
        super().__init__()
        self.weight_decay = weight_decay

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


def fit(model_class, config):
    """Run the command line ``fit --config config.yaml``."""
    file = Path(tempfile.mkdtemp()) / "config.yaml"
    settings = "".join(f"  {name}: {str(value).lower()}\n" for name, value in TRAINER.items())
    file.write_text(f"seed_everything: 0\ntrainer:\n{settings}{config}")
    return LightningCLI(model_class, args=["fit", "--config", str(file)], save_config_callback=None).model.parameters()


def cli(weight_decay):
    return fit(Plain, f"model:\n  weight_decay: {json.dumps(weight_decay)}\n")


def cli_optimizer(weight_decay):
    arguments = {"lr": 0.1, "weight_decay": weight_decay}
    return fit(Unoptimized, f"optimizer:\n  class_path: torch.optim.AdamW\n  init_args: {json.dumps(arguments)}\n")


if __name__ == "__main__":
    client.run(groups, cli, cli_optimizer)
