"""What `describe` finds in a data set."""

import pytest

from passl.datasets import ImageTextFolder, Sample, Source, describe, findings


def source(samples):
    made = Source()
    made.samples = samples
    return made


def test_ordinary_pairs_have_no_warnings_and_no_notes(tmp_path, write_pairs):
    found = describe(ImageTextFolder(str(write_pairs(tmp_path, 6))))
    assert found["warnings"] == [] and found["notes"] == []
    assert found["num_samples"] == 6
    assert (found["captions"]["total"], found["captions"]["distinct"]) == (12, 12)
    assert found["pictures"] == {"files": 6, "distinct": 6}


def test_equal_captions_are_warned_of_in_words(tmp_path, write_pairs):
    for path in write_pairs(tmp_path, 4).glob("*.txt"):
        path.write_text("a photo\n")
    (warning,) = describe(ImageTextFolder(str(tmp_path)))["warnings"]
    assert "all captions are equal ('a photo', 4 samples looked at)" in warning


def test_equal_pictures_are_warned_of_in_words(tmp_path, write_pairs):
    content = (write_pairs(tmp_path, 4) / "000.png").read_bytes()
    for path in tmp_path.glob("*.png"):
        path.write_bytes(content)
    found = describe(ImageTextFolder(str(tmp_path)))
    assert "all pictures are equal" in found["warnings"][0] and found["pictures"]["distinct"] == 1


def test_one_picture_in_every_row_is_warned_of(tmp_path, write_pairs):
    path = str(write_pairs(tmp_path, 1) / "000.png")
    found = describe(source([Sample(path, (f"caption {number}",)) for number in range(3)]))
    assert "all pictures are equal" in found["warnings"][0]


def test_repeated_captions_and_pictures_are_noted(tmp_path, write_pairs):
    folder = write_pairs(tmp_path, 4)
    (folder / "001.png").write_bytes((folder / "000.png").read_bytes())
    (folder / "001.txt").write_text("number 0\n")
    found = describe(ImageTextFolder(str(folder)))
    assert found["warnings"] == []
    assert "6 distinct captions among 7" in found["notes"][0]
    assert "3 distinct pictures among 4 files" in found["notes"][1]


def test_large_sets_are_looked_at_in_part_and_say_so():
    found = describe(source([Sample(f"{number}.jpg", (f"caption {number}",)) for number in range(5000)]))
    assert found["captions"]["samples"] == 2000
    assert found["pictures"] == {"files": None, "distinct": None}
    assert found["notes"] == ["more than 2000 pictures; they were not compared with each other"]


def test_only_files_of_equal_size_are_read(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"x" * (1 + number))
    monkeypatch.setattr(findings, "_digest", lambda _: pytest.fail("read a file in vain"))
    assert describe(source([Sample(str(path)) for path in sorted(tmp_path.iterdir())]))["pictures"]["distinct"] == 3


def test_missing_and_unreadable_files_do_no_harm(tmp_path, write_pairs):
    folder = write_pairs(tmp_path, 3)
    made = ImageTextFolder(str(folder))
    (folder / "000.png").unlink()
    (folder / "001.txt").write_bytes(b"\xff")
    assert describe(made)["warnings"] == []


def test_single_sample_is_no_reason_to_warn(tmp_path, write_pairs):
    (write_pairs(tmp_path, 1) / "000.txt").write_text("x\n")
    assert describe(ImageTextFolder(str(tmp_path)))["warnings"] == []
