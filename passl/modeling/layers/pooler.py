"""How BERT, and Hugging Face's vision transformer after it, turn tokens into one feature."""

from __future__ import annotations

import paddle

from passl.modeling.layers.initial import constant, normal
from passl.modeling.layers.linear import Linear


class Pooler(Linear):
    """tanh of a linear layer on the first token (Devlin et al., arXiv:1810.04805).

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width, initial=normal(0.02), initial_bias=constant(0.0))  # as all of BERT

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, L, D] -> [B, D]"""
        return Linear.forward(self, x[:, 0]).tanh()  # not super(), which Paddle 2.6 cannot make a static graph of
