"""Formulas: pure functions of tensors, in float32 or wider. Imports `modeling.layers`; heads import it."""

from passl.modeling.losses.contrastive import contrastive_rows
from passl.modeling.losses.part import LossPart, total_loss

__all__ = ["LossPart", "contrastive_rows", "total_loss"]
