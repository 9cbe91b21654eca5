"""Files from the net, in one place: they arrive whole and unaltered, or not at all.

A file lies in the cache under the host and the path of its address, so that people can put it there by hand. What has
arrived of it waits beside that place, with a note of what the server said, and is continued by the next call. Whoever
downloads holds a lock on the unfinished file; a second process waits for the first and finds the file there.

    PASSL_CACHE    the cache's folder; otherwise `passl` in XDG_CACHE_HOME, or in ~/.cache
    PASSL_OFFLINE  1: nothing is asked of the net; what is in the cache still works
    PASSL_MIRROR   another server to ask: see `passl.zoo.web`
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple
from urllib.parse import quote, unquote

from tqdm import tqdm

from passl.utils.errors import UserError
from passl.utils.files import UNFINISHED, sync_folder
from passl.utils.files import sha256 as sha256_of
from passl.utils.logging import get_logger
from passl.zoo.web import GO_ON, FetchError, open_source, shown, source_of, split_address

_ATTEMPTS = 5  # how often one call takes up a transfer that breaks off
_BLOCK = 1 << 18
_LONGEST_NAME = 200  # characters; file systems take 255 bytes, and the unfinished file's name is longer


def fetch(address: str, sha256: Optional[str] = None) -> Path:
    """The file at an address, from the cache or the net.

    Args:
        address: https://…; http only on this machine.
        sha256: the file's SHA-256 in hexadecimal, or its first digits, at least eight. Without it, what arrives is held
            against the SHA-256 that the model hub states for large files, and otherwise against its length.

    Returns:
        where the file lies in the cache.

    Raises:
        FetchError: there is no such file, or it did not arrive.
        UserError: an address that is not accepted, a file that is not what its hash says, no space, or a cache that
            cannot be written to.
    """
    target = cache_path(address)
    if sha256 is not None and not re.fullmatch("[0-9a-f]{8,64}", sha256):
        raise UserError(f"sha256 {sha256!r} for {shown(address)}: 8 to 64 hexadecimal digits are accepted")
    if _is_good(target, sha256):
        return target
    if is_offline():
        state = "is in the cache, but is not what was published" if target.is_file() else "is not in the cache"
        raise FetchError(
            f"{shown(address)} {state}, and PASSL_OFFLINE is set. Put the file to {target}, or give the path of a local file, or "
            "unset PASSL_OFFLINE"
        )
    source = source_of(address)
    with _Unfinished(target) as unfinished:
        if not _is_good(target, sha256):  # otherwise it came while we waited for the lock
            if target.is_file():
                get_logger().warning("%s is not what was published (its SHA-256 differs): downloading it anew", target)
            _download(source, unfinished, sha256)
            unfinished.finish()
    return target


def is_offline() -> bool:
    """Whether PASSL_OFFLINE forbids the net."""
    return os.environ.get("PASSL_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def cache_folder() -> Path:
    """The folder of everything that was downloaded."""
    chosen = os.environ.get("PASSL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "passl")
    return Path(os.path.abspath(Path(chosen).expanduser()))


def cache_path(address: str) -> Path:
    """Where the cache keeps the file of an address: `host/path`, with unusual characters as %XX.

    Raises:
        UserError: an address that is not accepted.
    """
    parts = split_address(address)
    *folders, name = [_plain(segment) for segment in parts.path.lstrip("/").split("/")]
    if parts.query:  # another query is another file; by its hash, since it may hold a secret
        name = f"{hashlib.sha256(parts.query.encode()).hexdigest()[:12]}-{name}"
    return cache_folder().joinpath(_plain(parts.netloc.lower()), *folders, name)


def _plain(segment: str) -> str:
    """A part of an address as a file name that cannot leave its folder, is not hidden and not too long."""
    name = quote(unquote(segment), safe="=+@~") or "%"
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LONGEST_NAME:
        name = f"{hashlib.sha256(name.encode()).hexdigest()[:12]}-{name[-100:]}"
    return name


def _is_good(target: Path, sha256: Optional[str]) -> bool:
    return target.is_file() and (sha256 is None or sha256_of(target).startswith(sha256))


@dataclasses.dataclass(frozen=True)
class _Origin:
    """What the server said of the file that the unfinished bytes belong to."""

    etag: Optional[str]
    modified: Optional[str]
    length: Optional[int]
    sha256: Optional[str]

    @property
    def condition(self) -> Optional[str]:
        """What a server compares to see that its file is still the same one."""
        return self.etag if self.etag is not None and not self.etag.startswith("W/") else self.modified

    def is_same_file(self, other: _Origin) -> bool:
        """Whether bytes of the one may be appended to bytes of the other."""
        if self.length is None or self.length != other.length:
            return False
        return (self.sha256 is not None and self.sha256 == other.sha256) or self.condition == other.condition


class _Unfinished:
    """What has arrived of a file, beside its place; one process or thread at a time is inside its `with` block.

    The lock is on the unfinished file itself: it goes with it when the file gets its name, and none is left behind.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(UNFINISHED + target.name)
        self._note = target.with_name(UNFINISHED + target.name + ".json")

    def __enter__(self) -> _Unfinished:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while not self._take():  # somebody finished or removed the file while we waited for it
                self._file.close()
        except OSError as error:
            raise UserError(
                f"the cache folder {self.path.parent} cannot be written to ({error.strerror}); set PASSL_CACHE to another"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours() and self.size == 0:
            self._note.unlink(missing_ok=True)
            self.path.unlink()
        fcntl.flock(self._file, fcntl.LOCK_UN)  # said aloud: a forked child has the file open too
        self._file.close()

    def _take(self) -> bool:
        self._file = open(self.path, "ab", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            get_logger().info("waiting for another process to download %s", self.target.name)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        return self._is_ours()

    def _is_ours(self) -> bool:
        """Whether the path still means the file that we have open."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def origin(self) -> Optional[_Origin]:
        """What the note says; None without one, or when a kill left a part of it."""
        try:
            return _Origin(**json.loads(self._note.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def clear(self) -> None:
        """Drops what has arrived."""
        self._note.unlink(missing_ok=True)  # first: a note never stands beside the bytes of another file
        self._file.truncate(0)

    def begin(self, origin: _Origin) -> None:
        """Starts with the first byte of another file."""
        self.clear()
        with self._clearing_when_full():
            self._note.write_text(json.dumps(dataclasses.asdict(origin)), encoding="utf-8")

    def append(self, block: bytes) -> None:
        """Writes the bytes that come next."""
        rest = memoryview(block)
        with self._clearing_when_full():
            while rest:
                rest = rest[self._file.write(rest) :]

    def finish(self) -> None:
        """Gives the file its name, durably."""
        with self._clearing_when_full():
            os.fsync(self._file.fileno())
            os.replace(self.path, self.target)
        self._note.unlink(missing_ok=True)
        sync_folder(self.target.parent)

    @contextlib.contextmanager
    def _clearing_when_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.clear()
            raise UserError(
                f"{self.target} cannot be written ({error.strerror}); nothing of it was kept. Make room, or set PASSL_CACHE "
                "to a folder on another disk"
            ) from None


def _download(source: str, unfinished: _Unfinished, sha256: Optional[str]) -> None:
    """Brings the unfinished file to its end and verifies it."""
    for _ in range(_ATTEMPTS):
        is_first_part = unfinished.size == 0
        problem = _receive(source, unfinished, sha256)
        if problem is None:
            origin = unfinished.origin()
            expected = sha256 or (origin.sha256 if origin else None)
            actual = sha256_of(unfinished.path) if expected else ""
            if expected is None or actual.startswith(expected):
                return
            unfinished.clear()
            if is_first_part:
                raise UserError(
                    f"{shown(source)} is not what was published: its SHA-256 is {actual}, expected {expected}. Nothing of it was "
                    "kept. Try again; if it stays so, the server or the mirror has another file"
                )
            problem = "the parts that were fetched do not fit together"
        get_logger().info("%s: %s; going on", shown(source), problem)
    raise FetchError(f"{shown(source)}: {problem}, in the last of {_ATTEMPTS} attempts. {GO_ON}")


def _receive(source: str, unfinished: _Unfinished, sha256: Optional[str]) -> Optional[str]:
    """Fetches what is missing. Returns None when the file is whole, otherwise what is the matter."""
    origin = unfinished.origin()
    if origin is None or not (origin.condition or origin.sha256 or sha256):  # nothing could prove that the parts fit
        unfinished.clear()
    start = unfinished.size
    if start and start == origin.length:
        return None
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and origin.condition:
        headers["If-Range"] = origin.condition
    try:
        response, linked_sha256 = open_source(source, headers)
    except FetchError as error:
        if error.status != 416 or not start:
            raise
        unfinished.clear()
        return "the file there is shorter than what had arrived"
    with response:
        found, position = _described(response, linked_sha256)
        if response.status == 206 and not (start and position == start and origin.is_same_file(found)):
            unfinished.clear()
            return "the file there has changed"
        if response.status == 200:  # the first call, or a server that gives the whole file (again)
            if found.length is None and not response.chunked and sha256 is None:
                raise FetchError(
                    f"{shown(source)}: the server does not say how long the file is; give the path of a local file"
                )
            start = 0
            unfinished.begin(found)
        return _copy(source, response, unfinished, start, found.length)


def _described(response: Any, linked_sha256: Optional[str]) -> Tuple[_Origin, int]:
    """The file that an answer is of, and where in it the answer begins."""
    headers, start, length = response.headers, 0, response.headers.get("Content-Length", "")
    if response.status == 206:
        part = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        start, length = (int(part.group(1)), part.group(2)) if part else (-1, "")
    length = int(length) if length.isdecimal() else None
    return _Origin(headers.get("ETag"), headers.get("Last-Modified"), length, linked_sha256), start


def _copy(source: str, response: Any, unfinished: _Unfinished, start: int, length: Optional[int]) -> Optional[str]:
    """Appends the answer's bytes. Returns None when they are all there, otherwise what is the matter."""
    missing = (length or 0) - start
    free = shutil.disk_usage(unfinished.path.parent).free
    if free < missing:
        raise UserError(
            f"{unfinished.target} needs {_mb(missing)}, and only {_mb(free)} are free. Make room, or set PASSL_CACHE to a "
            "folder on another disk"
        )
    size = "size unknown" if length is None else _mb(length)
    get_logger().info("downloading %s (%s%s)", shown(source), size, f", {_mb(start)} of it are here" if start else "")
    bar = tqdm(total=length, initial=start, unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty())
    with bar:
        while length is None or unfinished.size < length:
            try:
                block = response.read1(_BLOCK if length is None else min(_BLOCK, length - unfinished.size))
            except (OSError, http.client.HTTPException) as error:
                return f"broke off after {_mb(unfinished.size)} ({error or type(error).__name__})"
            if not block:
                break
            unfinished.append(block)
            bar.update(len(block))
    if length is None or unfinished.size == length:
        return None
    return f"broke off after {unfinished.size:,} of {length:,} bytes"


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
