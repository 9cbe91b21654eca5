"""Altered and malicious weight files of every kind, by name, for test_altered_files.py and test_safe_tensors.py.

Names begin with what was done: "truncated" and "changed" files come from honest ones; all others are attacks, each of
which must be refused.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import torch_files
from torch_files import (
    archive,
    dictionary,
    number,
    numbers,
    pickled,
    state_dict_archive,
    storage,
    tensor,
    text,
    weights_archive,
)
from torch_files import name as global_name

PROTOCOLS = (2, 3, 4, 5)
ARRAY = np.arange(4, dtype="float32")
ARRAYS = {
    "blocks.0.weight": np.arange(24, dtype="float32").reshape(4, 6),
    "blocks.0.bias": np.arange(6, dtype="float16"),
    "scale": np.array(2.5, "float32"),
    "steps": np.array([7], "int64"),
}


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Built:
    """Pickles as an object of `function` whose state is set to `state`."""

    def __init__(self, function, arguments, state):
        self.call = function, arguments, state

    def __reduce__(self):
        return self.call


def malicious_pickles(marker):
    """Pickles by name; any of their attacks that worked would make the file `marker`, or fill the memory."""
    touch, python = f"touch {marker}", f"open({str(marker)!r}, 'w').close()"
    array_of = np.zeros(1).__reduce__()[0]
    objects = np.array([Call(os.system, touch)], dtype=object)
    calls = {
        "os.system": Call(os.system, touch),
        "subprocess": Call(subprocess.call, ["touch", str(marker)]),
        "eval": Call(eval, python),
        "eval-with-dict": Call(eval, python, {"data": np.ones(2)}),
        "eval-of-a-call": Call(eval, "data", {"data": Call(os.system, touch)}),
        "eval-of-two": Call(eval, "data", {"data": np.ones(2), "other": np.ones(2)}),
        "eval-of-a-list": Call(eval, "data", {"data": [np.ones(2)]}),
        "eval-of-another-name": Call(eval, "data()", {"data": np.ones(2)}),
        "eval-of-itself": Call(eval, "data", {"data": eval}),
        "exec": Call(exec, python),
        "open": Call(open, str(marker), "w"),
        "getattr": Call(getattr, "text", "format"),
        "import": Call(__import__, "os"),
        "partial": Call(functools.partial, os.system, touch),
        "methodcaller": Call(operator.methodcaller, "system", touch),
        "numpy.load": Call(np.load, str(marker), None, True),
        "numpy.save": Call(np.save, str(marker), np.ones(1)),
        "numpy.fromfile": Call(np.fromfile, str(marker)),
        "numpy.memmap": Call(np.memmap, str(marker), "uint8", "w+", 0, (1,)),
        "array-of-another-class": Call(array_of, np.matrix, (0,), b"b"),
        "array-of-a-call": Call(array_of, Call(os.system, touch), (0,), b"b"),
        "array-of-a-shape": Call(array_of, np.ndarray, (1 << 33,), b"b"),
        "dtype-of-objects": Call(np.dtype, "O8", False, True),
        "dtype-of-a-call": Call(np.dtype, Call(os.system, touch), False, True),
        "dtype-of-a-record": np.dtype([("a", "f4")]),
        "dtype-with-metadata": np.dtype("f4", metadata={"a": 1}),
        "array-of-objects": objects,
        "array-of-texts": np.array(["a", "b"]),
        "array-of-bytes": np.array([b"a", b"b"]),
        "array-of-dates": np.array(["2021-01-01"], dtype="datetime64[D]"),
        "array-of-records": np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        "state-of-a-dict": Built(OrderedDict, (), {"__class__": Call(os.system, touch)}),
        "tuple-of-anything": Call(tuple, [1, 2]),
        "tuple-of-a-pair": Call(tuple, ("a", "b")),
        "set": {1, 2},
        "class": dict,
        "function": len,
        "slice": slice(1),
    }
    files = {
        f"{name}-{place}-{protocol}": pickle.dumps({"a": call} if place == "value" else call, protocol=protocol)
        for name, call in calls.items()
        for place in ("value", "top")
        for protocol in PROTOCOLS
    }
    system = global_name("os", "system") + b"X" + struct.pack("<I", len(touch)) + touch.encode() + b"\x85R"
    bare = {
        "runstring": global_name("numpy.testing._private.utils", "runstring")
        + b"X" + struct.pack("<I", len(python)) + python.encode() + b"}\x86R.",
        "getattr-of-builtins": global_name("builtins", "getattr")
        + global_name("builtins", "__dict__") + b"X\x04\x00\x00\x00eval\x86R.",
        "dotted-name": b"\x8c\x02os\x8c\x0bpath.system\x93.",
        "name-beyond-the-table": b"\x8c\x05numpy\x8c\x0bndarray.mro\x93)R.",
        "inst": b"(X" + struct.pack("<I", len(touch)) + touch.encode() + b"ios\nsystem\n.",
        "obj": b"(" + global_name("os", "system") + b"X\x01\x00\x00\x00ao.",
        "newobj": global_name("collections", "OrderedDict") + b")\x81.",
        "extension": b"\x82\x01.",
        "persistent": b"X\x01\x00\x00\x00aQ.",
        "call-in-a-key": b"}" + system + b"K\x01s.",
        "call-in-a-state": global_name("numpy", "dtype") + b"X\x02\x00\x00\x00f4\x89\x88\x87R" + system + b"b.",
        "symbol-with-state": global_name("numpy", "ndarray") + b"}b.",
        "array-left-open": b"}X\x01\x00\x00\x00a" + global_name("numpy.core.multiarray", "_reconstruct")
        + global_name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87Rs.",
        "claims-10-GB-of-bytes": b"}X\x01\x00\x00\x00a\x8e" + struct.pack("<Q", 10 << 30) + b"x.",
        "claims-10-GB-of-bytearray": b"\x96" + struct.pack("<Q", 10 << 30) + b"x.",
        "claims-10-GB-of-text": b"\x8d" + struct.pack("<Q", 10 << 30) + b"x.",
        "claims-4-GB-of-old-text": b"T\xff\xff\xff\xff.",
        "claims-all-bytes": b"\x8e" + b"\xff" * 8 + b".",
        "claims-a-huge-frame": b"\x95" + b"\xff" * 8 + b"N.",
        "memo-far-away": b"Nr\xff\xff\xff\xff.",
        "memo-missing": b"h\x07.",
        "memo-bomb": b"]" + b"\x94" * 3_000_000 + b".",
        "list-bomb": b"](" + b"]" * 3_000_000 + b"e.",
        "deep": b"]" * 400_000 + b"a" * 399_999 + b".",
        "deep-tuple": b")" + b"\x85" * 400_000 + b".",
        "cycle": b"]\x94h\x00a.",
        "doubling": b"(]\x94" + b"".join(b"](" + b"h%c" % n * 2 + b"e\x94" for n in range(40)) + b"t.",
        "wide-doubling": b"(]\x94" + b"".join(b"](" + b"h%c" % n * 100 + b"e\x94" for n in range(6)) + b"t.",
        "bytes-again-and-again": b"](B" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + b"\x94"
        + b"h\x00" * 5000 + b"e.",
        "huge-keys": b"}" + b"".join(b"\x8a\x09" + struct.pack("<Q", n) + b"\x01" + b"Ns" for n in range(9)) + b".",
        "underflow": b"\x87.",
        "two-values": b"NN.",
        "no-value": b".",
        "mark-left": b"(N.",
        "below-the-mark": b"N(0.",
        "no-mark": b"Nt.",
        "append-to-none": b"NNa.",
        "set-in-a-list": b"]NNs.",
        "key-is-a-list": b"}]Ns.",
        "odd-items": b"}(Nu.",
        "bad-utf8": b"X\x02\x00\x00\x00\xff\xfe.",
        "trailing": b"N." + b"x" * 10,
        "global-without-end": b"cos",
        "call-of-a-text": b"X\x01\x00\x00\x00a)R.",
        "call-with-a-list": global_name("collections", "OrderedDict") + b"]R.",
    }  # fmt: skip
    files.update({name: b"\x80\x04" + content for name, content in bare.items()})
    for size in (10 << 30, 1 << 62, 2**70):
        shape = b"\x8a\x09" + size.to_bytes(9, "little") + b"\x85"
        head = global_name("numpy.core.multiarray", "_reconstruct") + global_name("numpy", "ndarray")
        dtype = global_name("numpy", "dtype") + b"X\x02\x00\x00\x00f4\x89\x88\x87R"
        dtype += b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        array = head + b"K\x00\x85C\x01b\x87R(K\x01" + shape + dtype + b"\x89C\x04\x00\x00\x80?tb"
        files[f"claims-array-{size}"] = b"\x80\x04}X\x01\x00\x00\x00a" + array + b"s."
    files["protocol-0"] = pickle.dumps(ARRAYS, protocol=0)
    files["protocol-1"] = pickle.dumps(ARRAYS, protocol=1)
    files["protocol-6"] = b"\x80\x06" + pickle.dumps(ARRAYS, protocol=5)[2:]
    slices = {"UnpackBigParamInfor@@": {"a": {"OriginShape": (8,), "slices": ["b"] * 4}}, "b": np.ones(2, "float32")}
    files["slices-repeated"] = pickle.dumps(slices)
    files["slices-missing"] = pickle.dumps({**slices, "UnpackBigParamInfor@@": {"a": {"OriginShape": (8,)}}})
    files["slices-a-text"] = pickle.dumps({"UnpackBigParamInfor@@": "a", "b": np.ones(2)})
    part = {"b": np.ones(1 << 16), "UnpackBigParamInfor@@": {"a": {"OriginShape": (1 << 16,), "slices": ["b"]}}}
    files["slices-again-and-again"] = pickle.dumps({str(n): OrderedDict(part) for n in range(3000)})
    return files


def altered_pickles(rng):
    """Truncations and changed bytes of honest pickles, by name; the names say the kind."""
    files = {}
    for protocol in PROTOCOLS:
        honest = pickle.dumps(OrderedDict(ARRAYS), protocol=protocol)
        for position in rng.sample(range(len(honest)), 30):
            files[f"truncated-{protocol}-{position}"] = honest[:position]
        for position in rng.sample(range(len(honest)), 60):
            changed = bytearray(honest)
            changed[position] ^= 1 << rng.randrange(8)
            files[f"changed-{protocol}-{position}"] = bytes(changed)
    return files


def again(value, symbol, count):
    """A list of `count` calls of `symbol` with the same `value`."""
    return b"](" + value + b"\x85q\x01" + symbol + b"q\x02h\x01R" + b"h\x02h\x01R" * (count - 1) + b"e"


def nested_names(key, depth, leaf):
    """A tensor under "a", and dicts in one another, each under `key`, around 300,000 of `leaf`."""
    start = b"}(" + text("a") + pickle.dumps(ARRAY, protocol=2)[2:-1] + b"r\xff\x00\x00\x00"
    leaves = b"".join(b"J" + struct.pack("<i", number) + leaf for number in range(300_000))
    return b"\x80\x02" + start + (text(key) + b"}(") * depth + leaves + b"u" * depth + b"u."


def bombs():
    """Files by kind and name, of one or two megabytes each, that fill the memory or take for ever if the reader lets them.

    All stay below the shipped limit of instructions.
    """
    count, calls = 100_000, 150_000
    numbers_again = b"](" + b"K\x07" * count + b"e"
    keys = b"}(" + b"".join(b"J" + struct.pack("<i", key) + b"N" for key in range(count)) + b"u"
    names = b"}(" + b"".join(text(f"{key:x}") + b"N" for key in range(count)) + b"u"
    letters = text("x" * 1000)
    encode = letters + text("latin1") + b"\x86q\x01" + global_name("_codecs", "encode") + b"q\x02h\x01R"
    module = global_name("__torch__", "Model")
    rebuild = global_name("torch._utils", "_rebuild_tensor_v2")
    strided = tensor(storage(4), (4,), (1,))[len(rebuild) : -1]

    def count_of_pairs(depth):
        pairs = b"".join(b"h%c" % n * 2 + b"\x86q%c" % (n + 1) for n in range(depth))
        stored = storage(4).replace(number(4), b"h%c" % depth)
        return b"](K\x01q\x00" + pairs + tensor(stored, (4,), (1,)) + b"e"

    values = {
        "count-of-pairs-28": count_of_pairs(28),
        "count-of-pairs-200": count_of_pairs(200),
        "sizes": again(numbers_again, global_name("torch", "Size"), calls),
        "counters": again(keys, global_name("collections", "Counter"), calls),
        "devices": again(letters, global_name("torch", "device"), calls),
        "states": b"](" + names + b"q\x00" + module + b"q\x03)\x81h\x00b" + b"h\x03)\x81h\x00b" * 80_000 + b"e",
        "tensors": b"](" + rebuild + b"q\x02" + strided + b"q\x01R" + b"h\x02h\x01R" * 300_000 + b"e",
    }
    four = np.arange(4, dtype="<f4").tobytes()
    return {
        "torch": {name: state_dict_archive(pickled(value), _0=four) for name, value in values.items()},
        "paddle": {
            "names-of-arrays": nested_names("x" * 1020, 28, b"j\xff\x00\x00\x00"),
            "names-of-values": nested_names("x" * 1020, 28, b"N"),
            "names-below-the-limit": nested_names("x" * 900, 1, b"j\xff\x00\x00\x00"),
            "encoded": b"\x80\x02](" + encode + b"h\x02h\x01R" * 300_000 + b"e.",
        },
    }


# -- archives of PyTorch

BOMBS = ("memo-bomb", "list-bomb", "deep", "deep-tuple", "doubling", "wide-doubling")
RECORDED = ("state-dict", "script")


def recorded(kind):
    return (torch_files.FILES / f"torch-2.13-{kind}.pt").read_bytes()


def malicious_archives(marker):
    """Archives by name. What a pickle can do is tried in them too, but for what only grows."""
    wrapped = {
        f"pickle-{name}": state_dict_archive(content)
        for name, content in malicious_pickles(marker).items()
        if name not in BOMBS and not name.startswith("slices")  # which are forms of Paddle
    }
    return {**wrapped, **malicious_tensors(marker), **contradicting_archives()}


def malicious_tensors(marker):
    """Archives that are in order, whose pickles claim what their numbers do not give."""
    four = np.arange(4, dtype="<f4").tobytes()
    system = global_name("os", "system") + text(f"touch {marker}") + b"\x85R"
    whole = storage(4)
    hooks = global_name("collections", "OrderedDict") + b")R"
    v3 = global_name("torch._utils", "_rebuild_tensor_v3")
    untyped = storage(16, kind="UntypedStorage", module="torch.storage")
    module = global_name("__torch__", "Model")
    rebuild = global_name("torch._utils", "_rebuild_tensor_v2")
    strided = tensor(whole, (4,), (1,))
    values = {
        "storage-missing": tensor(storage(4, key="1"), (4,), (1,)),
        "storage-too-long": tensor(storage(5), (4,), (1,)),
        "storage-too-short": tensor(storage(3), (3,), (1,)),
        "storage-of-10-GB": tensor(storage(10 << 28), (4,), (1,)),
        "storage-beyond-64-bits": tensor(storage(1 << 70), (4,), (1,)),
        "storage-negative": tensor(storage(-4), (4,), (1,)),
        "storage-of-the-pickle": tensor(storage(4, key="../data.pkl"), (4,), (1,)),
        "storage-outside": tensor(storage(4, key="../../../../etc/passwd"), (4,), (1,)),
        "storage-absolute": tensor(storage(4, key="/etc/passwd"), (4,), (1,)),
        "storage-without-key": tensor(storage(4, key=""), (4,), (1,)),
        "storage-of-another-kind": tensor(storage(4, kind="QInt8Storage"), (4,), (1,)),
        "storage-of-a-function": tensor(storage(4, kind="system", module="os"), (4,), (1,)),
        "storage-of-a-call": tensor(b"(" + text("storage") + system + text("0") + text("cpu") + number(4) + b"tQ", (), ()),
        "storage-of-a-dtype": tensor(storage(4, kind="float32"), (4,), (1,)),
        "storage-alone": whole,
        "storage-without-place": b"(" + text("storage") + text("0") + b"tQ",
        "storage-elsewhere": b"(" + text("module") + text("0") + text("0") + text("0") + number(4) + b"tQ",
        "storage-by-a-text": text("0") + b"Q",
        "offset-beyond": tensor(whole, (1,), (1,), offset=4),
        "offset-far-beyond": tensor(whole, (1,), (1,), offset=1 << 62),
        "offset-beyond-64-bits": tensor(whole, (1,), (1,), offset=1 << 70),
        "offset-negative": tensor(whole, (1,), (1,), offset=-1),
        "shape-beyond": tensor(whole, (5,), (1,)),
        "shape-negative": tensor(whole, (-4,), (1,)),
        "shape-negative-twice": tensor(whole, (-2, -2), (2, 1)),
        "shape-of-10-GB": tensor(whole, (10 << 28,), (1,)),
        "shape-beyond-64-bits": tensor(whole, (1 << 40, 1 << 40), (0, 0)),
        "shape-of-40-axes": tensor(whole, (1,) * 40, (1,) * 40),
        "shape-of-nothing-but-huge": tensor(whole, (0, 1 << 70), (1, 1)),
        "expanded-to-10-GB": tensor(whole, (10 << 28,), (0,)),
        "expanded-again-and-again": b"](" + tensor(whole, (1 << 16,), (0,)) * 40 + b"e",
        "brain-expanded-to-10-GB": tensor(storage(8, kind="BFloat16Storage"), (10 << 29,), (0,)),
        "stride-beyond": tensor(whole, (2, 2), (3, 1)),
        "stride-negative": tensor(whole, (4,), (-1,), offset=3),
        "stride-beyond-64-bits": tensor(whole, (2,), (1 << 70,)),
        "strides-too-few": tensor(whole, (2, 2), (1,)),
        "strides-too-many": tensor(whole, (4,), (1, 1)),
        "strides-none": rebuild + b"(" + whole + number(0) + numbers(4) + b"N\x89" + hooks + b"tR",
        "shape-of-a-truth-value": rebuild + b"(" + whole + number(0) + b"\x88\x85" + numbers(1) + b"\x89" + hooks + b"tR",
        "shape-of-a-fraction": rebuild + b"(" + whole + number(0) + b"G@\x00\x00\x00\x00\x00\x00\x00\x85"
        + numbers(1) + b"\x89" + hooks + b"tR",
        "offset-a-text": rebuild + b"(" + whole + text("0") + numbers(4) + numbers(1) + b"\x89" + hooks + b"tR",
        "truth-values-of-2": tensor(storage(16, kind="BoolStorage"), (16,), (1,)),
        "conjugate": tensor(whole, (4,), (1,), more=dictionary(conj=b"\x88")),
        "negative": tensor(whole, (4,), (1,), more=dictionary(neg=b"\x88")),
        "arguments-too-few": rebuild + b"(" + whole + b"tR",
        "arguments-too-many": tensor(whole, (4,), (1,), more=b"NNN"),
        "untyped-without-dtype": tensor(untyped, (4,), (1,)),
        "dtype-of-typed": v3 + b"(" + whole + number(0) + numbers(4) + numbers(1) + b"\x89" + hooks
        + global_name("torch", "float32") + b"tR",
        "dtype-unknown": v3 + b"(" + untyped + number(0) + numbers(4) + numbers(1) + b"\x89" + hooks
        + global_name("torch", "float8_e4m3fn") + b"tR",
        "dtype-a-call": v3 + b"(" + untyped + number(0) + numbers(4) + numbers(1) + b"\x89" + hooks + system + b"tR",
        "hooks-a-call": rebuild + b"(" + whole + number(0) + numbers(4) + numbers(1) + b"\x89" + system + b"tR",
        "parameter-of-nothing": global_name("torch._utils", "_rebuild_parameter") + b"N\x88" + hooks + b"\x87R",
        "size-of-texts": global_name("torch", "Size") + text("a") + b"\x85\x85R",
        "device-of-a-list": global_name("torch", "device") + b"]\x85R",
        "counter-of-a-list": global_name("collections", "Counter") + b"]\x85R",
        "list-of-a-number": global_name("torch.jit._pickle", "build_intlist") + number(1) + b"\x85R",
        "module-called": module + b")R",
        "module-with-arguments": module + text("a") + b"\x85\x81",
        "module-begun": module + b")\x81",
        "module-with-another-state": module + b")\x81]b",
        "module-with-a-call": module + b")\x81" + dictionary(a=system) + b"b",
        "module-built-twice": module + b")\x81" + dictionary(a=strided) + b"b" + dictionary(a=strided) + b"b",
        "module-of-itself": module + b")\x81q\x00" + dictionary(a=b"h\x00") + b"b",
        "object-of-os": global_name("os", "system") + b")\x81",
        "namespace-with-a-call": global_name("argparse", "Namespace") + b")\x81" + dictionary(a=system) + b"b",
        "state-of-a-dict": hooks + dictionary(_metadata=b"}", __class__=b"N") + b"b",
        "state-of-a-dict-with-a-call": hooks + dictionary(_metadata=system) + b"b",
    }  # fmt: skip
    functions = [
        ("torch", "load"), ("torch.hub", "load"), ("torch.jit", "load"), ("torch.serialization", "load"),
        ("torch.storage", "_load_from_bytes"), ("torch._utils", "_rebuild_from_type_v2"), ("torch._tensor", "eval"),
        ("torch._utils", "_rebuild_qtensor"), ("torch._utils", "_rebuild_sparse_tensor"), ("torch", "compile"),
        ("torch._utils", "_rebuild_device_tensor_from_numpy"), ("torch.nn.modules.linear", "Linear"),
        ("torch.utils.cpp_extension", "load_inline"), ("__torch__x", "Model"), ("argparse", "ArgumentParser"),
        ("collections", "defaultdict"), ("torch.jit._pickle", "build_other"), ("torch", "FloatStorage"),
    ]  # fmt: skip
    for module_name, function in functions:
        values[f"call-{module_name}.{function}"] = (
            global_name(module_name, function) + text(f"touch {marker}") + b"\x85R"
        )
    two = {"state_dict": dictionary(a=strided), "model": dictionary(a=strided)}
    files = {name: state_dict_archive(pickled(dictionary(a=value)), _0=four) for name, value in values.items()}
    files["two-state-dicts"] = state_dict_archive(pickled(dictionary(**two)), _0=four)
    files["two-that-flatten-to-one-name"] = state_dict_archive(
        pickled(b"}(" + text("a.b") + strided + text("a") + dictionary(b=strided) + b"u"), _0=four
    )
    return files


def patched(content, place, layout, value):
    """`content` with one field replaced."""
    changed = bytearray(content)
    struct.pack_into(layout, changed, place, value)
    return bytes(changed)


def contradicting_archives():
    """Archives that are out of order: what the zip format says twice is said differently, or stands twice."""
    honest = weights_archive({"a": np.arange(4, dtype="f4"), "b": np.arange(4, dtype="f4")})
    end = len(honest) - 22
    directory = struct.unpack_from("<I", honest, end + 16)[0]
    entries = [place for place in range(directory, end) if honest.startswith(b"PK\x01\x02", place)]
    headers = [struct.unpack_from("<I", honest, place + 42)[0] for place in entries]
    first, second = entries[:2]
    four = np.arange(4, dtype="<f4").tobytes()
    single = pickled(dictionary(a=tensor(storage(4), (4,), (1,))))
    records = {"data.pkl": single, "byteorder": b"little", "data/0": four, "version": b"3\n"}
    shifted = b"hidden" + honest[directory:]
    gap = honest[:directory] + bytes(64) + honest[directory:]
    large = functools.reduce(
        lambda content, place: patched(content, place, "<I", 1 << 31),
        (second + 20, second + 24, headers[1] + 18, headers[1] + 22),
        honest,
    )
    real = recorded("state-dict")
    real_end = len(real) - 22
    files = {
        "overlapping": patched(honest, second + 42, "<I", headers[0] + 8),
        "same-place": patched(honest, second + 42, "<I", headers[0]),
        "beyond-the-end": patched(honest, second + 42, "<I", len(honest)),
        "place-of-2-GB": patched(honest, second + 42, "<I", 1 << 31),
        "place-beyond-4-GB-not-said": patched(honest, second + 42, "<I", 0xFFFFFFFF),
        "size-of-2-GB": large,
        "size-beyond-4-GB-not-said": patched(patched(honest, second + 20, "<I", 0xFFFFFFFF), second + 24, "<I", 0xFFFFFFFF),
        "two-sizes": patched(honest, second + 24, "<I", 1),
        "sizes-contradict": patched(honest, headers[1] + 22, "<I", 1),
        "checksums-contradict": patched(honest, headers[1] + 14, "<I", 1),
        "methods-contradict": patched(honest, headers[1] + 8, "<H", 8),
        "flags-contradict": patched(honest, headers[1] + 6, "<H", 2048),
        "names-contradict": patched(honest, headers[1] + 30, "<B", ord("A")),
        "name-lengths-contradict": patched(honest, headers[1] + 26, "<H", 5),
        "extra-beyond-the-end": patched(honest, headers[1] + 28, "<H", 0xFFFF),
        "no-header": patched(honest, headers[1], "<I", 0),
        "encrypted": patched(patched(honest, headers[1] + 6, "<H", 1), second + 8, "<H", 1),
        "two-disks": patched(honest, end + 4, "<H", 1),
        "entry-on-another-disk": patched(honest, first + 34, "<H", 1),
        "entry-with-a-comment": patched(honest, first + 32, "<H", 1),
        "comment": patched(honest, end + 20, "<H", 3) + b"abc",
        "comment-announced": patched(honest, end + 20, "<H", 3),
        "one-entry-less": patched(patched(honest, end + 8, "<H", len(entries) - 1), end + 10, "<H", len(entries) - 1),
        "one-entry-more": patched(patched(honest, end + 8, "<H", len(entries) + 1), end + 10, "<H", len(entries) + 1),
        "counts-contradict": patched(honest, end + 8, "<H", 1),
        "directory-elsewhere": patched(honest, end + 16, "<I", directory - 1),
        "directory-of-4-GB": patched(honest, end + 12, "<I", 0xFFFFFFFF),
        "directory-too-short": patched(honest, end + 12, "<I", 40),
        "no-entry-in-the-directory": patched(honest, first, "<I", 0),
        "bytes-after": honest + b"x",
        "two-archives": honest + honest,
        "bytes-before": b"x" * 32 + honest,
        "archive-before": honest[:directory] + honest,
        "bytes-before-the-directory": honest[:directory] + shifted,
        "gap": patched(gap, len(gap) - 6, "<I", directory + 64),
        "directory-alone": honest[directory:],
        "end-alone": honest[end:],
        "empty-archive": archive({}),
        "second-end-elsewhere": patched(real, real_end - 12, "<Q", 4),
        "second-end-of-two-disks": patched(real, real_end - 4, "<I", 2),
        "second-end-contradicts-place": patched(real, real_end - 20 - 8, "<Q", 4),
        "second-end-contradicts-count": patched(real, real_end - 20 - 24, "<Q", 4),
        "second-end-too-long": patched(real, real_end - 20 - 52, "<Q", 1 << 60),
        "second-end-missing": patched(real, real_end - 20 - 56, "<I", 0),
        "name-twice": archive([*records.items(), ("data/0", bytes(16))]),
        "pickle-twice": archive([*records.items(), ("data.pkl", single)]),
        "two-roots": archive([("a/data.pkl", single), ("b/data/0", four)], root=""),
        "no-root": archive(records, root="").replace(b"data/0", b"data_0"),
        "root-above": archive(records, root="../archive"),
        "root-at-the-top": archive(records, root="/archive"),
        "root-of-backslashes": archive(records, root="..\\archive"),
        "path-above": archive({**records, "../../x": b"x"}),
        "name-not-utf-8": archive(records).replace(b"data/0", b"data/\xff"),
        "no-pickle": archive({"data/0": four}),
        "model-of-another-library": archive({"a.npy": four}, root=""),
        "big-endian": archive({**records, "byteorder": b"big"}),
        "unknown-byte-order": archive({**records, "byteorder": b"middle"}),
        "long-byte-order": archive({**records, "byteorder": bytes(1 << 16)}),
        "compressed": archive(records, zipfile.ZIP_DEFLATED),
        "compressed-bomb": archive({**records, "data/0": bytes(50 << 20)}, zipfile.ZIP_DEFLATED),
        "compressed-pickle-bomb": archive({"data.pkl": bytes(50 << 20)}, zipfile.ZIP_DEFLATED),
        "compressed-otherwise": archive(records, zipfile.ZIP_BZIP2),
        "empty-pickle": archive({**records, "data.pkl": b""}),
        "text-as-pickle": archive({**records, "data.pkl": b"import os"}),
        "before-1.6": recorded("before-1.6"),
    }  # fmt: skip
    trailer = real.index(b"PK\x07\x08")
    for name, place in (("mark", 0), ("checksum", 4), ("packed-size", 8), ("size", 12)):
        files[f"trailer-with-another-{name}"] = patched(real, trailer + place, "<B", real[trailer + place] ^ 1)
    for count in (1, 12, 16, 24):  # which is how long a trailer may be, but none is announced
        hidden = honest[:directory] + bytes(count) + honest[directory:]
        files[f"{count}-hidden-bytes-before-the-directory"] = patched(hidden, len(hidden) - 6, "<I", directory + count)
        between = bytearray(honest[: headers[1]] + bytes(count) + honest[headers[1] :])
        struct.pack_into("<I", between, end + count + 16, directory + count)
        for entry_place, header in zip(entries[1:], headers[1:]):
            struct.pack_into("<I", between, entry_place + count + 42, header + count)
        files[f"{count}-hidden-bytes-between-records"] = bytes(between)
    crowded = bytearray(archive({**records, **{f"data/{number}": b"" for number in range(1, 3000)}}))
    place = crowded.find(b"PK\x01\x02")
    while place >= 0:
        struct.pack_into("<I", crowded, place + 42, 0)
        place = crowded.find(b"PK\x01\x02", place + 1)
    files["many-at-one-place"] = bytes(crowded)
    return files


def altered_archives(rng):
    """Truncations and changed bytes of recorded files of PyTorch."""
    files = {}
    for kind in RECORDED:
        honest = recorded(kind)
        for position in rng.sample(range(len(honest)), 60):
            files[f"truncated-{kind}-{position}"] = honest[:position]
        for position in rng.sample(range(len(honest)), 150):
            files[f"changed-{kind}-{position}"] = patched(
                honest, position, "<B", honest[position] ^ 1 << rng.randrange(8)
            )
    return files


# -- sets of files


def altered_sets():
    """Sets of files by name: the files by theirs, to be written into a folder each."""
    parts = {f"model-0000{part}-of-00002.bin": weights_archive({name: ARRAY}) for part, name in ((1, "a"), (2, "b"))}
    first, second = parts
    both = {"a": first, "b": second}

    def index(weight_map, **more):
        return json.dumps({"metadata": {"total_size": 32}, "weight_map": weight_map, **more}).encode()

    def a_set(content, files=parts):
        return {"pytorch_model.bin.index.json": content, **files}

    places = {
        "above": f"../{first}", "absolute": "/etc/passwd", "folder": f"sub/{first}", "backslash": f"..\\{first}",
        "hidden": f".{first}", "dots": "..", "empty": "", "itself": "pytorch_model.bin.index.json", "nul": "a\0.bin",
        "number": 1, "list": [first], "none": None,
    }  # fmt: skip
    return {
        **{f"place-{name}": a_set(index({**both, "a": place})) for name, place in places.items()},
        "file-missing": a_set(index(both), {first: parts[first]}),
        "both-missing": a_set(index(both), {}),
        "no-index": parts,
        "in-two-files": a_set(index(both), {**parts, second: weights_archive({"a": ARRAY, "b": ARRAY})}),
        "not-in-its-file": a_set(index({**both, "c": second})),
        "swapped": a_set(index({"a": second, "b": first})),
        "not-in-the-index": a_set(index({"a": first})),
        "beside-the-index": a_set(index(both), {**parts, second: weights_archive({"b": ARRAY, "c": ARRAY})}),
        "broken-file": a_set(index(both), {**parts, second: parts[second][:-30]}),
        "malicious-file": a_set(index(both), {**parts, second: pickle.dumps(Call(os.system, "true"))}),
        "other-file": a_set(index(both), {**parts, second: b"<html>"}),
        "empty-file": a_set(index(both), {**parts, second: b""}),
        "index-empty": a_set(b""),
        "index-a-list": a_set(b"[]"),
        "index-not-json": a_set(b"{nonsense"),
        "index-not-utf-8": a_set(b"{\xff}"),
        "index-nested": a_set(b"[" * 200_000),
        "index-without-map": a_set(b'{"metadata": {}}'),
        "index-with-empty-map": a_set(index({})),
        "index-with-a-list": a_set(b'{"weight_map": ["a"]}'),
        "index-name-twice": a_set(index(both).replace(b'"b":', b'"a":')),
        "index-map-twice": a_set(index(both)[:-1] + b', "weight_map": {}}'),
    }  # fmt: skip


# -- safetensors


def altered_safetensors(rng):
    """Truncations and changed bytes in the header of an honest file."""
    header = {"a": entry(), "b": entry("F16", (2, 2), (8, 16)), "__metadata__": {"format": "pt"}}
    honest = safetensors_file(header, bytes(range(16)))
    files = {f"truncated-{position}": honest[:position] for position in rng.sample(range(len(honest)), 60)}
    for position in rng.sample(range(len(honest) - 16), 100):
        files[f"changed-{position}"] = patched(honest, position, "<B", honest[position] ^ 1 << rng.randrange(8))
    return files


def safetensors_file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


# What the reasons must say stands beside each.
EIGHT = bytes(8)
TWICE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
NAN = b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}'
INFINITE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,Infinity]}}'
LONG_NUMBER = b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,8]}}'
INNER_TWICE = b'{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}'
MALFORMED_SAFETENSORS = {
    "empty": (b"", "is empty"),
    "three bytes": (b"abc", "truncated: it has only 3 bytes"),
    "header of 2^63 bytes": (
        safetensors_file({"a": entry()}, EIGHT, 1 << 63),
        "header of 9,223,372,036,854,775,808 bytes",
    ),
    "header longer than the file": (
        safetensors_file({"a": entry()}, EIGHT, 5000),
        "truncated or altered: a header of 5,000",
    ),
    "not JSON": (safetensors_file(b"{nonsense"), "header is not JSON"),
    "not UTF-8": (safetensors_file(b"{\xff\xfe}"), "header is not JSON"),
    "a list": (safetensors_file([1]), "holds no mapping"),
    "nested without end": (safetensors_file(b"[" * 200_000), "header is not JSON"),
    "name twice": (safetensors_file(TWICE, EIGHT), "'a' stands twice"),
    "shape twice": (safetensors_file(INNER_TWICE, EIGHT), "'shape' stands twice"),
    "NaN in the shape": (safetensors_file(NAN, EIGHT), "NaN, which is no number"),
    "infinite offset": (safetensors_file(INFINITE, EIGHT), "Infinity, which is no number"),
    "number of 5000 digits": (safetensors_file(LONG_NUMBER, EIGHT), "a number of 5,000 digits"),
    "overlap": (safetensors_file({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "'a' and 'b' overlap"),
    "same place": (safetensors_file({"a": entry(), "b": entry()}, EIGHT), "overlap"),
    "hole": (safetensors_file({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)), "4 bytes before tensor 'b'"),
    "past the end": (
        safetensors_file({"a": entry(shape=(4,), offsets=(0, 16))}, EIGHT),
        "truncated: its tensors need 16 bytes",
    ),
    "bytes left over": (safetensors_file({"a": entry()}, bytes(9)), "1 bytes after the last tensor"),
    "no numbers": (
        safetensors_file({"a": entry(), "b": entry(shape=(0,), offsets=(8, 8))}, EIGHT),
        r"'b' has the shape \[0\]",
    ),
    "shared by no numbers": (
        safetensors_file({"a": entry(), "b": entry(shape=(0,), offsets=(0, 0))}, EIGHT),
        r"shape \[0\]",
    ),
    "negative length": (safetensors_file({"a": entry(shape=(-2,))}, EIGHT), r"shape \[-2\]"),
    "fractional length": (safetensors_file({"a": entry(shape=(2.0,))}, EIGHT), r"shape \[2.0\]"),
    "truth value as length": (safetensors_file({"a": entry(shape=(True, 2))}, EIGHT), "shape"),
    "nested shape": (safetensors_file({"a": entry(shape=([2],))}, EIGHT), "the shape a list"),
    "too many axes": (safetensors_file({"a": entry(shape=(1,) * 40 + (2,))}, EIGHT), "shape"),
    "product beyond 64 bits": (safetensors_file({"a": entry(shape=(2**40, 2**40))}, EIGHT), "needs 4,835,703"),
    "10 GB claimed": (
        safetensors_file({"a": entry(shape=(10 << 28,), offsets=(0, 10 << 30))}, EIGHT),
        "10,737,418,240 bytes",
    ),
    "wrong size": (safetensors_file({"a": entry(shape=(3,))}, EIGHT), "needs 12 bytes"),
    "end before begin": (safetensors_file({"a": entry(offsets=(8, 0))}, EIGHT), "has -8"),
    "negative offset": (safetensors_file({"a": entry(offsets=(-8, 0))}, EIGHT), "data_offsets"),
    "three offsets": (safetensors_file({"a": entry(offsets=(0, 8, 8))}, EIGHT), "data_offsets"),
    "unknown format": (safetensors_file({"a": entry("F8_E4M3", shape=(8,))}, EIGHT), "'F8_E4M3'; accepted: BOOL"),
    "format is no text": (safetensors_file({"a": {**entry(), "dtype": 4}}, EIGHT), "number format 4"),
    "entry is no mapping": (safetensors_file({"a": 1}, EIGHT), "is not described by"),
    "unknown key": (safetensors_file({"a": {**entry(), "more": 1}}, EIGHT), "is not described by"),
    "metadata is a list": (safetensors_file({"__metadata__": [], "a": entry()}, EIGHT), "from text to text"),
    "metadata holds a number": (safetensors_file({"__metadata__": {"n": 1}, "a": entry()}, EIGHT), "from text to text"),
    "a pickle": (b"\x80\x04}q\x00." + bytes(20), "is a pickle under another name"),
}
