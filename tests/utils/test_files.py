import json
import os
import signal
import subprocess
import sys
from pathlib import Path

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


# --- Other processes, kills ------------------------------------------------------------------------------------------

WRITERS = {
    "atomic_file": "with files.atomic_file(path) as file:\n    file.write(b'half'); file.flush(); die()",
    "atomic_path": "with files.atomic_path(path) as place:\n    place.write_bytes(b'half'); die()",
    "atomic_folder": "with files.atomic_folder(path) as place:\n    (place / 'a').write_bytes(b'half'); die()",
}


def python(code, path, **options):
    """A process that runs `code` with `files`, `path` and `die`, which ends it as `kill -9` does."""
    begin = (
        "import os, pathlib, signal, sys, time\nfrom passl.utils import files\npath = pathlib.Path(sys.argv[1])\n"
        "def die():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, "-c", begin + code, str(path)], env=environment, text=True, **options)


def write(kind, path):
    if kind == "atomic_folder":
        with atomic_folder(path) as folder:
            (folder / "new").write_text("new")
    elif kind == "atomic_path":
        with atomic_path(path) as place:
            place.write_text("new")
    else:
        write_text(path, "new")


@pytest.mark.parametrize("kind", WRITERS)
def test_what_a_killed_writer_left_is_removed_by_the_next_one_of_that_name(tmp_path, kind):
    assert python(WRITERS[kind], tmp_path / "target").wait() == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1
    write(kind, tmp_path / "target-2")  # another name: not its business
    assert len(os.listdir(tmp_path)) == 2
    write(kind, tmp_path / "target")
    assert sorted(os.listdir(tmp_path)) == ["target", "target-2"]


@pytest.mark.parametrize("kind", WRITERS)
def test_what_another_writer_is_at_stays(tmp_path, kind):
    code = WRITERS[kind].replace("die()", "print('begun', flush=True); sys.stdin.readline()")
    other = python(code, tmp_path / "target", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == "begun\n"
    write(kind, tmp_path / "target")
    assert len(os.listdir(tmp_path)) == 2
    other.communicate("go on\n")
    assert other.returncode == 0 and os.listdir(tmp_path) == ["target"]
    half = tmp_path / "target" / "a" if kind == "atomic_folder" else tmp_path / "target"
    assert half.read_text() == "half"


def test_a_folder_written_in_place_of_an_unfinished_one_stays_with_its_writer(tmp_path):
    with atomic_folder(tmp_path / "target") as outer:
        with atomic_folder(outer) as inner:
            (inner / "inner").write_text("")
        write("atomic_folder", tmp_path / "target")
        assert os.listdir(outer) == ["inner"]
    assert os.listdir(tmp_path) == ["target"] and os.listdir(tmp_path / "target") == ["inner"]


@pytest.mark.parametrize("moment", [1, 2])
def test_kill_between_the_moves_is_mended_by_the_next_writer_even_if_that_fails(tmp_path, moment):
    write("atomic_folder", tmp_path / "target")
    killed = (
        "rename, count = os.rename, []\n"
        "def rename_and_die(*places):\n"
        "    rename(*places); count.append(1)\n"
        f"    if len(count) == {moment}: die()\n"
        "os.rename = rename_and_die\n"
    )
    code = killed + "with files.atomic_folder(path) as place:\n    (place / 'other').write_text('')"
    assert python(code, tmp_path / "target").wait() == -signal.SIGKILL
    assert (tmp_path / ".replaced-target").exists()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "target"):
        raise RuntimeError
    assert os.listdir(tmp_path) == ["target"]
    assert os.listdir(tmp_path / "target") == (["new"] if moment == 1 else ["other"])


def test_processes_that_replace_one_folder_leave_a_whole_one(tmp_path):
    code = (
        "for number in range(40):\n    with files.atomic_folder(path) as place:\n"
        "        for name in 'ab':\n            (place / name).write_text(f'{os.getpid()} {number}')"
    )
    processes = [python(code, tmp_path / "target", stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == [""] * 3
    assert os.listdir(tmp_path) == ["target"] and sorted(os.listdir(tmp_path / "target")) == ["a", "b"]
    assert (tmp_path / "target" / "a").read_text() == (tmp_path / "target" / "b").read_text()


def test_writer_that_fails_does_not_undo_the_replacement_of_another(tmp_path, monkeypatch):
    """The other is between its two moves when this one gives up."""
    write("atomic_folder", tmp_path / "target")
    code = (
        "rename = os.rename\n"
        "def slowly(*places):\n"
        "    if '.replaced-' in str(places[1]):\n"
        "        rename(*places); print('moved', flush=True); sys.stdin.readline()\n"
        "    else:\n        rename(*places)\n"
        "os.rename = slowly\nwith files.atomic_folder(path) as place:\n    (place / 'other').write_text('')"
    )
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "target"):
        other = python(code, tmp_path / "target", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert other.stdout.readline() == "moved\n"
        raise RuntimeError
    assert (tmp_path / ".replaced-target").exists() and not (tmp_path / "target").exists()
    other.communicate("go on\n")
    assert other.returncode == 0 and os.listdir(tmp_path) == ["target"]
    assert os.listdir(tmp_path / "target") == ["other"]


@pytest.mark.parametrize("kind", WRITERS)
def test_every_file_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch, kind):
    events = []
    inode_of = {"fsync": lambda file: os.fstat(file).st_ino, "move": lambda source, *_: os.stat(source).st_ino}
    for name, call in (("fsync", "fsync"), ("move", "replace"), ("move", "rename")):
        real = getattr(os, call)
        monkeypatch.setattr(
            os, call, lambda *given, name=name, real=real: (events.append((name, inode_of[name](*given))), real(*given))
        )
    write(kind, tmp_path / "target")
    written = tmp_path / "target" / "new" if kind == "atomic_folder" else tmp_path / "target"
    moved = events.index(("move", (tmp_path / "target").stat().st_ino))
    assert ("fsync", written.stat().st_ino) in events[:moved]
    assert ("fsync", tmp_path.stat().st_ino) in events[moved:]
