"""Number formats of training: where the towers are cast, and the loss scale that float16 needs."""

from __future__ import annotations

import contextlib
from typing import ContextManager, Dict

import paddle

from passl.utils.errors import UserError


def check_precision(precision: str, device: str) -> None:
    """Refuses what Paddle would silently compute in float32."""
    if precision != "float32" and device == "cpu":
        raise UserError(
            f"precision: {precision} needs a GPU; on the CPU Paddle computes in float32 whatever it is told. "
            "Give precision: float32 (-o precision=float32)"
        )


def autocast(precision: str) -> ContextManager:
    """The context in which towers run: products in `precision`, sums and norms in float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return paddle.amp.auto_cast(level="O1", dtype=precision)


class LossScale:
    """Keeps float16 gradients above underflow: the loss is multiplied before backward, the gradients divided after.

    The scale is halved when gradients overflow (that update is left out, and counted) and doubled after 2,000 good steps
    (Micikevicius et al., arXiv:1710.03740, section 3.2). For other formats it is 1 and stays so.
    """

    _GROWTH_INTERVAL = 2000

    def __init__(self, precision: str) -> None:
        self.active = precision == "float16"
        self.value = 2.0**16 if self.active else 1.0
        self.good_steps = 0
        self.num_skipped = 0

    def update(self, overflowed: bool) -> None:
        """Takes note of one step."""
        if not self.active:
            return
        if overflowed:
            self.value, self.good_steps, self.num_skipped = max(1.0, self.value / 2), 0, self.num_skipped + 1
            return
        self.good_steps += 1
        if self.good_steps == self._GROWTH_INTERVAL:
            self.value, self.good_steps = self.value * 2, 0

    def state(self) -> Dict[str, float]:
        """What a checkpoint keeps."""
        return {"value": self.value, "good_steps": self.good_steps, "num_skipped": self.num_skipped}

    def load_state(self, state: Dict[str, float]) -> None:
        """Takes over what `state` gave."""
        self.value, self.good_steps, self.num_skipped = state["value"], state["good_steps"], state["num_skipped"]
