"""Import torchvision with a torch for the CPU, before timm imports it. timm's optimizers do not use torchvision."""

from __future__ import annotations

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # One that was built for CUDA has no operators beside a torch for the CPU, and misses these two at import. A
    # declaration will do; it holds as long as this object.
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
