from __future__ import annotations

import pytest

from passl.utils.errors import UserError
from passl.zoo.names import architecture_of, is_model_name, list_models

PAPER = ["RN101", "RN50", "RN50x16", "RN50x4", "RN50x64", "ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-L-14-336"]


def test_every_model_of_the_paper_is_there_with_both_activations():
    assert list_models() == sorted([*PAPER, *(f"{name}-quickgelu" for name in PAPER)])


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("ViT-L-*-quickgelu", ["ViT-L-14-336-quickgelu", "ViT-L-14-quickgelu"]),
        ("RN50x?", ["RN50x4"]),
        ("nothing*", []),
    ],
)
def test_list_models_takes_a_pattern(pattern, names):
    assert list_models(pattern) == names


@pytest.mark.parametrize("name", PAPER)
def test_the_ending_decides_the_activation_and_nothing_else(name):
    plain, quick = architecture_of(name), architecture_of(f"{name}-quickgelu")
    assert plain.pop("activation") == "gelu"
    assert quick.pop("activation") == "quick_gelu"
    assert plain == quick


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


def test_architectures_are_separate_copies():
    architecture_of("RN50")["vision_layers"].append(1)
    assert architecture_of("RN50")["vision_layers"] == [3, 4, 6, 3]


@pytest.mark.parametrize(
    "wrong, right", [("ViT-B-32-quickglu", "ViT-B-32-quickgelu"), ("vit-l-14", "ViT-L-14"), ("ViT-B/23", "ViT-B/32")]
)
def test_unknown_name_is_refused_with_the_nearest(wrong, right):
    with pytest.raises(UserError, match=f"no model named '{wrong}'.* Did you mean '{right}'"):
        architecture_of(wrong)


@pytest.mark.parametrize("name", ["-quickgelu", "ViT-B/32-quickgelu", "ViT-B-32-quickgelu-quickgelu", "", "."])
def test_what_only_resembles_a_name_is_none(name):
    assert not is_model_name(name)
