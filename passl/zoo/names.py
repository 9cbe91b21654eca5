"""The names of models, and the `architecture` section of a config that each stands for.

`ViT-B-32` has GELU, `ViT-B-32-quickgelu` has QuickGELU as OpenAI's weights need it. OpenAI's own spelling (`ViT-B/32`,
`ViT-L/14@336px`) means QuickGELU. The sizes are rows in `sizes.py`.
"""

from __future__ import annotations

import fnmatch
from typing import Any, Dict, List, Mapping, Tuple

from passl.utils.errors import UserError
from passl.utils.registry import nearest
from passl.zoo.sizes import (
    FAMILIES,
    IMAGES,
    MISSING,
    MODELS,
    OPENAI_SPELLING,
    QUICK,
    QUICK_ENDING,
    TOKENIZERS,
    TOWERS,
    Resnet,
    Row,
    Vit,
)

# Width of one head in the attention pool of a ResNet.
_HEAD_WIDTH = 64


def list_models(pattern: str = "*") -> List[str]:
    """The names of all models that match a shell pattern, such as `ViT-*`.

    Example:
        >>> list_models("ViT-L-14-336*")
        ['ViT-L-14-336', 'ViT-L-14-336-quickgelu']
    """
    return sorted(fnmatch.filter([*MODELS, *(name + QUICK_ENDING for name in QUICK)], pattern))


def is_model_name(name: str) -> bool:
    """Whether `architecture_of` knows the name."""
    return name in OPENAI_SPELLING or name in MODELS or _is_quick(name)


def architecture_of(name: str) -> Dict[str, Any]:
    """The `architecture` section of a config for the model of that name; keys at their default are left out.

    Raises:
        UserError: an unknown name; says the nearest. A model of open_clip that is not here yet; says what it needs.

    Example:
        >>> architecture_of("ViT-B-16-SigLIP")["init_logit_bias"]
        -10.0
    """
    row, activation = _row_of(name)
    family = FAMILIES[row.family]
    image = _resnet(row) if isinstance(row, Resnet) else _vit(row, activation, family.image)
    text = {"name": "TextTransformer", **_sizes(row.text_tower), "activation": activation, **family.text}
    mean, std, interpolation, resize_mode = IMAGES[family.images]
    bias = {} if family.init_logit_bias is None else {"init_logit_bias": family.init_logit_bias}
    return {
        "name": "DualEncoder",
        "embed_dim": row.embed_dim,
        "image": image,
        "text": text,
        **bias,
        "image_mean": list(mean),
        "image_std": list(std),
        "image_interpolation": interpolation,
        "image_resize_mode": resize_mode,
        "tokenizer": dict(TOKENIZERS[family.tokenizer]),
    }


def vocabulary_of(name: str) -> str:
    """The vocabulary of a model's tokenizer, as an entry of `passl.zoo.sizes.TOKENIZERS`; that of "clip" is bundled.

    Raises:
        UserError: as `architecture_of`.

    Example:
        >>> vocabulary_of("xlm-roberta-base-ViT-B-32")
        'xlm-roberta-base'
    """
    row, _ = _row_of(name)
    return FAMILIES[row.family].tokenizer


def _row_of(name: str) -> Tuple[Row, str]:
    """The sizes of a model, and the activation that its name decides about."""
    if not is_model_name(name):
        raise _no_such_model(name)
    name = OPENAI_SPELLING.get(name, name)
    if _is_quick(name):
        return MODELS[name[: -len(QUICK_ENDING)]], "quick_gelu"
    return MODELS[name], "gelu"


def _resnet(row: Resnet) -> Dict[str, Any]:
    return {
        "name": "ModifiedResNet",
        "image_size": row.image_size,
        "layers": list(row.layers),
        "width": row.width,
        "num_heads": 32 * row.width // _HEAD_WIDTH,
    }


def _vit(row: Vit, activation: str, more: Mapping[str, Any]) -> Dict[str, Any]:
    return {
        "name": "VisionTransformer",
        "image_size": row.image_size,
        "patch_size": row.patch_size,
        **_sizes(row.image_tower),
        "activation": row.image_activation or activation,
        **more,
    }


def _sizes(tower: str) -> Dict[str, int]:
    """The keys of a tower's sizes; an MLP four times as wide as the tower is the default."""
    sizes = TOWERS[tower]
    keys = {"width": sizes.width, "num_layers": sizes.num_layers, "num_heads": sizes.num_heads}
    return keys if sizes.mlp_width == 4 * sizes.width else {**keys, "mlp_width": sizes.mlp_width}


def _is_quick(name: str) -> bool:
    return name.endswith(QUICK_ENDING) and name[: -len(QUICK_ENDING)] in QUICK


def _no_such_model(name: str) -> UserError:
    for family in MISSING:
        if name in family.names:
            return UserError(
                f"{name!r} is a model of open_clip ({family.title}) that passl does not have yet: it needs {family.needs}. "
                "`passl models` lists those that are here"
            )
    known = [*list_models(), *OPENAI_SPELLING]
    if name.startswith((".", "/", "~")):
        return UserError(f"there is no file or folder {name!r}")
    return UserError(
        f"there is no model named {name!r}, nor a model folder there.{nearest(name, known)} "
        f"Accepted: a folder that save_pretrained wrote, or one of {', '.join(known)}"
    )
