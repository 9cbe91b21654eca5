"""The names of models and the sizes they stand for.

The nine models of the CLIP paper, spelled as open_clip spells them: `ViT-B-32` has GELU, `ViT-B-32-quickgelu` has
QuickGELU as OpenAI's weights need it. OpenAI's own spelling (`ViT-B/32`, `ViT-L/14@336px`) means QuickGELU.
"""

from __future__ import annotations

import fnmatch
from typing import Any, Dict, List

from passl.utils.errors import UserError
from passl.utils.registry import nearest

_QUICK = "-quickgelu"

#             embed  image  vision layers    width  patch  text width  text heads
_SIZES = {
    "RN50": (1024, 224, [3, 4, 6, 3], 64, None, 512, 8),
    "RN101": (512, 224, [3, 4, 23, 3], 64, None, 512, 8),
    "RN50x4": (640, 288, [4, 6, 10, 6], 80, None, 640, 10),
    "RN50x16": (768, 384, [6, 8, 18, 8], 96, None, 768, 12),
    "RN50x64": (1024, 448, [3, 15, 36, 10], 128, None, 1024, 16),
    "ViT-B-32": (512, 224, 12, 768, 32, 512, 8),
    "ViT-B-16": (512, 224, 12, 768, 16, 512, 8),
    "ViT-L-14": (768, 224, 24, 1024, 14, 768, 12),
    "ViT-L-14-336": (768, 336, 24, 1024, 14, 768, 12),
}

# OpenAI's spelling where it differs. Its names of the ResNets are open_clip's too, and mean what open_clip means.
_OPENAI_SPELLING = {
    "ViT-B/32": "ViT-B-32",
    "ViT-B/16": "ViT-B-16",
    "ViT-L/14": "ViT-L-14",
    "ViT-L/14@336px": "ViT-L-14-336",
}


def list_models(pattern: str = "*") -> List[str]:
    """The names of all models that match a shell pattern, such as `ViT-*`.

    Example:
        >>> list_models("ViT-L-*-quickgelu")
        ['ViT-L-14-336-quickgelu', 'ViT-L-14-quickgelu']
    """
    names = [name + ending for name in _SIZES for ending in ("", _QUICK)]
    return sorted(fnmatch.filter(names, pattern))


def is_model_name(name: str) -> bool:
    """Whether `architecture_of` knows the name."""
    return name in _OPENAI_SPELLING or name in list_models()


def architecture_of(name: str) -> Dict[str, Any]:
    """The `architecture` section of a config for the model of that name.

    Raises:
        UserError: an unknown name; says the nearest.
    """
    if not is_model_name(name):
        known = [*list_models(), *_OPENAI_SPELLING]
        raise UserError(
            f"there is no model named {name!r}, nor a model folder there.{nearest(name, known)} "
            f"Accepted: a folder that save_pretrained wrote, or one of {', '.join(known)}"
        )
    name = _OPENAI_SPELLING[name] + _QUICK if name in _OPENAI_SPELLING else name
    is_quick = name.endswith(_QUICK)
    sizes = _SIZES[name[: -len(_QUICK)] if is_quick else name]
    embed_dim, image_resolution, vision_layers, vision_width, vision_patch_size, text_width, text_heads = sizes
    return {
        "name": "CLIP",
        "embed_dim": embed_dim,
        "image_resolution": image_resolution,
        "vision_layers": vision_layers if isinstance(vision_layers, int) else list(vision_layers),
        "vision_width": vision_width,
        "vision_patch_size": vision_patch_size,
        "context_length": 77,
        "vocab_size": 49408,
        "transformer_width": text_width,
        "transformer_heads": text_heads,
        "transformer_layers": 12,
        "activation": "quick_gelu" if is_quick else "gelu",
    }
