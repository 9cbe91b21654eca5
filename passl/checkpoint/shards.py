"""Weights in several files: an index (`model.safetensors.index.json`) says which file holds which array.

    {"metadata": {"total_size": 2471645608}, "weight_map": {"logit_scale": "model-00001-of-00002.safetensors", ...}}

The set counts as a whole: a file that is missing, an array that its file lacks and one that stands in a second file are
refused.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional

import numpy as np

from passl.utils.errors import UserError
from passl.utils.strict_json import read_mapping, shown

INDEX_SUFFIX = ".index.json"
_MAX_INDEX = 64 << 20
# How the file of one part of several is named: its number and how many there are.
_PART = re.compile(r"-(\d{1,6})-of-(\d{1,6})\.[a-z]+$")
_SHOWN = 5


def read_shards(index: Path, read_file: Callable[[Path], Mapping[str, np.ndarray]]) -> Dict[str, np.ndarray]:
    """The arrays of all files of an index, in the order of the index.

    Args:
        index: its path; the files stand beside it.
        read_file: reads one of them.

    Raises:
        UserError: the index is malformed or leads out of its folder; files are missing; they do not hold what it says.
    """
    file_of = _weight_map(index)
    arrays: Dict[str, np.ndarray] = {}
    for file in dict.fromkeys(file_of.values()):
        found = read_file(index.parent / file)
        expected = {name for name, place in file_of.items() if place == file}
        lacking = sorted(expected - found.keys())
        if lacking:
            _refuse(index, f"it says that {file} holds {_some(lacking)}, and that file does not")
        for name in found.keys() - expected:
            where = f"{file_of[name]} too" if name in file_of else "no file by it"
            _refuse(index, f"{name[:80]!r} is in {file} and belongs to {where}")
        arrays.update(found)
    return {name: arrays[name] for name in file_of}


def read_index_metadata(index: Path) -> Dict[str, Any]:
    """What an index says beside the places: plain values by name."""
    metadata = _parse(index).get("metadata", {})
    if not isinstance(metadata, dict):
        _refuse(index, "its metadata is not a mapping")
    return {name: value for name, value in metadata.items() if isinstance(value, (str, int, float))}


def refuse_part(path: Path) -> None:
    """Refuses the file of one part of several by its name, as half of the weights would look like a broken model."""
    match = _PART.search(path.name)
    if match is None or int(match[2]) < 2:
        return
    indexes = sorted(entry.name for entry in path.parent.iterdir() if entry.name.endswith(INDEX_SUFFIX))
    hint = (
        f"name {indexes[0]} instead"
        if indexes
        else "get the index (…index.json) and the other parts, and name the index"
    )
    raise UserError(f"{path} is part {int(match[1])} of {int(match[2])}; {hint}")


def find_parts(folder: Path) -> Optional[Path]:
    """A file in `folder` that is a part of several by its name."""
    return next((path for path in sorted(folder.iterdir()) if _PART.search(path.name)), None)


def _weight_map(index: Path) -> Dict[str, str]:
    file_of = _parse(index).get("weight_map")
    if not isinstance(file_of, dict) or not file_of:
        _refuse(index, "it has no weight_map, which says where each array is")
    for name, file in file_of.items():
        if not isinstance(file, str) or not _is_plain_name(file):
            _refuse(index, f"it places {name[:80]!r} in {shown(file)}, which is no name of a file beside it")
    files = sorted(set(file_of.values()))
    parts = [match for match in map(_PART.search, files) if match]
    for part in parts:
        if int(part[2]) != len(parts):
            _refuse(index, f"it names {len(parts)} of the {int(part[2])} files that their names count")
    missing = [file for file in files if not (index.parent / file).is_file()]
    if missing:
        _refuse(index, f"{len(missing)} of its {len(files)} files are missing in {index.parent}: {_some(missing)}")
    return file_of


def _parse(index: Path) -> Dict[str, Any]:
    return read_mapping(index, "its content", functools.partial(_refuse, index), _MAX_INDEX)


def _is_plain_name(file: str) -> bool:
    return bool(file) and not set(file) & set("/\\\0") and not file.startswith(".") and not file.endswith(INDEX_SUFFIX)


def _some(names: List[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:80] for name in names[:_SHOWN]) + more


def _refuse(index: Path, reason: str) -> NoReturn:
    raise UserError(f"{index}: {reason}. Nothing was loaded; get the whole set of files again")
