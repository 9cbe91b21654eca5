"""Networks and what they are trained with: layers, towers, losses, heads, architectures.

Imports `utils`, `distributed`, `tokenizers` and `checkpoint`; the zoo, the engine and everything after them import it.
Importing it registers what configs name.
"""

from passl.modeling import architectures, backbones, heads, losses

__all__ = ["architectures", "backbones", "heads", "losses"]
