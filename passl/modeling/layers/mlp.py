"""The token-wise half of a transformer block."""

from __future__ import annotations

from typing import Optional

import paddle
from paddle import nn
from paddle.nn.initializer import Initializer

from passl.modeling.layers.activation import activation_function
from passl.modeling.layers.linear import Linear


class MLP(nn.Layer):
    """Two linear layers with an activation between them.

    Args:
        width: D, of input and output.
        hidden_width: width between the two.
        activation: "quick_gelu" or "gelu".
        initial_fc1: what the first weight starts from; U(±1/√fan_in) if not given, as the biases do.
        initial_fc2: what the second starts from; the same.
    """

    def __init__(
        self,
        width: int,
        hidden_width: int,
        activation: str,
        initial_fc1: Optional[Initializer] = None,
        initial_fc2: Optional[Initializer] = None,
    ) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden_width, initial=initial_fc1)
        self.activation = activation_function(activation)
        self.fc2 = Linear(hidden_width, width, initial=initial_fc2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, L, D] -> [B, L, D]"""
        return self.fc2(self.activation(self.fc1(x)))
