"""Whole models: networks with a specification, and what the engine trains. Imports everything else in `modeling`."""

from passl.modeling.architectures.clip import CLIP, architecture_from_spec
from passl.modeling.architectures.clip_wrapper import CLIPWrapper

__all__ = ["CLIP", "CLIPWrapper", "architecture_from_spec"]
