"""Model folders: complete, verified, and never at the price of other files."""

import json
import random

import numpy as np
import pytest

from passl.checkpoint import read_model_folder, save_model_folder, weights_hash, write_weights
from passl.tokenizers import ClipTokenizer
from passl.utils.errors import UserError

ARRAYS = {"weight": np.arange(6, dtype="float32").reshape(2, 3), "scale": np.array(2.5, "float32")}
SPEC = {"architecture": {"name": "CLIP", "embed_dim": 8}, "tokenizer": {"name": "ClipTokenizer", "context_length": 77}}


@pytest.fixture
def folder(tmp_path):
    save_model_folder(tmp_path / "model", ARRAYS, SPEC, ClipTokenizer())
    return tmp_path / "model"


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def refusal(folder):
    with pytest.raises(UserError) as raised:
        read_model_folder(folder)
    return str(raised.value)


def test_folder_gives_back_weights_and_specification(folder):
    arrays, spec = read_model_folder(folder)
    assert weights_hash(arrays) == weights_hash(ARRAYS) and spec == SPEC


def test_folder_holds_weights_config_and_vocabulary_and_nothing_unfinished(folder):
    names = {entry.name for entry in folder.iterdir()}
    assert {"model.safetensors", "config.json"} < names
    assert any(name.endswith(".gz") for name in names)
    assert [entry.name for entry in folder.parent.iterdir()] == ["model"]


def test_saving_again_replaces_the_model(folder):
    save_model_folder(folder, {"other": np.ones(1, "float32")}, {"architecture": {}}, ClipTokenizer())
    arrays, spec = read_model_folder(folder)
    assert list(arrays) == ["other"] and spec == {"architecture": {}}


def test_saving_over_a_folder_with_other_files_is_refused_and_keeps_them(folder):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="notes.txt"):
        save_model_folder(folder, {"other": np.ones(1, "float32")}, SPEC, ClipTokenizer())
    assert (folder / "notes.txt").read_text() == "mine"
    assert set(read_model_folder(folder)[0]) == set(ARRAYS)


def test_saving_to_a_file_is_refused(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        save_model_folder(tmp_path / "model", ARRAYS, SPEC)
    assert (tmp_path / "model").read_text() == "mine"


def test_saving_arrays_that_cannot_be_held_leaves_the_old_model(folder):
    with pytest.raises(UserError, match="complex64"):
        save_model_folder(folder, {"a": np.ones(1, "complex64")}, SPEC, ClipTokenizer())
    assert set(read_model_folder(folder)[0]) == set(ARRAYS)


def test_any_changed_or_missing_byte_of_the_weights_is_found(folder):
    content = (folder / "model.safetensors").read_bytes()
    rng = random.Random(0)
    for position in rng.sample(range(len(content)), 100):
        changed = bytearray(content)
        changed[position] ^= 1 << rng.randrange(8)
        for bad in (bytes(changed), content[:position]):
            (folder / "model.safetensors").write_bytes(bad)
            assert "checksums differ" in refusal(folder)


def test_folder_without_config_is_refused(tmp_path):
    assert "is not a model folder: it has no config.json" in refusal(tmp_path)


def test_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    assert "model.safetensors is missing" in refusal(folder)


def test_config_of_another_toolkit_is_refused(folder):
    write_weights(folder / "model.safetensors", ARRAYS)
    (folder / "config.json").write_text('{"model_type": "clip"}')
    assert "was not written by passl" in refusal(folder)


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "\udcff"])
def test_config_that_is_no_json_is_refused(folder, content):
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert "is not JSON" in refusal(folder)


def test_newer_format_is_refused_with_the_remedy(folder):
    change_config(folder, format_version=2)
    assert "format_version 2 is newer than 1; update passl" in refusal(folder)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"format_version": "1"}, "format_version"),
        ({"format_version": None}, "format_version"),
        ({"weights": {}}, "weights.sha256 is missing"),
        ({"weights": "a"}, "weights.sha256 is missing"),
        ({"spec": None}, "specification spec is missing"),
    ],
)
def test_incomplete_config_names_what_is_missing(folder, changes, reason):
    change_config(folder, **changes)
    assert reason in refusal(folder)
