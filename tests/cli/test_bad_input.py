"""What a user can do wrong in a training command: one message, a non-zero exit, nothing half-written."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from passl.checkpoint import read_weights, write_weights


def fails(train, *arguments):
    """The message of a command that must fail with one message and no traceback."""
    code, errors = train(*arguments)
    assert code == 1 and errors.count("error: ") == 1 and "Traceback" not in errors, errors
    return errors


@pytest.mark.parametrize(
    "text, message",
    [
        ("sed: 3", "sed: unknown key. Did you mean 'seed'?"),
        ("seed: 3\nseed: 4", "seed: this key is given twice"),
        ("seed: three", "seed: expected a whole number, not the text 'three'"),
        ("epochs: 3", "give either epochs or steps"),
        ("checkpoint: {every: 3}", "checkpoint.every: unknown key"),
        (
            "seed: !!python/object/apply:os.system ['touch marker']",
            "the tag '!!python/object/apply:os.system' is refused",
        ),
        ("log: &a [*a, *a]", "nested deeper"),
        ("data: {train: {transforms: [{name: Resize}]}}", "data.train.transforms.0: the key 'size' is missing"),
        ("model: {name: CLIPWraper}", "no model named 'CLIPWraper'. Did you mean 'CLIPWrapper'?"),
    ],
)
def test_config_mistakes_name_file_line_and_key(run, train, tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    child = tmp_path / "child.yaml"
    child.write_text(f"_base_: config.yaml\n\n{text}\n")
    errors = fails(train, "-c", child)
    assert message in errors
    assert "child.yaml:" in errors or "give either" in message
    assert not run.output.exists() and not (tmp_path / "marker").exists()


def test_missing_data_folder_is_named_with_the_key_that_sets_it(run, train):
    errors = fails(train, "-o", "data.train.dataset.root=/nowhere/pairs")
    assert "/nowhere/pairs" in errors and not run.output.exists()


def test_folder_without_pairs_says_what_was_expected(run, train, tmp_path):
    (tmp_path / "empty").mkdir()
    errors = fails(train, "-o", f"data.train.dataset.root={tmp_path / 'empty'}")
    assert ".txt" in errors and not run.output.exists()


def test_output_folder_that_is_a_file_is_refused(run, train):
    run.output.write_text("precious")
    assert "is a file" in fails(train)
    assert run.output.read_text() == "precious"


def test_output_folder_that_cannot_be_written_is_refused(train):
    errors = fails(train, "--output-dir", "/proc/passl-run")
    assert "/proc/passl-run" in errors


def test_weights_of_another_model_list_names_and_shapes(run, train, tmp_path):
    write_weights(
        tmp_path / "other.safetensors", {"visual.class_embedding": np.zeros(8, "float32"), "extra": np.zeros(1)}
    )
    errors = fails(train, "--load", tmp_path / "other.safetensors")
    assert "extra" in errors
    assert not run.output.exists()


def test_truncated_weight_file_is_refused(run, train, tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path, {"a": np.zeros(1000, "float32")})
    path.write_bytes(path.read_bytes()[:-100])
    assert "weights.safetensors" in fails(train, "--load", path)
    assert not run.output.exists()


def test_malicious_pickle_is_refused_and_does_nothing(run, train, tmp_path):
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    path = tmp_path / "weights.pdparams"
    path.write_bytes(pickle.dumps({"state_dict": {"a": Evil()}}))
    assert "weights.pdparams" in fails(train, "--load", path)
    assert not marker.exists() and not run.output.exists()


def test_global_batch_of_one_is_refused(train):
    assert "the global batch is 1 pair" in fails(train, "-o", "data.train.batch_size=1")


def test_batch_larger_than_the_data_is_refused(train):
    errors = fails(train, "-o", "data.train.batch_size=41")
    assert "40 samples, fewer than the global batch of 41" in errors


def test_more_gpus_than_there_are_offers_the_cpu(train):
    errors = fails(train, "--num-gpus", "64", "-o", "device=gpu")
    assert "64 GPUs asked for" in errors and "--device cpu --num-procs 64" in errors


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--num-gpus", "2", "--device", "cpu"), "--device cpu --num-procs"),
        (("--num-procs", "2"), "goes with --device cpu"),
        (("--device", "cpu", "--num-procs", "0"), "at least 1"),
        (("--partial",), "goes with --load"),
        (("--resize-positions",), "goes with --load"),
        (("--allow-config-change",), "goes with --resume"),
        (("--evaluate-only",), "give --load"),
        (("-o", "precision=bfloat16"), "needs a GPU"),
        (("-o", "accumulate=2"), "accumulate: 2"),
        (("-o", "optimizer.groups=[{pattern: visul}]"), "matches the pattern 'visul'"),
        (("-o", "checkpoint.best=digits.top1"), "checkpoint.best"),
        (("-o", "expect={metric: zero_shot.top1, at_least: 0.5}"), "expect.metric"),
        (("--resume", "/nowhere"), "/nowhere"),
        (("--load", "/nowhere.safetensors"), "/nowhere.safetensors"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(run, train, arguments, message):
    assert message in fails(train, *arguments)
    assert not (run.output / "metrics.jsonl").exists()


def rows_of(run):
    return [json.loads(line) for line in (run.output / "metrics.jsonl").read_text().splitlines()]


def test_equal_captions_train_on_with_a_warning(run, train):
    for path in run.pairs.glob("*.txt"):
        path.write_text("the same words")
    code, errors = train("-o", "steps=3")
    assert code == 0 and "warning:" in errors and "caption" in errors
    assert all(np.isfinite(row["loss"]) for row in rows_of(run))


def test_equal_pictures_train_on_with_a_warning(run, train):
    for path in run.pairs.glob("*.png"):
        Image.new("RGB", (20, 20), "red").save(path)
    code, errors = train("-o", "steps=3")
    assert code == 0 and "warning:" in errors and ("picture" in errors or "image" in errors)
    assert all(np.isfinite(row["loss"]) for row in rows_of(run))


def test_unreadable_pictures_are_counted_listed_and_capped(run, train):
    for number in (3, 4):
        (run.pairs / f"{number:02}.png").write_bytes(b"")
    code, errors = train("-o", "steps=10", "-o", "data.train.max_bad_fraction=0.05")
    assert code == 0, errors
    listed = [json.loads(line) for line in (run.output / "bad_samples.jsonl").read_text().splitlines()]
    assert sorted(fault["index"] for fault in listed) == [3, 4]
    errors = fails(
        train, "-o", "steps=10", "-o", "data.train.max_bad_fraction=0.02", "--output-dir", run.folder / "second"
    )
    assert "max_bad_fraction" in errors


def test_dry_run_writes_nothing(run, train):
    code, errors = train("--dry-run")
    assert code == 0 and "first loss" in errors and not run.output.exists()


def test_weights_are_loaded_and_a_scratch_rate_is_remarked(run, train):
    assert train("-o", "steps=2")[0] == 0
    state = run.output / "checkpoints" / "latest"
    code, errors = train("--load", state, "--output-dir", run.folder / "second", "-o", "steps=2")
    assert code == 0 and "loaded" in errors and "hint" in errors
    assert read_weights(run.folder / "second" / "checkpoints" / "latest").keys() == read_weights(state).keys()
