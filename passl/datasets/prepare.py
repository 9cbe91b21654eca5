"""Writes known data sets out in the layouts that configs read. Each function does nothing when its result stands already."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any, List, Literal

import numpy as np
from PIL import Image

from passl.datasets.sources.food101 import (
    TEMPLATE,
    missing_message,
    official_folder,
    read_classes,
    read_split,
    readable,
)
from passl.utils.errors import UserError
from passl.utils.files import PathLike, atomic_folder
from passl.utils.logging import get_logger

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Wordings to train on; those of evaluation (evaluation/templates.py, "digits") are others.
_DIGIT_CAPTIONS = (
    "a handwritten digit {word}",
    "the number {figure} written by hand",
    "a scan of the numeral {word}",
    "handwriting: {figure}",
    "the figure {word} on a form",
    "{figure}",
    "a blurry grey {word}",
)
_TEST_DIGITS_PER_CLASS = 36

# The first eight are those of the CLIP demonstration, with its words; the descriptions of the others are ours.
_SKIMAGE_DESCRIPTIONS = {
    "page": "a page of text about segmentation",
    "chelsea": "a facial photo of a tabby cat",
    "astronaut": "a portrait of an astronaut with the American flag",
    "rocket": "a rocket standing on a launchpad",
    "motorcycle_right": "a red motorcycle standing in a garage",
    "camera": "a person looking at a camera on a tripod",
    "horse": "a black-and-white silhouette of a horse",
    "coffee": "a cup of coffee on a saucer",
    "brick": "a pavement of long grey bricks",
    "chessboard_RGB": "an empty chessboard seen from above",
    "coins": "rows of old coins on a dark ground",
    "color": "a colour wheel on black",
    "grass": "dry grass seen from close by",
    "gravel": "a bed of gravel",
    "hubble_deep_field": "distant galaxies in a telescope image of deep space",
    "ihc": "a stained tissue section under a microscope",
    "logo": "a round logo with a green and an orange snake",
    "moon": "craters on the surface of the moon",
    "phantom": "a drawn cross section of a head, as for tomography",
    "retina": "the back of an eye with its blood vessels",
    "text": "handwritten formulas on a sheet of paper",
}


def prepare_digits(root: PathLike) -> Path:
    """scikit-learn's 1,797 handwritten digits as picture files: 1,437 to train on, 360 held out.

    `train/NNNN.png` with `train/NNNN.txt`, seven wordings a file, is the layout of one's own pairs; `test/3-three/NNNN.png`
    that of labelled pictures. NNNN is the number in scikit-learn's order. Held out are 36 of each digit, always the same.
    Pictures are 8 × 8, greyscale; the 17 levels are spread over 0 to 255.

    Raises:
        UserError: scikit-learn is not installed, or `root` holds something else.
    """
    root = Path(root)
    if not _is_to_be_written(root, ("train", "test")):
        return root
    datasets = _optional("sklearn.datasets", "scikit-learn")
    digits = datasets.load_digits()
    pictures = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8]
    held_out = _held_out(digits.target)
    with atomic_folder(root) as folder:
        (folder / "train").mkdir()
        for digit, name in enumerate(DIGIT_NAMES):
            (folder / "test" / f"{digit}-{name}").mkdir(parents=True)
        for number, (picture, digit) in enumerate(zip(pictures, digits.target.tolist())):
            word, stem = DIGIT_NAMES[digit], f"{number:04d}"
            if number in held_out:
                Image.fromarray(picture).save(folder / "test" / f"{digit}-{word}" / f"{stem}.png")
                continue
            Image.fromarray(picture).save(folder / "train" / f"{stem}.png")
            _write_captions(
                folder / "train" / f"{stem}.txt", [text.format(word=word, figure=digit) for text in _DIGIT_CAPTIONS]
            )
    get_logger().info("%s: %d digits to train on, %d held out", root, len(pictures) - len(held_out), len(held_out))
    return root


def prepare_food101(root: PathLike, mode: Literal["hardlink", "symlink", "copy"] = "hardlink") -> Path:
    """Captions for Food-101, made from the official layout's training split: `captions/<class>_<id>.jpg` and `.txt`.

    The caption of a picture is "a photo of {}, a type of food." with the folder name of its class in place of the braces,
    underscores as spaces. That is the template that zero-shot evaluation of Food-101 uses too; a model trained on it
    knows the wording of the test, so say so next to its accuracy. Change the texts freely: a caption stands on each line.

    Args:
        root: the data set's folder; the official layout lies in it, or in `food-101` below it.
        mode: how the pictures get there; links need no space.

    Raises:
        UserError: the official layout is not there or contradicts itself, or links are not possible.
    """
    root = Path(root)
    target = root / "captions"
    if mode not in ("hardlink", "symlink", "copy"):
        raise UserError(f"mode is {mode!r}; accepted: 'hardlink', 'symlink', 'copy'")
    if target.is_dir() and any(target.iterdir()):
        get_logger().info("%s stands already", target)
        return target
    official = official_folder(str(root))
    if official is None:
        raise UserError(missing_message(str(root), "train", "official"))
    entries = read_split(official, "train", read_classes(official))
    missing: List[str] = []
    with atomic_folder(target) as folder:
        for entry, name in entries:
            picture = Path(official, "images", f"{entry}.jpg")
            if not picture.is_file():
                missing.append(str(picture))
                continue
            stem = entry.replace("/", "_")
            _place(picture, folder / f"{stem}.jpg", mode, target)
            _write_captions(folder / f"{stem}.txt", [TEMPLATE.format(readable(name))])
        if len(missing) == len(entries):
            raise UserError(f"none of the {len(entries)} pictures of meta/train.txt is there; the first: {missing[0]}")
    if missing:
        get_logger().warning("%d of %d pictures are missing; the first: %s", len(missing), len(entries), missing[0])
    get_logger().info("%s: %d pictures with captions", target, len(entries) - len(missing))
    return target


def prepare_skimage_pairs(root: PathLike) -> Path:
    """The pictures that scikit-image brings along, each with a description in a `.txt` of the same stem.

    Eight are those of the CLIP demonstration, with its descriptions.

    Raises:
        UserError: scikit-image is not installed, or `root` holds something else.
    """
    root = Path(root)
    if not _is_to_be_written(root, ("astronaut.png", "astronaut.txt")):
        return root
    pictures = Path(_optional("skimage", "scikit-image").data_dir)
    with atomic_folder(root) as folder:
        for stem, description in _SKIMAGE_DESCRIPTIONS.items():
            for picture in sorted(pictures.glob(f"{stem}.*")):
                if picture.suffix in (".png", ".jpg"):
                    shutil.copyfile(picture, folder / picture.name)
                    _write_captions(folder / f"{stem}.txt", [description])
    get_logger().info("%s: %d pairs", root, len(list(root.glob("*.txt"))))
    return root


def _is_to_be_written(root: Path, parts: tuple) -> bool:
    """False if it stands already; folders are written as a whole, so their parts tell."""
    if all((root / part).exists() for part in parts):
        get_logger().info("%s stands already", root)
        return False
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"{root} exists and holds something else; name a new folder, or remove it")
    return True


def _held_out(digits: np.ndarray) -> set:
    """The numbers of the pictures to test with: as many of each digit."""
    order = np.random.RandomState(0).permutation(len(digits))  # NumPy promises that this stream never changes
    return {int(number) for digit in range(10) for number in order[digits[order] == digit][:_TEST_DIGITS_PER_CLASS]}


def _write_captions(path: Path, captions: List[str]) -> None:
    path.write_text("".join(f"{caption}\n" for caption in captions), encoding="utf-8")


def _place(picture: Path, target: Path, mode: str, final_folder: Path) -> None:
    """Puts a picture at `target`, in a folder that is written elsewhere and will stand at `final_folder`."""
    try:
        if mode == "copy":
            shutil.copyfile(picture, target)
        elif mode == "symlink":
            os.symlink(os.path.relpath(picture, final_folder), target)
        else:
            os.link(picture, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        raise UserError(f"{mode}s are not possible here ({error.strerror}); use --mode copy") from error


def _optional(module: str, package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"this data comes with {package}, which is not installed: pip install {package}") from error
