"""Batches for training and for evaluation, read ahead by other processes if asked for."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, Optional

import numpy as np

from passl.datasets.sampler import PositionSampler
from passl.datasets.samples import EvalDataset, TrainDataset, stack_images
from passl.datasets.sources.base import Source
from passl.datasets.workers import WorkerDied, map_in_order

Batch = Dict[str, Any]


class TrainLoader:
    """Endless, or until `total_steps`: the batches of each step, the same for any number of workers.

    A batch is a dict: `image` float32 [B, 3, H, W] and `text` int64 [B, L] as tensors; `index` int64 [B], the samples
    really used, as an array; `bad`, a list of the bad samples met, each with `index`, `path` and `reason`.

    Args:
        source: where samples come from.
        transform: called with a picture and a generator.
        tokenizer: its `ids(texts)` gives int64 [B, L].
        batch_size: samples per process and step.
        num_workers: processes that read ahead; 0 reads when a batch is asked for.
        seed: what order, captions and augmentation derive from.
        start_step: the first step to read.
        total_steps: one past the last step; None never ends.
        rank: number of this process.
        world_size: number of processes.
        shuffle: false keeps the order of the source.
    """

    def __init__(
        self,
        source: Source,
        transform: Callable[..., np.ndarray],
        tokenizer: Any,
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        start_step: int = 0,
        total_steps: Optional[int] = None,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
    ) -> None:
        self.dataset = TrainDataset(source, transform, seed)
        self.sampler = PositionSampler(
            len(source), batch_size, seed, rank, world_size, start_step, total_steps, shuffle
        )
        self.tokenizer = tokenizer
        self.num_workers = num_workers

    def __iter__(self) -> Iterator[Batch]:
        with contextlib.closing(map_in_order(self._read, self.sampler.steps, self.num_workers)) as batches:
            try:
                for batch in batches:
                    yield {**batch, **_tensors(image=batch["image"], text=batch["text"])}
            except WorkerDied as error:
                samples = ", ".join(str(index) for _, index in self.sampler[error.task][:64])
                raise WorkerDied(f"{error}. It was at step {error.task + 1}, samples {samples}", error.task) from None

    def _read(self, step: int) -> Batch:
        items = [self.dataset[position] for position in self.sampler[step]]
        return {
            "image": stack_images([item.image for item in items]),
            "text": self.tokenizer.ids([item.caption for item in items]),
            "index": np.array([item.index for item in items], np.int64),
            "bad": [fault for item in items for fault in item.faults],
        }


class EvalLoader:
    """This process's share of the samples, once, in order: every `world_size`-th one.

    A batch is a dict: `image` float32 [B, 3, H, W] as a tensor; `index` and, if the source has labels, `label`, int64 [B],
    as arrays; `bad`, a list of the bad samples, which are left out of the other entries. A batch may therefore be smaller
    than `batch_size`, or empty.

    Args:
        source: where samples come from.
        transform: called with a picture.
        batch_size: samples in a batch.
        num_workers: processes that read ahead; 0 reads when a batch is asked for.
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        source: Source,
        transform: Callable[..., np.ndarray],
        batch_size: int,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset = EvalDataset(source, transform)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.indices = range(rank, len(source), world_size)

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        with contextlib.closing(map_in_order(self._read, range(len(self)), self.num_workers)) as batches:
            for batch in batches:
                yield {**batch, **_tensors(image=batch["image"])}

    def _read(self, number: int) -> Batch:
        indices = self.indices[number * self.batch_size : (number + 1) * self.batch_size]
        items = [self.dataset[index] for index in indices]
        good = [item for item in items if item.image is not None]
        images = [item.image for item in items if item.image is not None]
        batch: Batch = {
            "image": stack_images(images) if images else np.zeros((0, 3, 0, 0), np.float32),
            "index": np.array([item.index for item in good], np.int64),
            "bad": [fault for item in items for fault in item.faults],
        }
        if all(item.label is not None for item in good):
            batch["label"] = np.array([item.label for item in good], np.int64)
        return batch


def _tensors(**arrays: np.ndarray) -> Dict[str, Any]:
    import paddle  # here, so that what only reads or prepares data does not wait for it

    return {name: paddle.to_tensor(array) for name, array in arrays.items()}
