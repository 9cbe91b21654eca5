"""PyTorch's files (.pt, .pth, .bin, .ckpt): zip archives as `torch.save` (1.6 and later) and `torch.jit.save` write them.

`data.pkl` in such an archive is a pickle whose tensors refer to records `data/0`, `data/1`, … with the numbers. It is
read by the machine of `pickles` with the forms of PyTorch; no class and no function of the file is looked for, and
PyTorch is not needed:

    tensor, parameter         a view of a record by offset, shape and strides, which must stay within it
    torch.Size, device, dtype a tuple, and texts: "cuda:0", "torch.float16"
    OrderedDict, Counter      dicts; the versions that a state dict notes of its modules are dropped
    argparse.Namespace        a dict
    objects of `__torch__...` modules of TorchScript: a dict of their attributes, without `training` and what is None

Records are mapped, so several tensors of one record are views of the same numbers. bfloat16 comes out as float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, NamedTuple, NoReturn, Optional, Tuple

import numpy as np

from passl.checkpoint.mapped_files import MappedFile, StoredArray
from passl.checkpoint.pickles import CALL, Machine, Symbol, is_array, is_shape, is_symbol
from passl.checkpoint.zip_archives import Record, ZipArchive
from passl.utils.errors import UserError

_RESAVE = "in PyTorch, save the weights with torch.save(model.state_dict(), path)"
_BFLOAT16 = "bfloat16"
# The number formats of PyTorch that NumPy has too, by the names of PyTorch, and bfloat16.
_DTYPES = {
    **{f"{kind}{bits}": f"<{kind[0]}{bits // 8}" for kind in ("int", "uint") for bits in (16, 32, 64)},
    **{f"float{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"complex{bits}": f"<c{bits // 8}" for bits in (64, 128)},
    **{"int8": "i1", "uint8": "u1", "bool": "b1", _BFLOAT16: "<u2"},
}
_STORAGES = {
    **{"DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": _BFLOAT16},
    **{"LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8"},
    **{"ByteStorage": "uint8", "BoolStorage": "bool"},
    **{"ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128"},
}
# What PyTorch before 1.6 wrote at the beginning: the number 0x1950a86a20f9469cfc6c, which says that a pickle follows.
_OLD_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")


class TorchContent(NamedTuple):
    """What an archive holds.

    Attributes:
        value: dicts, lists, tuples, plain values and `StoredArray`s.
        container: "torch", or "torchscript" for an archive of torch.jit.save.
    """

    value: Any
    container: str


def read_torch(file: MappedFile) -> TorchContent:
    """The content of an archive.

    Raises:
        UserError: truncated, altered, or holding anything but the forms above.
    """
    archive = ZipArchive(file)
    roots = {name.partition("/")[0] for name in archive.records}
    root = min(roots, default="")
    pickled = archive.records.get(f"{root}/data.pkl")
    if pickled is None or len(roots) != 1:
        raise UserError(
            f"{file.path} is a zip archive, but not one of torch.save or torch.jit.save: it has no data.pkl in the one "
            f"folder they write; {_RESAVE}"
        )
    order = archive.records.get(f"{root}/byteorder")
    said = b"little" if order is None else archive.read(order, limit=16)
    if said != b"little":
        raise UserError(
            f"{file.path}: the byte order of its numbers is {said.decode('utf-8', 'replace')!r}, and only 'little' is "
            "read; load it in PyTorch and save it again on an ordinary machine"
        )
    value = _TorchMachine(archive, root, pickled).run()
    is_script = f"{root}/constants.pkl" in archive.records
    return TorchContent(value, "torchscript" if is_script else "torch")


def is_old_torch(start: bytes) -> bool:
    """Whether the first bytes of a file (32 are enough) are those of a file of PyTorch before 1.6."""
    return _OLD_MAGIC in start[:32]


def refuse_old_torch(file: MappedFile) -> NoReturn:
    """Says what a file of PyTorch before 1.6 is and how to bring it into a form that is read."""
    raise UserError(
        f"{file.path} has the form that PyTorch wrote before version 1.6 (or with _use_new_zipfile_serialization=False), "
        "which is not read. Save it again with any later PyTorch: "
        "torch.save(torch.load(path, weights_only=True, map_location='cpu'), new_path)"
    )


@dataclass(frozen=True)
class _Storage:
    """A record of numbers; `dtype` is empty where each tensor says its own."""

    record: Record
    dtype: str


class _Object:
    """An object by its attributes; complete once they were given."""

    attributes: Optional[Dict[str, Any]] = None


class _TorchMachine(Machine):
    """The machine with PyTorch's forms."""

    ORIGIN = "the data.pkl of torch.save (a pickle of protocol 2 to 5)"
    ADVICE = f"{_RESAVE}, or get them as .safetensors"

    def __init__(self, archive: ZipArchive, root: str, pickled: Record) -> None:
        super().__init__(archive.file, *archive.place(pickled))
        self.archive = archive
        self.root = root

    # -- names

    def symbol(self, module: str, name: str) -> Optional[Symbol]:
        if module == "__torch__" or module.startswith("__torch__."):
            return Symbol("object class")
        return super().symbol(module, name)

    # -- tensors

    def recall_storage(self) -> None:
        """A reference to what is outside of the pickle: ("storage", class, key, device, count of numbers)."""
        reference = self.pop()
        if not isinstance(reference, tuple) or len(reference) != 5 or reference[0] != "storage":
            self.refuse("it refers to something outside that is not a storage")
        _, kind, key, device, count = reference
        if not is_symbol(kind, "storage") or not isinstance(key, str) or not isinstance(device, str):
            self.refuse("it refers to a storage in an unknown way")
        record = self.archive.records.get(f"{self.root}/data/{key}")
        if record is None:
            self.refuse(f"the numbers of a tensor are missing: there is no record data/{key[:80]}")
        width = np.dtype(_DTYPES[kind.detail]).itemsize if kind.detail else 1
        if type(count) is not int or count * width != record.size:
            # Only a number is shown: anything else may be endless in print.
            shown = f"{count:,}" if type(count) is int else f"a {type(count).__name__} of"
            self.refuse(f"a storage of {shown[:30]} numbers is announced, data/{key[:80]} has {record.size:,} bytes")
        self.push(_Storage(record, kind.detail))

    def tensor(self, arguments: Tuple[Any, ...]) -> StoredArray:
        """Storage, offset, shape, strides, then whether it has a gradient, hooks and flags, which are not needed."""
        if not 4 <= len(arguments) <= 7 or not isinstance(arguments[0], _Storage) or not arguments[0].dtype:
            self.refuse("it builds a tensor in an unknown way")
        return self.view(arguments[:4], arguments[0].dtype, arguments[6:])

    def tensor_of_dtype(self, arguments: Tuple[Any, ...]) -> StoredArray:
        """The same with the number format before the flags; the storage is mere bytes then."""
        if not 7 <= len(arguments) <= 8 or not isinstance(arguments[0], _Storage) or arguments[0].dtype:
            self.refuse("it builds a tensor in an unknown way")
        if not is_symbol(arguments[6], "number format"):
            self.refuse("it builds a tensor of an unknown number format")
        return self.view(arguments[:4], arguments[6].detail, arguments[7:])

    def view(self, place: Tuple[Any, ...], dtype: str, flags: Tuple[Any, ...]) -> StoredArray:
        """A tensor by its place (storage, offset, shape, strides) and number format."""
        storage, offset, shape, strides = place
        if any(flags):
            self.refuse("a tensor in it is marked as conjugate or negative, and its numbers would be others")
        if not is_shape(shape) or not _are_counts(strides, len(shape)) or not _are_counts((offset,), 1):
            self.refuse("a tensor in it has a shape, strides or an offset that no tensor can have")
        numbers = np.dtype(_DTYPES[dtype])
        steps = [stride * (length > 1) for stride, length in zip(strides, shape)]
        extent = 1 + sum((length - 1) * step for length, step in zip(shape, steps)) if all(shape) else 0
        width = numbers.itemsize
        if (offset + extent) * width > storage.record.size and extent:
            self.refuse(
                f"a tensor {list(shape)} in it reaches beyond its storage: it ends at number {offset + extent:,} of "
                f"{storage.record.size // width:,}"
            )
        result = np.dtype("<f4") if dtype == _BFLOAT16 else numbers
        self.memory(math.prod(shape) * result.itemsize)

        def read() -> np.ndarray:
            begin, _ = self.archive.place(storage.record)
            part = (begin + offset * width, extent * width) if extent else (begin, 0)
            byte_steps = [step * width if length > 1 else width for step, length in zip(steps, shape)]
            return self.source.array(part, numbers, shape, byte_steps, is_bfloat16=dtype == _BFLOAT16)

        return StoredArray(shape, result, read)

    def parameter(self, arguments: Tuple[Any, ...]) -> Any:
        """A tensor, whether it has a gradient, hooks and, at times, attributes."""
        if not 3 <= len(arguments) <= 4 or not is_array(arguments[0]):
            self.refuse("it builds a parameter in an unknown way")
        return arguments[0]

    # -- what stands beside tensors

    def size_of(self, arguments: Tuple[Any, ...]) -> Tuple[int, ...]:
        if len(arguments) != 1 or not is_shape(arguments[0]):
            self.refuse("it builds a torch.Size in an unknown way")
        return tuple(arguments[0])

    def device(self, arguments: Tuple[Any, ...]) -> str:
        if not 1 <= len(arguments) <= 2 or not all(isinstance(argument, (str, int)) for argument in arguments):
            self.refuse("it builds a torch.device in an unknown way")
        device = ":".join(map(str, arguments))
        self.memory(len(device))
        return device

    def counter(self, arguments: Tuple[Any, ...]) -> Dict[Any, Any]:
        if len(arguments) > 1 or not all(isinstance(argument, dict) for argument in arguments):
            self.refuse("it builds a Counter in an unknown way")
        return arguments[0] if arguments else {}

    def typed(self, arguments: Tuple[Any, ...]) -> Any:
        """A list or dict of TorchScript, at times with its type as a text."""
        if not 1 <= len(arguments) <= 2 or not isinstance(arguments[0], (list, dict)):
            self.refuse("it builds a list or dict in an unknown way")
        return arguments[0]

    def new_object(self) -> None:
        arguments, kind = self.pop(), self.pop()
        if not is_symbol(kind, "object class") or arguments != ():
            self.refuse("it builds an object of a class that no weight file needs; it may be malicious")
        self.spend(CALL)
        self.push(_Object())

    def set_state(self, target: Any, state: Any) -> None:
        if isinstance(target, _Object) and target.attributes is None:
            if not isinstance(state, dict):
                self.refuse("the state of an object in it is not its attributes")
            self.spend(len(state))
            if not all(isinstance(name, str) for name in state):
                self.refuse("the state of an object in it is not its attributes")
            target.attributes = state
        elif isinstance(target, dict) and isinstance(state, dict) and state.keys() == {"_metadata"}:
            pass  # the versions of its modules, which a state dict carries as an attribute
        else:
            super().set_state(target, state)

    def finished(self, value: Any, depth: int) -> Any:
        if isinstance(value, _Object):
            if value.attributes is None:
                self.refuse("an object in it was begun and not finished")
            self.spend(len(value.attributes))
            hidden = ("training", "_is_full_backward_hook")
            attributes = {name: entry for name, entry in value.attributes.items() if name not in hidden}
            return super().finished({name: entry for name, entry in attributes.items() if entry is not None}, depth)
        if is_symbol(value, "number format"):
            return f"torch.{value.detail}"
        if isinstance(value, _Storage):
            self.refuse(f"it holds a storage without a tensor (data {value.record.name[:80]!r})")
        return super().finished(value, depth)


_TENSORS: Dict[str, Callable[[Any, Tuple[Any, ...]], Any]] = {
    "_rebuild_tensor": _TorchMachine.tensor,
    "_rebuild_tensor_v2": _TorchMachine.tensor,
    "_rebuild_tensor_v3": _TorchMachine.tensor_of_dtype,
    "_rebuild_parameter": _TorchMachine.parameter,
    "_rebuild_parameter_with_state": _TorchMachine.parameter,
}
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")

_TorchMachine.SYMBOLS = {
    **Machine.SYMBOLS,
    **{("torch._utils", name): Symbol("tensor", call) for name, call in _TENSORS.items()},
    **{("torch", name): Symbol("storage", detail=dtype) for name, dtype in _STORAGES.items()},
    **{("torch", name): Symbol("number format", detail=name) for name in _DTYPES},
    ("torch.storage", "UntypedStorage"): Symbol("storage"),
    ("torch", "Size"): Symbol("size", _TorchMachine.size_of),
    ("torch", "device"): Symbol("device", _TorchMachine.device),
    **{("torch.jit._pickle", name): Symbol("list", _TorchMachine.typed) for name in _LISTS},
    ("collections", "Counter"): Symbol("dict", _TorchMachine.counter),
    ("argparse", "Namespace"): Symbol("object class"),
}
_TorchMachine.INSTRUCTIONS = {
    **Machine.INSTRUCTIONS,
    b"Q": _TorchMachine.recall_storage,
    b"\x81": _TorchMachine.new_object,
}


def _are_counts(values: Any, length: int) -> bool:
    """Whether `values` are so many whole numbers from 0 on; how many comes first, there could be very many."""
    if not isinstance(values, (tuple, list)) or len(values) != length:
        return False
    return all(type(value) is int and 0 <= value < 1 << 60 for value in values)
