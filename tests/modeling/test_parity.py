"""Tiny models with random weights give what the reference gave (recorded by `record_parity.py`)."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from passl.modeling.architectures import CLIP

TOLERANCE = 1e-5


@pytest.fixture(params=["vit", "resnet"])
def record(request, recorded):
    return recorded(request.param)


@pytest.fixture(params=["quick_gelu", "gelu"])
def activation(request):
    return request.param


@pytest.fixture
def model(record, activation):
    network = CLIP(**record["architecture"], activation=activation)
    network.set_state_dict(record["weights"])
    network.eval()
    return network


def difference(found: paddle.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(found.numpy() - expected).max())


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_image_features_equal_the_reference(model, record, activation):
    expected = record[f"image_features.{activation}"]
    image = paddle.to_tensor(record["image"].astype("float32"))
    assert difference(model.encode_image(image), expected) <= TOLERANCE * np.abs(expected).max()
    assert difference(model.encode_image(image, normalize=True), unit(expected)) <= TOLERANCE


def test_text_features_equal_the_reference(model, record, activation):
    expected = record[f"text_features.{activation}"]
    text = paddle.to_tensor(record["text"])
    assert difference(model.encode_text(text), expected) <= TOLERANCE * np.abs(expected).max()
    assert difference(model.encode_text(text, normalize=True), unit(expected)) <= TOLERANCE


def test_logits_equal_the_reference(model, record, activation):
    image, text = paddle.to_tensor(record["image"].astype("float32")), paddle.to_tensor(record["text"])
    logits_per_image, logits_per_text = model(image, text)
    expected = record[f"logits_per_image.{activation}"]
    assert difference(logits_per_image, expected) <= 1e-4
    assert difference(logits_per_text, expected.T) <= 1e-4


def test_the_recorded_activations_differ_by_more_than_the_tolerance(record):
    for features in ("text_features", "logits_per_image"):
        differences = np.abs(record[f"{features}.quick_gelu"] - record[f"{features}.gelu"])
        assert differences.max() > 100 * TOLERANCE
