from __future__ import annotations

import pytest

from passl.utils.errors import UserError
from passl.zoo.foreign_configs.images import (
    default_preprocessing,
    huggingface_preprocessor,
    preprocessing_from_huggingface,
)

OPENAI = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
# As in the repository of OpenAI's ViT-B/32, from before sizes had keys.
OLD_CLIP = {
    "feature_extractor_type": "CLIPFeatureExtractor",
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": OPENAI[0],
    "image_std": OPENAI[1],
    "resample": 3,
    "size": 224,
}
SIGLIP_2 = {
    "image_processor_type": "SiglipImageProcessorFast",
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}


def read(config, kind="CLIP", size=224):
    found = preprocessing_from_huggingface(config, kind, size, "there.json")
    assert found["size"] == size
    return found["mean"], found["std"], found["interpolation"], found["resize_mode"]


def test_an_old_processor_of_clip_resizes_the_short_side():
    assert read(OLD_CLIP) == (*OPENAI, "bicubic", "shortest")


def test_a_processor_of_siglip_resizes_both_sides():
    assert read(SIGLIP_2) == ([0.5] * 3, [0.5] * 3, "bilinear", "squash")


def test_a_number_as_size_means_both_sides_to_vit():
    old = {"feature_extractor_type": "ViTFeatureExtractor", "size": 384, "image_mean": 0.5, "image_std": 0.5}
    assert read(old, size=384) == ([0.5] * 3, [0.5] * 3, "bilinear", "squash")


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("CLIP", (*OPENAI, "bicubic", "shortest")),
        ("Siglip", ([0.5] * 3, [0.5] * 3, "bicubic", "squash")),
        ("ViT", ([0.5] * 3, [0.5] * 3, "bilinear", "squash")),
    ],
)
def test_what_a_processor_leaves_out_is_its_default(kind, expected):
    assert read({}, kind) == expected
    assert read({"image_processor_type": f"{kind}ImageProcessor"}, "CLIP") == expected
    found = default_preprocessing(kind, 224)
    assert (found["mean"], found["std"], found["interpolation"], found["resize_mode"]) == expected


def test_pixels_that_are_not_normalised_have_mean_0_and_deviation_1():
    assert read({**OLD_CLIP, "do_normalize": False})[:2] == ([0.0] * 3, [1.0] * 3)


def test_cutting_out_all_of_a_square_changes_nothing():
    square = {"height": 224, "width": 224}
    assert read({**OLD_CLIP, "size": square, "crop_size": square}) == (*OPENAI, "bicubic", "squash")


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"feature_extractor_type": "DeiTFeatureExtractor"}, "feature_extractor_type is 'DeiTFeatureExtractor'"),
        ({"resample": 1}, "resample is 1; images are resized with one of 2 (bilinear), 3 (bicubic)"),
        ({"do_resize": False}, "do_resize is False"),
        ({"do_rescale": False}, "do_rescale is False"),
        ({"rescale_factor": 1 / 127.5}, "rescale_factor is 0.0078"),
        ({"do_pad": True}, "do_pad is True"),
        ({"do_center_crop": False}, "do_center_crop is False"),
        ({"size": 256}, "size is 256; passl cuts out what it resized to, here 224"),
        ({"crop_size": 256}, "crop_size is 256; the model beside it takes images of 224 pixels"),
        ({"size": {"height": 256, "width": 256}, "do_center_crop": False}, "the model beside it takes images of 224"),
        ({"size": {"height": 224, "width": 448}}, "size is {'height': 224, 'width': 448}; only squares"),
        ({"size": {"longest_edge": 224}}, "size is {'longest_edge': 224}"),
        ({"size": [224]}, "size is [224]"),
        ({"image_mean": [0.5]}, "image_mean is [0.5]"),
    ],
)
def test_a_step_that_passl_does_not_have_is_refused_by_name(changes, said):
    with pytest.raises(UserError) as refused:
        read({**OLD_CLIP, **changes})
    assert str(refused.value).startswith("there.json: ") and said in str(refused.value)


@pytest.mark.parametrize("has_siglip", [False, True])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_preprocessing_comes_back_from_its_config_as_it_was(mode, interpolation, has_siglip):
    preprocessing = {"size": 32, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": interpolation}
    preprocessing["resize_mode"] = mode
    config = huggingface_preprocessor(preprocessing, has_siglip)
    assert preprocessing_from_huggingface(config, "ViT", 32) == preprocessing
    is_siglip = has_siglip and mode == "squash"
    assert config["image_processor_type"] == ("SiglipImageProcessor" if is_siglip else "CLIPImageProcessor")
