"""Samples by position, and what becomes of bad ones."""

import numpy as np
import pytest
from PIL import Image

from passl.datasets import EvalDataset, ImageFolder, ImageTextFolder, TrainDataset, build_transform
from passl.datasets.samples import stack_images
from passl.utils.errors import UserError

TRANSFORM = build_transform([{"name": "ToRGB"}, {"name": "RandomResizedCrop", "size": 6}, {"name": "ToTensor"}])
PLAIN = build_transform([{"name": "ToRGB"}, {"name": "ToTensor"}])


@pytest.fixture
def pairs(tmp_path, write_pairs):
    return write_pairs(tmp_path / "pairs", 10)


def same(first, second):
    return first.caption == second.caption and first.index == second.index and (first.image == second.image).all()


def test_sample_depends_on_seed_epoch_and_index_alone(pairs):
    source = ImageTextFolder(str(pairs))
    one, other = (TrainDataset(source, TRANSFORM, seed=3) for _ in range(2))
    one[0, 5], one[1, 2]
    np.random.seed(9)
    assert same(one[4, 7], other[4, 7])
    assert not (one[5, 7].image == one[4, 7].image).all()
    assert not (TrainDataset(source, TRANSFORM, seed=4)[4, 7].image == one[4, 7].image).all()


def test_every_caption_is_drawn_some_time(pairs):
    dataset = TrainDataset(ImageTextFolder(str(pairs)), PLAIN)
    assert {dataset[epoch, 4].caption for epoch in range(30)} == {"number 4", "picture 4"}


def test_blank_lines_are_never_drawn(pairs):
    (pairs / "004.txt").write_text("\n  \nonly\n\n")
    dataset = TrainDataset(ImageTextFolder(str(pairs)), PLAIN)
    assert {dataset[epoch, 4].caption for epoch in range(10)} == {"only"}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("004.png", b"", "an empty file"),
        ("004.png", b"<html>", "not a picture in a known format (JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM)"),
        ("004.txt", b"\n \n", "no caption"),
        ("004.txt", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_bad_sample_is_replaced_and_reported(pairs, name, content, reason):
    (pairs / name).write_bytes(content)
    dataset = TrainDataset(ImageTextFolder(str(pairs)), PLAIN)
    item = dataset[2, 4]
    path = str(pairs / (name if reason == "not UTF-8" else "004.png"))
    assert item.faults[0] == {"index": 4, "path": path, "reason": reason}
    assert item.index != 4 and item.caption.endswith(f" {item.index}")
    assert same(item, dataset[2, 4])


def test_picture_deleted_after_the_start_is_a_bad_sample(pairs):
    dataset = TrainDataset(ImageTextFolder(str(pairs)), PLAIN)
    (pairs / "004.png").unlink()
    assert dataset[0, 4].faults[0]["reason"] == "no such file"


def test_replacements_differ_from_place_to_place(pairs):
    (pairs / "004.png").write_bytes(b"")
    dataset = TrainDataset(ImageTextFolder(str(pairs)), PLAIN)
    assert len({dataset[epoch, 4].index for epoch in range(20)}) > 3


def test_only_bad_samples_end_with_an_error_and_not_in_a_loop(pairs):
    dataset = TrainDataset(ImageTextFolder(str(pairs)), PLAIN)
    for path in pairs.glob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"none of 16 samples can be used; the last: .*no such file"):
        dataset[0, 0]


def test_mode_that_cannot_be_shown_is_a_bad_sample_with_its_path(pairs):
    (pairs / "004.png").unlink()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(pairs / "004.tiff")
    fault = TrainDataset(ImageTextFolder(str(pairs)), PLAIN)[0, 4].faults[0]
    assert fault["path"].endswith("004.tiff") and "32-bit" in fault["reason"]


def test_source_without_captions_cannot_be_trained_on(tmp_path, write_pairs):
    write_pairs(tmp_path / "a", 2)
    with pytest.raises(UserError, match="ImageFolder has no captions"):
        TrainDataset(ImageFolder(str(tmp_path)), PLAIN)


def test_eval_item_has_picture_label_and_index(tmp_path, write_pairs):
    write_pairs(tmp_path / "a", 2), write_pairs(tmp_path / "b", 2)
    item = EvalDataset(ImageFolder(str(tmp_path)), PLAIN)[3]
    assert (item.image.shape, item.label, item.index, item.faults) == ((3, 8, 8), 1, 3, [])


def test_bad_eval_item_is_left_empty_and_reported(tmp_path, write_pairs):
    (write_pairs(tmp_path / "a", 2) / "001.png").write_bytes(b"")
    item = EvalDataset(ImageFolder(str(tmp_path)), PLAIN)[1]
    assert item.image is None
    assert item.faults == [{"index": 1, "path": str(tmp_path / "a/001.png"), "reason": "an empty file"}]


def test_pictures_of_different_size_say_what_is_missing():
    with pytest.raises(UserError, match=r"\(3, 4, 4\), \(3, 5, 4\).*CenterCrop"):
        stack_images([np.zeros((3, 5, 4)), np.zeros((3, 4, 4))])
