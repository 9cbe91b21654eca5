from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest

from passl.modeling.architectures import architecture_from_spec
from passl.utils.errors import UserError
from passl.zoo.foreign_configs import huggingface_files, node_from_huggingface
from passl.zoo.foreign_configs.huggingface import default_tokenizer
from passl.zoo.reading import spec_of

CONFIGS = json.loads((Path(__file__).parent / "files" / "huggingface_configs.json").read_text(encoding="utf-8"))
CLIP, SIGLIP, VIT_BERT = CONFIGS["CLIPModel"], CONFIGS["SiglipModel"], CONFIGS["ViT and BERT"]


def whole(node):
    """A specification around a node."""
    images = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    text = node["text"]
    return {
        "architecture": node,
        "preprocessing": {"size": node["image"] and node["image"]["image_size"], **images},
        "tokenizer": text and {"name": "ClipTokenizer", "context_length": text["context_length"]},
    }


def changed(config, **changes):
    """The config with keys like vision_config__num_channels set."""
    config = copy.deepcopy(config)
    for path, value in changes.items():
        section, _, key = path.rpartition("__")
        (config[section] if section else config)[key] = value
    return config


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_transformers_says_every_key_of_its_model(name):
    spec = whole(node_from_huggingface(CONFIGS[name]))
    assert spec_of(architecture_from_spec(spec)) == spec


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_comes_back_from_its_config_as_it_was(name):
    node = node_from_huggingface(CONFIGS[name])
    files = json.loads(json.dumps(huggingface_files(whole(node), dtype="float16")))
    assert set(files) == {"config.json"} | ({"preprocessor_config.json"} if node["image"] else set())
    assert node_from_huggingface(files["config.json"]) == node
    assert files["config.json"]["architectures"] == CONFIGS[name]["architectures"]
    assert files["config.json"]["torch_dtype"] == "float16"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_written_config_has_every_computing_key_of_transformers_own(name):
    written = huggingface_files(whole(node_from_huggingface(CONFIGS[name])))["config.json"]
    for theirs, ours in [(CONFIGS[name], written)] + [
        (CONFIGS[name][key], written[key]) for key in ("vision_config", "text_config") if key in written
    ]:
        idle = ("token_id", "projection_dim", "_config", "_act", "architectures", "_version")
        for key in theirs:
            if key in ours and not key.endswith(idle):
                assert ours[key] == theirs[key], key


def test_old_configs_of_clip_read_texts_at_the_highest_id():
    node = node_from_huggingface(CONFIGS["CLIPModel, old end mark"])
    assert (node["text"]["pool"], node["text"]["eos_id"], node["text"]["activation"]) == ("argmax", None, "gelu")
    config = huggingface_files(whole(node))["config.json"]["text_config"]
    assert [config[f"{mark}_token_id"] for mark in ("bos", "eos", "pad")] == [0, 2, 1]


def test_configs_of_clip_read_texts_at_the_first_end_mark():
    node = node_from_huggingface(CLIP)
    assert (node["text"]["pool"], node["text"]["eos_id"]) == ("eos", 97)
    assert huggingface_files(whole(node))["config.json"]["text_config"]["eos_token_id"] == 97


def test_what_a_config_of_clip_leaves_out_is_clip_b_32():
    node = node_from_huggingface({"model_type": "clip"})
    image, text = node["image"], node["text"]
    assert (node["embed_dim"], node["init_logit_scale"]) == (512, 2.6592)
    assert (image["image_size"], image["patch_size"], image["width"], image["num_layers"]) == (224, 32, 768, 12)
    assert (image["num_heads"], image["mlp_width"], image["activation"]) == (12, 3072, "quick_gelu")
    assert (text["context_length"], text["vocab_size"], text["width"], text["num_heads"]) == (77, 49408, 512, 8)
    assert (text["mlp_width"], text["activation"], text["norm_epsilon"]) == (2048, "quick_gelu", 1e-5)
    assert (text["pool"], text["eos_id"]) == ("argmax", None)


def test_the_last_id_of_a_vocabulary_is_the_highest_of_a_text():
    node = node_from_huggingface(changed(CLIP, text_config__eos_token_id=98))
    assert node["text"]["pool"] == "argmax"
    clip = node_from_huggingface({"model_type": "clip", "text_config": {"eos_token_id": 2}})
    config = huggingface_files(whole(clip))["config.json"]
    assert [config["text_config"][f"{mark}_token_id"] for mark in ("bos", "eos")] == [49406, 49407]
    assert node_from_huggingface(config) == clip


def test_what_a_config_of_siglip_leaves_out_is_siglip_b_16():
    node = node_from_huggingface({"model_type": "siglip", "text_config": None, "vision_config": {"image_size": 256}})
    image, text = node["image"], node["text"]
    assert (node["embed_dim"], node["init_logit_scale"], node["init_logit_bias"]) == (768, math.log(10), -10.0)
    assert (image["image_size"], image["patch_size"], image["activation"]) == (256, 16, "gelu_tanh")
    assert (image["pool"], image["class_token"], image["proj"], image["patch_bias"]) == (
        "attention",
        False,
        False,
        True,
    )
    assert (text["context_length"], text["vocab_size"], text["num_heads"]) == (64, 32000, 12)
    assert (text["pool"], text["is_causal"], text["proj_bias"], text["norm_epsilon"]) == ("last", False, True, 1e-6)


def test_the_second_copy_of_a_tower_in_old_files_counts_whole():
    old = {
        "model_type": "clip",
        "projection_dim": 768,
        "text_config_dict": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        "text_config": {"hidden_size": 512, "num_hidden_layers": 3, "eos_token_id": 2},
        "vision_config_dict": None,
        "vision_config": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "patch_size": 14},
    }
    node = node_from_huggingface(old)
    text = node["text"]
    assert (text["width"], text["num_layers"], text["pool"]) == (768, 12, "argmax")
    assert (node["image"]["width"], node["image"]["patch_size"]) == (1024, 14)


def test_roberta_counts_positions_from_behind_its_padding():
    text = node_from_huggingface(CONFIGS["CLIP and RoBERTa"])["text"]
    assert (text["position_offset"], text["num_positions"], text["context_length"]) == (2, 14, 12)
    bert = node_from_huggingface(VIT_BERT)["text"]
    assert (bert["position_offset"], bert["num_positions"], bert["context_length"]) == (0, 12, 12)


@pytest.mark.parametrize("limit, length", [(None, 12), (8, 8), (40, 12)])
def test_texts_are_as_long_as_tokenizer_and_positions_allow(limit, length):
    assert node_from_huggingface(VIT_BERT, text_length=limit)["text"]["context_length"] == length


def test_the_image_tower_of_a_whole_clip_is_read_from_a_dual_encoder_s_config():
    whole_clip = {"model_type": "clip", "vision_config": CLIP["vision_config"], "text_config": {"hidden_size": 1}}
    node = node_from_huggingface(changed(VIT_BERT, vision_config=whole_clip))
    assert node["image"] == node_from_huggingface(CLIP)["image"]


def test_roberta_is_named_after_its_tokenizer():
    spec = whole(node_from_huggingface(CONFIGS["CLIP and RoBERTa"]))
    tokenizer = {"name": "FileTokenizer", "source": "FacebookAI/xlm-roberta-base"}
    assert huggingface_files(spec)["config.json"]["text_config"]["model_type"] == "roberta"
    assert huggingface_files(spec, tokenizer)["config.json"]["text_config"]["model_type"] == "xlm-roberta"


def test_what_a_siglip_starts_from_is_kept():
    node = {**node_from_huggingface(SIGLIP), "init_logit_scale": 1.5, "init_logit_bias": -3.0}
    assert node_from_huggingface(huggingface_files(whole(node))["config.json"]) == node


@pytest.mark.parametrize(
    "config, changes, said",
    [
        (CLIP, {"model_type": "chinese_clip"}, "model_type is 'chinese_clip'; passl reads clip, "),
        (CLIP, {"model_type": "siglip2"}, "(NaFlex) is not supported yet"),
        (CLIP, {"model_type": None}, "model_type is None"),
        (CLIP, {"architectures": ["CLIPForImageClassification"]}, "architectures is ['CLIPForImageClassification']"),
        (CLIP, {"projection_dim": "512"}, "projection_dim is '512'"),
        (CLIP, {"vision_config": [1]}, "vision_config is [1]"),
        (CLIP, {"vision_config__hidden_act": "relu"}, "vision_config.hidden_act is 'relu'"),
        (CLIP, {"vision_config__num_channels": 4}, "vision_config.num_channels is 4"),
        (CLIP, {"vision_config__image_size": [16, 32]}, "vision_config.image_size is [16, 32]; only squares"),
        (CLIP, {"vision_config__num_attention_heads": 5}, "vision_config.num_attention_heads is 5"),
        (CLIP, {"vision_config__pruned_heads": {"0": [1]}}, "vision_config.pruned_heads is"),
        (CLIP, {"text_config__eos_token_id": [1, 97]}, "text_config.eos_token_id is [1, 97]"),
        (CLIP, {"text_config__eos_token_id": 99}, "text_config.eos_token_id is 99"),
        (CLIP, {"text_config__layer_norm_eps": None}, "text_config.layer_norm_eps is None"),
        (SIGLIP, {"vision_config__vision_use_head": False}, "vision_config.vision_use_head is False"),
        (
            SIGLIP,
            {"text_config__projection_size": 48},
            "vision_config.hidden_size is 32; the text tower's embedding is 48",
        ),
        (VIT_BERT, {"vision_config__model_type": "deit"}, "vision_config.model_type is 'deit'"),
        (VIT_BERT, {"vision_config__pooler_act": "relu"}, "vision_config.pooler_act is 'relu'"),
        (VIT_BERT, {"vision_config__pooler_output_size": 16}, "vision_config.pooler_output_size is 16"),
        (VIT_BERT, {"text_config__model_type": "gpt2"}, "text_config.model_type is 'gpt2'"),
        (VIT_BERT, {"text_config__position_embedding_type": "relative_key"}, "text_config.position_embedding_type is"),
        (VIT_BERT, {"text_config__is_decoder": True}, "text_config.is_decoder is True"),
    ],
)
def test_what_changes_the_computation_and_is_not_ours_is_refused_by_name(config, changes, said):
    with pytest.raises(UserError) as refused:
        node_from_huggingface(changed(config, **changes), "there/config.json")
    assert said in str(refused.value)
    assert str(refused.value).startswith("there/config.json: ")


@pytest.mark.parametrize(
    "name, tower, changes, said",
    [
        ("CLIPModel", "image", {"layer_scale": 1e-4}, "CLIPModel is the nearest, but image.layer_scale is 0.0001"),
        ("CLIPModel", "image", {"pool": "average"}, "image.pool is 'average'"),
        ("CLIPModel", "image", {"qkv_bias": False}, "image.qkv_bias is False"),
        ("CLIPModel", "text", {"is_causal": False}, "text.is_causal is False"),
        ("CLIPModel", "text", {"eos_id": 2}, "text.eos_id is 2, which there means the highest id"),
        ("SiglipModel", "text", {"pool": "argmax"}, "SiglipModel is the nearest, but text.pool is 'argmax'"),
        ("ViT and BERT", "text", {"proj": "mlp"}, "text.proj is 'mlp'"),
        ("ViT and BERT", "text", {"pool": "mean"}, "text.pool is 'mean'"),
        ("ViT and BERT", "text", {"position_offset": 5}, "text.position_offset is 5"),
        ("CLIPVisionModel", "image", {"patch_bias": True}, "image.patch_bias is True"),
    ],
)
def test_a_model_that_no_class_can_express_is_refused_by_property(name, tower, changes, said):
    node = node_from_huggingface(CONFIGS[name])
    node[tower].update(changes)
    with pytest.raises(UserError) as refused:
        huggingface_files(whole(node))
    assert said in str(refused.value)


def test_a_resnet_and_a_bias_of_clip_s_logits_are_refused():
    node = node_from_huggingface(CLIP)
    resnet = {"name": "ModifiedResNet", "image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "num_heads": 4}
    with pytest.raises(UserError, match="image.name is ModifiedResNet"):
        huggingface_files(whole({**node, "image": {**resnet, "qkv_bias": True}}))
    with pytest.raises(UserError, match="init_logit_bias is -10"):
        huggingface_files(whole({**node, "init_logit_bias": -10}))


@pytest.mark.parametrize(
    "model_type, vocab_size, name, clean",
    [
        ("clip", 49408, "ClipTokenizer", None),
        ("clip", 30522, "FileTokenizer", "none"),
        ("siglip", 32000, "FileTokenizer", "siglip"),
        ("siglip", 256000, "FileTokenizer", "siglip2"),
        ("vision-text-dual-encoder", 30522, "FileTokenizer", "none"),
    ],
)
def test_without_files_the_tokenizer_is_the_usual_one(model_type, vocab_size, name, clean):
    found = default_tokenizer({"model_type": model_type}, {"context_length": 9, "vocab_size": vocab_size})
    assert (found["name"], found["context_length"], found.get("clean")) == (name, 9, clean)
