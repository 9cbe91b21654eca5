"""Altered and malicious weight files: refused with a reason, or harmless; nothing runs and memory stays small.

All variants are written first and read by one other process with a limit on its memory.
"""

import functools
import json
import operator
import os
import pickle
import random
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from passl.checkpoint.weights import weights_hash, write_weights

ROOT = Path(__file__).parents[2]
PROTOCOLS = (2, 3, 4, 5)
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


def named_global(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def malicious(marker):
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
    system = named_global("os", "system") + b"X" + struct.pack("<I", len(touch)) + touch.encode() + b"\x85R"
    bare = {
        "runstring": named_global("numpy.testing._private.utils", "runstring")
        + b"X" + struct.pack("<I", len(python)) + python.encode() + b"}\x86R.",
        "getattr-of-builtins": named_global("builtins", "getattr")
        + named_global("builtins", "__dict__") + b"X\x04\x00\x00\x00eval\x86R.",
        "dotted-name": b"\x8c\x02os\x8c\x0bpath.system\x93.",
        "name-beyond-the-table": b"\x8c\x05numpy\x8c\x0bndarray.mro\x93)R.",
        "inst": b"(X" + struct.pack("<I", len(touch)) + touch.encode() + b"ios\nsystem\n.",
        "obj": b"(" + named_global("os", "system") + b"X\x01\x00\x00\x00ao.",
        "newobj": named_global("collections", "OrderedDict") + b")\x81.",
        "extension": b"\x82\x01.",
        "persistent": b"X\x01\x00\x00\x00aQ.",
        "call-in-a-key": b"}" + system + b"K\x01s.",
        "call-in-a-state": named_global("numpy", "dtype") + b"X\x02\x00\x00\x00f4\x89\x88\x87R" + system + b"b.",
        "symbol-with-state": named_global("numpy", "ndarray") + b"}b.",
        "array-left-open": b"}X\x01\x00\x00\x00a" + named_global("numpy.core.multiarray", "_reconstruct")
        + named_global("numpy", "ndarray") + b"K\x00\x85C\x01b\x87Rs.",
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
        "call-with-a-list": named_global("collections", "OrderedDict") + b"]R.",
    }  # fmt: skip
    files.update({name: b"\x80\x04" + content for name, content in bare.items()})
    for size in (10 << 30, 1 << 62, 2**70):
        shape = b"\x8a\x09" + size.to_bytes(9, "little") + b"\x85"
        head = named_global("numpy.core.multiarray", "_reconstruct") + named_global("numpy", "ndarray")
        dtype = named_global("numpy", "dtype") + b"X\x02\x00\x00\x00f4\x89\x88\x87R"
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
    return {f"{name}.pdparams": content for name, content in files.items()}


def altered(rng):
    """Truncations and changed bytes of honest files, by name; the names say the kind."""
    files = {}
    for protocol in PROTOCOLS:
        honest = pickle.dumps(OrderedDict(ARRAYS), protocol=protocol)
        for position in rng.sample(range(len(honest)), 30):
            files[f"truncated-{protocol}-{position}.pdparams"] = honest[:position]
        for position in rng.sample(range(len(honest)), 60):
            changed = bytearray(honest)
            changed[position] ^= 1 << rng.randrange(8)
            files[f"changed-{protocol}-{position}.pdparams"] = bytes(changed)
    return files


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder, marker = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("marker") / "marker"
    files = {**malicious(marker), **altered(random.Random(0))}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for protocol in PROTOCOLS:
        (folder / f"honest-{protocol}.pdparams").write_bytes(pickle.dumps(ARRAYS, protocol=protocol))
    write_weights(folder / "honest-ours.pdparams", ARRAYS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("read_files.py")), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert not report["paddle"]
    return {**report, "marker": marker, "sizes": {name: len(content) for name, content in files.items()}}


def of_kind(results, *kinds):
    return {name: found for name, found in results["outcomes"].items() if name.startswith(kinds)}


def test_honest_files_among_them_read(results):
    honest = of_kind(results, "honest")
    assert len(honest) == 5
    assert {found.get("hash") for found in honest.values()} == {weights_hash(ARRAYS)}


def test_no_altered_file_raises_anything_but_a_user_error(results):
    assert {name: found for name, found in results["outcomes"].items() if "crashed" in found} == {}


def test_every_malicious_file_is_refused(results):
    others = of_kind(results, "honest", "changed", "truncated")
    attacks = {name: found for name, found in results["outcomes"].items() if name not in others}
    assert len(attacks) > 300
    assert [name for name, found in attacks.items() if "refused" not in found] == []


def test_nothing_in_a_malicious_file_ran(results):
    assert not results["marker"].exists()


def test_memory_stays_below_500_megabytes(results):
    assert results["peak"] < 500 << 20


def test_every_truncated_file_is_refused(results):
    truncated = of_kind(results, "truncated")
    assert len(truncated) == 120
    assert all("refused" in found for found in truncated.values())
    named = [found for found in truncated.values() if "truncated" in found["refused"] or "empty" in found["refused"]]
    assert len(named) == len(truncated)


def test_a_changed_byte_gives_a_refusal_or_arrays_no_larger_than_the_file(results):
    changed = of_kind(results, "changed")
    assert len(changed) == 240
    for name, found in changed.items():
        assert "refused" in found or found["bytes"] <= 2 * results["sizes"][name], name


def test_refusals_say_where_and_that_nothing_ran(results):
    message = results["outcomes"]["os.system-value-4.pdparams"]["refused"]
    assert "os.system-value-4.pdparams" in message
    assert "it refers to posix.system" in message and "Nothing in the file was run" in message


def test_python_would_have_run_the_same_file(tmp_path):
    """The control: the attacks are real, so that the refusals mean something."""
    content = malicious(tmp_path / "marker")["eval-top-4.pdparams"]
    pickle.loads(content)
    assert (tmp_path / "marker").exists()
