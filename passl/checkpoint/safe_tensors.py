"""Safetensors files: a JSON header with the place of each tensor, then the numbers. Nothing in them can run.

The header is checked here first, because reasons are wanted and because parsers differ where the format is silent
(names that stand twice); then the safetensors library opens the file and checks it its own way. The numbers are taken
from the places both agree on: the library cannot give bfloat16 to NumPy, which here becomes float32 (see `dtypes`).

Writing is done here as well: the library keeps metadata in an order that changes from run to run, and the same content
should give the same bytes.
"""

from __future__ import annotations

import functools
import json
import math
import struct
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, NoReturn, Tuple

import numpy as np
from safetensors import SafetensorError, safe_open

from passl.checkpoint.dtypes import check_writable, write_numbers
from passl.checkpoint.mapped_files import MappedFile
from passl.checkpoint.pickles import looks_like_pickle
from passl.utils.errors import UserError
from passl.utils.files import atomic_file
from passl.utils.strict_json import parse_mapping, shown

_MAX_HEADER = 100_000_000
_METADATA = "__metadata__"
_FORMATS = {
    "BOOL": np.dtype("bool"),
    **{f"{letter}{8 * size}": np.dtype(f"<{letter.lower()}{size}") for letter in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    "BF16": np.dtype("<u2"),
}
_NAMES = {dtype: name for name, dtype in _FORMATS.items() if name != "BF16"}


class _Entry(NamedTuple):
    format: str
    shape: List[int]
    begin: int
    end: int


def read_safetensors(path: Path) -> Dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, in the order of the file: read-only views of it, see `mapped_files`.

    Raises:
        UserError: the header contradicts itself or the file, or the file is truncated.
    """
    entries, _, start = _read_header(path)
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        _refuse(path, f"the safetensors library says: {error}")
    with MappedFile(path) as file:
        if file.size < start + max((entry.end for entry in entries.values()), default=0):
            _refuse(path, "the file is truncated: it became shorter while it was read")
        return {name: _array(file, start, entry) for name, entry in entries.items()}


def read_safetensors_metadata(path: Path) -> Dict[str, str]:
    """What the header of a safetensors file says beside its tensors."""
    return _read_header(path)[1]


def looks_like_safetensors(start: bytes) -> bool:
    """Whether the first nine bytes of a file are those of a safetensors file."""
    return len(start) >= 9 and int.from_bytes(start[:8], "little") <= _MAX_HEADER and start[8:9] == b"{"


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes `arrays` and `metadata` atomically; equal content gives equal bytes.

    Raises:
        UserError: an array or a piece of metadata that the format cannot hold.
    """
    check_writable(arrays, {dtype.name for dtype in _NAMES}, path)
    if not all(isinstance(entry, str) for pair in metadata.items() for entry in pair):
        raise UserError(f"{path}: metadata is text by name; store other values as JSON text")
    # The widest numbers first, so that each array is aligned.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: Dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    position = 0
    for name in names:
        array = arrays[name]
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [position, position + array.nbytes],
        }
        position += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            write_numbers(file, arrays[name])


def _array(file: MappedFile, start: int, entry: _Entry) -> np.ndarray:
    place = (start + entry.begin, entry.end - entry.begin)
    return file.array(place, _FORMATS[entry.format], entry.shape, is_bfloat16=entry.format == "BF16")


def _read_header(path: Path) -> Tuple[Dict[str, _Entry], Dict[str, str], int]:
    """The entries by name, the metadata, and where the numbers begin."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        if len(start) < 8:
            _refuse(path, f"the file is {'empty' if not start else f'truncated: it has only {len(start)} bytes'}")
        length = struct.unpack("<Q", start)[0]
        if length > _MAX_HEADER and looks_like_pickle(start):
            _refuse(path, "it is a pickle under another name; if paddle.save wrote it, name it .pdparams")
        if length > _MAX_HEADER:
            _refuse(path, f"it announces a header of {length:,} bytes; {_MAX_HEADER:,} are allowed")
        if length > size - 8:
            _refuse(path, f"the file is truncated or altered: a header of {length:,} bytes, {size - 8:,} are left")
        header = parse_mapping(file.read(length), "its header", functools.partial(_refuse, path))
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse(path, f"its {_METADATA} is not a mapping from text to text")
    entries = {name: _entry(name, value, path) for name, value in header.items()}
    _check_places(entries, size - 8 - length, path)
    return entries, metadata, 8 + length


def _entry(name: str, value: Any, path: Path) -> _Entry:
    where = f"tensor {name[:80]!r}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        _refuse(path, f"{where} is not described by dtype, shape and data_offsets")
    number_format, shape, places = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(number_format, str) or number_format not in _FORMATS:
        _refuse(path, f"{where} has the number format {shown(number_format)}; accepted: {', '.join(_FORMATS)}")
    if not _are_integers(shape, lowest=1) or len(shape) > 32:
        _refuse(path, f"{where} has the shape {shown(shape)}; lengths are whole numbers from 1 on")
    if not _are_integers(places, lowest=0) or len(places) != 2:
        _refuse(path, f"{where} has the data_offsets {shown(places)}; they are two whole numbers")
    begin, end = places
    needed = math.prod(shape) * _FORMATS[number_format].itemsize
    if end - begin != needed:
        _refuse(path, f"{where} needs {needed:,} bytes for {shape} {number_format} and has {end - begin:,}")
    return _Entry(number_format, shape, begin, end)


def _are_integers(values: Any, lowest: int) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= lowest for value in values)


def _check_places(entries: Mapping[str, _Entry], size: int, path: Path) -> None:
    """The tensors must fill the part after the header, each byte belonging to one of them."""
    position, before = 0, ""
    for name, entry in sorted(entries.items(), key=lambda item: item[1].begin):
        if entry.begin < position:
            _refuse(path, f"tensors {before[:80]!r} and {name[:80]!r} overlap")
        if entry.begin > position:
            _refuse(path, f"{entry.begin - position:,} bytes before tensor {name[:80]!r} belong to no tensor")
        position, before = entry.end, name
    if position > size:
        _refuse(path, f"the file is truncated: its tensors need {position:,} bytes, {size:,} are there")
    if position < size:
        _refuse(path, f"{size - position:,} bytes after the last tensor belong to no tensor")


def _refuse(path: Path, reason: str) -> NoReturn:
    raise UserError(f"{path}: {reason}. Nothing was loaded; get this file again") from None
