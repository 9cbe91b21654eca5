"""Initial values.

Paddle's defaults are not the reference's (Xavier weights and zero biases in `nn.Linear`, a normal in `nn.Conv2D`), so
no layer relies on a default: every parameter is made with one of these.
"""

from __future__ import annotations

from typing import Sequence

import paddle
from paddle import nn
from paddle.nn.initializer import Constant, Initializer, Normal, Uniform


def constant(value: float) -> Initializer:
    """All `value`."""
    return Constant(value)


def normal(std: float) -> Initializer:
    """N(0, std²)."""
    return Normal(0.0, std)


def uniform(bound: float) -> Initializer:
    """U(-bound, bound); its standard deviation is bound / √3."""
    return Uniform(-bound, bound)


def uniform_fan_in(fan_in: int) -> Initializer:
    """U(±1/√fan_in): what PyTorch gives weights and biases of linear and convolution layers unless told otherwise."""
    return uniform(fan_in**-0.5)


def new_parameter(layer: nn.Layer, shape: Sequence[int], initial: Initializer) -> paddle.Tensor:
    """A parameter of `layer` in Paddle's default dtype."""
    return layer.create_parameter(
        list(shape), attr=paddle.ParamAttr(initializer=initial), dtype=paddle.get_default_dtype()
    )
