from __future__ import annotations

import logging
from urllib.parse import urlsplit

import numpy as np
import paddle
import pytest
from PIL import Image

import passl
from passl.checkpoint import layer_arrays, to_family, write_weights
from passl.utils.errors import UserError
from passl.zoo import load_pretrained
from passl.zoo.pretrained import pretrained_of

# A named model cut down until building it costs nothing; its real sizes are checked in tests/modeling.
IMAGE = {"image_size": 32, "patch_size": 16, "width": 64, "num_layers": 1, "num_heads": 1}
TEXT = {"context_length": 12, "width": 16, "num_layers": 1, "num_heads": 2}
SMALL = {"embed_dim": 16, "image": IMAGE, "text": TEXT}


def small(name: str = "ViT-B-32", **arguments):
    return passl.create_model(name, **{**SMALL, **arguments})


@pytest.fixture
def folder(tmp_path):
    """A saved model, with preprocessing unlike the default."""
    model = small("ViT-B-32-quickgelu", image_mean=(0.5, 0.5, 0.5), image_resize_mode="squash")
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def passl_2021(model) -> dict:
    return to_family(layer_arrays(model), "passl-2021")


def assert_same_weights(one, other) -> None:
    expected = layer_arrays(other)
    assert all(np.array_equal(value, expected[name]) for name, value in layer_arrays(one).items())


def test_named_model_has_the_activation_of_its_name():
    assert small("ViT-B-32").activations == ("gelu",)
    assert small("ViT-B/32").activations == ("quick_gelu",)


def test_models_come_in_evaluation_mode():
    assert not small().training


def test_overrides_replace_arguments():
    assert small(image_mean=(0.0, 0.0, 0.0)).spec["preprocessing"]["mean"] == [0.0, 0.0, 0.0]


def test_settings_of_a_tower_are_replaced_one_by_one():
    node = small(text={**TEXT, "vocab_size": 100}).spec["architecture"]
    assert node["text"]["vocab_size"] == 100
    assert node["text"]["activation"] == "gelu" and node["image"]["patch_size"] == 16


def test_another_tower_takes_the_place_of_the_named_one():
    resnet = {"name": "ModifiedResNet", "image_size": 32, "layers": [1, 1, 1, 1], "width": 2, "num_heads": 2}
    assert small(image=resnet).spec["architecture"]["image"]["layers"] == [1, 1, 1, 1]


def test_unknown_override_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="image_maen.*Did you mean 'image_mean'"):
        small(image_maen=0.5)
    with pytest.raises(UserError, match="image_sise.*Did you mean 'image_size'"):
        small(image={**IMAGE, "image_sise": 64})


def test_setting_of_a_tower_says_where_it_goes():
    with pytest.raises(UserError, match=r"image_size is a setting of a tower: give image=\{'image_size': 288\}"):
        small(image_size=288)


def test_mistyped_override_is_refused():
    with pytest.raises(UserError, match="image_size.*whole number"):
        small(image={**IMAGE, "image_size": "64"})


def test_unknown_model_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'RN50'"):
        passl.create_model("RN5O")


# ---------------------------------------------------------------------------------------------------- folders


def test_saved_model_comes_back_whole(folder):
    model = passl.create_model(folder)
    again = passl.create_model(str(folder))
    assert_same_weights(model, again)
    assert model.spec == again.spec
    assert model.spec["preprocessing"]["resize_mode"] == "squash"
    ids = passl.get_tokenizer(folder)(["a cat", "two dogs"])
    image = paddle.randn([2, 3, 32, 32])
    for one, other in zip(model(image, ids), again(image, ids)):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_saved_model_has_the_weights_it_was_saved_with(tmp_path):
    model = small()
    model.save_pretrained(tmp_path / "model")
    assert_same_weights(passl.create_model(tmp_path / "model"), model)


def test_tokenizer_of_a_folder_has_its_context_length(folder):
    assert passl.get_tokenizer(folder).context_length == 12


def test_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="config.json"):
        passl.create_model(tmp_path)
    with pytest.raises(UserError, match="config.json"):
        passl.get_tokenizer(tmp_path)


def test_folder_serves_as_weights_of_a_named_model(folder):
    same = {"image_mean": (0.5, 0.5, 0.5), "image_resize_mode": "squash"}
    model = small("ViT-B-32-quickgelu", pretrained=folder, **same)
    assert_same_weights(model, passl.create_model(folder))


def test_weights_of_other_preprocessing_or_heads_are_refused_with_the_differences(folder):
    with pytest.raises(UserError, match=r"preprocessing.mean: \[0.5, 0.5, 0.5\] there, \[0.48"):
        small("ViT-B-32-quickgelu", pretrained=folder)
    same = {"image_mean": (0.5, 0.5, 0.5), "image_resize_mode": "squash"}
    with pytest.raises(UserError, match="architecture.text.num_heads: "):
        small("ViT-B-32-quickgelu", pretrained=folder, text={**TEXT, "num_heads": 1}, **same)


def test_other_weights_take_the_place_of_a_folders_own(folder, tmp_path):
    other = small("ViT-B-32-quickgelu")
    write_weights(tmp_path / "other.safetensors", layer_arrays(other))
    assert_same_weights(passl.create_model(folder, pretrained=tmp_path / "other.safetensors"), other)


# ---------------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("suffix", [".safetensors", ".pdparams"])
def test_own_weight_file_loads_into_a_named_model(tmp_path, suffix):
    model = small()
    write_weights(tmp_path / f"weights{suffix}", layer_arrays(model))
    assert_same_weights(small(pretrained=tmp_path / f"weights{suffix}"), model)


def test_passl_file_loads_and_says_so_in_one_line(tmp_path, caplog):
    source = small("ViT-B-32-quickgelu")
    path = tmp_path / "ViT-B-32.pdparams"
    weights = {name: paddle.to_tensor(value) for name, value in passl_2021(source).items()}
    paddle.save({"state_dict": weights}, str(path))
    with caplog.at_level(logging.INFO, logger="passl"):
        model = small("ViT-B/32", pretrained=path)
    assert_same_weights(model, source)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"loaded {path} (layout passl-2021, activation quick_gelu)"]


def test_passl_file_is_refused_by_a_gelu_name(tmp_path):
    path = tmp_path / "weights.pdparams"
    write_weights(path, passl_2021(small("ViT-B-32-quickgelu")))
    with pytest.raises(UserError, match="trained with activation 'quick_gelu' and this model has 'gelu'"):
        small("ViT-B-32", pretrained=path)


def test_partial_load_does_not_excuse_another_activation(tmp_path, folder):
    write_weights(tmp_path / "weights.pdparams", passl_2021(small("ViT-B-32-quickgelu")))
    for path in (tmp_path / "weights.pdparams", folder):
        with pytest.raises(UserError, match="trained with activation 'quick_gelu'"):
            load_pretrained(small("ViT-B-32"), path, partial=True)


def test_folder_of_another_activation_is_refused(folder):
    for path in (folder, folder / "model.safetensors"):
        with pytest.raises(UserError, match="trained with activation 'quick_gelu' and this model has 'gelu'"):
            small("ViT-B-32", pretrained=path)


def test_weights_of_another_size_are_refused_with_both_shapes(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path, layer_arrays(small(image={**IMAGE, "image_size": 64})))
    with pytest.raises(UserError, match=r"positional_embedding: expected \[5, 64\] .*found \[17, 64\]"):
        small(pretrained=path)


def test_tag_that_needs_another_activation_is_refused():
    with pytest.raises(UserError, match="trained as ViT-B-32-quickgelu, with QuickGELU; ViT-B-32 has GELU"):
        small(pretrained="openai")


def test_published_weights_are_downloaded_and_checked(server, cache, tmp_path, monkeypatch):
    source = small("ViT-B-32-quickgelu")
    paddle.save({name: paddle.to_tensor(value) for name, value in passl_2021(source).items()}, str(tmp_path / "file"))
    address = pretrained_of("ViT-B-32-quickgelu", "passl").source.address
    server.files[urlsplit(address).path] = (tmp_path / "file").read_bytes()
    monkeypatch.setenv("PASSL_MIRROR", server.address)
    assert_same_weights(small("ViT-B/32", pretrained="passl"), source)
    assert_same_weights(small("ViT-B/32", pretrained=address), source)
    with pytest.raises(UserError, match="trained as ViT-B-32-quickgelu"):
        small("ViT-B-32", pretrained=address)


def test_download_that_is_no_weights_does_not_stay(server, cache, monkeypatch):
    address = pretrained_of("ViT-B-32-quickgelu", "passl").source.address
    server.files[urlsplit(address).path] = b"x" * 1000
    monkeypatch.setenv("PASSL_MIRROR", server.address)
    with pytest.raises(UserError, match="came from the net without a published hash, and was removed"):
        small("ViT-B/32", pretrained="passl")
    assert not [path for path in cache.rglob("*") if path.suffix == ".pdparams"]


# ---------------------------------------------------------------------------------------------------- transforms


def test_transforms_follow_the_preprocessing_of_the_model():
    model, train, evaluate = passl.create_model_and_transforms("ViT-B-32", **SMALL)
    picture = Image.new("RGB", (80, 50), (255, 0, 0))
    pixels = evaluate(picture)
    assert pixels.shape == (3, 32, 32) and pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[0], (1 - 0.48145466) / 0.26862954, rtol=1e-5)
    assert train(picture).shape == (3, 32, 32)
    assert model.encode_image(paddle.to_tensor(pixels[None])).shape == [1, 16]
