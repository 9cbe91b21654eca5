"""Paddle's own weight files (.pdparams, .pdopt, .pd): pickles, read by the machine of `pickles`; and written.

Beyond what every pickle of weights may hold, `paddle.save` (2.1 to 3.3, protocols 2 to 5) writes:

    a tensor                  `tuple((name, array))`, or `eval('data', {'data': array})`, which is not evaluated here
    StructuredToParameterName@@     names of variables: dropped
    UnpackBigParamInfor@@           an array above 1 GB in slices (protocols 2 and 3): joined

uint16 arrays are bfloat16 numbers and come out as float32, see `dtypes`.
"""

from __future__ import annotations

import math
import struct
from typing import Any, BinaryIO, Dict, List, Mapping, Tuple

import numpy as np

from passl.checkpoint.dtypes import write_numbers
from passl.checkpoint.mapped_files import MappedFile, StoredArray
from passl.checkpoint.pickles import Machine, Symbol, is_array, is_shape

_NAME_TABLE, _BIG_ARRAYS = "StructuredToParameterName@@", "UnpackBigParamInfor@@"


def read_paddle(file: MappedFile) -> Any:
    """The content of a Paddle weight file as dicts, lists, tuples, plain values and `StoredArray`s.

    Raises:
        UserError: truncated, altered, or holding anything but the known forms.
    """
    return _PaddleMachine(file).run()


class _PaddleMachine(Machine):
    """The machine with Paddle's forms."""

    ORIGIN = "a file written by paddle.save (a pickle of protocol 2 to 5)"
    UINT16_IS_BFLOAT16 = True

    def tensor(self, arguments: Tuple[Any, ...]) -> Any:
        if len(arguments) != 1 or not _is_named_array(arguments[0]):
            self.refuse("it calls tuple on something that is not a named tensor")
        return arguments[0]

    def dense_tensor(self, arguments: Tuple[Any, ...]) -> Any:
        """The form `eval('data', {'data': array})` means the array; nothing is evaluated, and no other form passes."""
        if len(arguments) != 2 or arguments[0] != "data" or not isinstance(arguments[1], dict):
            self.refuse("it calls eval, which no weight file needs; it may be malicious")
        if list(arguments[1]) != ["data"] or not is_array(arguments[1]["data"]):
            self.refuse("it calls eval on something that is not a tensor; it may be malicious")
        return arguments[1]["data"]

    def finished(self, value: Any, depth: int) -> Any:
        """Without the names beside tensors and without Paddle's tables."""
        value = super().finished(value[1] if _is_named_array(value) else value, depth)
        if isinstance(value, dict):
            value.pop(_NAME_TABLE, None)
            self.join_slices(value)
        return value

    def join_slices(self, entries: Dict[Any, Any]) -> None:
        """Puts the slices of big arrays together again, as the table beside them says."""
        table = entries.pop(_BIG_ARRAYS, {})
        if not isinstance(table, dict):
            self.refuse(f"its table {_BIG_ARRAYS} is not a dict")
        for name, row in table.items():
            names = row.get("slices") if isinstance(row, dict) else None
            shape: Any = row.get("OriginShape") if isinstance(row, dict) else None
            if not isinstance(names, list) or not names or not is_shape(shape) or name in entries:
                self.refuse(f"its table {_BIG_ARRAYS} is not in order for {str(name)[:80]}")
            parts: List[Any] = [entries.pop(part, None) if isinstance(part, str) else None for part in names]
            if not all(isinstance(part, StoredArray) and len(part.shape) == 1 for part in parts):
                self.refuse(f"slices of {str(name)[:80]} are missing: the file is incomplete")
            self.memory(sum(part.nbytes for part in parts))
            if {part.dtype for part in parts} != {parts[0].dtype} or (
                sum(part.shape[0] for part in parts) != math.prod(shape)
            ):
                self.refuse(f"the slices of {str(name)[:80]} do not make up its shape {list(shape)}")
            entries[name] = StoredArray(shape, parts[0].dtype, _Joined(parts, shape))


class _Joined:
    """Reads the slices of an array as the whole."""

    def __init__(self, parts: List[StoredArray], shape: Tuple[int, ...]) -> None:
        self.parts = parts
        self.shape = shape

    def __call__(self) -> np.ndarray:
        return np.concatenate([part.read() for part in self.parts]).reshape(self.shape)


_PaddleMachine.SYMBOLS = {
    **Machine.SYMBOLS,
    **{(builtins, "tuple"): Symbol("tensor", _PaddleMachine.tensor) for builtins in ("builtins", "__builtin__")},
    **{
        (builtins, "eval"): Symbol("dense tensor", _PaddleMachine.dense_tensor)
        for builtins in ("builtins", "__builtin__")
    },
}


def _is_named_array(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and is_array(value[1])


def write_pickle(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `{name: array}` as `paddle.save` would, in the order of `arrays`; `paddle.load` reads it.

    The instructions are written out here instead of by Python's pickler so that the bytes depend on the content alone,
    older versions of NumPy can read it (the pickler of NumPy 2 names modules that they lack), and no copy is made.
    """
    file.write(b"\x80\x04}(")
    for name, array in arrays.items():
        kind = array.dtype.str[1:].encode()
        order = b"<" if array.itemsize > 1 else b"|"
        encoded = name.encode("utf-8")
        file.write(b"X" + struct.pack("<I", len(encoded)) + encoded)
        file.write(b"cnumpy.core.multiarray\n_reconstruct\n")
        file.write(b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R")
        shape = b"".join(b"\x8a\x08" + struct.pack("<q", length) for length in array.shape)
        file.write(b"(K\x01(" + shape + b"t")
        file.write(b"cnumpy\ndtype\nX" + struct.pack("<I", len(kind)) + kind + b"\x89\x88\x87R")
        file.write(b"(K\x03X\x01\x00\x00\x00" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
        file.write(b"\x89\x8e" + struct.pack("<Q", array.nbytes))
        write_numbers(file, array)
        file.write(b"tb")
    file.write(b"u.")
