"""The text tower of CLIP: a transformer over token ids, read at one place of the text.

Papers: Radford et al., arXiv:2103.00020, section 2.4; Li et al. (CLIPA), arXiv:2305.07017; Zhai et al. (SigLIP),
arXiv:2303.15343. Original code: openai/CLIP, google-research/big_vision.

                causal  read at            bias of the projection  epsilon  context  vocabulary
    CLIP        yes     the highest id     no                      1e-5     77       49408
    CLIPA       no      the last place     no                      1e-5     32       32000
    MetaCLIP 2  yes     the first eos_id   no                      1e-5     77       901629
    SigLIP      no      the last place     yes                     1e-6     64, 16   32000, 256000

Shape letters: B batch, L tokens, D width, E embedding.

    with                    layers  width D  heads
    ViT-B, RN50, RN101      12      512      8
    RN50x4                  12      640      10
    ViT-L, RN50x16          12      768      12
    RN50x64                 12      1024     16
    ViT-H, g                24      1024     16
    ViT-bigG                32      1280     20
    SigLIP So400m           27      1152     16   (MLP 4304)
"""

from __future__ import annotations

from typing import Literal, Optional

import paddle
from paddle import ParamAttr, nn

from passl.modeling.backbones.inputs import check_ids, check_sizes
from passl.modeling.layers import (
    Block,
    BlockInit,
    LayerNorm,
    Transformer,
    constant,
    known_mlp_width,
    new_parameter,
    normal,
)
from passl.utils.errors import UserError
from passl.utils.registry import BACKBONES


@BACKBONES.register()
class TextTransformer(nn.Layer):
    """Token ids to embedding.

    Args:
        output_dim: E.
        context_length: the most tokens a text may have; shorter rows are taken as they are.
        vocab_size: number of token ids.
        width: D.
        num_layers: number of blocks.
        num_heads: attention heads; divides D.
        mlp_width: width between the two layers of an MLP; null makes it 4 · D.
        activation: nonlinearity of the MLPs; it belongs to the weights.
        qkv_bias: whether the projections to queries, keys and values have a bias.
        is_causal: whether a token sees only itself and those before it, so that what stands after the end mark has no
            influence; otherwise every token sees the whole row, padding included.
        pool: where the feature is read. argmax at the highest id of the row (the first of them), which is the end mark
            in CLIP's vocabulary, eos at the first `eos_id`, last at the end of the row, padding or not.
        eos_id: the id of the end mark, needed for eos; a row without it is read at its start.
        proj: whether the feature is projected to E; without it E equals D.
        proj_bias: whether the projection has a bias.
        norm_epsilon: what norms add to the variance; it belongs to the weights.
        layer_scale: what the gains on the residual branches start from; null means there are none.
    """

    modality = "text"
    row_independent = True

    def __init__(
        self,
        output_dim: int,
        /,
        context_length: int,
        vocab_size: int,
        width: int,
        num_layers: int,
        num_heads: int,
        mlp_width: Optional[int] = None,
        activation: Literal["quick_gelu", "gelu", "gelu_tanh"] = "quick_gelu",
        qkv_bias: bool = True,
        is_causal: bool = True,
        pool: Literal["argmax", "eos", "last"] = "argmax",
        eos_id: Optional[int] = None,
        proj: bool = True,
        proj_bias: bool = False,
        norm_epsilon: float = 1e-5,
        layer_scale: Optional[float] = None,
    ) -> None:
        super().__init__()
        mlp_width = known_mlp_width(mlp_width, width)
        check_sizes(output_dim=output_dim, context_length=context_length, vocab_size=vocab_size)
        check_sizes(width=width, num_layers=num_layers, mlp_width=mlp_width)
        _check_pool(pool, eos_id, vocab_size)
        _check_projection(output_dim, width, proj, proj_bias)
        self.context_length = context_length
        self.vocab_size = vocab_size
        self.pool = pool
        self.eos_id = eos_id
        self.token_embedding = nn.Embedding(vocab_size, width, weight_attr=ParamAttr(initializer=normal(0.02)))
        self.positional_embedding = new_parameter(self, [context_length, width], normal(0.01))
        initial = self._initial(width, num_layers)
        self.blocks = Transformer(
            [
                Block(
                    width,
                    num_heads,
                    mlp_width,
                    activation,
                    initial,
                    qkv_bias=qkv_bias,
                    is_causal=is_causal,
                    norm_epsilon=norm_epsilon,
                    layer_scale=layer_scale,
                )
                for _ in range(num_layers)
            ]
        )
        self.norm_final = LayerNorm(width, norm_epsilon)
        self.projection = new_parameter(self, [width, output_dim], normal(width**-0.5)) if proj else None
        self.projection_bias = new_parameter(self, [output_dim], constant(0.0)) if proj_bias else None

    @staticmethod
    def _initial(width: int, num_layers: int) -> BlockInit:
        """Scales that keep the variance of the residual stream: 2 · layers branches are added up (GPT-2).

        open_clip starts SigLIP's text towers from them too.
        """
        residual = width**-0.5 * (2 * num_layers) ** -0.5
        return BlockInit(
            qkv=normal(width**-0.5), out=normal(residual), fc1=normal((2 * width) ** -0.5), fc2=normal(residual)
        )

    def forward(self, ids: paddle.Tensor) -> paddle.Tensor:
        """[B, L] -> [B, E]"""
        check_ids(ids, self.context_length, self.vocab_size)
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]  # [B, L, D]
        x = self.one_feature(self.norm_final(self.blocks(x)), ids)  # [B, D]
        if self.projection is None:
            return x
        x = paddle.matmul(x, self.projection)  # [B, E]
        return x if self.projection_bias is None else x + self.projection_bias

    def one_feature(self, x: paddle.Tensor, ids: paddle.Tensor) -> paddle.Tensor:
        """The normalised tokens [B, L, D] -> the one that stands for the text [B, D]"""
        if self.pool == "last":
            return x[:, -1]
        marks = ids if self.pool == "argmax" else (ids == self.eos_id).astype(ids.dtype)
        place = marks.argmax(axis=-1, keepdim=True).unsqueeze(-1)  # [B, 1, 1]
        return paddle.take_along_axis(x, place, axis=1).squeeze(1)


def _check_pool(pool: str, eos_id: Optional[int], vocab_size: int) -> None:
    if pool not in ("argmax", "eos", "last"):
        raise UserError(f"there is no pool named {pool!r}. Accepted: 'argmax', 'eos', 'last'")
    if pool == "eos" and (eos_id is None or not 0 <= eos_id < vocab_size):
        raise UserError(f"pool: eos needs eos_id, the tokenizer's end mark, from 0 to {vocab_size - 1}, not {eos_id}")
    if pool != "eos" and eos_id is not None:
        raise UserError(f"eos_id: {eos_id} is read by pool: eos alone, and pool is {pool}; leave it out")


def _check_projection(output_dim: int, width: int, proj: bool, proj_bias: bool) -> None:
    if not proj and output_dim != width:
        raise UserError(
            f"without projection (proj: false) the embedding is as wide as the tower, {width}; "
            f"{output_dim} was asked for"
        )
    if proj_bias and not proj:
        raise UserError("proj_bias: true adds to a projection, and proj is false; leave one of them out")
