"""A file of weights opened once: what is small is read, and arrays are views of the file as the system maps it.

Reading therefore takes memory for what is used, when it is used. The price: such arrays are read-only, and whoever
writes into the file in place changes them (writers here replace files as a whole, which leaves mapped ones alone).
"""

from __future__ import annotations

import math
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Callable, Optional, Sequence, Tuple, Type

import numpy as np

from passl.checkpoint.dtypes import widen_bfloat16
from passl.utils.errors import UserError


class MappedFile:
    """An open file. Arrays of it stay valid when it is closed: each holds the mapping."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stream = open(path, "rb")
        self.size = os.fstat(self.stream.fileno()).st_size
        self._mapping: Optional[memoryview] = None
        try:
            self._mapping = memoryview(mmap.mmap(self.stream.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError):  # a file system without mapping, or no bytes at all: parts are read instead
            pass

    def __enter__(self) -> MappedFile:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stream.close()

    def read(self, position: int, count: int) -> memoryview:
        """A copy of `count` bytes.

        Raises:
            UserError: the file was shortened by somebody else since it was opened.
        """
        data = bytearray(count)
        self.stream.seek(position)
        if self.stream.readinto(data) != count:
            raise UserError(f"{self.path}: the file is truncated: it became shorter while it was read")
        return memoryview(data).toreadonly()

    def array(
        self,
        place: Tuple[int, int],
        dtype: np.dtype,
        shape: Sequence[int],
        strides: Optional[Sequence[int]] = None,
        order: str = "C",
        is_bfloat16: bool = False,
    ) -> np.ndarray:
        """The numbers in a part of the file, little-endian; a read-only view where they stand there so.

        Numbers that must be converted (bfloat16, big-endian) are read past the mapping, so that the memory of one array
        is needed and not the mapped pages as well.

        Args:
            place: begin and length of the part, in bytes.
            dtype: the number format in the file; for bfloat16 that of its bits, uint16.
            shape: of the array.
            strides: bytes from one number to the next along each axis; without them the numbers are dense.
            order: "C" or "F", of dense numbers.
            is_bfloat16: whether to make float32 of the bits.

        Raises:
            UserError: an array of truth values that are neither 0 nor 1.
        """
        begin, length = place
        is_converted = is_bfloat16 or dtype.newbyteorder("<") != dtype
        is_dense = length == math.prod(shape) * dtype.itemsize
        if self._mapping is None or (is_converted and is_dense):
            buffer = self.read(begin, length)
        else:
            buffer = self._mapping[begin : begin + length]
        return array_of(buffer, dtype, shape, strides, order, is_bfloat16, self.path)


def array_of(
    buffer: memoryview,
    dtype: np.dtype,
    shape: Sequence[int],
    strides: Optional[Sequence[int]],
    order: str,
    is_bfloat16: bool,
    path: Path,
) -> np.ndarray:
    """The numbers in `buffer`, see `MappedFile.array`; NumPy checks once more that they do not reach beyond it."""
    array: np.ndarray = np.ndarray(
        tuple(shape), dtype, buffer, 0, strides and tuple(strides), "F" if order == "F" else "C"
    )
    if dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise UserError(f"{path}: an array of truth values in it holds other bytes than 0 and 1; get this file again")
    array = array.astype(dtype.newbyteorder("<"), copy=False)
    return widen_bfloat16(array) if is_bfloat16 else array


class StoredArray:
    """An array in a file: its place was checked, its numbers are not read yet. The same one can stand in several places.

    Attributes:
        shape: of the array.
        dtype: of its numbers once read.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype, read: Callable[[], np.ndarray]) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self._read = read
        self._array: Optional[np.ndarray] = None

    @property
    def nbytes(self) -> int:
        """The bytes its numbers take once read."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """The array; the file it is in must be open. Reading again gives the same object."""
        if self._array is None:
            self._array = self._read()
        return self._array
