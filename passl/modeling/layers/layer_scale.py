"""A gain for each channel of a residual branch."""

from __future__ import annotations

import paddle
from paddle import nn

from passl.modeling.layers.initial import constant, new_parameter


class LayerScale(nn.Layer):
    """x · γ, so that a branch can start small (Touvron et al., arXiv:2103.17239).

    Args:
        width: D.
        initial: what every γ starts from.
    """

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = new_parameter(self, [width], constant(initial))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, L, D] -> [B, L, D]"""
        return x * self.gamma
