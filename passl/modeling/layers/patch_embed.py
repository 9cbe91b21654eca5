"""Image to tokens."""

from __future__ import annotations

import paddle
from paddle import ParamAttr, nn

from passl.modeling.layers.initial import uniform_fan_in


class PatchEmbed(nn.Layer):
    """Cuts an image into squares and projects each to a token.

    Args:
        patch_size: side of a square, in pixels.
        width: D.
        has_bias: whether the projection has a bias.
    """

    def __init__(self, patch_size: int, width: int, has_bias: bool) -> None:
        super().__init__()
        initial = ParamAttr(initializer=uniform_fan_in(3 * patch_size**2))
        self.proj = nn.Conv2D(
            3,
            width,
            kernel_size=patch_size,
            stride=patch_size,
            weight_attr=initial,
            bias_attr=initial if has_bias else False,
        )

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """[B, 3, height, width] -> [B, L, D], rows of squares from the top, each from the left"""
        return self.proj(image).flatten(2).transpose([0, 2, 1])
