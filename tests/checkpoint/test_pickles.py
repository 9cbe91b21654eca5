"""Reading and writing Paddle's own files, against `paddle.save` and `paddle.load` of the running version."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import paddle
import pytest

from passl.checkpoint import read_metadata, read_weights, write_weights
from passl.checkpoint.mapped_files import MappedFile
from passl.checkpoint.paddle_pickles import read_paddle
from passl.utils.errors import UserError

RECORDED = sorted((Path(__file__).parent / "files").glob("*.pdparams"))
DenseTensor = getattr(paddle.base.core, "DenseTensor", None) or paddle.base.core.LoDTensor


def state_dict():
    return {
        "weight": paddle.arange(6, dtype="float32").reshape([2, 3]),
        "half": paddle.to_tensor([1.0, -2.5], dtype="float16"),
        "brain": paddle.to_tensor([1.0, -2.5]).astype("bfloat16"),
        "scale": paddle.to_tensor(4.5),
        "steps": paddle.to_tensor([7], dtype="int64"),
    }


EXPECTED = {
    "weight": np.arange(6, dtype="float32").reshape(2, 3),
    "half": np.array([1.0, -2.5], "float16"),
    "brain": np.array([1.0, -2.5], "float32"),
    "scale": np.array(4.5, "float32"),
    "steps": np.array([7], "int64"),
}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_files_of_both_paddle_versions_read_with_either(path):
    assert len(RECORDED) == 8
    assert_same(read_weights(path), EXPECTED)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_state_dict_of_the_running_paddle_reads(tmp_path, protocol):
    paddle.save(state_dict(), str(tmp_path / "a.pdparams"), protocol=protocol)
    assert_same(read_weights(tmp_path / "a.pdparams"), EXPECTED)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_nested_state_dict_gives_its_arrays_and_the_rest_is_metadata(tmp_path, protocol):
    content = {"state_dict": OrderedDict(state_dict()), "epoch": 3, "note": "fine", "sizes": [1, 2.5, None, True]}
    paddle.save(content, str(tmp_path / "a.pdparams"), protocol=protocol)
    assert_same(read_weights(tmp_path / "a.pdparams"), EXPECTED)
    plain = {"epoch": 3, "note": "fine", "sizes.0": 1, "sizes.1": 2.5, "sizes.2": None, "sizes.3": True}
    assert read_metadata(tmp_path / "a.pdparams") == plain


def test_layer_and_optimizer_state_read(tmp_path):
    layer = paddle.nn.BatchNorm1D(3)
    schedule = paddle.optimizer.lr.CosineAnnealingDecay(0.1, 10)
    optimizer = paddle.optimizer.Adam(schedule, parameters=layer.parameters())
    layer(paddle.ones([2, 3])).sum().backward()
    optimizer.step()
    paddle.save(layer.state_dict(), str(tmp_path / "a.pdparams"))
    paddle.save(optimizer.state_dict(), str(tmp_path / "a.pdopt"))
    assert set(read_weights(tmp_path / "a.pdparams")) == {"weight", "bias", "_mean", "_variance"}
    moments = {name for name in optimizer.state_dict() if name != "LR_Scheduler"}
    assert set(read_weights(tmp_path / "a.pdopt")) == moments
    assert read_metadata(tmp_path / "a.pdopt") == {"LR_Scheduler.last_epoch": 0, "LR_Scheduler.last_lr": 0.1}


def test_dense_tensor_whose_pickle_names_eval_reads(tmp_path):
    tensor = DenseTensor()
    tensor.set(np.arange(3, dtype="float32"), paddle.CPUPlace())
    paddle.save({"x": [tensor]}, str(tmp_path / "a.pdparams"))
    assert b"eval" in (tmp_path / "a.pdparams").read_bytes()
    assert_same(read_weights(tmp_path / "a.pdparams"), {"x.0": np.arange(3, dtype="float32")})


def test_array_saved_in_slices_is_joined(tmp_path, monkeypatch):
    # paddle.save cuts arrays above 2**30 bytes with protocols 2 and 3; 16 numbers take the place of that limit here.
    from paddle.framework import io_utils

    monkeypatch.setattr(io_utils, "int", lambda value: 16 if value > 1e6 else int(value), raising=False)
    big = paddle.arange(60, dtype="float32").reshape([3, 4, 5])
    paddle.save({"big": big, "small": paddle.ones([2])}, str(tmp_path / "a.pdparams"), protocol=2)
    assert b"UnpackBigParamInfor@@" in (tmp_path / "a.pdparams").read_bytes()
    found = read_weights(tmp_path / "a.pdparams")
    assert set(found) == {"big", "small"}
    np.testing.assert_array_equal(found["big"], big.numpy())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_number_format_read(tmp_path, protocol):
    formats = "bool int8 int16 int32 int64 uint8 uint32 uint64 float16 float32 float64 complex64 complex128".split()
    arrays = {name: np.array([[0, 1], [1, 0], [1, 1]]).astype(name) for name in formats}
    arrays["big-endian"] = np.arange(3, dtype=">f4")
    arrays["fortran"] = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    arrays["none"] = np.zeros((0, 3), "float32")
    arrays["scalar"] = np.array(2.5)
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(arrays, protocol=protocol))
    found = read_weights(tmp_path / "a.pdparams")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype.newbyteorder("<") and found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_read_as_they_are(tmp_path, protocol):
    values = {
        "n": [None, True, False, 0, -1, 255, 70000, -(2**40), 2**63, 1.5, float("inf")],
        "texts": ["", "ü", "x" * 300],
        "bytes": [b"", b"\x00\xff"],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "numpy": [np.float64(0.5), np.float32(0.25), np.int64(3)],
        7: OrderedDict(a=1),
    }
    (tmp_path / "a.pdopt").write_bytes(pickle.dumps(values, protocol=protocol))
    expected = {**values, "numpy": [0.5, 0.25, 3]}
    with MappedFile(tmp_path / "a.pdopt") as file:
        assert read_paddle(file) == expected


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_long_arrays_texts_and_bytes_read(tmp_path, protocol):
    content = {"weight": np.arange(3000.0), "letters": np.arange(3000).astype("uint8")}
    plain = {"text": "ü" * 3000, "bytes": bytes(range(256)) * 20}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({**content, **plain}, protocol=protocol))
    assert_same(read_weights(tmp_path / "a.pdparams"), content)
    assert read_metadata(tmp_path / "a.pdparams") == plain


def test_long_array_is_a_view_of_the_file_that_cannot_be_written_to(tmp_path):
    write_weights(tmp_path / "a.pdparams", {"a": np.arange(3000.0)})
    found = read_weights(tmp_path / "a.pdparams")["a"]
    assert not found.flags.writeable and not found.flags.owndata


@pytest.mark.parametrize("protocol", [2, 4])
def test_array_that_stands_in_several_places_reads(tmp_path, protocol):
    array = np.arange(3000.0)
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({"a": array, "b": array}, protocol=protocol))
    assert_same(read_weights(tmp_path / "a.pdparams"), {"a": array, "b": array})


def test_written_file_is_read_by_paddle_load(tmp_path):
    arrays = {**EXPECTED, "flag": np.array([True, False]), "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    write_weights(tmp_path / "a.pdparams", arrays)
    loaded = paddle.load(str(tmp_path / "a.pdparams"))
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert loaded[name].numpy().dtype == array.dtype and tuple(loaded[name].shape) == array.shape, name
        np.testing.assert_array_equal(loaded[name].numpy(), array)


def test_written_file_reads_back_bit_for_bit(tmp_path):
    arrays = {name: EXPECTED[name] for name in sorted(EXPECTED)}
    write_weights(tmp_path / "a.pdparams", arrays)
    assert_same(read_weights(tmp_path / "a.pdparams"), arrays)


def test_written_bytes_depend_on_the_content_alone(tmp_path):
    write_weights(tmp_path / "a.pdparams", EXPECTED)
    write_weights(tmp_path / "b.pdparams", dict(reversed(EXPECTED.items())))
    assert (tmp_path / "a.pdparams").read_bytes() == (tmp_path / "b.pdparams").read_bytes()


def test_written_file_names_no_module_that_older_numpy_lacks(tmp_path):
    write_weights(tmp_path / "a.pdparams", EXPECTED)
    assert b"numpy._core" not in (tmp_path / "a.pdparams").read_bytes()


def test_single_unnamed_tensor_is_refused_with_what_to_save(tmp_path):
    paddle.save(paddle.ones([2]), str(tmp_path / "a.pdparams"))
    with pytest.raises(UserError, match="no named arrays.*paddle.save"):
        read_weights(tmp_path / "a.pdparams")


def test_two_entries_that_flatten_to_one_name_are_refused(tmp_path):
    content = {"a": {"b": np.ones(1)}, "a.b": np.zeros(1)}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="two entries in it are named 'a.b'"):
        read_weights(tmp_path / "a.pdparams")
