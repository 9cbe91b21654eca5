"""Batches: the same for any number of workers and processes, and from any step on."""

import itertools
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from passl.datasets import EvalLoader, ImageFolder, ImageTextFolder, TrainLoader, build_transform
from passl.datasets.workers import WorkerDied
from passl.utils.errors import UserError

TRAIN = build_transform([{"name": "ToRGB"}, {"name": "RandomResizedCrop", "size": 6}, {"name": "ToTensor"}])
PLAIN = build_transform([{"name": "ToRGB"}, {"name": "ToTensor"}])


class Letters:
    """A tokenizer of which nothing but `ids` is needed."""

    def ids(self, texts):
        return np.array([[*text.encode()[:12]] + [0] * (12 - len(text.encode()[:12])) for text in texts], np.int64)


@pytest.fixture
def source(tmp_path, write_pairs):
    return ImageTextFolder(str(write_pairs(tmp_path / "pairs", 23)))


def taken(loader, count):
    return list(itertools.islice(iter(loader), count))


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        assert batch.keys() == other.keys() and batch["bad"] == other["bad"]
        for key in batch.keys() - {"bad"}:
            assert (np.asarray(batch[key]) == np.asarray(other[key])).all(), key


def test_train_batch_has_the_promised_entries(source):
    import paddle

    (batch,) = taken(TrainLoader(source, TRAIN, Letters(), batch_size=4), 1)
    assert isinstance(batch["image"], paddle.Tensor) and isinstance(batch["text"], paddle.Tensor)
    assert (list(batch["image"].shape), batch["image"].dtype) == ([4, 3, 6, 6], paddle.float32)
    assert (list(batch["text"].shape), batch["text"].dtype) == ([4, 12], paddle.int64)
    assert batch["index"].shape == (4,) and batch["index"].dtype == np.int64 and batch["bad"] == []


@pytest.mark.parametrize("num_workers", [2, 4])
def test_batches_do_not_depend_on_the_number_of_workers(source, num_workers):
    keys = {"batch_size": 4, "seed": 5, "total_steps": 13}
    Path(source.samples[3].image).write_bytes(b"")
    here = list(TrainLoader(source, TRAIN, Letters(), **keys))
    assert sum(len(batch["bad"]) for batch in here) > 0
    assert_same(here, list(TrainLoader(source, TRAIN, Letters(), num_workers=num_workers, **keys)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_starting_in_the_middle_of_an_epoch_continues_exactly(source, num_workers):
    whole = list(TrainLoader(source, TRAIN, Letters(), batch_size=4, total_steps=12))
    rest = TrainLoader(source, TRAIN, Letters(), batch_size=4, start_step=7, total_steps=12, num_workers=num_workers)
    assert_same(list(rest), whole[7:])


def test_processes_together_have_the_batch_of_one(source):
    (whole,) = taken(TrainLoader(source, TRAIN, Letters(), batch_size=6), 1)
    parts = [
        taken(TrainLoader(source, TRAIN, Letters(), batch_size=3, rank=rank, world_size=2), 1)[0] for rank in range(2)
    ]
    for key in ("image", "text", "index"):
        assert (np.concatenate([np.asarray(part[key]) for part in parts]) == np.asarray(whole[key])).all()


def test_index_is_that_of_the_sample_really_used(source):
    Path(source.samples[3].image).write_bytes(b"")
    batches = list(TrainLoader(source, PLAIN, Letters(), batch_size=4, total_steps=10))
    bad = [fault for batch in batches for fault in batch["bad"]]
    assert {fault["index"] for fault in bad} == {3}
    assert 3 not in np.concatenate([batch["index"] for batch in batches])


def test_captions_stay_with_their_pictures(source):
    for batch in list(TrainLoader(source, PLAIN, Letters(), batch_size=4, total_steps=5)):
        for index, text, image in zip(batch["index"], np.asarray(batch["text"]), np.asarray(batch["image"])):
            assert bytes(text[text > 0].astype(np.uint8)).decode().endswith(f" {index}")
            assert (image == np.asarray(TrainLoader(source, PLAIN, Letters(), 1).dataset[0, int(index)].image)).all()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unusable_data_is_a_user_error_wherever_it_is_read(source, num_workers):
    for sample in source.samples:
        os.unlink(sample.image)
    with pytest.raises(UserError, match="none of 16 samples can be used"):
        taken(TrainLoader(source, PLAIN, Letters(), batch_size=4, num_workers=num_workers), 1)


def test_killed_worker_names_step_and_samples(source):
    def kill(image, rng=None):
        os.kill(os.getpid(), signal.SIGKILL)

    loader = TrainLoader(source, kill, Letters(), batch_size=4, num_workers=2, start_step=2)
    with pytest.raises(WorkerDied) as caught:
        taken(loader, 1)
    samples = ", ".join(str(index) for _, index in loader.sampler[2])
    assert f"It was at step 3, samples {samples}" in str(caught.value)


# ---------------------------------------------------------------------------------------------- evaluation


@pytest.fixture
def labelled(tmp_path, write_pairs):
    for name, count in (("a", 4), ("b", 7)):
        write_pairs(tmp_path / "labelled" / name, count)
    return ImageFolder(str(tmp_path / "labelled"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_reads_each_sample_once_in_order(labelled, num_workers):
    loader = EvalLoader(labelled, PLAIN, batch_size=4, num_workers=num_workers)
    batches = list(loader)
    assert [len(batch["index"]) for batch in batches] == [4, 4, 3] and len(loader) == 3
    assert np.concatenate([batch["index"] for batch in batches]).tolist() == list(range(11))
    assert np.concatenate([batch["label"] for batch in batches]).tolist() == [0] * 4 + [1] * 7


@pytest.mark.parametrize("world_size", [2, 3, 12])
def test_evaluation_is_split_without_loss_or_repetition(labelled, world_size):
    indices = [
        index
        for rank in range(world_size)
        for batch in EvalLoader(labelled, PLAIN, 2, rank=rank, world_size=world_size)
        for index in batch["index"].tolist()
    ]
    assert sorted(indices) == list(range(11))


def test_evaluation_drops_and_reports_bad_samples(labelled):
    for number in (1, 8, 9, 10):
        Path(labelled.samples[number].image).write_bytes(b"")
    batches = list(EvalLoader(labelled, PLAIN, batch_size=4))
    assert [len(batch["index"]) for batch in batches] == [3, 4, 0]
    assert [fault["index"] for batch in batches for fault in batch["bad"]] == [1, 8, 9, 10]
    assert [len(batch["label"]) for batch in batches] == [3, 4, 0]


def test_evaluation_without_labels_has_no_label_entry(source):
    assert "label" not in next(iter(EvalLoader(source, PLAIN, batch_size=4)))


def test_loaders_work_with_the_real_tokenizer(source):
    from passl.tokenizers import ClipTokenizer

    keys = {"batch_size": 4, "total_steps": 3}
    here = list(TrainLoader(source, TRAIN, ClipTokenizer(context_length=16), **keys))
    assert here[0]["text"].shape[1] == 16
    assert_same(here, list(TrainLoader(source, TRAIN, ClipTokenizer(context_length=16), num_workers=2, **keys)))
