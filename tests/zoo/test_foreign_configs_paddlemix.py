from __future__ import annotations

import copy
import json

import pytest

from passl.modeling.architectures import architecture_from_spec
from passl.utils.errors import UserError
from passl.zoo.foreign_configs import node_from_paddlemix, paddlemix_files
from passl.zoo.names import architecture_of
from passl.zoo.reading import spec_of

L_14 = {
    "model_type": "clip",
    "vision_cfg": {"embed_dim": 768, "image_size": 224, "layers": 24, "width": 1024, "patch_size": 14},
    "text_cfg": {"embed_dim": 768, "width": 768, "heads": 12, "layers": 12},
}
L_14["vision_config"], L_14["text_config"] = L_14["vision_cfg"], L_14["text_cfg"]  # as its class saves them


def changed(**changes):
    config = copy.deepcopy(L_14)
    for path, value in changes.items():
        section, _, key = path.rpartition("__")
        (config[section] if section else config)[key] = value
    return config


def small(**changes):
    node = node_from_paddlemix({"embed_dim": 8, "vision_cfg": {"width": 64, "patch_size": 112}, "text_cfg": {}})
    for path, value in changes.items():
        tower, _, key = path.rpartition("__")
        (node[tower] if tower else node)[key] = value
    images = {"size": 224, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    return {
        "architecture": node,
        "preprocessing": images,
        "tokenizer": {"name": "ClipTokenizer", "context_length": 77},
    }


def test_a_config_of_paddlemix_is_the_model_that_it_describes():
    assert node_from_paddlemix(L_14) == spec_of(architecture_of("ViT-L-14"))["architecture"]


def test_only_the_text_tower_has_a_switch_for_quickgelu():
    node = node_from_paddlemix(changed(text_cfg__quick_gelu=True, vision_cfg__quick_gelu=True))
    assert (node["image"]["activation"], node["text"]["activation"]) == ("gelu", "quick_gelu")


def test_the_width_of_the_embeddings_may_stand_above_the_sections():
    above = changed(embed_dim=512)
    assert node_from_paddlemix(above)["embed_dim"] == 512


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"text__is_causal": False},
        {"image__layer_scale": 0.1},
        {"image__mlp_width": 100},
        {"text__activation": "quick_gelu"},
    ],
)
def test_a_model_comes_back_from_its_config_as_it_was(changes):
    spec = small(**changes)
    assert spec_of(architecture_from_spec(spec)) == spec
    files = json.loads(json.dumps(paddlemix_files(spec)))
    assert set(files) == {"config.json", "preprocessor_config.json"}
    assert node_from_paddlemix(files["config.json"]) == spec["architecture"]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"model_type": "evaclip"}, "model_type is 'evaclip'"),
        ({"vision_cfg__rope": True}, "vision_cfg.rope is True; it belongs to another class"),
        ({"vision_cfg__attentional_pool": True}, "vision_cfg.attentional_pool is True"),
        ({"vision_cfg__global_average_pool": True}, "vision_cfg.global_average_pool is True"),
        ({"text_cfg__embed_cls": True}, "text_cfg.embed_cls is True"),
        ({"text_cfg__hf_model_name": "roberta-base"}, "text_cfg.hf_model_name is 'roberta-base'"),
        ({"text_cfg__embed_dim": 512}, "text_cfg.embed_dim is 512; the image tower's is 768"),
        ({"multimodal_cfg": {"layers": 12}}, "multimodal_cfg"),
        ({"vision_cfg": "folder"}, "vision_cfg is 'folder'"),
    ],
)
def test_what_changes_the_computation_and_is_not_ours_is_refused_by_name(changes, said):
    with pytest.raises(UserError) as refused:
        node_from_paddlemix(changed(**changes), "there.json")
    assert str(refused.value).startswith("there.json: ") and said in str(refused.value)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"image__activation": "quick_gelu"}, "image.activation is 'quick_gelu'"),
        ({"image__pool": "average"}, "image.pool is 'average'"),
        ({"text__pool": "last"}, "text.pool is 'last'"),
        ({"text__norm_epsilon": 1e-6}, "text.norm_epsilon is 1e-06"),
        ({"text": None}, "text is missing"),
        ({"init_logit_bias": -10.0}, "init_logit_bias is -10"),
    ],
)
def test_a_model_that_paddlemix_cannot_express_is_refused_by_property(changes, said):
    with pytest.raises(UserError) as refused:
        paddlemix_files(small(**changes))
    assert said in str(refused.value)
