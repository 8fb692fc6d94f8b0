"""Pillow: the filters and functions that 7 to 10 removed, and that programs with torchvision use."""

from __future__ import annotations

from typing import Any

from .messages import lost
from .row import name, names


@names(
    "PIL.Image",
    called="PIL.Image.ANTIALIAS",
    works="<10",
    of="PIL",
    says=lost("PIL.Image", "ANTIALIAS", "CUBIC", "LINEAR"),
    example="""
from PIL import Image
image = Image.new("L", (4, 4), 100)
image.putpixel((1, 1), 200)
small = image.resize((2, 2), Image.ANTIALIAS)
print(Image.ANTIALIAS == Image.LANCZOS, Image.LINEAR == Image.BILINEAR, Image.CUBIC == Image.BICUBIC)
print(small.tobytes() == image.resize((2, 2), Image.LANCZOS).tobytes())
""",
)
def filters() -> dict[str, Any]:
    """The filters ANTIALIAS, LINEAR and CUBIC have one name each since Pillow 10: LANCZOS, BILINEAR and BICUBIC."""
    from PIL import Image

    now: Any = Image
    return {"ANTIALIAS": now.LANCZOS, "CUBIC": now.BICUBIC, "LINEAR": now.BILINEAR}


def _version() -> dict[str, Any]:
    """PILLOW_VERSION has been PIL.__version__ since Pillow 7 (7.1 to 8 had both); torchvision up to 0.4 imports it."""
    # https://github.com/pytorch/vision/blob/v0.4.2/torchvision/transforms/functional.py#L5
    import PIL

    return {"PILLOW_VERSION": PIL.__version__, "VERSION": "1.1.7"}


names(
    "PIL",
    called="PIL.PILLOW_VERSION",
    works="<7 || >=7.1,<9",
    says=lost("PIL", "PILLOW_VERSION", "VERSION"),
    example="import PIL\nfrom PIL import PILLOW_VERSION\nprint(PILLOW_VERSION == PIL.__version__)",
)(_version)
names(
    "PIL.Image",
    called="PIL.Image.PILLOW_VERSION",
    works="<7 || >=7.1,<9",
    of="PIL",
    says=lost("PIL.Image", "PILLOW_VERSION"),
    example="import PIL\nfrom PIL import Image\nprint(Image.PILLOW_VERSION == PIL.__version__)",
)(_version)


@name(
    *(f"PIL.ImageFont:{each}.getsize" for each in ("ImageFont", "FreeTypeFont", "TransposedFont")),
    called="PIL.ImageFont.getsize",
    works="<10",
    of="PIL",
    says=r"'(ImageFont|FreeTypeFont|TransposedFont)' object has no attribute 'getsize'",
    example="""
from PIL import Image, ImageFont

class Six:
    def getsize(self, text):
        return 6 * len(text), 11

font = ImageFont.ImageFont()
font.font = Six()
print(font.getsize("shim"), ImageFont.TransposedFont(font, Image.ROTATE_90).getsize("shim"))
""",
)
def getsize(
    self: Any, text: Any, direction: Any = None, features: Any = None, language: Any = None, stroke_width: int = 0
) -> tuple[int, int]:
    """Font.getsize measured from the top, as getbbox(text)[3] does since Pillow 8."""
    if hasattr(self, "orientation"):
        width, height = getsize(self.font, text)
        from PIL import Image

        turned = self.orientation in (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)
        return (height, width) if turned else (width, height)
    given = {"direction": direction, "features": features, "language": language, "stroke_width": stroke_width}
    left, _, right, bottom = self.getbbox(text, **{key: value for key, value in given.items() if value})
    return int(right - left), int(bottom) + stroke_width


_A_DRAWING = """
import torch
from PIL import Image, ImageDraw, ImageFont

class Six:
    def getsize(self, text, *args):
        return 6 * len(text), 11

font = ImageFont.ImageFont()
font.font = Six()
draw = ImageDraw.Draw(Image.new("L", (4, 4)))
"""


@name(
    "PIL.ImageDraw:ImageDraw.multiline_textsize",
    called="PIL.ImageDraw.multiline_textsize",
    works="<10",
    of="PIL",
    says=r"'ImageDraw' object has no attribute 'multiline_textsize'",
    example=_A_DRAWING
    + """
print(draw.multiline_textsize("a\\nb\\nc", font=font, spacing=0), draw.multiline_textsize("abc", font, 7))
""",
)
def multiline_textsize(self: Any, text: Any, font: Any = None, spacing: float = 4, *args: Any, **kwargs: Any) -> Any:
    """ImageDraw.multiline_textsize returned the width of the widest line, and the height of all lines."""
    font = self.getfont() if font is None else font
    lines = text.split("\n" if isinstance(text, str) else b"\n")
    stroke = kwargs.get("stroke_width", args[3] if len(args) > 3 else 0)
    line_spacing = getsize(font, "A", stroke_width=stroke)[1] + spacing
    widest = max(getsize(font, line, *args, **kwargs)[0] for line in lines)
    return widest, len(lines) * line_spacing - spacing


@name(
    "PIL.ImageDraw:ImageDraw.textsize",
    called="PIL.ImageDraw.textsize",
    works="<10",
    of="PIL",
    says=r"'ImageDraw' object has no attribute 'textsize'",
    example=_A_DRAWING
    + """
print(draw.textsize("shim", font), draw.textsize("a\\nlonger one", font=font), draw.textsize("a\\nb", font, 7))
""",
)
def textsize(self: Any, text: Any, font: Any = None, spacing: float = 4, *args: Any, **kwargs: Any) -> Any:
    """ImageDraw.textsize was the font's getsize, or multiline_textsize for several lines."""
    if ("\n" if isinstance(text, str) else b"\n") in text:
        return multiline_textsize(self, text, font, spacing, *args, **kwargs)
    return getsize(self.getfont() if font is None else font, text, *args, **kwargs)
