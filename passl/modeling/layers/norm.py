"""Normalisation layers with the reference's constants."""

from __future__ import annotations

from paddle import ParamAttr, nn

from passl.modeling.layers.initial import constant


class LayerNorm(nn.LayerNorm):
    """Normalisation over the last axis; starts with gain 1 and bias 0.

    Args:
        width: D.
        epsilon: what is added to the variance; it belongs to the weights, as an activation does.
    """

    def __init__(self, width: int, epsilon: float = 1e-5) -> None:
        gain, bias = ParamAttr(initializer=constant(1.0)), ParamAttr(initializer=constant(0.0))
        super().__init__(width, epsilon=epsilon, weight_attr=gain, bias_attr=bias)


class BatchNorm2D(nn.BatchNorm2D):
    """Normalisation of each channel over the batch, epsilon 1e-5, running statistics moved by a tenth each step.

    Paddle averages the biased variance of the batch where PyTorch averages the unbiased one: after training the running
    variances of the two differ by the factor n / (n - 1), n values per channel and batch.

    Args:
        channels: number of channels.
        initial_gain: what the gain starts from.
    """

    def __init__(self, channels: int, initial_gain: float = 1.0) -> None:
        gain, bias = ParamAttr(initializer=constant(initial_gain)), ParamAttr(initializer=constant(0.0))
        super().__init__(channels, momentum=0.9, epsilon=1e-5, weight_attr=gain, bias_attr=bias)
