"""Matrix product and bias."""

from __future__ import annotations

from typing import Optional

from paddle import ParamAttr, nn
from paddle.nn.initializer import Initializer

from passl.modeling.layers.initial import uniform_fan_in


class Linear(nn.Linear):
    """x W + b with W [in_features, out_features].

    Args:
        in_features: width of the input.
        out_features: width of the output.
        has_bias: whether b is there.
        initial: what W starts from; U(±1/√in_features) if not given.
        initial_bias: what b starts from; the same.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        has_bias: bool = True,
        initial: Optional[Initializer] = None,
        initial_bias: Optional[Initializer] = None,
    ) -> None:
        weight = ParamAttr(initializer=initial or uniform_fan_in(in_features))
        bias = ParamAttr(initializer=initial_bias or uniform_fan_in(in_features)) if has_bias else False
        super().__init__(in_features, out_features, weight_attr=weight, bias_attr=bias)
