"""OpenAI's layout: the archives of the original code, and what its `build_model` accepts.

The names are open_clip's for the same models; only the three numbers that OpenAI's archives hold beside the weights, or
what OpenAI's code does not have, tell the two apart. Everything is always there, and nothing more: `build_model` reads
the sizes from the arrays, takes heads 64 wide and QuickGELU, and loads strictly. The counters of batch norms may be left
out, as here.

Source: names and shapes that open_clip 3.3.0 builds and loads for these archives.
"""

from passl.checkpoint.families.open_clip import resnet, text_transformer, vision_transformer
from passl.checkpoint.families.rules import MATRIX, NUMBER, Family, Layout, array

_TEXT = (
    *text_transformer("", extras=False),
    *array("text_projection", "text.projection", MATRIX),
    *array("logit_scale", "logit_scale", NUMBER),
)

FAMILY = Family(
    "OpenAI's layout",
    layouts=tuple(Layout("CLIP", (*image, *_TEXT)) for image in (vision_transformer(extras=False), resnet())),
    harmless=(r".*\.num_batches_tracked", r"attn_mask", r"input_resolution|context_length|vocab_size"),
    activation="quick_gelu",
    twin="open_clip",
)
