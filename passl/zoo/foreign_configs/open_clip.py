"""open_clip's model configs: `open_clip_config.json` beside weights, and the bare configs that it keeps by name.

Read from the classes of open_clip 3.3.0 (`CLIPVisionCfg`, `CLIPTextCfg`, `CLIP`, `CustomTextCLIP`), from timm's SigLIP
towers, which those configs call by name, and from the published configs of the Hugging Face text towers.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from passl.utils.constants import INIT_LOGIT_SCALE, OPENAI_MEAN, OPENAI_STD
from passl.utils.errors import UserError
from passl.zoo.foreign_configs.section import Section
from passl.zoo.foreign_configs.towers import (
    bert_encoder,
    dual_encoder,
    lacking,
    mlp_ratio,
    residual_network,
    text_transformer,
    vision_transformer,
)
from passl.zoo.sizes import TOKENIZERS

CONFIG_FILE = "open_clip_config.json"


class _Siglip(NamedTuple):
    """A vision transformer of SigLIP as timm sizes it."""

    width: int
    num_layers: int
    num_heads: int
    mlp_width: int


_TIMM_SIZES = {
    "base": _Siglip(768, 12, 12, 3072),
    "large": _Siglip(1024, 24, 16, 4096),
    "so400m": _Siglip(1152, 27, 16, 4304),
    "giantopt": _Siglip(1536, 40, 16, 6144),
}
#                (size, patch): image sizes with GELU, image sizes with its tanh approximation
_TIMM_IMAGES = {
    ("base", 32): ([], [256]),
    ("base", 16): ([224, 256, 384, 512], []),
    ("large", 16): ([256, 384], [512]),
    ("so400m", 14): ([224, 378, 384], []),
    ("so400m", 16): ([], [256, 384, 512]),
    ("giantopt", 16): ([], [256, 384]),
}


class _TextTower(NamedTuple):
    """A text tower that open_clip takes from Hugging Face."""

    vocab_size: int
    width: int
    num_layers: int
    num_heads: int


_HF_TOWERS = {
    "roberta-base": _TextTower(50265, 768, 12, 12),
    "xlm-roberta-base": _TextTower(250002, 768, 12, 12),
    "xlm-roberta-large": _TextTower(250002, 1024, 24, 16),
}
_HF_ALIASES = {f"FacebookAI/{name}": name for name in _HF_TOWERS}
# What the three share: 514 positions, counted from 2 on, over the tokens that are not padding.
_ROBERTA = {
    "activation": "gelu",
    "num_positions": 514,
    "pad_id": 1,
    "position_offset": 2,
    "num_token_types": 1,
    "norm_epsilon": 1e-5,
}
_HF_POOLERS = {"mean_pooler": "mean", "cls_pooler": "pooler", "cls_last_hidden_state_pooler": "token"}
_HF_PROJECTIONS = {"linear": "linear", "mlp": "mlp"}

_CLEANING = ("lower", "whitespace", "canonicalize")

_MODEL = {
    "quick_gelu": False,
    "custom_text": False,
    "init_logit_scale": INIT_LOGIT_SCALE,
    "init_logit_bias": None,
    "nonscalar_logit_scale": False,
}
_VISION = {
    "layers": 12,
    "width": 768,
    "head_width": 64,
    "mlp_ratio": 4.0,
    "patch_size": 16,
    "image_size": 224,
    "ls_init_value": None,
    "no_ln_pre": False,
    "final_ln_after_pool": False,
    "pool_type": "tok",
    "act_kwargs": None,
    "norm_kwargs": None,
    "timm_model_name": None,
    "timm_pool": "avg",
    "timm_proj": "linear",
}
_TEXT = {
    "context_length": 77,
    "vocab_size": 49408,
    "width": 512,
    "heads": 8,
    "layers": 12,
    "mlp_ratio": 4.0,
    "ls_init_value": None,
    "eos_id": 2,
    "no_causal_mask": False,
    "pool_type": "argmax",
    "proj_type": "linear",
    "proj_bias": False,
    "act_kwargs": None,
    "norm_kwargs": None,
    "hf_model_name": None,
    "hf_pooler_type": "mean_pooler",
    "hf_proj_type": "mlp",
}
# Blocks that passl does not have, in both towers.
_PLAIN_BLOCKS = {
    "block_type": "default",
    "qk_norm": False,
    "scaled_cosine_attn": False,
    "scale_heads": False,
    "scale_attn_inner": False,
    "scale_attn": False,
    "scale_fc": False,
    "output_tokens": False,
}
_PLAIN_VISION = {**_PLAIN_BLOCKS, "attentional_pool": False, "pos_embed_type": "learnable"}
_PLAIN_TEXT = {**_PLAIN_BLOCKS, "embed_cls": False, "final_ln_after_pool": False}
# Keys without effect on what a loaded model computes: where initial weights come from, training, tokens outside of it.
_IDLE_MODEL = ("cast_dtype", "output_dict")
_IDLE_VISION = (
    *("patch_dropout", "attn_pooler_queries", "attn_pooler_heads"),
    *("timm_model_pretrained", "timm_proj_bias", "timm_drop", "timm_drop_path"),
)
_IDLE_TEXT = ("pad_id", "hf_model_pretrained", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs")


# ------------------------------------------------------------------------------------------------- config to node


def node_from_open_clip(config: Mapping[str, Any], place: str = CONFIG_FILE) -> Dict[str, Any]:
    """The canonical node of the network that a model config of open_clip describes.

    Args:
        config: `embed_dim`, `vision_cfg`, `text_cfg` and what else open_clip's model takes.
        place: the file, for messages.

    Raises:
        UserError: a key or value that changes what is computed and that passl has no block for.
    """
    model = Section(config, place, _MODEL)
    if "multimodal_cfg" in model.values:
        raise model.refusal("multimodal_cfg", "models with a text decoder (CoCa) are not supported yet")
    model.refuse_others([*_MODEL, *_IDLE_MODEL, "embed_dim", "vision_cfg", "text_cfg"])
    model.require({"nonscalar_logit_scale": False})
    model.flag("custom_text")  # decides about names of weights alone
    activation = "quick_gelu" if model.flag("quick_gelu") else "gelu"
    embed_dim = model.count("embed_dim")
    for key in ("vision_cfg", "text_cfg"):
        if key not in model.values:
            raise model.refusal(key, "a model config of open_clip has both vision_cfg and text_cfg")
    return dual_encoder(
        embed_dim,
        _image_node(model.inside("vision_cfg", _VISION), embed_dim, activation),
        _text_node(model.inside("text_cfg", _TEXT), embed_dim, activation),
        model.number("init_logit_scale"),
        model.optional_number("init_logit_bias"),
    )


def preprocessing_from_open_clip(
    config: Optional[Mapping[str, Any]], size: int, place: str = CONFIG_FILE
) -> Dict[str, Any]:
    """How images are prepared, from a `preprocess_cfg`; what it leaves out is OpenAI's.

    Args:
        config: the mapping; None for a config without it.
        size: side of the model's images, which open_clip takes whatever the mapping says.
        place: the file, for messages.

    Raises:
        UserError: preparation that passl cannot do.
    """
    defaults = {"mean": OPENAI_MEAN, "std": OPENAI_STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    section = Section(config, place, defaults, ["preprocess_cfg"])
    section.refuse_others([*defaults, "size", "mode", "fill_color"])
    section.require({"mode": "RGB"})
    return {
        "size": size,
        "mean": section.colours("mean"),
        "std": section.colours("std"),
        "interpolation": section.choice("interpolation", {"bicubic": "bicubic", "bilinear": "bilinear"}),
        "resize_mode": section.choice("resize_mode", {"shortest": "shortest", "squash": "squash"}),
    }


def _image_node(vision: Section, embed_dim: int, activation: str) -> Dict[str, Any]:
    vision.refuse_others([*_VISION, *_PLAIN_VISION, *_IDLE_VISION])
    vision.require(_PLAIN_VISION)
    if vision.values["timm_model_name"] is not None:
        return _siglip_node(vision, embed_dim)
    if isinstance(vision.values["layers"], (list, tuple)):
        width = vision.count("width")
        return residual_network(
            image_size=vision.side("image_size"),
            layers=vision.counts("layers"),
            width=width,
            num_heads=width * 32 // vision.count("head_width"),
            qkv_bias=True,
        )
    averages = vision.choice("pool_type", {"tok": False, "avg": True})
    if averages and not vision.flag("final_ln_after_pool"):
        raise vision.refusal("final_ln_after_pool", "passl normalises an average after it is taken, not before")
    width = vision.count("width")
    return vision_transformer(
        image_size=vision.side("image_size"),
        patch_size=vision.side("patch_size"),
        width=width,
        num_layers=vision.count("layers"),
        num_heads=width // vision.count("head_width"),
        mlp_width=_mlp_width(vision, width),
        activation=_activation(vision, activation),
        qkv_bias=True,
        pre_norm=not vision.flag("no_ln_pre"),
        class_token=True,
        pool="average" if averages else "token",
        proj=True,
        patch_bias=False,
        norm_epsilon=_norm_epsilon(vision),
        layer_scale=vision.optional_number("ls_init_value"),
        pooler=False,
    )


def _siglip_node(vision: Section, embed_dim: int) -> Dict[str, Any]:
    node = _siglip_nodes().get(str(vision.values["timm_model_name"]))
    if node is None:
        raise vision.refusal(
            "timm_model_name", "of timm's towers passl has those of SigLIP, such as vit_base_patch16_siglip_224"
        )
    vision.require({"timm_pool": "map", "timm_proj": "none"})
    if vision.side("image_size") != node["image_size"]:
        raise vision.refusal("image_size", f"timm's model of that name has {node['image_size']}")
    if embed_dim != node["width"]:
        raise vision.refusal(
            "timm_model_name", f"it has no projection, so embed_dim is {node['width']}, not {embed_dim}"
        )
    return node


def _siglip_nodes() -> Dict[str, Dict[str, Any]]:
    """The image towers of SigLIP by timm's names."""
    return {
        f"vit_{size}_patch{patch}_siglip_{image_size}": vision_transformer(
            image_size=image_size,
            patch_size=patch,
            width=_TIMM_SIZES[size].width,
            num_layers=_TIMM_SIZES[size].num_layers,
            num_heads=_TIMM_SIZES[size].num_heads,
            mlp_width=_TIMM_SIZES[size].mlp_width,
            activation=activation,
            qkv_bias=True,
            pre_norm=False,
            class_token=False,
            pool="attention",
            proj=False,
            patch_bias=True,
            norm_epsilon=1e-6,
            layer_scale=None,
            pooler=False,
        )
        for (size, patch), images in _TIMM_IMAGES.items()
        for activation, image_sizes in zip(("gelu", "gelu_tanh"), images)
        for image_size in image_sizes
    }


def _text_node(text: Section, embed_dim: int, activation: str) -> Dict[str, Any]:
    text.refuse_others([*_TEXT, *_PLAIN_TEXT, *_IDLE_TEXT])
    text.require(_PLAIN_TEXT)
    if text.values["hf_model_name"] is not None:
        return _bert_node(text, embed_dim)
    width = text.count("width")
    pool = text.choice("pool_type", {"argmax": "argmax", "eos": "eos", "last": "last"})
    has_projection = text.choice("proj_type", {"linear": True, "none": False})
    if not has_projection and width != embed_dim:
        raise text.refusal("proj_type", f"a tower of width {width} has no embedding of {embed_dim} without it")
    return text_transformer(
        context_length=text.count("context_length"),
        vocab_size=text.count("vocab_size"),
        width=width,
        num_layers=text.count("layers"),
        num_heads=text.count("heads"),
        mlp_width=_mlp_width(text, width),
        activation=_activation(text, activation),
        qkv_bias=True,
        is_causal=not text.flag("no_causal_mask"),
        pool=pool,
        eos_id=text.index("eos_id") if pool == "eos" else None,
        proj=has_projection,
        proj_bias=has_projection and text.flag("proj_bias"),
        norm_epsilon=_norm_epsilon(text),
        layer_scale=text.optional_number("ls_init_value"),
    )


def _bert_node(text: Section, embed_dim: int) -> Dict[str, Any]:
    known = {name: _HF_TOWERS[_HF_ALIASES.get(name, name)] for name in [*_HF_TOWERS, *_HF_ALIASES]}
    sizes = text.choice("hf_model_name", known)
    if text.values["hf_proj_type"] is None:
        if sizes.width != embed_dim:
            raise text.refusal(
                "hf_proj_type", f"a tower of width {sizes.width} has no embedding of {embed_dim} without it"
            )
        projection = "none"
    else:
        projection = text.choice("hf_proj_type", _HF_PROJECTIONS)
    return bert_encoder(
        **_ROBERTA,
        **sizes._asdict(),
        context_length=text.count("context_length"),
        mlp_width=4 * sizes.width,
        pool=text.choice("hf_pooler_type", _HF_POOLERS),
        proj=projection,
    )


def tokenizer_from_open_clip(config: Mapping[str, Any], place: str = CONFIG_FILE) -> Dict[str, Any]:
    """The specification of the tokenizer that a model config of open_clip names.

    Args:
        config: as for `node_from_open_clip`.
        place: the file, for messages.

    Raises:
        UserError: a way of making tokens that passl does not have.
    """
    text = Section(config, place).inside("text_cfg", _TEXT)
    text.require({"tokenizer_mode": ""})
    settings = text.inside("tokenizer_kwargs")
    length = text.count("context_length")
    source = text.values.get("hf_tokenizer_name")
    if not source:
        settings.refuse_others(["clean"])
        settings.require({"clean": "lower"})
        return {"name": "ClipTokenizer", "context_length": length}
    settings.refuse_others(["clean", "strip_sep_token"])
    cleaning = Section(settings.values, place, {"clean": "whitespace", "strip_sep_token": False}, settings.path)
    return {
        "name": "FileTokenizer",
        "context_length": length,
        "clean": cleaning.choice("clean", dict(zip(_CLEANING, _CLEANING))),
        "strip_sep": cleaning.flag("strip_sep_token"),
        # What the files of some vocabularies do not say themselves.
        "pad_token": next(
            (known.get("pad_token") for known in TOKENIZERS.values() if known.get("source") == source), None
        ),
        "source": source,
    }


def _mlp_width(section: Section, width: int) -> int:
    return int(width * section.number("mlp_ratio"))


def _activation(section: Section, activation: str) -> str:
    kinds = section.inside("act_kwargs", {"approximate": "none"})
    kinds.refuse_others(["approximate"])
    exact = kinds.choice("approximate", {"none": activation, "tanh": "gelu_tanh"})
    if section.values["act_kwargs"] and activation == "quick_gelu":
        raise section.refusal("act_kwargs", "they are for GELU, and quick_gelu is true")
    return exact


def _norm_epsilon(section: Section) -> float:
    kinds = section.inside("norm_kwargs", {"eps": 1e-5})
    kinds.refuse_others(["eps"])
    return kinds.number("eps")


# ------------------------------------------------------------------------------------------------- node to config

_ANY_VIT = {"name": "VisionTransformer", "qkv_bias": True, "pooler": False}
_OWN_VIT = {**_ANY_VIT, "class_token": True, "pool": ("token", "average"), "proj": True, "patch_bias": False}
_OWN_TEXT = {"name": "TextTransformer", "qkv_bias": True}


def open_clip_files(spec: Mapping[str, Any]) -> Dict[str, Any]:
    """The files beside weights that open_clip reads: `open_clip_config.json`.

    Args:
        spec: a model's specification.

    Raises:
        UserError: a model that open_clip cannot express; says what it lacks.
    """
    images = spec["preprocessing"]
    preprocessing = {key: images[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    model = open_clip_from_node(spec["architecture"], spec["tokenizer"])
    return {CONFIG_FILE: {"model_cfg": model, "preprocess_cfg": preprocessing}}


def open_clip_from_node(node: Mapping[str, Any], tokenizer: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """The model config of open_clip for a canonical node; keys that have open_clip's default are left out.

    Args:
        node: the network.
        tokenizer: its tokenizer's specification; None for CLIP's own.

    Raises:
        UserError: a network that open_clip cannot express; says what it lacks.
    """
    image, text = node["image"], node["text"]
    if image is None or text is None:
        raise _inexpressible([f"{'image' if image is None else 'text'} is missing"])
    config: Dict[str, Any] = {"embed_dim": node["embed_dim"]}
    if _has_quick_gelu(image, text):
        config["quick_gelu"] = True
    if node["init_logit_scale"] != INIT_LOGIT_SCALE:
        config["init_logit_scale"] = node["init_logit_scale"]
    if node["init_logit_bias"] is not None:
        config["init_logit_bias"] = node["init_logit_bias"]
    if has_custom_text(node):
        config["custom_text"] = True
    config["vision_cfg"] = _vision_config(image)
    config["text_cfg"] = {**_text_config(text), **_tokenizer_config(tokenizer)}
    return config


def has_custom_text(node: Mapping[str, Any]) -> bool:
    """Whether open_clip keeps the network as a `CustomTextCLIP`, whose text tower's weights start with `text.`.

    It needs that class for towers from timm and from Hugging Face; its own towers go into `CLIP`, as `to_family` writes
    them.
    """
    image, text = node["image"], node["text"]
    return text["name"] == "BertEncoder" or (image["name"] == "VisionTransformer" and image["pool"] == "attention")


def _inexpressible(reasons: List[str]) -> UserError:
    return UserError(
        f"open_clip has no model that computes this: {'; '.join(reasons)}. Convert to another layout, such as --to passl"
    )


def _has_quick_gelu(image: Mapping[str, Any], text: Mapping[str, Any]) -> bool:
    """Whether the towers whose activation the one switch of the model decides have QuickGELU."""
    ruled = {}
    if image["name"] == "VisionTransformer" and image["pool"] != "attention":
        ruled["image"] = image["activation"] == "quick_gelu"
    if text["name"] == "TextTransformer":
        ruled["text"] = text["activation"] == "quick_gelu"
    if len(set(ruled.values())) > 1:
        raise _inexpressible(
            [f"image.activation is {image['activation']!r} and text.activation is {text['activation']!r}"]
        )
    return any(ruled.values())


def _vision_config(image: Mapping[str, Any]) -> Dict[str, Any]:
    if image["name"] == "ModifiedResNet":
        if not image["qkv_bias"]:
            raise _inexpressible(["image.qkv_bias is False"])
        sizes = {"image_size": image["image_size"], "layers": list(image["layers"]), "width": image["width"]}
        return {**sizes, **_head_width(32 * image["width"], image["num_heads"]), "patch_size": None}
    if image["pool"] == "attention":
        return _timm_config(image)
    reasons = list(lacking(image, "image", _OWN_VIT))
    if reasons:
        raise _inexpressible(reasons)
    config = {
        "image_size": image["image_size"],
        "layers": image["num_layers"],
        "width": image["width"],
        **_head_width(image["width"], image["num_heads"]),
        "patch_size": image["patch_size"],
        **_block_config(image),
    }
    if not image["pre_norm"]:
        config["no_ln_pre"] = True
    if image["pool"] == "average":
        config.update(pool_type="avg", final_ln_after_pool=True)
    return config


def _head_width(width: int, num_heads: int) -> Dict[str, Any]:
    return {} if width == 64 * num_heads else {"head_width": width // num_heads}


def _timm_config(image: Mapping[str, Any]) -> Dict[str, Any]:
    for name, node in _siglip_nodes().items():
        if node == image:
            fixed = {"timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"}
            return {"image_size": image["image_size"], "timm_model_name": name, **fixed}
    sizes = ("image_size", "patch_size", "width", "num_layers", "num_heads", "activation")
    said = ", ".join(f"{key} {image[key]}" for key in sizes)
    raise _inexpressible([f"timm, whose towers it takes for image.pool 'attention', names none with {said}"])


def _text_config(text: Mapping[str, Any]) -> Dict[str, Any]:
    if text["name"] == "BertEncoder":
        return _hf_config(text)
    reasons = list(lacking(text, "text", _OWN_TEXT))
    if reasons:
        raise _inexpressible(reasons)
    config = {
        "context_length": text["context_length"],
        "vocab_size": text["vocab_size"],
        "width": text["width"],
        "heads": text["num_heads"],
        "layers": text["num_layers"],
        **_block_config(text),
    }
    if not text["is_causal"]:
        config["no_causal_mask"] = True
    if text["pool"] != "argmax":
        config["pool_type"] = text["pool"]
    if text["pool"] == "eos":
        config["eos_id"] = text["eos_id"]
    if not text["proj"]:
        config["proj_type"] = "none"
    if text["proj_bias"]:
        config["proj_bias"] = True
    return config


def _block_config(tower: Mapping[str, Any]) -> Dict[str, Any]:
    """What the blocks of both kinds of tower have in common, where it is not the usual."""
    config: Dict[str, Any] = {}
    if tower["mlp_width"] != 4 * tower["width"]:
        config["mlp_ratio"] = mlp_ratio(tower)
    if tower["layer_scale"] is not None:
        config["ls_init_value"] = tower["layer_scale"]
    if tower["activation"] == "gelu_tanh":
        config["act_kwargs"] = {"approximate": "tanh"}
    if not math.isclose(tower["norm_epsilon"], 1e-5):
        config["norm_kwargs"] = {"eps": tower["norm_epsilon"]}
    return config


def _hf_config(text: Mapping[str, Any]) -> Dict[str, Any]:
    reasons = {}
    for name, sizes in _HF_TOWERS.items():
        fixed = {"name": "BertEncoder", **_ROBERTA, **sizes._asdict(), "mlp_width": 4 * sizes.width}
        reasons[name] = list(lacking(text, "text", fixed))
    name = min(reasons, key=lambda name: len(reasons[name]))
    if reasons[name]:
        raise _inexpressible(
            [f"of the text towers from Hugging Face {name} is the nearest, but {', '.join(reasons[name])}"]
        )
    poolers = {ours: theirs for theirs, ours in _HF_POOLERS.items()}
    return {
        "hf_model_name": name,
        "hf_pooler_type": poolers[text["pool"]],
        "hf_proj_type": None if text["proj"] == "none" else text["proj"],
        "context_length": text["context_length"],
    }


def _tokenizer_config(tokenizer: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    if tokenizer is None or tokenizer["name"] == "ClipTokenizer":
        return {}
    settings = {}
    if tokenizer["clean"] != "whitespace":
        if tokenizer["clean"] not in _CLEANING:
            raise _inexpressible([f"tokenizer.clean is {tokenizer['clean']!r}"])
        settings["clean"] = tokenizer["clean"]
    if tokenizer["strip_sep"]:
        settings["strip_sep_token"] = True
    # In a folder open_clip takes the files beside the config, whatever the name is; without a name it takes CLIP's own.
    named = {"hf_tokenizer_name": tokenizer["source"] or "tokenizer"}
    return {**named, "tokenizer_kwargs": settings} if settings else named
