"""Vision transformer, as the image tower of CLIP.

Papers: Dosovitskiy et al., arXiv:2010.11929; Radford et al. (CLIP), arXiv:2103.00020. Original code: openai/CLIP.
Against the first paper: no bias in the patch projection, a norm before the first block, and the class token's output is
normalised and projected, without bias, to the embedding shared with the text tower.

Shape letters: B batch, N squares, L = 1 + N tokens, D width, E embedding.

    name        layers  width D  heads  patch
    ViT-B/32    12      768      12     32
    ViT-B/16    12      768      12     16
    ViT-L/14    24      1024     16     14
"""

from __future__ import annotations

from typing import Literal

import paddle
from paddle import nn

from passl.modeling.backbones.inputs import check_image
from passl.modeling.layers import BlockInit, LayerNorm, PatchEmbed, Transformer, new_parameter, normal, uniform
from passl.modeling.layers.initial import uniform_fan_in
from passl.utils.errors import UserError
from passl.utils.registry import BACKBONES


@BACKBONES.register()
class VisionTransformer(nn.Layer):
    """Image to embedding.

    Args:
        image_size: height and width of the images, a multiple of `patch_size`.
        patch_size: side of the squares that become tokens.
        width: D.
        num_layers: number of blocks.
        num_heads: attention heads; divides D.
        output_dim: E.
        activation: nonlinearity of the MLPs.
        qkv_bias: whether the projections to queries, keys and values have a bias.
        pre_norm: whether the tokens are normalised before the first block.
        proj: whether the result is projected to E; without it E equals D.
        patch_bias: whether the patch projection has a bias.
    """

    row_independent = True

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        num_layers: int,
        num_heads: int,
        output_dim: int,
        activation: Literal["quick_gelu", "gelu"] = "quick_gelu",
        qkv_bias: bool = True,
        pre_norm: bool = True,
        proj: bool = True,
        patch_bias: bool = False,
    ) -> None:
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise UserError(f"images of {image_size} pixels cannot be cut into squares of {patch_size}")
        if not proj and output_dim != width:
            raise UserError(
                f"without projection (proj: false) the embedding is as wide as the tower, {width}; "
                f"{output_dim} was asked for"
            )
        self.image_size = image_size
        num_tokens = 1 + (image_size // patch_size) ** 2
        unit_rows = normal(width**-0.5)  # a token, a position and a column of the projection have length 1

        self.patch_embed = PatchEmbed(patch_size, width, patch_bias)
        self.class_embedding = new_parameter(self, [width], unit_rows)
        self.positional_embedding = new_parameter(self, [num_tokens, width], unit_rows)
        self.norm_pre = LayerNorm(width) if pre_norm else nn.Identity()
        self.blocks = Transformer(
            num_layers, width, num_heads, activation, qkv_bias, is_causal=False, initial=self._initial(width)
        )
        self.norm_post = LayerNorm(width)
        self.proj = new_parameter(self, [width, output_dim], unit_rows) if proj else None

    @staticmethod
    def _initial(width: int) -> BlockInit:
        """PyTorch's defaults, which the original leaves as they are."""
        return BlockInit(
            qkv=uniform((6 / (width + 3 * width)) ** 0.5),  # Xavier, for the three matrices taken as one [D, 3 D]
            out=uniform_fan_in(width),
            fc1=uniform_fan_in(width),
            fc2=uniform_fan_in(4 * width),
        )

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """[B, 3, height, width] -> [B, E]"""
        check_image(image, self.image_size)
        x = self.patch_embed(image)  # [B, N, D]
        class_token = self.class_embedding.expand_as(x[:, :1])  # [B, 1, D]
        x = paddle.concat([class_token.astype(x.dtype), x], axis=1)  # [B, L, D]
        x = self.norm_pre(x + self.positional_embedding)
        x = self.blocks(x)
        x = self.norm_post(x[:, 0])  # [B, D]
        return x if self.proj is None else paddle.matmul(x, self.proj)  # [B, E]
