"""The nonlinearities of the towers. Which one belongs to the weights, so there is no default."""

from __future__ import annotations

from typing import Callable

import paddle
import paddle.nn.functional as F

from passl.utils.errors import UserError
from passl.utils.registry import nearest


def quick_gelu(x: paddle.Tensor) -> paddle.Tensor:
    """x · σ(1.702 x): the approximation of GELU that OpenAI's models were trained with."""
    return x * F.sigmoid(1.702 * x)


def gelu(x: paddle.Tensor) -> paddle.Tensor:
    """x · Φ(x) with the exact normal distribution function."""
    return F.gelu(x)


def gelu_tanh(x: paddle.Tensor) -> paddle.Tensor:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³))): the approximation of GELU that SigLIP was trained with."""
    return F.gelu(x, approximate=True)


_ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": gelu, "gelu_tanh": gelu_tanh}


def activation_function(name: str) -> Callable[[paddle.Tensor], paddle.Tensor]:
    """The activation of that name: "quick_gelu", "gelu" or "gelu_tanh"."""
    if name not in _ACTIVATIONS:
        raise UserError(
            f"there is no activation named {name!r}.{nearest(name, _ACTIVATIONS)} Accepted: {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]
