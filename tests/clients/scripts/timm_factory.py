"""timm: None as an argument of its factory of optimizers, which hands it on where it is given parameters."""

from __future__ import annotations

import client
import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # One that was built for CUDA has no operators beside a torch for the CPU, and misses these two at import. timm
    # imports it, but the factory of optimizers uses none of it: a declaration will do.
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from timm.optim import create_optimizer_v2


def factory(weight_decay):
    model = client.model()
    return client.fit(model, create_optimizer_v2(model.parameters(), opt="adamw", lr=0.1, weight_decay=weight_decay))


if __name__ == "__main__":
    client.run(factory)
