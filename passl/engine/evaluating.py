"""When evaluators run in training, and what becomes of their results."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import paddle

from passl.datasets.sections import LoaderConfig
from passl.engine.run_folder import RunFolder
from passl.utils.errors import UserError
from passl.utils.logging import get_logger
from passl.utils.registry import EVALUATORS


class Evaluations:
    """The evaluators of a run.

    Args:
        nodes: their config nodes.
        default_data: the data of those that name none.
        steps_per_epoch: to know when an epoch ends.
        best: the metric whose highest value is kept, such as `zero_shot.top1`.
        expected: the metric that the run's expectation is about.

    Raises:
        UserError: evaluators of the same label, a metric that none of them measures, or what they raise themselves.
    """

    def __init__(
        self,
        nodes: List[dict],
        default_data: Optional[LoaderConfig],
        steps_per_epoch: int,
        best: Optional[str] = None,
        expected: Optional[str] = None,
    ) -> None:
        self._evaluators = [EVALUATORS.build(node) for node in nodes]
        labels = [evaluator.label for evaluator in self._evaluators]
        for label in labels:
            if labels.count(label) > 1:
                raise UserError(f"two evaluators have the label {label!r}; give each its own `label`")
        for evaluator in self._evaluators:
            evaluator.prepare(default_data)
        measured = [f"{evaluator.label}.{metric}" for evaluator in self._evaluators for metric in evaluator.metrics]
        for key, metric in (("checkpoint.best", best), ("expect.metric", expected)):
            if metric is not None and metric not in measured:
                raise UserError(
                    f"{key} is {metric!r}, which no evaluator measures; accepted: {', '.join(measured) or 'none'}"
                )
        self._best_metric = best
        self._steps_per_epoch = steps_per_epoch
        self.best_value: Optional[float] = None
        self.before: Dict[str, float] = {}  # top1 before training, of the evaluators that guard against forgetting
        self.latest: Dict[str, Dict[str, Any]] = {}
        self.confusions: Dict[str, Tuple[np.ndarray, List[str]]] = {}

    def state(self) -> Dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best_metric": self._best_metric, "best_value": self.best_value, "before": self.before}

    def load_state(self, state: Mapping[str, Any], best_stands: bool) -> None:
        """Takes over what `state` gave; the best value only if it is of this metric and its model stands there."""
        self.before = dict(state["before"])
        if best_stands and state["best_metric"] == self._best_metric:
            self.best_value = state["best_value"]

    def run_before_training(self, model: paddle.nn.Layer, folder: Optional[RunFolder]) -> None:
        """Measures what training must not lose."""
        for evaluator in self._evaluators:
            if evaluator.max_drop is not None:
                self.before[evaluator.label] = self._run(evaluator, 0, model, folder)["top1"]

    def due(self, step: int, total_steps: int) -> list:
        """The evaluators to run after `step`."""
        return [
            evaluator
            for evaluator in self._evaluators
            if step == total_steps
            or (evaluator.every_steps and step % evaluator.every_steps == 0)
            or (evaluator.every_epochs and step % (evaluator.every_epochs * self._steps_per_epoch) == 0)
        ]

    def run_due(self, step: int, total_steps: int, model: paddle.nn.Layer, folder: Optional[RunFolder]) -> None:
        """Runs those that are due; keeps the best model; warns when a guard finds that the model forgets."""
        for evaluator in self.due(step, total_steps):
            metrics = self._run(evaluator, step, model, folder)
            self._keep_best(evaluator.label, metrics, model, folder)
            if evaluator.label in self.before:
                self._warn_of_forgetting(evaluator, metrics["top1"])

    def run_all(self, model: paddle.nn.Layer, folder: Optional[RunFolder]) -> None:
        """Runs every evaluator once, outside training."""
        for evaluator in self._evaluators:
            self._run(evaluator, None, model, folder)

    def _run(
        self, evaluator: Any, step: Optional[int], model: paddle.nn.Layer, folder: Optional[RunFolder]
    ) -> Dict[str, Any]:
        """One evaluation; `step` is None outside training."""
        result = evaluator.run(model)
        self.latest[evaluator.label] = {**result.metrics, "measured": {**result.measured, "step": step}}
        self.confusions[evaluator.label] = (result.confusion, result.class_names)
        low, high = result.metrics["interval"]
        get_logger().info(
            "%s%s: top1 %.2f %% (95 %% interval %.2f to %.2f), top5 %.2f %%, mean per class %.2f %%, %d pictures",
            evaluator.label,
            "" if step is None else f" after step {step}",
            *(100 * value for value in (result.metrics["top1"], low, high, result.metrics["top5"])),
            100 * result.metrics["mean_per_class_recall"],
            result.measured["num_samples"],
        )
        if folder is not None:
            folder.add_result(evaluator.label, self.latest[evaluator.label])
            if step is not None:
                folder.append(folder.evaluations, {"step": step, "name": evaluator.label, **result.metrics})
        return result.metrics

    def _keep_best(
        self, label: str, metrics: Mapping[str, Any], model: paddle.nn.Layer, folder: Optional[RunFolder]
    ) -> None:
        best_label, _, key = (self._best_metric or "").rpartition(".")
        if label != best_label:
            return
        if self.best_value is None or metrics[key] > self.best_value:
            if folder is not None:
                model.save_pretrained(folder.best)
            self.best_value = metrics[key]

    def _warn_of_forgetting(self, evaluator: Any, top1: float) -> None:
        drop = self.before[evaluator.label] - top1
        if drop > evaluator.max_drop:
            get_logger().warning(
                "the model forgets: %s fell from %.1f %% before training to %.1f %%. A lower rate, fewer steps, frozen parts or "
                "interpolating with the weights it started from keep more (docs/finetune.md)",
                evaluator.label,
                100 * self.before[evaluator.label],
                100 * top1,
            )
