"""The recorded sizes, and what open_clip's published weights want, against open_clip itself."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from passl.zoo.names import architecture_of, list_models

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent


def module_at(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def open_clip_models():
    return module_at(HERE / "open_clip_models.py")


@pytest.fixture(scope="module")
def measure_parity(open_clip_models):
    return module_at(HERE.parents[1] / "tools" / "measure_parity.py")


@pytest.fixture(scope="module")
def record(open_clip_models):
    return json.loads(open_clip_models.RECORD.read_text(encoding="utf-8"))


def test_recorded_names_are_those_of_open_clip(open_clip_models, record):
    assert list(record) == open_clip_models.names()


@pytest.mark.parametrize(
    "name",
    [
        *("RN50x4", "ViT-M-16-alt", "ViT-e-14", "ViT-bigG-14-CLIPA", "ViT-H-14-worldwide", "ViT-SO400M-14-SigLIP"),
        *("ViT-SO400M-16-SigLIP-i18n-256", "ViT-gopt-16-SigLIP2-256", "roberta-ViT-B-32"),
    ],
)
def test_recorded_sizes_are_those_of_open_clip(name, open_clip_models, record):
    assert open_clip_models.count(name) == record[name]


def test_pictures_are_those_of_all_published_weights_where_they_agree(open_clip_models):
    open_clip_models.import_open_clip()
    for name in list_models():
        wanted = open_clip_models.preprocessing(name)
        if len(wanted) == 1:
            node = architecture_of(name)
            assert {key: node[f"image_{key}"] for key in wanted[0]} == wanted[0], name


@pytest.mark.parametrize("name", ["ViT-M-16-alt", "ViT-L-14-CLIPA", "ViT-B-32-SigLIP2-256", "roberta-ViT-B-32"])
def test_model_of_two_layers_equals_that_of_open_clip(name, measure_parity):
    found = measure_parity.measure(name, num_layers=2)
    assert max(found["image"], found["text"]) < 1e-6 and found["logits"] < 1e-5


@pytest.mark.parametrize("tower, key, value", [("image", "activation", "quick_gelu"), ("text", "is_causal", False)])
def test_model_that_computes_something_else_is_measured_as_such(tower, key, value, measure_parity, monkeypatch):
    node = architecture_of("ViT-S-32")
    monkeypatch.setattr(measure_parity, "architecture_of", lambda name: {**node, tower: {**node[tower], key: value}})
    found = measure_parity.measure("ViT-S-32", num_layers=2)
    other = "text" if tower == "image" else "image"
    assert found[tower] > 1e-4 and found[other] < 1e-6
