"""What a training config says: one dataclass a section. Defaults live here and in the signatures of registered classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, List, Literal, Optional

from passl.datasets.sections import LoaderConfig
from passl.utils.errors import UserError
from passl.utils.registry import EVALUATORS, MODELS, OPTIMIZERS, SCHEDULES


@dataclass(frozen=True)
class DataConfig:
    """The data of a run.

    Args:
        train: pairs to train on.
        eval: labelled pictures that evaluators measure on, unless they name their own.
    """

    train: LoaderConfig
    eval: Optional[LoaderConfig] = None


@dataclass(frozen=True)
class CheckpointConfig:
    """When the training state is saved. It is always saved at the end and on Ctrl-C or SIGTERM.

    Args:
        every_steps: save after so many steps.
        every_epochs: save after so many epochs.
        keep: how many of the newest states stay.
        best: a metric such as `zero_shot.top1`; the model with its highest value is kept in `best/`.
    """

    every_steps: Optional[int] = None
    every_epochs: Optional[int] = 1
    keep: int = 3
    best: Optional[str] = None

    def __post_init__(self) -> None:
        for key in ("every_steps", "every_epochs", "keep"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"checkpoint.{key} is {value}; it is at least 1")


@dataclass(frozen=True)
class LogConfig:
    """What is written while training.

    Args:
        every_steps: a line in `metrics.jsonl` (and on a terminal that shows no progress bar) after so many steps.
    """

    every_steps: int = 10

    def __post_init__(self) -> None:
        if self.every_steps < 1:
            raise UserError(f"log.every_steps is {self.every_steps}; it is at least 1")


@dataclass(frozen=True)
class Expectation:
    """What the run should reach; it ends with an error when it does not.

    Args:
        metric: the name of a result, e.g. `zero_shot.top1`.
        at_least: the lowest value that meets the expectation.
    """

    metric: str
    at_least: float


@dataclass(frozen=True)
class RunConfig:
    """The top level of a training config.

    Args:
        model: what is trained.
        data: what it is trained and measured on.
        optimizer: how weights are updated.
        schedule: the rate over the run.
        epochs: passes over the training data; give this or `steps`.
        steps: length of the run in steps.
        seed: everything drawn at random derives from it.
        output_dir: the run folder; null makes it `outputs/` + the config's path below `configs/`.
        device: where to compute.
        precision: number format of the towers; bfloat16 and float16 need a GPU. Losses are float32 always.
        accumulate: micro-batches per step, each of `data.train.batch_size` samples per process. For losses that are means
            over rows; CLIPHead's compares the rows of a whole batch with each other, and more than 1 is refused.
        checkpoint: when the training state is saved.
        log: what is written while training.
        evaluate: evaluators, each with its interval.
        expect: what the run should reach.
    """

    model: Annotated[dict, MODELS]
    data: DataConfig
    optimizer: Annotated[dict, OPTIMIZERS]
    schedule: Annotated[dict, SCHEDULES]
    epochs: Optional[int] = None
    steps: Optional[int] = None
    seed: int = 0
    output_dir: Optional[str] = None
    device: Literal["gpu", "cpu"] = "gpu"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    accumulate: int = 1
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    evaluate: List[Annotated[dict, EVALUATORS]] = field(default_factory=list)
    expect: Optional[Expectation] = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise UserError(
                "give either epochs or steps, the length of the run, and not both; -o epochs=null takes a config's epochs out"
            )
        for key in ("epochs", "steps", "accumulate"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"{key} is {value}; it is at least 1")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; it is 0 or more")
