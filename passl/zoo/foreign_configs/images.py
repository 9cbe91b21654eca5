"""`preprocessor_config.json`: how the image processors of transformers prepare pixels, to and from our terms.

Both resize with Pillow's filters, to the short side or to a square, cut out the centre, scale to 0…1 and normalise. Pixels
are equal to the last bit on the processors' Pillow backend, but for one thing that no config can say: where the margin to
cut off is odd, transformers always rounds the offset down, while OpenAI's code and ours round as torchvision does (half of
3 is 2), which shifts the cut by a pixel. The processors' torch backend resizes with filters of its own: photographs come
out within a grey level, noise within a dozen.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Tuple

from passl.utils.constants import OPENAI_MEAN, OPENAI_STD
from passl.zoo.foreign_configs.section import Section

CONFIG_FILE = "preprocessor_config.json"
# transformers 5 puts the same keys into this file, under `image_processor`.
JOINT_CONFIG_FILE = "processor_config.json"

_HALF = (0.5, 0.5, 0.5)
_RESAMPLE = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers


class _Processor(NamedTuple):
    """What an image processor does when its config leaves a key out."""

    resample: int
    mean: Tuple[float, float, float]
    std: Tuple[float, float, float]
    crops: bool
    is_number_square: bool  # whether a size without keys means both sides


_PROCESSORS = {
    "CLIP": _Processor(_RESAMPLE["bicubic"], OPENAI_MEAN, OPENAI_STD, crops=True, is_number_square=False),
    "Siglip": _Processor(_RESAMPLE["bicubic"], _HALF, _HALF, crops=False, is_number_square=False),
    "ViT": _Processor(_RESAMPLE["bilinear"], _HALF, _HALF, crops=False, is_number_square=True),
}
# The names a processor had over time, and of its twins on other backends.
_TYPES = {
    f"{kind}{ending}": kind
    for kind in _PROCESSORS
    for ending in ("ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor")
}


def default_preprocessing(kind: str, size: int) -> Dict[str, Any]:
    """How the images of a model without preprocessor_config.json are prepared.

    Args:
        kind: "CLIP", "Siglip" or "ViT".
        size: side of the model's images.
    """
    processor = _PROCESSORS[kind]
    return {
        "size": size,
        "mean": list(processor.mean),
        "std": list(processor.std),
        "interpolation": _interpolation(processor.resample),
        "resize_mode": "shortest" if processor.crops else "squash",
    }


def preprocessing_from_huggingface(
    config: Mapping[str, Any], kind: str, size: int, place: str = CONFIG_FILE
) -> Dict[str, Any]:
    """How images are prepared, from the config of an image processor.

    Args:
        config: the content of preprocessor_config.json.
        kind: the processor that is meant where the config does not say it: "CLIP", "Siglip" or "ViT".
        size: side of the model's images.
        place: the file, for messages.

    Raises:
        UserError: a processor or a step that passl does not have, or images of another size than the model's.
    """
    section = Section(config, place)
    for key in ("image_processor_type", "feature_extractor_type"):
        if section.values.get(key) is not None:
            kind = section.choice(key, _TYPES)
            break
    processor = _PROCESSORS[kind]
    section = Section(
        config,
        place,
        {
            "do_normalize": True,
            "do_center_crop": processor.crops,
            "size": {"shortest_edge": 224} if processor.crops else {"height": 224, "width": 224},
            "crop_size": 224,
            "default_to_square": processor.is_number_square,
            "resample": processor.resample,
            "image_mean": processor.mean,
            "image_std": processor.std,
        },
    )
    section.require({"do_resize": True, "do_rescale": True, "do_pad": False, "use_square_size": False})
    factor = section.optional_number("rescale_factor")
    if factor is not None and abs(factor * 255 - 1) > 1e-6:
        raise section.refusal("rescale_factor", "pixels are divided by 255")
    normalizes = section.flag("do_normalize")
    return {
        "size": size,
        "mean": section.colours("image_mean") if normalizes else [0.0] * 3,
        "std": section.colours("image_std") if normalizes else [1.0] * 3,
        "interpolation": _interpolation_at(section),
        "resize_mode": _resize_mode(section, size),
    }


def huggingface_preprocessor(preprocessing: Mapping[str, Any], has_siglip: bool = False) -> Dict[str, Any]:
    """The content of preprocessor_config.json with which transformers makes the same pixels.

    Args:
        preprocessing: that section of a model's specification.
        has_siglip: whether the model is a SigLIP, whose processor always resizes both sides.
    """
    size, squashes = preprocessing["size"], preprocessing["resize_mode"] == "squash"
    square = {"height": size, "width": size}
    config = {
        "image_processor_type": "SiglipImageProcessor" if has_siglip and squashes else "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": square if squashes else {"shortest_edge": size},
        "resample": _RESAMPLE[preprocessing["interpolation"]],
        "do_center_crop": not squashes,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing["mean"]),
        "image_std": list(preprocessing["std"]),
    }
    if squashes:
        del config["crop_size"]
    return config


def _interpolation(resample: int) -> str:
    return next(name for name, number in _RESAMPLE.items() if number == resample)


def _interpolation_at(section: Section) -> str:
    number = section.index("resample")
    if number not in _RESAMPLE.values():
        said = ", ".join(f"{number} ({name})" for name, number in _RESAMPLE.items())
        raise section.refusal("resample", f"images are resized with one of {said}")
    return _interpolation(number)


def _resize_mode(section: Section, size: int) -> str:
    """ "shortest" or "squash". Raises `UserError` if what comes out is not a square of `size`."""
    crop = _side(section, "crop_size") if section.flag("do_center_crop") else None
    value = section.values["size"]
    keys = (
        set(value)
        if isinstance(value, Mapping)
        else {"height", "width"}
        if section.flag("default_to_square")
        else set()
    )
    if crop is not None and crop != size:
        raise section.refusal("crop_size", _contradiction(size))
    if keys == {"height", "width"}:
        resized, mode = _side(section, "size"), "squash"
    elif keys in (set(), {"shortest_edge"}):
        resized, mode = section.inside("size").count("shortest_edge") if keys else section.count("size"), "shortest"
        if crop is None:
            raise section.refusal("do_center_crop", "the short side is resized, so a square has to be cut out")
    else:
        raise section.refusal("size", "images are resized to {'shortest_edge': …} or to {'height': …, 'width': …}")
    if resized != size:
        reason = _contradiction(size) if crop is None else f"passl cuts out what it resized to, here {size}"
        raise section.refusal("size", reason)
    return mode


def _side(section: Section, key: str) -> int:
    value = section.values.get(key)
    if not isinstance(value, Mapping):
        return section.side(key)
    inside = section.inside(key)
    if inside.count("height") != inside.count("width"):
        raise section.refusal(key, "only squares are supported")
    return inside.count("height")


def _contradiction(size: int) -> str:
    return f"the model beside it takes images of {size} pixels"
