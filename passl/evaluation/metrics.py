"""Measures of classification, on NumPy arrays: N samples, C classes, K ranked guesses."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from passl.utils.errors import UserError


def best_classes(scores: np.ndarray, k: int) -> np.ndarray:
    """The k classes of highest score, best first, int64 [N, min(k, C)]. Of equal scores the lower class comes first.

    Args:
        scores: [N, C].
        k: how many; all if there are fewer classes.

    Raises:
        UserError: a score is not a number, which a model with broken weights gives.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if np.isnan(scores).any():
        raise UserError(
            f"the scores of sample {int(np.isnan(scores).any(axis=1).argmax())} are not numbers (NaN): the weights are "
            "broken or the computation overflowed"
        )
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def top_k_accuracy(best: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The share of samples whose label is among their first k guesses.

    With C classes or fewer guesses than k, k is in effect C: with three classes "top 5" is always 1.

    Args:
        best: guesses, best first, [N, K] with K >= min(k, C), as `best_classes` gives them.
        labels: the true classes, [N].
        k: how many guesses count.
    """
    best, labels = np.asarray(best), np.asarray(labels)
    _check_samples(labels)
    return float((best[:, :k] == labels[:, None]).any(axis=1).mean())


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """How often each class (row) was taken for each class (column), int64 [C, C].

    Args:
        predictions: the predicted classes, [N].
        labels: the true classes, [N].
        num_classes: C.
    """
    predictions, labels = np.asarray(predictions, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    for kind, classes in (("label", labels), ("prediction", predictions)):
        wrong = (classes < 0) | (classes >= num_classes)
        if wrong.any():
            raise UserError(
                f"there is a {kind} {classes[wrong][0]}, and {num_classes} classes go from 0 to {num_classes - 1}"
            )
    counts = np.bincount(labels * num_classes + predictions, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes)


def per_class_recall(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The share of each class's samples that were recognised, float64 [C]; NaN for a class without samples."""
    matrix = confusion_matrix(predictions, labels, num_classes)
    totals = matrix.sum(axis=1)  # [C]
    return np.where(totals > 0, np.diag(matrix) / np.maximum(totals, 1), np.nan)


def mean_per_class_recall(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """The mean over classes of the share of their samples that were recognised.

    Classes without samples are left out of the mean: nothing is known of them.
    """
    _check_samples(labels)
    return float(np.nanmean(per_class_recall(predictions, labels, num_classes)))


def bootstrap_interval(
    correct: np.ndarray, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Tuple[float, float]:
    """Percentile bootstrap interval of an accuracy.

    A resample draws N samples with replacement, each of which is right with the share of right ones in the data; the
    number of right ones in it is therefore binomial and is drawn as such, without drawing any sample. With all right,
    or none, every resample is the same and the interval is a point.

    Args:
        correct: whether each sample was classified rightly, [N].
        level: the probability between the bounds.
        resamples: how many resamples the percentiles are taken from.
        seed: the same seed gives the same interval.

    Returns:
        The lower and the upper bound, in 0..1.
    """
    correct = np.asarray(correct, dtype=bool)
    _check_samples(correct)
    num_right = np.random.default_rng(seed).binomial(len(correct), correct.mean(), size=resamples)
    low, high = np.quantile(num_right / len(correct), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check_samples(samples: np.ndarray) -> None:
    if len(samples) == 0:
        raise UserError("there are no samples to measure on")
