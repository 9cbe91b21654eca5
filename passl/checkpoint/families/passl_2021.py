"""PASSL's layout of 2021 (`ViT-B-32.pdparams`).

Queries, keys and values are one matrix [D, 3D]; image embeddings have leading ones, [1, 1, D] and [1, N, D]; the
temperature is [1]; the text tower stands at top level; names lie below `model.`, in a file {"state_dict": ...}. Its
ResNets lack the positions of the attention pool, which PASSL never saved. Its models use QuickGELU.

Source: the class code of PASSL at 5c7359b.
"""

from passl.checkpoint.families.open_clip import resnet_stages
from passl.checkpoint.families.rules import (
    NUMBER_IN_VECTOR,
    ONE_MATRIX,
    ONE_VECTOR,
    Family,
    Layout,
    Rule,
    Rules,
    array,
    joined,
    linear,
    norm,
    patches,
)


def _blocks(theirs: str, ours: str) -> Rules:
    block, to = f"{theirs}.blocks.{{i}}", f"{ours}.blocks.{{i}}"
    weights, biases = (tuple(f"{to}.attn.{part}_proj.{kind}" for part in "qkv") for kind in ("weight", "bias"))
    return (
        *norm(f"{block}.norm1", f"{to}.norm1"),
        Rule(f"{block}.attn.qkv.weight", weights, joined(3, 1, "[D, 3D]")),
        Rule(f"{block}.attn.qkv.bias", biases, joined(3, 0, "[3D]"), is_optional=True),
        *linear(f"{block}.attn.proj", f"{to}.attn.out_proj", transpose=False),
        *norm(f"{block}.norm2", f"{to}.norm2"),
        *linear(f"{block}.mlp.fc1", f"{to}.mlp.fc1", transpose=False),
        *linear(f"{block}.mlp.fc2", f"{to}.mlp.fc2", transpose=False),
    )


_VIT = (
    *patches("visual.patch_embed.proj", optional_bias=True),
    *array("visual.class_embedding", "visual.class_embedding", ONE_VECTOR),
    *array("visual.positional_embedding", "visual.positional_embedding", ONE_MATRIX),
    *norm("visual.norm_pre", "visual.norm_pre", optional=True),
    *_blocks("visual", "visual"),
    *norm("visual.norm_post", "visual.norm_post"),
    *array("visual.proj", "visual.proj", optional=True),
)
_POSITIONS = "visual.attnpool.positional_embedding"
_RESNET = (
    *resnet_stages("_mean", "_variance"),
    *array(_POSITIONS, _POSITIONS, optional=True),
    *(
        rule
        for part in "qkv"
        for rule in linear(
            f"visual.attnpool.{part}_proj", f"visual.attnpool.{part}_proj", transpose=False, optional_bias=True
        )
    ),
    *linear("visual.attnpool.out_proj", "visual.attnpool.c_proj", transpose=False),
)
_TEXT = (
    *array("logit_scale", "logit_scale", NUMBER_IN_VECTOR),
    *array("token_embedding.weight", "text.token_embedding.weight"),
    *array("positional_embedding", "text.positional_embedding"),
    *_blocks("transformer", "text"),
    *norm("ln_final", "text.norm_final"),
    *array("text_projection", "text.projection"),
)

FAMILY = Family(
    "the layout of PASSL (2021)",
    marks=(r"transformer\.blocks\.\d+\.", r"visual\.blocks\.\d+\.attn\.qkv\."),
    layouts=(Layout("CLIP", (*_VIT, *_TEXT)), Layout("CLIP", (*_RESNET, *_TEXT), never_saved=(_POSITIONS,))),
    activation="quick_gelu",
    prefix="model.",
)
