"""The residual blocks that towers consist of, and a stack of them."""

from __future__ import annotations

from typing import NamedTuple, Optional

import paddle
from paddle import nn
from paddle.nn.initializer import Initializer

from passl.modeling.layers.attention import Attention
from passl.modeling.layers.layer_scale import LayerScale
from passl.modeling.layers.mlp import MLP
from passl.modeling.layers.norm import LayerNorm


class BlockInit(NamedTuple):
    """What the weights of a block start from. The biases of attention start from 0.

    Those of the MLP start from `mlp_bias`, or from U(±1/√fan_in) if that is None.
    """

    qkv: Initializer
    out: Initializer
    fc1: Initializer
    fc2: Initializer
    mlp_bias: Optional[Initializer] = None


class Block(nn.Layer):
    """x + attention(norm(x)), then x + MLP(norm(x)).

    Args:
        width: D.
        num_heads: H; divides D.
        mlp_width: width between the two layers of the MLP.
        activation: the MLP's.
        initial: what the weights start from.
        qkv_bias: whether the projections to queries, keys and values have a bias.
        is_causal: a token sees itself and those before it.
        norm_epsilon: of the norms.
        layer_scale: what the gains on both branches start from; without it there are none.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_width: int,
        activation: str,
        initial: BlockInit,
        qkv_bias: bool = True,
        is_causal: bool = False,
        norm_epsilon: float = 1e-5,
        layer_scale: Optional[float] = None,
    ) -> None:
        super().__init__()
        has_scale = layer_scale is not None
        self.norm1 = LayerNorm(width, norm_epsilon)
        self.attn = Attention(width, num_heads, qkv_bias, is_causal, initial.qkv, initial.out)
        self.scale1 = LayerScale(width, layer_scale) if has_scale else nn.Identity()
        self.norm2 = LayerNorm(width, norm_epsilon)
        self.mlp = MLP(width, mlp_width, activation, initial.fc1, initial.fc2, initial.mlp_bias)
        self.scale2 = LayerScale(width, layer_scale) if has_scale else nn.Identity()

    def forward(self, x: paddle.Tensor, key_mask: Optional[paddle.Tensor] = None) -> paddle.Tensor:
        """[B, L, D] -> [B, L, D]; `key_mask` [B, L] are the tokens that are seen."""
        x = x + self.scale1(self.attn(self.norm1(x), key_mask))
        return x + self.scale2(self.mlp(self.norm2(x)))


class PostNormBlock(nn.Layer):
    """norm(x + attention(x)), then norm(x + MLP(x)): the block of the first transformers and of BERT.

    Args:
        width: D.
        num_heads: H; divides D.
        mlp_width: width between the two layers of the MLP.
        activation: the MLP's.
        initial: what the weights start from.
        norm_epsilon: of the norms.
    """

    def __init__(
        self, width: int, num_heads: int, mlp_width: int, activation: str, initial: BlockInit, norm_epsilon: float
    ) -> None:
        super().__init__()
        self.attn = Attention(width, num_heads, True, False, initial.qkv, initial.out)
        self.norm1 = LayerNorm(width, norm_epsilon)
        self.mlp = MLP(width, mlp_width, activation, initial.fc1, initial.fc2, initial.mlp_bias)
        self.norm2 = LayerNorm(width, norm_epsilon)

    def forward(self, x: paddle.Tensor, key_mask: Optional[paddle.Tensor] = None) -> paddle.Tensor:
        """[B, L, D] -> [B, L, D]; `key_mask` [B, L] are the tokens that are seen."""
        x = self.norm1(x + self.attn(x, key_mask))
        return self.norm2(x + self.mlp(x))


class Transformer(nn.LayerList):
    """Blocks one after the other, given as a list."""

    def forward(self, x: paddle.Tensor, key_mask: Optional[paddle.Tensor] = None) -> paddle.Tensor:
        """[B, L, D] -> [B, L, D]; `key_mask` [B, L] are the tokens that are seen."""
        for block in self:
            x = block(x, key_mask)
        return x
