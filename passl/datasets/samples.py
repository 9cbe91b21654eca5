"""From a position in the data to a preprocessed sample, and what happens when a sample is bad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from passl.datasets.images import BadSample, load_image
from passl.datasets.sources.base import Sample, Source
from passl.utils.errors import UserError

# If one sample in a hundred is bad, as many in a row occur once in 10^32 draws; then something else is wrong.
_MAX_DRAWS = 16

# index, path and reason of a bad sample: the lines of `bad_samples.jsonl`
Fault = Dict[str, Any]


@dataclass(frozen=True)
class TrainItem:
    """A sample to train on.

    Attributes:
        image: [3, H, W] float32.
        caption: the caption that was drawn.
        index: which sample of the source it is; another one than asked for if that was bad.
        faults: the bad samples that were met on the way to it.
    """

    image: np.ndarray
    caption: str
    index: int
    faults: List[Fault]


class TrainDataset:
    """Samples by position: `dataset[epoch, index]`.

    The caption and all augmentation are drawn from the generator of (seed, epoch, index), so that a sample looks the same
    in whichever process and order it is read. The place of a bad sample is taken by another one, drawn from the same
    generator.

    Args:
        source: where samples come from.
        transform: called with a picture and a generator.
        seed: what everything drawn derives from.

    Raises:
        UserError: the source's layout has no captions.
    """

    def __init__(self, source: Source, transform: Callable[..., np.ndarray], seed: int = 0) -> None:
        if not source.has_captions:
            raise UserError(
                f"the dataset {type(source).__name__} has no captions to train on; use one with pictures and texts, such "
                "as ImageTextFolder or ImageTextTable"
            )
        self.source = source
        self.transform = transform
        self.seed = seed

    def __getitem__(self, position: Tuple[int, int]) -> TrainItem:
        epoch, index = position
        rng = np.random.default_rng([self.seed, epoch, index])
        faults: List[Fault] = []
        for _ in range(_MAX_DRAWS):
            sample: Optional[Sample] = None
            try:
                sample = self.source.samples[index]
                caption = _draw_caption(sample, rng)
                image = self.transform(load_image(sample.image), rng)
                return TrainItem(image, caption, index, faults)
            except BadSample as error:
                faults.append(_fault(index, sample, error))
            index = int(rng.integers(len(self.source)))
        raise UserError(
            f"none of {_MAX_DRAWS} samples can be used; the last: {faults[-1]['path']}: {faults[-1]['reason']}. Are the "
            "pictures where the data says they are?"
        )


@dataclass(frozen=True)
class EvalItem:
    """A sample to measure on; `image` is None if it is bad, and `faults` then says why."""

    image: Optional[np.ndarray]
    label: Optional[int]
    index: int
    faults: List[Fault]


class EvalDataset:
    """Samples by index, without captions and without chance.

    Args:
        source: where samples come from.
        transform: called with a picture.
    """

    def __init__(self, source: Source, transform: Callable[..., np.ndarray]) -> None:
        self.source = source
        self.transform = transform

    def __getitem__(self, index: int) -> EvalItem:
        sample: Optional[Sample] = None
        try:
            sample = self.source.samples[index]
            return EvalItem(self.transform(load_image(sample.image)), sample.label, index, [])
        except BadSample as error:
            return EvalItem(None, None, index, [_fault(index, sample, error)])


def stack_images(images: Sequence[np.ndarray]) -> np.ndarray:
    """One array of the pictures of a batch: [B, 3, H, W] float32.

    Raises:
        UserError: they differ in size.
    """
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UserError(
            f"the pictures of a batch differ in size: {', '.join(map(str, shapes[:4]))}. Transforms have to end in one "
            "size: add CenterCrop or RandomResizedCrop, or use Resize with mode: squash"
        )
    return np.stack(images)


def _draw_caption(sample: Sample, rng: np.random.Generator) -> str:
    captions = [caption for caption in sample.captions if caption.strip()]
    if not captions:
        raise BadSample("no caption" if not sample.captions else "blank caption")
    return captions[int(rng.integers(len(captions)))]


def _fault(index: int, sample: Optional[Sample], error: BadSample) -> Fault:
    path = error.path if error.path is not None or sample is None else sample.image
    return {"index": index, "path": path, "reason": error.reason}
