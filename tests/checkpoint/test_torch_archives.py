"""PyTorch's files without PyTorch: what recorded ones hold, and what is said of those that are not read."""

import io
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import paddle
import pytest

from passl.checkpoint import read_metadata, read_weights
from passl.checkpoint.mapped_files import MappedFile
from passl.checkpoint.zip_archives import ZipArchive
from passl.utils.errors import UserError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from torch_files import (  # noqa: E402
    EPOCH,
    FILES,
    SCRIPTED,
    STATE_DICT,
    archive,
    dictionary,
    pickled,
    state_dict_archive,
    storage,
    tensor,
    weights_archive,
)

FOUR = np.arange(4, dtype="<f4")


def path_of(kind):
    return FILES / f"torch-2.13-{kind}.pt"


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)


def refusal(path):
    with pytest.raises(UserError) as raised:
        read_weights(path)
    return str(raised.value)


@pytest.mark.parametrize("kind", ["state-dict", "state-dict-protocol-4"])
def test_state_dict_reads_with_views_and_every_number_format(kind):
    assert_same(read_weights(path_of(kind)), STATE_DICT)
    assert read_metadata(path_of(kind)) == {"container": "torch"}


def test_tensors_of_one_storage_are_views_of_the_same_mapped_numbers():
    found = read_weights(path_of("state-dict"))
    assert np.shares_memory(found["base"], found["transposed"]) and np.shares_memory(found["base"], found["strided"])
    assert not any(found[name].flags.writeable for name in ("base", "row", "half", "expanded"))


def test_arrays_stay_valid_when_the_file_is_replaced_or_removed(tmp_path):
    (tmp_path / "a.pt").write_bytes(path_of("state-dict").read_bytes())
    found = read_weights(tmp_path / "a.pt")
    (tmp_path / "a.pt").unlink()
    assert_same(found, STATE_DICT)


def test_training_checkpoint_gives_the_state_dict_and_the_rest_is_metadata():
    found = read_weights(path_of("training"))
    half = np.full(2, 0.5, "float32")
    expected = {
        "0.weight": np.full((2, 2), 0.5, "float32"),
        "0.bias": half,
        "1.weight": half,
        "1.bias": half,
        "1.running_mean": np.full(2, 0.1, "float32"),
        "1.running_var": np.full(2, 0.9, "float32"),
        "1.num_batches_tracked": np.array(1),
    }
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array)
    metadata = read_metadata(path_of("training"))
    plain = {
        **EPOCH,
        "scaler.scale": 65536.0,
        "size.0": 2,
        "size.1": 3,
        "dtype": "torch.float16",
        "device": "cuda:0",
        "args.lr": 1e-3,
        "args.model": "ViT-B-32",
        "milestones.5": 2,
        "best_numpy": 0.25,
        "optimizer.param_groups.0.betas.1": 0.999,
        "container": "torch",
    }
    assert {name: metadata[name] for name in plain} == plain


@pytest.mark.parametrize("kind", ["script", "trace"])
def test_torchscript_archive_gives_parameters_and_buffers_under_their_dotted_names(kind):
    found = read_weights(path_of(kind))
    assert set(found) == set(SCRIPTED)
    assert_same({name: found[name] for name in SCRIPTED}, SCRIPTED)
    assert read_metadata(path_of(kind)) == {"container": "torchscript"}


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.bin", "a.ckpt", "a.pdparams", "a.safetensors"])
def test_content_decides_and_not_the_suffix(tmp_path, name):
    (tmp_path / name).write_bytes(path_of("state-dict").read_bytes())
    assert_same(read_weights(tmp_path / name), STATE_DICT)


@pytest.mark.parametrize("key", ["state_dict", "model", "module", "model_state_dict"])
def test_weights_of_training_checkpoints_are_found_by_their_usual_names(tmp_path, key):
    weights = tensor(storage(4), (2, 2), (2, 1))
    content = dictionary(epoch=b"K\x03", optimizer=dictionary(m=weights), **{key: dictionary(a=weights)})
    (tmp_path / "a.pt").write_bytes(state_dict_archive(pickled(content), _0=FOUR.tobytes()))
    assert_same(read_weights(tmp_path / "a.pt"), {"a": FOUR.reshape(2, 2)})


def test_entries_of_those_names_without_arrays_do_not_count(tmp_path):
    weights = tensor(storage(4), (4,), (1,))
    content = dictionary(model=dictionary(width=b"K\x03"), state_dict=dictionary(a=weights))
    (tmp_path / "a.pt").write_bytes(state_dict_archive(pickled(content), _0=FOUR.tobytes()))
    assert_same(read_weights(tmp_path / "a.pt"), {"a": FOUR})


def test_note_of_git_in_place_of_a_file_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 605\n")
    with pytest.raises(UserError, match="git lfs pull"):
        read_weights(tmp_path / "model.safetensors")


def test_averaged_weights_beside_the_raw_ones_are_refused(tmp_path):
    weights = {"a": paddle.ones([2])}
    optimizer = {"state": {"0": {"exp_avg": paddle.ones([2])}}}
    paddle.save({"state_dict": weights, "optimizer_state_dict": optimizer}, str(tmp_path / "one.pdparams"))
    assert list(read_weights(tmp_path / "one.pdparams")) == ["a"]
    paddle.save({"state_dict": weights, "ema_state_dict": weights}, str(tmp_path / "two.pdparams"))
    with pytest.raises(UserError, match="under state_dict and under ema_state_dict"):
        read_weights(tmp_path / "two.pdparams")


def test_two_state_dicts_in_one_file_are_refused_with_what_there_is(tmp_path):
    weights = dictionary(a=tensor(storage(4), (4,), (1,)))
    content = dictionary(state_dict=weights, model=weights, epoch=b"K\x03")
    (tmp_path / "a.pt").write_bytes(state_dict_archive(pickled(content), _0=FOUR.tobytes()))
    message = refusal(tmp_path / "a.pt")
    assert "under state_dict and under model" in message and "state_dict, model, epoch" in message


def test_archive_without_checksums_reads_as_pytorch_writes_it_when_told_to_compute_none(tmp_path):
    content = bytearray(weights_archive({"a": FOUR}))
    for mark, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        start = content.find(mark)
        while start >= 0:
            content[start + place : start + place + 4] = bytes(4)
            start = content.find(mark, start + 1)
    (tmp_path / "a.pt").write_bytes(content)
    assert_same(read_weights(tmp_path / "a.pt"), {"a": FOUR})


def test_zip_records_are_those_that_python_finds():
    for kind in ("state-dict", "training", "script", "trace"):
        with MappedFile(path_of(kind)) as file, zipfile.ZipFile(path_of(kind)) as expected:
            records = ZipArchive(file).records
            assert list(records) == [entry.filename for entry in expected.infolist()]
            for record in (record for record in records.values() if record.is_stored):
                assert bytes(file.read(record.position, record.size)) == expected.read(record.name)


def test_metadata_is_read_without_touching_the_numbers(tmp_path):
    content = weights_archive({"a": FOUR}).replace(FOUR.tobytes(), bytes(16))
    (tmp_path / "a.pt").write_bytes(content)
    assert read_metadata(tmp_path / "a.pt") == {"container": "torch"}
    assert "its checksum differs" in refusal(tmp_path / "a.pt")


def test_file_of_pytorch_before_zip_says_how_to_save_it_again():
    message = refusal(path_of("before-1.6"))
    assert "before version 1.6" in message and "torch.save(torch.load(path, weights_only=True" in message


def test_whole_model_says_to_save_the_state_dict(tmp_path):
    module = b"ctorch.nn.modules.linear\nLinear\n)\x81}b"
    (tmp_path / "a.pt").write_bytes(state_dict_archive(pickled(module)))
    message = refusal(tmp_path / "a.pt")
    assert "refers to torch.nn.modules.linear.Linear" in message and "torch.save(model.state_dict(), path)" in message


def test_archive_without_arrays_says_what_to_save(tmp_path):
    (tmp_path / "a.pt").write_bytes(state_dict_archive(pickled(dictionary(epoch=b"K\x03"))))
    assert "holds no named arrays. Save a state dict: torch.save" in refusal(tmp_path / "a.pt")


def test_other_zip_archive_is_said_to_be_none_of_pytorch(tmp_path):
    (tmp_path / "a.bin").write_bytes(archive({"a.npy": b""}, root=""))
    assert "a zip archive, but not one of torch.save" in refusal(tmp_path / "a.bin")


def test_big_endian_archive_is_refused(tmp_path):
    with zipfile.ZipFile(path_of("state-dict")) as opened:
        records = [(name, opened.read(name)) for name in opened.namelist()]
    records = [(name, b"big" if name.endswith("byteorder") else content) for name, content in records]
    (tmp_path / "a.pt").write_bytes(archive(records, root=""))
    assert "'big', and only 'little' is read" in refusal(tmp_path / "a.pt")


def test_reading_needs_little_memory_beyond_the_arrays(tmp_path):
    arrays = {str(number): np.full(1 << 20, number, "float32") for number in range(24)}  # 96 MB
    (tmp_path / "a.pt").write_bytes(weights_archive(arrays))
    program = """
import sys
from pathlib import Path
from passl.checkpoint import read_weights
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
before = peak()
arrays = read_weights(sys.argv[1])
assert sum(array.nbytes for array in arrays.values()) == 96 << 20
assert peak() - before < 16 << 20, peak() - before
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a.pt")]
    subprocess.run(command, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"})


@pytest.mark.parametrize("layout", ["<4sIII", "<4sIQQ", "<III", "<IQQ"])
def test_sizes_that_follow_a_record_are_read_in_every_form_and_compared(tmp_path, layout):
    """Written to where nothing can be changed afterwards, a zip archive says checksum and sizes after each record."""

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.content = b""

        def writable(self):
            return True

        def write(self, block):
            self.content += bytes(block)
            return len(block)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as opened:
        opened.writestr("archive/data.pkl", pickled(dictionary(a=tensor(storage(4), (4,), (1,)))))
        opened.writestr("archive/data/0", FOUR.tobytes())
    content, directory = pipe.content, pipe.content.index(b"PK\x01\x02")
    place = directory - 16  # of the last trailer
    fields = struct.unpack("<4sIII", content[place:directory])
    trailer = struct.pack(layout, *fields[-len(struct.unpack(layout, bytes(struct.calcsize(layout)))) :])
    moved = len(trailer) - 16
    end = len(content) - 6 + moved
    content = content[:place] + trailer + content[directory:]
    content = content[:end] + struct.pack("<I", directory + moved) + content[end + 4 :]
    (tmp_path / "a.pt").write_bytes(content)
    assert_same(read_weights(tmp_path / "a.pt"), {"a": FOUR})
    for changed in range(len(trailer)):
        other = bytearray(content)
        other[place + changed] ^= 1
        (tmp_path / "b.pt").write_bytes(other)
        assert "what follows its record 'archive/data/0' contradicts the directory" in refusal(tmp_path / "b.pt")
