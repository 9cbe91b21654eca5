"""The rate over the run, as a factor on its peak. A schedule is a pure function of the step, so resuming needs no state."""

from __future__ import annotations

import math
from typing import Optional

from passl.utils.errors import UserError
from passl.utils.registry import SCHEDULES


class _Warmup:
    """The common beginning: a linear rise over the first steps, the first step already above 0."""

    def __init__(self, total_steps: int, /, warmup_fraction: float = 0.05, warmup_steps: Optional[int] = None) -> None:
        if not 0 <= warmup_fraction < 1:
            raise UserError(f"schedule.warmup_fraction is {warmup_fraction}; it lies in [0, 1)")
        if warmup_steps is not None and not 0 <= warmup_steps < total_steps:
            raise UserError(f"schedule.warmup_steps is {warmup_steps}; it lies in [0, {total_steps}), the run's steps")
        self.total_steps = total_steps
        self.warmup_steps = round(warmup_fraction * total_steps) if warmup_steps is None else warmup_steps

    def __call__(self, step: int) -> float:
        """The factor at `step`, which counts from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.after_warmup((step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))

    def after_warmup(self, progress: float) -> float:
        raise NotImplementedError


@SCHEDULES.register()
class WarmupCosine(_Warmup):
    """Linear rise, then half a cosine down (Loshchilov and Hutter, arXiv:1608.03983).

    Args:
        warmup_fraction: share of all steps over which the rate rises.
        warmup_steps: the same as a number of steps; takes precedence when given.
        final_factor: what is left of the rate at the end.
    """

    def __init__(
        self,
        total_steps: int,
        /,
        warmup_fraction: float = 0.05,
        warmup_steps: Optional[int] = None,
        final_factor: float = 0.0,
    ) -> None:
        super().__init__(total_steps, warmup_fraction, warmup_steps)
        if not 0 <= final_factor <= 1:
            raise UserError(f"schedule.final_factor is {final_factor}; it lies in [0, 1]")
        self.final_factor = final_factor

    def after_warmup(self, progress: float) -> float:
        return self.final_factor + (1 - self.final_factor) * 0.5 * (1 + math.cos(math.pi * progress))


@SCHEDULES.register()
class Constant(_Warmup):
    """Linear rise, then the peak rate to the end.

    Args:
        warmup_fraction: share of all steps over which the rate rises.
        warmup_steps: the same as a number of steps; takes precedence when given.
    """

    def after_warmup(self, progress: float) -> float:  # noqa: ARG002 (it is constant)
        return 1.0
