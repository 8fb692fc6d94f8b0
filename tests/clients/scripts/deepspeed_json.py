"""DeepSpeed: null in its JSON config, on the CPU."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import client
import deepspeed

# One process, with any free port.
os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")


def config(weight_decay):
    file = Path(tempfile.mkdtemp()) / "deepspeed.json"
    settings = {"lr": 0.1, "weight_decay": weight_decay, "torch_adam": True}
    file.write_text(json.dumps({"train_batch_size": 6, "optimizer": {"type": "AdamW", "params": settings}}))
    model = client.model()
    engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=str(file))
    for batch in client.batches():
        engine.backward(engine(batch).pow(2).mean())
        engine.step()
    return model.parameters()


if __name__ == "__main__":
    client.run(config)
