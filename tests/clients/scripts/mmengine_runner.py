"""mmengine: None in a Python config, for build_optim_wrapper and for a Runner."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import client
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

HERE = Path(tempfile.mkdtemp())


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layers = client.model()

    def forward(self, inputs, mode):
        return {"loss": self.layers(inputs).pow(2).mean()}


def config(weight_decay):
    file = HERE / "config.py"
    file.write_text(
        f"optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay={weight_decay}))\n"
        f"train_cfg = dict(by_epoch=False, max_iters={client.STEPS})\n"
    )
    return Config.fromfile(str(file))


def wrapper(weight_decay):
    model = client.model()
    wrapped = build_optim_wrapper(model, config(weight_decay).optim_wrapper)
    for batch in client.batches():
        wrapped.update_params(model(batch).pow(2).mean())
    return model.parameters()


def runner(weight_decay):
    settings = config(weight_decay)
    model = Model()
    rows = [{"inputs": row} for batch in client.batches() for row in batch]
    Runner(
        model,
        work_dir=str(HERE),
        train_dataloader=torch.utils.data.DataLoader(rows, batch_size=6),
        train_cfg=settings.train_cfg,
        optim_wrapper=settings.optim_wrapper,
        default_hooks={"checkpoint": None},
        experiment_name=f"runner-{weight_decay}",
        log_level=logging.ERROR,
    ).train()
    return model.parameters()


if __name__ == "__main__":
    client.run(wrapper, runner)
