"""Pictures sorted into one folder per class."""

from __future__ import annotations

import os
import re
from typing import List, Optional, Tuple

from passl.datasets.images import SUFFIXES
from passl.datasets.sources.base import Sample, Source
from passl.datasets.sources.files import check_folder, common_examples, find_files
from passl.utils.errors import UserError
from passl.utils.logging import get_logger
from passl.utils.registry import DATASETS

_EXPECTED = "one folder per class, with its pictures in it"
_NUMBERED = re.compile(r"(\d+)-(.+)", re.DOTALL)


@DATASETS.register()
class ImageFolder(Source):
    """Pictures in one folder per class; the folders' names are the classes. It has labels and no captions.

    Classes are in the order of their folders' names, with numbers by value ("2" before "10"). If every name begins with
    a number and a hyphen ("3-three"), the number only gives the order and is no part of the class's name. Underscores
    in names become spaces.

    Args:
        root: the folder that holds the folders of the classes.
    """

    has_captions = False

    def __init__(self, root: str) -> None:
        check_folder(root, _EXPECTED)
        with os.scandir(root) as entries:
            folders = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        folders, self.class_names = _ordered_classes(root, folders)
        self.samples, empty = [], []
        for label, folder in enumerate(folders):
            images = find_files(os.path.join(root, folder), SUFFIXES)
            self.samples += [Sample(os.path.join(root, folder, image), (), label) for image in images]
            empty += [] if images else [folder]
        if not self.samples:
            raise UserError(f"{root} has no pictures in folders ({len(folders)} folders); expected: {_EXPECTED}")
        if empty:
            get_logger().warning("%s: %d classes without pictures: %s", root, len(empty), common_examples(empty))


def _ordered_classes(root: str, folders: List[str]) -> Tuple[List[str], List[str]]:
    """The folders in the order of their labels, and the classes' names."""
    folders = sorted(folders, key=lambda name: (_natural(name), name))
    numbered: List[Optional[re.Match]] = [_NUMBERED.fullmatch(name) for name in folders]
    names = [match[2] for match in numbered if match] if all(numbered) else folders
    names = [name.replace("_", " ") for name in names]
    for name in names:
        if names.count(name) > 1:
            same = [folder for folder, other in zip(folders, names) if other == name]
            raise UserError(f"{root}: the folders {', '.join(same)} all stand for the class {name!r}; rename them")
    return folders, names


def _natural(name: str) -> List[Tuple[int, int, str]]:
    """A sort key in which runs of digits count by their value."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
