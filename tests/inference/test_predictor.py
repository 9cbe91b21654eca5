"""The predictor against the towers called one by one."""

import numpy as np
import paddle
import pytest
from PIL import Image

import passl
from passl.datasets.images import BadImage
from passl.modeling.architectures import CLIPWrapper, DualEncoder
from passl.utils.errors import UserError

SMALL = {
    "embed_dim": 16,
    "image": {"image_size": 16, "patch_size": 8, "width": 32, "num_layers": 2, "num_heads": 2},
    "text": {"context_length": 12, "width": 16, "num_layers": 1, "num_heads": 2},
}
NAMES = ["cat", "red bus", "bowl of soup"]
TEMPLATES = ["a photo of a {}.", "{}, seen from above", "my {}"]


@pytest.fixture(scope="module")
def model():
    paddle.seed(0)
    return passl.create_model("ViT-B-32-quickgelu", **SMALL)


@pytest.fixture(scope="module")
def predictor(model):
    return passl.Predictor(model)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Seven pictures of various sizes and modes."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    files = []
    for number, (mode, size) in enumerate(
        [("RGB", (16, 16)), ("RGB", (40, 20)), ("L", (20, 40)), ("RGBA", (33, 17)), ("P", (18, 18)), ("1", (25, 25))]
    ):
        pixels = rng.integers(0, 256, (*size[::-1], 3)).astype("uint8")
        files.append(folder / f"{number}.png")
        Image.fromarray(pixels).convert(mode).save(files[-1])
    files.append(folder / "6.jpg")
    Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype("uint8")).save(files[-1])
    return files


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


# ---------------------------------------------------------------------------------------------------- embeddings


def test_embeddings_are_float32_of_unit_length(predictor, paths):
    for rows, count in ((predictor.embed_images(paths), len(paths)), (predictor.embed_texts(NAMES), len(NAMES))):
        assert rows.dtype == np.float32 and rows.shape == (count, 16)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_embeddings_equal_those_of_the_towers(model, predictor, paths):
    _, _, transform = passl.create_model_and_transforms("ViT-B-32-quickgelu", **SMALL)
    pixels = paddle.to_tensor(np.stack([transform(Image.open(path)) for path in paths]))
    np.testing.assert_allclose(predictor.embed_images(paths), unit(model.encode_image(pixels).numpy()), atol=1e-6)
    ids = predictor.tokenizer(NAMES)
    np.testing.assert_allclose(predictor.embed_texts(NAMES), unit(model.encode_text(ids).numpy()), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_embeddings_do_not_depend_on_the_batch_size(model, predictor, paths, batch_size):
    other = passl.Predictor(model, batch_size=batch_size)
    np.testing.assert_allclose(other.embed_images(paths), predictor.embed_images(paths), rtol=0, atol=1e-6)
    np.testing.assert_allclose(other.embed_texts(NAMES), predictor.embed_texts(NAMES), rtol=0, atol=1e-6)


def test_paths_as_text_paths_and_pictures_give_the_same(predictor, paths):
    expected = predictor.embed_images(paths)
    np.testing.assert_array_equal(predictor.embed_images([str(path) for path in paths]), expected)
    np.testing.assert_array_equal(predictor.embed_images([Image.open(path) for path in paths]), expected)


def test_class_embedding_is_the_normalised_mean_of_normalised_prompts(predictor):
    expected = []
    for name in NAMES:
        prompts = [predictor.embed_texts([template.replace("{}", name)])[0] for template in TEMPLATES]
        mean = np.mean(prompts, axis=0)
        expected.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(predictor.embed_classes(NAMES, TEMPLATES), expected, atol=1e-6)


def test_classes_are_the_softmax_of_the_scaled_cosines(model, predictor, paths):
    probabilities = predictor.classify(paths, NAMES, TEMPLATES)
    cosines = predictor.embed_images(paths).astype("float64") @ predictor.embed_classes(NAMES, TEMPLATES).T
    exponentials = np.exp(cosines * np.exp(float(model.logit_scale)))
    np.testing.assert_allclose(probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert probabilities.shape == (len(paths), 3) and probabilities.dtype == np.float32
    assert np.ptp(probabilities, axis=1).min() > 0


def test_classes_stay_finite_at_the_highest_temperature(paths):
    model = passl.create_model("ViT-B-32-quickgelu", **SMALL)
    model.logit_scale.set_value(paddle.full([], np.log(100), "float32"))
    probabilities = passl.Predictor(model).classify(paths, NAMES)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_mode_of_the_model_is_left_as_found(model, predictor):
    model.train()
    model.visual.eval()
    predictor.embed_texts(["a cat"])
    modes = model.training, model.visual.training, model.text.training
    model.eval()
    assert modes == (True, False, True)


def test_nothing_that_needs_a_gradient_is_kept(model, predictor, paths):
    predictor.classify(paths, NAMES)
    assert all(parameter.grad is None for parameter in model.parameters())


# ---------------------------------------------------------------------------------------------------- what it is built from


def test_predictor_from_a_folder_equals_that_of_the_model(model, predictor, paths, tmp_path):
    model.save_pretrained(tmp_path / "model")
    again = passl.Predictor(str(tmp_path / "model"))
    np.testing.assert_array_equal(again.classify(paths, NAMES), predictor.classify(paths, NAMES))
    assert again.tokenizer.context_length == 12


def test_named_model_without_weights_says_that_they_are_random(monkeypatch, caplog):
    monkeypatch.setitem(passl.zoo.sizes.TOWERS, "tiny", passl.zoo.sizes.Tower(64, 1, 1, 64))
    monkeypatch.setitem(passl.zoo.sizes.MODELS, "ViT-B-32", passl.zoo.sizes.Vit(16, 16, "tiny", 8, "tiny"))
    passl.Predictor("ViT-B-32")
    assert "ViT-B-32 without pretrained weights: its weights are random" in caplog.text


# ---------------------------------------------------------------------------------------------------- mistakes


def test_single_item_in_place_of_a_list_is_refused(predictor, paths):
    for call in (
        lambda: predictor.embed_images(str(paths[0])),
        lambda: predictor.embed_images(paths[0]),
        lambda: predictor.embed_images(Image.open(paths[0])),
        lambda: predictor.embed_texts("a cat"),
        lambda: predictor.classify(paths, "cat"),
        lambda: predictor.classify(paths, ["cat", "dog"], "a photo of a {}."),
    ):
        with pytest.raises(UserError, match="is one item; give a list"):
            call()


def test_template_without_a_place_for_the_name_is_refused(predictor):
    with pytest.raises(UserError, match=r"the template 'a photo' has no \{\}"):
        predictor.embed_classes(["cat", "dog"], ["a {}", "a photo"])


def test_empty_lists_are_refused(predictor, paths):
    for call in (
        lambda: predictor.embed_images([]),
        lambda: predictor.embed_texts([]),
        lambda: predictor.embed_classes(["cat"], []),
        lambda: predictor.classify(paths, []),
    ):
        with pytest.raises(UserError, match="nothing to embed: the list is empty"):
            call()


def test_unknown_backend_is_refused_with_the_accepted_one(model):
    with pytest.raises(UserError, match="backend 'tensorrt' is not there yet; accepted: 'paddle'"):
        passl.Predictor(model, backend="tensorrt")


def test_batch_size_below_one_is_refused(model):
    with pytest.raises(UserError, match="batch_size is 0"):
        passl.Predictor(model, batch_size=0)


def test_weights_for_a_network_that_is_built_already_are_refused(model):
    with pytest.raises(UserError, match="pretrained goes with a model's name"):
        passl.Predictor(model, pretrained="weights.safetensors")


def test_layer_that_is_no_network_is_refused_with_the_way_out(model):
    wrapper = CLIPWrapper(architecture=model.spec["architecture"])
    with pytest.raises(UserError, match=r"CLIPWrapper is not a network.*CLIPWrapper\(\.\.\.\)\.model"):
        passl.Predictor(wrapper)
    assert passl.Predictor(wrapper.model).embed_texts(["a cat"]).shape == (1, 16)


@pytest.mark.parametrize("missing", ["image", "text"])
def test_one_tower_embeds_its_own_kind_and_names_the_missing_one(model, paths, missing):
    network = DualEncoder(**{**{k: v for k, v in model.spec["architecture"].items() if k != "name"}, missing: None})
    predictor = passl.Predictor(network)
    calls = {"image": lambda: predictor.embed_images(paths[:1]), "text": lambda: predictor.embed_texts(["a cat"])}
    with pytest.raises(UserError, match=f"has no {missing} tower"):
        calls.pop(missing)()
    assert all(call().shape == (1, 16) for call in calls.values())


def test_missing_picture_is_named(predictor, paths):
    with pytest.raises(BadImage, match="nowhere.jpg: no such file"):
        predictor.embed_images([paths[0], "nowhere.jpg"])
