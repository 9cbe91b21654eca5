"""The one way in and out: which paths are accepted, and what is said about the others."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from passl.checkpoint import dtypes, read_metadata, read_weights, save_model_folder, weights_hash, write_weights
from passl.utils.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))

from torch_files import weights_archive

ARRAYS = {"a": np.arange(3, dtype="float32"), "b": np.array(1, "int64")}


def refusal(path):
    with pytest.raises(UserError) as raised:
        read_weights(path)
    return str(raised.value)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pdparams", "a.pdopt", "a.pd"])
def test_every_written_kind_reads_back(tmp_path, name):
    write_weights(tmp_path / name, ARRAYS)
    assert weights_hash(read_weights(str(tmp_path / name))) == weights_hash(ARRAYS)


def test_content_decides_under_a_suffix_of_paddle(tmp_path):
    write_weights(tmp_path / "a.safetensors", ARRAYS)
    (tmp_path / "a.safetensors").rename(tmp_path / "a.pdparams")
    assert weights_hash(read_weights(tmp_path / "a.pdparams")) == weights_hash(ARRAYS)


def test_safetensors_header_of_the_length_that_begins_like_a_pickle_reads(tmp_path):
    # A header of 0x0480 bytes begins with the bytes 80 04, as a pickle of protocol 4 does.
    write_weights(tmp_path / "a.safetensors", ARRAYS, {"padding": ""})
    length = int.from_bytes((tmp_path / "a.safetensors").read_bytes()[:8], "little")
    write_weights(tmp_path / "a.safetensors", ARRAYS, {"padding": "x" * (0x0480 - length)})
    (tmp_path / "a.safetensors").rename(tmp_path / "a.pdparams")
    assert (tmp_path / "a.pdparams").read_bytes()[:2] == b"\x80\x04"
    assert weights_hash(read_weights(tmp_path / "a.pdparams")) == weights_hash(ARRAYS)


def test_model_folder_and_checkpoint_folder_read(tmp_path):
    save_model_folder(tmp_path / "model", ARRAYS, {})
    write_weights(tmp_path / "step-5" / "weights.safetensors", ARRAYS)
    (tmp_path / "latest").symlink_to("step-5")
    for folder in ("model", "step-5", "latest"):
        assert weights_hash(read_weights(tmp_path / folder)) == weights_hash(ARRAYS)


def test_altered_model_folder_is_refused_by_its_checksum(tmp_path):
    save_model_folder(tmp_path / "model", ARRAYS, {})
    write_weights(tmp_path / "model" / "model.safetensors", {"a": np.zeros(3, "float32")})
    assert "checksums differ" in refusal(tmp_path / "model")


def test_folder_with_the_config_of_another_toolkit_reads_as_weights_alone(tmp_path):
    write_weights(tmp_path / "model.safetensors", ARRAYS)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert set(read_weights(tmp_path)) == {"a", "b"}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "open_clip_pytorch_model.bin"])
def test_folder_of_another_toolkit_with_a_file_of_pytorch_reads(tmp_path, name):
    (tmp_path / name).write_bytes(weights_archive({"a": ARRAYS["a"]}))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert weights_hash(read_weights(tmp_path)) == weights_hash({"a": ARRAYS["a"]})
    assert read_metadata(tmp_path) == {"container": "torch"}


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "model_state.pdparams"])
def test_folder_of_another_toolkit_reads(tmp_path, name):
    write_weights(tmp_path / name, ARRAYS)
    assert weights_hash(read_weights(tmp_path)) == weights_hash(ARRAYS)


def test_safetensors_come_before_the_same_weights_for_pytorch(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(weights_archive({"other": ARRAYS["a"]}))
    write_weights(tmp_path / "model.safetensors", ARRAYS)
    assert set(read_weights(tmp_path)) == set(ARRAYS)


def test_mapped_arrays_survive_writing_over_their_own_file(tmp_path):
    write_weights(tmp_path / "a.safetensors", {"a": np.arange(5000.0)})
    found = read_weights(tmp_path / "a.safetensors")
    assert not found["a"].flags.owndata and not found["a"].flags.writeable
    write_weights(tmp_path / "a.safetensors", {"a": found["a"] + 1})
    assert found["a"][1] == 1 and read_weights(tmp_path / "a.safetensors")["a"][1] == 2


@pytest.mark.parametrize("suffix", [".safetensors", ".pdparams"])
def test_views_are_written_by_value_in_parts(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(dtypes, "_PART", 64)
    numbers = np.arange(2 * 3 * 35, dtype="float32").reshape(2, 3, 35)
    views = {
        "transposed": numbers[0].T,
        "turned": numbers.transpose(2, 0, 1),
        "reversed": numbers[:, ::-1],
        "every second": np.arange(300, dtype="int64")[::2],
        "expanded": np.broadcast_to(np.float16(3), (7, 11)),
        "big-endian": np.arange(300, dtype=">f8")[::3],
    }
    write_weights(tmp_path / f"a{suffix}", views)
    found = read_weights(tmp_path / f"a{suffix}")
    assert weights_hash(found) == weights_hash({name: np.array(array) for name, array in views.items()})


def test_missing_file_names_the_nearest_in_the_folder(tmp_path):
    write_weights(tmp_path / "ViT-B-32.pdparams", ARRAYS)
    message = refusal(tmp_path / "Vit-B32.pdparams")
    assert "there is no weight file" in message and "Did you mean 'ViT-B-32.pdparams'?" in message


def test_missing_folder_is_said(tmp_path):
    assert "does not exist either" in refusal(tmp_path / "nowhere" / "a.pdparams")


def test_folder_without_weights_says_what_it_expects_and_holds(tmp_path):
    assert "holds no model.safetensors and no weights.safetensors" in refusal(tmp_path)
    write_weights(tmp_path / "clip.pdparams", ARRAYS)
    assert "It holds clip.pdparams: name one of them" in refusal(tmp_path)


def test_checkpoints_folder_names_its_steps(tmp_path):
    (tmp_path / "step-10").mkdir()
    assert "It holds step-10: name one of them" in refusal(tmp_path)


def test_unknown_suffix_lists_the_accepted_ones(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"x")
    message = refusal(tmp_path / "a.npz")
    assert ".npz is no known kind" in message and ".safetensors, .pdparams, .pdopt, .pd" in message


@pytest.mark.parametrize("suffix", [".safetensors", ".pdparams"])
def test_empty_file_is_said_to_be_empty(tmp_path, suffix):
    (tmp_path / f"a{suffix}").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path / f"a{suffix}")


def test_other_content_under_an_accepted_suffix_is_refused(tmp_path):
    (tmp_path / "a.pdparams").write_bytes(b"<html>not found</html>")
    assert "neither safetensors nor what paddle.save or torch.save write" in refusal(tmp_path / "a.pdparams")


def test_device_is_not_read_as_a_file():
    assert "not a regular file" in refusal("/dev/null")


def test_metadata_goes_with_safetensors_and_not_with_pdparams(tmp_path):
    write_weights(tmp_path / "a.safetensors", ARRAYS, {"format": "passl"})
    assert read_metadata(tmp_path / "a.safetensors") == {"format": "passl"}
    with pytest.raises(UserError, match="metadata needs .safetensors"):
        write_weights(tmp_path / "a.pdparams", ARRAYS, {"format": "passl"})
    assert not (tmp_path / "a.pdparams").exists()


def test_metadata_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="metadata is text"):
        write_weights(tmp_path / "a.safetensors", ARRAYS, {"epoch": 3})


@pytest.mark.parametrize(
    "arrays, reason",
    [
        ({"a": np.array(["x"])}, "'a' has str"),
        ({"a": np.ones(1, "complex64")}, "'a' has complex64"),
        ({"a": np.zeros((0, 3), "float32")}, r"'a' has the shape \[0, 3\]"),
        ({"a": [1.0]}, "'a' is a list"),
        ({"": np.ones(1)}, "cannot be the name"),
        ({"__metadata__": np.ones(1)}, "cannot be the name"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pdparams"])
def test_arrays_that_a_file_cannot_hold_are_refused_before_writing(tmp_path, arrays, reason, suffix):
    write_weights(tmp_path / f"a{suffix}", ARRAYS)
    with pytest.raises(UserError, match=reason):
        write_weights(tmp_path / f"a{suffix}", arrays)
    assert weights_hash(read_weights(tmp_path / f"a{suffix}")) == weights_hash(ARRAYS)
    assert len(list(tmp_path.iterdir())) == 1


def test_uint16_is_refused_in_pdparams_where_it_would_mean_bfloat16(tmp_path):
    with pytest.raises(UserError, match="uint16"):
        write_weights(tmp_path / "a.pdparams", {"a": np.ones(1, "uint16")})


def test_other_suffix_is_not_written(tmp_path):
    with pytest.raises(UserError, match="name the file .safetensors or .pdparams"):
        write_weights(tmp_path / "a.npz", ARRAYS)


def test_hash_depends_on_names_formats_shapes_and_numbers_and_on_nothing_else():
    plain = weights_hash(ARRAYS)
    assert len(plain) == 64
    assert weights_hash(dict(reversed(ARRAYS.items()))) == plain
    assert weights_hash({**ARRAYS, "a": ARRAYS["a"].astype(">f4")}) == plain
    assert weights_hash({**ARRAYS, "a": np.arange(6, dtype="float32")[::2] / 2}) == plain
    others = [
        {"c": ARRAYS["a"], "b": ARRAYS["b"]},
        {**ARRAYS, "a": ARRAYS["a"].astype("float64")},
        {**ARRAYS, "a": ARRAYS["a"].reshape(3, 1)},
        {**ARRAYS, "a": ARRAYS["a"] + 1},
        {"a": ARRAYS["a"]},
    ]
    assert len({weights_hash(other) for other in others} | {plain}) == len(others) + 1


def test_reading_weights_does_not_import_paddle(tmp_path):
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(ARRAYS))
    program = "import sys, passl.checkpoint as c; c.read_weights(sys.argv[1]); sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.pdparams")]).returncode == 0
