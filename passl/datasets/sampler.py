"""Which samples a step trains on: a function of seed, step and process, and of nothing else."""

from __future__ import annotations

import itertools
from typing import Iterator, List, Optional, Tuple

import numpy as np

from passl.utils.errors import UserError


class PositionSampler:
    """For each global step, this process's list of `(epoch, index)`.

    Epoch e is a permutation drawn from `(seed, e)`, cut into global batches; what does not fill a batch at the end is
    left out, other samples each epoch. Process r of R takes the r-th of R equal parts of a global batch, so the parts in
    the order of the processes are the batch that a single process would have.

    `sampler[step]` is the step's list; iteration runs from `start_step` to `total_steps`, or for ever.

    Args:
        num_samples: samples in the source.
        batch_size: samples per process and step.
        seed: what the permutations derive from.
        rank: number of this process.
        world_size: number of processes.
        start_step: the first step of iteration.
        total_steps: one past the last step of iteration; None never ends.
        shuffle: false keeps the order of the source.

    Raises:
        UserError: fewer samples than a global batch has.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
        total_steps: Optional[int] = None,
        shuffle: bool = True,
    ) -> None:
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start_step = start_step
        self.total_steps = total_steps
        self.shuffle = shuffle
        self.global_batch_size = batch_size * world_size
        self.steps_per_epoch = num_samples // self.global_batch_size
        if self.steps_per_epoch == 0:
            raise UserError(
                f"{num_samples} samples are fewer than the global batch of {self.global_batch_size} ({batch_size} per "
                f"process, {world_size} processes); lower batch_size"
            )
        self._epoch = -1
        self._order: np.ndarray = np.arange(0)

    @property
    def steps(self) -> Iterator[int]:
        """The steps of iteration."""
        if self.total_steps is None:
            return itertools.count(self.start_step)
        return iter(range(self.start_step, self.total_steps))

    def __getitem__(self, step: int) -> List[Tuple[int, int]]:
        epoch, batch = divmod(step, self.steps_per_epoch)
        first = batch * self.global_batch_size + self.rank * self.batch_size
        return [(epoch, int(index)) for index in self._order_of(epoch)[first : first + self.batch_size]]

    def __iter__(self) -> Iterator[List[Tuple[int, int]]]:
        return (self[step] for step in self.steps)

    def _order_of(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            order = np.arange(self.num_samples, dtype=np.uint32 if self.num_samples < 2**32 else np.int64)
            if self.shuffle:
                np.random.default_rng([self.seed, epoch]).shuffle(order)
            self._epoch, self._order = epoch, order
        return self._order
