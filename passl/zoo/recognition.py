"""Which model weights belong to, when nothing beside them says it: read from the shapes of their arrays.

Widths, depths, patches and positions are there to see; how many heads attend, which activation is used and where a text
is read are not. So weights are compared with the models that have names. Only for the kind of model that OpenAI published,
whose other choices are fixed, a description follows from the shapes alone.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Dict, List, Mapping, Tuple

from passl.modeling.architectures import shapes_of
from passl.utils.errors import UserError
from passl.zoo.names import architecture_of, list_models

Shapes = Mapping[str, Tuple[int, ...]]
_HEAD_WIDTH = 64  # in every model that OpenAI published


def names_of(shapes: Shapes) -> List[str]:
    """The names of the models with exactly these arrays, or with these as one of their towers.

    Several models can share all shapes: they differ in activation, heads or preprocessing.
    """
    towers = {name.partition(".")[0] for name in shapes if "." in name}
    return [
        name
        for name in list_models()
        if _may_be(name, shapes) and dict(shapes) == {key: value for key, value in _shapes(name) if _is_in(key, towers)}
    ]


def openai_architecture(shapes: Shapes) -> Dict[str, Any]:
    """The `architecture` section for two towers of the kind that OpenAI published: QuickGELU, heads of width 64.

    Raises:
        UserError: arrays that this kind of model does not have, or lacks.
    """
    try:
        node = {
            "name": "DualEncoder",
            "embed_dim": shapes["text.projection"][1],
            "image": _openai_resnet(shapes) if "visual.conv1.weight" in shapes else _openai_vit(shapes),
            "text": _openai_text(shapes),
        }
        expected = shapes_of(node)
    except (KeyError, IndexError) as error:
        raise UserError(f"these weights lack {error}, which the towers of OpenAI's models have") from None
    if expected != dict(shapes):
        beyond = [f"{name} {list(shape)}" for name, shape in shapes.items() if expected.get(name) != shape]
        lacking = [f"{name} {list(shape)}" for name, shape in expected.items() if shapes.get(name) != shape]
        raise UserError(
            "these weights are not of the kind that OpenAI published"
            + (f"; they have {', '.join(beyond[:3])}, which it has not" if beyond else "")
            + (f"; they lack {', '.join(lacking[:3])}" if lacking else "")
        )
    return node


def describe(shapes: Shapes) -> str:
    """What the weights look like, for messages: "ViT-B-32", or the widths and depths of their towers."""
    names = names_of(shapes)
    if names:
        return " or ".join(names[:3]) + (f" or {len(names) - 3} more" if len(names) > 3 else "")
    parts = []
    for tower, title in (("visual", "an image tower"), ("text", "a text tower")):
        widths = {shape[0] for name, shape in shapes.items() if name.startswith(f"{tower}.blocks.0.norm1.")}
        if widths:
            parts.append(f"{title} with {_count(shapes, f'{tower}.blocks')} blocks of width {widths.pop()}")
        elif any(name.startswith(f"{tower}.") for name in shapes):
            parts.append(f"{title} of another kind")
    return f"{' and '.join(parts) or 'no tower'}, which no named model has"


@functools.cache
def _shapes(name: str) -> Tuple[Tuple[str, Tuple[int, ...]], ...]:
    return tuple(shapes_of(architecture_of(name)).items())


def _is_in(name: str, towers: Any) -> bool:
    """Whether an array belongs to one of the towers; what belongs to none, the temperature, needs both."""
    tower = name.partition(".")[0]
    return tower in towers if "." in name else len(towers) == 2


def _may_be(name: str, shapes: Shapes) -> bool:
    """A quick look at two arrays, before all are compared."""
    node = architecture_of(name)
    looks = {
        "text.token_embedding.weight": (node["text"]["vocab_size"], node["text"]["width"]),
        "visual.norm_post.weight": (node["image"]["width"],),
    }
    return all(shapes.get(array, shape) == shape for array, shape in looks.items())


def _openai_vit(shapes: Shapes) -> Dict[str, Any]:
    width, _, patch_size, _ = shapes["visual.patch_embed.proj.weight"]
    grid = math.isqrt(shapes["visual.positional_embedding"][0] - 1)
    return {
        "name": "VisionTransformer",
        "image_size": grid * patch_size,
        "patch_size": patch_size,
        "width": width,
        "num_layers": _count(shapes, "visual.blocks"),
        "num_heads": width // _HEAD_WIDTH,
    }


def _openai_resnet(shapes: Shapes) -> Dict[str, Any]:
    width = shapes["visual.layer1.0.conv1.weight"][0]
    grid = math.isqrt(shapes["visual.attnpool.positional_embedding"][0] - 1)
    return {
        "name": "ModifiedResNet",
        "image_size": 32 * grid,
        "layers": [_count(shapes, f"visual.layer{stage}") for stage in (1, 2, 3, 4)],
        "width": width,
        "num_heads": 32 * width // _HEAD_WIDTH,
    }


def _openai_text(shapes: Shapes) -> Dict[str, Any]:
    vocab_size, width = shapes["text.token_embedding.weight"]
    return {
        "name": "TextTransformer",
        "context_length": shapes["text.positional_embedding"][0],
        "vocab_size": vocab_size,
        "width": width,
        "num_layers": _count(shapes, "text.blocks"),
        "num_heads": width // _HEAD_WIDTH,
    }


def _count(shapes: Shapes, stem: str) -> int:
    """How many parts are numbered below `stem`."""
    depth = stem.count(".") + 1
    return len({name.split(".")[depth] for name in shapes if name.startswith(f"{stem}.")})
