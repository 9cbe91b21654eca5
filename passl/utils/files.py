"""Writing files so that a kill at any moment leaves either the old content or the new, never a part of it.

What is being written lies in a folder `.unfinished-NAME-xxxxxxxx` beside its target NAME. Its writer holds a lock on that
folder, which ends with the process; the next writer of the same NAME removes the ones that nobody holds. Several processes
may write one NAME: each writes for itself, and the last to finish stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Optional, Union

PathLike = Union[str, "os.PathLike[str]"]

# What is still being written carries the first mark, a folder that is about to be replaced the second;
# `clean_after_kill` clears, or puts back, what a kill left.
UNFINISHED = ".unfinished-"
REPLACED = ".replaced-"


def sync_folder(folder: PathLike) -> None:
    """Makes the names in `folder` durable (a rename is only on disk once its folder is)."""
    _sync(folder)


def _sync(path: PathLike) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: PathLike) -> Iterator[BinaryIO]:
    """Opens a binary file that takes the place of `path` when the block ends without an exception.

    The file is written beside its target, flushed to disk and renamed. Missing parent folders are made.
    """
    with atomic_path(path) as unfinished, open(unfinished, "wb") as file:
        yield file


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yields another path of the same name; the file written there becomes `path` when the block ends without an exception.

    For writers that take a path, and for what has to be looked at before it takes its place. The file is flushed to disk
    first.
    """
    path = Path(path)
    with _unfinished(path) as unfinished:
        yield unfinished
        _sync(unfinished)
        os.replace(unfinished, path)
        sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: PathLike) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` when the block ends without an exception.

    Every file in it is flushed to disk first. A folder that stands at `path` is moved aside and removed once the new one
    stands; a kill between the two moves is mended by the next writer and by `clean_after_kill`.
    """
    path = Path(path)
    with _unfinished(path) as unfinished:
        if _replaced(path).exists():
            with _lock_of(path):  # another writer may be between its moves
                _mend_replaced(path)
        unfinished.mkdir()
        yield unfinished
        for folder, _, names in os.walk(unfinished):
            for path_inside in (os.path.join(folder, name) for name in names):
                if not os.path.islink(path_inside):  # a relative link points right only where the folder will stand
                    _sync(path_inside)
            sync_folder(folder)
        with _lock_of(path):
            _mend_replaced(path)
            try:
                if path.exists():
                    os.rename(path, _replaced(path))
                os.rename(unfinished, path)
                sync_folder(path.parent)
            finally:
                _mend_replaced(path)


def clean_after_kill(folder: PathLike) -> None:
    """Removes what killed writers left half-written in `folder`, and puts back a folder they had moved aside.

    Only call it where no other process writes: the run folder's lock says so.
    """
    folder = Path(folder)
    for entry in folder.glob(f"{REPLACED}*"):
        _mend_replaced(folder / entry.name[len(REPLACED) :])
    for entry in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _replaced(path: Path) -> Path:
    return path.with_name(f"{REPLACED}{path.name}")


def _mend_replaced(path: Path) -> None:
    """Ends a replacement: the old folder goes if the new one stands, and comes back if not."""
    replaced = _replaced(path)
    if replaced.exists():
        shutil.rmtree(replaced) if path.exists() else os.rename(replaced, path)


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """A path of the same name in a folder beside `path` that is locked until the block ends, and removed then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    lock = None
    while lock is None:  # or somebody swept it before we had the lock
        folder = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{path.name}-", dir=path.parent))
        lock = _lock(folder, os.O_RDONLY)
    try:
        yield folder / path.name
    finally:  # Ctrl-C too: what is unfinished does not stay behind
        shutil.rmtree(folder, ignore_errors=True)
        _unlock(lock)


def _sweep(path: Path) -> None:
    """Removes what killed writers of `path` left: unfinished folders that nobody holds."""
    left = re.compile(re.escape(f"{UNFINISHED}{path.name}-") + "[a-z0-9_]{8}")
    for name in os.listdir(path.parent):
        if left.fullmatch(name):
            folder = path.with_name(name)
            lock = _lock(folder, os.O_RDONLY, waits=False)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                _unlock(lock)


@contextlib.contextmanager
def _lock_of(path: Path) -> Iterator[None]:
    """Waits until no other process is between the moves that put a folder at `path`."""
    file = path.with_name(f"{UNFINISHED}{path.name}.lock")
    lock = None
    while lock is None:  # or its owner removed it while we waited
        lock = _lock(file, os.O_RDWR | os.O_CREAT)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        _unlock(lock)


def _lock(path: Path, flags: int, waits: bool = True) -> Optional[int]:
    """A lock on `path` as an open descriptor; None if it was removed meanwhile, or somebody holds it and we do not wait.

    Where the file system has no locks, a writer goes on without one, and `_sweep` finds nothing that it may remove.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW)
    except OSError:
        if waits and path.exists():
            raise
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError:
        if not waits:
            os.close(descriptor)
            return None
    try:
        if os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return descriptor
    except FileNotFoundError:
        pass
    _unlock(descriptor)
    return None


def _unlock(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # where there are no locks
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # said aloud: a forked child has it open too
    os.close(descriptor)


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
