"""What is written beside weights about their model: our own records and other toolkits' configs. Needs no Paddle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

from passl.checkpoint import is_model_folder, read_metadata, read_spec
from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.zoo.foreign_configs import read_foreign_spec
from passl.zoo.names import is_model_name
from passl.zoo.pretrained import hub_path

# No model here comes near it, and building one of a made-up million blocks would take the machine.
_MAX_BLOCKS = 1000
_IMAGE_KEYS = {"size", "mean", "std", "interpolation", "resize_mode"}


def local_path(name_or_path: PathLike, with_weights: bool = True) -> Optional[Path]:
    """The folder or file that a user means; None for a model's name, or for what is neither.

    Args:
        name_or_path: a name, a path, or `hf-hub:organisation/name`, which is fetched.
        with_weights: whether the weights are fetched too.

    Raises:
        UserError: a repository of the model hub that cannot be fetched.
    """
    given = os.fspath(name_or_path)
    if is_model_name(given):
        return None
    fetched = hub_path(given, with_weights)
    if fetched is not None:
        return fetched
    return Path(given) if os.path.exists(given) else None


def find_record(path: Path, family: Optional[str] = None) -> Optional[Tuple[Dict[str, Any], str]]:
    """The specification written beside weights or in their header, as it stands there, and where.

    Args:
        path: the weights, a file or a folder.
        family: their layout, where it is known.

    Raises:
        UserError: a record or a config that cannot be read, or that describes a model which passl cannot build.
    """
    folder = path if path.is_dir() else path.parent
    if is_model_folder(folder):
        found: Optional[Tuple[Dict[str, Any], str]] = read_spec(folder), str(folder / "config.json")
    elif family in ("passl", "passl-2021"):
        metadata = read_metadata(path) if path.is_dir() or path.suffix == ".safetensors" else {}
        found = _parsed(metadata["spec"], path) if "spec" in metadata else None
    else:
        found = read_foreign_spec(folder, family)
    if found is not None:
        _check_form(*found)
    return found


def require_record(path: Path) -> Tuple[Dict[str, Any], str]:
    """The specification of the model that a folder, or a file of ours, holds; see `find_record`.

    Raises:
        UserError: also where there is none.
    """
    record = find_record(path, None if path.is_dir() else "passl")
    if record is None:
        raise UserError(
            f"{path} does not say which model it holds: it has no config.json and no open_clip_config.json"
            + ("" if path.is_dir() else " beside it, and no record of passl in it")
            + ". Name the model and give this as its weights: create_model(name, pretrained=...)"
        )
    return record


def _parsed(text: Any, path: Path) -> Tuple[Dict[str, Any], str]:
    place = f"the header of {path}"
    try:
        return json.loads(text), place
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: its record of the model (spec) is not JSON ({str(error)[:100]})") from None


def _check_form(spec: Any, place: str) -> None:
    """Raises `UserError` unless a record has the three sections of a specification; keys are checked where it is used."""
    sections = spec if isinstance(spec, dict) else {}
    architecture, images = sections.get("architecture"), sections.get("preprocessing")
    if (
        not isinstance(architecture, dict)
        or not isinstance(images, dict)
        or not set(images) >= _IMAGE_KEYS
        or not isinstance(sections.get("tokenizer"), (dict, type(None)))
    ):
        raise UserError(
            f"{place}: the record of the model lacks architecture, preprocessing ({', '.join(sorted(_IMAGE_KEYS))}) or "
            "tokenizer. Get the file again, or name the model it belongs to"
        )
    for tower in (architecture, architecture.get("image"), architecture.get("text")):
        for key in ("num_layers", "vision_layers", "transformer_layers"):
            blocks = tower.get(key) if isinstance(tower, Mapping) else None
            if isinstance(blocks, int) and blocks > _MAX_BLOCKS:
                raise UserError(f"{place}: {key} is {blocks:,}; a tower has at most {_MAX_BLOCKS:,} blocks")
