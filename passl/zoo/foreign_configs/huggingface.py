"""`config.json` as transformers writes it, to and from our terms.

    class                             image tower                      text tower
    CLIPModel                         CLIP's, with pre-norm            causal, read at the end mark
    SiglipModel                       attention pooling, no class token  both ways, read at the last place
    VisionTextDualEncoderModel        CLIP's or ViT with pooler        BERT, RoBERTa, XLM-RoBERTa with pooler, or CLIP's

and the towers of the first two alone. What the files leave out is filled in with the defaults of transformers 5.23, whose
configuration and modelling classes this is read from; files of 4.x have the same keys. Keys that a class does not know are
ignored, as it does; keys for training alone (dropout, initialisation) too.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

from passl.utils.constants import INIT_LOGIT_SCALE
from passl.utils.errors import UserError
from passl.zoo.foreign_configs.images import CONFIG_FILE as PREPROCESSOR_FILE
from passl.zoo.foreign_configs.images import huggingface_preprocessor
from passl.zoo.foreign_configs.section import Section
from passl.zoo.foreign_configs.towers import (
    bert_encoder,
    dual_encoder,
    lacking,
    text_transformer,
    vision_transformer,
)

CONFIG_FILE = "config.json"

_ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
_HIDDEN_ACT = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
# CLIP's `eos_token_id` in the files of OpenAI's models: not the id of the end mark, but the word for "the highest id".
_HIGHEST_ID = 2
_GEMMA_VOCABULARY, _XLM_VOCABULARY = 256000, 250002  # of SigLIP 2 and of XLM-RoBERTa

# ---------------------------------------------------------------------------- what transformers takes for missing keys

_CLIP = {"projection_dim": 512, "logit_scale_init_value": 2.6592}
_CLIP_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
_CLIP_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}
_SIGLIP_VISION = {
    **_CLIP_VISION,
    "patch_size": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
_SIGLIP_TEXT = {
    **_CLIP_TEXT,
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "max_position_embeddings": 64,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
_DUAL = {"projection_dim": 512, "logit_scale_init_value": 2.6592}
_VIT = {**_CLIP_VISION, "patch_size": 16, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "qkv_bias": True}
_BERT = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
_TEXT_DEFAULTS = {
    "bert": _BERT,
    "roberta": {**_BERT, "vocab_size": 50265, "pad_token_id": 1},
    "xlm-roberta": {**_BERT, "pad_token_id": 1},
}

# Values other than these change what is computed, in ways that passl does not have.
_PLAIN = {"pruned_heads": {}, "is_encoder_decoder": False}
_PLAIN_VISION = {**_PLAIN, "num_channels": 3}
_PLAIN_SIGLIP_VISION = {**_PLAIN_VISION, "vision_use_head": True}
_PLAIN_BERT = {
    **_PLAIN,
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}

# ------------------------------------------------------------------------------------------------- config to node


def node_from_huggingface(
    config: Mapping[str, Any], place: str = CONFIG_FILE, text_length: Optional[int] = None
) -> Dict[str, Any]:
    """The canonical node of the network that a config.json of transformers describes.

    Args:
        config: the file's content.
        place: the file, for messages.
        text_length: the tokenizer's limit, where one is known; the text towers of `VisionTextDualEncoderModel` have none
            of their own but the number of their positions.

    Raises:
        UserError: another kind of model, or a key or value that changes what is computed and that passl has no block for.
    """
    section = Section(config, place)
    model_type = section.values.get("model_type")
    if model_type not in _READERS:
        more = (
            "; SigLIP 2 with pictures of any proportions (NaFlex) is not supported yet"
            if model_type == "siglip2"
            else ""
        )
        raise section.refusal("model_type", f"passl reads {', '.join(_READERS)}{more}")
    read, classes = _READERS[model_type]
    return read(section, _Asked(_architecture(section, classes), text_length))


def processor_kind(config: Mapping[str, Any]) -> str:
    """The image processor that goes with a model: "CLIP", "Siglip" or "ViT"."""
    if str(config["model_type"]).startswith("siglip"):
        return "Siglip"
    vision = config.get("vision_config")
    return "ViT" if isinstance(vision, Mapping) and vision.get("model_type") == "vit" else "CLIP"


def default_tokenizer(config: Mapping[str, Any], text: Mapping[str, Any]) -> Dict[str, Any]:
    """The specification of the tokenizer that a model usually has, for a config without a tokenizer's files beside it.

    Args:
        config: the content of config.json.
        text: the node of the text tower.
    """
    length, vocab_size = text["context_length"], text["vocab_size"]
    if vocab_size == _CLIP_TEXT["vocab_size"]:
        return {"name": "ClipTokenizer", "context_length": length}
    is_siglip = str(config["model_type"]).startswith("siglip")
    clean = "siglip2" if vocab_size == _GEMMA_VOCABULARY else "siglip"
    return {
        "name": "FileTokenizer",
        "context_length": length,
        "clean": clean if is_siglip else "none",
        "strip_sep": False,
        "pad_token": None,
        "source": None,
    }


def _architecture(section: Section, classes: Tuple[str, ...]) -> str:
    """The class whose weights stand beside the config; the first of `classes` unless it says another."""
    named = section.values.get("architectures")
    if not named:
        return classes[0]
    if not isinstance(named, (list, tuple)) or len(named) != 1 or named[0] not in classes:
        raise section.refusal("architectures", f"for this model_type passl reads {' or '.join(classes)}")
    return named[0]


class _Asked(NamedTuple):
    """What a reader needs besides the config: the class of the weights, and the limit of the tokenizer where one is known."""

    architecture: str
    text_length: Optional[int]


def _clip_node(section: Section, asked: _Asked) -> Dict[str, Any]:  # noqa: ARG001
    model = Section({**_CLIP, **section.values}, section.place)
    embed_dim = model.count("projection_dim")
    return dual_encoder(
        embed_dim,
        _clip_image(_old_or_new(model, "vision_config", _CLIP_VISION)),
        _clip_text(_old_or_new(model, "text_config", _CLIP_TEXT)),
        model.number("logit_scale_init_value"),
    )


def _clip_image_alone(section: Section, asked: _Asked) -> Dict[str, Any]:
    vision = Section(section.values, section.place, _CLIP_VISION)
    has_projection = asked.architecture == "CLIPVisionModelWithProjection"
    embed_dim = vision.count("projection_dim" if has_projection else "hidden_size")
    return dual_encoder(embed_dim, _clip_image(vision, has_projection), None, INIT_LOGIT_SCALE)


def _clip_text_alone(section: Section, asked: _Asked) -> Dict[str, Any]:
    text = Section(section.values, section.place, _CLIP_TEXT)
    has_projection = asked.architecture == "CLIPTextModelWithProjection"
    embed_dim = text.count("projection_dim" if has_projection else "hidden_size")
    return dual_encoder(embed_dim, None, _clip_text(text, has_projection), INIT_LOGIT_SCALE)


def _siglip_node(section: Section, asked: _Asked) -> Dict[str, Any]:  # noqa: ARG001
    vision = section.inside("vision_config", _SIGLIP_VISION)
    text = section.inside("text_config", _SIGLIP_TEXT)
    embed_dim = vision.count("hidden_size")
    if _siglip_projection(text) != embed_dim:
        raise vision.refusal(
            "hidden_size", f"the text tower's embedding is {_siglip_projection(text)} wide; they are equal"
        )
    initial = Section(section.values, section.place, {_SCALE: math.log(10), _BIAS: -10.0})  # the paper's
    return dual_encoder(
        embed_dim, _siglip_image(vision), _siglip_text(text), initial.number(_SCALE), initial.number(_BIAS)
    )


# What a SigLIP starts from is our own record: its class has no such keys, and transformers keeps those it does not know.
_SCALE, _BIAS = "logit_scale_init_value", "logit_bias_init_value"


def _siglip_image_alone(section: Section, asked: _Asked) -> Dict[str, Any]:  # noqa: ARG001
    vision = Section(section.values, section.place, _SIGLIP_VISION)
    return dual_encoder(vision.count("hidden_size"), _siglip_image(vision), None, INIT_LOGIT_SCALE)


def _siglip_text_alone(section: Section, asked: _Asked) -> Dict[str, Any]:  # noqa: ARG001
    text = Section(section.values, section.place, _SIGLIP_TEXT)
    return dual_encoder(_siglip_projection(text), None, _siglip_text(text), INIT_LOGIT_SCALE)


def _dual_node(section: Section, asked: _Asked) -> Dict[str, Any]:
    model = Section({**_DUAL, **section.values}, section.place)
    return dual_encoder(
        model.count("projection_dim"),
        _dual_image(model.inside("vision_config")),
        _dual_text(model.inside("text_config"), asked.text_length),
        model.number("logit_scale_init_value"),
    )


_READERS: Dict[str, Tuple[Callable[[Section, _Asked], Dict[str, Any]], Tuple[str, ...]]] = {
    "clip": (_clip_node, ("CLIPModel",)),
    "clip_vision_model": (_clip_image_alone, ("CLIPVisionModelWithProjection", "CLIPVisionModel")),
    "clip_text_model": (_clip_text_alone, ("CLIPTextModelWithProjection", "CLIPTextModel")),
    "siglip": (_siglip_node, ("SiglipModel",)),
    "siglip_vision_model": (_siglip_image_alone, ("SiglipVisionModel",)),
    "siglip_text_model": (_siglip_text_alone, ("SiglipTextModel",)),
    "vision-text-dual-encoder": (_dual_node, ("VisionTextDualEncoderModel",)),
}


def _old_or_new(model: Section, key: str, defaults: Mapping[str, Any]) -> Section:
    """The config of a tower; where an old file has it a second time, as `text_config_dict`, that one counts.

    transformers fills the second one in with its defaults and lays all of it over the first.
    """
    old = model.values.get(f"{key}_dict")
    return model.inside(key, defaults) if old is None else model.inside(f"{key}_dict", defaults)


def _blocks(section: Section) -> Dict[str, Any]:
    """What the blocks of every tower say in the same words."""
    width, num_heads = section.count("hidden_size"), section.count("num_attention_heads")
    if width % num_heads:
        raise section.refusal("num_attention_heads", f"they do not divide hidden_size {width}")
    return {
        "width": width,
        "num_layers": section.count("num_hidden_layers"),
        "num_heads": num_heads,
        "mlp_width": section.count("intermediate_size"),
        "activation": section.choice("hidden_act", _ACTIVATIONS),
        "norm_epsilon": section.number("layer_norm_eps"),
    }


def _clip_image(vision: Section, has_projection: bool = True) -> Dict[str, Any]:
    vision.require(_PLAIN_VISION)
    return vision_transformer(
        **_blocks(vision),
        image_size=vision.side("image_size"),
        patch_size=vision.side("patch_size"),
        qkv_bias=True,
        pre_norm=True,
        class_token=True,
        pool="token",
        proj=has_projection,
        patch_bias=False,
        layer_scale=None,
        pooler=False,
    )


def _clip_text(text: Section, has_projection: bool = True) -> Dict[str, Any]:
    text.require(_PLAIN)
    eos_id, vocab_size = text.index("eos_token_id"), text.count("vocab_size")
    if eos_id >= vocab_size:
        raise text.refusal("eos_token_id", f"texts are read at this token, and the vocabulary has {vocab_size}")
    # With the last id as its mark, as in CLIP's own vocabulary, the end of a text is where its highest id stands first.
    is_highest = eos_id in (_HIGHEST_ID, vocab_size - 1)
    return text_transformer(
        **_blocks(text),
        context_length=text.count("max_position_embeddings"),
        vocab_size=vocab_size,
        qkv_bias=True,
        is_causal=True,
        pool="argmax" if is_highest else "eos",
        eos_id=None if is_highest else eos_id,
        proj=has_projection,
        proj_bias=False,
        layer_scale=None,
    )


def _siglip_image(vision: Section) -> Dict[str, Any]:
    vision.require(_PLAIN_SIGLIP_VISION)
    return vision_transformer(
        **_blocks(vision),
        image_size=vision.side("image_size"),
        patch_size=vision.side("patch_size"),
        qkv_bias=True,
        pre_norm=False,
        class_token=False,
        pool="attention",
        proj=False,
        patch_bias=True,
        layer_scale=None,
        pooler=False,
    )


def _siglip_text(text: Section) -> Dict[str, Any]:
    text.require(_PLAIN)
    return text_transformer(
        **_blocks(text),
        context_length=text.count("max_position_embeddings"),
        vocab_size=text.count("vocab_size"),
        qkv_bias=True,
        is_causal=False,
        pool="last",
        eos_id=None,
        proj=True,
        proj_bias=True,
        layer_scale=None,
    )


def _siglip_projection(text: Section) -> int:
    return text.count("hidden_size" if text.values.get("projection_size") is None else "projection_size")


def _dual_image(vision: Section) -> Dict[str, Any]:
    kind = vision.choice("model_type", {"clip_vision_model": "clip_vision_model", "clip": "clip", "vit": "vit"})
    if kind == "clip_vision_model":
        return _clip_image(Section(vision.values, vision.place, _CLIP_VISION, vision.path))
    if kind == "clip":  # the config of a whole CLIP, of which files of 4.x mean the image tower
        return _clip_image(_old_or_new(vision, "vision_config", _CLIP_VISION))
    vision = Section(vision.values, vision.place, _VIT, vision.path)
    pooler_size = vision.values.get("pooler_output_size") or vision.values["hidden_size"]
    vision.require({**_PLAIN_VISION, "pooler_act": "tanh"})
    if pooler_size != vision.values["hidden_size"]:
        raise vision.refusal(
            "pooler_output_size", f"passl's pooler is as wide as hidden_size {vision.values['hidden_size']}"
        )
    return vision_transformer(
        **_blocks(vision),
        image_size=vision.side("image_size"),
        patch_size=vision.side("patch_size"),
        qkv_bias=vision.flag("qkv_bias"),
        pre_norm=False,
        class_token=True,
        pool="token",
        proj=True,
        patch_bias=True,
        layer_scale=None,
        pooler=True,
    )


def _dual_text(text: Section, text_length: Optional[int]) -> Dict[str, Any]:
    defaults = text.choice("model_type", {**_TEXT_DEFAULTS, "clip_text_model": _CLIP_TEXT})
    text = Section(text.values, text.place, defaults, text.path)
    return _clip_text(text) if defaults is _CLIP_TEXT else _bert_text(text, text_length)


def _bert_text(text: Section, text_length: Optional[int]) -> Dict[str, Any]:
    text.require(_PLAIN_BERT)
    num_positions, pad_id = text.count("max_position_embeddings"), text.index("pad_token_id")
    offset = 0 if text.values["model_type"] == "bert" else pad_id + 1
    if num_positions <= offset:
        raise text.refusal("max_position_embeddings", f"positions are counted from {offset} on")
    longest = num_positions - offset
    return bert_encoder(
        **_blocks(text),
        context_length=longest if text_length is None else min(longest, text_length),
        vocab_size=text.count("vocab_size"),
        num_positions=num_positions,
        pad_id=pad_id,
        position_offset=offset,
        num_token_types=text.count("type_vocab_size"),
        pool="pooler",
        proj="linear",
    )


# ------------------------------------------------------------------------------------------------- node to config

_VIT_TOWER = {
    "name": "VisionTransformer",
    "class_token": True,
    "pool": "token",
    "proj": True,
    "layer_scale": None,
}
_TOWERS = {
    "CLIP image": {**_VIT_TOWER, "qkv_bias": True, "pre_norm": True, "patch_bias": False, "pooler": False},
    "ViT image": {**_VIT_TOWER, "pre_norm": False, "patch_bias": True, "pooler": True},
    "SigLIP image": {
        "name": "VisionTransformer",
        "qkv_bias": True,
        "pre_norm": False,
        "class_token": False,
        "pool": "attention",
        "proj": False,
        "patch_bias": True,
        "layer_scale": None,
        "pooler": False,
    },
    "CLIP text": {
        "name": "TextTransformer",
        "qkv_bias": True,
        "is_causal": True,
        "pool": ("argmax", "eos"),
        "proj": True,
        "proj_bias": False,
        "layer_scale": None,
    },
    "SigLIP text": {
        "name": "TextTransformer",
        "qkv_bias": True,
        "is_causal": False,
        "pool": "last",
        "proj": True,
        "proj_bias": True,
        "layer_scale": None,
    },
    "BERT text": {"name": "BertEncoder", "pool": "pooler", "proj": "linear"},
}
_TOWERS["CLIP image, no projection"] = {**_TOWERS["CLIP image"], "proj": False}
_TOWERS["CLIP text, no projection"] = {**_TOWERS["CLIP text"], "proj": False}

#    image tower, text tower, whether the logits have a bias: class, model_type
_CLASSES = {
    ("CLIP image", "CLIP text", False): ("CLIPModel", "clip"),
    ("SigLIP image", "SigLIP text", True): ("SiglipModel", "siglip"),
    ("CLIP image", "BERT text", False): ("VisionTextDualEncoderModel", "vision-text-dual-encoder"),
    ("ViT image", "BERT text", False): ("VisionTextDualEncoderModel", "vision-text-dual-encoder"),
    ("ViT image", "CLIP text", False): ("VisionTextDualEncoderModel", "vision-text-dual-encoder"),
    ("CLIP image", None, False): ("CLIPVisionModelWithProjection", "clip_vision_model"),
    ("CLIP image, no projection", None, False): ("CLIPVisionModel", "clip_vision_model"),
    (None, "CLIP text", False): ("CLIPTextModelWithProjection", "clip_text_model"),
    (None, "CLIP text, no projection", False): ("CLIPTextModel", "clip_text_model"),
    ("SigLIP image", None, False): ("SiglipVisionModel", "siglip_vision_model"),
    (None, "SigLIP text", False): ("SiglipTextModel", "siglip_text_model"),
}


def huggingface_files(
    spec: Mapping[str, Any], tokenizer: Optional[Mapping[str, Any]] = None, dtype: str = "float32"
) -> Dict[str, Any]:
    """The configs beside weights that transformers reads: config.json and, with an image tower, preprocessor_config.json.

    Args:
        spec: a model's specification.
        tokenizer: the specification of the tokenizer that goes with it; the model's own unless given.
        dtype: the number format of the weights, such as "float32" or "float16".

    Raises:
        UserError: a model that none of the classes can express; says what the nearest class lacks.
    """
    node = spec["architecture"]
    files = {CONFIG_FILE: huggingface_from_node(node, tokenizer or spec["tokenizer"], dtype)}
    if node["image"] is not None:
        has_siglip = files[CONFIG_FILE]["model_type"].startswith("siglip")
        files[PREPROCESSOR_FILE] = huggingface_preprocessor(spec["preprocessing"], has_siglip)
    return files


def huggingface_from_node(
    node: Mapping[str, Any], tokenizer: Optional[Mapping[str, Any]] = None, dtype: str = "float32"
) -> Dict[str, Any]:
    """The content of config.json for a canonical node. See `huggingface_files`."""
    towers, (architecture, model_type) = _class_of(node)
    image, text = node["image"], node["text"]
    config: Dict[str, Any] = {"architectures": [architecture], "model_type": model_type, "torch_dtype": dtype}
    if image is None or text is None:
        config.update(_image_config(image, node) if text is None else _text_config(text, node))
        return config
    if model_type == "siglip":
        config.update({_SCALE: node["init_logit_scale"], _BIAS: node["init_logit_bias"]})
    else:
        config.update(projection_dim=node["embed_dim"], logit_scale_init_value=node["init_logit_scale"])
    image_type = {"CLIP image": "clip_vision_model", "SigLIP image": "siglip_vision_model", "ViT image": "vit"}[
        towers[0]
    ]
    text_type = {"CLIP text": "clip_text_model", "SigLIP text": "siglip_text_model"}.get(towers[1]) or _bert_type(
        text, tokenizer
    )
    config["vision_config"] = {"model_type": image_type, "torch_dtype": dtype, **_image_config(image, node)}
    config["text_config"] = {"model_type": text_type, "torch_dtype": dtype, **_text_config(text, node)}
    return config


def _class_of(node: Mapping[str, Any]) -> Tuple[Tuple[Optional[str], Optional[str]], Tuple[str, str]]:
    """The kinds of the two towers, and the class that has them. Raises `UserError` if there is none."""
    lacks = {key: list(_lacks(node, *key)) for key in _CLASSES}
    nearest = min(lacks, key=lambda key: len(lacks[key]))
    if lacks[nearest]:
        raise UserError(
            f"transformers has no class that computes this: {_CLASSES[nearest][0]} is the nearest, but "
            f"{'; '.join(lacks[nearest])}. Convert to another layout, such as --to passl"
        )
    return nearest[:2], _CLASSES[nearest]


def _lacks(node: Mapping[str, Any], image: Optional[str], text: Optional[str], has_bias: bool) -> Iterator[str]:
    yield from lacking(node["image"], "image", _TOWERS[image] if image else None)
    yield from lacking(node["text"], "text", _TOWERS[text] if text else None)
    if (node["init_logit_bias"] is not None) != has_bias:
        yield f"init_logit_bias is {node['init_logit_bias']}"
    tower = node["text"] or {}
    if tower.get("eos_id") == _HIGHEST_ID:
        yield f"text.eos_id is {_HIGHEST_ID}, which there means the highest id"
    if tower.get("position_offset", 0) not in (0, tower.get("pad_id", 0) + 1):
        yield f"text.position_offset is {tower['position_offset']}"


def _block_config(tower: Mapping[str, Any]) -> Dict[str, Any]:
    return {
        "hidden_size": tower["width"],
        "intermediate_size": tower["mlp_width"],
        "num_hidden_layers": tower["num_layers"],
        "num_attention_heads": tower["num_heads"],
        "hidden_act": _HIDDEN_ACT[tower["activation"]],
        "layer_norm_eps": tower["norm_epsilon"],
    }


def _image_config(image: Mapping[str, Any], node: Mapping[str, Any]) -> Dict[str, Any]:
    config = {
        **_block_config(image),
        "image_size": image["image_size"],
        "patch_size": image["patch_size"],
        "num_channels": 3,
    }
    if image["pooler"]:
        config["qkv_bias"] = image["qkv_bias"]
    elif image["class_token"]:
        config["projection_dim"] = node["embed_dim"]
    return config


def _text_config(text: Mapping[str, Any], node: Mapping[str, Any]) -> Dict[str, Any]:
    config = {**_block_config(text), "vocab_size": text["vocab_size"]}
    if text["name"] == "BertEncoder":
        sizes = {"max_position_embeddings": text["num_positions"], "type_vocab_size": text["num_token_types"]}
        return {**config, **sizes, "pad_token_id": text["pad_id"]}
    config["max_position_embeddings"] = text["context_length"]
    if text["pool"] == "last":
        return {**config, "projection_size": node["embed_dim"]}
    config["projection_dim"] = node["embed_dim"]
    if text["pool"] == "eos":
        return {**config, "eos_token_id": text["eos_id"]}
    if text["vocab_size"] == _CLIP_TEXT["vocab_size"]:
        return {**config, "bos_token_id": 49406, "eos_token_id": _CLIP_TEXT["eos_token_id"], "pad_token_id": 1}
    # The three ids as in the files of OpenAI's models; only the middle one is looked at.
    return {**config, "bos_token_id": 0, "eos_token_id": _HIGHEST_ID, "pad_token_id": 1}


def _bert_type(text: Mapping[str, Any], tokenizer: Optional[Mapping[str, Any]]) -> str:
    """ "bert", or one of the two names under which transformers has RoBERTa: they differ in the tokenizer alone."""
    if text["position_offset"] == 0:
        return "bert"
    is_multilingual = "xlm" in str((tokenizer or {}).get("source")) or text["vocab_size"] == _XLM_VOCABULARY
    return "xlm-roberta" if is_multilingual else "roberta"
