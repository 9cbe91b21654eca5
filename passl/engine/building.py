"""Building the model that a config describes, with the weights that the command line names."""

from __future__ import annotations

import os
from typing import Optional

import paddle

from passl.engine.step import seed_everything
from passl.utils.registry import MODELS
from passl.zoo import load_pretrained


def choose_device(device: str) -> None:
    """Makes `device` ("cpu" or "gpu") Paddle's current one; with several processes, each takes its own GPU."""
    paddle.set_device("cpu" if device == "cpu" else f"gpu:{os.environ.get('FLAGS_selected_gpus', '0').split(',')[0]}")


def build_model(
    node: dict, seed: int, weights: Optional[str] = None, partial: bool = False, resize_positions: bool = False
) -> paddle.nn.Layer:
    """The architecture of `node`, initialised from `seed` or loaded from `weights`.

    Raises:
        UserError: weights that do not fit, or that belong to another activation.
    """
    seed_everything(seed)
    model = MODELS.build(node)
    if weights is not None:
        load_pretrained(model.model, weights, partial=partial, resize_positions=resize_positions)
    return model
