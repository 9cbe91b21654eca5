"""What turns the features of a batch into named parts of a loss. Imports `losses` and `distributed`."""

from passl.modeling.heads.clip_head import CLIPHead

__all__ = ["CLIPHead"]
