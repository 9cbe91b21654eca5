"""Safetensors files: what they hold, and why malformed ones are refused."""

import random
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from passl.checkpoint import read_metadata, read_weights, write_weights
from passl.utils.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))

from altered_files import MALFORMED_SAFETENSORS, entry, safetensors_file

ARRAYS = {
    "weight": np.arange(6, dtype="float32").reshape(2, 3),
    "half": np.array([1.0, -2.5], "float16"),
    "scale": np.array(4.5, "float64"),
    "flag": np.array([True, False, True]),
    "steps": np.array([7], "int64"),
    "levels": np.array([1, 2**16 - 1], "uint16"),
}


@pytest.mark.parametrize("content, reason", MALFORMED_SAFETENSORS.values(), ids=MALFORMED_SAFETENSORS)
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
    (tmp_path / "a.safetensors").write_bytes(safetensors_file({"a": entry("BF16", (2, 2))}, data))
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
