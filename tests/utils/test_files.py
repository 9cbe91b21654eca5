import json
import os

import pytest

from passl.utils.files import atomic_file, atomic_folder, atomic_path, clean_after_kill, sha256, write_json, write_text


def test_atomic_file_replaces_the_old_content(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert os.listdir(path.parent) == ["file.json"]


def test_atomic_file_keeps_the_old_content_when_writing_fails(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_atomic_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("1")
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder" / "a").read_text() == "1"


def test_atomic_folder_takes_the_place_of_an_older_one(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "folder") as folder:
            (folder / content).write_text(content)
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["new"]


def test_atomic_folder_ends_a_replacement_that_a_kill_broke_off(tmp_path):
    for name in ("folder", ".replaced-folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "new").write_text("new")
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["new"]


def test_atomic_folder_puts_the_old_one_back_when_the_last_move_fails(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    rename = os.rename

    def fail_for_the_new_one(source, target):
        if ".unfinished-" in str(source):
            raise OSError("no space left")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    with pytest.raises(OSError, match="no space"), atomic_folder(tmp_path / "folder") as folder:
        (folder / "new").write_text("new")
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["old"]


def test_clean_after_kill_removes_half_written_and_puts_back_what_was_moved_aside(tmp_path):
    (tmp_path / ".unfinished-step-3-x").mkdir()
    (tmp_path / ".unfinished-file-x").write_text("half")
    (tmp_path / ".replaced-best").mkdir()
    (tmp_path / ".replaced-best" / "weights").write_text("kept")
    (tmp_path / ".replaced-other").mkdir()
    (tmp_path / "other").mkdir()
    clean_after_kill(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["best", "other"]
    assert (tmp_path / "best" / "weights").read_text() == "kept"


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_atomic_path_becomes_the_file_when_all_went_well(tmp_path):
    path = tmp_path / "deep" / "file.bin"
    with atomic_path(path) as unfinished:
        assert unfinished.name == "file.bin" and not path.exists()
        unfinished.write_text("new")
    assert path.read_text() == "new" and os.listdir(path.parent) == ["file.bin"]


def test_atomic_path_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
