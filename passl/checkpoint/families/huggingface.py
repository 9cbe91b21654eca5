"""Hugging Face's layout: the classes of transformers that hold CLIP-like models.

Attention has separate matrices for queries, keys and values (but in SigLIP's pooling head, where they are one, as
torch has it); linear weights, the projections included, are [out, in]. A class with one tower has the names of that
tower in the class with both. SigLIP's temperature and bias are [1], CLIP's temperature is a single number.

Files are written with names that transformers 5.23 and 4.x both read, but for a tower of CLIP's in
`VisionTextDualEncoderModel`, which is written as 5.x saves it. Read as well:
  * towers saved alone by 5.x, whose names have lost `vision_model.` or `text_model.`;
  * `VisionTextDualEncoderModel` with a tower of CLIP's as 4.x saves it, below `vision_model.vision_model.` or
    `text_model.text_model.`;
  * the names that ViT's layers have in the memory of 5.x (`layers.0.attention.q_proj`); its files keep those of 4.x.

Source: names and shapes that transformers 5.23 and 4.49 save and load for small configurations of every class.
"""

from typing import Optional

from passl.checkpoint.families.rules import (
    NUMBER,
    NUMBER_IN_VECTOR,
    ONE_MATRIX,
    ONE_VECTOR,
    TRANSPOSED,
    Family,
    Layout,
    Rules,
    array,
    fused,
    linear,
    norm,
    patches,
)


def bert(prefix: str) -> Rules:
    """The text towers of BERT, RoBERTa and XLM-R, with or without their pooler."""
    block, to = f"{prefix}encoder.layer.{{i}}", "text.blocks.{i}"
    return (
        *array(f"{prefix}embeddings.word_embeddings.weight", "text.token_embedding.weight"),
        *array(f"{prefix}embeddings.position_embeddings.weight", "text.positional_embedding"),
        *array(f"{prefix}embeddings.token_type_embeddings.weight", "text.token_type_embedding"),
        *norm(f"{prefix}embeddings.LayerNorm", "text.norm_embedding"),
        *linear(f"{block}.attention.self.query", f"{to}.attn.q_proj"),
        *linear(f"{block}.attention.self.key", f"{to}.attn.k_proj"),
        *linear(f"{block}.attention.self.value", f"{to}.attn.v_proj"),
        *linear(f"{block}.attention.output.dense", f"{to}.attn.out_proj"),
        *norm(f"{block}.attention.output.LayerNorm", f"{to}.norm1"),
        *linear(f"{block}.intermediate.dense", f"{to}.mlp.fc1"),
        *linear(f"{block}.output.dense", f"{to}.mlp.fc2"),
        *norm(f"{block}.output.LayerNorm", f"{to}.norm2"),
        *linear(f"{prefix}pooler.dense", "text.pooler", optional=True),
    )


def _blocks(theirs: str, ours: str) -> Rules:
    """Blocks of CLIP's and SigLIP's towers."""
    block, to = f"{theirs}encoder.layers.{{i}}", f"{ours}.blocks.{{i}}"
    return (
        *norm(f"{block}.layer_norm1", f"{to}.norm1"),
        *(
            rule
            for part in ("q", "k", "v", "out")
            for rule in linear(f"{block}.self_attn.{part}_proj", f"{to}.attn.{part}_proj")
        ),
        *norm(f"{block}.layer_norm2", f"{to}.norm2"),
        *linear(f"{block}.mlp.fc1", f"{to}.mlp.fc1"),
        *linear(f"{block}.mlp.fc2", f"{to}.mlp.fc2"),
    )


def _clip_image(prefix: str) -> Rules:
    return (
        *patches(f"{prefix}embeddings.patch_embedding", bias=False),
        *array(f"{prefix}embeddings.class_embedding", "visual.class_embedding"),
        *array(f"{prefix}embeddings.position_embedding.weight", "visual.positional_embedding"),
        *norm(f"{prefix}pre_layrnorm", "visual.norm_pre"),  # the name is theirs
        *_blocks(prefix, "visual"),
        *norm(f"{prefix}post_layernorm", "visual.norm_post"),
    )


def _siglip_image(prefix: str) -> Rules:
    head, to = f"{prefix}head", "visual.attn_pool"
    return (
        *patches(f"{prefix}embeddings.patch_embedding"),
        *array(f"{prefix}embeddings.position_embedding.weight", "visual.positional_embedding"),
        *_blocks(prefix, "visual"),
        *norm(f"{prefix}post_layernorm", "visual.norm_post"),
        *array(f"{head}.probe", f"{to}.latent", ONE_VECTOR),
        *fused(f"{head}.attention.in_proj_weight", f"{head}.attention.in_proj_bias", to),
        *linear(f"{head}.attention.out_proj", f"{to}.out_proj"),
        *norm(f"{head}.layernorm", f"{to}.norm"),
        *linear(f"{head}.mlp.fc1", f"{to}.mlp.fc1"),
        *linear(f"{head}.mlp.fc2", f"{to}.mlp.fc2"),
    )


def _vit_image(layers: str, attention: str, out: str, fc1: str, fc2: str) -> Rules:
    """The image tower of ViT; what its layers are called depends on the version."""
    prefix, block, to = "vision_model.", f"vision_model.{layers}.{{i}}", "visual.blocks.{i}"
    return (
        *patches(f"{prefix}embeddings.patch_embeddings.projection"),
        *array(f"{prefix}embeddings.cls_token", "visual.class_embedding", ONE_VECTOR),
        *array(f"{prefix}embeddings.position_embeddings", "visual.positional_embedding", ONE_MATRIX),
        *norm(f"{block}.layernorm_before", f"{to}.norm1"),
        *(
            rule
            for part, name in (("q", "query"), ("k", "key"), ("v", "value"))
            for rule in linear(
                f"{block}.{attention.format(part=part, name=name)}", f"{to}.attn.{part}_proj", optional_bias=True
            )
        ),
        *linear(f"{block}.{out}", f"{to}.attn.out_proj"),
        *norm(f"{block}.layernorm_after", f"{to}.norm2"),
        *linear(f"{block}.{fc1}", f"{to}.mlp.fc1"),
        *linear(f"{block}.{fc2}", f"{to}.mlp.fc2"),
        *norm(f"{prefix}layernorm", "visual.norm_post"),
        *linear(f"{prefix}pooler.dense", "visual.pooler"),
    )


def _text(prefix: str) -> Rules:
    """The text tower of CLIP and SigLIP, without its projection."""
    return (
        *array(f"{prefix}embeddings.token_embedding.weight", "text.token_embedding.weight"),
        *array(f"{prefix}embeddings.position_embedding.weight", "text.positional_embedding"),
        *_blocks(prefix, "text"),
        *norm(f"{prefix}final_layer_norm", "text.norm_final"),
    )


def _siglip_text(prefix: str) -> Rules:
    return (
        *_text(prefix),
        *array(f"{prefix}head.weight", "text.projection", TRANSPOSED),
        *array(f"{prefix}head.bias", "text.projection_bias"),
    )


_IMAGE, _TEXT = "vision_model.", "text_model."
_IMAGE_PROJECTION = array("visual_projection.weight", "visual.proj", TRANSPOSED)
_TEXT_PROJECTION = array("text_projection.weight", "text.projection", TRANSPOSED)
_SCALE = array("logit_scale", "logit_scale", NUMBER)
_VIT_IN_FILES = _vit_image(
    "encoder.layer", "attention.attention.{name}", "attention.output.dense", "intermediate.dense", "output.dense"
)
_VIT_IN_MEMORY = _vit_image("layers", "attention.{part}_proj", "attention.o_proj", "mlp.fc1", "mlp.fc2")


def _dual_encoder(image: Rules, text: Rules, is_written: bool = True) -> Layout:
    rules = (*image, *_IMAGE_PROJECTION, *text, *_TEXT_PROJECTION, *_SCALE)
    return Layout("VisionTextDualEncoderModel", rules, is_written)


def _alone(name: str, rules: Rules, projection: Optional[Rules] = None, is_written: bool = True) -> Layout:
    return Layout(name, (*rules, *(projection or ())), is_written)


FAMILY = Family(
    "Hugging Face's layout",
    marks=(
        r"(vision|text)_model\.",
        r"embeddings\.(patch_embedding|token_embedding)\.weight",
    ),
    layouts=(
        Layout("CLIPModel", (*_clip_image(_IMAGE), *_IMAGE_PROJECTION, *_text(_TEXT), *_TEXT_PROJECTION, *_SCALE)),
        Layout(
            "SiglipModel",
            (
                *_siglip_image(_IMAGE),
                *_siglip_text(_TEXT),
                *array("logit_scale", "logit_scale", NUMBER_IN_VECTOR),
                *array("logit_bias", "logit_bias", NUMBER_IN_VECTOR),
            ),
        ),
        _dual_encoder(_clip_image(_IMAGE), bert(_TEXT)),
        _dual_encoder(_VIT_IN_FILES, bert(_TEXT)),
        _dual_encoder(_VIT_IN_FILES, _text(_TEXT)),
        _alone("CLIPVisionModelWithProjection", _clip_image(_IMAGE), _IMAGE_PROJECTION),
        _alone("CLIPTextModelWithProjection", _text(_TEXT), _TEXT_PROJECTION),
        _alone("CLIPVisionModel", _clip_image(_IMAGE)),
        _alone("CLIPTextModel", _text(_TEXT)),
        _alone("SiglipVisionModel", _siglip_image(_IMAGE)),
        _alone("SiglipTextModel", _siglip_text(_TEXT)),
        _dual_encoder(_VIT_IN_MEMORY, bert(_TEXT), is_written=False),
        _dual_encoder(_VIT_IN_MEMORY, _text(_TEXT), is_written=False),
        _dual_encoder(_clip_image("vision_model.vision_model."), bert(_TEXT), is_written=False),
        _dual_encoder(_VIT_IN_FILES, _text("text_model.text_model."), is_written=False),
        _alone("CLIPVisionModel", _clip_image(""), is_written=False),
        _alone("CLIPTextModel", _text(""), is_written=False),
        _alone("SiglipVisionModel", _siglip_image(""), is_written=False),
        _alone("SiglipTextModel", _siglip_text(""), is_written=False),
    ),
    harmless=(r"(.*\.)?embeddings\.(position_ids|token_type_ids)",),
)
