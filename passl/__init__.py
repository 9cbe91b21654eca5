"""passl: train, fine-tune, evaluate and use CLIP and its relatives with PaddlePaddle.

`import passl` loads nothing else; Paddle comes with the first name that needs it.
"""

# Paddle 2.6.2 brings a zlib of its own; loaded before Python's it is taken for it, and Pillow crashes on PNG files.
import zlib  # noqa: F401
from typing import TYPE_CHECKING

from passl.utils.lazy import lazy_names

if TYPE_CHECKING:
    from passl.inference import Predictor
    from passl.zoo import create_model, create_model_and_transforms, get_tokenizer, list_models, list_pretrained

__version__ = "0.1.0"

__all__ = [
    "Predictor",
    "create_model",
    "create_model_and_transforms",
    "get_tokenizer",
    "list_models",
    "list_pretrained",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Predictor": "passl.inference",
        "create_model": "passl.zoo.factory",
        "create_model_and_transforms": "passl.zoo.factory",
        "get_tokenizer": "passl.zoo.tokenizers",
        "list_models": "passl.zoo.names",
        "list_pretrained": "passl.zoo.pretrained",
    },
)
