"""open_clip's layout, and what OpenAI's has in common with it.

Towers of open_clip's own have the original code's names: blocks with torch's attention (queries, keys and values in one
matrix [3D, D]), projections [D, E] as plain arrays. The text tower stands at top level in its class `CLIP` and below
`text.` in `CustomTextCLIP`, which also holds SigLIP's image towers (timm's, below `visual.trunk.`) and text towers of
Hugging Face's (BERT, RoBERTa, XLM-R, below `text.transformer.`). A text projection with a bias is a linear layer,
[E, D]. Linear weights are [out, in]. Files of training runs put `module.` and `_orig_mod.` before the names.

Source: names and shapes that open_clip 3.3.0 with timm saves.
"""

from typing import Tuple

from passl.checkpoint.families.huggingface import bert
from passl.checkpoint.families.rules import (
    MATRIX,
    NUMBER,
    ONE_MATRIX,
    TRANSPOSED,
    Family,
    Layout,
    Rules,
    after_ones,
    array,
    fused,
    linear,
    norm,
    patches,
)


def vision_transformer(extras: bool) -> Rules:
    """An image tower of the original code; `extras`: also without first norm and with layer scale."""
    return (
        *patches("visual.conv1", bias=False),
        *array("visual.class_embedding", "visual.class_embedding"),
        *array("visual.positional_embedding", "visual.positional_embedding"),
        *norm("visual.ln_pre", "visual.norm_pre", optional=extras),
        *_resblocks("visual.transformer", "visual", extras),
        *norm("visual.ln_post", "visual.norm_post"),
        *array("visual.proj", "visual.proj", MATRIX),
    )


def resnet() -> Rules:
    """A ResNet of the original code, with its attention pool."""
    return (
        *resnet_stages("running_mean", "running_var"),
        *array("visual.attnpool.positional_embedding", "visual.attnpool.positional_embedding"),
        *(rule for part in "qkvc" for rule in linear(f"visual.attnpool.{part}_proj", f"visual.attnpool.{part}_proj")),
    )


def resnet_stages(mean: str, variance: str) -> Rules:
    """Stem and stages of a ResNet; `mean` and `variance` are what its norms call their statistics."""

    def batch_norm(theirs: str, ours: str, optional: bool = False) -> Rules:
        statistics = ((mean, "_mean"), (variance, "_variance"))
        return (
            *norm(theirs, ours, optional),
            *(rule for name, to in statistics for rule in array(f"{theirs}.{name}", f"{ours}.{to}", optional=optional)),
        )

    block = "visual.layer{i}.{j}"
    return (
        *(
            rule
            for place in ("visual", block)
            for n in (1, 2, 3)
            for rule in (
                *array(f"{place}.conv{n}.weight", f"{place}.conv{n}.weight"),
                *batch_norm(f"{place}.bn{n}", f"{place}.bn{n}"),
            )
        ),
        *array(f"{block}.downsample.0.weight", f"{block}.downsample.conv.weight", optional=True),
        *batch_norm(f"{block}.downsample.1", f"{block}.downsample.bn", optional=True),
    )


def text_transformer(prefix: str, extras: bool) -> Rules:
    """A text tower of the original code, without its projection; `extras`: also with layer scale."""
    return (
        *array(f"{prefix}token_embedding.weight", "text.token_embedding.weight"),
        *array(f"{prefix}positional_embedding", "text.positional_embedding"),
        *_resblocks(f"{prefix}transformer", "text", extras),
        *norm(f"{prefix}ln_final", "text.norm_final"),
    )


def _resblocks(theirs: str, ours: str, extras: bool) -> Rules:
    block, to = f"{theirs}.resblocks.{{i}}", f"{ours}.blocks.{{i}}"
    scales = (*array(f"{block}.ls_1.gamma", f"{to}.scale1.gamma", optional=True),)
    scales += array(f"{block}.ls_2.gamma", f"{to}.scale2.gamma", optional=True)
    return (
        *norm(f"{block}.ln_1", f"{to}.norm1"),
        *fused(f"{block}.attn.in_proj_weight", f"{block}.attn.in_proj_bias", f"{to}.attn"),
        *linear(f"{block}.attn.out_proj", f"{to}.attn.out_proj"),
        *norm(f"{block}.ln_2", f"{to}.norm2"),
        *linear(f"{block}.mlp.c_fc", f"{to}.mlp.fc1"),
        *linear(f"{block}.mlp.c_proj", f"{to}.mlp.fc2"),
        *(scales if extras else ()),
    )


def _siglip_trunk() -> Rules:
    """timm's image tower of SigLIP: no class token, and a pool that attends from one learned token."""
    block, to = "visual.trunk.blocks.{i}", "visual.blocks.{i}"
    pool, to_pool = "visual.trunk.attn_pool", "visual.attn_pool"
    return (
        *patches("visual.trunk.patch_embed.proj"),
        *array("visual.trunk.pos_embed", "visual.positional_embedding", ONE_MATRIX),
        *norm(f"{block}.norm1", f"{to}.norm1"),
        *fused(f"{block}.attn.qkv.weight", f"{block}.attn.qkv.bias", f"{to}.attn"),
        *linear(f"{block}.attn.proj", f"{to}.attn.out_proj"),
        *norm(f"{block}.norm2", f"{to}.norm2"),
        *linear(f"{block}.mlp.fc1", f"{to}.mlp.fc1"),
        *linear(f"{block}.mlp.fc2", f"{to}.mlp.fc2"),
        *norm("visual.trunk.norm", "visual.norm_post"),
        *array(f"{pool}.latent", f"{to_pool}.latent", after_ones(2, 1, "[1, 1, D]")),
        *linear(f"{pool}.q", f"{to_pool}.q_proj"),
        *fused(f"{pool}.kv.weight", f"{pool}.kv.bias", to_pool, parts="kv"),
        *linear(f"{pool}.proj", f"{to_pool}.out_proj"),
        *norm(f"{pool}.norm", f"{to_pool}.norm"),
        *linear(f"{pool}.mlp.fc1", f"{to_pool}.mlp.fc1"),
        *linear(f"{pool}.mlp.fc2", f"{to_pool}.mlp.fc2"),
    )


def _own_texts(prefix: str) -> Tuple[Rules, ...]:
    """Text towers of open_clip's own: projected by a plain array or not at all, or by a linear layer with a bias."""
    tower = text_transformer(prefix, extras=True)
    plain = array(f"{prefix}text_projection", "text.projection", MATRIX, optional=True)
    layer = (
        *array(f"{prefix}text_projection.weight", "text.projection", TRANSPOSED),
        *array(f"{prefix}text_projection.bias", "text.projection_bias"),
    )
    return (*tower, *plain), (*tower, *layer)


def _huggingface_texts() -> Tuple[Rules, ...]:
    """Text towers of Hugging Face's: projected by one matrix or not at all, or by two."""
    tower = bert("text.transformer.")
    one = array("text.proj.weight", "text.projection", TRANSPOSED, optional=True)
    two = (
        *array("text.proj.0.weight", "text.projection_hidden", TRANSPOSED),
        *array("text.proj.2.weight", "text.projection", TRANSPOSED),
    )
    return (*tower, *one), (*tower, *two)


_SCALES = (*array("logit_scale", "logit_scale", NUMBER), *array("logit_bias", "logit_bias", NUMBER, optional=True))
_OWN_IMAGES = (vision_transformer(extras=True), resnet())

FAMILY = Family(
    "open_clip's layout",
    marks=(
        r"(visual\.|text\.)?transformer\.resblocks\.\d+\.attn\.in_proj_",
        r"visual\.trunk\.",
        r"text\.transformer\.(embeddings|encoder)\.",
    ),
    layouts=(
        *(Layout("CLIP", (*image, *text, *_SCALES)) for image in _OWN_IMAGES for text in _own_texts("")),
        *(
            Layout("CustomTextCLIP", (*image, *text, *_SCALES))
            for image in (*_OWN_IMAGES, _siglip_trunk())
            for text in (*_own_texts("text."), *_huggingface_texts())
        ),
    ),
    harmless=(
        r".*\.num_batches_tracked",
        r"(text\.)?attn_mask",
        r"text\.transformer\.embeddings\.(position_ids|token_type_ids)",
    ),
)
