"""torchvision: detectors, and layers, helpers and modules that programs import from its internals."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .messages import lost
from .row import advice, argument, behaviour, defaults, module, names


@module(
    "torchvision.models.utils",
    works="<0.11",
    says=r"No module named 'torchvision\.models\.utils'",
    example="""
import torch, torchvision
from torchvision.models.utils import load_state_dict_from_url
print(load_state_dict_from_url is torch.hub.load_state_dict_from_url)
""",
)
def models_utils() -> dict[str, Any]:
    """torchvision.models.utils had load_state_dict_from_url of torch.hub, and is called _utils since 0.11."""
    import torch.hub

    return {"load_state_dict_from_url": torch.hub.load_state_dict_from_url}


def _conv_bn(name: str, place: str) -> Any:
    import torch

    def __init__(
        self: Any,
        in_planes: int,
        out_planes: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        norm_layer: Any = None,
        activation_layer: Any = None,
        dilation: int = 1,
    ) -> None:
        nn = torch.nn
        padding = (kernel_size - 1) // 2 * dilation
        super(made, self).__init__(
            nn.Conv2d(in_planes, out_planes, kernel_size, stride, padding, dilation, groups, bias=False),
            (norm_layer or nn.BatchNorm2d)(out_planes),
            (activation_layer or nn.ReLU6)(inplace=True),
        )
        self.out_channels = out_planes

    made: Any = type(name, (torch.nn.Sequential,), {"__init__": __init__, "__module__": place})
    return made


@names(
    "torchvision.models.mobilenet",
    called="torchvision.models.mobilenet.ConvBNReLU",
    works="<0.9",
    says=lost("torchvision.models.mobilenet", "ConvBNReLU", "InvertedResidual", "_make_divisible"),
    example="""
import torch
from torchvision.models.mobilenet import ConvBNReLU, InvertedResidual
layer = ConvBNReLU(2, 4, kernel_size=3, stride=2, groups=2).eval()
for parameter in layer.parameters():
    torch.nn.init.constant_(parameter, 0.5)
y = layer(torch.arange(32.0).reshape(1, 2, 4, 4) / 10)
print(sorted(layer.state_dict()), [round(v, 3) for v in y.flatten().tolist()])
print(sorted(InvertedResidual(4, 4, 1, 6).state_dict())[:3])
""",
)
def mobilenet() -> dict[str, Any]:
    """torchvision.models.mobilenet had ConvBNReLU and InvertedResidual, which whole models pickled by it need."""
    mobilenetv2 = import_module("torchvision.models.mobilenetv2")

    here: Any = mobilenetv2
    return {
        "ConvBNReLU": _conv_bn("ConvBNReLU", "torchvision.models.mobilenet"),
        "InvertedResidual": here.InvertedResidual,
        "_make_divisible": here._make_divisible,
    }


@names(
    "torchvision.models.mobilenetv2",
    called="torchvision.models.mobilenetv2.ConvBNReLU",
    works=">=0.9,<0.14",
    says=lost("torchvision.models.mobilenetv2", "ConvBNReLU", "ConvBNActivation"),
    example="""
import torch
from torchvision.models.mobilenetv2 import ConvBNActivation, ConvBNReLU
layer = ConvBNActivation(2, 2, dilation=2, activation_layer=torch.nn.Hardswish).eval()
print(ConvBNReLU(2, 2)[2], layer[0].padding, layer[2], sorted(layer.state_dict())[:2], layer.out_channels)
""",
    versions=">=1.8",
)
def mobilenetv2() -> dict[str, Any]:
    """ConvBNReLU and ConvBNActivation became Conv2dNormActivation, with other arguments, and were removed in 0.14."""
    made = _conv_bn("ConvBNReLU", "torchvision.models.mobilenetv2")
    return {"ConvBNReLU": made, "ConvBNActivation": made}


@names(
    "torchvision.ops.misc",
    called="torchvision.ops.misc.Conv2d",
    works="<0.12",
    says=lost("torchvision.ops.misc", "Conv2d", "ConvTranspose2d", "BatchNorm2d"),
    example="""
import torch
from torchvision.ops import misc
print(tuple(misc.Conv2d(2, 3, 1)(torch.ones(1, 2, 4, 4)).shape), issubclass(misc.Conv2d, torch.nn.Conv2d))
print(issubclass(misc.ConvTranspose2d, torch.nn.ConvTranspose2d), issubclass(misc.BatchNorm2d, torch.nn.BatchNorm2d))
""",
)
def layers() -> dict[str, Any]:
    """Conv2d, ConvTranspose2d and BatchNorm2d of torchvision.ops.misc accepted empty tensors, as torch's own do now."""
    import torch

    return {each: getattr(torch.nn, each) for each in ("Conv2d", "ConvTranspose2d", "BatchNorm2d")}


@argument(
    "torchvision.ops.misc:FrozenBatchNorm2d.__init__",
    called="torchvision.ops.FrozenBatchNorm2d.n",
    works="<0.7",
    says=(
        r"FrozenBatchNorm2d(\.|\()(?:(?!\bFile ).)*__init__\(\) got an unexpected keyword argument 'n'|"
        r"FrozenBatchNorm2d\.__init__\(\) got an unexpected keyword argument 'n'",
        r"FrozenBatchNorm2d(\.|\()(?:(?!\bFile ).)*__init__\(\) missing 1 required positional argument: 'num_features'|"
        r"FrozenBatchNorm2d\.__init__\(\) missing 1 required positional argument: 'num_features'",
    ),
    example="""
import torch
from torchvision.ops.misc import FrozenBatchNorm2d
print(FrozenBatchNorm2d(n=3)(torch.ones(1, 3, 1, 1)).shape)
""",
)
def num_features(original: Any, *args: Any, n: Any = None, **kwargs: Any) -> None:
    """FrozenBatchNorm2d called its argument n up to 0.6, and has called it num_features since 0.7."""
    # https://github.com/pytorch/vision/blob/v0.5.0/torchvision/ops/misc.py#L126
    # https://github.com/pytorch/vision/blob/v0.7.0/torchvision/ops/misc.py#L49
    original(*args, **(kwargs if n is None else {**kwargs, "num_features": n}))


@defaults(
    "torchvision.ops.misc:FrozenBatchNorm2d.__init__",
    called="torchvision.ops.FrozenBatchNorm2d.eps",
    were={"eps": 0.0},
    works="<0.9",
    example="""
import torch
from torchvision.ops.misc import FrozenBatchNorm2d
layer = FrozenBatchNorm2d(1)
layer.running_var.fill_(1e-6)
print("%.1f" % layer(torch.ones(1, 1, 1, 1)).item())
""",
)
def eps() -> None:
    """FrozenBatchNorm2d added no eps to the variance by default; since 0.9 it adds 1e-5."""
    # https://github.com/pytorch/vision/blob/v0.9.1/torchvision/ops/misc.py#L54


_DETECTORS = "torchvision.models.detection"


@behaviour(
    f"{_DETECTORS}.faster_rcnn:fasterrcnn_resnet50_fpn",
    f"{_DETECTORS}.faster_rcnn:fasterrcnn_mobilenet_v3_large_fpn",
    f"{_DETECTORS}.faster_rcnn:fasterrcnn_mobilenet_v3_large_320_fpn",
    f"{_DETECTORS}.retinanet:retinanet_resnet50_fpn",
    f"{_DETECTORS}.mask_rcnn:maskrcnn_resnet50_fpn",
    f"{_DETECTORS}.keypoint_rcnn:keypointrcnn_resnet50_fpn",
    called="torchvision.models.detection.FrozenBatchNorm2d",
    works="<0.13",
    example="""
from torchvision.models.detection import fasterrcnn_resnet50_fpn
model = fasterrcnn_resnet50_fpn(pretrained_backbone=False)
print(sorted({type(layer).__name__ for layer in model.backbone.modules() if "BatchNorm" in type(layer).__name__}))
""",
)
def frozen(original: Any, *args: Any, **kwargs: Any) -> Any:
    """The batch norms of a detector's backbone were always frozen; since 0.13 only those of a pretrained one are."""
    # https://github.com/pytorch/vision/blob/v0.12.0/torchvision/models/detection/faster_rcnn.py#L394
    # https://github.com/pytorch/vision/blob/v0.13.1/torchvision/models/detection/faster_rcnn.py#L558
    model = original(*args, **kwargs)
    _freeze(model.backbone)
    return model


def _freeze(module: Any) -> None:
    import torch

    for name, child in list(module.named_children()):
        if type(child) is torch.nn.BatchNorm2d:
            layer = import_module("torchvision.ops").FrozenBatchNorm2d(child.num_features)
            layer.load_state_dict(child.state_dict(), strict=False)  # has num_batches_tracked, too
            setattr(module, name, layer)
        else:
            _freeze(child)


@names(
    "torchvision.datasets.utils",
    called="torchvision.datasets.utils.makedir_exist_ok",
    works="<0.6",
    says=lost("torchvision.datasets.utils", "makedir_exist_ok"),
    example="""
import os, tempfile
from torchvision.datasets.utils import makedir_exist_ok
path = os.path.join(tempfile.mkdtemp(), "a", "b")
makedir_exist_ok(path)
makedir_exist_ok(path)
print(os.path.isdir(path))
""",
)
def datasets_utils() -> dict[str, Any]:
    """makedir_exist_ok is os.makedirs(path, exist_ok=True)."""
    from pathlib import Path

    return {"makedir_exist_ok": lambda dirpath: Path(dirpath).mkdir(parents=True, exist_ok=True)}


@names(
    "torchvision.transforms.functional",
    called="torchvision.transforms.functional._get_image_size",
    works=">=0.8,<0.11",
    says=lost("torchvision.transforms.functional", "_get_image_size", "_get_image_num_channels"),
    example="""
import torch
from PIL import Image
from torchvision.transforms import functional
print([*functional._get_image_size(Image.new("L", (3, 5)))], [*functional._get_image_size(torch.ones(1, 5, 3))])
""",
    versions=">=1.10",
)
def image_size() -> dict[str, Any]:
    """_get_image_size and _get_image_num_channels have had no underscore since 0.11."""
    # https://github.com/pytorch/vision/blob/v0.11.3/torchvision/transforms/functional.py#L61
    here: Any = import_module("torchvision.transforms.functional")
    return {"_get_image_size": here.get_image_size, "_get_image_num_channels": here.get_image_num_channels}


@module(
    "torchvision.datapoints",
    works=">=0.15,<0.16",
    says=(r"No module named 'torchvision\.datapoints'", *lost("torchvision", "datapoints")),
    example="""
import torch, torchvision
torchvision.disable_beta_transforms_warning()
from torchvision import datapoints
image = datapoints.Image(torch.ones(3, 2, 2))
print(type(image).__name__, isinstance(image, torch.Tensor), tuple(image.shape), datapoints.BoundingBoxFormat.XYXY.name)
print(issubclass(datapoints.Mask, torch.Tensor), issubclass(datapoints.Video, torch.Tensor))
""",
    versions=">=2.1",
)
def datapoints() -> dict[str, Any]:
    """torchvision.datapoints of 0.15 has been tv_tensors since 0.16."""
    tv_tensors = import_module("torchvision.tv_tensors")

    held = {key: value for key, value in vars(tv_tensors).items() if not key.startswith("__")}
    return {**held, "BoundingBox": held["BoundingBoxes"]}


advice(
    "Kinetics400",
    'The dataset Kinetics400 became Kinetics in torchvision 0.14, with num_classes="400".',
    lost("torchvision.datasets", "Kinetics400"),
    works="<0.14",
    of="torchvision",
)
advice(
    "pickled transforms",
    "The transforms of torchvision became modules of torch.nn in 0.8, and what an older release has pickled whole "
    "lacks what modules have. Build the transforms anew, and load weights with load_state_dict.",
    r"'(Normalize|Resize|CenterCrop|Pad|RandomCrop|RandomHorizontalFlip|RandomResizedCrop|ColorJitter|Grayscale|"
    r"RandomRotation|RandomAffine|RandomErasing|LinearTransformation|FiveCrop|TenCrop)' object has no attribute "
    r"'(_backward_hooks|_forward_hooks|_forward_pre_hooks|_backward_pre_hooks|_modules|training)'",
    works="<0.8",
    of="torchvision",
)
