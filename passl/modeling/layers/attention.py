"""Multi-head attention. Heads are kept as [B, L, H, K], the layout that Paddle's fused kernel takes."""

from __future__ import annotations

from typing import Optional

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import Initializer

from passl.modeling.layers.initial import constant
from passl.modeling.layers.linear import Linear
from passl.modeling.layers.precision import at_least_float32
from passl.utils.compat import has_fused_attention
from passl.utils.errors import UserError


def attend(
    query: paddle.Tensor,
    key: paddle.Tensor,
    value: paddle.Tensor,
    is_causal: bool = False,
    key_mask: Optional[paddle.Tensor] = None,
) -> paddle.Tensor:
    """softmax(q kᵀ / √K) v for every head; the softmax in float32 or wider.

    Args:
        query: [B, Lq, H, K].
        key: [B, L, H, K].
        value: [B, L, H, K].
        is_causal: a token sees itself and those before it (then Lq = L).
        key_mask: [B, L] boolean, the keys that are seen; all of them if not given. A row that sees none, of padding
            alone, attends to some of them, so that its numbers stay finite.

    Returns:
        [B, Lq, H, K]

    Raises:
        ValueError: `is_causal` and `key_mask` together, which no tower needs and fused kernels do not take.
    """
    if is_causal and key_mask is not None:
        raise ValueError("attention is causal or has a mask of keys, not both")
    if has_fused_attention(query):
        mask = None
        if key_mask is not None:
            mask = padding_mask(key_mask, query.dtype).expand([-1, -1, query.shape[1], -1])  # [B, 1, Lq, L]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=is_causal)
    scale = query.shape[-1] ** -0.5
    query = (scale * query).transpose([0, 2, 1, 3])  # [B, H, Lq, K]
    key = key.transpose([0, 2, 1, 3])  # [B, H, L, K]
    value = value.transpose([0, 2, 1, 3])  # [B, H, L, K]
    scores = at_least_float32(paddle.matmul(query, key, transpose_y=True))  # [B, H, Lq, L]
    if is_causal:
        scores = scores + causal_mask(scores.shape[-1], scores.dtype)
    if key_mask is not None:
        scores = scores + padding_mask(key_mask, scores.dtype)
    weights = F.softmax(scores, axis=-1).astype(value.dtype)
    return paddle.matmul(weights, value).transpose([0, 2, 1, 3])  # [B, Lq, H, K]


def causal_mask(length: int, dtype: paddle.dtype) -> paddle.Tensor:
    """What is added to the scores [L, L] so that no token sees a later one: -∞ above the diagonal, 0 elsewhere."""
    return paddle.triu(paddle.full([length, length], float("-inf"), dtype=dtype), diagonal=1)


def padding_mask(key_mask: paddle.Tensor, dtype: paddle.dtype) -> paddle.Tensor:
    """What is added to the scores, [B, 1, 1, L], so that no token sees a key outside the mask: 0, or far below all scores."""
    # Scores are added: in float16 they must not push the sum to -∞, of which a whole row would have no softmax.
    lowest = -3e4 if dtype == paddle.float16 else -3e38
    hidden = paddle.logical_not(key_mask).astype(dtype)
    return (hidden * lowest).unsqueeze([1, 2])


class Attention(nn.Layer):
    """Self-attention with separate projections to queries, keys and values.

    Separate ones because the backward of slicing them out of one product costs more than the two products saved
    (12 % of a training step on a CPU).

    Args:
        width: D.
        num_heads: H; divides D.
        qkv_bias: whether the projections to queries, keys and values have a bias.
        is_causal: a token sees itself and those before it.
        initial_qkv: what the weights of these three projections start from.
        initial_out: what the weight of the output projection starts from. All biases start from 0.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        qkv_bias: bool,
        is_causal: bool,
        initial_qkv: Initializer,
        initial_out: Initializer,
    ) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise UserError(f"attention of width {width} cannot be split into {num_heads} heads of equal width")
        self.num_heads = num_heads
        self.is_causal = is_causal
        zero = constant(0.0)
        self.q_proj = Linear(width, width, qkv_bias, initial_qkv, zero)
        self.k_proj = Linear(width, width, qkv_bias, initial_qkv, zero)
        self.v_proj = Linear(width, width, qkv_bias, initial_qkv, zero)
        self.out_proj = Linear(width, width, True, initial_out, zero)

    def forward(self, x: paddle.Tensor, key_mask: Optional[paddle.Tensor] = None) -> paddle.Tensor:
        """[B, L, D] -> [B, L, D]; `key_mask` [B, L] are the tokens that are seen."""
        query = split_heads(self.q_proj(x), self.num_heads)  # [B, L, H, K]
        key = split_heads(self.k_proj(x), self.num_heads)  # [B, L, H, K]
        value = split_heads(self.v_proj(x), self.num_heads)  # [B, L, H, K]
        x = attend(query, key, value, self.is_causal, key_mask)  # [B, L, H, K]
        return self.out_proj(x.flatten(2))  # [B, L, D]


def split_heads(x: paddle.Tensor, num_heads: int) -> paddle.Tensor:
    """[B, L, D] -> [B, L, H, K]"""
    return x.reshape([0, 0, num_heads, x.shape[-1] // num_heads])
