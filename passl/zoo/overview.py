"""What there is to say about a named model in one line; for `passl models --long` and docs/models.md."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Mapping

from passl.zoo.names import architecture_of, vocabulary_of
from passl.zoo.sizes import IMAGES


@dataclass(frozen=True)
class Overview:
    """One model.

    Attributes:
        name: as `passl.list_models()` has it.
        parameters: of the whole model.
        image_parameters: of the image tower.
        text_parameters: of the text tower.
        image_size: height and width of its pictures.
        context_length: the most tokens of a text.
        activation: of both towers; a ResNet has no choice.
        vocabulary: of its tokenizer.
        images: how pictures are prepared, as an entry of `passl.zoo.sizes.IMAGES`.
    """

    name: str
    parameters: int
    image_parameters: int
    text_parameters: int
    image_size: int
    context_length: int
    activation: str
    vocabulary: str
    images: str


@functools.cache
def overview(name: str) -> Overview:
    """The line about a model; nothing is allocated to count its parameters."""
    from passl.modeling.architectures import shapes_of  # brings Paddle, which names alone do not need

    node = architecture_of(name)
    sizes = {key: math.prod(shape) for key, shape in shapes_of(node, with_statistics=False).items()}
    return Overview(
        name=name,
        parameters=sum(sizes.values()),
        image_parameters=sum(size for key, size in sizes.items() if key.startswith("visual.")),
        text_parameters=sum(size for key, size in sizes.items() if key.startswith("text.")),
        image_size=node["image"]["image_size"],
        context_length=node["text"]["context_length"],
        activation=_activation(node),
        vocabulary=vocabulary_of(name),
        images=_images(node),
    )


def _activation(node: Mapping[str, Any]) -> str:
    image, text = node["image"].get("activation"), node["text"].get("activation", "gelu")
    return text if image in (None, text) else f"{image} (image), {text} (text)"


def _images(node: Mapping[str, Any]) -> str:
    said = tuple(node[f"image_{key}"] for key in ("mean", "std", "interpolation", "resize_mode"))
    return next(key for key, (mean, std, *resizing) in IMAGES.items() if said == (list(mean), list(std), *resizing))
