"""What the tests of the models share: the recorded numbers of the reference and a tiny architecture."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def reference():
    """The module `reference.py` beside this file."""
    spec = importlib.util.spec_from_file_location("clip_reference", HERE / "reference.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def initial():
    """How the reference initialises: per model its architecture and [mean, deviation, largest] of each parameter."""
    return json.loads((HERE / "golden" / "initial.json").read_text())


@pytest.fixture(scope="session")
def recorded(reference):
    """By name of a tiny model: its architecture, weights under our names, inputs and outputs of the reference."""

    def load(name: str) -> dict:
        with np.load(HERE / "golden" / f"parity_{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        weights = {key[len("weights/") :]: value for key, value in arrays.items() if key.startswith("weights/")}
        return {
            "architecture": json.loads(str(arrays["architecture"])),
            "weights": {key: value.astype("float32") for key, value in reference.to_our_names(weights).items()},
            **{key: value for key, value in arrays.items() if not key.startswith("weights/") and key != "architecture"},
        }

    return load


@pytest.fixture
def tiny() -> dict:
    """A CLIP that is built and run in milliseconds."""
    return {
        "name": "CLIP",
        "embed_dim": 16,
        "image_resolution": 32,
        "vision_layers": 2,
        "vision_width": 32,
        "vision_patch_size": 8,
        "vision_heads": 2,
        "context_length": 16,
        "vocab_size": 100,
        "transformer_width": 32,
        "transformer_heads": 2,
        "transformer_layers": 2,
    }


@pytest.fixture
def tiny_resnet(tiny) -> dict:
    """The same with a ResNet."""
    del tiny["vision_patch_size"]
    return {**tiny, "vision_layers": [1, 1, 1, 1], "vision_width": 4}
