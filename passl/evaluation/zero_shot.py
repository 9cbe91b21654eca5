"""Zero-shot classification: the class whose prompts are nearest to the picture (CLIP paper, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Union

import numpy as np
import paddle

from passl import distributed
from passl.checkpoint import layer_arrays, weights_hash
from passl.datasets import EvalLoader, build_transform
from passl.datasets.sections import LoaderConfig
from passl.evaluation.class_names import get_class_names
from passl.evaluation.metrics import (
    best_classes,
    bootstrap_interval,
    confusion_matrix,
    mean_per_class_recall,
    top_k_accuracy,
)
from passl.evaluation.templates import get_templates
from passl.inference import Predictor
from passl.utils.errors import UserError
from passl.utils.logging import get_logger
from passl.utils.registry import DATASETS, EVALUATORS


@dataclass(frozen=True)
class ZeroShotResult:
    """What an evaluation found.

    Attributes:
        metrics: `top1`, `top5`, `mean_per_class_recall` in 0..1, and `interval`, the bounds of a 95 % bootstrap of top1.
        measured: how: data, prompts, preprocessing, precision, weights.
        confusion: [C, C] counts, true class by predicted class.
        class_names: the C names.
    """

    metrics: Dict[str, Any]
    measured: Dict[str, Any]
    confusion: np.ndarray
    class_names: List[str]


@EVALUATORS.register()
class ZeroShot:
    """Zero-shot accuracy on labelled pictures.

    Args:
        templates: prompts with `{}` for the class name: the name of a known set, a file with one a line, or a list.
        class_names: names in the order of the labels: the name of a known set, a file with one a line, or a list; null
            takes the names that the data itself has.
        label: how results of this evaluator are called.
        data: the labelled pictures; null takes `data.eval`.
        every_epochs: measure after so many epochs; always at the end.
        every_steps: measure after so many steps.
        max_drop: measure before training too, and warn when top1 falls by more than this below it: a guard against
            forgetting when fine-tuning.
    """

    metrics = ("top1", "top5", "mean_per_class_recall")  # what can be chosen by or expected

    def __init__(
        self,
        templates: Union[str, List[str]],
        class_names: Optional[Union[str, List[str]]] = None,
        label: str = "zero_shot",
        data: Optional[LoaderConfig] = None,
        every_epochs: Optional[int] = 1,
        every_steps: Optional[int] = None,
        max_drop: Optional[float] = None,
    ) -> None:
        for key, value in (("every_epochs", every_epochs), ("every_steps", every_steps)):
            if value is not None and value < 1:
                raise UserError(f"{key} of evaluator {label!r} is {value}; it is at least 1, or null")
        self.templates = get_templates(templates)
        self.class_names = None if class_names is None else get_class_names(class_names)
        self.label = label
        self.data = LoaderConfig(**data) if isinstance(data, dict) else data
        self.every_epochs = every_epochs
        self.every_steps = every_steps
        self.max_drop = max_drop
        self._source: Any = None

    def prepare(self, default_data: Optional[LoaderConfig]) -> None:
        """Opens the data and checks that labels and class names fit, before anything is computed.

        Raises:
            UserError: no data, data without labels, or another number of class names than of classes.
        """
        self.data = self.data or default_data
        if self.data is None:
            raise UserError(f"evaluator {self.label!r} has no data: give data.eval, or `data` in the evaluator itself")
        try:
            self._source = DATASETS.build(self.data.dataset)
        except UserError as error:
            raise UserError(
                f"the data of evaluator {self.label!r}: {error}. To train without measuring: -o evaluate=[] "
                "-o checkpoint.best=null"
            ) from error
        name = self.data.dataset["name"]
        if any(sample.label is None for sample in self._source.samples):
            raise UserError(
                f"evaluator {self.label!r} needs labels, and the dataset {name} has none; use a labelled dataset such as "
                "ImageFolder, or Food101 with its official images/ and meta/ folders"
            )
        in_data = self._source.class_names
        if self.class_names is None:
            if in_data is None:
                raise UserError(f"evaluator {self.label!r} needs class_names: the dataset {name} names no classes")
            self.class_names = list(in_data)
        num_classes = len(in_data) if in_data is not None else 1 + max(sample.label for sample in self._source.samples)
        if num_classes != len(self.class_names):
            raise UserError(
                f"evaluator {self.label!r} has {len(self.class_names)} class names, and its data has {num_classes} classes"
            )
        if in_data is not None and not {*map(str.lower, in_data)} & {*map(str.lower, self.class_names)}:
            get_logger().warning(
                "%s: none of the class names (%s, ...) is one of the data's (%s, ...); is it the right list?",
                self.label,
                self.class_names[0],
                in_data[0],
            )
        if in_data is not None and self.class_names != list(in_data) and sorted(self.class_names) == sorted(in_data):
            raise UserError(
                f"evaluator {self.label!r} has the class names of its data in another order; leave class_names out to take "
                "the data's"
            )

    def run(self, model: paddle.nn.Layer) -> ZeroShotResult:
        """Measures `model` (a network with `encode_image` and `encode_text`); the same on any number of processes.

        Every process classifies its share of the pictures; predictions are gathered, and each process returns the result.
        """
        if self._source is None:
            self.prepare(None)
        predictor = Predictor(model, batch_size=self.data.batch_size)
        classes = predictor.embed_classes(self.class_names, self.templates)  # [C, E]
        transform = predictor.transform if self.data.transforms is None else build_transform(self.data.transforms)
        loader = EvalLoader(
            self._source,
            transform,
            self.data.batch_size,
            self.data.num_workers,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
        )
        k = min(5, len(self.class_names))
        rows: List[List[int]] = []  # sample, label, k best classes
        bad: List[Dict[str, Any]] = []
        for batch in loader:
            bad.extend(batch["bad"])
            if len(batch["label"]) == 0:
                continue
            scores = predictor.embed_pixels(batch["image"]) @ classes.T  # [B, C]
            best = best_classes(scores, k)  # [B, k]
            for index, label, top in zip(batch["index"].tolist(), batch["label"].tolist(), best.tolist()):
                rows.append([index, label, *top])
        distributed.barrier()  # shares may take unequally long
        everywhere = distributed.gather_objects({"rows": rows, "bad": bad})
        return self._result(predictor, everywhere)

    def _result(self, predictor: Predictor, everywhere: List[Dict[str, Any]]) -> ZeroShotResult:
        bad = [fault for part in everywhere for fault in part["bad"]]
        num_samples = len(self._source.samples)
        if len(bad) > self.data.max_bad_fraction * num_samples:
            raise UserError(
                f"{len(bad)} of {num_samples} pictures of evaluator {self.label!r} cannot be read, more than "
                f"max_bad_fraction = {self.data.max_bad_fraction} allows; the first: {bad[0]['path']}: {bad[0]['reason']}"
            )
        if bad:
            get_logger().warning(
                "%s: %d of %d pictures cannot be read and do not count", self.label, len(bad), num_samples
            )
        table = np.array(sorted(row for part in everywhere for row in part["rows"]), dtype="int64")
        if len(table) == 0:
            raise UserError(f"evaluator {self.label!r} has no picture that can be read")
        labels, best = table[:, 1], table[:, 2:]
        top1 = top_k_accuracy(best, labels, 1)
        num_classes = len(self.class_names)
        metrics = {
            "top1": top1,
            "top5": top_k_accuracy(best, labels, 5),
            "mean_per_class_recall": mean_per_class_recall(best[:, 0], labels, num_classes),
            "interval": list(bootstrap_interval(best[:, 0] == labels)),
        }
        measured = {
            "dataset": dict(self.data.dataset),
            "num_samples": len(table),
            "num_bad_samples": len(bad),
            "templates": self.templates,
            "num_classes": num_classes,
            "class_names": self.class_names,
            "preprocessing": self.data.transforms or predictor.model.spec["preprocessing"],
            "precision": "float32",
            # Only the first process writes results; the others spare themselves the copy of all weights.
            "weights_sha256": weights_hash(layer_arrays(predictor.model)) if distributed.rank() == 0 else None,
        }
        confusion = confusion_matrix(best[:, 0], labels, num_classes)
        return ZeroShotResult(metrics, measured, confusion, self.class_names)
