"""Models by name, and model folders. Imports `modeling` and the rooms before it; inference and the engine import it.

Names and tokenizers load without Paddle; `create_model` brings it.
"""

from typing import TYPE_CHECKING

from passl.utils.lazy import lazy_names

if TYPE_CHECKING:
    from passl.zoo.factory import create_model, create_model_and_transforms, load_pretrained
    from passl.zoo.names import architecture_of, list_models
    from passl.zoo.pretrained import list_pretrained
    from passl.zoo.tokenizers import get_tokenizer

__all__ = [
    "architecture_of",
    "create_model",
    "create_model_and_transforms",
    "get_tokenizer",
    "list_models",
    "list_pretrained",
    "load_pretrained",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "architecture_of": "passl.zoo.names",
        "create_model": "passl.zoo.factory",
        "create_model_and_transforms": "passl.zoo.factory",
        "get_tokenizer": "passl.zoo.tokenizers",
        "list_models": "passl.zoo.names",
        "list_pretrained": "passl.zoo.pretrained",
        "load_pretrained": "passl.zoo.factory",
    },
)
