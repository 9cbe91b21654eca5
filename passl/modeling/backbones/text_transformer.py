"""The text tower of CLIP: a causal transformer over token ids, read at the end of the text.

Paper: Radford et al., arXiv:2103.00020, section 2.4. Original code: openai/CLIP.

Shape letters: B batch, L tokens, D width, E embedding.

    with        layers  width D  heads
    ViT-B, RN50, RN101   12   512   8
    RN50x4      12      640      10
    ViT-L, RN50x16       12   768   12
    RN50x64     12      1024     16
"""

from __future__ import annotations

from typing import Literal

import paddle
from paddle import ParamAttr, nn

from passl.modeling.backbones.inputs import check_ids
from passl.modeling.layers import BlockInit, LayerNorm, Transformer, new_parameter, normal
from passl.utils.registry import BACKBONES


@BACKBONES.register()
class TextTransformer(nn.Layer):
    """Token ids to embedding.

    The feature is read at the highest id of a row, which is the end mark in CLIP's vocabulary (the first of them, if a
    text holds several). What stands after it has no influence.

    Args:
        context_length: the most tokens a text may have; shorter rows are taken as they are.
        vocab_size: number of token ids.
        width: D.
        num_layers: number of blocks.
        num_heads: attention heads; divides D.
        output_dim: E.
        activation: nonlinearity of the MLPs.
        qkv_bias: whether the projections to queries, keys and values have a bias.
    """

    row_independent = True

    def __init__(
        self,
        context_length: int,
        vocab_size: int,
        width: int,
        num_layers: int,
        num_heads: int,
        output_dim: int,
        activation: Literal["quick_gelu", "gelu"] = "quick_gelu",
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        self.context_length = context_length
        self.vocab_size = vocab_size
        self.token_embedding = nn.Embedding(vocab_size, width, weight_attr=ParamAttr(initializer=normal(0.02)))
        self.positional_embedding = new_parameter(self, [context_length, width], normal(0.01))
        self.blocks = Transformer(
            num_layers, width, num_heads, activation, qkv_bias, is_causal=True, initial=self._initial(width, num_layers)
        )
        self.norm_final = LayerNorm(width)
        self.projection = new_parameter(self, [width, output_dim], normal(width**-0.5))

    @staticmethod
    def _initial(width: int, num_layers: int) -> BlockInit:
        """Scales that keep the variance of the residual stream: 2 · layers branches are added up (GPT-2)."""
        residual = width**-0.5 * (2 * num_layers) ** -0.5
        return BlockInit(
            qkv=normal(width**-0.5), out=normal(residual), fc1=normal((2 * width) ** -0.5), fc2=normal(residual)
        )

    def forward(self, ids: paddle.Tensor) -> paddle.Tensor:
        """[B, L] -> [B, E]"""
        check_ids(ids, self.context_length, self.vocab_size)
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]  # [B, L, D]
        x = self.norm_final(self.blocks(x))
        end = ids.argmax(axis=-1, keepdim=True).unsqueeze(-1)  # [B, 1, 1]
        x = paddle.take_along_axis(x, end, axis=1).squeeze(1)  # [B, D]
        return paddle.matmul(x, self.projection)  # [B, E]
