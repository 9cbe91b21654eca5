"""Pairs in a file with one JSON object a line."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Optional, Tuple

from passl.datasets.sources.base import Sample, Source
from passl.utils.errors import UserError
from passl.utils.registry import DATASETS, nearest


@DATASETS.register()
class ImageTextJsonLines(Source):
    """JSON objects, one a line and one per picture: `{"image_path": "cat.jpg", "captions": ["a cat", "my cat"]}`.

    Captions are a list of texts or a single text; training draws one of them each time. Blank lines are skipped.

    Args:
        path: the file, in UTF-8.
        root: the folder that relative paths of pictures start from; null is the file's own.
        image_key: the key of the picture's path.
        captions_key: the key of its captions.
    """

    def __init__(
        self, path: str, root: Optional[str] = None, image_key: str = "image_path", captions_key: str = "captions"
    ) -> None:
        if not os.path.isfile(path):
            raise UserError(f"there is no file {path}; expected: one JSON object a line")
        folder = os.path.dirname(path) if root is None else root
        self.samples = []
        try:
            with open(path, encoding="utf-8-sig") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        place = f"{path}:{number}"
                        entry = _parse(line, place)
                        image = _image(_value(entry, image_key, place), image_key, place)
                        captions = _captions(_value(entry, captions_key, place), captions_key, place)
                        self.samples.append(Sample(os.path.join(folder, image), captions))
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8: {error}") from error
        if not self.samples:
            raise UserError(f"{path} holds no sample; expected: one JSON object a line")


def _parse(line: str, place: str) -> Dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not a JSON object: {error}; one object a line is read, not one document") from None
    if not isinstance(entry, dict):
        raise UserError(f"{place}: expected a JSON object, not {type(entry).__name__}; one object a line")
    return entry


def _value(entry: Dict[str, Any], key: str, place: str) -> Any:
    if key not in entry:
        keys = ", ".join(entry) or "none"
        raise UserError(f"{place}: the key {key!r} is missing.{nearest(key, entry)} The keys there: {keys}")
    return entry[key]


def _image(value: Any, key: str, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{place}: {key!r} is {value!r}, not a path")
    return value


def _captions(value: Any, key: str, place: str) -> Tuple[str, ...]:
    captions = [value] if isinstance(value, str) else value
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise UserError(f"{place}: {key!r} is neither a text nor a list of texts")
    return tuple(captions)
