"""The training step: the only place where backward runs and weights change.

Read it from top to bottom. The contract with the architecture: `features(batch)` depends on the batch row by row,
`losses(features, batch)` gives named parts, each a sum and the weight it is a mean over, `constrain()` puts parameters
back into their allowed range.
"""

from __future__ import annotations

import math
import random
from typing import Dict, List, Mapping, NamedTuple, Sequence

import numpy as np
import paddle

from passl.distributed import all_reduce_gradients, all_reduce_sum, gather_objects, rank
from passl.engine.precision import LossScale, autocast
from passl.utils.errors import UserError


class StepResult(NamedTuple):
    """What one step measured, over all processes."""

    losses: Dict[str, float]  # "loss" and its named parts
    grad_norm: float
    stop_requested: bool


class NonFiniteError(UserError):
    """A loss or gradient that is not a finite number; no weight was changed by the step that raised it."""


class TrainStep:
    """One update of the model from one global batch.

    Args:
        model: an architecture, in training mode.
        optimizer: an optimizer of `passl.optim`.
        precision: number format of the towers.
        seed: what is drawn inside the model (dropout) derives from (seed, step, rank).
    """

    def __init__(self, model: paddle.nn.Layer, optimizer, precision: str, seed: int) -> None:
        self.model = model
        self.optimizer = optimizer
        self.precision = precision
        self.seed = seed
        self.loss_scale = LossScale(precision)

    def __call__(
        self, step: int, micro_batches: Sequence[Mapping[str, paddle.Tensor]], lr: float, stop_requested: bool
    ) -> StepResult:
        """Takes step number `step` (from 0) at the rate `lr`.

        Args:
            micro_batches: this process's share of the global batch, in `accumulate` portions.
            stop_requested: whether this process was asked to stop; the result says whether any was.

        Raises:
            NonFiniteError: the loss or the gradient is not finite; names step and samples.
        """
        seed_everything(self.seed, step, rank())

        # Forward and backward of each micro-batch. A part's mean is over all processes and micro-batches, but its weight is
        # known only once all were seen: until then the first micro-batch's stands in for it.
        totals, first_weights = 0.0, None
        for batch in micro_batches:
            with autocast(self.precision):
                features = self.model.features(batch)
            losses = self.model.losses(features, batch)
            parts = {name: part for name, part in losses.items() if name != "loss"}
            local = [part.sum for part in parts.values()] + [part.weight for part in parts.values()] + [stop_requested]
            summed = all_reduce_sum(_as_vector(local))
            if first_weights is None:
                first_weights = summed[len(parts) : 2 * len(parts)]
            loss = sum(
                part.coefficient * part.sum / weight.astype(part.sum.dtype)
                for part, weight in zip(parts.values(), first_weights)
                if part.coefficient != 0
            )
            (loss * self.loss_scale.value).backward()
            totals = totals + summed.numpy().astype("float64")

        # The loss of the whole batch, the same in every process. A bad one ends the run before the update.
        sums, weights = totals[: len(parts)], totals[len(parts) : 2 * len(parts)]
        means = {name: float(s / w) for name, s, w in zip(parts, sums, weights)}
        total = sum(part.coefficient * means[name] for name, part in parts.items() if part.coefficient != 0)
        if not math.isfinite(total):
            self._stop("loss", total, step, micro_batches)

        # Gradients: summed over processes, scaled, measured, clipped.
        gradients = [p.grad for p in self.optimizer.parameters.values() if p.grad is not None]
        all_reduce_gradients(gradients)
        factor = _common_factor(first_weights.numpy(), weights, parts) / self.loss_scale.value
        grad_norm = global_norm(gradients) * factor
        overflowed = not math.isfinite(grad_norm)
        if overflowed and self.loss_scale.value <= 1.0:  # there is no smaller scale to try, or none at all
            self._stop("gradient norm", grad_norm, step, micro_batches)
        limit = self.optimizer.clip_grad_norm
        if limit is not None and grad_norm > limit:
            factor *= limit / grad_norm
        if factor != 1.0 and not overflowed:
            with paddle.no_grad():
                for gradient in gradients:
                    gradient.scale_(factor)

        # The update. float16 gradients that overflowed are dropped, and the loss scale lowered.
        if overflowed:
            self.optimizer.clear_gradients()
        else:
            self.optimizer.step(lr)
            self.model.constrain()
        self.loss_scale.update(overflowed)
        return StepResult({"loss": total, **means}, grad_norm, bool(totals[-1] > 0))

    def _stop(self, what: str, value: float, step: int, micro_batches: Sequence[Mapping[str, paddle.Tensor]]) -> None:
        samples = [int(index) for batch in micro_batches for index in batch["index"]]
        everywhere = [index for indices in gather_objects(samples) for index in indices]
        shown = ", ".join(map(str, everywhere[:64])) + (", ..." if len(everywhere) > 64 else "")
        raise NonFiniteError(
            f"the {what} of step {step + 1} is {value}; no weight was changed by this step. Its samples (numbers in the "
            f"training data's order): {shown}. A lower rate, a longer warm-up or clip_grad_norm may help; a single bad "
            "picture is found by leaving out half of the samples at a time"
        )


def seed_everything(*position: int) -> None:
    """Seeds every shared random stream from a position, so that nothing drawn before it matters."""
    value = int(np.random.SeedSequence(position).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    paddle.seed(value)


def global_norm(gradients: Sequence[paddle.Tensor]) -> float:
    """The Euclidean norm of all gradients together."""
    with paddle.no_grad():
        squares = [paddle.dot(flat, flat) for flat in (gradient.reshape([-1]) for gradient in gradients)]
        return math.sqrt(float(paddle.stack(squares).astype("float64").sum())) if squares else 0.0


def _as_vector(values: List) -> paddle.Tensor:
    """Tensors and numbers as one vector without gradient, in float64: sums of counts stay exact."""
    tensors = [
        value.detach() if isinstance(value, paddle.Tensor) else paddle.to_tensor(float(value)) for value in values
    ]
    return paddle.stack([tensor.astype("float64").reshape([]) for tensor in tensors])


def _common_factor(first_weights: np.ndarray, weights: np.ndarray, parts: Mapping) -> float:
    """By how much the first micro-batch's weights were smaller than all of them: one number for the whole gradient."""
    factors = {float(f / w) for f, w, part in zip(first_weights, weights, parts.values()) if part.coefficient != 0}
    if len(factors) > 1:
        raise UserError("accumulate > 1 needs loss parts that are means over the same weight; this model's are not")
    return factors.pop()
