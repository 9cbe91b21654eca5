"""Safetensors files: what they hold, and why malformed ones are refused."""

import json
import random
import struct

import numpy as np
import pytest
import safetensors.numpy

from passl.checkpoint import read_metadata, read_weights, write_weights
from passl.utils.errors import UserError

ARRAYS = {
    "weight": np.arange(6, dtype="float32").reshape(2, 3),
    "half": np.array([1.0, -2.5], "float16"),
    "scale": np.array(4.5, "float64"),
    "flag": np.array([True, False, True]),
    "steps": np.array([7], "int64"),
    "levels": np.array([1, 2**16 - 1], "uint16"),
}


def file_of(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


EIGHT = bytes(8)
TWICE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
NAN = b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}'
INFINITE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,Infinity]}}'
LONG_NUMBER = b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,8]}}'
INNER_TWICE = b'{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}'
MALFORMED = {
    "empty": (b"", "is empty"),
    "three bytes": (b"abc", "truncated: it has only 3 bytes"),
    "header of 2^63 bytes": (file_of({"a": tensor()}, EIGHT, 1 << 63), "header of 9,223,372,036,854,775,808 bytes"),
    "header longer than the file": (file_of({"a": tensor()}, EIGHT, 5000), "truncated or altered: a header of 5,000"),
    "not JSON": (file_of(b"{nonsense"), "header is not JSON"),
    "not UTF-8": (file_of(b"{\xff\xfe}"), "header is not JSON"),
    "a list": (file_of([1]), "not a mapping"),
    "nested without end": (file_of(b"[" * 200_000), "header is not JSON"),
    "name twice": (file_of(TWICE, EIGHT), "'a' stands twice"),
    "shape twice": (file_of(INNER_TWICE, EIGHT), "'shape' stands twice"),
    "NaN in the shape": (file_of(NAN, EIGHT), "NaN, which is no number"),
    "infinite offset": (file_of(INFINITE, EIGHT), "Infinity, which is no number"),
    "number of 5000 digits": (file_of(LONG_NUMBER, EIGHT), "a number of 5,000 digits"),
    "overlap": (file_of({"a": tensor(), "b": tensor(offsets=(4, 12))}, bytes(12)), "'a' and 'b' overlap"),
    "same place": (file_of({"a": tensor(), "b": tensor()}, EIGHT), "overlap"),
    "hole": (file_of({"a": tensor(), "b": tensor(offsets=(12, 20))}, bytes(20)), "4 bytes before tensor 'b'"),
    "past the end": (
        file_of({"a": tensor(shape=(4,), offsets=(0, 16))}, EIGHT),
        "truncated: its tensors need 16 bytes",
    ),
    "bytes left over": (file_of({"a": tensor()}, bytes(9)), "1 bytes after the last tensor"),
    "no numbers": (
        file_of({"a": tensor(), "b": tensor(shape=(0,), offsets=(8, 8))}, EIGHT),
        r"'b' has the shape \[0\]",
    ),
    "shared by no numbers": (file_of({"a": tensor(), "b": tensor(shape=(0,), offsets=(0, 0))}, EIGHT), r"shape \[0\]"),
    "negative length": (file_of({"a": tensor(shape=(-2,))}, EIGHT), r"shape \[-2\]"),
    "fractional length": (file_of({"a": tensor(shape=(2.0,))}, EIGHT), r"shape \[2.0\]"),
    "truth value as length": (file_of({"a": tensor(shape=(True, 2))}, EIGHT), "shape"),
    "nested shape": (file_of({"a": tensor(shape=([2],))}, EIGHT), "the shape of a list"),
    "too many axes": (file_of({"a": tensor(shape=(1,) * 40 + (2,))}, EIGHT), "shape"),
    "product beyond 64 bits": (file_of({"a": tensor(shape=(2**40, 2**40))}, EIGHT), "needs 4,835,703"),
    "10 GB claimed": (file_of({"a": tensor(shape=(10 << 28,), offsets=(0, 10 << 30))}, EIGHT), "10,737,418,240 bytes"),
    "wrong size": (file_of({"a": tensor(shape=(3,))}, EIGHT), "needs 12 bytes"),
    "end before begin": (file_of({"a": tensor(offsets=(8, 0))}, EIGHT), "has -8"),
    "negative offset": (file_of({"a": tensor(offsets=(-8, 0))}, EIGHT), "data_offsets"),
    "three offsets": (file_of({"a": tensor(offsets=(0, 8, 8))}, EIGHT), "data_offsets"),
    "unknown format": (file_of({"a": tensor("F8_E4M3", shape=(8,))}, EIGHT), "'F8_E4M3'; accepted: BOOL"),
    "format is no text": (file_of({"a": {**tensor(), "dtype": 4}}, EIGHT), "number format 4"),
    "entry is no mapping": (file_of({"a": 1}, EIGHT), "is not described by"),
    "unknown key": (file_of({"a": {**tensor(), "more": 1}}, EIGHT), "is not described by"),
    "metadata is a list": (file_of({"__metadata__": [], "a": tensor()}, EIGHT), "from text to text"),
    "metadata holds a number": (file_of({"__metadata__": {"n": 1}, "a": tensor()}, EIGHT), "from text to text"),
    "a pickle": (b"\x80\x04}q\x00." + bytes(20), "is a pickle under another name"),
}


@pytest.mark.parametrize("content, reason", MALFORMED.values(), ids=MALFORMED)
def test_malformed_file_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=reason) as raised:
        read_weights(tmp_path / "a.safetensors")
    assert "a.safetensors" in str(raised.value)


def test_written_file_reads_back_bit_for_bit(tmp_path):
    write_weights(tmp_path / "a.safetensors", ARRAYS)
    found = read_weights(tmp_path / "a.safetensors")
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_written_file_is_read_by_the_library(tmp_path):
    write_weights(tmp_path / "a.safetensors", ARRAYS, {"ü": "1"})
    found = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert set(found) == set(ARRAYS)
    assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items())
    with safetensors.safe_open(tmp_path / "a.safetensors", framework="np") as file:
        assert file.metadata() == {"ü": "1"}


def test_file_of_the_library_reads(tmp_path):
    safetensors.numpy.save_file(ARRAYS, tmp_path / "a.safetensors", {"format": "np"})
    found = read_weights(tmp_path / "a.safetensors")
    assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items())
    assert read_metadata(tmp_path / "a.safetensors") == {"format": "np"}


def test_arrays_in_another_memory_order_are_written_by_value(tmp_path):
    arrays = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(10)[::2],
        "big-endian": np.arange(3, dtype=">f4"),
    }
    write_weights(tmp_path / "a.safetensors", arrays)
    found = read_weights(tmp_path / "a.safetensors")
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_bfloat16_becomes_float32_exactly(tmp_path):
    data = np.array([0x3F80, 0xC020, 0x0001, 0x7F80], "<u2").tobytes()
    (tmp_path / "a.safetensors").write_bytes(file_of({"a": tensor("BF16", (2, 2))}, data))
    found = read_weights(tmp_path / "a.safetensors")["a"]
    assert found.dtype == np.float32 and found.shape == (2, 2)
    assert found.tolist() == [[1.0, -2.5], [2.0**-133, float("inf")]]


def test_written_bytes_depend_on_the_content_alone(tmp_path):
    metadata = {str(number): "x" for number in range(20)}
    write_weights(tmp_path / "a.safetensors", ARRAYS, metadata)
    write_weights(tmp_path / "b.safetensors", dict(reversed(ARRAYS.items())), dict(reversed(metadata.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_file_without_tensors_reads_as_none(tmp_path):
    write_weights(tmp_path / "a.safetensors", {})
    assert read_weights(tmp_path / "a.safetensors") == {}


def test_truncation_anywhere_is_refused(tmp_path):
    write_weights(tmp_path / "a.safetensors", ARRAYS, {"a": "b"})
    content = (tmp_path / "a.safetensors").read_bytes()
    for position in range(len(content)):
        (tmp_path / "b.safetensors").write_bytes(content[:position])
        with pytest.raises(UserError, match="truncated|empty"):
            read_weights(tmp_path / "b.safetensors")


def test_changed_byte_in_the_header_raises_nothing_but_a_user_error(tmp_path):
    write_weights(tmp_path / "a.safetensors", ARRAYS, {"a": "b"})
    content = (tmp_path / "a.safetensors").read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    rng = random.Random(0)
    refused = 0
    for position in range(end):
        changed = bytearray(content)
        changed[position] ^= 1 << rng.randrange(8)
        (tmp_path / "b.safetensors").write_bytes(changed)
        try:
            found = read_weights(tmp_path / "b.safetensors")
        except UserError:
            refused += 1
        else:
            assert sum(array.nbytes for array in found.values()) <= 2 * len(content)
    assert refused > end // 2
