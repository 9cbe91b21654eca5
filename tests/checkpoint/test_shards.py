"""Weights in several files: the whole set or nothing."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from passl.checkpoint import read_metadata, read_weights, weights_hash, write_weights
from passl.utils.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))

from torch_files import weights_archive

ARRAYS = {"b": np.arange(3, dtype="float32"), "a": np.ones((2, 2), "float32"), "c": np.zeros(1, "float32")}
PLACES = {"b": 1, "a": 1, "c": 2}


def part_name(number, suffix, count=2):
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    return f"{stem}-{number:05}-of-{count:05}.{suffix}"


def make_set(folder, suffix, places=PLACES):
    folder.mkdir(exist_ok=True)
    for number in (1, 2):
        arrays = {name: ARRAYS[name] for name in places if places[name] == number}
        path = folder / part_name(number, suffix)
        if suffix == "safetensors":
            write_weights(path, arrays)
        else:
            path.write_bytes(weights_archive(arrays))
    stem = "model.safetensors" if suffix == "safetensors" else "pytorch_model.bin"
    index = {
        "metadata": {"total_size": 32},
        "weight_map": {name: part_name(number, suffix) for name, number in places.items()},
    }
    (folder / f"{stem}.index.json").write_text(json.dumps(index))
    return folder / f"{stem}.index.json"


def refusal(path):
    with pytest.raises(UserError) as raised:
        read_weights(path)
    return str(raised.value)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_set_reads_by_its_index_and_by_its_folder_in_the_order_of_the_index(tmp_path, suffix):
    index = make_set(tmp_path / "set", suffix)
    (tmp_path / "set" / "config.json").write_text('{"model_type": "clip"}')
    for path in (index, index.parent):
        found = read_weights(path)
        assert list(found) == ["b", "a", "c"] and weights_hash(found) == weights_hash(ARRAYS)
        assert read_metadata(path) == {"container": "shards", "total_size": 32}


def test_files_of_a_set_may_be_links_as_in_a_cache(tmp_path):
    index = make_set(tmp_path / "blobs", "safetensors")
    (tmp_path / "snapshot").mkdir()
    for file in index.parent.iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    assert weights_hash(read_weights(tmp_path / "snapshot")) == weights_hash(ARRAYS)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_missing_files_are_named(tmp_path, suffix):
    index = make_set(tmp_path / "set", suffix)
    (index.parent / part_name(2, suffix)).unlink()
    for path in (index, index.parent):
        message = refusal(path)
        assert "1 of its 2 files are missing" in message and part_name(2, suffix) in message


def test_one_part_alone_is_refused_with_the_index_to_name(tmp_path):
    index = make_set(tmp_path / "set", "safetensors")
    part = index.parent / part_name(1, "safetensors")
    assert "is part 1 of 2; name model.safetensors.index.json instead" in refusal(part)
    index.unlink()
    for path in (part, part.parent):
        assert "is part 1 of 2; get the index" in refusal(path)


def test_only_part_of_one_is_a_file_like_any_other(tmp_path):
    write_weights(tmp_path / part_name(1, "safetensors", count=1), ARRAYS)
    assert weights_hash(read_weights(tmp_path / part_name(1, "safetensors", count=1))) == weights_hash(ARRAYS)


def test_index_that_names_fewer_files_than_they_count_is_refused(tmp_path):
    index = make_set(tmp_path / "set", "safetensors", {"b": 1, "a": 1})
    assert "it names 1 of the 2 files" in refusal(index)


def test_array_in_two_files_is_refused(tmp_path):
    index = make_set(tmp_path / "set", "safetensors")
    write_weights(index.parent / part_name(2, "safetensors"), {"c": ARRAYS["c"], "a": ARRAYS["a"]})
    assert f"'a' is in {part_name(2, 'safetensors')} and belongs to {part_name(1, 'safetensors')} too" in refusal(index)


def test_array_that_the_index_does_not_know_is_refused(tmp_path):
    index = make_set(tmp_path / "set", "safetensors")
    write_weights(index.parent / part_name(2, "safetensors"), {"c": ARRAYS["c"], "d": ARRAYS["a"]})
    assert "'d' is in" in refusal(index) and "belongs to no file by it" in refusal(index)


def test_array_that_its_file_lacks_is_refused(tmp_path):
    index = make_set(tmp_path / "set", "safetensors")
    write_weights(index.parent / part_name(1, "safetensors"), {"a": ARRAYS["a"]})
    assert f"it says that {part_name(1, 'safetensors')} holds b, and that file does not" in refusal(index)


@pytest.mark.parametrize(
    "place", ["../a.safetensors", "/a.safetensors", "sub/a.safetensors", "..\\a.safetensors", ".."]
)
def test_place_outside_of_the_folder_is_refused(tmp_path, place):
    write_weights(tmp_path / "a.safetensors", ARRAYS)
    (tmp_path / "set" / "sub").mkdir(parents=True)
    write_weights(tmp_path / "set" / "sub" / "a.safetensors", ARRAYS)
    index = tmp_path / "set" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": place}}))
    assert "which is no name of a file beside it" in refusal(index)
