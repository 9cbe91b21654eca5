"""The stack of residual blocks that both towers of a CLIP consist of."""

from __future__ import annotations

from typing import NamedTuple

import paddle
from paddle import nn
from paddle.nn.initializer import Initializer

from passl.modeling.layers.attention import Attention
from passl.modeling.layers.mlp import MLP
from passl.modeling.layers.norm import LayerNorm


class BlockInit(NamedTuple):
    """What the weights of a block start from. Attention biases start from 0, those of the MLP from U(±1/√fan_in)."""

    qkv: Initializer
    out: Initializer
    fc1: Initializer
    fc2: Initializer


class Block(nn.Layer):
    """x + attention(norm(x)), then x + MLP(norm(x)).

    Args:
        width: D.
        num_heads: H; divides D.
        activation: "quick_gelu" or "gelu".
        qkv_bias: whether the projections to queries, keys and values have a bias.
        is_causal: a token sees itself and those before it.
        initial: what the weights start from.
    """

    def __init__(
        self, width: int, num_heads: int, activation: str, qkv_bias: bool, is_causal: bool, initial: BlockInit
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width)
        self.attn = Attention(width, num_heads, qkv_bias, is_causal, initial.qkv, initial.out)
        self.norm2 = LayerNorm(width)
        self.mlp = MLP(width, 4 * width, activation, initial.fc1, initial.fc2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, L, D] -> [B, L, D]"""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.LayerList):
    """`num_layers` blocks one after the other; the other arguments are those of `Block`."""

    def __init__(
        self,
        num_layers: int,
        width: int,
        num_heads: int,
        activation: str,
        qkv_bias: bool,
        is_causal: bool,
        initial: BlockInit,
    ) -> None:
        super().__init__([Block(width, num_heads, activation, qkv_bias, is_causal, initial) for _ in range(num_layers)])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, L, D] -> [B, L, D]"""
        for block in self:
            x = block(x)
        return x
