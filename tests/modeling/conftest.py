"""What the tests of the models share: the recorded numbers of the reference and a tiny architecture."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


def _beside(name: str):
    """The module of that name beside this file, which the modules beside it can import by this name too."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference():
    """The module `reference.py`."""
    return _beside("reference")


@pytest.fixture(scope="session")
def tower_references(reference):
    """The module `tower_references.py`."""
    return _beside("tower_references")


@pytest.fixture(scope="session")
def initial():
    """How the references initialise: per model its architecture, or per tower its node, and
    [mean, deviation, largest] of each parameter."""
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


@pytest.fixture(scope="session")
def recorded_tower():
    """By kind of tower: its node, the width of the embedding, weights under our names, an input and its embeddings."""
    with np.load(HERE / "golden" / "towers.npz") as file:
        arrays = {key: file[key] for key in file.files}

    def load(kind: str) -> dict:
        entry = {key: arrays[f"{kind}/{key}"] for key in ("node", "shapes", "weights", "input", "output")}
        shapes = json.loads(str(entry["shapes"]))
        flat = np.split(entry["weights"].astype("float32"), np.cumsum([math.prod(shape) for shape in shapes.values()]))
        weights = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), flat)}
        node = json.loads(str(entry["node"]))
        return {**entry, "weights": weights, "output_dim": node.pop("output_dim"), "node": node}

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
