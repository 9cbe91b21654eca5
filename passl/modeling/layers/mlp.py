"""The token-wise half of a transformer block."""

from __future__ import annotations

from typing import Optional

import paddle
from paddle import nn
from paddle.nn.initializer import Initializer

from passl.modeling.layers.activation import activation_function
from passl.modeling.layers.linear import Linear


def known_mlp_width(mlp_width: Optional[int], width: int) -> int:
    """How wide an MLP is inside: `mlp_width`, or four times the width where nothing is said."""
    return 4 * width if mlp_width is None else mlp_width


class MLP(nn.Layer):
    """Two linear layers with an activation between them.

    Args:
        width: D, of input and output.
        hidden_width: width between the two.
        activation: a name that `activation_function` knows.
        initial_fc1: what the first weight starts from; U(±1/√fan_in) if not given.
        initial_fc2: what the second starts from; the same.
        initial_bias: what both biases start from; the same.
    """

    def __init__(
        self,
        width: int,
        hidden_width: int,
        activation: str,
        initial_fc1: Optional[Initializer] = None,
        initial_fc2: Optional[Initializer] = None,
        initial_bias: Optional[Initializer] = None,
    ) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden_width, initial=initial_fc1, initial_bias=initial_bias)
        self.activation = activation_function(activation)
        self.fc2 = Linear(hidden_width, width, initial=initial_fc2, initial_bias=initial_bias)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, L, D] -> [B, L, D]"""
        return self.fc2(self.activation(self.fc1(x)))
