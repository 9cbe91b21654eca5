from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

import passl.modeling.architectures  # noqa: F401  # registers what the sections name
from passl.config import build
from passl.utils.errors import UserError
from passl.utils.registry import ARCHITECTURES
from passl.zoo.names import architecture_of, is_model_name, list_models, vocabulary_of
from passl.zoo.overview import overview
from passl.zoo.sizes import FAMILIES, MISSING, MODELS, OPENAI_SPELLING, QUICK

# open_clip's names, with its parameters [whole model, image tower, text tower] where passl has the model.
OPEN_CLIP = json.loads((Path(__file__).parent / "open_clip_names.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Holder:
    """What an `architecture` section is checked in."""

    architecture: Annotated[dict, ARCHITECTURES]


# ---------------------------------------------------------------------------------------------------- which names


def test_every_name_of_open_clip_is_here_or_said_to_be_missing():
    missing = [name for family in MISSING for name in family.names]
    assert len(OPEN_CLIP) == 144
    assert sorted([*list_models(), *missing]) == sorted(OPEN_CLIP)
    assert (len(list_models()), len(missing)) == (84, 60)


def test_names_of_the_paper_are_there_with_both_activations():
    for name in ("RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", *OPENAI_SPELLING.values()):
        assert {name, f"{name.replace('-quickgelu', '')}-quickgelu"} <= set(list_models())


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("ViT-L-14-336*", ["ViT-L-14-336", "ViT-L-14-336-quickgelu"]),
        ("RN50x?", ["RN50x4"]),
        ("*roberta*", ["roberta-ViT-B-32", "xlm-roberta-base-ViT-B-32", "xlm-roberta-large-ViT-H-14"]),
        ("nothing*", []),
    ],
)
def test_list_models_takes_a_pattern(pattern, names):
    assert list_models(pattern) == names


@pytest.mark.parametrize(
    "openai, ours",
    [
        ("ViT-B/32", "ViT-B-32-quickgelu"),
        ("ViT-B/16", "ViT-B-16-quickgelu"),
        ("ViT-L/14", "ViT-L-14-quickgelu"),
        ("ViT-L/14@336px", "ViT-L-14-336-quickgelu"),
    ],
)
def test_openai_spelling_means_quick_gelu(openai, ours):
    assert architecture_of(openai) == architecture_of(ours)


@pytest.mark.parametrize(
    "wrong, right",
    [
        ("ViT-B-32-quickglu", "ViT-B-32-quickgelu"),
        ("vit-l-14", "ViT-L-14"),
        ("ViT-B/23", "ViT-B/32"),
        ("ViT-SO400M-SigLIP2", "ViT-SO400M-14-SigLIP2"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest(wrong, right):
    with pytest.raises(UserError, match=f"no model named '{wrong}'.* Did you mean '{right}'"):
        architecture_of(wrong)


@pytest.mark.parametrize(
    "name, family", [("coca_ViT-B-32", "CoCa"), ("MobileCLIP-S1", "MobileCLIP"), ("mt5-base-ViT-B-32", "mT5")]
)
def test_name_of_open_clip_that_is_missing_is_refused_as_such(name, family):
    with pytest.raises(UserError, match=rf"'{name}' is a model of open_clip \({family}\) that passl does not have yet"):
        architecture_of(name)
    assert not is_model_name(name)


@pytest.mark.parametrize(
    "name",
    ["-quickgelu", "ViT-B/32-quickgelu", "ViT-B-32-quickgelu-quickgelu", "ViT-S-32-quickgelu", "", "."],
)
def test_what_only_resembles_a_name_is_none(name):
    assert not is_model_name(name)


# ---------------------------------------------------------------------------------------------------- what they mean


# One of each kind is counted before every commit, all of them by the longer checks.
KINDS = (
    *("RN50", "ViT-B-32", "ViT-B-32-quickgelu", "ViT-L-14-336", "ViT-M-16-alt", "ViT-L-14-CLIPA", "roberta-ViT-B-32"),
    *("ViT-B-16-SigLIP", "ViT-SO400M-14-SigLIP-384", "ViT-SO400M-16-SigLIP-i18n-256", "ViT-B-16-SigLIP2-512"),
)


@pytest.mark.parametrize(
    "name", [name if name in KINDS else pytest.param(name, marks=pytest.mark.slow) for name in list_models()]
)
def test_parameters_are_as_many_as_in_open_clip(name):
    found = overview(name)
    assert [found.parameters, found.image_parameters, found.text_parameters] == OPEN_CLIP[name]


@pytest.mark.parametrize("name", [*list_models(), *OPENAI_SPELLING])
def test_architecture_is_what_a_config_accepts(name):
    node = architecture_of(name)
    filled = build(Holder, {"architecture": node}).architecture
    assert {key: filled["image"][key] for key in node["image"]} == node["image"]
    assert {key: filled["text"][key] for key in node["text"]} == node["text"]


@pytest.mark.parametrize("name", QUICK)
def test_the_ending_decides_the_activation_and_nothing_else(name):
    plain, quick = architecture_of(name), architecture_of(f"{name}-quickgelu")
    assert plain["text"].pop("activation") == "gelu" and quick["text"].pop("activation") == "quick_gelu"
    if name.startswith("ViT"):
        assert plain["image"].pop("activation") == "gelu" and quick["image"].pop("activation") == "quick_gelu"
    assert plain == quick


def test_roberta_has_quick_gelu_in_its_image_tower_alone():
    node = architecture_of("roberta-ViT-B-32")
    assert (node["image"]["activation"], node["text"]["activation"]) == ("quick_gelu", "gelu")


@pytest.mark.parametrize("name", list_models("*SigLIP*"))
def test_siglip_has_a_bias_and_pictures_from_minus_one_to_one(name):
    node = architecture_of(name)
    assert node["init_logit_bias"] == -10
    assert node["image_mean"] == node["image_std"] == [0.5, 0.5, 0.5]
    assert (node["image_interpolation"], node["image_resize_mode"]) == ("bicubic", "squash")
    # What timm gives the image tower of that size, and open_clip's config the text tower.
    tanh_images = ("ViT-B-32", "ViT-L-16-SigLIP2-512", "ViT-SO400M-16", "ViT-gopt-16")
    assert node["image"]["activation"] == ("gelu_tanh" if name.startswith(tanh_images) else "gelu")
    assert node["text"]["activation"] == ("gelu_tanh" if "SigLIP2" in name else "gelu")


@pytest.mark.parametrize("name", list_models("*CLIPA*"))
def test_clipa_has_pictures_of_imagenet_squashed(name):
    node = architecture_of(name)
    assert (node["image_mean"], node["image_std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert (node["image_interpolation"], node["image_resize_mode"]) == ("bilinear", "squash")


def test_pictures_of_clip_are_cut_but_those_of_378_pixels_squashed():
    squashed = [name for name in list_models() if architecture_of(name)["image_resize_mode"] == "squash"]
    others = {name for name in squashed if "CLIPA" not in name and "SigLIP" not in name}
    assert others == {name for name in list_models("*-378*") if "SigLIP" not in name}
    assert not any(architecture_of(name)["image_mean"][0] == 0.5 for name in others)


@pytest.mark.parametrize("name", [*MODELS, *OPENAI_SPELLING])
def test_tokenizer_with_the_vocabulary_of_clip_is_bundled_and_others_say_whose_they_are(name):
    node = architecture_of(name)
    is_bundled = node["text"]["vocab_size"] == 49408
    assert (vocabulary_of(name) == "clip") is is_bundled
    assert node["tokenizer"]["name"] == ("ClipTokenizer" if is_bundled else "FileTokenizer")
    assert ("source" in node["tokenizer"]) is not is_bundled


@pytest.mark.parametrize(
    "name, settings",
    [
        ("ViT-L-14-CLIPA", {"source": "google-bert/bert-base-uncased", "strip_sep": True}),
        ("ViT-L-14-worldwide", {"source": "google/mt5-base", "clean": "canonicalize"}),
        ("ViT-H-14-worldwide", {"source": "facebook/xlm-v-base"}),
        ("ViT-B-16-SigLIP2-384", {"source": "timm/ViT-B-16-SigLIP2", "clean": "canonicalize"}),
        ("xlm-roberta-large-ViT-H-14", {"source": "FacebookAI/xlm-roberta-large"}),
    ],
)
def test_tokenizer_of_files_has_the_settings_of_open_clip(name, settings):
    assert architecture_of(name)["tokenizer"] == {"name": "FileTokenizer", **settings}


def test_every_family_has_a_model():
    assert {row.family for row in MODELS.values()} == set(FAMILIES)


def test_architectures_are_separate_copies():
    architecture_of("RN50")["image"]["layers"].append(1)
    architecture_of("RN50")["tokenizer"]["folder"] = "there"
    architecture_of("RN50")["image_mean"].append(1)
    node = architecture_of("RN50")
    assert node["image"]["layers"] == [3, 4, 6, 3] and node["tokenizer"] == {"name": "ClipTokenizer"}
    assert len(node["image_mean"]) == 3
