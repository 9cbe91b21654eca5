"""Number formats between Paddle, files and NumPy, which has no bfloat16.

Everywhere in this room a bfloat16 array is held as float32: the widening is exact, and rounding it back gives the same
bits. It arises from safetensors' BF16, from a layer's bfloat16 parameter, and from uint16 in Paddle's pickles, which is
how `paddle.save` writes bfloat16 (Paddle 2.6 and 3.3 have no unsigned 16-bit integers that could be meant instead).
"""

from __future__ import annotations

from pathlib import Path
from typing import AbstractSet, Any, BinaryIO, Mapping

import numpy as np

from passl.utils.errors import UserError

_PART = 16 << 20


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 values of bfloat16 numbers given as their bits, uint16, of any shape."""
    wide = bits.astype(np.uint32)
    np.left_shift(wide, np.uint32(16), out=wide)  # in place: one array of memory beside the bits, whatever its size
    return wide.view(np.float32)


def round_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """The bits, uint16, of float32 `values` rounded to the nearest bfloat16, ties to even."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32)
    upper = bits >> np.uint32(16)
    rounded = (bits + np.uint32(0x7FFF) + (upper & np.uint32(1))) >> np.uint32(16)
    quiet_nan = upper | np.uint32(0x40)
    return np.where(np.isnan(values), quiet_nan, rounded).astype(np.uint16)


def dtype_name(tensor: Any) -> str:
    """The name of the number format of an array or of a Paddle tensor: "float32", "bfloat16", "int64"."""
    return str(tensor.dtype).rpartition(".")[2]


def as_array(value: Any, name: str) -> np.ndarray:
    """The array or Paddle tensor called `name` as an array; bfloat16 becomes float32.

    Raises:
        UserError: neither of the two.
    """
    if isinstance(value, np.ndarray):
        return value
    if not hasattr(value, "numpy"):
        raise UserError(f"weights are arrays or tensors by name, and {name!r} is of type {type(value).__name__}")
    array = np.asarray(value.numpy())
    return widen_bfloat16(array) if dtype_name(value) == "bfloat16" and array.dtype == np.uint16 else array


def describe(tensor: Any) -> str:
    """Shape and number format in words for messages: "[768, 512] float32"."""
    return f"{[int(length) for length in tensor.shape]} {dtype_name(tensor)}"


def check_writable(arrays: Mapping[str, np.ndarray], accepted: AbstractSet[str], path: Path) -> None:
    """Refuses what a file at `path` could not hold: other number formats than `accepted`, no numbers at all, odd names.

    Raises:
        UserError: naming the array.
    """
    for name, array in arrays.items():
        if not isinstance(name, str) or name in ("", "__metadata__"):
            raise UserError(f"{path}: {name!r} cannot be the name of an array")
        if not isinstance(array, np.ndarray):
            raise UserError(f"{path}: {name!r} is a {type(array).__name__}, not an array")
        if array.dtype.name not in accepted:
            raise UserError(f"{path}: {name!r} has {array.dtype.name} numbers; accepted: {', '.join(sorted(accepted))}")
        if array.size == 0:
            raise UserError(f"{path}: {name!r} has the shape {list(array.shape)}, so it holds no numbers")


def write_numbers(file: BinaryIO, array: np.ndarray) -> None:
    """Writes the numbers of `array` in C order, little-endian.

    An array that stands in memory otherwise (transposed, strided) is copied in parts of some megabytes.
    """
    if array.flags.c_contiguous:
        parts = [array]
    else:
        rows = max(1, _PART // max(1, array[:1].nbytes))
        parts = [array[row : row + rows] for row in range(0, len(array), rows)]
    for part in parts:
        little = np.ascontiguousarray(part).astype(array.dtype.newbyteorder("<"), copy=False)
        file.write(little.reshape(-1).view(np.uint8).data)
