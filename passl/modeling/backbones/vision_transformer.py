"""Vision transformer, as the image tower of CLIP and of the models that follow it.

Papers: Dosovitskiy et al., arXiv:2010.11929; Radford et al. (CLIP), arXiv:2103.00020; Li et al. (CLIPA),
arXiv:2305.07017; Zhai et al. (SigLIP), arXiv:2303.15343. Original code: openai/CLIP, google-research/big_vision.

                  first norm  class token  patch bias  one feature                      projection  epsilon
    CLIP          yes         yes          no          norm, class token                yes         1e-5
    CLIPA         no          yes          no          mean of the squares, norm        yes         1e-5
    SigLIP        no          no           yes         norm, attention of a query       no          1e-6
    ViT, as       no          yes          yes         norm, class token, dense, tanh   yes         1e-12
    Hugging Face has it

Shape letters: B batch, N squares, L tokens (1 + N with a class token, else N), D width, E embedding.

    name        layers  width D  heads  MLP     patch
    B/32        12      768      12     3072    32
    B/16        12      768      12     3072    16
    L/14        24      1024     16     4096    14
    So400m/14   27      1152     16     4304    14
    H/14        32      1280     16     5120    14
    g/14        40      1408     16     6144    14
    bigG/14     48      1664     16     8192    14
"""

from __future__ import annotations

from typing import Literal, Optional

import paddle
from paddle import nn

from passl.modeling.backbones.inputs import check_image, check_sizes
from passl.modeling.layers import (
    Block,
    BlockInit,
    LatentAttentionPool,
    LayerNorm,
    PatchEmbed,
    Pooler,
    Transformer,
    constant,
    known_mlp_width,
    mean_in_float32,
    new_parameter,
    normal,
    uniform,
    uniform_fan_in,
)
from passl.utils.errors import UserError
from passl.utils.registry import BACKBONES


@BACKBONES.register()
class VisionTransformer(nn.Layer):
    """Image to embedding.

    Args:
        output_dim: E.
        image_size: height and width of the images; what does not fill a square, right and at the bottom, is not seen.
        patch_size: side of the squares that become tokens.
        width: D.
        num_layers: number of blocks.
        num_heads: attention heads; divides D.
        mlp_width: width between the two layers of an MLP; null makes it 4 · D.
        activation: nonlinearity of the MLPs; it belongs to the weights.
        qkv_bias: whether the blocks' projections to queries, keys and values have a bias.
        pre_norm: whether the tokens are normalised before the first block.
        class_token: whether a learned token stands before those of the squares.
        pool: how tokens become one feature. token normalises and takes the class token, average takes the mean of the
            squares (the class token left out) and normalises it, attention normalises and lets a learned query attend
            to all tokens.
        proj: whether the result is projected to E; without it E equals D.
        patch_bias: whether the patch projection has a bias.
        norm_epsilon: what norms add to the variance; it belongs to the weights.
        layer_scale: what the gains on the residual branches start from; null means there are none.
        pooler: whether the class token passes a dense layer and tanh after the norm.
    """

    modality = "image"
    row_independent = True

    def __init__(
        self,
        output_dim: int,
        /,
        image_size: int,
        patch_size: int,
        width: int,
        num_layers: int,
        num_heads: int,
        mlp_width: Optional[int] = None,
        activation: Literal["quick_gelu", "gelu", "gelu_tanh"] = "quick_gelu",
        qkv_bias: bool = True,
        pre_norm: bool = True,
        class_token: bool = True,
        pool: Literal["token", "average", "attention"] = "token",
        proj: bool = True,
        patch_bias: bool = False,
        norm_epsilon: float = 1e-5,
        layer_scale: Optional[float] = None,
        pooler: bool = False,
    ) -> None:
        super().__init__()
        mlp_width = known_mlp_width(mlp_width, width)
        check_sizes(output_dim=output_dim, width=width, num_layers=num_layers, mlp_width=mlp_width)
        _check_choices(output_dim, image_size, patch_size, width, class_token, pool, proj, pooler)
        self.image_size = image_size
        self.pool = pool
        self.num_class_tokens = int(class_token)
        num_tokens = self.num_class_tokens + (image_size // patch_size) ** 2
        is_siglip = pool == "attention"
        unit_rows = normal(width**-0.5)  # a token, a position and a column of the projection have length 1

        self.patch_embed = PatchEmbed(patch_size, width, patch_bias)
        self.class_embedding = new_parameter(self, [width], unit_rows) if class_token else None
        positions = normal(_SIGLIP_STD) if is_siglip else unit_rows
        self.positional_embedding = new_parameter(self, [num_tokens, width], positions)
        self.norm_pre = LayerNorm(width, norm_epsilon) if pre_norm else nn.Identity()
        initial = _siglip_initial() if is_siglip else _clip_initial(width, mlp_width)
        self.blocks = Transformer(
            [
                Block(
                    width,
                    num_heads,
                    mlp_width,
                    activation,
                    initial,
                    qkv_bias=qkv_bias,
                    norm_epsilon=norm_epsilon,
                    layer_scale=layer_scale,
                )
                for _ in range(num_layers)
            ]
        )
        self.norm_post = LayerNorm(width, norm_epsilon)
        if is_siglip:
            self.attn_pool = LatentAttentionPool(
                width, num_heads, mlp_width, activation, norm_epsilon, normal(_SIGLIP_STD)
            )
        self.pooler = Pooler(width) if pooler else None
        self.proj = new_parameter(self, [width, output_dim], unit_rows) if proj else None

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """[B, 3, height, width] -> [B, E]"""
        check_image(image, self.image_size)
        x = self.patch_embed(image)  # [B, N, D]
        if self.class_embedding is not None:
            class_token = self.class_embedding.expand_as(x[:, :1])  # [B, 1, D]
            x = paddle.concat([class_token.astype(x.dtype), x], axis=1)  # [B, L, D]
        x = self.norm_pre(x + self.positional_embedding)
        x = self.one_feature(self.blocks(x))  # [B, D]
        return x if self.proj is None else paddle.matmul(x, self.proj)  # [B, E]

    def one_feature(self, x: paddle.Tensor) -> paddle.Tensor:
        """The tokens that leave the last block [B, L, D] -> [B, D]"""
        if self.pool == "attention":
            return self.attn_pool(self.norm_post(x))
        if self.pool == "average":
            return self.norm_post(mean_in_float32(x[:, self.num_class_tokens :], axis=1))
        x = self.norm_post(x[:, :1])  # [B, 1, D]
        return x.squeeze(1) if self.pooler is None else self.pooler(x)


# ------------------------------------------------------------------------------------------------ initial values

_SIGLIP_STD = 0.02


def _clip_initial(width: int, mlp_width: int) -> BlockInit:
    """PyTorch's defaults, which CLIP's original code and open_clip leave as they are."""
    return BlockInit(
        qkv=uniform((6 / (width + 3 * width)) ** 0.5),  # Xavier, for the three matrices taken as one [D, 3 D]
        out=uniform_fan_in(width),
        fc1=uniform_fan_in(width),
        fc2=uniform_fan_in(mlp_width),
    )


def _siglip_initial() -> BlockInit:
    """What open_clip starts SigLIP's image towers from (they are timm's): small weights, no biases.

    The original code, big_vision, has Xavier's scale instead.
    """
    small = normal(_SIGLIP_STD)
    return BlockInit(qkv=small, out=small, fc1=small, fc2=small, mlp_bias=constant(0.0))


# ------------------------------------------------------------------------------------------------ checks


def _check_choices(
    output_dim: int,
    image_size: int,
    patch_size: int,
    width: int,
    class_token: bool,
    pool: str,
    proj: bool,
    pooler: bool,
) -> None:
    """Raises `UserError` for choices that contradict each other."""
    if not 1 <= patch_size <= image_size:
        raise UserError(f"images of {image_size} pixels cannot be cut into squares of {patch_size}")
    if not proj and output_dim != width:
        raise UserError(
            f"without projection (proj: false) the embedding is as wide as the tower, {width}; "
            f"{output_dim} was asked for"
        )
    if pool not in ("token", "average", "attention"):
        raise UserError(f"there is no pool named {pool!r}. Accepted: 'token', 'average', 'attention'")
    if pool == "token" and not class_token:
        raise UserError("pool: token reads the class token, and class_token is false; take average or attention")
    if pooler and pool != "token":
        raise UserError(f"pooler: true reads the class token, and pool: {pool} does not give it; take pool: token")
