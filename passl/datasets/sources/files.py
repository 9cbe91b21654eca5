"""Finding and reading files, the same way in every source."""

from __future__ import annotations

import os
from typing import Dict, Iterator, List, Tuple

from passl.datasets.images import BadSample
from passl.utils.errors import UserError


def check_folder(root: str, expected: str) -> str:
    """`root`, if it is a folder; otherwise a `UserError` that says what is expected in it."""
    if not os.path.isdir(root):
        what = "is not a folder" if os.path.exists(root) else "does not exist"
        raise UserError(
            f"the data folder {root} {what}; expected: {expected}. `passl data prepare NAME` writes known sets: digits, "
            "food101, skimage-pairs"
        )
    return os.fspath(root)


def find_files(root: str, suffixes: Tuple[str, ...]) -> List[str]:
    """The files below `root` with one of the suffixes, as paths relative to it with "/", sorted.

    Suffixes are compared without regard to case. Links to folders are followed, each folder is read once, and names
    that begin with a dot are left out.
    """
    return sorted(path for path in _walk(root, "", set()) if path.lower().endswith(suffixes))


def _walk(folder: str, prefix: str, seen: set) -> Iterator[str]:
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                yield from _walk(entry.path, f"{prefix}{entry.name}/", seen)
            else:
                yield prefix + entry.name


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle is no folder
        return False


def stem(path: str) -> str:
    """The file's name without folders and last suffix."""
    return os.path.splitext(path.rpartition("/")[2])[0]


def read_lines(path: str) -> List[str]:
    """The lines of a UTF-8 file that hold more than white space, without the white space around them.

    Raises:
        BadSample: the file cannot be read, or is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return [line.strip() for line in file if line.strip()]
    except OSError as error:
        raise BadSample(f"cannot be read ({error.strerror})", path) from None
    except UnicodeDecodeError:
        raise BadSample("not UTF-8", path) from None


def read_names(path: str) -> List[str]:
    """The names in a file, one a line, none twice.

    Raises:
        UserError: the file cannot be read, holds no name, or one twice.
    """
    first_line: Dict[str, int] = {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}; expected: a UTF-8 file with one class name a line") from None
    for number, name in enumerate(lines, start=1):
        if name and first_line.setdefault(name, number) != number:
            raise UserError(f"{path}:{number}: class {name!r} stands already in line {first_line[name]}")
    if not first_line:
        raise UserError(f"{path} is empty; expected: one class name a line")
    return list(first_line)


def common_examples(paths: List[str], most: int = 3) -> str:
    """The first few of many paths, for a message."""
    return ", ".join(paths[:most]) + (", ..." if len(paths) > most else "")
