"""PaddleMIX's layout: `model_state.pdparams` of its class CLIP.

Towers and names are open_clip's, in Paddle's form: linear weights [in, out], queries, keys and values apart, and the
temperature as [1]. The text tower stands at top level, or below `text.` with `custom_text`. Its image towers use GELU and
its text towers what the config beside the weights says (`quick_gelu`), so the layout implies no activation.

Source: derived from the class code of PaddleMIX 2.x (paddlemix/models/clip: clip_model.py, vit_model.py, text_model.py);
no file of weights was opened. EVA-CLIP and CoCa are not read yet.
"""

from passl.checkpoint.families.rules import (
    MATRIX,
    NUMBER_IN_VECTOR,
    Family,
    Layout,
    Rules,
    array,
    linear,
    norm,
    patches,
)


def _resblocks(theirs: str, ours: str) -> Rules:
    block, to = f"{theirs}.resblocks.{{i}}", f"{ours}.blocks.{{i}}"
    return (
        *norm(f"{block}.ln_1", f"{to}.norm1"),
        *(
            rule
            for part in ("q", "k", "v", "out")
            for rule in linear(f"{block}.attn.{part}_proj", f"{to}.attn.{part}_proj", transpose=False)
        ),
        *norm(f"{block}.ln_2", f"{to}.norm2"),
        *linear(f"{block}.mlp.c_fc", f"{to}.mlp.fc1", transpose=False),
        *linear(f"{block}.mlp.c_proj", f"{to}.mlp.fc2", transpose=False),
        *array(f"{block}.ls_1.gamma", f"{to}.scale1.gamma", optional=True),
        *array(f"{block}.ls_2.gamma", f"{to}.scale2.gamma", optional=True),
    )


def _clip(prefix: str) -> Rules:
    return (
        *patches("visual.conv1", bias=False),
        *array("visual.class_embedding", "visual.class_embedding"),
        *array("visual.positional_embedding", "visual.positional_embedding"),
        *norm("visual.ln_pre", "visual.norm_pre"),
        *_resblocks("visual.transformer", "visual"),
        *norm("visual.ln_post", "visual.norm_post"),
        *array("visual.proj", "visual.proj", MATRIX),
        *array(f"{prefix}token_embedding.weight", "text.token_embedding.weight"),
        *array(f"{prefix}positional_embedding", "text.positional_embedding"),
        *_resblocks(f"{prefix}transformer", "text"),
        *norm(f"{prefix}ln_final", "text.norm_final"),
        *array(f"{prefix}text_projection", "text.projection", MATRIX),
        *array("logit_scale", "logit_scale", NUMBER_IN_VECTOR),
    )


FAMILY = Family(
    "PaddleMIX's layout",
    marks=(r"(visual\.|text\.)?transformer\.resblocks\.\d+\.attn\.[qkv]_proj\.",),
    layouts=(Layout("CLIP", _clip("")), Layout("CLIP with custom_text", _clip("text."))),
    harmless=(r"(text\.)?attn_mask",),
)
