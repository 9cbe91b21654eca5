"""Pickles read as data: a machine that carries out their instructions itself, so that nothing in them can run.

A pickle is a small program that builds objects, and it may name any function of any module to be called. Python's
unpickler would import and call it. The machine here knows only the instructions a weight file needs. A name in the file
is never imported: it is looked up in the table `SYMBOLS` and stands for one exact form, which the machine carries out
itself. Anything else is refused with the reason, and there is no other way in. Forms known here, which every kind of
file may hold (protocols 2 to 5):

    numpy.ndarray             by `_reconstruct` + state, or by `_frombuffer` (protocol 5)
    numpy scalar, dtype       plain numbers only: no objects, strings or records
    OrderedDict, dict, list, tuple, str, int, float, bytes, bool, None

`paddle_pickles` and `torch_archives` add the forms of tensors.

No count in the file is believed: sizes are compared with the bytes that are left before anything is allocated, what is
long (arrays, bytes, texts) is noted by its place and read when it is wanted, the bytes that all arrays take together are
limited by the size of the file, and so are the number of instructions and the depth of nesting.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional, Tuple, Union

import numpy as np

from passl.checkpoint.mapped_files import MappedFile, StoredArray, array_of
from passl.utils.errors import UserError

# A tensor takes about 40 instructions, so this is enough for 25,000 of them, and bounds time (seconds) and memory.
MAX_INSTRUCTIONS = 1_000_000
MAX_DEPTH = 32

_NUMBERS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split())
# What a call builds takes about as much memory as this many plain values.
CALL = 8
# Longer texts and bytes stay in the file until they are wanted.
_LONG = 1024


def looks_like_pickle(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a pickle of protocol 2 to 5."""
    return len(start) >= 2 and start[0] == 0x80 and 2 <= start[1] <= 5


class Symbol:
    """What a name in a file stands for.

    Attributes:
        form: what it is, in words.
        call: makes the value of a call from the machine and the arguments; None for what is named and never called.
        detail: what tells it from others of the same form.
    """

    def __init__(
        self, form: str, call: Optional[Callable[[Any, Tuple[Any, ...]], Any]] = None, detail: str = ""
    ) -> None:
        self.form = form
        self.call = call
        self.detail = detail


class Payload:
    """Long bytes or a long text, by its place in the file.

    Attributes:
        position: where it begins, counted from the beginning of the pickle.
        length: how many bytes it takes there.
        encoding: "" for bytes; that of a text; "bytes as text" for a text in UTF-8 whose letters are the bytes.
    """

    def __init__(self, position: int, length: int, encoding: str) -> None:
        self.position = position
        self.length = length
        self.encoding = encoding


class _DType:
    """A number format; complete once its byte order was given."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.order = ""


class _Unfinished:
    """An array; complete once its state was given."""

    array: Optional[StoredArray] = None


class Machine:
    """Carries out the instructions of one pickle on a stack, as a pickle is defined, with the limits said above.

    Args:
        file: the file it is in; open as long as arrays of it are read.
        begin: where in the file it begins.
        size: its bytes; without it, all that follow.
    """

    SYMBOLS: Mapping[Tuple[str, str], Symbol]
    INSTRUCTIONS: Mapping[bytes, Callable[[Any], None]]
    ORIGIN = "a pickle of protocol 2 to 5"
    ADVICE = "get this one again, or get the weights as .safetensors"
    # Paddle writes the bits of bfloat16 as whole numbers of 16 bits.
    UINT16_IS_BFLOAT16 = False

    def __init__(self, file: MappedFile, begin: int = 0, size: Optional[int] = None) -> None:
        self.source = file
        self.begin = begin
        self.size = file.size if size is None else size
        self.position = 0
        self.stack: List[Any] = []
        self.marks: List[int] = []
        self.memo: Dict[int, Any] = {}
        self.used = 0
        self.nodes = 0

    def run(self) -> Any:
        """The content as dicts, lists, tuples, plain values and `StoredArray`s.

        Raises:
            UserError: truncated, altered, or holding anything but the known forms.
        """
        if self.size == 0:
            self.refuse("the file is empty")
        self.source.stream.seek(self.begin)
        if not looks_like_pickle(self.read(2)):
            self.refuse(f"it does not begin like {self.ORIGIN}")
        for _ in range(MAX_INSTRUCTIONS):
            code = self.read(1)
            if code == b".":
                return self.result()
            if code not in self.INSTRUCTIONS:
                self.refuse(f"it holds the instruction {code!r}, which no weight file needs")
            self.INSTRUCTIONS[code](self)
        self.refuse(f"it has more than {MAX_INSTRUCTIONS:,} instructions, far beyond what any weights need")

    def refuse(self, reason: str) -> NoReturn:
        raise UserError(
            f"{self.source.path}: {reason} (at byte {self.position:,} of {self.size:,}). "
            "Nothing in the file was run and nothing was loaded. Weight files hold arrays and plain values alone; "
            f"{self.ADVICE}"
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
        data = self.source.stream.read(count)
        if len(data) != count:
            self.refuse("the file is truncated: it became shorter while it was read")
        return data

    def pass_over(self, count: int, encoding: str) -> Payload:
        payload = Payload(self.position, count, encoding)
        self.claim(count)
        self.source.stream.seek(count, 1)
        return payload

    def read_bytes(self, count: int) -> Union[bytes, Payload]:
        return self.read(count) if count <= _LONG else self.pass_over(count, "")

    def read_number(self, layout: str) -> Any:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def read_long(self, count: int) -> int:
        return int.from_bytes(self.read(count), "little", signed=True)

    def read_text(self, count: int, encoding: str = "utf-8") -> Union[str, Payload]:
        return self.decoded(self.read(count), encoding) if count <= _LONG else self.pass_over(count, encoding)

    def decoded(self, data: Union[bytes, memoryview], encoding: str) -> str:
        try:
            return str(data, encoding)
        except UnicodeDecodeError:
            self.refuse("a text in it is not UTF-8")

    def payload_bytes(self, payload: Union[bytes, Payload]) -> bytes:
        """The bytes that `payload` stands for; of a text those it is written with in the file."""
        if isinstance(payload, bytes):
            return payload
        data = self.source.read(self.begin + payload.position, payload.length)
        return self.latin1(self.decoded(data, "utf-8")) if payload.encoding == "bytes as text" else bytes(data)

    def read_line(self) -> str:
        line = self.source.stream.readline(256)
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
                self.refuse("a key of a dict in it is neither a text of ordinary length nor a number")
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
        symbol = self.symbol(module, name)
        if symbol is None:
            self.refuse(f"it refers to {module[:60]}.{name[:60]}, which no weight file needs; it may be malicious")
        self.push(symbol)

    def symbol(self, module: str, name: str) -> Optional[Symbol]:
        """What a name stands for, None for one that is not known."""
        return self.SYMBOLS.get((module, name))

    def call(self) -> None:
        arguments, symbol = self.pop(), self.pop()
        if not isinstance(symbol, Symbol) or symbol.call is None or not isinstance(arguments, tuple):
            self.refuse("it calls something that is not callable")
        self.spend(CALL)
        self.push(symbol.call(self, arguments))

    def build(self) -> None:
        state = self.pop()
        self.set_state(self.top(), state)

    def set_state(self, target: Any, state: Any) -> None:
        if isinstance(target, _Unfinished) and target.array is None and isinstance(state, tuple) and len(state) == 5:
            version, shape, dtype, is_fortran, payload = state
            if version != 1:
                self.refuse("an array in it has a state of an unknown version")
            target.array = self.array(shape, dtype, is_fortran, payload)
        elif isinstance(target, _DType) and isinstance(state, tuple) and len(state) == 8:
            version, order, *fields = state
            if version != 3 or fields != [None, None, None, -1, -1, 0]:
                self.refuse("a number format in it has fields or metadata")
            if order not in (("|",) if target.kind[1:] == "1" else ("<", ">", "=")):
                self.refuse("a number format in it has an unknown byte order")
            target.order = order.replace("=", "<")
        else:
            self.refuse("it sets the state of something that is not an array")

    def new_array(self, arguments: Tuple[Any, ...]) -> _Unfinished:
        if len(arguments) != 3 or not is_symbol(arguments[0], "array class"):
            self.refuse("it builds an array of an unknown class")
        if arguments[1] != (0,) or arguments[2] not in ("b", b"b"):
            self.refuse("it builds an array in an unknown way")
        return _Unfinished()

    def array_from_bytes(self, arguments: Tuple[Any, ...]) -> StoredArray:
        if len(arguments) != 4 or arguments[3] not in ("C", "F"):
            self.refuse("it builds an array in an unknown way")
        payload, dtype, shape, order = arguments
        return self.array(shape, dtype, order == "F", payload)

    def scalar(self, arguments: Tuple[Any, ...]) -> Any:
        if len(arguments) != 2 or not isinstance(arguments[1], (bytes, str)):
            self.refuse("it builds a number in an unknown way")
        return self.array((), arguments[0], False, arguments[1]).read().item()

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

    def bytes_from_text(self, arguments: Tuple[Any, ...]) -> Union[bytes, Payload]:
        """Protocol 2 has no bytes: they are written as a text whose letters are the bytes."""
        if len(arguments) != 2 or arguments[1] != "latin1":
            self.refuse("it encodes something in an unknown way")
        text = arguments[0]
        if isinstance(text, Payload) and text.encoding == "utf-8":
            return Payload(text.position, text.length, "bytes as text")
        if not isinstance(text, str):
            self.refuse("it encodes something that is not a text")
        self.memory(len(text))
        return self.latin1(text)

    def latin1(self, text: str) -> bytes:
        try:
            return text.encode("latin1")
        except UnicodeEncodeError:
            self.refuse("bytes in it are written as a text with letters that stand for no byte")

    def no_bytes(self, arguments: Tuple[Any, ...]) -> bytes:
        if arguments:
            self.refuse("it builds bytes in an unknown way")
        return b""

    def array(self, shape: Any, dtype: Any, is_fortran: Any, payload: Any) -> StoredArray:
        if not isinstance(dtype, _DType) or not dtype.order or not isinstance(is_fortran, (bool, int)):
            self.refuse("an array in it has no number format")
        if not is_shape(shape):
            self.refuse("an array in it has a shape that no array can have")
        if isinstance(payload, str):  # Python 2 had no bytes either
            payload = self.latin1(payload)
        numbers = np.dtype(dtype.order + dtype.kind)
        is_bfloat16 = self.UINT16_IS_BFLOAT16 and dtype.kind == "u2"
        result = np.dtype("<f4") if is_bfloat16 else numbers.newbyteorder("<")
        needed = math.prod(shape) * numbers.itemsize
        order = "F" if is_fortran else "C"

        def check(length: int) -> None:
            if needed != length:
                self.refuse(f"an array claims to be {list(shape)} {numbers.name} and has {length:,} bytes")

        def decode() -> np.ndarray:
            data = self.payload_bytes(payload)
            check(len(data))
            return array_of(memoryview(data), numbers, shape, None, order, is_bfloat16, self.source.path)

        def view() -> np.ndarray:
            place = self.begin + payload.position, needed
            return self.source.array(place, numbers, shape, order=order, is_bfloat16=is_bfloat16)

        if isinstance(payload, bytes):
            check(len(payload))
        elif not isinstance(payload, Payload) or payload.encoding == "utf-8":
            self.refuse("an array in it does not consist of bytes")
        elif payload.encoding != "bytes as text" or payload.length < needed:  # as text, a byte takes one or two
            check(payload.length)
        self.memory(math.prod(shape) * result.itemsize)
        is_as_it_stands = isinstance(payload, Payload) and payload.encoding != "bytes as text"
        return StoredArray(shape, result, view if is_as_it_stands else decode)

    def memory(self, count: int) -> None:
        """Counts the bytes of arrays and long values. An honest file needs up to four times its size (bfloat16, slices);
        more means that the same bytes are used again and again."""
        self.used += count
        if self.used > 4 * self.source.size + (1 << 20):
            self.refuse("the same bytes stand for many arrays in it, which would fill the memory")

    def spend(self, count: int) -> None:
        """Counts the values that are built or looked at, since one in the file can be used again and again."""
        self.nodes += count
        if self.nodes > MAX_INSTRUCTIONS:
            self.refuse_growth()

    def refuse_growth(self) -> NoReturn:
        self.refuse("its lists and dicts contain one another so often that they would fill the memory")

    # -- the finished value

    def result(self) -> Any:
        value = self.pop()
        if self.stack or self.marks:
            self.refuse("its instructions are out of order: values are left over")
        if self.position != self.size:
            self.refuse(f"{self.size - self.position:,} bytes follow the end of its content")
        return self.finished(value, 0)

    def finished(self, value: Any, depth: int) -> Any:
        """`value` without the machine's own objects, but for arrays, which stay to be read."""
        self.spend(1)
        if depth > MAX_DEPTH:
            self.refuse_growth()
        if isinstance(value, StoredArray):
            return value
        if isinstance(value, _Unfinished):
            if value.array is None:
                self.refuse("an array in it was begun and not finished")
            return value.array
        if isinstance(value, dict):
            return {key: self.finished(entry, depth + 1) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.finished(entry, depth + 1) for entry in value)
        if isinstance(value, Payload):
            self.memory(value.length)
            data = self.payload_bytes(value)
            return self.decoded(data, value.encoding) if value.encoding in ("utf-8", "latin1") else data
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return value
        self.refuse("it holds a bare reference to a function or class")


# NumPy moved `core` to `_core` in version 2, and protocol 2 says `__builtin__` for `builtins`.
Machine.SYMBOLS = {
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): Symbol("new array", Machine.new_array)
        for core in ("core", "_core")
    },
    **{(f"numpy.{core}.multiarray", "scalar"): Symbol("scalar", Machine.scalar) for core in ("core", "_core")},
    **{
        (f"numpy.{core}.numeric", "_frombuffer"): Symbol("array from bytes", Machine.array_from_bytes)
        for core in ("core", "_core")
    },
    ("numpy", "ndarray"): Symbol("array class"),
    ("numpy", "dtype"): Symbol("dtype", Machine.dtype),
    ("collections", "OrderedDict"): Symbol("dict", Machine.ordered_dict),
    ("_codecs", "encode"): Symbol("bytes from text", Machine.bytes_from_text),
    **{(builtins, "bytes"): Symbol("no bytes", Machine.no_bytes) for builtins in ("builtins", "__builtin__")},
}

# The instructions that a pickle of plain values and arrays consists of, by their code.
Machine.INSTRUCTIONS = {
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
    b"C": lambda machine: machine.push(machine.read_bytes(machine.read_number("<B"))),
    b"B": lambda machine: machine.push(machine.read_bytes(machine.read_number("<I"))),
    b"\x8e": lambda machine: machine.push(machine.read_bytes(machine.read_number("<Q"))),
    b"\x96": lambda machine: machine.push(machine.read_bytes(machine.read_number("<Q"))),
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


def is_array(value: Any) -> bool:
    """Whether `value` is an array while the machine runs."""
    return isinstance(value, (StoredArray, _Unfinished))


def is_symbol(value: Any, form: str) -> bool:
    """Whether `value` is a name that stands for `form`."""
    return isinstance(value, Symbol) and value.form == form


def is_shape(value: Any) -> bool:
    """Whether `value` is a shape an array can have; 2^48 keeps lengths beside a length of 0 within NumPy's limits."""
    if not isinstance(value, (tuple, list)) or len(value) > 32:
        return False
    if not all(type(length) is int and length >= 0 for length in value):
        return False
    return math.prod(length for length in value if length) <= 1 << 48
