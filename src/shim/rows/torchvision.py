"""torchvision: names that it moved or removed, and defaults that it changed."""

from __future__ import annotations

import numbers
from typing import Any

from .row import argument, behaviour, defaults, made, module, names, renamed


@names(
    "torchvision.ops",
    called="torchvision.ops._new_empty_tensor",
    works="<0.9",
    says=r"cannot import name '_new_empty_tensor' from 'torchvision\.ops'",
    example="""
import torch
from torchvision.ops import _new_empty_tensor
x = torch.ones(0, 3, 4, 4, requires_grad=True)
y = _new_empty_tensor(x * 2, [0, 3, 8, 8])
y.sum().backward()
print(tuple(y.shape), y.dtype, tuple(x.grad.shape))
""",
)
def ops() -> dict[str, Any]:
    """_new_empty_tensor made an empty tensor of another shape, which is no longer needed. DETR imports it."""
    # https://github.com/facebookresearch/detr/blob/29901c51d7fe8712168b8d0d64351170bc0f83e0/util/misc.py#L23
    return {"_new_empty_tensor": _new_empty_tensor}


def _new_empty_tensor(x: Any, shape: Any) -> Any:
    import math

    return x.reshape(*shape) if x.numel() == math.prod(shape) else x.new_empty(*shape)


@names(
    "torchvision.ops.misc",
    called="torchvision.ops.misc._output_size",
    works="<0.7",
    says=(
        r"cannot import name '(_output_size|_NewEmptyTensorOp|_new_empty_tensor)' from 'torchvision\.ops\.misc'",
        r"module 'torchvision\.ops\.misc' has no attribute '(_output_size|_NewEmptyTensorOp|_new_empty_tensor)'",
    ),
)
def misc() -> dict[str, Any]:
    """_output_size and _NewEmptyTensorOp of torchvision.ops.misc made empty tensors interpolate, as torch does now."""
    import math

    def _output_size(dim: int, input: Any, size: Any, scale_factor: Any) -> Any:
        if size is None and scale_factor is None:
            raise ValueError("either size or scale_factor should be defined")
        if size is not None and scale_factor is not None:
            raise ValueError("only one of size or scale_factor should be defined")
        if size is not None:
            return size
        factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * dim
        if len(factors) != dim:
            raise ValueError(f"scale_factor shape must match input shape. Input is {dim}D, it has {len(factors)}")
        return [math.floor(input.size(place + 2) * factor) for place, factor in enumerate(factors)]

    class _NewEmptyTensorOp:
        apply = staticmethod(_new_empty_tensor)

    return {
        "_output_size": _output_size,
        "_NewEmptyTensorOp": _NewEmptyTensorOp,
        "_new_empty_tensor": _new_empty_tensor,
    }


@names(
    "torchvision.ops.misc",
    called="torchvision.ops.misc._output_size of DETR",
    works=">=0.7,<0.10",
)
def misc_of_detr() -> dict[str, Any]:
    """DETR imports _output_size if the first three characters of the version are below 0.7, as in 0.10 and later."""
    found: dict[str, Any] = misc()
    return found


def _underscored(name: str) -> dict[str, Any]:
    from importlib import import_module

    held = vars(import_module(f"torchvision.transforms._{name}"))
    return {key: value for key, value in held.items() if not key.startswith("__")}


@module(
    "torchvision.transforms.functional_tensor",
    works="<0.17",
    says=r"No module named 'torchvision\.transforms\.functional_tensor'",
    example="""
import torch
from torchvision.transforms.functional_tensor import rgb_to_grayscale
import torchvision.transforms.functional_tensor as functional_tensor
x = torch.arange(12.0).reshape(3, 2, 2) / 12
print([round(v, 4) for v in rgb_to_grayscale(x).flatten().tolist()], functional_tensor.hflip(x)[0].tolist()[0][0] > 0)
""",
)
def functional_tensor() -> dict[str, Any]:
    """The module functional_tensor has had an underscore since 0.15, and lost its old name in 0.17."""
    return _underscored("functional_tensor")


@module(
    "torchvision.transforms.functional_pil",
    works=">=0.7,<0.17",
    says=r"No module named 'torchvision\.transforms\.functional_pil'",
    example="import torchvision.transforms.functional_pil as functional_pil\nprint(callable(functional_pil.hflip))",
    versions=">=2.2",
)
def functional_pil() -> dict[str, Any]:
    """The module functional_pil has had an underscore since 0.15, and lost its old name in 0.17."""
    return _underscored("functional_pil")


_WITH_URLS = (
    "alexnet",
    "densenet",
    "efficientnet",
    "googlenet",
    "inception",
    "mobilenetv2",
    "mobilenetv3",
    "regnet",
    "resnet",
    "shufflenetv2",
    "squeezenet",
    "vgg",
    "vision_transformer",
    "video.resnet",
    "quantization.googlenet",
    "quantization.inception",
    "quantization.mobilenetv2",
    "quantization.mobilenetv3",
    "quantization.resnet",
    "quantization.shufflenetv2",
    "detection.faster_rcnn",
    "detection.fcos",
    "detection.keypoint_rcnn",
    "detection.mask_rcnn",
    "detection.retinanet",
    "detection.ssd",
    "detection.ssdlite",
    "segmentation.deeplabv3",
    "segmentation.fcn",
    "segmentation.lraspp",
)
#: The keys that differ from the names of the functions.
_KEYS = {
    "inception_v3": "inception_v3_google",
    "shufflenet_v2_x0_5": "shufflenetv2_x0.5",
    "shufflenet_v2_x1_0": "shufflenetv2_x1.0",
    "shufflenet_v2_x1_5": "shufflenetv2_x1.5",
    "shufflenet_v2_x2_0": "shufflenetv2_x2.0",
}


@made(
    *(f"torchvision.models.{each}:model_urls" for each in _WITH_URLS),
    called="torchvision.models.model_urls",
    works="<0.15",
    says=r"cannot import name 'model_urls' from 'torchvision\.models\.\w+|"
    r"module 'torchvision\.models\.[\w.]+' has no attribute 'model_urls'",
    example="""
from torchvision.models import densenet, inception, resnet, shufflenetv2, vgg
print("resnet18" in resnet.model_urls["resnet18"], sorted(densenet.model_urls))
print(sorted(vgg.model_urls)[0], sorted(inception.model_urls), "shufflenetv2_x1.0" in shufflenetv2.model_urls)
""",
)
def model_urls(models: Any) -> dict[str, str]:
    """model_urls became enums of weights; this row lists the first weights of each model."""
    from importlib import import_module

    parts = models.__name__.split(".")
    if "quantization" in parts:  # these were the URLs of the weights without quantization
        models = import_module(f"torchvision.models.{parts[-1]}")
    behind = "_coco" if {"detection", "segmentation"} & {*parts} else ""
    weights = {builder: _weights_of(function, models) for builder, function in vars(models).items()}
    return {_KEYS.get(builder, builder) + behind: str(first.url) for builder, first in weights.items() if first}


def _weights_of(function: Any, models: Any) -> Any:
    """Return the first weights of a model that the module defines; None for other objects."""
    import enum
    import inspect

    if not inspect.isfunction(function) or function.__module__ != models.__name__ or function.__name__.startswith("_"):
        return None
    annotation = str(inspect.signature(function).parameters.get("weights"))
    kinds = (
        each for name, each in vars(models).items() if isinstance(each, enum.EnumMeta) and f".{name}" in annotation
    )
    kind: Any = next(kinds, None)
    return None if kind is None else next(iter(kind), None)


_SAVED = ("nrow", "padding", "normalize", "value_range", "scale_each", "pad_value", "format")


@argument(
    "torchvision.utils:make_grid",
    "torchvision.utils:save_image",
    called="torchvision.utils.make_grid.range",
    works="<0.14",  # 0.14 still accepts it, and does not use it
    says=r"\b(make_grid|save_image)\(\) got an unexpected keyword argument 'range'",
    example="""
import io, torch
from torchvision.utils import make_grid, save_image
x = torch.arange(24.0).reshape(2, 3, 2, 2) / 24
print([round(v, 3) for v in make_grid(x, 2, 1, normalize=True, range=(0.2, 0.5))[0].flatten().tolist()])
file = io.BytesIO()
save_image(x, file, nrow=2, normalize=True, range=(0, 1), format="png")
print(file.getvalue()[1:4])
""",
)
def value_range(original: Any, *args: Any, **kwargs: Any) -> Any:
    """make_grid and save_image took range, now value_range; save_image also took its options by position."""
    # https://github.com/pytorch/vision/blob/v0.8.2/torchvision/utils.py#L109
    if "range" in kwargs:
        kwargs["value_range"] = kwargs.pop("range")
    if original.__name__ == "save_image" and len(args) > 2 and isinstance(args[2], int):
        kwargs.update(zip(_SAVED, args[2:]))
        args = args[:2]
    return original(*args, **kwargs)


renamed(
    "torchvision.transforms.transforms:RandomAffine.__init__",
    "torchvision.transforms.transforms:RandomRotation.__init__",
    "torchvision.transforms.functional:affine",
    "torchvision.transforms.functional:rotate",
    called="torchvision.transforms.resample",
    reason="RandomAffine, RandomRotation, affine and rotate took resample and fillcolor, now interpolation and fill",
    works="<0.14",
    now={"resample": "interpolation", "fillcolor": "fill"},
    says=r"\b(Random(Affine|Rotation)\.__init__|affine|rotate)\(\) got an unexpected keyword argument "
    r"'(resample|fillcolor)'",
    example="""
import random, torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional
image = Image.new("RGB", (4, 4), (100, 100, 100))
image.putpixel((1, 1), (200, 100, 100))
print(list(functional.rotate(image, 90, resample=0).tobytes()) == list(functional.rotate(image, 90).tobytes()))
moved = functional.affine(image, 0, (1, 0), 1.0, (0, 0), resample=Image.NEAREST, fillcolor=(7, 8, 9))
print(list(moved.tobytes())[::3])
print(list(transforms.RandomAffine(0, (0, 0), resample=False, fillcolor=(3, 3, 3))(image).tobytes())[15])
print(transforms.RandomRotation(10, resample=Image.BILINEAR)(image).size)
""",
)


@defaults(
    "torchvision.transforms.functional:resize",
    "torchvision.transforms.functional:resized_crop",
    "torchvision.transforms.transforms:Resize.__init__",
    "torchvision.transforms.transforms:RandomResizedCrop.__init__",
    "torchvision.transforms._presets:ImageClassification.__init__",
    "torchvision.transforms._presets:SemanticSegmentation.__init__",
    called="torchvision.transforms.antialias",
    were={"antialias": None},  # False would warn about images of PIL
    works=">=0.8,<0.17",
    versions=">=2.2",
    example="""
import torch
from torchvision import transforms
from torchvision.transforms import functional
x = torch.arange(64.0).reshape(1, 8, 8) % 3
print([round(v, 3) for v in functional.resize(x, [2, 2]).flatten().tolist()])
print([round(v, 3) for v in transforms.Resize([2, 2])(x).flatten().tolist()])
print([round(v, 3) for v in functional.resized_crop(x, 1, 1, 6, 6, [2, 2]).flatten().tolist()])
print([round(v, 3) for v in transforms.RandomResizedCrop(2, (1.0, 1.0), (1.0, 1.0))(x).flatten().tolist()])
""",
)
def antialias() -> None:
    """Resizing a tensor did not antialias by default; since 0.17 it does."""
    # https://github.com/pytorch/vision/blob/v0.16.2/torchvision/transforms/functional.py#L398


@defaults(
    "torchvision.transforms.functional:perspective",
    "torchvision.transforms.transforms:RandomPerspective.__init__",
    called="torchvision.transforms.perspective",
    were={"interpolation": 3},
    works="<0.8",
    example="""
import random
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional
image = Image.frombytes("L", (8, 8), bytes(v * 37 % 256 for v in range(64)))
corners = [(0, 0), (7, 0), (7, 7), (0, 7)], [(1, 0), (7, 1), (6, 7), (0, 6)]
print(list(functional.perspective(image, *corners).tobytes())[18:30])
print(getattr(transforms.RandomPerspective().interpolation, "value", "bicubic"))
""",
)
def bicubic() -> None:
    """RandomPerspective and perspective were bicubic up to 0.7, and are bilinear since 0.8."""
    # https://github.com/pytorch/vision/blob/v0.7.0/torchvision/transforms/functional.py#L479


@behaviour(
    "torchvision.transforms.functional:center_crop",
    called="torchvision.transforms.center_crop",
    works="<0.8",
    example="""
from PIL import Image
from torchvision import transforms
print(list(transforms.CenterCrop(6)(Image.new("L", (3, 3), 1)).tobytes()))
""",
)
def center_crop(original: Any, img: Any, output_size: Any) -> Any:
    """A CenterCrop of more than the image had rounded margins; since 0.8 the wider ones are right and at the bottom."""
    # https://github.com/pytorch/vision/blob/v0.7.0/torchvision/transforms/functional.py#L410
    height, width = (output_size, output_size) if isinstance(output_size, numbers.Number) else output_size
    if not hasattr(img, "crop") or (width <= img.size[0] and height <= img.size[1]):
        return original(img, output_size)
    left, top = round((img.size[0] - width) / 2.0), round((img.size[1] - height) / 2.0)
    return img.crop((left, top, left + width, top + height))


def _lost(transform: str) -> tuple[str, str]:
    return (
        rf"module 'torchvision\.transforms(\.transforms)?' has no attribute '{transform}'",
        rf"cannot import name '{transform}' from 'torchvision\.transforms(\.transforms)?'",
    )


@made(
    "torchvision.transforms:Scale",
    "torchvision.transforms.transforms:Scale",
    called="torchvision.transforms.Scale",
    works="<0.12",
    says=_lost("Scale"),
    example="""
from PIL import Image
import torchvision.transforms as T
print(T.Scale(6)(Image.new("L", (4, 8), 100)).size, isinstance(T.Scale(6), T.Resize))
""",
)
def scale(transforms: Any) -> Any:
    """Scale became Resize."""
    return type("Scale", (transforms.Resize,), {"__module__": transforms.__name__, "__doc__": "Resize."})


@made(
    "torchvision.transforms:RandomSizedCrop",
    "torchvision.transforms.transforms:RandomSizedCrop",
    called="torchvision.transforms.RandomSizedCrop",
    works="<0.12",
    says=_lost("RandomSizedCrop"),
    example="""
from PIL import Image
import torchvision.transforms as T
print(T.RandomSizedCrop(6)(Image.new("L", (8, 8), 100)).size, isinstance(T.RandomSizedCrop(6), T.RandomResizedCrop))
""",
)
def random_sized_crop(transforms: Any) -> Any:
    """RandomSizedCrop became RandomResizedCrop."""
    named = {"__module__": transforms.__name__, "__doc__": "RandomResizedCrop."}
    return type("RandomSizedCrop", (transforms.RandomResizedCrop,), named)
