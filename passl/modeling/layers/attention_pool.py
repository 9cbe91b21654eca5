"""How attention turns a map of features, or tokens, into one."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn.initializer import Initializer

from passl.modeling.layers.attention import attend, split_heads
from passl.modeling.layers.initial import constant, new_parameter, normal
from passl.modeling.layers.linear import Linear
from passl.modeling.layers.mlp import MLP
from passl.modeling.layers.norm import LayerNorm
from passl.modeling.layers.precision import mean_in_float32
from passl.utils.errors import UserError


class AttentionPool2d(nn.Layer):
    """Attention of the mean over all positions to the positions, for the ResNets of CLIP (its paper, section 2.4).

    Args:
        grid_size: height and width of the map; its positions have learned embeddings.
        width: D, channels of the map.
        num_heads: H; divides D.
        output_dim: E.
        qkv_bias: whether the projections to queries, keys and values have a bias.
    """

    def __init__(self, grid_size: int, width: int, num_heads: int, output_dim: int, qkv_bias: bool = True) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise UserError(f"attention pooling of width {width} cannot be split into {num_heads} heads of equal width")
        self.num_heads = num_heads
        # Scores of unit variance from positions and features alike, as for every product here.
        initial = normal(width**-0.5)
        self.positional_embedding = new_parameter(self, [grid_size**2 + 1, width], initial)
        self.q_proj = Linear(width, width, qkv_bias, initial)
        self.k_proj = Linear(width, width, qkv_bias, initial)
        self.v_proj = Linear(width, width, qkv_bias, initial)
        self.c_proj = Linear(width, output_dim, True, initial)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, D, height, width] -> [B, E]"""
        x = x.flatten(2).transpose([0, 2, 1])  # [B, L, D]
        x = paddle.concat([mean_in_float32(x, axis=1, keepdim=True), x], axis=1)  # [B, 1 + L, D]
        x = x + self.positional_embedding
        query = split_heads(self.q_proj(x[:, :1]), self.num_heads)  # [B, 1, H, K]
        key = split_heads(self.k_proj(x), self.num_heads)  # [B, 1 + L, H, K]
        value = split_heads(self.v_proj(x), self.num_heads)  # [B, 1 + L, H, K]
        x = attend(query, key, value)  # [B, 1, H, K]
        return self.c_proj(x.flatten(1))  # [B, E]


class LatentAttentionPool(nn.Layer):
    """Attention of one learned query to all tokens, then x + MLP(norm(x)): SigLIP's head.

    Source: the multi-head attention pooling of Zhai et al., arXiv:2106.04560, section 3.2.

    Args:
        width: D.
        num_heads: H; divides D.
        mlp_width: width between the two layers of the MLP.
        activation: the MLP's.
        norm_epsilon: of the norm.
        initial: what the weights start from. All biases start from 0, the query from a token of length 0.88 (timm cuts
            a normal distribution for a length of 1 off at two deviations).
    """

    def __init__(
        self, width: int, num_heads: int, mlp_width: int, activation: str, norm_epsilon: float, initial: Initializer
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        zero = constant(0.0)
        self.latent = new_parameter(self, [width], normal(0.88 * width**-0.5))
        self.q_proj = Linear(width, width, True, initial, zero)
        self.k_proj = Linear(width, width, True, initial, zero)
        self.v_proj = Linear(width, width, True, initial, zero)
        self.out_proj = Linear(width, width, True, initial, zero)
        self.norm = LayerNorm(width, norm_epsilon)
        self.mlp = MLP(width, mlp_width, activation, initial, initial, zero)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, L, D] -> [B, D]"""
        latent = self.latent.astype(x.dtype).expand_as(x[:, :1])  # [B, 1, D]
        query = split_heads(self.q_proj(latent), self.num_heads)  # [B, 1, H, K]
        key = split_heads(self.k_proj(x), self.num_heads)  # [B, L, H, K]
        value = split_heads(self.v_proj(x), self.num_heads)  # [B, L, H, K]
        x = self.out_proj(attend(query, key, value).flatten(2))  # [B, 1, D]
        x = x + self.mlp(self.norm(x))
        return x.squeeze(1)  # [B, D]
