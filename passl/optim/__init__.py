"""Optimizers, parameter groups and schedules. Only `engine` and user code build them; they know names and tensors, no model."""

from passl.optim.adamw import AdamW
from passl.optim.groups import GroupRule
from passl.optim.schedules import Constant, WarmupCosine

__all__ = ["AdamW", "Constant", "GroupRule", "WarmupCosine"]
