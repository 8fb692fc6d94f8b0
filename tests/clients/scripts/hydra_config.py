"""hydra: None on the command line, for an instantiated node; omegaconf: null in a node of a YAML file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import client
import hydra
from omegaconf import OmegaConf

HERE = Path(tempfile.mkdtemp())
CONFIG = """
optimizer:
  _target_: torch.optim.AdamW
  lr: 0.1
  weight_decay: %s
"""


def train(config):
    model = client.model()
    return client.fit(model, hydra.utils.instantiate(config.optimizer, params=model.parameters()))


def node(weight_decay):
    file = HERE / "node.yaml"
    file.write_text(CONFIG % json.dumps(weight_decay))
    return train(OmegaConf.load(file))


def override(weight_decay):
    (HERE / "config.yaml").write_text(CONFIG % 0.01)
    with hydra.initialize_config_dir(str(HERE), version_base=None):
        return train(hydra.compose("config", overrides=[f"optimizer.weight_decay={json.dumps(weight_decay)}"]))


if __name__ == "__main__":
    client.run(node, override)
