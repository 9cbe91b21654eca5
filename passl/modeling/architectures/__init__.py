"""Whole models: networks with a specification, and what the engine trains. Imports everything else in `modeling`."""

from passl.modeling.architectures.clip import CLIP
from passl.modeling.architectures.clip_wrapper import CLIPWrapper
from passl.modeling.architectures.dual_encoder import DualEncoder, architecture_from_spec, shapes_of

__all__ = ["CLIP", "CLIPWrapper", "DualEncoder", "architecture_from_spec", "shapes_of"]
