"""One tower at a time: for each kind, our node, the reference's tower of the same sizes, and the names of its arrays.

The references are open_clip, timm (whose towers open_clip takes for SigLIP) and transformers. What needs torch is
imported inside functions.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np
from reference import disturb, import_open_clip, to_our_layout

Node = Dict[str, Any]
Names = List[Tuple[str, str]]


class Sizes(NamedTuple):
    """How large the towers are: one pass of a test each."""

    width: int
    num_heads: int
    num_layers: int
    mlp_width: int
    output_dim: int
    image_size: int
    patch_size: int
    context_length: int
    vocab_size: int


TINY = Sizes(12, 2, 2, 18, 8, 12, 4, 10, 40)
SMALL = Sizes(96, 4, 4, 288, 64, 64, 16, 24, 500)
WIDE = Sizes(192, 3, 2, 600, 160, 112, 8, 200, 1000)


class Tower(NamedTuple):
    """A kind of tower.

    Attributes:
        node: ours, by sizes; `output_dim` in it is taken out before building.
        build: the reference's, from our node.
        names: pieces of the reference's names and what they are in ours, applied in order.
        run: the reference's embeddings of an input.
    """

    node: Callable[[Sizes], Node]
    build: Callable[[Node], Any]
    names: Names
    run: Callable[[Any, Any], Any]


def _image(sizes: Sizes, **keys: Any) -> Node:
    shared = {name: getattr(sizes, name) for name in ("output_dim", "image_size", "patch_size", "width", "num_layers")}
    return {"name": "VisionTransformer", **shared, "num_heads": sizes.num_heads, "mlp_width": sizes.mlp_width, **keys}


def _text(sizes: Sizes, name: str = "TextTransformer", **keys: Any) -> Node:
    shared = {name: getattr(sizes, name) for name in ("output_dim", "context_length", "vocab_size", "width")}
    depth = {"num_layers": sizes.num_layers, "num_heads": sizes.num_heads, "mlp_width": sizes.mlp_width}
    return {"name": name, **shared, **depth, **keys}


# ---------------------------------------------------------------------------------------------------- open_clip

_OPEN_CLIP: Names = [
    ("conv1.", "patch_embed.proj."),
    ("ln_pre", "norm_pre"),
    ("ln_post", "norm_post"),
    ("ln_final", "norm_final"),
    ("transformer.resblocks", "blocks"),
    ("ln_1", "norm1"),
    ("ln_2", "norm2"),
    ("ls_1", "scale1"),
    ("ls_2", "scale2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("text_projection.weight", "projection.T"),
    ("text_projection.bias", "projection_bias"),
    ("text_projection", "projection"),
]


def _open_clip_activation(node: Node) -> Callable:
    from functools import partial

    import torch
    from open_clip.transformer import QuickGELU

    kinds = {"quick_gelu": QuickGELU, "gelu": torch.nn.GELU, "gelu_tanh": partial(torch.nn.GELU, approximate="tanh")}
    return kinds[node["activation"]]


def _open_clip_shared(node: Node) -> Dict[str, Any]:
    from functools import partial

    from open_clip.transformer import LayerNorm

    return {
        "width": node["width"],
        "layers": node["num_layers"],
        "heads": node["num_heads"],
        "mlp_ratio": node["mlp_width"] / node["width"],
        "output_dim": node["output_dim"],
        "ls_init_value": node.get("layer_scale"),
        "act_layer": _open_clip_activation(node),
        "norm_layer": partial(LayerNorm, eps=node.get("norm_epsilon", 1e-5)),
    }


def _open_clip_image(node: Node) -> Any:
    import_open_clip()
    from open_clip.transformer import VisionTransformer

    is_averaged = node.get("pool") == "average"
    return VisionTransformer(
        image_size=node["image_size"],
        patch_size=node["patch_size"],
        no_ln_pre=not node.get("pre_norm", True),
        pool_type="avg" if is_averaged else "tok",
        final_ln_after_pool=is_averaged,
        **_open_clip_shared(node),
    )


def _open_clip_text(node: Node) -> Any:
    import_open_clip()
    from open_clip.transformer import TextTransformer

    return TextTransformer(
        context_length=node["context_length"],
        vocab_size=node["vocab_size"],
        no_causal_mask=not node.get("is_causal", True),
        pool_type=node.get("pool", "argmax"),
        eos_id=node.get("eos_id", 2),
        proj_type="linear" if node.get("proj", True) else "none",
        proj_bias=node.get("proj_bias", False),
        **_open_clip_shared(node),
    )


# ---------------------------------------------------------------------------------------------------- timm

_TIMM: Names = [
    ("pos_embed", "positional_embedding"),
    ("attn.qkv.", "attn.in_proj_"),
    ("attn.proj.", "attn.out_proj."),
    ("attn_pool.q.", "attn_pool.q_proj."),
    ("attn_pool.kv.", "attn_pool.kv_proj_"),
    ("attn_pool.proj.", "attn_pool.out_proj."),
]


def _timm_image(node: Node) -> Any:
    import_open_clip()
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=node["image_size"],
        patch_size=node["patch_size"],
        embed_dim=node["width"],
        depth=node["num_layers"],
        num_heads=node["num_heads"],
        mlp_ratio=node["mlp_width"] / node["width"],
        class_token=False,
        global_pool="map",
        num_classes=0,
    )


# ---------------------------------------------------------------------------------------------------- transformers

_ATTENTION = [("self_attn", "attn"), ("layer_norm1", "norm1"), ("layer_norm2", "norm2")]
_SIGLIP: Names = [
    ("embeddings.patch_embedding", "patch_embed.proj"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("embeddings.token_embedding", "token_embedding"),
    ("encoder.layers", "blocks"),
    *_ATTENTION,
    ("post_layernorm", "norm_post"),
    ("final_layer_norm", "norm_final"),
    ("head.probe", "attn_pool.latent"),
    ("head.attention", "attn_pool"),
    ("head.layernorm", "attn_pool.norm"),
    ("head.mlp", "attn_pool.mlp"),
    ("head.weight", "projection.T"),
    ("head.bias", "projection_bias"),
]
_VIT: Names = [
    ("embeddings.cls_token", "class_embedding"),
    ("embeddings.position_embeddings", "positional_embedding"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("layers.", "blocks."),
    (".attention.", ".attn."),
    ("o_proj", "out_proj"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("layernorm", "norm_post"),
    ("pooler.dense.weight", "pooler.weight.T"),
    ("pooler.dense.bias", "pooler.bias"),
]
_BERT: Names = [
    ("transformer.", ""),
    ("embeddings.word_embeddings", "token_embedding"),
    ("embeddings.position_embeddings.weight", "positional_embedding"),
    ("embeddings.token_type_embeddings.weight", "token_type_embedding"),
    ("embeddings.LayerNorm", "norm_embedding"),
    ("encoder.layer.", "blocks."),
    ("attention.self.query", "attn.q_proj"),
    ("attention.self.key", "attn.k_proj"),
    ("attention.self.value", "attn.v_proj"),
    ("attention.output.dense", "attn.out_proj"),
    ("attention.output.LayerNorm", "norm1"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("output.LayerNorm", "norm2"),
    ("pooler.dense.weight", "pooler.weight.T"),
    ("pooler.dense.bias", "pooler.bias"),
    ("proj.0.weight", "projection_hidden.T"),
    ("proj.2.weight", "projection.T"),
]
_HUGGING_FACE_ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}


def _transformers_shared(node: Node) -> Dict[str, Any]:
    return {
        "hidden_size": node["width"],
        "intermediate_size": node["mlp_width"],
        "num_hidden_layers": node["num_layers"],
        "num_attention_heads": node["num_heads"],
        "hidden_act": _HUGGING_FACE_ACTIVATIONS[node["activation"]],
        "layer_norm_eps": node["norm_epsilon"],
        "attn_implementation": "eager",
    }


def _siglip_image(node: Node) -> Any:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    sizes = {"image_size": node["image_size"], "patch_size": node["patch_size"]}
    return SiglipVisionModel(SiglipVisionConfig(**sizes, **_transformers_shared(node)))


def _siglip_text(node: Node) -> Any:
    from transformers import SiglipTextConfig, SiglipTextModel

    sizes = {"vocab_size": node["vocab_size"], "max_position_embeddings": node["context_length"]}
    marks = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 1, "projection_size": node["output_dim"]}
    return SiglipTextModel(SiglipTextConfig(**sizes, **marks, **_transformers_shared(node)))


def _vit(node: Node) -> Any:
    from transformers import ViTConfig, ViTModel

    sizes = {"image_size": node["image_size"], "patch_size": node["patch_size"]}
    return ViTModel(ViTConfig(**sizes, **_transformers_shared(node)))


def _bert(config_class: str) -> Callable[[Node], Any]:
    def build(node: Node) -> Any:
        import_open_clip()
        import transformers
        from open_clip.hf_model import HFTextEncoder

        config = getattr(transformers, config_class)(
            vocab_size=node["vocab_size"],
            max_position_embeddings=node["num_positions"],
            type_vocab_size=node["num_token_types"],
            pad_token_id=node["pad_id"],
            bos_token_id=0,
            eos_token_id=2,
            **_transformers_shared(node),
        )
        poolers = {"mean": "mean_pooler", "token": "cls_last_hidden_state_pooler", "pooler": "cls_pooler"}
        proj = None if node["proj"] == "none" else node["proj"]
        model = HFTextEncoder("", node["output_dim"], config, pooler_type=poolers[node["pool"]], proj_type=proj)
        if node["pool"] != "pooler":
            model.transformer.pooler = None  # as open_clip builds it when it downloads the config itself
        return model

    return build


def _call(model: Any, given: Any) -> Any:
    return model(given)


def _pooled(model: Any, given: Any) -> Any:
    return model(given).pooler_output


_CLIPA_IMAGE = {"activation": "gelu", "pre_norm": False, "pool": "average"}
_SIGLIP_IMAGE = {"pre_norm": False, "class_token": False, "pool": "attention", "proj": False, "patch_bias": True}
_SIGLIP_TEXT = {"is_causal": False, "pool": "last", "proj_bias": True, "norm_epsilon": 1e-6}


def _roberta_keys(sizes: Sizes, **keys: Any) -> Node:
    shared = {"activation": "gelu", "pad_id": 1, "position_offset": 2, "num_token_types": 1, "norm_epsilon": 1e-5}
    return _text(sizes, "BertEncoder", **shared, num_positions=sizes.context_length + 2, **keys)


def _bert_keys(sizes: Sizes, **keys: Any) -> Node:
    shared = {"activation": "gelu", "pad_id": 0, "position_offset": 0, "num_token_types": 2, "norm_epsilon": 1e-12}
    return _text(sizes, "BertEncoder", **shared, num_positions=sizes.context_length + 3, **keys)


TOWERS: Dict[str, Tower] = {
    "CLIPA image": Tower(lambda s: _image(s, **_CLIPA_IMAGE), _open_clip_image, _OPEN_CLIP, _call),
    "layer scale image": Tower(
        lambda s: _image(s, activation="quick_gelu", layer_scale=0.1), _open_clip_image, _OPEN_CLIP, _call
    ),
    "SigLIP image (timm)": Tower(
        lambda s: _image(s, **{**_SIGLIP_IMAGE, "output_dim": s.width}, activation="gelu", norm_epsilon=1e-6),
        _timm_image,
        _TIMM,
        _call,
    ),
    "SigLIP image (transformers)": Tower(
        lambda s: _image(s, **{**_SIGLIP_IMAGE, "output_dim": s.width}, activation="gelu_tanh", norm_epsilon=1e-6),
        _siglip_image,
        _SIGLIP,
        _pooled,
    ),
    "ViT with pooler": Tower(
        lambda s: _image(
            s,
            output_dim=s.width,
            activation="gelu",
            pre_norm=False,
            patch_bias=True,
            proj=False,
            pooler=True,
            norm_epsilon=1e-12,
        ),
        _vit,
        _VIT,
        _pooled,
    ),
    "CLIPA text": Tower(
        lambda s: _text(s, activation="gelu", is_causal=False, pool="last"), _open_clip_text, _OPEN_CLIP, _call
    ),
    "text read at an end mark": Tower(
        lambda s: _text(s, activation="quick_gelu", pool="eos", eos_id=2), _open_clip_text, _OPEN_CLIP, _call
    ),
    "text without projection": Tower(
        lambda s: _text(s, output_dim=s.width, activation="gelu", proj=False, layer_scale=0.1),
        _open_clip_text,
        _OPEN_CLIP,
        _call,
    ),
    "SigLIP 2 text (open_clip)": Tower(
        lambda s: _text(s, activation="gelu_tanh", **_SIGLIP_TEXT), _open_clip_text, _OPEN_CLIP, _call
    ),
    "SigLIP text (transformers)": Tower(
        lambda s: _text(s, activation="gelu_tanh", **_SIGLIP_TEXT), _siglip_text, _SIGLIP, _pooled
    ),
    "BERT, pooler": Tower(
        lambda s: _bert_keys(s, pool="pooler", proj="linear"),
        _bert("BertConfig"),
        [("proj.weight", "projection.T"), *_BERT],
        _call,
    ),
    "BERT, mean": Tower(lambda s: _bert_keys(s, pool="mean", proj="mlp"), _bert("BertConfig"), _BERT, _call),
    "RoBERTa, mean": Tower(lambda s: _roberta_keys(s, pool="mean", proj="mlp"), _bert("RobertaConfig"), _BERT, _call),
    "XLM-RoBERTa, first token": Tower(
        lambda s: {**_roberta_keys(s, pool="token", proj="none"), "output_dim": s.width},
        _bert("XLMRobertaConfig"),
        _BERT,
        _call,
    ),
}


def new(name: str, sizes: Sizes, seed: int) -> Tuple[Node, Any]:
    """Our node and the reference's tower, as it is initialised."""
    import torch

    tower = TOWERS[name]
    node = tower.node(sizes)
    torch.manual_seed(seed)
    return node, tower.build(node).eval()


def build(name: str, sizes: Sizes, seed: int) -> Tuple[Node, Any]:
    """Our node and the reference's tower, with weights that every choice shows with."""
    node, model = new(name, sizes, seed)
    disturb(model, seed + 1)
    _enlarge(model)
    return node, model


def _enlarge(model: Any) -> None:
    """Products of the size one, where activations differ, from small embeddings, where a norm's epsilon shows."""
    import torch

    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.ndim < 2 or not value.dtype.is_floating_point:
                continue
            is_table = value.ndim != 4 and any(word in name for word in ("embed", "token", "probe", "latent"))
            std = 0.03 if is_table else 1.5 * (value.numel() / value.shape[0]) ** -0.5
            value.mul_(std / value.std())


def inputs(node: Node, seed: int) -> np.ndarray:
    """Two faint images (so that a norm's epsilon shows), or four texts that end early, twice, late, and not at all."""
    rng = np.random.default_rng(seed)
    if node["name"] == "VisionTransformer":
        return (0.05 * rng.normal(size=[2, 3, node["image_size"], node["image_size"]])).astype("float16")
    length, pad_id = node["context_length"], node.get("pad_id", 0)
    text = rng.integers(3, node["vocab_size"], [4, length])
    text[0, 3], text[0, 4:] = 2, pad_id
    text[1, [5, 7]], text[1, 8:] = 2, pad_id
    text[2, -1] = 2
    return text


def weights(name: str, model: Any) -> Dict[str, np.ndarray]:
    """The reference's arrays under our names."""
    named: Dict[str, np.ndarray] = {}
    for key, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            named[_our_name(key, TOWERS[name].names)] = value.numpy()
    return {key: _shaped(key, array) for key, array in to_our_layout(named).items()}


def _our_name(key: str, names: Names) -> str:
    for theirs, ours in names:
        key = key.replace(theirs, ours)
    return "norm_post" + key[len("norm") :] if key.startswith("norm.") else key


def _shaped(key: str, array: np.ndarray) -> np.ndarray:
    """Without the axes of length one that the reference's tables have in front."""
    if key.endswith(("latent", "class_embedding")):
        return array.reshape(-1)
    return array.reshape(array.shape[-2:]) if key == "positional_embedding" else array


def run(name: str, model: Any, given: np.ndarray) -> np.ndarray:
    """The reference's embeddings."""
    import torch

    tensor = torch.from_numpy(given)
    with torch.no_grad():
        return TOWERS[name].run(model, tensor.float() if tensor.is_floating_point() else tensor).numpy()


def plain(node: Mapping[str, Any]) -> Tuple[Node, int]:
    """A node as the registry takes it, and the width of the embedding."""
    return {key: value for key, value in node.items() if key != "output_dim"}, node["output_dim"]
