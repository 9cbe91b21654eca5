from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from passl.checkpoint import layer_arrays, to_family
from passl.modeling.architectures import CLIPWrapper
from passl.modeling.heads import CLIPHead
from passl.modeling.losses import LossPart
from passl.utils.errors import UserError
from passl.utils.registry import MODELS


@pytest.fixture
def wrapper(tiny) -> CLIPWrapper:
    paddle.seed(0)
    return CLIPWrapper(architecture=tiny)


@pytest.fixture
def batch(tiny) -> dict:
    return {
        "image": paddle.randn([4, 3, tiny["image_resolution"], tiny["image_resolution"]]),
        "text": paddle.randint(0, tiny["vocab_size"], [4, tiny["context_length"]]),
        "index": paddle.arange(4),
    }


def test_the_old_notebook_builds_its_model():
    # The arguments of the old documentation, with smaller numbers.
    arch = {
        "name": "CLIP",
        "embed_dim": 16,
        "image_resolution": 32,
        "vision_layers": 1,
        "vision_width": 64,
        "vision_patch_size": 16,
        "context_length": 77,
        "vocab_size": 49408,
        "transformer_width": 16,
        "transformer_heads": 2,
        "transformer_layers": 1,
        "qkv_bias": True,
    }
    model = CLIPWrapper(architectual=arch, head={"name": "ClipCNHead"})
    assert isinstance(model.head, CLIPHead)
    assert model.model.activations == ("quick_gelu",)
    assert model.model.encode_image(paddle.randn([2, 3, 32, 32])).shape == [2, 16]
    assert model.model.encode_text(paddle.zeros([2, 77], dtype="int64")).shape == [2, 16]
    assert model.model.visual.norm_pre.weight.shape == [64]
    assert model.model.visual.proj.shape == [64, 16]
    assert model.model.visual.patch_embed.proj.bias is None


@pytest.mark.parametrize("both", [True, False])
def test_exactly_one_architecture_is_needed(tiny, both):
    given = {"architecture": tiny, "architectual": tiny} if both else {}
    with pytest.raises(UserError, match="`architecture` .*`architectual`, and only one"):
        CLIPWrapper(**given)


def test_wrapper_is_built_from_a_config_node(tiny):
    model = MODELS.build({"name": "CLIPWrapper", "architecture": tiny})
    assert isinstance(model.head, CLIPHead)


def test_features_are_of_unit_length_and_float32(wrapper, batch):
    features = wrapper.features(batch)
    assert features.keys() == {"image", "text"}
    for rows in features.values():
        assert rows.dtype == paddle.float32
        np.testing.assert_allclose(np.linalg.norm(rows.numpy(), axis=-1), 1, rtol=1e-6)


def test_features_depend_on_their_own_pair_alone(wrapper, batch):
    whole = wrapper.features(batch)
    part = wrapper.features({name: value[1:3] for name, value in batch.items()})
    for name in whole:
        np.testing.assert_allclose(whole[name][1:3].numpy(), part[name].numpy(), atol=1e-6)


def test_losses_are_named_parts_and_their_total(wrapper, batch):
    losses = wrapper(batch)
    assert list(losses) == ["img_loss", "text_loss", "batch_accuracy", "logit_scale", "loss"]
    assert all(isinstance(part, LossPart) for name, part in losses.items() if name != "loss")
    expected = (float(losses["img_loss"].sum) + float(losses["text_loss"].sum)) / 8
    assert float(losses["loss"]) == pytest.approx(expected, rel=1e-6)


def test_a_few_steps_lower_the_loss(wrapper, batch):
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=wrapper.parameters())
    values = []
    for _ in range(8):
        loss = wrapper(batch)["loss"]
        values.append(float(loss))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        wrapper.constrain()
    assert values[-1] < 0.5 * values[0]


def test_constrain_clamps_the_temperature(wrapper):
    wrapper.model.logit_scale.set_value(paddle.to_tensor(6.0))
    wrapper.constrain()
    assert float(wrapper.model.logit_scale) == pytest.approx(math.log(100))


def test_the_contrastive_loss_may_not_be_accumulated_in_parts(wrapper):
    assert wrapper.row_independent_loss is False


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("layout", ["passl", "passl-2021"])
def test_set_state_dict_takes_names_with_and_without_the_prefix(tiny, wrapper, prefix, layout):
    expected = layer_arrays(wrapper.model)
    ours = {prefix + name: value for name, value in expected.items()}
    given = ours if layout == "passl" else to_family(expected, layout, prefix=prefix)
    other = CLIPWrapper(architecture=tiny)
    other.set_state_dict(given)
    assert all(np.array_equal(value, expected[name]) for name, value in layer_arrays(other.model).items())


def test_set_state_dict_takes_its_own_state_dict(tiny, wrapper):
    other = CLIPWrapper(architecture=tiny)
    other.set_state_dict(wrapper.state_dict())
    assert np.array_equal(other.model.visual.proj.numpy(), wrapper.model.visual.proj.numpy())


def test_set_state_dict_refuses_weights_of_another_model(tiny, wrapper):
    other = CLIPWrapper(architecture={**tiny, "vision_layers": 1})
    with pytest.raises(UserError, match="not in the model"):
        other.set_state_dict(wrapper.state_dict())
