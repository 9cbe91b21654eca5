"""Reading and writing weight files: one function each, for every accepted kind of file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from passl.checkpoint.dtypes import check_writable
from passl.checkpoint.folders import CONFIG_FILE, WEIGHTS_FILE, is_model_folder, read_model_folder
from passl.checkpoint.mapped_files import MappedFile, StoredArray
from passl.checkpoint.paddle_pickles import read_paddle, write_pickle
from passl.checkpoint.pickles import looks_like_pickle
from passl.checkpoint.safe_tensors import (
    looks_like_safetensors,
    read_safetensors,
    read_safetensors_metadata,
    write_safetensors,
)
from passl.checkpoint.shards import INDEX_SUFFIX, find_parts, read_index_metadata, read_shards, refuse_part
from passl.checkpoint.torch_archives import is_old_torch, read_torch, refuse_old_torch
from passl.checkpoint.zip_archives import looks_like_zip
from passl.utils.errors import UserError
from passl.utils.files import PathLike, atomic_file
from passl.utils.registry import nearest

SAFETENSORS_SUFFIX = ".safetensors"
PICKLE_SUFFIXES = (".pdparams", ".pdopt", ".pd")
TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
_SUFFIXES = (SAFETENSORS_SUFFIX, *PICKLE_SUFFIXES, *TORCH_SUFFIXES)
# What the weights in a folder are called, the kind to take first before the others: by this toolkit and transformers,
# by this toolkit's training, by open_clip, by PaddleMIX.
MODEL_WEIGHTS = (
    WEIGHTS_FILE,
    f"{WEIGHTS_FILE}{INDEX_SUFFIX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX_SUFFIX}",
)
TRAINING_WEIGHTS = "weights.safetensors"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
PADDLEMIX_WEIGHTS = "model_state.pdparams"
WEIGHT_FILES = (*MODEL_WEIGHTS, TRAINING_WEIGHTS, *OPEN_CLIP_WEIGHTS, PADDLEMIX_WEIGHTS)
_ACCEPTED = (
    f"Accepted: {SAFETENSORS_SUFFIX}, {', '.join(PICKLE_SUFFIXES)} (as paddle.save writes them), "
    f"{', '.join(TORCH_SUFFIXES)} (as torch.save and torch.jit.save write them), an index of several files "
    f"(*{INDEX_SUFFIX}), a model folder ({WEIGHTS_FILE} with {CONFIG_FILE}) and a training checkpoint "
    "(checkpoints/step-<N>)"
)
# Where training checkpoints of different origin keep the weights.
_STATE_DICTS = ("state_dict", "model", "module", "model_state_dict")
# Characters in the name of an entry, and in all names of a file. Nested dicts can make names far longer than the file.
_LONGEST_NAME = 1_000
_MAX_NAMES = 32 << 20
# What paddle.load makes tensors of; uint16 is missing because it means bfloat16 there.
_PICKLED = frozenset("bool int8 int16 int32 int64 uint8 float16 float32 float64".split())


def read_weights(path: PathLike) -> Dict[str, np.ndarray]:
    """The arrays of a weight file, a set of them, a model folder or a training checkpoint, by name.

    Never runs code from a file. The arrays are read-only views of the mapped file where it holds the numbers as they
    are; bfloat16 comes out as float32, which is exact. Of a file that holds more than arrays, the arrays are returned:
    those under `state_dict`, `model`, `module` or `model_state_dict` if there is such an entry, or else all, names of
    nested ones joined with dots.

    Raises:
        UserError: no such file, none of the accepted kinds, truncated, altered or malicious, a part of a set, or two
            state dicts in one file.
    """
    file = _find_file(Path(path))
    if file.name == WEIGHTS_FILE and Path(path).is_dir() and is_model_folder(file.parent):
        return read_model_folder(file.parent)[0]
    return read_shards(file, _read_file) if file.name.endswith(INDEX_SUFFIX) else _read_file(file)


def read_metadata(path: PathLike) -> Dict[str, Any]:
    """What a weight file says beside its arrays: the metadata of safetensors or of an index; else the plain values in it.

    For files of PyTorch and sets of files, the entry `container` says which of "torch", "torchscript" and "shards" it is.
    """
    file = _find_file(Path(path))
    if file.name.endswith(INDEX_SUFFIX):
        return {**read_index_metadata(file), "container": "shards"}
    with MappedFile(file) as opened:
        if _is_safetensors(opened):
            return dict(read_safetensors_metadata(file))
        content, container = _content(opened)
        plain = _flat(content, file, lambda leaf: not isinstance(leaf, StoredArray))
    return {**plain, "container": container} if container else plain


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
    if not path.name.endswith((*_SUFFIXES, INDEX_SUFFIX)):
        raise UserError(f"{path}: {path.suffix or 'no suffix'} is no known kind of weight file. {_ACCEPTED}")
    refuse_part(path)
    return path


def _file_in_folder(folder: Path) -> Path:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    part = find_parts(folder)
    if part is not None:
        refuse_part(part)
    names = sorted(entry.name for entry in folder.iterdir())
    files = [name for name in names if name.endswith((*_SUFFIXES, INDEX_SUFFIX))]
    steps = [name for name in names if name.startswith("step-")] or [f for f in ("best", "checkpoints") if f in names]
    hint = f" It holds {_some(files or steps)}: name one of them." if files or steps else ""
    raise UserError(f"the folder {folder} holds no {WEIGHTS_FILE} and no {TRAINING_WEIGHTS}.{hint} {_ACCEPTED}")


def _beside(path: Path) -> str:
    """What to say when `path` is missing: the nearest name in its folder, or that the folder is missing."""
    if not path.parent.is_dir():
        return f" The folder {path.parent} does not exist either."
    names = sorted(entry.name for entry in path.parent.iterdir() if entry.is_dir() or entry.suffix in _SUFFIXES)
    weights = [name for name in names if Path(name).suffix]
    return nearest(path.name, names) + (f" In {path.parent} there are: {_some(weights)}." if weights else "")


def _some(names: List[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _read_file(path: Path) -> Dict[str, np.ndarray]:
    """The arrays of one file, whatever its kind."""
    with MappedFile(path) as file:
        if _is_safetensors(file):
            return read_safetensors(path)
        content, container = _content(file)
        if container != "torchscript":
            content = _state_dict(content, path)
        stored = _flat(content, path, lambda leaf: isinstance(leaf, StoredArray))
        arrays = {name: leaf.read() for name, leaf in stored.items()}
    if not arrays:
        save = "torch.save(model.state_dict(), path)" if container else "paddle.save(layer.state_dict(), path)"
        raise UserError(f"{path} holds no named arrays. Save a state dict: {save}")
    return arrays


def _is_safetensors(file: MappedFile) -> bool:
    """Whether to read `file` as safetensors: by its beginning, or where it has none of a known kind by its suffix."""
    start = _start(file)
    return looks_like_safetensors(start) or (file.path.suffix == SAFETENSORS_SUFFIX and not looks_like_zip(start))


def _content(file: MappedFile) -> Tuple[Any, str]:
    """The content of a file that is no safetensors, and what its container is called; "" for a file of Paddle."""
    start = _start(file)
    if looks_like_zip(start):
        return read_torch(file)
    if is_old_torch(start):
        refuse_old_torch(file)
    if looks_like_pickle(start):
        return read_paddle(file), ""
    raise UserError(
        f"{file.path}: its content is neither safetensors nor what paddle.save or torch.save write for a state dict "
        f"(static-graph parameters and single variables saved in binary are not read). {_ACCEPTED}"
    )


def _start(file: MappedFile) -> bytes:
    if not file.size:
        raise UserError(f"{file.path} is empty (0 bytes): writing or downloading it was broken off; get it again")
    start = bytes(file.read(0, min(file.size, 64)))
    if start.startswith(b"version https://git-lfs"):
        raise UserError(
            f"{file.path} is the note that git keeps in place of a large file, not the weights: fetch them with git lfs pull"
        )
    return start


def _state_dict(content: Any, path: Path) -> Any:
    """The weights in a training checkpoint; `content` itself where it is no such thing."""
    if not isinstance(content, dict):
        return content
    found = [
        name
        for name, entry in content.items()
        if isinstance(entry, dict)
        and (
            (name in _STATE_DICTS and _holds_array(entry))
            # Averaged weights beside the raw ones, say; an optimizer's state has its arrays deeper.
            or (str(name).endswith("state_dict") and any(isinstance(leaf, StoredArray) for leaf in entry.values()))
        )
    ]
    if len(found) > 1:
        raise UserError(
            f"{path} holds weights under {' and under '.join(found)}, and which are meant cannot be told. Its entries: "
            f"{_some([str(name)[:80] for name in content])}. Save the ones you want as a state dict of their own"
        )
    return content[found[0]] if found else content


def _holds_array(value: Any) -> bool:
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return isinstance(value, StoredArray) or any(_holds_array(entry) for entry in entries)


def _flat(content: Any, file: Path, is_wanted: Callable[[Any], bool]) -> Dict[str, Any]:
    """Those leaves of nested dicts and lists that are wanted, under names joined with dots."""
    found: Dict[str, Any] = {}
    length = 0
    for name, leaf in _leaves(content, "", file):
        if not name or not is_wanted(leaf):
            continue
        if name in found:
            raise UserError(f"{file}: two entries in it are named {name!r}")
        length += len(name)
        if length > _MAX_NAMES:
            raise UserError(
                f"{file}: the names in it have more than {_MAX_NAMES:,} characters, far beyond what any weights need. "
                "Save a state dict alone, under the names of the model"
            )
        found[name] = leaf
    return found


def _leaves(value: Any, name: str, file: Path) -> Iterator[Tuple[str, Any]]:
    if len(name) > _LONGEST_NAME:
        raise UserError(
            f"{file}: an entry in it has a name of more than {_LONGEST_NAME:,} characters, {name[:80]}...; weights have "
            "short names. Save a state dict alone, under the names of the model"
        )
    if not isinstance(value, (dict, list, tuple)):
        yield name, value
        return
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(entry, f"{name}.{key}" if name else str(key), file)
