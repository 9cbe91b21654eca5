import numpy as np
import paddle
import pytest

from passl.optim import AdamW, GroupRule
from passl.utils.errors import UserError


def layer_and_optimizer(**settings):
    layer = paddle.nn.Linear(3, 2)
    return layer, AdamW(dict(layer.named_parameters()), 8, **{"lr": 0.1, **settings})


def train(layer, optimizer, num_steps, first=0):
    for step in range(first, first + num_steps):
        x = paddle.to_tensor(np.random.default_rng(step).normal(size=(4, 3)).astype("float32"))
        (layer(x) ** 2).sum().backward()
        optimizer.step(optimizer.peak_lr)


def reference_adamw(weight, gradients, lr, betas, eps, decay):
    """The update of arXiv:1711.05101, algorithm 2, in float64."""
    weight, m, v = weight.astype("float64"), 0.0, 0.0
    for t, gradient in enumerate(gradients, start=1):
        gradient = gradient.astype("float64")
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        weight = weight * (1 - lr * decay)
        weight = weight - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return weight


def test_adamw_equals_the_published_update():
    layer, optimizer = layer_and_optimizer(weight_decay=0.3, eps=1e-3)
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    rng = np.random.default_rng(0)
    gradients = {name: rng.normal(size=(5, *p.shape)).astype("float32") for name, p in layer.named_parameters()}
    for step in range(5):
        sum((p * paddle.to_tensor(gradients[name][step])).sum() for name, p in layer.named_parameters()).backward()
        optimizer.step(0.1)
    np.testing.assert_allclose(
        layer.weight.numpy(), reference_adamw(weight, gradients["weight"], 0.1, (0.9, 0.98), 1e-3, 0.3), atol=1e-6
    )
    np.testing.assert_allclose(
        layer.bias.numpy(), reference_adamw(bias, gradients["bias"], 0.1, (0.9, 0.98), 1e-3, 0.0), atol=1e-6
    )


def test_adamw_state_continues_bit_for_bit_in_a_model_with_other_generated_names():
    layer, optimizer = layer_and_optimizer()
    train(layer, optimizer, 3)
    state = optimizer.state_arrays()
    other, other_optimizer = layer_and_optimizer()
    other.set_state_dict(layer.state_dict())
    other_optimizer.load_state_arrays(state)
    assert other.weight.name != layer.weight.name
    train(layer, optimizer, 3, first=3)
    train(other, other_optimizer, 3, first=3)
    assert np.array_equal(layer.weight.numpy(), other.weight.numpy())
    for key, array in optimizer.state_arrays().items():
        assert np.array_equal(array, other_optimizer.state_arrays()[key]), key


def test_adamw_state_loaded_and_saved_again_before_a_step_is_the_same():
    layer, optimizer = layer_and_optimizer()
    train(layer, optimizer, 2)
    state = optimizer.state_arrays()
    other = layer_and_optimizer()[1]
    other.load_state_arrays(state)
    assert other.state_arrays().keys() == state.keys() and len(state) == 8
    assert all(np.array_equal(array, state[key]) for key, array in other.state_arrays().items())


def test_adamw_state_of_another_model_is_refused():
    layer, optimizer = layer_and_optimizer()
    train(layer, optimizer, 1)
    state = optimizer.state_arrays()
    with pytest.raises(UserError, match="no trainable parameter"):
        layer_and_optimizer()[1].load_state_arrays({"moment1_0/other": state["moment1_0/weight"]})
    with pytest.raises(UserError, match=r"shape \[1, 3\]"):
        layer_and_optimizer()[1].load_state_arrays({**state, "moment1_0/weight": np.zeros((1, 3), "float32")})
    del state["moment1_0/bias"]
    with pytest.raises(UserError, match="lacks moment1_0/bias"):
        layer_and_optimizer()[1].load_state_arrays(state)


def test_rate_is_scaled_from_the_base_batch():
    assert layer_and_optimizer(lr=1e-4, base_batch_size=1024)[1].peak_lr == pytest.approx(1e-4 * 8 / 1024)


def test_rule_scales_the_rate_of_its_group():
    layer, optimizer = layer_and_optimizer(weight_decay=0.0, eps=0.0, groups=[GroupRule(pattern="bias", lr_scale=0.1)])
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    (layer.weight.sum() + layer.bias.sum()).backward()
    optimizer.step(0.5)
    np.testing.assert_allclose(weight - layer.weight.numpy(), 0.5, rtol=1e-4)
    np.testing.assert_allclose(bias - layer.bias.numpy(), 0.05, rtol=1e-4)


def test_rule_of_rate_zero_freezes():
    layer, optimizer = layer_and_optimizer(groups=[{"pattern": "weight", "lr_scale": 0.0}])
    before = layer.weight.numpy()
    train(layer, optimizer, 2)
    assert np.array_equal(before, layer.weight.numpy()) and layer.weight.stop_gradient
    assert optimizer.frozen == ["weight"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"groups": [GroupRule(pattern="visual")]}, "no parameter's name matches the pattern 'visual'"),
        ({"groups": [GroupRule(pattern=".", lr_scale=0)]}, "freezes every parameter"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"clip_grad_norm": 0.0}, "clip_grad_norm is 0.0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        layer_and_optimizer(**settings)


def test_bad_pattern_is_refused():
    with pytest.raises(UserError, match="not a regular expression"):
        GroupRule(pattern="(")
