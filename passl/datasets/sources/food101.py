"""Food-101, in its official layout and in PASSL's."""

from __future__ import annotations

import os
from typing import List, Literal, Optional

from passl.datasets.sources.base import Sample, Source
from passl.datasets.sources.files import read_names
from passl.datasets.sources.image_text_folder import ImageTextFolder
from passl.utils.errors import UserError
from passl.utils.logging import get_logger
from passl.utils.registry import DATASETS, nearest

# The one template that zero-shot evaluation of Food-101 uses as well (CLIP, data/prompts.md).
TEMPLATE = "a photo of {}, a type of food."

_OFFICIAL_PARTS = ("images", "meta/train.txt", "meta/test.txt", "meta/classes.txt")


@DATASETS.register()
class Food101(Source):
    """Food-101: 101 dishes, 750 pictures of each to train on and 250 to test with.

    Two layouts are read. The official one: `images/<class>/<id>.jpg`, `meta/train.txt` and `meta/test.txt` with lines
    `<class>/<id>`, `meta/classes.txt`; in `root` itself or in `root/food-101`, as the archive unpacks. It has labels,
    in the order of the sorted class names, and the caption of a picture is "a photo of {}, a type of food." with the
    name of its class. PASSL's: `captions/` with pictures and texts of the same stem, for training only, without labels;
    `passl data prepare food101` writes it.

    A model that was trained on the very template it is evaluated with knows the wording of the test: say so when you
    report its zero-shot accuracy.

    Args:
        root: the data set's folder.
        split: the part to read; PASSL's layout has only "train".
        layout: "auto" reads `captions/` for training if it is there, and otherwise the official layout.
    """

    def __init__(
        self,
        root: str = "data/FOOD101",
        split: Literal["train", "test"] = "train",
        layout: Literal["auto", "official", "captions"] = "auto",
    ) -> None:
        if layout == "captions" and split != "train":
            raise UserError(
                "Food101: the layout 'captions' has no split 'test' and no labels; use layout: official, which reads "
                "images/ and meta/"
            )
        captions = os.path.join(root, "captions")
        if split == "train" and layout in ("auto", "captions") and os.path.isdir(captions):
            self.samples = ImageTextFolder(captions).samples
            get_logger().info("Food-101: PASSL's layout in %s, %d pairs", captions, len(self))
            return
        folder = official_folder(root)
        if folder is None or layout == "captions":
            raise UserError(missing_message(root, split, layout))
        self._read_official(folder, split)
        get_logger().info("Food-101: official layout in %s, %s split, %d pictures", folder, split, len(self))

    def _read_official(self, folder: str, split: str) -> None:
        classes = read_classes(folder)
        labels = {name: label for label, name in enumerate(classes)}
        self.class_names = [readable(name) for name in classes]
        self.samples = [
            Sample(
                os.path.join(folder, "images", f"{entry}.jpg"),
                (TEMPLATE.format(readable(name)),),
                labels[name],
            )
            for entry, name in read_split(folder, split, classes)
        ]


def official_folder(root: str) -> Optional[str]:
    """`root` or `root/food-101`, whichever holds the official layout; None if neither does."""
    return next((folder for folder in (root, os.path.join(root, "food-101")) if not _missing_parts(folder)), None)


def _missing_parts(folder: str) -> List[str]:
    return [part for part in _OFFICIAL_PARTS if not os.path.exists(os.path.join(folder, part))]


def read_split(folder: str, split: str, classes: List[str]) -> List[tuple]:
    """The entries `<class>/<id>` of `meta/<split>.txt`, sorted, each with its class.

    Raises:
        UserError: an entry without class, or of a class that `classes` lacks; names file and line.
    """
    path = os.path.join(folder, "meta", f"{split}.txt")
    entries = []
    known = set(classes)
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            entry = line.strip()
            if not entry:
                continue
            name, slash, identifier = entry.partition("/")
            if not slash or not identifier:
                raise UserError(f"{path}:{number}: {entry!r} is not of the form <class>/<id>")
            if name not in known:
                raise UserError(f"{path}:{number}: class {name!r} is not in meta/classes.txt.{nearest(name, classes)}")
            entries.append((entry, name))
    if not entries:
        raise UserError(f"{path} is empty; expected: lines of the form <class>/<id>")
    return sorted(entries)


def readable(class_folder: str) -> str:
    """A class as it stands in a caption: "apple pie" for `apple_pie`."""
    return class_folder.replace("_", " ")


def read_classes(folder: str) -> List[str]:
    """The folder names of the classes, sorted.

    Raises:
        UserError: `meta/classes.txt`, the folders of pictures and `meta/labels.txt` (readable names) do not agree.
    """
    path = os.path.join(folder, "meta", "classes.txt")
    classes = sorted(read_names(path))
    images = os.path.join(folder, "images")
    with os.scandir(images) as entries:
        folders = {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}
    for name in classes:
        if name not in folders:
            raise UserError(f"{path}: class {name!r} has no folder in {images}.{nearest(name, sorted(folders))}")
    for name in sorted(folders - set(classes)):
        raise UserError(f"{images} has the folder {name!r}, a class that is missing in {path}.{nearest(name, classes)}")
    labels = os.path.join(folder, "meta", "labels.txt")
    if os.path.exists(labels):
        _check_labels(labels, path, classes)
    return classes


def _check_labels(labels: str, path: str, classes: List[str]) -> None:
    """The readable names must be those of the classes, but for case, spaces and signs."""
    names = read_names(labels)
    if len(names) != len(classes):
        raise UserError(f"{labels} has {len(names)} classes, and {path} has {len(classes)}")
    known = {_letters(name) for name in classes}
    for number, name in enumerate(names, start=1):
        if _letters(name) not in known:
            raise UserError(
                f"{labels}:{number}: class {name!r} is not in {path}.{nearest(name, map(readable, classes))}"
            )


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def missing_message(root: str, split: str, layout: str) -> str:
    """What is expected, what is there, and what to do."""
    official = f"the official layout ({root}/images/<class>/<id>.jpg with {', '.join(_OFFICIAL_PARTS[1:])})"
    captions = f"PASSL's ({root}/captions/ with a picture and a .txt of the same stem for each pair)"
    if layout == "captions":
        expected = captions
    else:
        expected = f"{official}, or {captions}" if layout == "auto" and split == "train" else official
    if not os.path.isdir(root):
        found = f"the folder {root} does not exist"
    elif os.path.isdir(os.path.join(root, "images")):
        found = f"{root} lacks {', '.join(_missing_parts(root)) or 'captions/'}"
    else:
        found = f"{root} holds no such thing"
    return (
        f"Food-101 is not there: expected {expected}; {found}. Unpack food-101.tar.gz into {root}; "
        f"`passl data prepare food101 --root {root}` then writes captions/ from it"
    )
