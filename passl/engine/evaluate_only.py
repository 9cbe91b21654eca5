"""Measuring weights with the evaluators of a config, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

from passl import distributed
from passl.engine.building import build_model, choose_device
from passl.engine.evaluating import Evaluations
from passl.engine.run_config import RunConfig
from passl.engine.run_folder import RunFolder
from passl.utils.errors import UserError


def evaluate_only(
    config: RunConfig,
    output_dir: Path,
    weights: Optional[str],
    partial: bool = False,
    resize_positions: bool = False,
) -> Dict[str, Any]:
    """Runs every evaluator of `config` once and writes `results.json` and the confusion pictures to `output_dir`.

    Returns:
        the results by label.

    Raises:
        UserError: no weights, no evaluators, or what building and evaluating raise.
    """
    if weights is None:
        raise UserError(
            "measuring needs weights: give --load FILE_OR_FOLDER, such as a run's best/ or checkpoints/latest"
        )
    if not config.evaluate:
        raise UserError("the config has no evaluators: its section `evaluate` is empty")
    choose_device(config.device)
    expected = config.expect and config.expect.metric
    evaluations = Evaluations(config.evaluate, config.data.eval, steps_per_epoch=1, expected=expected)
    model = build_model(config.model, config.seed, weights, partial, resize_positions)
    folder = RunFolder(output_dir, resume=False) if distributed.rank() == 0 else None
    try:
        evaluations.run_all(model.model, folder)
        if folder is not None:
            folder.draw_confusions(evaluations.confusions)
    finally:
        if folder is not None:
            folder.close()
    return evaluations.latest
