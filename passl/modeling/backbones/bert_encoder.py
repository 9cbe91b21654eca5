"""BERT and its descendants RoBERTa and XLM-RoBERTa as text towers.

Papers: Devlin et al. (BERT), arXiv:1810.04805; Liu et al. (RoBERTa), arXiv:1907.11692; Conneau et al. (XLM-R),
arXiv:1911.02116. Original code: google-research/bert, facebookresearch/fairseq; the numbers equal those of Hugging Face's
transformers. Against the papers: no dropout, and every token is of the first type.

Against `TextTransformer`: norms after the residual sums, a norm of the embeddings, padding is seen by no token.

                positions                                      rows  padding  types  epsilon
    BERT        0, 1, 2, ...                                   512   id 0     2      1e-12
    RoBERTa     2, 3, 4, ... over tokens that are no padding   514   id 1     1      1e-5
    XLM-R       as RoBERTa

Shape letters: B batch, L tokens, P rows of positions, D width, E embedding.

    name    layers  width D  heads  MLP
    base    12      768      12     3072
    large   24      1024     16     4096
"""

from __future__ import annotations

from typing import Literal, Optional

import paddle
import paddle.nn.functional as F
from paddle import ParamAttr, nn

from passl.modeling.backbones.inputs import check_ids, check_sizes
from passl.modeling.layers import (
    BlockInit,
    LayerNorm,
    Pooler,
    PostNormBlock,
    Transformer,
    at_least_float32,
    constant,
    gelu,
    known_mlp_width,
    new_parameter,
    normal,
    uniform_fan_in,
)
from passl.utils.errors import UserError
from passl.utils.registry import BACKBONES

_STD = 0.02  # of all initial weights and embeddings in BERT


@BACKBONES.register()
class BertEncoder(nn.Layer):
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
        num_positions: rows of the table of positions, 512 for BERT and 514 for RoBERTa.
        pad_id: the id of padding, which no token sees.
        position_offset: 0 numbers all places from 0 (BERT); above 0, tokens that are no padding are counted from it, and
            padding has the number before it (RoBERTa: 2).
        num_token_types: rows of the table of token types; the first is used.
        pool: how tokens become one feature. mean is over those that are no padding, token takes the first, pooler sends
            the first through a dense layer and tanh.
        proj: how the feature becomes E wide. linear is one matrix, mlp two with GELU between them, none needs E equal
            to D.
        norm_epsilon: what norms add to the variance; it belongs to the weights.
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
        activation: Literal["quick_gelu", "gelu", "gelu_tanh"] = "gelu",
        num_positions: int = 512,
        pad_id: int = 0,
        position_offset: int = 0,
        num_token_types: int = 2,
        pool: Literal["mean", "token", "pooler"] = "mean",
        proj: Literal["linear", "mlp", "none"] = "linear",
        norm_epsilon: float = 1e-12,
    ) -> None:
        super().__init__()
        mlp_width = known_mlp_width(mlp_width, width)
        check_sizes(output_dim=output_dim, context_length=context_length, vocab_size=vocab_size)
        check_sizes(width=width, num_layers=num_layers, mlp_width=mlp_width, num_token_types=num_token_types)
        _check_positions(context_length, num_positions, position_offset)
        _check_choices(output_dim, width, vocab_size, pad_id, pool, proj)
        self.context_length = context_length
        self.vocab_size = vocab_size
        self.pad_id = pad_id
        self.position_offset = position_offset
        self.pool = pool
        small = normal(_STD)
        self.token_embedding = nn.Embedding(vocab_size, width, weight_attr=ParamAttr(initializer=small))
        self.positional_embedding = new_parameter(self, [num_positions, width], small)
        self.token_type_embedding = new_parameter(self, [num_token_types, width], small)
        self.norm_embedding = LayerNorm(width, norm_epsilon)
        initial = BlockInit(qkv=small, out=small, fc1=small, fc2=small, mlp_bias=constant(0.0))
        self.blocks = Transformer(
            [PostNormBlock(width, num_heads, mlp_width, activation, initial, norm_epsilon) for _ in range(num_layers)]
        )
        self.pooler = Pooler(width) if pool == "pooler" else None
        # open_clip's projections are PyTorch's linear layers without bias, and start as these do.
        hidden_width = (width + output_dim) // 2 if proj == "mlp" else width
        columns = uniform_fan_in(width)
        self.projection_hidden = new_parameter(self, [width, hidden_width], columns) if proj == "mlp" else None
        has_projection = proj != "none"
        self.projection = (
            new_parameter(self, [hidden_width, output_dim], uniform_fan_in(hidden_width)) if has_projection else None
        )

    def forward(self, ids: paddle.Tensor) -> paddle.Tensor:
        """[B, L] -> [B, E]"""
        check_ids(ids, self.context_length, self.vocab_size)
        is_token = ids != self.pad_id  # [B, L]
        x = self.token_embedding(ids) + self.token_type_embedding[0] + self.positions(ids, is_token)  # [B, L, D]
        x = self.blocks(self.norm_embedding(x), is_token)
        x = self.one_feature(x, is_token)  # [B, D]
        if self.projection_hidden is not None:
            x = gelu(paddle.matmul(x, self.projection_hidden))  # [B, (D + E) / 2]
        return x if self.projection is None else paddle.matmul(x, self.projection)  # [B, E]

    def positions(self, ids: paddle.Tensor, is_token: paddle.Tensor) -> paddle.Tensor:
        """Ids [B, L] -> the embeddings of their places, [L, D] or [B, L, D]"""
        if self.position_offset == 0:
            return self.positional_embedding[: ids.shape[1]]
        counted = is_token.astype("int64")
        numbers = counted.cumsum(axis=1) * counted + (self.position_offset - 1)  # [B, L]
        return F.embedding(numbers, self.positional_embedding)

    def one_feature(self, x: paddle.Tensor, is_token: paddle.Tensor) -> paddle.Tensor:
        """The tokens that leave the last block [B, L, D] -> [B, D]"""
        if self.pooler is not None:
            return self.pooler(x)
        if self.pool == "token":
            return x[:, 0]
        wide = at_least_float32(x)  # half precision does not count up to 512
        weights = is_token.astype(wide.dtype).unsqueeze(-1)  # [B, L, 1]
        # A row of padding alone has the mean 0.
        return ((wide * weights).sum(axis=1) / weights.sum(axis=1).clip(min=1)).astype(x.dtype)


def _check_positions(context_length: int, num_positions: int, position_offset: int) -> None:
    if position_offset < 0 or context_length + position_offset > num_positions:
        raise UserError(
            f"texts of {context_length} tokens, with positions counted from {position_offset}, need "
            f"{context_length + position_offset} positions and there are {num_positions}; lower context_length"
        )


def _check_choices(output_dim: int, width: int, vocab_size: int, pad_id: int, pool: str, proj: str) -> None:
    if not 0 <= pad_id < vocab_size:
        raise UserError(f"pad_id is {pad_id}; token ids lie between 0 and {vocab_size - 1}")
    if pool not in ("mean", "token", "pooler"):
        raise UserError(f"there is no pool named {pool!r}. Accepted: 'mean', 'token', 'pooler'")
    if proj not in ("linear", "mlp", "none"):
        raise UserError(f"there is no projection named {proj!r}. Accepted: 'linear', 'mlp', 'none'")
    if proj == "none" and output_dim != width:
        raise UserError(
            f"without projection (proj: none) the embedding is as wide as the tower, {width}; {output_dim} was asked for"
        )
