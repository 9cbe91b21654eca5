"""What is written beside weights about their model: our own records and other toolkits' configs. Needs no Paddle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from passl.checkpoint import is_model_folder, read_metadata, read_spec
from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.zoo.foreign_configs import read_foreign_spec
from passl.zoo.names import is_model_name
from passl.zoo.pretrained import HUB_PREFIX, locate


def local_path(name_or_path: PathLike) -> Optional[Path]:
    """The folder or file that a user means; None for a model's name, or for what is neither.

    Raises:
        UserError: a repository of the model hub that cannot be fetched.
    """
    given = os.fspath(name_or_path)
    if is_model_name(given):
        return None
    if given.startswith(HUB_PREFIX):
        return locate(None, given).path
    return Path(given) if os.path.exists(given) else None


def find_record(path: Path, family: Optional[str] = None) -> Optional[Tuple[Dict[str, Any], str]]:
    """The specification written beside weights or in their header, as it stands there, and where.

    Args:
        path: the weights, a file or a folder.
        family: their layout, where it is known.

    Raises:
        UserError: a config that cannot be read, or that describes a model which passl cannot build.
    """
    folder = path if path.is_dir() else path.parent
    if is_model_folder(folder):
        return read_spec(folder), str(folder / "config.json")
    if family in ("passl", "passl-2021"):
        metadata = read_metadata(path) if path.is_dir() or path.suffix == ".safetensors" else {}
        return (json.loads(metadata["spec"]), f"the header of {path}") if "spec" in metadata else None
    return read_foreign_spec(folder, family)


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
