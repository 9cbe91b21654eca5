import numpy as np
import pytest

from passl.evaluation.metrics import (
    best_classes,
    bootstrap_interval,
    confusion_matrix,
    mean_per_class_recall,
    per_class_recall,
    top_k_accuracy,
)
from passl.utils.errors import UserError

SCORES = np.array([[0.1, 0.9, 0.0], [0.5, 0.2, 0.3], [0.0, 0.4, 0.6], [0.3, 0.3, 0.2]], dtype="float32")


def test_best_classes_are_ranked():
    assert best_classes(SCORES, 2).tolist() == [[1, 0], [0, 2], [2, 1], [0, 1]]


def test_best_classes_take_the_lower_class_of_equal_scores():
    assert best_classes(np.zeros((1, 50)), 50).tolist() == [list(range(50))]
    assert best_classes(np.array([[1, 3, 3, 2]], dtype="uint8"), 3).tolist() == [[1, 2, 3]]


def test_best_classes_are_all_classes_if_there_are_fewer_than_k():
    assert best_classes(SCORES, 5).shape == (4, 3)


def test_best_classes_refuse_scores_that_are_not_numbers():
    with pytest.raises(UserError, match=r"scores of sample 1 are not numbers \(NaN\)"):
        best_classes(np.array([[0.0, 1.0], [0.0, np.nan]]), 1)


def test_best_classes_take_infinite_scores():
    assert best_classes(np.array([[-np.inf, 0.0, np.inf]]), 3).tolist() == [[2, 1, 0]]


def test_top_k_accuracy_counts_labels_among_the_first_k():
    best = best_classes(SCORES, 3)
    labels = [1, 2, 1, 2]
    assert [top_k_accuracy(best, labels, k) for k in (1, 2, 3)] == [0.25, 0.75, 1.0]


def test_top_k_accuracy_is_one_if_k_is_not_below_the_number_of_classes():
    assert top_k_accuracy(best_classes(SCORES, 5), [2, 1, 0, 2], 5) == 1.0


def test_top_k_accuracy_equals_a_count_by_hand_on_random_scores():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, (200, 12)), rng.integers(0, 12, 200)
    for k in (1, 5):
        right = 0
        for row, label in zip(scores, labels):
            better = sum(s > row[label] or (s == row[label] and c < label) for c, s in enumerate(row))
            right += better < k
        assert top_k_accuracy(best_classes(scores, k), labels, k) == right / 200


def test_measures_are_plain_floats():
    best, labels = best_classes(SCORES, 2), np.array([1, 2, 1, 2])
    values = [
        top_k_accuracy(best, labels, 1),
        mean_per_class_recall(best[:, 0], labels, 3),
        *bootstrap_interval(labels == 1),
    ]
    assert [type(value) for value in values] == [float] * 4


def test_confusion_matrix_has_true_classes_in_rows():
    matrix = confusion_matrix(predictions=[1, 1, 0, 2], labels=[0, 1, 0, 2], num_classes=4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_confusion_matrix_of_nothing_is_zero():
    assert confusion_matrix([], [], 2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [([0], [3], "a label 3, and 3 classes go from 0 to 2"), ([-1], [0], "a prediction -1")],
)
def test_confusion_matrix_refuses_classes_that_do_not_exist(predictions, labels, message):
    with pytest.raises(UserError, match=message):
        confusion_matrix(predictions, labels, 3)


def test_mean_per_class_recall_weighs_classes_equally():
    assert mean_per_class_recall([0, 0, 0, 1, 0], [0, 0, 0, 1, 1], 2) == pytest.approx(0.75)


def test_mean_per_class_recall_leaves_classes_without_samples_out():
    assert mean_per_class_recall([0, 2, 1], [0, 0, 1], 4) == pytest.approx(0.75)
    assert np.isnan(per_class_recall([0, 2, 1], [0, 0, 1], 4)).tolist() == [False, False, True, True]


def test_interval_holds_the_accuracy_and_narrows_with_samples():
    few, many = (bootstrap_interval(np.arange(n) % 10 != 0) for n in (100, 10_000))
    assert few[0] < many[0] < 0.9 < many[1] < few[1]


def test_interval_agrees_with_resampling_the_samples():
    correct = np.arange(200) % 4 != 0
    rng = np.random.default_rng(1)
    means = correct[rng.integers(0, 200, (20_000, 200))].mean(axis=1)
    assert bootstrap_interval(correct, resamples=20_000) == pytest.approx(
        np.quantile(means, [0.025, 0.975]), abs=0.0051
    )


def test_interval_is_the_same_for_the_same_seed():
    correct = np.arange(1000) % 3 != 0
    assert bootstrap_interval(correct, seed=5) == bootstrap_interval(correct, seed=5)


def test_interval_covers_the_true_accuracy_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = [low <= 0.8 <= high for low, high in (bootstrap_interval(rng.random(500) < 0.8) for _ in range(400))]
    assert 0.91 < np.mean(covered) < 0.98


def test_interval_of_all_right_is_a_point():
    assert bootstrap_interval(np.ones(360, dtype=bool)) == (1.0, 1.0)


@pytest.mark.parametrize(
    "measure",
    [
        lambda: top_k_accuracy(np.zeros((0, 5), dtype=int), [], 1),
        lambda: mean_per_class_recall([], [], 3),
        lambda: bootstrap_interval([]),
    ],
)
def test_measures_refuse_no_samples(measure):
    with pytest.raises(UserError, match="no samples"):
        measure()
