"""passl: train, fine-tune, evaluate and use CLIP and its relatives with PaddlePaddle."""

__version__ = "0.1.0"
