"""The config sections that describe data: which samples, what is done to them, in what portions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, List, Optional

from passl.utils.errors import UserError
from passl.utils.registry import DATASETS, TRANSFORMS


@dataclass(frozen=True)
class LoaderConfig:
    """A set of samples and how it is read.

    Args:
        dataset: the source of samples; `name` chooses it.
        batch_size: samples per process in a batch.
        transforms: what is done to each picture, in order; null takes the model's own preprocessing.
        num_workers: processes that read ahead; 0 reads in the training process. The samples do not depend on it.
        max_bad_fraction: share of the samples that may be unreadable before the run stops.
    """

    dataset: Annotated[dict, DATASETS]
    batch_size: int
    transforms: Optional[List[Annotated[dict, TRANSFORMS]]] = None
    num_workers: int = 0
    max_bad_fraction: float = 0.01

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch_size is {self.batch_size}; it is at least 1")
        if self.num_workers < 0:
            raise UserError(f"num_workers is {self.num_workers}; it is 0 or more")
        if not 0 <= self.max_bad_fraction <= 1:
            raise UserError(f"max_bad_fraction is {self.max_bad_fraction}; it lies in [0, 1]")
