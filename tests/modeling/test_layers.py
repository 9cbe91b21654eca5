from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from passl.modeling.layers import (
    Attention,
    AttentionPool2d,
    Linear,
    PatchEmbed,
    activation_function,
    at_least_float32,
    attend,
    normal,
    unit_length,
)
from passl.utils.compat import has_fused_attention
from passl.utils.errors import UserError


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_quick_gelu_is_x_times_sigmoid_of_1_702_x():
    x = np.linspace(-6, 6, 101)
    found = activation_function("quick_gelu")(paddle.to_tensor(x)).numpy()
    np.testing.assert_allclose(found, x / (1 + np.exp(-1.702 * x)), rtol=1e-12)


def test_gelu_uses_the_exact_normal_distribution_function():
    x = np.linspace(-6, 6, 101)
    expected = [0.5 * value * (1 + math.erf(value / math.sqrt(2))) for value in x]
    np.testing.assert_allclose(activation_function("gelu")(paddle.to_tensor(x)).numpy(), expected, atol=1e-12)


def test_unknown_activation_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match="'quickgelu'.* Did you mean 'quick_gelu'"):
        activation_function("quickgelu")


@pytest.mark.parametrize("is_causal", [False, True])
def test_attend_equals_the_formula(is_causal):
    rng = np.random.default_rng(0)
    query, key, value = rng.normal(size=[3, 2, 5, 3, 4])  # each [B, L, H, K]
    scores = np.einsum("blhk,bmhk->bhlm", query, key) / 2
    if is_causal:
        scores = np.where(np.tril(np.ones([5, 5], bool)), scores, -np.inf)
    expected = np.einsum("bhlm,bmhk->blhk", softmax(scores), value)
    found = attend(*map(paddle.to_tensor, (query, key, value)), is_causal=is_causal)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_attend_stays_finite_for_huge_scores():
    query = paddle.full([1, 3, 1, 4], 1e4)
    assert bool(paddle.isfinite(attend(query, query, query, is_causal=True)).all())


def test_attention_refuses_a_width_that_its_heads_do_not_fill():
    with pytest.raises(UserError, match="width 10 cannot be split into 4 heads"):
        Attention(10, 4, qkv_bias=True, is_causal=False, initial_qkv=normal(1.0), initial_out=normal(1.0))


def test_attention_without_qkv_bias_keeps_the_bias_of_its_output():
    attention = Attention(8, 2, qkv_bias=False, is_causal=False, initial_qkv=normal(1.0), initial_out=normal(1.0))
    biases = [name for name, _ in attention.named_parameters() if name.endswith("bias")]
    assert biases == ["out_proj.bias"]


def test_attention_pool_sees_where_features_stand():
    pool = AttentionPool2d(grid_size=2, width=8, num_heads=2, output_dim=4)
    features = paddle.randn([1, 8, 2, 2])
    assert float((pool(features) - pool(features.flip([3]))).abs().max()) > 1e-3


def test_patch_embed_orders_squares_by_rows():
    embed = PatchEmbed(patch_size=2, width=1, has_bias=False)
    embed.proj.weight.set_value(np.ones([1, 3, 2, 2], "float32"))
    squares = np.arange(6, dtype="float32").reshape([2, 3])
    image = np.kron(squares, np.ones([2, 2], "float32"))[None, None].repeat(3, axis=1)  # [1, 3, 4, 6]
    np.testing.assert_allclose(embed(paddle.to_tensor(image)).numpy()[0, :, 0], 12 * np.arange(6))


def test_unit_length_gives_rows_of_norm_one_in_the_dtype_of_wide_input():
    x = paddle.randn([4, 8], dtype="float64") * 1e-3
    found = unit_length(x)
    assert found.dtype == paddle.float64
    np.testing.assert_allclose(np.linalg.norm(found.numpy(), axis=-1), 1, rtol=1e-12)


def test_unit_length_of_zeros_is_zero_with_a_finite_gradient():
    x = paddle.zeros([1, 4])
    x.stop_gradient = False
    found = unit_length(x)
    found.sum().backward()
    assert float(found.abs().max()) == 0
    assert bool(paddle.isfinite(x.grad).all())


@pytest.mark.parametrize("given, expected", [("float16", "float32"), ("bfloat16", "float32"), ("float64", "float64")])
def test_at_least_float32_only_widens(given, expected):
    assert at_least_float32(paddle.ones([2]).astype(given)).dtype == getattr(paddle, expected)


def test_linear_starts_uniform_over_the_root_of_its_input_width():
    linear = Linear(400, 300)
    for parameter in (linear.weight, linear.bias):
        assert 0.045 < float(parameter.abs().max()) <= 0.05


def test_linear_computes_the_same_with_and_without_gradient():
    linear, x = Linear(5, 3), paddle.randn([2, 4, 5])
    with_gradient = linear(x)
    with paddle.no_grad():
        without = linear(x)
    np.testing.assert_array_equal(with_gradient.numpy(), without.numpy())


def test_linear_sums_the_gradient_of_its_bias_over_all_rows():
    linear, x = Linear(5, 3), paddle.randn([2, 4, 5])
    weights = paddle.randn([2, 4, 3])
    (linear(x) * weights).sum().backward()
    np.testing.assert_allclose(linear.bias.grad.numpy(), weights.numpy().sum(axis=(0, 1)), rtol=1e-5)


def test_fused_attention_is_left_to_half_precision_on_a_gpu():
    assert not has_fused_attention(paddle.zeros([1, 2, 1, 8]))
    assert not has_fused_attention(paddle.zeros([1, 2, 1, 8], dtype="float16").cpu())
