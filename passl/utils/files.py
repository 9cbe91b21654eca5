"""Writing files so that a kill at any moment leaves either the old content or the new, never a part of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Union

PathLike = Union[str, "os.PathLike[str]"]

# Folders and files that are still being written carry the first mark, a folder that is about to be replaced the second;
# `clean_after_kill` clears, or puts back, what a kill left.
UNFINISHED = ".unfinished-"
REPLACED = ".replaced-"


def sync_folder(folder: PathLike) -> None:
    """Makes the names in `folder` durable (a rename is only on disk once its folder is)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: PathLike) -> Iterator[BinaryIO]:
    """Opens a binary file that takes the place of `path` when the block ends without an exception.

    The file is written beside its target, flushed to disk and renamed. Missing parent folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unfinished = tempfile.mkstemp(prefix=f"{UNFINISHED}{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o666 & ~_umask())
        os.replace(unfinished, path)
    except BaseException:  # Ctrl-C too: what is unfinished does not stay behind
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yields another path of the same name; the file written there becomes `path` when the block ends without an exception.

    For writers that take a path, and for what has to be looked at before it takes its place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{path.name}-", dir=path.parent))
    try:
        yield folder / path.name
        os.replace(folder / path.name, path)
    finally:  # Ctrl-C too: what is unfinished does not stay behind
        shutil.rmtree(folder, ignore_errors=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: PathLike) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` when the block ends without an exception.

    Every file in it is flushed to disk first. A folder that stands at `path` is moved aside and removed once the new one
    stands; a kill between the two moves is mended by `clean_after_kill`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{path.name}-", dir=path.parent))
    replaced = path.with_name(f"{REPLACED}{path.name}")
    try:
        os.chmod(unfinished, 0o777 & ~_umask())
        yield unfinished
        for folder, _, names in os.walk(unfinished):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    os.fsync(file.fileno())
            sync_folder(folder)
        _mend_replaced(replaced, path)
        if path.exists():
            os.rename(path, replaced)
        os.rename(unfinished, path)
    except BaseException:  # Ctrl-C too: what is unfinished does not stay behind
        shutil.rmtree(unfinished, ignore_errors=True)
        _mend_replaced(replaced, path)
        raise
    sync_folder(path.parent)
    if replaced.exists():
        shutil.rmtree(replaced)


def clean_after_kill(folder: PathLike) -> None:
    """Removes what killed writers left half-written in `folder`, and puts back a folder they had moved aside.

    Only call it where no other process writes: the run folder's lock says so.
    """
    folder = Path(folder)
    for entry in folder.glob(f"{REPLACED}*"):
        _mend_replaced(entry, folder / entry.name[len(REPLACED) :])
    for entry in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _mend_replaced(replaced: Path, path: Path) -> None:
    """Ends a replacement that was broken off: the old folder goes if the new one stands, and comes back if not."""
    if replaced.exists():
        shutil.rmtree(replaced) if path.exists() else os.rename(replaced, path)


def write_text(path: PathLike, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    with atomic_file(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: PathLike, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256(path: PathLike) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
