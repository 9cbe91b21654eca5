"""A model as a folder that needs nothing else: model.safetensors, config.json, and the tokenizer's files.

    {"format": "passl", "format_version": 1, "weights": {"file": ..., "sha256": ...}, "spec": {...}}

`spec` is the model's specification (architecture, preprocessing, tokenizer) as plain data. The checksum is verified
whenever the folder is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, NoReturn, Optional, Protocol, Tuple

import numpy as np

from passl.checkpoint.safe_tensors import read_safetensors, write_safetensors
from passl.utils.errors import UserError
from passl.utils.files import PathLike, atomic_folder, sha256, write_json
from passl.utils.strict_json import read_mapping, shown

FORMAT_VERSION = 1
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"


class Savable(Protocol):
    """What can put its files into a folder: a tokenizer."""

    def save(self, folder: PathLike) -> None: ...


def save_model_folder(
    folder: PathLike, arrays: Mapping[str, np.ndarray], spec: Mapping[str, Any], tokenizer: Optional[Savable] = None
) -> None:
    """Writes a model folder; a kill at any moment leaves the old folder or the new one.

    Args:
        folder: new, empty, or a model folder, which is replaced.
        arrays: the weights by name.
        spec: the model's specification; plain data that JSON can hold.
        tokenizer: puts its files beside them.

    Raises:
        UserError: a file is in the way, or the folder holds other files, which replacing it would remove.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder to save the model to")
    with atomic_folder(folder) as unfinished:
        write_safetensors(unfinished / WEIGHTS_FILE, arrays, {"format": "passl"})
        weights = {"file": WEIGHTS_FILE, "sha256": sha256(unfinished / WEIGHTS_FILE)}
        config = {"format": "passl", "format_version": FORMAT_VERSION, "weights": weights, "spec": dict(spec)}
        write_json(unfinished / CONFIG_FILE, config)
        if tokenizer is not None:
            tokenizer.save(unfinished)
        check_replaceable(folder, unfinished)


def read_model_folder(folder: PathLike) -> Tuple[Dict[str, np.ndarray], Dict[str, Any]]:
    """The weights and the specification in a model folder.

    Raises:
        UserError: not a model folder of ours, of a newer format, or its weights differ from the recorded checksum.
    """
    folder = Path(folder)
    config = _read_config(folder)
    file = folder / WEIGHTS_FILE
    if not file.is_file():
        raise UserError(f"{folder}: {WEIGHTS_FILE} is missing beside {CONFIG_FILE}; copy the whole folder again")
    if sha256(file) != config["weights"]["sha256"]:
        raise UserError(
            f"{file} is not the file that {CONFIG_FILE} was written with (their checksums differ): it was truncated, "
            "altered or replaced. Copy the whole folder again; weights of your own are saved with save_pretrained"
        )
    return read_safetensors(file), config["spec"]


def read_spec(folder: PathLike) -> Dict[str, Any]:
    """The specification in a model folder, without reading its weights.

    Raises:
        UserError: not a model folder of ours, or of a newer format.
    """
    return _read_config(Path(folder))["spec"]


def is_model_folder(folder: PathLike) -> bool:
    """Whether `folder` has a config.json of ours (other toolkits use that name too)."""
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        return False
    try:
        return read_mapping(path, str(path), _refuse).get("format") == "passl"
    except UserError:  # no JSON, so not ours
        return False


def _read_config(folder: Path) -> Dict[str, Any]:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{folder} is not a model folder: it has no {CONFIG_FILE}. save_pretrained writes one")
    config = read_mapping(path, str(path), _refuse)
    if config.get("format") != "passl":
        raise UserError(f'{path} was not written by passl: it has no "format": "passl"')
    version = config.get("format_version")
    if type(version) is not int or version < 1:
        raise UserError(f"{path}: format_version is {shown(version)}, not a whole number")
    if version > FORMAT_VERSION:
        raise UserError(f"{path}: format_version {version} is newer than {FORMAT_VERSION}; update passl to read it")
    weights = config.get("weights")
    if not isinstance(weights, dict) or not isinstance(weights.get("sha256"), str):
        raise UserError(f"{path}: the checksum weights.sha256 is missing; copy the whole folder again")
    if not isinstance(config.get("spec"), dict):
        raise UserError(f"{path}: the specification spec is missing; copy the whole folder again")
    return config


def _refuse(reason: str) -> NoReturn:
    raise UserError(f"{reason}; copy the whole folder again") from None


def check_replaceable(old: Path, new: Path) -> None:
    """Raises `UserError` if putting the folder `new` in the place of `old` would remove files that `new` has not."""
    if not old.exists():
        return
    others = sorted({entry.name for entry in old.iterdir()} - {entry.name for entry in new.iterdir()})
    if others:
        raise UserError(f"{old} holds other files, which saving a model there would remove: {', '.join(others[:5])}")
