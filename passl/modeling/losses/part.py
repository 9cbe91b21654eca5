"""What a loss is made of, so that means stay right over processes and micro-batches."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Union

import paddle


class LossPart(NamedTuple):
    """A named part of a loss: a sum and the weight it is a mean over.

    The loss of a step is Σ coefficient · (Σ sum / Σ weight), the inner sums over all processes and micro-batches. A
    part with coefficient 0 is only logged.
    """

    sum: paddle.Tensor
    weight: Union[paddle.Tensor, float]
    coefficient: float = 1.0


def total_loss(parts: Mapping[str, LossPart]) -> paddle.Tensor:
    """The loss of these parts alone, as one process sees it."""
    return sum(part.coefficient * (part.sum / part.weight) for part in parts.values() if part.coefficient != 0)
