from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest

from passl.utils.errors import UserError
from passl.zoo.foreign_configs import node_from_open_clip, open_clip_files, open_clip_from_node
from passl.zoo.foreign_configs.open_clip import preprocessing_from_open_clip, tokenizer_from_open_clip
from passl.zoo.names import architecture_of
from passl.zoo.reading import spec_of

CONFIGS = json.loads((Path(__file__).parent / "files" / "open_clip_configs.json").read_text(encoding="utf-8"))
PLAIN = {"embed_dim": 8, "vision_cfg": {"width": 128, "layers": 2}, "text_cfg": {"width": 64, "heads": 2}}
PREPROCESSING = {
    "size": 224,
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


def config(**changes):
    """`PLAIN` with keys like vision_cfg__width set."""
    changed = copy.deepcopy(PLAIN)
    for path, value in changes.items():
        section, _, key = path.rpartition("__")
        (changed[section] if section else changed)[key] = value
    return changed


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_open_clip_is_the_model_of_that_name(name):
    spec = spec_of(architecture_of(name))
    assert node_from_open_clip(CONFIGS[name]) == spec["architecture"]
    tokenizer = tokenizer_from_open_clip(CONFIGS[name])
    for tokenizer_spec in (tokenizer, spec["tokenizer"]):
        tokenizer_spec.pop("source", None)  # one vocabulary has several addresses
    assert tokenizer == spec["tokenizer"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_comes_back_from_its_config_as_it_was(name):
    node, tokenizer = node_from_open_clip(CONFIGS[name]), tokenizer_from_open_clip(CONFIGS[name])
    spec = {"architecture": node, "preprocessing": PREPROCESSING, "tokenizer": tokenizer}
    files = json.loads(json.dumps(open_clip_files(spec)))
    written = files.pop("open_clip_config.json")
    assert files == {}
    assert node_from_open_clip(written["model_cfg"]) == node
    assert tokenizer_from_open_clip(written["model_cfg"]) == tokenizer
    assert preprocessing_from_open_clip(written["preprocess_cfg"], 224) == PREPROCESSING


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "ViT-g-14" and "roberta" not in name])
def test_a_written_config_says_what_open_clip_itself_says(name):
    written = open_clip_from_node(node_from_open_clip(CONFIGS[name]), tokenizer_from_open_clip(CONFIGS[name]))
    assert written == CONFIGS[name]


@pytest.mark.parametrize(
    "width, hidden", [(1408, 6144), (1664, 8192), (1792, 15360), (1152, 4304), (7, 5), (997, 1009)]
)
def test_the_ratio_of_an_mlp_gives_its_width_exactly(width, hidden):
    node = node_from_open_clip(config(vision_cfg__head_width=1, vision_cfg__width=width))
    node["image"]["mlp_width"] = hidden
    ratio = open_clip_from_node(node)["vision_cfg"]["mlp_ratio"]
    assert int(width * ratio) == hidden


def test_what_a_config_leaves_out_is_what_open_clip_takes():
    node = node_from_open_clip(config())
    assert node["init_logit_scale"] == math.log(1 / 0.07)
    assert node["init_logit_bias"] is None
    image, text = node["image"], node["text"]
    assert (image["image_size"], image["patch_size"], image["num_heads"], image["mlp_width"]) == (224, 16, 2, 512)
    assert (text["context_length"], text["vocab_size"], text["num_layers"], text["mlp_width"]) == (77, 49408, 12, 256)
    assert (image["activation"], text["activation"]) == ("gelu", "gelu")
    assert (image["pool"], text["pool"], text["is_causal"], text["proj_bias"]) == ("token", "argmax", True, False)
    assert (image["norm_epsilon"], image["layer_scale"], image["pre_norm"]) == (1e-5, None, True)


def test_a_norm_after_taking_the_class_token_is_the_norm_before_it():
    assert node_from_open_clip(config(vision_cfg__final_ln_after_pool=True)) == node_from_open_clip(config())


def test_training_and_initial_weights_do_not_count():
    idle = config(vision_cfg__patch_dropout=0.5, text_cfg__hf_model_pretrained=True, cast_dtype="fp16")
    assert node_from_open_clip(idle) == node_from_open_clip(config())


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("multimodal_cfg", {"layers": 12}, "multimodal_cfg"),
        ("nonscalar_logit_scale", True, "nonscalar_logit_scale is True"),
        ("vision_cfg__attentional_pool", True, "vision_cfg.attentional_pool is True"),
        ("vision_cfg__pool_type", "none", "vision_cfg.pool_type is 'none'"),
        ("vision_cfg__pool_type", "avg", "vision_cfg.final_ln_after_pool is False"),
        ("vision_cfg__pos_embed_type", "sin_cos_2d", "vision_cfg.pos_embed_type is 'sin_cos_2d'"),
        ("vision_cfg__qk_norm", True, "vision_cfg.qk_norm is True"),
        ("vision_cfg__block_type", "custom", "vision_cfg.block_type is 'custom'"),
        ("vision_cfg__image_size", [224, 448], "only squares"),
        ("vision_cfg__timm_model_name", "convnext_base", "vision_cfg.timm_model_name is 'convnext_base'"),
        ("vision_cfg__timm_model_name", "vit_base_patch16_siglip_224", "vision_cfg.timm_pool is 'avg'"),
        ("vision_cfg__act_kwargs", {"approximate": "cubic"}, "vision_cfg.act_kwargs.approximate is 'cubic'"),
        (
            "vision_cfg__norm_kwargs",
            {"elementwise_affine": False},
            "vision_cfg.norm_kwargs.elementwise_affine is False",
        ),
        ("vision_cfg__rope", True, "vision_cfg.rope is True; passl does not know this key"),
        ("text_cfg__embed_cls", True, "text_cfg.embed_cls is True"),
        ("text_cfg__pool_type", "first", "text_cfg.pool_type is 'first'"),
        ("text_cfg__proj_type", "none", "text_cfg.proj_type is 'none'; a tower of width 64 has no embedding of 8"),
        ("text_cfg__scale_fc", True, "text_cfg.scale_fc is True"),
        ("text_cfg__hf_model_name", "google/mt5-base", "text_cfg.hf_model_name is 'google/mt5-base'"),
        ("text_cfg__width", 64.0, "text_cfg.width is 64.0"),
        ("text_cfg__heads", True, "text_cfg.heads is True"),
        ("text_cfg", 3, "text_cfg is 3"),
        ("embed_dim", 0, "embed_dim is 0"),
        ("quick_gelu", "yes", "quick_gelu is 'yes'"),
        ("init_logit_scale", float("nan"), "init_logit_scale is nan"),
        ("quikc_gelu", True, "Did you mean 'quick_gelu'?"),
    ],
)
def test_what_changes_the_computation_and_is_not_ours_is_refused_by_name(key, value, said):
    with pytest.raises(UserError) as refused:
        node_from_open_clip(config(**{key: value}), "there.json")
    assert said in str(refused.value)
    assert str(refused.value).startswith("there.json: ")


def test_a_siglip_tower_of_another_size_than_its_name_is_refused():
    siglip = copy.deepcopy(CONFIGS["ViT-B-16-SigLIP"])
    siglip["vision_cfg"]["image_size"] = 256
    with pytest.raises(UserError, match="image_size is 256; timm's model of that name has 224"):
        node_from_open_clip(siglip)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"tokenizer_mode": "clips"}, "text_cfg.tokenizer_mode is 'clips'"),
        ({"tokenizer_kwargs": {"reduction_mask": "simple"}}, "tokenizer_kwargs.reduction_mask"),
        ({"hf_tokenizer_name": "a", "tokenizer_kwargs": {"language": "de"}}, "tokenizer_kwargs.language is 'de'"),
        ({"hf_tokenizer_name": "a", "tokenizer_kwargs": {"clean": "all"}}, "tokenizer_kwargs.clean is 'all'"),
    ],
)
def test_a_tokenizer_that_passl_does_not_have_is_refused(changes, said):
    with pytest.raises(UserError, match=said):
        tokenizer_from_open_clip(config(**{f"text_cfg__{key}": value for key, value in changes.items()}))


def test_preprocessing_that_is_not_said_is_openai_s():
    assert preprocessing_from_open_clip(None, 240)["mean"] == [0.48145466, 0.4578275, 0.40821073]
    assert preprocessing_from_open_clip({"size": 224}, 240)["size"] == 240
    assert preprocessing_from_open_clip({"mean": 0.5, "mode": "RGB"}, 240)["mean"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("key, value", [("resize_mode", "longest"), ("interpolation", "random"), ("mean", [0.5, 0.5])])
def test_preprocessing_that_passl_does_not_have_is_refused(key, value):
    with pytest.raises(UserError, match=f"preprocess_cfg.{key} is"):
        preprocessing_from_open_clip({key: value}, 224)


@pytest.mark.parametrize(
    "tower, changes, said",
    [
        ("image", {"pooler": True}, "image.pooler is True"),
        ("image", {"proj": False}, "image.proj is False"),
        ("image", {"patch_bias": True}, "image.patch_bias is True"),
        ("image", {"qkv_bias": False}, "image.qkv_bias is False"),
        ("image", {"activation": "quick_gelu"}, "image.activation is 'quick_gelu' and text.activation is 'gelu'"),
        ("image", {"pool": "attention", "class_token": False}, "timm, whose towers"),
        ("text", {"qkv_bias": False}, "text.qkv_bias is False"),
    ],
)
def test_a_model_that_open_clip_cannot_express_is_refused_by_property(tower, changes, said):
    node = node_from_open_clip(config())
    node[tower].update(changes)
    with pytest.raises(UserError) as refused:
        open_clip_from_node(node)
    assert said in str(refused.value)


def test_a_text_tower_that_open_clip_cannot_name_is_refused():
    node = node_from_open_clip(CONFIGS["roberta-ViT-B-32"])
    node["text"]["vocab_size"] += 1
    with pytest.raises(UserError, match="roberta-base is the nearest, but text.vocab_size is 50266"):
        open_clip_from_node(node)


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_model_of_one_tower_is_refused(tower):
    with pytest.raises(UserError, match=f"{tower} is missing"):
        open_clip_from_node({**node_from_open_clip(config()), tower: None})
