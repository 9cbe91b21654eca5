"""Samples from disk to batches: sources, preprocessing, order, loaders, preparation of known data sets.

Imports `utils` alone, and Paddle only where a batch becomes tensors.
"""

from passl.datasets.bad_samples import BadSampleLog
from passl.datasets.findings import describe
from passl.datasets.images import BadImage, BadSample, load_image
from passl.datasets.loader import EvalLoader, TrainLoader
from passl.datasets.preprocess.transforms import Compose, build_transform, eval_transform, train_transform
from passl.datasets.sampler import PositionSampler
from passl.datasets.samples import EvalDataset, TrainDataset
from passl.datasets.sources import (
    Food101,
    ImageFolder,
    ImageTextFolder,
    ImageTextJsonLines,
    ImageTextTable,
    Sample,
    Source,
)

__all__ = [
    "BadImage",
    "BadSample",
    "BadSampleLog",
    "Compose",
    "EvalDataset",
    "EvalLoader",
    "Food101",
    "ImageFolder",
    "ImageTextFolder",
    "ImageTextJsonLines",
    "ImageTextTable",
    "PositionSampler",
    "Sample",
    "Source",
    "TrainDataset",
    "TrainLoader",
    "build_transform",
    "describe",
    "eval_transform",
    "load_image",
    "train_transform",
]
