"""transformers: None in the Trainer's arguments, from code and from a JSON file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import client
import torch
import transformers

HERE = Path(tempfile.mkdtemp())
SETTINGS = {
    "output_dir": str(HERE),
    "max_steps": client.STEPS,
    "per_device_train_batch_size": 6,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "disable_tqdm": True,
}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = client.model()

    def forward(self, inputs):
        return {"loss": self.layers(inputs).pow(2).mean()}


def train(arguments):
    model = Model()
    data = [{"inputs": row} for batch in client.batches() for row in batch]
    transformers.Trainer(model, arguments, train_dataset=data).train()
    return model.parameters()


def arguments(weight_decay):
    return train(transformers.TrainingArguments(**SETTINGS, weight_decay=weight_decay))


def from_json(weight_decay):
    file = HERE / "arguments.json"
    file.write_text(json.dumps({**SETTINGS, "weight_decay": weight_decay}))
    (parsed,) = transformers.HfArgumentParser(transformers.TrainingArguments).parse_json_file(str(file))
    return train(parsed)


if __name__ == "__main__":
    client.run(arguments, from_json)
