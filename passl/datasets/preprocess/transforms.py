"""Transforms of pictures, by name in a config's `transforms`.

A transform is called as `transform(image, rng)`. `image` is a PIL picture, until `ToTensor` makes it a float32 array
[3, H, W]; `rng` is the NumPy generator that everything at random is drawn from (None draws anew), so that the same
generator gives the same picture. The order is that of CLIP's preprocessing with one difference: pictures become RGB
first, because resizing palettes and 16-bit values is wrong. `Resize`, `CenterCrop`, `ToTensor` and `Normalize` equal
torchvision's on PIL pictures to the last bit, and with them the preprocessing of OpenAI's CLIP and of open_clip.

All of them also work inside `paddle.vision.transforms.Compose`.
"""

from __future__ import annotations

import math
from typing import Any, Callable, List, Literal, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from PIL import Image, ImageEnhance

from passl.datasets.images import to_rgb
from passl.utils.constants import OPENAI_MEAN, OPENAI_STD
from passl.utils.errors import UserError
from passl.utils.registry import TRANSFORMS

Picture = Union[Image.Image, np.ndarray]
Generator = Optional[np.random.Generator]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# A narrower picture is cut to its centre before its short side is resized: 1 × 10000 would become a gigabyte.
_MAX_ASPECT_RATIO = 100


class Compose:
    """Applies transforms in order, all with the same generator.

    Args:
        transforms: the transforms.
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Picture, rng: Generator = None) -> Any:
        rng = _generator(rng)
        for transform in self.transforms:
            image = transform(image, rng)
        return image


def build_transform(nodes: Sequence[Mapping[str, Any]]) -> Compose:
    """The transform that a config's list of nodes describes.

    Raises:
        UserError: an unknown name, or a list that makes no tensor.
    """
    transforms = [TRANSFORMS.build(node) for node in nodes]
    if not any(isinstance(transform, ToTensor) for transform in transforms):
        names = ", ".join(node["name"] for node in nodes) or "none"
        raise UserError(
            f"the transforms ({names}) end in a picture, a model needs numbers; add ToTensor, then Normalize"
        )
    return Compose(transforms)


def eval_transform(preprocessing: Mapping[str, Any]) -> Compose:
    """The transform that a model is evaluated with.

    Args:
        preprocessing: a model's specification: `size`, `mean`, `std`, `interpolation`, `resize_mode`.
    """
    size, mode = preprocessing["size"], preprocessing["resize_mode"]
    crop = [CenterCrop(size)] if mode == "shortest" else []
    return Compose([ToRGB(), Resize(size, preprocessing["interpolation"], mode), *crop, *_to_normalized(preprocessing)])


def train_transform(preprocessing: Mapping[str, Any]) -> Compose:
    """The transform that a model is trained with by default: random crops of 90 to 100 % of the area.

    Args:
        preprocessing: a model's specification, as for `eval_transform`.
    """
    crop = RandomResizedCrop(preprocessing["size"], interpolation=preprocessing["interpolation"])
    return Compose([ToRGB(), crop, *_to_normalized(preprocessing)])


def _to_normalized(preprocessing: Mapping[str, Any]) -> List[Callable[..., Any]]:
    return [ToTensor(), Normalize(tuple(preprocessing["mean"]), tuple(preprocessing["std"]))]


@TRANSFORMS.register()
class ToRGB:
    """Makes any picture RGB; put it first. 16-bit greyscale is scaled to 8 bits, transparency is dropped.

    Takes PIL pictures and uint8 arrays [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]; an array stays an array.
    """

    def __call__(self, image: Picture, rng: Generator = None) -> Picture:  # noqa: ARG002
        if isinstance(image, Image.Image):
            return to_rgb(image)
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
            raise UserError(
                f"ToRGB takes PIL pictures and uint8 arrays [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], "
                f"not {image.dtype} {list(image.shape)}"
            )
        grey = image[:, :, None] if image.ndim == 2 else image
        return np.repeat(grey, 3, axis=2) if grey.shape[2] == 1 else grey[:, :, :3]


@TRANSFORMS.register()
class Resize:
    """Resizes with antialiasing.

    A picture more than 100 times as long as it is wide is first cut to its centre.

    Args:
        size: the new length of the short side, or of both sides with mode "squash".
        interpolation: the resampling filter.
        mode: "shortest" keeps the proportions; "squash" makes a square of any picture.
    """

    def __init__(
        self, size: int, interpolation: Interpolation = "bicubic", mode: Literal["shortest", "squash"] = "shortest"
    ) -> None:
        self.size = _positive(size, "size")
        self.filter = _filter(interpolation)
        if mode not in ("shortest", "squash"):
            raise UserError(f"mode is {mode!r}; accepted: 'shortest', 'squash'")
        self.mode = mode

    def __call__(self, image: Image.Image, rng: Generator = None) -> Image.Image:  # noqa: ARG002
        if self.mode == "squash":
            return image.resize((self.size, self.size), self.filter)
        image = _without_excess_length(image)
        width, height = image.size
        if width <= height:
            return image.resize((self.size, int(self.size * height / width)), self.filter)
        return image.resize((int(self.size * width / height), self.size), self.filter)


@TRANSFORMS.register()
class CenterCrop:
    """Cuts out the square in the middle; what a smaller picture lacks is black.

    Args:
        size: length of its sides.
    """

    def __init__(self, size: int) -> None:
        self.size = _positive(size, "size")

    def __call__(self, image: Image.Image, rng: Generator = None) -> Image.Image:  # noqa: ARG002
        left, top = (_centre_offset(length, self.size) for length in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


@TRANSFORMS.register()
class RandomCrop:
    """Cuts out a square at random; what a smaller picture lacks is black.

    `Resize` then `RandomCrop` of the same size is the augmentation of the CLIP paper.

    Args:
        size: length of its sides.
    """

    def __init__(self, size: int) -> None:
        self.size = _positive(size, "size")

    def __call__(self, image: Image.Image, rng: Generator = None) -> Image.Image:
        rng = _generator(rng)
        left, top = (
            int(rng.integers(length - self.size + 1)) if length > self.size else _centre_offset(length, self.size)
            for length in image.size
        )
        return image.crop((left, top, left + self.size, top + self.size))


@TRANSFORMS.register()
class RandomResizedCrop:
    """Cuts out a part of random area and proportions and resizes it to a square.

    After ten vain attempts to fit such a part in, the largest centred one of allowed proportions is taken.

    Args:
        size: length of the square's sides.
        scale: smallest and largest share of the picture's area.
        ratio: smallest and largest width divided by height.
        interpolation: the resampling filter.
    """

    def __init__(
        self,
        size: int,
        scale: Tuple[float, float] = (0.9, 1.0),
        ratio: Tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: Interpolation = "bicubic",
    ) -> None:
        self.size = _positive(size, "size")
        self.scale = _range(scale, "scale", above=0, up_to=1)
        self.ratio = _range(ratio, "ratio", above=0)
        self.filter = _filter(interpolation)

    def __call__(self, image: Image.Image, rng: Generator = None) -> Image.Image:
        left, top, width, height = self._box(*image.size, _generator(rng))
        part = image.crop((left, top, left + width, top + height))
        return part.resize((self.size, self.size), self.filter)

    def _box(self, width: int, height: int, rng: np.random.Generator) -> Tuple[int, int, int, int]:
        """Left, top, width and height of the part."""
        log_lowest, log_highest = map(math.log, self.ratio)
        for _ in range(10):
            area = width * height * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(log_lowest, log_highest))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
        lowest, highest = self.ratio
        w = min(width, max(1, round(height * highest)))
        h = min(height, max(1, round(width / lowest)))
        return (width - w) // 2, (height - h) // 2, w, h


@TRANSFORMS.register()
class RandomHorizontalFlip:
    """Mirrors left and right at random. Captions that speak of left and right, and text, are then wrong.

    Args:
        probability: how often.
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = _probability(probability)

    def __call__(self, image: Image.Image, rng: Generator = None) -> Image.Image:
        if _generator(rng).random() >= self.probability:
            return image
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@TRANSFORMS.register()
class RandomAffine:
    """Rotates, shifts and scales about the centre at random; what comes in from outside is black.

    Args:
        degrees: the largest rotation, either way.
        translate: the largest shift, as a share of width and height, either way.
        scale: smallest and largest scale.
        interpolation: the resampling filter.
    """

    def __init__(
        self,
        degrees: float = 0.0,
        translate: float = 0.0,
        scale: Tuple[float, float] = (1.0, 1.0),
        interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear",
    ) -> None:
        self.degrees = _not_negative(degrees, "degrees")
        self.translate = _not_negative(translate, "translate")
        self.scale = _range(scale, "scale", above=0)
        if interpolation == "lanczos":
            raise UserError("RandomAffine has no interpolation 'lanczos'; accepted: 'nearest', 'bilinear', 'bicubic'")
        self.filter = _filter(interpolation)

    def __call__(self, image: Image.Image, rng: Generator = None) -> Image.Image:
        rng = _generator(rng)
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        shift_x, shift_y = (rng.uniform(-self.translate, self.translate) * length for length in image.size)
        scale = rng.uniform(*self.scale)
        # PIL asks where each new pixel comes from: undo the shift, then the rotation and the scale, about the centre.
        centre_x, centre_y = (length / 2 for length in image.size)
        cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
        from_x, from_y = centre_x + shift_x, centre_y + shift_y
        matrix = (
            *(cosine, sine, centre_x - cosine * from_x - sine * from_y),
            *(-sine, cosine, centre_y + sine * from_x - cosine * from_y),
        )
        return image.transform(image.size, Image.Transform.AFFINE, matrix, self.filter)


@TRANSFORMS.register()
class ColorJitter:
    """Changes brightness, contrast, saturation and hue at random, in random order.

    Args:
        brightness: factors are drawn from 1 - brightness to 1 + brightness.
        contrast: likewise.
        saturation: likewise.
        hue: the largest turn of the colour circle either way; 0.5 is half a turn.
        probability: how often anything is changed.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        probability: float = 1.0,
    ) -> None:
        self.factors = {
            ImageEnhance.Brightness: _not_negative(brightness, "brightness"),
            ImageEnhance.Contrast: _not_negative(contrast, "contrast"),
            ImageEnhance.Color: _not_negative(saturation, "saturation"),
        }
        if not 0 <= hue <= 0.5:
            raise UserError(f"hue is {hue}; it lies in [0, 0.5]")
        self.hue = hue
        self.probability = _probability(probability)

    def __call__(self, image: Image.Image, rng: Generator = None) -> Image.Image:
        rng = _generator(rng)
        if rng.random() >= self.probability:
            return image
        changes = [
            *((enhance, rng.uniform(max(0.0, 1 - width), 1 + width)) for enhance, width in self.factors.items()),
            (None, rng.uniform(-self.hue, self.hue)),
        ]
        for position in rng.permutation(len(changes)):
            enhance, amount = changes[position]
            if enhance is not None:
                image = enhance(image).enhance(amount)
            elif self.hue > 0:
                image = _turn_hue(image, amount)
        return image


@TRANSFORMS.register()
class RandomGrayscale:
    """Takes the colour away at random; the picture stays RGB.

    Args:
        probability: how often.
    """

    def __init__(self, probability: float = 0.1) -> None:
        self.probability = _probability(probability)

    def __call__(self, image: Image.Image, rng: Generator = None) -> Image.Image:
        if _generator(rng).random() >= self.probability:
            return image
        return image.convert("L").convert("RGB")


@TRANSFORMS.register()
class ToTensor:
    """PIL picture, or uint8 array [H, W, C], to float32 array [C, H, W] with values from 0 to 1."""

    def __call__(self, image: Picture, rng: Generator = None) -> np.ndarray:  # noqa: ARG002
        values = np.asarray(image)
        if values.dtype != np.uint8:
            raise UserError(f"ToTensor takes pictures of 8 bits, not {values.dtype}; put ToRGB first")
        values = values[:, :, None] if values.ndim == 2 else values
        return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


@TRANSFORMS.register()
class Normalize:
    """Subtracts a mean and divides by a deviation, per channel.

    Args:
        mean: of red, green and blue, on the scale from 0 to 1.
        std: likewise.
    """

    def __init__(
        self, mean: Tuple[float, float, float] = OPENAI_MEAN, std: Tuple[float, float, float] = OPENAI_STD
    ) -> None:
        self.mean = np.array(mean, np.float32).reshape(-1, 1, 1)
        self.std = np.array(std, np.float32).reshape(-1, 1, 1)
        if not (self.std > 0).all():
            raise UserError(f"std is {list(std)}; every deviation is above 0")

    def __call__(self, image: np.ndarray, rng: Generator = None) -> np.ndarray:  # noqa: ARG002
        if not isinstance(image, np.ndarray) or image.dtype != np.float32:
            raise UserError("Normalize takes the float32 array that ToTensor makes; put ToTensor before it")
        return (image - self.mean) / self.std


def _generator(rng: Generator) -> np.random.Generator:
    return np.random.default_rng() if rng is None else rng


def _centre_offset(length: int, size: int) -> int:
    """Where a centred part of `size` begins; negative if it is larger. Rounds as torchvision does."""
    return int(round((length - size) / 2.0)) if length > size else -((size - length) // 2)


def _without_excess_length(image: Image.Image) -> Image.Image:
    width, height = image.size
    longest = _MAX_ASPECT_RATIO * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = (max(0, (length - longest) // 2) for length in (width, height))
    return image.crop((left, top, width - left, height - top))


def _turn_hue(image: Image.Image, amount: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(np.int16) + round(amount * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), saturation, value)).convert("RGB")


def _filter(interpolation: str) -> Image.Resampling:
    if interpolation not in _FILTERS:
        raise UserError(f"interpolation is {interpolation!r}; accepted: {', '.join(_FILTERS)}")
    return _FILTERS[interpolation]


def _positive(value: int, key: str) -> int:
    if value < 1:
        raise UserError(f"{key} is {value}; it is at least 1")
    return value


def _not_negative(value: float, key: str) -> float:
    if not value >= 0:
        raise UserError(f"{key} is {value}; it is 0 or more")
    return value


def _probability(value: float) -> float:
    if not 0 <= value <= 1:
        raise UserError(f"probability is {value}; it lies in [0, 1]")
    return value


def _range(bounds: Tuple[float, float], key: str, above: float, up_to: float = math.inf) -> Tuple[float, float]:
    low, high = bounds
    if not above < low <= high <= up_to:
        raise UserError(f"{key} is {list(bounds)}; it is a range (low, high) above {above}, at most {up_to}")
    return low, high
