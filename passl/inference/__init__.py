"""From pictures and words to embeddings and class scores, in one object that evaluation, commands and notebooks share.

May import every room above it (models, tokenizers, transforms, the zoo); knows nothing of training.
"""

from passl.inference.predictor import Predictor

__all__ = ["Predictor"]
