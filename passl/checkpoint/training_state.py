"""The whole training state on disk: written so that a kill at any moment leaves the newest whole one to continue from.

A state is a folder `checkpoints/step-<N>` with `weights.safetensors` (parameters and buffers), `optimizer.safetensors`,
`state.json` (position, schedule, scaler, resolved config) and `manifest.json` (size and SHA-256 of the others). It is
written under another name, synced and renamed, so a folder of this name is complete; the manifest finds what was
truncated or altered later. `checkpoints/latest` is a link to the newest.

There are no random states among it: everything drawn in training derives from (seed, step), see `passl.engine.step`,
and everything drawn for data from (seed, epoch, sample).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from passl.checkpoint.weights import read_weights, write_weights
from passl.utils.errors import UserError
from passl.utils.files import atomic_folder, sha256, sync_folder, write_json
from passl.utils.logging import get_logger

FORMAT_VERSION = 1
_WEIGHTS, _OPTIMIZER, _STATE, _MANIFEST = "weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
_LATEST = "latest"


@dataclass(frozen=True)
class TrainingState:
    """Everything needed to continue.

    Attributes:
        step: number of steps taken.
        weights: parameters and buffers by name.
        optimizer: the optimizer's arrays by `<kind>/<parameter>`.
        extra: what fits in JSON: scaler, best value, resolved config, sizes of the run.
        weights_metadata: what the header of the weights says to those who load them alone, such as their activation.
    """

    step: int
    weights: Dict[str, np.ndarray]
    optimizer: Dict[str, np.ndarray]
    extra: Dict[str, Any]
    weights_metadata: Dict[str, str] = field(default_factory=dict)


def save_state(checkpoints: Path, state: TrainingState, keep: int) -> Path:
    """Writes `state` to `checkpoints/step-<N>`, points `latest` to it, and keeps the newest `keep` up to it.

    Returns:
        the folder written.
    """
    folder = checkpoints / f"step-{state.step}"
    with atomic_folder(folder) as unfinished:
        write_weights(unfinished / _WEIGHTS, state.weights, state.weights_metadata)
        write_weights(unfinished / _OPTIMIZER, state.optimizer)
        write_json(unfinished / _STATE, {"format_version": FORMAT_VERSION, "step": state.step, **state.extra})
        files = {
            name: {"bytes": (unfinished / name).stat().st_size, "sha256": sha256(unfinished / name)}
            for name in (_WEIGHTS, _OPTIMIZER, _STATE)
        }
        write_json(unfinished / _MANIFEST, files)
    _point_latest_to(folder)
    states = list_states(checkpoints)
    passed_over = [path for step, path in states if step > state.step]  # damaged, or this run would not be before them
    for path in passed_over + [path for step, path in states if step <= state.step][keep:]:
        shutil.rmtree(path)
    return folder


def _point_latest_to(folder: Path) -> None:
    link = folder.with_name(f"{_LATEST}.new")
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    os.replace(link, folder.with_name(_LATEST))
    sync_folder(folder.parent)


def list_states(checkpoints: Path) -> List[Tuple[int, Path]]:
    """The states under `checkpoints`, newest first, by their names alone."""
    found = []
    for entry in checkpoints.glob("step-*"):
        match = re.fullmatch(r"step-(\d+)", entry.name)
        if match and entry.is_dir():
            found.append((int(match[1]), entry))
    return sorted(found, reverse=True)


def load_newest_state(checkpoints: Path) -> TrainingState:
    """The newest state that is whole. Damaged ones are named in a warning and passed over.

    Raises:
        UserError: there are states, and none is whole.
    """
    states = list_states(checkpoints)
    for _, folder in states:
        try:
            return load_state(folder)
        except UserError as error:
            get_logger().warning("%s; trying the checkpoint before it", error)
    raise UserError(f"{checkpoints}: none of its {len(states)} checkpoints is whole; start again in another folder")


def load_state(folder: Path) -> TrainingState:
    """Reads one state after checking every file against the manifest.

    Raises:
        UserError: no state there, a file missing, truncated or altered, or a format newer than this program.
    """
    folder = Path(folder)
    if not (folder / _STATE).is_file() and not (folder / _MANIFEST).is_file():
        raise UserError(f"{folder} is not a training state; give a folder checkpoints/step-<N>, or 'auto'")
    _check_manifest(folder)
    extra = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    if extra.pop("format_version") > FORMAT_VERSION:
        raise UserError(f"{folder} was written by a newer version of passl; update to continue from it")
    return TrainingState(extra.pop("step"), read_weights(folder / _WEIGHTS), read_weights(folder / _OPTIMIZER), extra)


def _check_manifest(folder: Path) -> None:
    try:
        files = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder}: its {_MANIFEST} cannot be read ({error})") from None
    if set(expected) != {_WEIGHTS, _OPTIMIZER, _STATE}:
        raise UserError(f"{folder}: its {_MANIFEST} lists {sorted(expected)}")
    for name, (size, digest) in expected.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder}: {name} is missing")
        if (folder / name).stat().st_size != size or sha256(folder / name) != digest:
            raise UserError(f"{folder}: {name} was truncated or altered (its checksum differs from {_MANIFEST})")
