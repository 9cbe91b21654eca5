"""The ResNets of CLIP.

Papers: He et al., arXiv:1512.03385; Radford et al. (CLIP), arXiv:2103.00020, section 2.4. Original code: openai/CLIP.
Against the first paper: three convolutions in the stem and an average pool after them; where a block halves the map an
average pool does it, before the last convolution and on the shortcut, so that nothing is skipped over (anti-aliasing);
attention pooling at the end.

Shape letters: B batch, C channels, S side of the map (image size / 4 after the stem), E embedding.

    name      image  layers       width  last map       pooling heads
    RN50      224    3, 4, 6, 3   64     2048 × 7 × 7   32
    RN101     224    3, 4, 23, 3  64     2048 × 7 × 7   32
    RN50x4    288    4, 6, 10, 6  80     2560 × 9 × 9   40
    RN50x16   384    6, 8, 18, 8  96     3072 × 12 × 12 48
    RN50x64   448    3, 15, 36, 10  128  4096 × 14 × 14 64
"""

from __future__ import annotations

from typing import List

import paddle
import paddle.nn.functional as F
from paddle import ParamAttr, nn

from passl.modeling.backbones.inputs import check_image, check_sizes
from passl.modeling.layers import AttentionPool2d, BatchNorm2D, uniform_fan_in
from passl.utils.errors import UserError
from passl.utils.registry import BACKBONES

# By how much the last map is smaller than the image, and how much wider a block is than its inner convolutions.
_TOTAL_STRIDE = 32
_EXPANSION = 4


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2D:
    """A convolution without bias that keeps the size of the map (divided by the stride)."""
    initial = uniform_fan_in(in_channels * kernel_size**2)
    return nn.Conv2D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        weight_attr=ParamAttr(initializer=initial),
        bias_attr=False,
    )


class _Shortcut(nn.Layer):
    """Brings a block's input to the shape of its output."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2D(stride) if stride > 1 else nn.Identity()
        self.conv = _conv(in_channels, out_channels, 1)
        self.bn = BatchNorm2D(out_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.bn(self.conv(self.pool(x)))


class Bottleneck(nn.Layer):
    """Narrow, convolve, widen; added to the input.

    Args:
        in_channels: channels of the input.
        channels: channels of the inner convolutions; the output has four times as many.
        stride: by how much the map shrinks.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = _EXPANSION * channels
        self.conv1 = _conv(in_channels, channels, 1)
        self.bn1 = BatchNorm2D(channels)
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = BatchNorm2D(channels)
        self.pool = nn.AvgPool2D(stride) if stride > 1 else nn.Identity()
        self.conv3 = _conv(channels, out_channels, 1)
        self.bn3 = BatchNorm2D(out_channels, initial_gain=0.0)  # a new block passes its input on
        has_shortcut = stride > 1 or in_channels != out_channels
        self.downsample = _Shortcut(in_channels, out_channels, stride) if has_shortcut else nn.Identity()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, C, S, S] -> [B, 4 · channels, S / stride, S / stride]"""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.pool(y)))
        return F.relu(y + self.downsample(x))


@BACKBONES.register()
class ModifiedResNet(nn.Layer):
    """Image to embedding.

    Args:
        output_dim: E.
        image_size: height and width of the images, a multiple of 32.
        layers: number of blocks in each of the four stages.
        width: channels after the stem; the stages have 4, 8, 16 and 32 times as many.
        num_heads: heads of the attention pooling; divides 32 · width.
        qkv_bias: whether the pooling's projections to queries, keys and values have a bias.
    """

    modality = "image"

    def __init__(
        self,
        output_dim: int,
        /,
        image_size: int,
        layers: List[int],
        width: int,
        num_heads: int,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(output_dim=output_dim)
        if image_size < _TOTAL_STRIDE or image_size % _TOTAL_STRIDE:
            raise UserError(f"a ResNet takes images whose size is a multiple of {_TOTAL_STRIDE}, not {image_size}")
        if len(layers) != 4 or min(layers) < 1:
            raise UserError(f"a ResNet has four stages of at least one block each; layers is {list(layers)}")
        if width < 2 or width % 2:
            raise UserError(f"a ResNet's width is even (the stem starts with half of it), not {width}")
        self.image_size = image_size
        self.conv1 = _conv(3, width // 2, 3, stride=2)
        self.bn1 = BatchNorm2D(width // 2)
        self.conv2 = _conv(width // 2, width // 2, 3)
        self.bn2 = BatchNorm2D(width // 2)
        self.conv3 = _conv(width // 2, width, 3)
        self.bn3 = BatchNorm2D(width)
        self.pool = nn.AvgPool2D(2)
        self.layer1 = self._stage(width, width, layers[0], stride=1)
        self.layer2 = self._stage(4 * width, 2 * width, layers[1], stride=2)
        self.layer3 = self._stage(8 * width, 4 * width, layers[2], stride=2)
        self.layer4 = self._stage(16 * width, 8 * width, layers[3], stride=2)
        self.attnpool = AttentionPool2d(image_size // _TOTAL_STRIDE, 32 * width, num_heads, output_dim, qkv_bias)

    @staticmethod
    def _stage(in_channels: int, channels: int, num_blocks: int, stride: int) -> nn.Sequential:
        first = Bottleneck(in_channels, channels, stride)
        return nn.Sequential(first, *(Bottleneck(_EXPANSION * channels, channels, 1) for _ in range(num_blocks - 1)))

    @property
    def row_independent(self) -> bool:
        """Whether an image's embedding is the same in any batch: not while batch statistics are live."""
        return not any(layer.training for layer in self.sublayers() if isinstance(layer, BatchNorm2D))

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """[B, 3, height, width] -> [B, E]"""
        check_image(image, self.image_size)
        x = F.relu(self.bn1(self.conv1(image)))  # [B, width / 2, 2 S, 2 S]
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))  # [B, width, 2 S, 2 S]
        x = self.pool(x)  # [B, width, S, S]
        x = self.layer1(x)  # [B, 4 · width, S, S]
        x = self.layer2(x)  # [B, 8 · width, S / 2, S / 2]
        x = self.layer3(x)  # [B, 16 · width, S / 4, S / 4]
        x = self.layer4(x)  # [B, 32 · width, S / 8, S / 8]
        return self.attnpool(x)  # [B, E]
