from __future__ import annotations

import numpy as np
import paddle
import pytest

from passl.modeling.heads import CLIPHead
from passl.modeling.losses import LossPart, contrastive_rows, total_loss
from passl.utils.registry import HEADS


def unit_rows(rng: np.random.Generator, num_rows: int, width: int = 6) -> np.ndarray:
    rows = rng.normal(size=[num_rows, width])
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def pairs():
    """Eight images and texts, matching ones close to each other."""
    rng = np.random.default_rng(0)
    image = unit_rows(rng, 8)
    text = image + 0.5 * unit_rows(rng, 8)
    return image, text / np.linalg.norm(text, axis=-1, keepdims=True)


def leaf(array: np.ndarray) -> paddle.Tensor:
    return paddle.to_tensor(array, stop_gradient=False)


def gradients_over_splits(pairs, scale, splits, columns_of):
    """Loss and gradient when rows are summed over `splits`, each against the columns that `columns_of` gives."""
    image, text = map(leaf, pairs)
    total = 0.0
    for first, last in zip(splits, splits[1:]):
        for rows, columns in ((image, text), (text, image)):
            start, stop = columns_of(first, last)
            total = total + contrastive_rows(rows[first:last], columns[start:stop], scale, first - start)[0]
    (total / 8).backward()
    return float(total / 8), np.concatenate([image.grad.numpy().ravel(), text.grad.numpy().ravel()])


def test_contrastive_rows_equal_the_formula(pairs):
    image, text = pairs
    logits = 14.0 * image @ text.T
    expected = (np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))[2:5].sum()
    found, _ = contrastive_rows(leaf(image[2:5]), leaf(text), paddle.to_tensor(14.0), first_row=2)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_contrastive_rows_count_rows_nearest_to_their_own_column(pairs):
    image, text = pairs
    expected = int(((image @ text.T).argmax(axis=1) == np.arange(8))[2:5].sum())
    _, found = contrastive_rows(leaf(image[2:5]), leaf(text), paddle.to_tensor(14.0), first_row=2)
    assert float(found) == expected
    assert found.stop_gradient


@pytest.mark.parametrize("scale", [14.0, 100.0])
def test_loss_and_gradient_are_the_same_for_any_split_of_the_rows(pairs, scale):
    scale = paddle.to_tensor(scale, dtype="float64")
    whole = gradients_over_splits(pairs, scale, [0, 8], lambda _first, _last: (0, 8))
    split = gradients_over_splits(pairs, scale, [0, 3, 4, 8], lambda _first, _last: (0, 8))
    assert split[0] == pytest.approx(whole[0], rel=1e-12)
    assert np.linalg.norm(split[1] - whole[1]) <= 1e-12 * np.linalg.norm(whole[1])


@pytest.mark.parametrize("scale", [14.0, 100.0])
def test_local_negatives_alone_give_another_gradient(pairs, scale):
    scale = paddle.to_tensor(scale, dtype="float64")
    whole = gradients_over_splits(pairs, scale, [0, 8], lambda _first, _last: (0, 8))
    local = gradients_over_splits(pairs, scale, [0, 4, 8], lambda first, last: (first, last))
    assert np.linalg.norm(local[1] - whole[1]) > 1e-3 * np.linalg.norm(whole[1])


def test_contrastive_rows_widen_half_precision(pairs):
    image, text = (paddle.to_tensor(side).astype("float16") for side in pairs)
    assert contrastive_rows(image, text, paddle.to_tensor(100.0), 0)[0].dtype == paddle.float32


def test_equal_embeddings_give_the_logarithm_of_the_batch_size():
    rows = paddle.ones([4, 4]) / 2
    found, _ = contrastive_rows(rows, rows, paddle.to_tensor(100.0), 0)
    assert float(found) == pytest.approx(4 * np.log(4), rel=1e-6)


def test_head_averages_both_directions(pairs):
    image, text = map(leaf, pairs)
    parts = CLIPHead()(image, text, paddle.to_tensor(np.log(14.0)))
    logits = 14.0 * pairs[0] @ pairs[1].T
    by_image = (np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)).mean()
    by_text = (np.log(np.exp(logits).sum(axis=0)) - np.diag(logits)).mean()
    assert {name: (part.weight, part.coefficient) for name, part in parts.items()} == {
        "img_loss": (8, 0.5),
        "text_loss": (8, 0.5),
        "batch_accuracy": (8, 0.0),
        "logit_scale": (1.0, 0.0),
    }
    assert float(parts["img_loss"].sum) / 8 == pytest.approx(by_image, rel=1e-12)
    assert float(parts["text_loss"].sum) / 8 == pytest.approx(by_text, rel=1e-12)
    assert float(total_loss(parts)) == pytest.approx((by_image + by_text) / 2, rel=1e-12)


def test_total_loss_leaves_out_parts_that_are_only_logged():
    parts = {"a": LossPart(paddle.to_tensor(6.0), 3, 0.5), "b": LossPart(paddle.to_tensor(float("nan")), 3, 0.0)}
    assert float(total_loss(parts)) == 1.0


@pytest.mark.parametrize("name", ["CLIPHead", "ClipHead", "ClipCNHead"])
def test_head_is_found_by_its_old_names(name):
    assert isinstance(HEADS.build({"name": name}), CLIPHead)
