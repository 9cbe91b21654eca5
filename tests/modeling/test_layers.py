from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from passl.modeling.layers import (
    Attention,
    AttentionPool2d,
    BlockInit,
    LayerNorm,
    LayerScale,
    Linear,
    PatchEmbed,
    Pooler,
    PostNormBlock,
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


def test_gelu_tanh_is_the_approximation_by_a_hyperbolic_tangent():
    x = np.linspace(-6, 6, 101)
    expected = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(activation_function("gelu_tanh")(paddle.to_tensor(x)).numpy(), expected, atol=1e-12)


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


def test_attend_sees_only_the_keys_of_the_mask():
    query, key, value = paddle.randn([3, 2, 5, 3, 4]).unbind(0)  # each [B, L, H, K]
    mask = paddle.to_tensor([[True] * 5, [True, True, False, True, False]])
    found = attend(query, key, value, key_mask=mask).numpy()
    np.testing.assert_array_equal(found[:1], attend(query[:1], key[:1], value[:1]).numpy())
    seen = paddle.to_tensor([0, 1, 3])
    expected = attend(query[1:], key[1:].index_select(seen, 1), value[1:].index_select(seen, 1)).numpy()
    np.testing.assert_allclose(found[1:], expected, atol=1e-6)


def test_attend_without_any_key_takes_the_mean():
    value = paddle.randn([1, 4, 1, 2])
    found = attend(value, value, value, key_mask=paddle.zeros([1, 4], dtype="bool"))
    np.testing.assert_allclose(found.numpy(), value.mean(axis=1, keepdim=True).expand([1, 4, 1, 2]).numpy(), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_fused_attention_is_given_the_mask(monkeypatch, dtype):
    # Stands in for the kernel, which needs a GPU: the same formula, in float32.
    def fused(query, key, value, attn_mask, is_causal):
        assert not is_causal and attn_mask.shape == [2, 1, 5, 5] and attn_mask.dtype == query.dtype
        assert bool(paddle.isfinite(attn_mask.astype("float32")).all())
        query, key, value = (x.astype("float32").transpose([0, 2, 1, 3]) for x in (query, key, value))
        scores = paddle.matmul(query, key, transpose_y=True) / 2 + attn_mask.astype("float32")
        return paddle.matmul(paddle.nn.functional.softmax(scores), value).transpose([0, 2, 1, 3])

    query, key, value = paddle.randn([3, 2, 5, 3, 4]).unbind(0)
    mask = paddle.to_tensor([[True] * 5, [True, True, False, True, False]])
    expected = attend(query, key, value, key_mask=mask)
    monkeypatch.setattr("passl.modeling.layers.attention.has_fused_attention", lambda _: True)
    monkeypatch.setattr("paddle.nn.functional.scaled_dot_product_attention", fused)
    found = attend(*(x.astype(dtype) for x in (query, key, value)), key_mask=mask)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6 if dtype == "float32" else 2e-3)


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


def test_layer_scale_multiplies_each_channel():
    scale = LayerScale(3, initial=0.5)
    assert scale.gamma.numpy().tolist() == [0.5] * 3
    scale.gamma.set_value(np.array([1, 2, 3], "float32"))
    np.testing.assert_allclose(scale(paddle.ones([1, 2, 3])).numpy(), [[[1, 2, 3]] * 2])


def test_pooler_reads_the_first_token_alone():
    pooler, x = Pooler(4), paddle.randn([2, 3, 4])
    other = paddle.concat([x[:, :1], paddle.randn([2, 5, 4])], axis=1)
    np.testing.assert_array_equal(pooler(x).numpy(), pooler(other).numpy())
    assert float(pooler(100 * x).abs().max()) <= 1


def test_layer_norm_adds_its_epsilon_to_the_variance():
    x = np.array([[1e-3, -1e-3]])
    for epsilon in (1e-5, 1e-6):
        norm = LayerNorm(2, epsilon)
        norm.to(dtype="float64")
        np.testing.assert_allclose(norm(paddle.to_tensor(x)).numpy(), x / math.sqrt(1e-6 + epsilon), rtol=1e-6)


def test_post_norm_block_ends_in_a_norm():
    small = normal(0.02)
    block = PostNormBlock(8, 2, 16, "gelu", BlockInit(small, small, small, small), norm_epsilon=1e-12)
    found = block(paddle.randn([2, 3, 8])).numpy()
    np.testing.assert_allclose(found.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=-1), 1, atol=1e-5)
