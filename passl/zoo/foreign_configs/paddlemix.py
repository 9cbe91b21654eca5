"""PaddleMIX's `config.json` for its class `CLIP`, to and from our terms.

Derived from the code of `paddlemix/models/clip` (`clip_model.py`, `vit_model.py`, `text_model.py`): the keys are
open_clip's of 2023, `embed_dim` may stand in the two sections instead of above them, and a saved file has the sections a
second time, as `vision_config` and `text_config`. The image tower has GELU whatever the config says; only the text tower
has a switch for QuickGELU. EVA-CLIP and CoCa, which have the same sections, are refused by their own keys.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping

from passl.utils.constants import INIT_LOGIT_SCALE
from passl.utils.errors import UserError
from passl.zoo.foreign_configs.images import CONFIG_FILE as PREPROCESSOR_FILE
from passl.zoo.foreign_configs.images import huggingface_preprocessor
from passl.zoo.foreign_configs.section import Section
from passl.zoo.foreign_configs.towers import dual_encoder, lacking, mlp_ratio, text_transformer, vision_transformer

CONFIG_FILE = "config.json"

_VISION = {
    "image_size": 224,
    "patch_size": 14,
    "width": 768,
    "layers": 12,
    "head_width": 64,
    "mlp_ratio": 4.0,
    "ls_init_value": None,
    "embed_dim": 512,
}
_TEXT = {
    "context_length": 77,
    "vocab_size": 49408,
    "width": 512,
    "heads": 8,
    "layers": 12,
    "mlp_ratio": 4.0,
    "ls_init_value": None,
    "embed_dim": 512,
    "attn_mask": True,
    "quick_gelu": False,
}
_PLAIN_VISION = {"model_type": "vision_transformer", "global_average_pool": False, "attentional_pool": False}
_PLAIN_TEXT = {"model_type": "text_transformer", "embed_cls": False}
# Keys of the other classes that have these sections: EVA's image tower, open_clip's text towers, CoCa.
_FOREIGN = {
    "vision_cfg": ("use_mean_pooling", "rope", "naiveswiglu", "subln", "init_values", "in_chans", "timm_model_name"),
    "text_cfg": ("hf_model_name", "pool_type", "proj_bias", "no_causal_mask"),
}
_EPSILON = 1e-5

_IMAGE_TOWER = {
    "name": "VisionTransformer",
    "activation": "gelu",
    "qkv_bias": True,
    "pre_norm": True,
    "class_token": True,
    "pool": "token",
    "proj": True,
    "patch_bias": False,
    "norm_epsilon": _EPSILON,
    "pooler": False,
}
_TEXT_TOWER = {
    "name": "TextTransformer",
    "activation": ("gelu", "quick_gelu"),
    "qkv_bias": True,
    "pool": "argmax",
    "proj": True,
    "proj_bias": False,
    "norm_epsilon": _EPSILON,
}


def node_from_paddlemix(config: Mapping[str, Any], place: str = CONFIG_FILE) -> Dict[str, Any]:
    """The canonical node of the network that a config.json of PaddleMIX describes.

    Args:
        config: the file's content.
        place: the file, for messages.

    Raises:
        UserError: another class, or a value that changes what is computed and that passl has no block for.
    """
    model = Section(config, place)
    model.require({"model_type": "clip"})
    for key in ("multimodal_cfg", "decoder_cfg"):
        if model.values.get(key):
            raise model.refusal(key, "models with a text decoder (CoCa) are not supported yet")
    above = {} if model.values.get("embed_dim") is None else {"embed_dim": model.count("embed_dim")}
    vision, text = (
        Section({**model.inside(key, defaults).values, **above}, place, path=[key])
        for key, defaults in (("vision_cfg", _VISION), ("text_cfg", _TEXT))
    )
    for section in (vision, text):
        for key in _FOREIGN[section.path[0]]:
            if section.values.get(key) is not None:
                raise section.refusal(key, "it belongs to another class than PaddleMIX's CLIP")
    vision.require(_PLAIN_VISION)
    text.require(_PLAIN_TEXT)
    embed_dim = vision.count("embed_dim")
    if text.count("embed_dim") != embed_dim:
        raise text.refusal("embed_dim", f"the image tower's is {embed_dim}; they are equal")
    return dual_encoder(embed_dim, _image_node(vision), _text_node(text), INIT_LOGIT_SCALE)


def _image_node(vision: Section) -> Dict[str, Any]:
    width = vision.count("width")
    return vision_transformer(
        image_size=vision.side("image_size"),
        patch_size=vision.side("patch_size"),
        width=width,
        num_layers=vision.count("layers"),
        num_heads=width // vision.count("head_width"),
        mlp_width=int(width * vision.number("mlp_ratio")),
        activation="gelu",
        qkv_bias=True,
        pre_norm=True,
        class_token=True,
        pool="token",
        proj=True,
        patch_bias=False,
        norm_epsilon=_EPSILON,
        layer_scale=vision.optional_number("ls_init_value"),
        pooler=False,
    )


def _text_node(text: Section) -> Dict[str, Any]:
    width = text.count("width")
    return text_transformer(
        context_length=text.count("context_length"),
        vocab_size=text.count("vocab_size"),
        width=width,
        num_layers=text.count("layers"),
        num_heads=text.count("heads"),
        mlp_width=int(width * text.number("mlp_ratio")),
        activation="quick_gelu" if text.flag("quick_gelu") else "gelu",
        qkv_bias=True,
        is_causal=text.flag("attn_mask"),
        pool="argmax",
        eos_id=None,
        proj=True,
        proj_bias=False,
        norm_epsilon=_EPSILON,
        layer_scale=text.optional_number("ls_init_value"),
    )


def paddlemix_files(spec: Mapping[str, Any]) -> Dict[str, Any]:
    """The configs beside weights that PaddleMIX reads: config.json and preprocessor_config.json.

    Args:
        spec: a model's specification.

    Raises:
        UserError: a model that PaddleMIX's CLIP cannot express; says what it lacks.
    """
    node = spec["architecture"]
    image, text = node["image"], node["text"]
    reasons = [*lacking(image, "image", _IMAGE_TOWER), *lacking(text, "text", _TEXT_TOWER)]
    if node["init_logit_bias"] is not None:
        reasons.append(f"init_logit_bias is {node['init_logit_bias']}")
    if reasons:
        raise UserError(
            f"PaddleMIX's CLIP does not compute this: {'; '.join(reasons)}. Convert to another layout, such as --to passl"
        )
    config = {
        "model_type": "clip",
        "embed_dim": node["embed_dim"],
        "vision_cfg": {
            "image_size": image["image_size"],
            "patch_size": image["patch_size"],
            "width": image["width"],
            "layers": image["num_layers"],
            "head_width": image["width"] // image["num_heads"],
            "mlp_ratio": mlp_ratio(image),
            "ls_init_value": image["layer_scale"],
        },
        "text_cfg": {
            "context_length": text["context_length"],
            "vocab_size": text["vocab_size"],
            "width": text["width"],
            "heads": text["num_heads"],
            "layers": text["num_layers"],
            "mlp_ratio": mlp_ratio(text),
            "ls_init_value": text["layer_scale"],
            "attn_mask": text["is_causal"],
            "quick_gelu": text["activation"] == "quick_gelu",
        },
    }
    return {CONFIG_FILE: config, PREPROCESSOR_FILE: huggingface_preprocessor(spec["preprocessing"])}
