"""The models that have a name: a row of sizes for each, and what a whole family shares.

The names are open_clip's (3.3.0), and each stands for what it stands for there. `names.py` makes a row into the
`architecture` section of a config; docs/add_a_family.md says how to add one.

Papers: CLIP (arXiv:2103.00020), CLIPA (arXiv:2305.07017), SigLIP (arXiv:2303.15343), SigLIP 2 (arXiv:2502.14786),
MetaCLIP 2 (arXiv:2507.22062, `-worldwide`); the other sizes are the open_clip project's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

from passl.utils.constants import IMAGENET_MEAN, IMAGENET_STD, OPENAI_MEAN, OPENAI_STD

_HALF = (0.5, 0.5, 0.5)  # as mean and deviation: pixels from -1 to 1

# How pictures are prepared: mean, deviation, interpolation, resizing.
IMAGES = {
    "openai": (OPENAI_MEAN, OPENAI_STD, "bicubic", "shortest"),
    "openai squashed": (OPENAI_MEAN, OPENAI_STD, "bicubic", "squash"),
    "clipa": (IMAGENET_MEAN, IMAGENET_STD, "bilinear", "squash"),
    "siglip": (_HALF, _HALF, "bicubic", "squash"),
}


def _files(source: str, **settings: Any) -> Dict[str, Any]:
    """A tokenizer whose files are published under the name `source` on the Hugging Face hub."""
    return {"name": "FileTokenizer", "source": source, **settings}


# Tokenizers by the name of their vocabulary. That of CLIP is bundled; the files of the others are brought along.
TOKENIZERS: Dict[str, Dict[str, Any]] = {
    "clip": {"name": "ClipTokenizer"},
    "bert-base-uncased": _files("google-bert/bert-base-uncased", strip_sep=True),
    "roberta-base": _files("FacebookAI/roberta-base"),
    "xlm-roberta-base": _files("FacebookAI/xlm-roberta-base"),
    "xlm-roberta-large": _files("FacebookAI/xlm-roberta-large"),
    "xlm-v-base": _files("facebook/xlm-v-base"),
    "mt5-base": _files("google/mt5-base", clean="canonicalize"),
    "siglip": _files("timm/ViT-B-16-SigLIP", clean="canonicalize", pad_token="</s>"),
    "siglip-i18n": _files("timm/ViT-B-16-SigLIP-i18n-256", clean="canonicalize", pad_token="</s>"),
    "siglip2": _files("timm/ViT-B-16-SigLIP2", clean="canonicalize"),
}

# ---------------------------------------------------------------------------------------------------- families


@dataclass(frozen=True)
class Family:
    """What the models of one family share.

    Attributes:
        text: keys of the text tower, and its `name` where it is no TextTransformer.
        image: keys of the image tower.
        tokenizer: the entry of `TOKENIZERS`; its rows are as long as the text tower takes them.
        images: the entry of `IMAGES`, for models without weights; those of all published weights if they agree.
        init_logit_bias: what the bias of the logits starts from; None where there is none.
    """

    text: Mapping[str, Any]
    image: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = "clip"
    images: str = "openai"
    init_logit_bias: Optional[float] = None


def _worldwide(vocab_size: int, eos_id: int, tokenizer: str) -> Family:
    """MetaCLIP 2: CLIP with the vocabulary of many languages, read at its end mark."""
    text = {"context_length": 77, "vocab_size": vocab_size, "pool": "eos", "eos_id": eos_id}
    return Family(text, tokenizer=tokenizer)


def _siglip(vocab_size: int, activation: str, tokenizer: str) -> Family:
    """SigLIP: a head of attention over all squares, a text tower that sees both ways, a bias of the logits."""
    return Family(
        text={
            "context_length": 64,
            "vocab_size": vocab_size,
            "activation": activation,
            "is_causal": False,
            "pool": "last",
            "proj_bias": True,
            "norm_epsilon": 1e-6,
        },
        image={
            "pre_norm": False,
            "class_token": False,
            "pool": "attention",
            "proj": False,
            "patch_bias": True,
            "norm_epsilon": 1e-6,
        },
        tokenizer=tokenizer,
        images="siglip",
        init_logit_bias=-10.0,
    )


def _roberta(vocab_size: int, tokenizer: str) -> Family:
    """RoBERTa: positions are counted from 2 over the tokens that are not padding."""
    return Family(
        text={
            "name": "BertEncoder",
            "context_length": 77,
            "vocab_size": vocab_size,
            "activation": "gelu",
            "num_positions": 514,
            "pad_id": 1,
            "position_offset": 2,
            "num_token_types": 1,
            "pool": "mean",
            "proj": "mlp",
            "norm_epsilon": 1e-5,
        },
        tokenizer=tokenizer,
    )


def _with_text(family: Family, **keys: Any) -> Family:
    return replace(family, text={**family.text, **keys})


_CLIP = Family(text={"context_length": 77, "vocab_size": 49408})
_XLM_V = _worldwide(vocab_size=901629, eos_id=2, tokenizer="xlm-v-base")
_SIGLIP = _siglip(vocab_size=32000, activation="gelu", tokenizer="siglip")
_I18N = _siglip(vocab_size=250000, activation="gelu", tokenizer="siglip-i18n")

FAMILIES: Dict[str, Family] = {
    "clip": _CLIP,
    "clip, squashed": replace(_CLIP, images="openai squashed"),
    "clip, layer scale": replace(_CLIP, image={"layer_scale": 1e-4}),
    "clipa": Family(
        text={"context_length": 32, "vocab_size": 32000, "is_causal": False, "pool": "last"},
        image={"pre_norm": False, "pool": "average"},
        tokenizer="bert-base-uncased",
        images="clipa",
    ),
    "mt5": _worldwide(vocab_size=250100, eos_id=1, tokenizer="mt5-base"),
    "xlm-v": _XLM_V,
    "xlm-v, squashed": replace(_XLM_V, images="openai squashed"),
    "siglip": _SIGLIP,
    "siglip, 16 tokens": _with_text(_SIGLIP, context_length=16),
    "siglip i18n": _I18N,
    "siglip i18n, no projection": _with_text(_I18N, proj=False, proj_bias=False),
    "siglip2": _siglip(vocab_size=256000, activation="gelu_tanh", tokenizer="siglip2"),
    "roberta-base": _roberta(vocab_size=50265, tokenizer="roberta-base"),
    "xlm-roberta-base": _roberta(vocab_size=250002, tokenizer="xlm-roberta-base"),
    "xlm-roberta-large": _roberta(vocab_size=250002, tokenizer="xlm-roberta-large"),
}

# ---------------------------------------------------------------------------------------------------- models


class Tower(NamedTuple):
    """Sizes of a transformer."""

    width: int
    num_layers: int
    num_heads: int
    mlp_width: int


class Resnet(NamedTuple):
    """A model whose image tower has convolutions."""

    embed_dim: int
    image_size: int
    layers: Tuple[int, int, int, int]
    width: int
    text_tower: str
    family: str = "clip"


class Vit(NamedTuple):
    """A model of two transformers. Its image tower's activation is that of its name, unless the row says another."""

    embed_dim: int
    image_size: int
    image_tower: str
    patch_size: int
    text_tower: str
    family: str = "clip"
    image_activation: Optional[str] = None


Row = Union[Resnet, Vit]

TOWERS = {
    "256x10": Tower(256, 10, 4, 1024),
    "S": Tower(384, 12, 6, 1536),
    "M": Tower(512, 12, 8, 2048),
    "640x12": Tower(640, 12, 10, 2560),
    "B": Tower(768, 12, 12, 3072),
    "B+": Tower(896, 12, 14, 3584),
    "1024x12": Tower(1024, 12, 16, 4096),
    "L": Tower(1024, 24, 16, 4096),
    "SO400M": Tower(1152, 27, 16, 4304),
    "H": Tower(1280, 32, 16, 5120),
    "1280x32": Tower(1280, 32, 20, 5120),
    "1280x36": Tower(1280, 36, 20, 5120),
    "g": Tower(1408, 40, 16, 6144),
    "gopt": Tower(1536, 40, 16, 6144),
    "bigG": Tower(1664, 48, 16, 8192),
    "e": Tower(1792, 56, 16, 15360),
}

MODELS: Dict[str, Row] = {
    "RN50": Resnet(1024, 224, (3, 4, 6, 3), 64, "M"),
    "RN101": Resnet(512, 224, (3, 4, 23, 3), 64, "M"),
    "RN50x4": Resnet(640, 288, (4, 6, 10, 6), 80, "640x12"),
    "RN50x16": Resnet(768, 384, (6, 8, 18, 8), 96, "B"),
    "RN50x64": Resnet(1024, 448, (3, 15, 36, 10), 128, "1024x12"),
    "ViT-S-32": Vit(384, 224, "S", 32, "S"),
    "ViT-S-32-alt": Vit(256, 224, "S", 32, "256x10"),
    "ViT-S-16": Vit(384, 224, "S", 16, "S"),
    "ViT-S-16-alt": Vit(256, 224, "S", 16, "256x10"),
    "ViT-M-32": Vit(512, 224, "M", 32, "M"),
    "ViT-M-32-alt": Vit(384, 224, "M", 32, "S"),
    "ViT-M-16": Vit(512, 224, "M", 16, "M"),
    "ViT-M-16-alt": Vit(384, 224, "M", 16, "S", "clip, layer scale"),
    "ViT-B-32": Vit(512, 224, "B", 32, "M"),
    "ViT-B-32-256": Vit(512, 256, "B", 32, "M"),
    "ViT-B-32-plus-256": Vit(640, 256, "B+", 32, "640x12"),
    "ViT-B-16": Vit(512, 224, "B", 16, "M"),
    "ViT-B-16-plus": Vit(640, 224, "B+", 16, "640x12"),
    "ViT-B-16-plus-240": Vit(640, 240, "B+", 16, "640x12"),
    "ViT-L-16": Vit(768, 224, "L", 16, "B"),
    "ViT-L-16-320": Vit(768, 320, "L", 16, "B"),
    "ViT-L-14": Vit(768, 224, "L", 14, "B"),
    "ViT-L-14-280": Vit(768, 280, "L", 14, "B"),
    "ViT-L-14-336": Vit(768, 336, "L", 14, "B"),
    "ViT-H-16": Vit(1024, 224, "H", 16, "L"),
    "ViT-H-14": Vit(1024, 224, "H", 14, "L"),
    "ViT-H-14-378": Vit(1024, 378, "H", 14, "L", "clip, squashed"),
    "ViT-g-14": Vit(1024, 224, "g", 14, "L"),
    "ViT-bigG-14": Vit(1280, 224, "bigG", 14, "1280x32"),
    "ViT-e-14": Vit(1280, 224, "e", 14, "1280x36"),
    "ViT-L-14-CLIPA": Vit(768, 224, "L", 14, "B", "clipa"),
    "ViT-L-14-CLIPA-336": Vit(768, 336, "L", 14, "B", "clipa"),
    "ViT-H-14-CLIPA": Vit(1024, 224, "H", 14, "L", "clipa"),
    "ViT-H-14-CLIPA-336": Vit(1024, 336, "H", 14, "L", "clipa"),
    "ViT-bigG-14-CLIPA": Vit(1280, 224, "bigG", 14, "1280x32", "clipa"),
    "ViT-bigG-14-CLIPA-336": Vit(1280, 336, "bigG", 14, "1280x32", "clipa"),
    "ViT-L-14-worldwide": Vit(768, 224, "L", 14, "B", "mt5"),
    "ViT-H-14-worldwide": Vit(1024, 224, "H", 14, "L", "xlm-v"),
    "ViT-H-14-worldwide-378": Vit(1024, 378, "H", 14, "L", "xlm-v, squashed"),
    "ViT-bigG-14-worldwide": Vit(1280, 224, "bigG", 14, "1280x32", "xlm-v"),
    "ViT-bigG-14-worldwide-378": Vit(1280, 378, "bigG", 14, "1280x32", "xlm-v, squashed"),
    "ViT-B-16-SigLIP": Vit(768, 224, "B", 16, "B", "siglip"),
    "ViT-B-16-SigLIP-256": Vit(768, 256, "B", 16, "B", "siglip"),
    "ViT-B-16-SigLIP-384": Vit(768, 384, "B", 16, "B", "siglip"),
    "ViT-B-16-SigLIP-512": Vit(768, 512, "B", 16, "B", "siglip"),
    "ViT-B-16-SigLIP-i18n-256": Vit(768, 256, "B", 16, "B", "siglip i18n"),
    "ViT-L-16-SigLIP-256": Vit(1024, 256, "L", 16, "L", "siglip"),
    "ViT-L-16-SigLIP-384": Vit(1024, 384, "L", 16, "L", "siglip"),
    "ViT-SO400M-14-SigLIP": Vit(1152, 224, "SO400M", 14, "SO400M", "siglip, 16 tokens"),
    "ViT-SO400M-14-SigLIP-378": Vit(1152, 378, "SO400M", 14, "SO400M", "siglip"),
    "ViT-SO400M-14-SigLIP-384": Vit(1152, 384, "SO400M", 14, "SO400M", "siglip"),
    "ViT-SO400M-16-SigLIP-i18n-256": Vit(1152, 256, "SO400M", 16, "SO400M", "siglip i18n, no projection", "gelu_tanh"),
    "ViT-B-32-SigLIP2-256": Vit(768, 256, "B", 32, "B", "siglip2", "gelu_tanh"),
    "ViT-B-16-SigLIP2": Vit(768, 224, "B", 16, "B", "siglip2"),
    "ViT-B-16-SigLIP2-256": Vit(768, 256, "B", 16, "B", "siglip2"),
    "ViT-B-16-SigLIP2-384": Vit(768, 384, "B", 16, "B", "siglip2"),
    "ViT-B-16-SigLIP2-512": Vit(768, 512, "B", 16, "B", "siglip2"),
    "ViT-L-16-SigLIP2-256": Vit(1024, 256, "L", 16, "L", "siglip2"),
    "ViT-L-16-SigLIP2-384": Vit(1024, 384, "L", 16, "L", "siglip2"),
    "ViT-L-16-SigLIP2-512": Vit(1024, 512, "L", 16, "L", "siglip2", "gelu_tanh"),
    "ViT-SO400M-14-SigLIP2": Vit(1152, 224, "SO400M", 14, "SO400M", "siglip2"),
    "ViT-SO400M-14-SigLIP2-378": Vit(1152, 378, "SO400M", 14, "SO400M", "siglip2"),
    "ViT-SO400M-16-SigLIP2-256": Vit(1152, 256, "SO400M", 16, "SO400M", "siglip2", "gelu_tanh"),
    "ViT-SO400M-16-SigLIP2-384": Vit(1152, 384, "SO400M", 16, "SO400M", "siglip2", "gelu_tanh"),
    "ViT-SO400M-16-SigLIP2-512": Vit(1152, 512, "SO400M", 16, "SO400M", "siglip2", "gelu_tanh"),
    "ViT-gopt-16-SigLIP2-256": Vit(1536, 256, "gopt", 16, "SO400M", "siglip2", "gelu_tanh"),
    "ViT-gopt-16-SigLIP2-384": Vit(1536, 384, "gopt", 16, "SO400M", "siglip2", "gelu_tanh"),
    "roberta-ViT-B-32": Vit(512, 224, "B", 32, "B", "roberta-base", "quick_gelu"),
    "xlm-roberta-base-ViT-B-32": Vit(512, 224, "B", 32, "B", "xlm-roberta-base"),
    "xlm-roberta-large-ViT-H-14": Vit(1024, 224, "H", 14, "L", "xlm-roberta-large"),
}

# Models that are there a second time under this ending, with QuickGELU in both towers in place of GELU.
QUICK_ENDING = "-quickgelu"
QUICK = [
    *(name for name, row in MODELS.items() if isinstance(row, Resnet)),
    *("ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336", "ViT-H-14", "ViT-H-14-378", "ViT-bigG-14"),
    *("ViT-L-14-worldwide", "ViT-H-14-worldwide"),
]

# OpenAI's spelling where it differs, which means QuickGELU. Its names of the ResNets are open_clip's too, and mean
# what open_clip means.
OPENAI_SPELLING = {
    "ViT-B/32": "ViT-B-32-quickgelu",
    "ViT-B/16": "ViT-B-16-quickgelu",
    "ViT-L/14": "ViT-L-14-quickgelu",
    "ViT-L/14@336px": "ViT-L-14-336-quickgelu",
}

# ---------------------------------------------------------------------------------------------------- not here yet


class Missing(NamedTuple):
    """Models that open_clip lists and passl does not have."""

    title: str
    needs: str
    names: List[str]


MISSING = [
    Missing(
        "CoCa",
        "a pooler of attention with many queries and a decoder of captions",
        ["coca_ViT-B-32", "coca_ViT-L-14", "coca_base", "coca_roberta-ViT-B-32"],
    ),
    Missing(
        "EVA-CLIP",
        "other blocks in the image tower: rotary positions, gated MLPs, norms inside attention and MLP",
        [
            *("EVA01-g-14", "EVA01-g-14-plus", "EVA02-B-16", "EVA02-E-14", "EVA02-E-14-plus"),
            *("EVA02-L-14", "EVA02-L-14-336"),
        ],
    ),
    Missing(
        "ConvNeXt",
        "ConvNeXt image towers",
        [
            *("convnext_base", "convnext_base_w", "convnext_base_w_320", "convnext_large", "convnext_large_d"),
            *("convnext_large_d_320", "convnext_small", "convnext_tiny", "convnext_xlarge", "convnext_xxlarge"),
            "convnext_xxlarge_320",
        ],
    ),
    Missing(
        "MobileCLIP",
        "image towers that start with convolutions, or timm's ViT with a bias in its projection (MobileCLIP2-L-14)",
        [
            *("MobileCLIP-B", "MobileCLIP-S1", "MobileCLIP-S2", "MobileCLIP2-B", "MobileCLIP2-L-14"),
            *("MobileCLIP2-S0", "MobileCLIP2-S2", "MobileCLIP2-S3", "MobileCLIP2-S4"),
        ],
    ),
    Missing(
        "Perception Encoder",
        "image towers with rotary positions",
        ["PE-Core-B-16", "PE-Core-L-14-336", "PE-Core-S-16-384", "PE-Core-T-16-384", "PE-Core-bigG-14-448"],
    ),
    Missing(
        "ViTamin",
        "image towers of convolutions followed by attention",
        [
            *("ViTamin-S", "ViTamin-S-LTT", "ViTamin-B", "ViTamin-B-LTT", "ViTamin-L", "ViTamin-L-256"),
            *("ViTamin-L-336", "ViTamin-L-384", "ViTamin-L2", "ViTamin-L2-256", "ViTamin-L2-336", "ViTamin-L2-384"),
            *("ViTamin-XL-256", "ViTamin-XL-336", "ViTamin-XL-384"),
        ],
    ),
    Missing(
        "mT5",
        "text towers with relative positions (the encoder of mT5)",
        ["mt5-base-ViT-B-32", "mt5-xl-ViT-H-14"],
    ),
    Missing(
        "NLLB",
        "the encoder of a translation model as text tower",
        ["nllb-clip-base", "nllb-clip-base-siglip", "nllb-clip-large", "nllb-clip-large-siglip"],
    ),
    Missing(
        "Other towers of timm",
        "Swin, and vision transformers with averaged or relative positions",
        ["swin_base_patch4_window7_224", "vit_medium_patch16_gap_256", "vit_relpos_medium_patch16_cls_224"],
    ),
]
