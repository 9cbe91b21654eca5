"""Paddle's own weight files (.pdparams, .pdopt, .pd): read as data, so that nothing in them can run; and written.

Such a file is a pickle: a small program that builds objects, and that may name any function of any module to be
called. Python's unpickler would import and call it. The reader here is a machine of its own that knows only the
instructions a weight file needs. A name in the file is never imported: it is looked up in the table `_SYMBOLS` and
stands for one exact form, which the machine carries out itself. Anything else is refused with the reason, and there is
no other way in. Forms that `paddle.save` writes (2.1 to 3.3, protocols 2 to 5):

    numpy.ndarray             by `_reconstruct` + state, or by `_frombuffer` (protocol 5)
    numpy scalar, dtype       plain numbers only: no objects, strings or records
    a tensor                  `tuple((name, array))`, or `eval('data', {'data': array})`, which is not evaluated here
    OrderedDict, dict, list, tuple, str, int, float, bytes, bool, None
    StructuredToParameterName@@     names of variables: dropped
    UnpackBigParamInfor@@           an array above 1 GB in slices (protocols 2 and 3): joined

uint16 arrays are bfloat16 numbers and come out as float32, see `dtypes`.

No count in the file is believed: sizes are compared with the bytes that are left before anything is allocated,
arrays take over the bytes read instead of copying them, and the number of instructions and the depth of nesting
are limited.
"""

from __future__ import annotations

import math
import struct
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, NoReturn, Tuple

import numpy as np

from passl.checkpoint.dtypes import widen_bfloat16, write_numbers
from passl.utils.errors import UserError

# A tensor takes about 40 instructions, so this is enough for 25,000 of them, and bounds time (seconds) and memory.
MAX_INSTRUCTIONS = 1_000_000
MAX_DEPTH = 32

_NAME_TABLE, _BIG_ARRAYS = "StructuredToParameterName@@", "UnpackBigParamInfor@@"
_NUMBERS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split())

# Every name that may stand in a file, and the form it stands for. numpy moved `core` to `_core` in version 2, and
# protocol 2 says `__builtin__` for `builtins`.
_SYMBOLS = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "new array" for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "array from bytes" for core in ("core", "_core")},
    ("numpy", "ndarray"): "array class",
    ("numpy", "dtype"): "dtype",
    ("collections", "OrderedDict"): "dict",
    ("_codecs", "encode"): "bytes from text",
    **{(builtins, "tuple"): "tensor" for builtins in ("builtins", "__builtin__")},
    **{(builtins, "eval"): "dense tensor" for builtins in ("builtins", "__builtin__")},
    **{(builtins, "bytes"): "no bytes" for builtins in ("builtins", "__builtin__")},
}


def read_pickle(path: Path) -> Any:
    """The content of a Paddle weight file as dicts, lists, tuples, arrays and plain values.

    Raises:
        UserError: truncated, altered, or holding anything but the forms listed above.
    """
    with open(path, "rb") as file:
        return _Machine(file, path).run()


def looks_like_pickle(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a pickle of protocol 2 to 5."""
    return len(start) >= 2 and start[0] == 0x80 and 2 <= start[1] <= 5


class _Symbol:
    """A name the file refers to, as the form of `_SYMBOLS` it stands for."""

    def __init__(self, form: str) -> None:
        self.form = form


class _Payload(bytearray):
    """Bytes from the file. An array takes them over, so only one array may (`taken`)."""

    taken = False


class _DType:
    """A number format; complete once its byte order was given."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.order = ""


class _Array:
    """An array; complete once its state was given. The same object can stand in several places of the file."""

    def __init__(self) -> None:
        self.value: Any = None


class _Machine:
    """Carries out the instructions of one file on a stack, as a pickle is defined, with the limits said above."""

    def __init__(self, file: BufferedReader, path: Path) -> None:
        self.file = file
        self.path = path
        self.size = path.stat().st_size
        self.position = 0
        self.stack: List[Any] = []
        self.marks: List[int] = []
        self.memo: Dict[int, Any] = {}
        self.copied = 0
        self.nodes = 0

    def run(self) -> Any:
        if self.size == 0:
            self.refuse("the file is empty")
        if not looks_like_pickle(self.read(2)):
            self.refuse("it does not begin like a file written by paddle.save (a pickle of protocol 2 to 5)")
        for _ in range(MAX_INSTRUCTIONS):
            code = self.read(1)
            if code == b".":
                return self.result()
            if code not in _INSTRUCTIONS:
                self.refuse(f"it holds the instruction {code!r}, which no weight file needs")
            _INSTRUCTIONS[code](self)
        self.refuse(f"it has more than {MAX_INSTRUCTIONS:,} instructions, far beyond what any weights need")

    def refuse(self, reason: str) -> NoReturn:
        raise UserError(
            f"{self.path}: {reason} (at byte {self.position:,} of {self.size:,}). "
            "Nothing in the file was run and nothing was loaded. Weight files hold arrays and plain values alone; "
            "get this one again, or get the weights as .safetensors"
        )

    # -- bytes of the file

    def claim(self, count: int) -> None:
        """Refuses a count of bytes that the file does not have."""
        left = self.size - self.position
        if count > left:
            self.refuse(f"the file is truncated or altered: {count:,} more bytes are announced, {left:,} are left")
        self.position += count

    def read(self, count: int) -> bytes:
        self.claim(count)
        data = self.file.read(count)
        if len(data) != count:
            self.refuse("the file is truncated: it became shorter while it was read")
        return data

    def read_payload(self, count: int) -> _Payload:
        self.claim(count)
        payload = _Payload(count)
        if self.file.readinto(payload) != count:
            self.refuse("the file is truncated: it became shorter while it was read")
        return payload

    def read_number(self, layout: str) -> Any:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def read_long(self, count: int) -> int:
        return int.from_bytes(self.read(count), "little", signed=True)

    def read_text(self, count: int, encoding: str = "utf-8") -> str:
        data = self.read(count)
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            self.refuse("a text in it is not UTF-8")

    def read_line(self) -> str:
        line = self.file.readline(256)
        self.position += len(line)
        if not line.endswith(b"\n") or not line.isascii():
            self.refuse("the file is truncated or altered: a name in it has no end")
        return line[:-1].decode("ascii")

    # -- stack and memo

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            self.refuse("its instructions are out of order: a value is missing")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.push(value)
        return value

    def pop_to_mark(self) -> List[Any]:
        if not self.marks:
            self.refuse("its instructions are out of order: a mark is missing")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def remember(self, index: int) -> None:
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        if index not in self.memo:
            self.refuse(f"it refers to value {index}, which does not exist")
        self.push(self.memo[index])

    def push_tuple(self, length: int) -> None:
        self.push(tuple([self.pop() for _ in range(length)][::-1]))

    def extend(self, values: List[Any]) -> None:
        if not isinstance(self.top(), list):
            self.refuse("it appends to something that is not a list")
        self.top().extend(values)

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def set_items(self, values: List[Any]) -> None:
        if not isinstance(self.top(), dict) or len(values) % 2:
            self.refuse("it sets items of something that is not a dict")
        for key, value in zip(values[::2], values[1::2]):
            if not isinstance(key, (str, int)) or (isinstance(key, int) and abs(key) >= 1 << 63):
                self.refuse(f"a key of a dict in it is neither text nor a number but {type(key).__name__}")
            self.top()[key] = value

    def check_frame(self) -> None:
        """A frame announces how much may be read ahead; only its honesty matters here."""
        count = self.read_number("<Q")
        self.claim(count)
        self.position -= count

    # -- names and the forms they stand for

    def push_symbol_from_stack(self) -> None:
        name, module = self.pop(), self.pop()
        self.push_symbol(module, name)

    def push_symbol(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            self.refuse("it refers to a name that is not a text")
        if (module, name) not in _SYMBOLS:
            self.refuse(f"it refers to {module[:60]}.{name[:60]}, which no weight file needs; it may be malicious")
        self.push(_Symbol(_SYMBOLS[module, name]))

    def call(self) -> None:
        arguments, symbol = self.pop(), self.pop()
        if not isinstance(symbol, _Symbol) or symbol.form not in _FORMS or not isinstance(arguments, tuple):
            self.refuse("it calls something that is not callable")
        self.push(_FORMS[symbol.form](self, arguments))

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, _Array) and target.value is None and isinstance(state, tuple) and len(state) == 5:
            version, shape, dtype, is_fortran, payload = state
            if version != 1:
                self.refuse("an array in it has a state of an unknown version")
            target.value = self.array(shape, dtype, is_fortran, payload)
        elif isinstance(target, _DType) and isinstance(state, tuple) and len(state) == 8:
            version, order, *fields = state
            if version != 3 or fields != [None, None, None, -1, -1, 0]:
                self.refuse("a number format in it has fields or metadata")
            if order not in (("|",) if target.kind[1:] == "1" else ("<", ">", "=")):
                self.refuse("a number format in it has an unknown byte order")
            target.order = order.replace("=", "<")
        else:
            self.refuse("it sets the state of something that is not an array")

    def new_array(self, arguments: Tuple[Any, ...]) -> _Array:
        if len(arguments) != 3 or not _is_symbol(arguments[0], "array class"):
            self.refuse("it builds an array of an unknown class")
        if arguments[1] != (0,) or arguments[2] not in ("b", b"b"):
            self.refuse("it builds an array in an unknown way")
        return _Array()

    def array_from_bytes(self, arguments: Tuple[Any, ...]) -> _Array:
        if len(arguments) != 4 or arguments[3] not in ("C", "F"):
            self.refuse("it builds an array in an unknown way")
        payload, dtype, shape, order = arguments
        array = _Array()
        array.value = self.array(shape, dtype, order == "F", payload)
        return array

    def scalar(self, arguments: Tuple[Any, ...]) -> Any:
        if len(arguments) != 2:
            self.refuse("it builds a number in an unknown way")
        return self.array((), arguments[0], False, arguments[1]).item()

    def dtype(self, arguments: Tuple[Any, ...]) -> _DType:
        if len(arguments) != 3 or arguments[1:] not in ((False, True), (False, False)):
            self.refuse("a number format in it is built in an unknown way")
        kind = arguments[0] if isinstance(arguments[0], str) else ""
        if kind not in _NUMBERS:
            self.refuse(f"it holds an array of format {kind[:20]!r}, and weights are plain numbers")
        return _DType(kind)

    def ordered_dict(self, arguments: Tuple[Any, ...]) -> Dict[Any, Any]:
        """Any dict keeps the order of what is set in it."""
        if arguments:
            self.refuse("it builds an OrderedDict in an unknown way")
        return {}

    def bytes_from_text(self, arguments: Tuple[Any, ...]) -> _Payload:
        """Protocol 2 has no bytes: they are written as a text whose letters are the bytes."""
        if len(arguments) != 2 or arguments[1] != "latin1" or not isinstance(arguments[0], str):
            self.refuse("it encodes something in an unknown way")
        return self.latin1(arguments[0])

    def latin1(self, text: str) -> _Payload:
        self.memory(len(text))
        try:
            return _Payload(text.encode("latin1"))
        except UnicodeEncodeError:
            self.refuse("bytes in it are written as a text with letters that stand for no byte")

    def no_bytes(self, arguments: Tuple[Any, ...]) -> _Payload:
        if arguments:
            self.refuse("it builds bytes in an unknown way")
        return _Payload()

    def tensor(self, arguments: Tuple[Any, ...]) -> Tuple[str, _Array]:
        if len(arguments) != 1 or not _is_named_array(arguments[0]):
            self.refuse("it calls tuple on something that is not a named tensor")
        return arguments[0]

    def dense_tensor(self, arguments: Tuple[Any, ...]) -> _Array:
        """The form `eval('data', {'data': array})` means the array; nothing is evaluated, and no other form passes."""
        if len(arguments) != 2 or arguments[0] != "data" or not isinstance(arguments[1], dict):
            self.refuse("it calls eval, which no weight file needs; it may be malicious")
        if list(arguments[1]) != ["data"] or not isinstance(arguments[1]["data"], _Array):
            self.refuse("it calls eval on something that is not a tensor; it may be malicious")
        return arguments[1]["data"]

    def array(self, shape: Any, dtype: Any, is_fortran: Any, payload: Any) -> np.ndarray:
        if not isinstance(dtype, _DType) or not dtype.order or not isinstance(is_fortran, (bool, int)):
            self.refuse("an array in it has no number format")
        if not _is_shape(shape):
            self.refuse("an array in it has a shape that no array can have")
        if isinstance(payload, str):  # Python 2 had no bytes either
            payload = self.latin1(payload)
        if not isinstance(payload, _Payload):
            self.refuse(f"an array in it consists of {type(payload).__name__}, not of bytes")
        numbers = np.dtype(dtype.order + dtype.kind)
        if math.prod(shape) * numbers.itemsize != len(payload):
            self.refuse(f"an array claims to be {list(shape)} {numbers.name} and has {len(payload):,} bytes")
        if payload.taken:
            self.memory(len(payload))
            payload = _Payload(payload)
        payload.taken = True
        if numbers.kind == "b" and len(payload) and max(payload) > 1:
            self.refuse("an array of truth values in it holds other bytes than 0 and 1")
        array = np.frombuffer(payload, numbers).reshape(shape, order="F" if is_fortran else "C")
        array = array.astype(numbers.newbyteorder("<"), copy=False)
        return widen_bfloat16(array) if dtype.kind == "u2" else array

    def memory(self, count: int) -> None:
        """Counts bytes that are copied inside the machine. An honest file needs up to four times its size (protocol 2,
        slices, bfloat16); more means that the same bytes are used again and again."""
        self.copied += count
        if self.copied > 4 * self.size + (1 << 20):
            self.refuse("the same bytes stand for many arrays in it, which would fill the memory")

    # -- the finished value

    def result(self) -> Any:
        value = self.pop()
        if self.stack or self.marks:
            self.refuse("its instructions are out of order: values are left over")
        if self.position != self.size:
            self.refuse(f"{self.size - self.position:,} bytes follow the end of its content")
        return self.finished(value, 0)

    def finished(self, value: Any, depth: int) -> Any:
        """`value` with arrays in place of the machine's own objects and without Paddle's tables."""
        self.nodes += 1
        if self.nodes > MAX_INSTRUCTIONS or depth > MAX_DEPTH:
            self.refuse("its lists and dicts contain one another so often that they would fill the memory")
        if isinstance(value, _Array):
            if value.value is None:
                self.refuse("an array in it was begun and not finished")
            return value.value
        if _is_named_array(value):
            return self.finished(value[1], depth + 1)
        if isinstance(value, dict):
            entries = {key: self.finished(entry, depth + 1) for key, entry in value.items()}
            entries.pop(_NAME_TABLE, None)
            return self.joined(entries)
        if isinstance(value, (list, tuple)):
            return type(value)(self.finished(entry, depth + 1) for entry in value)
        if isinstance(value, _Payload):
            self.memory(len(value))
            return bytes(value)
        if value is None or isinstance(value, (bool, int, float, complex, str)):
            return value
        self.refuse("it holds a bare reference to a function or class")

    def joined(self, entries: Dict[Any, Any]) -> Dict[Any, Any]:
        """Puts the slices of big arrays together again, as the table beside them says."""
        table = entries.pop(_BIG_ARRAYS, {})
        if not isinstance(table, dict):
            self.refuse(f"its table {_BIG_ARRAYS} is not a dict")
        for name, row in table.items():
            names = row.get("slices") if isinstance(row, dict) else None
            shape: Any = row.get("OriginShape") if isinstance(row, dict) else None
            if not isinstance(names, list) or not names or not _is_shape(shape) or name in entries:
                self.refuse(f"its table {_BIG_ARRAYS} is not in order for {str(name)[:80]}")
            parts: List[Any] = [entries.pop(part, None) if isinstance(part, str) else None for part in names]
            if not all(isinstance(part, np.ndarray) and part.ndim == 1 for part in parts):
                self.refuse(f"slices of {str(name)[:80]} are missing: the file is incomplete")
            self.memory(sum(part.nbytes for part in parts))
            whole = np.concatenate(parts)
            if whole.size != math.prod(shape) or whole.dtype != parts[0].dtype:
                self.refuse(f"the slices of {str(name)[:80]} do not make up its shape {list(shape)}")
            entries[name] = whole.reshape(shape)
        return entries


# The instructions that a pickle of plain values and arrays consists of, by their code.
_INSTRUCTIONS: Dict[bytes, Callable[[_Machine], None]] = {
    # numbers and constants
    b"N": lambda machine: machine.push(None),
    b"\x88": lambda machine: machine.push(True),
    b"\x89": lambda machine: machine.push(False),
    b"K": lambda machine: machine.push(machine.read_number("<B")),
    b"M": lambda machine: machine.push(machine.read_number("<H")),
    b"J": lambda machine: machine.push(machine.read_number("<i")),
    b"\x8a": lambda machine: machine.push(machine.read_long(machine.read_number("<B"))),
    b"G": lambda machine: machine.push(machine.read_number(">d")),
    # texts, those of Python 2, and bytes
    b"\x8c": lambda machine: machine.push(machine.read_text(machine.read_number("<B"))),
    b"X": lambda machine: machine.push(machine.read_text(machine.read_number("<I"))),
    b"\x8d": lambda machine: machine.push(machine.read_text(machine.read_number("<Q"))),
    b"U": lambda machine: machine.push(machine.read_text(machine.read_number("<B"), "latin1")),
    b"T": lambda machine: machine.push(machine.read_text(machine.read_number("<I"), "latin1")),
    b"C": lambda machine: machine.push(machine.read_payload(machine.read_number("<B"))),
    b"B": lambda machine: machine.push(machine.read_payload(machine.read_number("<I"))),
    b"\x8e": lambda machine: machine.push(machine.read_payload(machine.read_number("<Q"))),
    b"\x96": lambda machine: machine.push(machine.read_payload(machine.read_number("<Q"))),
    # tuples, lists and dicts
    b"(": lambda machine: machine.marks.append(len(machine.stack)),
    b")": lambda machine: machine.push_tuple(0),
    b"\x85": lambda machine: machine.push_tuple(1),
    b"\x86": lambda machine: machine.push_tuple(2),
    b"\x87": lambda machine: machine.push_tuple(3),
    b"t": lambda machine: machine.push(tuple(machine.pop_to_mark())),
    b"]": lambda machine: machine.push([]),
    b"a": lambda machine: machine.extend([machine.pop()]),
    b"e": lambda machine: machine.extend(machine.pop_to_mark()),
    b"}": lambda machine: machine.push({}),
    b"s": lambda machine: machine.set_item(),
    b"u": lambda machine: machine.set_items(machine.pop_to_mark()),
    # values met before
    b"q": lambda machine: machine.remember(machine.read_number("<B")),
    b"r": lambda machine: machine.remember(machine.read_number("<I")),
    b"\x94": lambda machine: machine.remember(len(machine.memo)),
    b"h": lambda machine: machine.recall(machine.read_number("<B")),
    b"j": lambda machine: machine.recall(machine.read_number("<I")),
    b"\x95": lambda machine: machine.check_frame(),
    # names and what is done with them
    b"c": lambda machine: machine.push_symbol(machine.read_line(), machine.read_line()),
    b"\x93": lambda machine: machine.push_symbol_from_stack(),
    b"R": lambda machine: machine.call(),
    b"b": lambda machine: machine.build(),
}

# What a call of each form of `_SYMBOLS` makes; the array class is named in files and never called.
_FORMS: Dict[str, Callable[[_Machine, Tuple[Any, ...]], Any]] = {
    "new array": _Machine.new_array,
    "array from bytes": _Machine.array_from_bytes,
    "scalar": _Machine.scalar,
    "dtype": _Machine.dtype,
    "dict": _Machine.ordered_dict,
    "bytes from text": _Machine.bytes_from_text,
    "no bytes": _Machine.no_bytes,
    "tensor": _Machine.tensor,
    "dense tensor": _Machine.dense_tensor,
}


def _is_symbol(value: Any, form: str) -> bool:
    return isinstance(value, _Symbol) and value.form == form


def _is_named_array(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], _Array)


def _is_shape(value: Any) -> bool:
    """Whether `value` is a shape an array can have; 2^48 keeps lengths beside a length of 0 within NumPy's limits."""
    if not isinstance(value, (tuple, list)) or len(value) > 32:
        return False
    if not all(type(length) is int and length >= 0 for length in value):
        return False
    return math.prod(length for length in value if length) <= 1 << 48


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
