"""Picture files to RGB pictures, and one exception for every file that cannot become one.

What becomes of a file:

* its content decides the format, never its suffix: JPEG, PNG, WebP, BMP, GIF, TIFF, PPM/PGM/PBM, and nothing else;
* a picture of more than `MAX_PIXELS` pixels is refused by its header, before a pixel is decoded;
* a truncated or damaged file is an error, never a half grey picture;
* the camera's orientation (EXIF) is applied, so that the picture stands as people see it;
* an animation or a file of several pages is its first picture;
* CMYK, palettes and black-and-white become RGB; transparency is dropped, not blended with a background, as in the
  preprocessing of the published CLIP models;
* 16-bit greyscale is scaled to 8 bits (65535 becomes 255); 16 bits per colour keep their upper 8; 32-bit and
  floating-point greyscale is refused, since no file says which value is white.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import warnings
import zlib
from typing import Any, BinaryIO, Optional, Union

import numpy as np
from PIL import Image, UnidentifiedImageError

from passl.utils.errors import UserError

# An explicit list: parsers for rare formats are where new ways of exhausting memory keep being found.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")

# A quarter of a gigabyte as RGB; where Pillow itself begins to warn.
MAX_PIXELS = 89_478_485

# What Pillow raises on damaged files: OSError, SyntaxError and ValueError on purpose, the rest where a field is not what it
# claims to be (EXIF above all). A million altered files of all seven formats raised nothing else.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    LookupError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)

_PILLOW = r"PIL\."
# EXIF's tag of the orientation, and what undoes each of its values.
_ORIENTATION = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


class BadSample(UserError):
    """A sample that cannot be used.

    Args:
        reason: why, without the path, so that equal reasons can be counted.
        path: the file at fault.
    """

    def __init__(self, reason: str, path: Optional[str] = None) -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return self.reason if self.path is None else f"{self.path}: {self.reason}"


class BadImage(BadSample):
    """A file that is no readable picture."""


def load_image(source: Union[str, os.PathLike, BinaryIO], max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads a picture as RGB; the head of this file says what becomes of each kind.

    Args:
        source: a path, or a binary file such as `io.BytesIO(data)`.
        max_pixels: a picture with more pixels is refused before it is decoded.

    Raises:
        BadImage: whatever is wrong with the file.
    """
    path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    _silence_pillow()
    try:
        with _open(source) as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise BadImage(f"more than {max_pixels} pixels")
            # PNG and PGM have no more than 16 bits; older versions of Pillow show them in mode "I" all the same.
            is_sixteen_bit = image.mode == "I" and image.format in ("PNG", "PPM")
            upright = _upright(image)
            return _scale_sixteen_bits(upright) if is_sixteen_bit else to_rgb(upright)
    except BadImage as error:
        raise BadImage(error.reason, path) from None
    except UnidentifiedImageError:
        raise BadImage(f"not a picture in a known format ({', '.join(FORMATS)})", path) from None
    except Image.DecompressionBombError:
        most = 2 * Image.MAX_IMAGE_PIXELS  # type: ignore[operator]  # with None, no limit, this is not raised
        raise BadImage(f"more than {min(max_pixels, most)} pixels", path) from None
    except _DAMAGE as error:
        raise BadImage(f"truncated or damaged ({type(error).__name__}: {_without_numbers(error)})", path) from error


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its camera's orientation says. Only that tag is looked at: others may be nonsense and do no harm."""
    method = _TRANSPOSITIONS.get(image.getexif().get(_ORIENTATION, 1))
    return image.copy() if method is None else image.transpose(method)


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB; 16-bit greyscale is scaled, not cut off.

    Raises:
        BadImage: there is no agreed way to show this mode in 8 bits.
    """
    if image.mode == "RGB":
        return image
    if image.mode in _SIXTEEN_BITS:
        return _scale_sixteen_bits(image)
    if image.mode in ("I", "F"):
        raise BadImage("32-bit greyscale, for which no file says what is white; save it with 8 or 16 bits")
    return image.convert("RGB")


def _scale_sixteen_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")


def _open(source: Any) -> BinaryIO:
    """An open binary file; anything but a regular file is refused, since opening a pipe would wait for ever."""
    if not isinstance(source, (str, os.PathLike)):
        return io.BytesIO(source.read())
    try:
        status = os.stat(source)
    except FileNotFoundError:
        raise BadImage("no such file") from None
    except (OSError, ValueError) as error:
        raise BadImage(f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    if stat.S_ISDIR(status.st_mode):
        raise BadImage("a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("not a regular file")
    if status.st_size == 0:
        raise BadImage("an empty file")
    try:
        return open(source, "rb")
    except OSError as error:
        raise BadImage(f"cannot be opened ({error.strerror})") from None


def _without_numbers(error: Exception) -> str:
    """The error's words; offsets and sizes differ from file to file and would keep equal reasons from being counted."""
    return re.sub(r"\d+", "N", str(error))[:200]


def _silence_pillow() -> None:
    """Keeps Pillow's warnings about odd files off the terminal: what matters of them is said by `BadImage`.

    A standing filter for Pillow alone, since `warnings.catch_warnings` is not safe with threads.
    """
    if not any(getattr(entry[3], "pattern", None) == _PILLOW for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW)
