"""Reading and writing weight files: one function each, for every accepted kind of file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NoReturn, Optional, Tuple

import numpy as np

from passl.checkpoint.dtypes import check_writable
from passl.checkpoint.folders import CONFIG_FILE, WEIGHTS_FILE, is_model_folder, read_model_folder
from passl.checkpoint.pickles import looks_like_pickle, read_pickle, write_pickle
from passl.checkpoint.safe_tensors import (
    looks_like_safetensors,
    read_safetensors,
    read_safetensors_metadata,
    write_safetensors,
)
from passl.utils.errors import UserError
from passl.utils.files import PathLike, atomic_file
from passl.utils.registry import nearest

SAFETENSORS_SUFFIX = ".safetensors"
PICKLE_SUFFIXES = (".pdparams", ".pdopt", ".pd")
_TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
_STEP_WEIGHTS = "weights.safetensors"
_ACCEPTED = (
    f"Accepted: {SAFETENSORS_SUFFIX}, {', '.join(PICKLE_SUFFIXES)} (as paddle.save writes them), a model folder "
    f"({WEIGHTS_FILE} with {CONFIG_FILE}) and a training checkpoint (checkpoints/step-<N>)"
)
# What paddle.load makes tensors of; uint16 is missing because it means bfloat16 there.
_PICKLED = frozenset("bool int8 int16 int32 int64 uint8 float16 float32 float64".split())


def read_weights(path: PathLike) -> Dict[str, np.ndarray]:
    """The arrays of a weight file, a model folder or a training checkpoint, by name. Never runs code from the file.

    Of a Paddle file that holds more than arrays, the arrays are returned: those under `state_dict` if there is such an
    entry, or else all, names of nested ones joined with dots. bfloat16 comes out as float32, which is exact.

    Raises:
        UserError: no such file, none of the accepted kinds, truncated, altered or malicious.
    """
    file = _find_file(Path(path))
    if file.name == WEIGHTS_FILE and Path(path).is_dir() and is_model_folder(file.parent):
        return read_model_folder(file.parent)[0]
    if _is_safetensors(file):
        return read_safetensors(file)
    arrays = {name: leaf for name, leaf in _leaves(file) if isinstance(leaf, np.ndarray)}
    if not arrays:
        raise UserError(f"{file} holds no named arrays. Save a state dict: paddle.save(layer.state_dict(), path)")
    return arrays


def read_metadata(path: PathLike) -> Dict[str, Any]:
    """What a weight file says beside its arrays: the metadata of safetensors; the plain values in a Paddle file."""
    file = _find_file(Path(path))
    if _is_safetensors(file):
        return dict(read_safetensors_metadata(file))
    content = read_pickle(file)
    return {name: leaf for name, leaf in _flatten(content, "", file) if not isinstance(leaf, np.ndarray)}


def write_weights(
    path: PathLike, arrays: Mapping[str, np.ndarray], metadata: Optional[Mapping[str, str]] = None
) -> None:
    """Writes `arrays` as safetensors or as a file for `paddle.load`, by the suffix of `path`, atomically.

    The same names, numbers and metadata always give the same bytes.

    Args:
        path: ends in .safetensors or .pdparams.
        arrays: by name; plain numbers only.
        metadata: text by name, kept in the header of a safetensors file.

    Raises:
        UserError: another suffix, an array that the format cannot hold, or metadata for a .pdparams file.
    """
    path = Path(path)
    if path.suffix == SAFETENSORS_SUFFIX:
        write_safetensors(path, arrays, metadata or {})
    elif path.suffix in PICKLE_SUFFIXES:
        check_writable(arrays, _PICKLED, path)
        if metadata:
            raise UserError(f"{path}: a {path.suffix} file holds arrays alone; metadata needs {SAFETENSORS_SUFFIX}")
        with atomic_file(path) as file:
            write_pickle(file, {name: arrays[name] for name in sorted(arrays)})
    else:
        raise UserError(
            f"{path}: weights are not written as {path.suffix!r}; name the file {SAFETENSORS_SUFFIX} or .pdparams"
        )


def weights_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, number formats, shapes and numbers, sorted by name: the same for any kind of file."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode("utf-8") + b"\n")
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _find_file(path: Path) -> Path:
    """The file to read for what the user named: itself, or the weights in a folder."""
    if path.is_dir():
        return _file_in_folder(path)
    if not path.exists():
        raise UserError(f"there is no weight file {path}.{_beside(path)}")
    if not path.is_file():
        raise UserError(f"{path} is not a regular file. {_ACCEPTED}")
    if path.name.endswith(".index.json"):
        _refuse_index(path)
    if path.suffix in _TORCH_SUFFIXES:
        _refuse_torch(path)
    if path.suffix != SAFETENSORS_SUFFIX and path.suffix not in PICKLE_SUFFIXES:
        raise UserError(f"{path}: {path.suffix or 'no suffix'} is no known kind of weight file. {_ACCEPTED}")
    return path


def _file_in_folder(folder: Path) -> Path:
    for name in (WEIGHTS_FILE, _STEP_WEIGHTS):
        if (folder / name).is_file():
            return folder / name
    names = sorted(entry.name for entry in folder.iterdir())
    for name in names:
        if name.endswith(".index.json"):
            _refuse_index(folder / name)
    files = [name for name in names if Path(name).suffix in (SAFETENSORS_SUFFIX, *PICKLE_SUFFIXES)]
    steps = [name for name in names if name.startswith("step-")] or [f for f in ("best", "checkpoints") if f in names]
    hint = f" It holds {_some(files or steps)}: name one of them." if files or steps else ""
    raise UserError(f"the folder {folder} holds no {WEIGHTS_FILE} and no {_STEP_WEIGHTS}.{hint} {_ACCEPTED}")


def _refuse_index(path: Path) -> NoReturn:
    raise UserError(f"{path}: weights in several files (shards) are not read yet; join them into one .safetensors file")


def _refuse_torch(path: Path) -> NoReturn:
    raise UserError(f"{path}: files of PyTorch are not read yet; save them as {SAFETENSORS_SUFFIX}. {_ACCEPTED}")


def _beside(path: Path) -> str:
    """What to say when `path` is missing: the nearest name in its folder, or that the folder is missing."""
    if not path.parent.is_dir():
        return f" The folder {path.parent} does not exist either."
    names = sorted(
        entry.name
        for entry in path.parent.iterdir()
        if entry.is_dir() or entry.suffix in (SAFETENSORS_SUFFIX, *PICKLE_SUFFIXES)
    )
    weights = [name for name in names if Path(name).suffix]
    return nearest(path.name, names) + (f" In {path.parent} there are: {_some(weights)}." if weights else "")


def _some(names: List[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _is_safetensors(file: Path) -> bool:
    """Whether to read `file` as safetensors; if not, it is a pickle."""
    with open(file, "rb") as opened:
        start = opened.read(9)
    if not start:
        raise UserError(f"{file} is empty (0 bytes): writing or downloading it was broken off; get it again")
    if start.startswith(b"PK\x03\x04"):
        _refuse_torch(file)
    if file.suffix == SAFETENSORS_SUFFIX or looks_like_safetensors(start):
        return True
    if not looks_like_pickle(start):
        raise UserError(
            f"{file}: its content is neither safetensors nor what paddle.save writes for a state dict "
            f"(static-graph parameters and single variables saved in binary are not read). {_ACCEPTED}"
        )
    return False


def _leaves(file: Path) -> Iterator[Tuple[str, Any]]:
    content = read_pickle(file)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    return _flatten(content, "", file)


def _flatten(value: Any, name: str, file: Path) -> Iterator[Tuple[str, Any]]:
    """The leaves of nested dicts and lists under names joined with dots."""
    if not isinstance(value, (dict, list, tuple)):
        if name:
            yield name, value
        return
    seen = set()
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        for full, leaf in _flatten(entry, f"{name}.{key}" if name else str(key), file):
            if full in seen:
                raise UserError(f"{file}: two entries in it are named {full!r}")
            seen.add(full)
            yield full, leaf
