from __future__ import annotations

import json
import math

import numpy as np
import paddle
import pytest

from passl.checkpoint import layer_arrays, to_family
from passl.modeling.architectures import CLIP, architecture_from_spec
from passl.utils.errors import UserError
from passl.utils.registry import ARCHITECTURES
from passl.zoo.names import architecture_of

# Millions of parameters of the nine models, as the original code's models have them.
MILLIONS = {
    "RN50": 102.01,
    "RN101": 119.69,
    "RN50x4": 178.30,
    "RN50x16": 290.98,
    "RN50x64": 623.26,
    "ViT-B-32": 151.28,
    "ViT-B-16": 149.62,
    "ViT-L-14": 427.62,
    "ViT-L-14-336": 427.94,
}


def build(architecture: dict, **changes) -> CLIP:
    return ARCHITECTURES.build({**architecture, **changes})


@pytest.fixture
def model(tiny) -> CLIP:
    return build(tiny)


def batch_of(architecture: dict, size: int = 3):
    paddle.seed(1)
    side = architecture["image_resolution"]
    image = paddle.randn([size, 3, side, side])
    return image, paddle.randint(0, architecture["vocab_size"], [size, architecture["context_length"]])


@pytest.mark.parametrize("name", MILLIONS)
def test_parameter_count_equals_the_table(name):
    with paddle.LazyGuard():  # shapes without memory
        model = ARCHITECTURES.build(architecture_of(name))
    # Running statistics of batch norms stand among Paddle's parameters, without gradient.
    count = sum(math.prod(value.shape) for value in model.parameters() if not value.stop_gradient)
    assert round(count / 1e6, 2) == MILLIONS[name]


@pytest.mark.parametrize("kind", ["tiny", "tiny_resnet"])
def test_gradient_reaches_every_parameter(kind, request):
    architecture = request.getfixturevalue(kind)
    model = build(architecture)
    image, text = batch_of(architecture)
    for name, value in model.named_parameters():
        if name.endswith("bn3.weight"):  # starts at 0, which would stop the gradient of the whole branch
            value.set_value(paddle.ones(value.shape))
    sum((logits**2).mean() for logits in model(image, text)).backward()
    trainable = {name: value for name, value in model.named_parameters() if not value.stop_gradient}
    silent = [name for name, value in trainable.items() if value.grad is None or float(value.grad.abs().max()) == 0]
    assert not silent


def test_logits_are_scaled_cosines(model, tiny):
    image, text = batch_of(tiny)
    logits_per_image, logits_per_text = model(image, text[:2])
    images, texts = model.encode_image(image).numpy(), model.encode_text(text[:2]).numpy()
    images, texts = (rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (images, texts))
    np.testing.assert_allclose(logits_per_image.numpy(), images @ texts.T / 0.07, rtol=1e-4)
    np.testing.assert_array_equal(logits_per_text.numpy(), logits_per_image.numpy().T)


def test_embeddings_are_of_unit_length_when_asked(model, tiny):
    image, text = batch_of(tiny)
    for rows in (model.encode_image(image, normalize=True), model.encode_text(text, normalize=True)):
        assert rows.shape == [3, 16]
        np.testing.assert_allclose(np.linalg.norm(rows.numpy(), axis=-1), 1, rtol=1e-6)


def test_a_float64_model_computes_in_float64(tiny):
    model = build(tiny)
    model.to(dtype="float64")
    image, text = batch_of(tiny)
    logits, _ = model(image.astype("float64"), text)
    assert logits.dtype == paddle.float64


def test_activations_give_different_features(tiny):
    quick, exact = build(tiny, activation="quick_gelu"), build(tiny, activation="gelu")
    exact.set_state_dict(quick.state_dict())
    image, text = batch_of(tiny)
    assert float((quick.encode_image(image) - exact.encode_image(image)).abs().max()) > 1e-4
    assert float((quick.encode_text(text) - exact.encode_text(text)).abs().max()) > 1e-4


def test_temperature_starts_at_seven_hundredths(model):
    assert float(model.logit_scale) == pytest.approx(2.6593, abs=1e-4)


@pytest.mark.parametrize("before, after", [(7.0, math.log(100)), (3.0, 3.0), (-1.0, -1.0)])
def test_clamp_bounds_the_scale_by_one_hundred(model, before, after):
    model.logit_scale.set_value(paddle.to_tensor(before))
    model.clamp_logit_scale()
    assert float(model.logit_scale) == pytest.approx(after, rel=1e-6)
    assert model.logit_scale.shape == [] and not model.logit_scale.stop_gradient


def test_forward_changes_no_parameter(model, tiny):
    model.logit_scale.set_value(paddle.to_tensor(9.0))
    before = layer_arrays(model)
    model(*batch_of(tiny))
    assert all(np.array_equal(value, before[name]) for name, value in layer_arrays(model).items())


def test_seed_decides_the_initial_weights(tiny):
    def weights(seed):
        paddle.seed(seed)
        return np.concatenate([value.ravel() for value in layer_arrays(build(tiny)).values()])

    assert np.array_equal(weights(3), weights(3))
    assert not np.array_equal(weights(3), weights(4))


@pytest.mark.parametrize("kind", ["tiny", "tiny_resnet"])
def test_both_towers_become_static_graphs_that_compute_the_same(kind, request, tmp_path):
    architecture = request.getfixturevalue(kind)
    model = build(architecture)
    model.eval()
    image, text = batch_of(architecture)
    for tower, given in ((model.visual, image), (model.text, text)):
        spec = paddle.static.InputSpec([None, *given.shape[1:]], str(given.dtype).rpartition(".")[2])
        path = str(tmp_path / type(tower).__name__)
        paddle.jit.save(paddle.jit.to_static(tower, input_spec=[spec], full_graph=True), path)
        with paddle.no_grad():
            found, expected = paddle.jit.load(path)(given), type(tower).forward(tower, given)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)


# ---------------------------------------------------------------------------------------------------- choices


def test_pre_norm_proj_and_patch_bias_decide_which_parameters_there_are(tiny):
    def names(**changes):
        return set(build(tiny, **changes).state_dict())

    usual = names()
    assert usual - names(pre_norm=False) == {"visual.norm_pre.weight", "visual.norm_pre.bias"}
    assert usual - names(proj=False, embed_dim=tiny["vision_width"]) == {"visual.proj"}
    assert names(patch_bias=True) - usual == {"visual.patch_embed.proj.bias"}
    without = usual - names(qkv_bias=False)
    assert len(without) == 12 and all(name.endswith(("q_proj.bias", "k_proj.bias", "v_proj.bias")) for name in without)


def test_all_choices_together_run(tiny):
    model = build(tiny, pre_norm=False, proj=False, patch_bias=True, qkv_bias=False, embed_dim=tiny["vision_width"])
    assert model.encode_image(batch_of(tiny)[0]).shape == [3, tiny["vision_width"]]


def test_image_heads_are_64_wide_unless_said():
    sizes = dict(embed_dim=8, image_resolution=8, vision_layers=1, vision_patch_size=8, vocab_size=10)
    text = dict(transformer_width=8, transformer_heads=1, transformer_layers=1)
    assert CLIP(vision_width=128, **sizes, **text).visual.blocks[0].attn.num_heads == 2
    with pytest.raises(UserError, match="width 96, which heads of width 64 do not fill; .* vision_heads"):
        CLIP(vision_width=96, **sizes, **text)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"vision_patch_size": None}, "needs vision_patch_size"),
        ({"vision_patch_size": 33}, "32 pixels cannot be cut into squares of 33"),
        ({"transformer_heads": 5}, "transformer_width 32 is not a multiple of transformer_heads 5"),
        ({"embed_dim": 0}, "embed_dim is 0"),
        ({"vision_layers": -1}, "vision_layers is -1"),
        ({"vision_layers": [1, 1, 1, 1]}, "vision_patch_size: 8 is for vision transformers"),
        ({"image_std": (0.5, 0.0, 0.5)}, "image_std"),
        ({"image_mean": (0.5, 0.5)}, "image_mean"),
    ],
)
def test_impossible_sizes_are_refused(tiny, change, message):
    with pytest.raises(UserError, match=message):
        build(tiny, **change)


@pytest.mark.parametrize("change", [{"pre_norm": False}, {"proj": False}, {"patch_bias": True}])
def test_a_resnet_refuses_the_choices_of_a_vision_transformer(tiny_resnet, change):
    with pytest.raises(UserError, match=f"{next(iter(change))}: .* is for vision transformers"):
        build(tiny_resnet, **change)


# ---------------------------------------------------------------------------------------------------- specification


@pytest.mark.parametrize("kind", ["tiny", "tiny_resnet"])
def test_spec_builds_the_same_model_after_a_way_through_json(kind, request):
    changes = {"image_mean": (0.5, 0.5, 0.5), "image_resize_mode": "squash", "activation": "gelu"}
    model = build(request.getfixturevalue(kind), **changes)
    again = ARCHITECTURES.build(architecture_from_spec(json.loads(json.dumps(model.spec))))
    assert again.spec == model.spec
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


def test_spec_says_size_activation_and_tokenizer(model):
    assert model.spec["preprocessing"] == {
        "size": 32,
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    assert model.spec["architecture"]["name"] == "DualEncoder"
    assert model.activations == ("quick_gelu",)
    assert model.spec["tokenizer"] == {"name": "ClipTokenizer", "context_length": 16}


# ---------------------------------------------------------------------------------------------------- weights


def test_set_state_dict_takes_over_every_array(tiny):
    source, target = build(tiny), build(tiny)
    target.set_state_dict(source.state_dict())
    expected = layer_arrays(source)
    assert all(np.array_equal(value, expected[name]) for name, value in layer_arrays(target).items())


@pytest.mark.parametrize("wrap", [lambda arrays: arrays, lambda arrays: {"state_dict": arrays}])
@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("kind", ["tiny", "tiny_resnet"])
def test_set_state_dict_reads_the_layout_of_passl(kind, prefix, wrap, request):
    architecture = request.getfixturevalue(kind)
    source, target = build(architecture), build(architecture)
    target.set_state_dict(wrap(to_family(layer_arrays(source), "passl-2021", prefix=prefix)))
    expected = layer_arrays(source)
    assert all(np.array_equal(value, expected[name]) for name, value in layer_arrays(target).items())


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda arrays: arrays.pop("visual.proj"), "visual.proj: expected"),
        (lambda arrays: arrays.update(extra=np.zeros(3, "float32")), "extra"),
        (lambda arrays: arrays.update(logit_scale=np.zeros([2], "float32")), r"expected \[\] .*found \[2\]"),
    ],
)
@pytest.mark.parametrize("method", ["set_state_dict", "set_dict", "load_dict"])
def test_set_state_dict_is_strict_and_changes_nothing_when_it_refuses(tiny, damage, message, method):
    source, target = build(tiny), build(tiny)
    arrays, before = layer_arrays(source), layer_arrays(target)
    damage(arrays)
    with pytest.raises(UserError, match=message):
        getattr(target, method)(arrays)
    assert all(np.array_equal(value, before[name]) for name, value in layer_arrays(target).items())


def test_weights_of_passl_are_refused_by_a_gelu_model(tiny):
    weights = to_family(layer_arrays(build(tiny)), "passl-2021")
    with pytest.raises(UserError, match="trained with activation 'quick_gelu' and this model has 'gelu'"):
        build(tiny, activation="gelu").set_state_dict(weights)
