"""Pictures and texts of the same stem: `cat.jpg` and `cat.txt`."""

from __future__ import annotations

import os
from typing import Dict, List, Sequence, Tuple

from passl.datasets.images import SUFFIXES
from passl.datasets.sources.base import Sample, Source
from passl.datasets.sources.files import check_folder, common_examples, find_files, read_lines, stem
from passl.utils.errors import UserError
from passl.utils.logging import get_logger
from passl.utils.registry import DATASETS

_EXPECTED = "pictures, and for each a .txt file of the same stem with one caption a line, in any folders below it"


@DATASETS.register("TextImageDataset")
class ImageTextFolder(Source):
    """A folder in which a picture and the text of the same stem belong together, wherever below it they lie.

    `img/cat.jpg` and `text/cat.txt` are a pair. Each line of a text is a caption of its own; training draws one of them
    each time. Texts are UTF-8 and are read when their sample is. Two pictures, or two texts, of the same stem are an
    error, since nobody can say which belongs to which.

    Args:
        root: the folder; it is searched with all folders below it, and links to folders are followed.
    """

    def __init__(self, root: str) -> None:
        check_folder(root, _EXPECTED)
        images = _by_stem(root, find_files(root, SUFFIXES), "pictures")
        texts = _by_stem(root, find_files(root, (".txt",)), "texts")
        pairs = [(path, texts[name]) for name, path in images.items() if name in texts]
        alone = [path for name, path in images.items() if name not in texts]
        without_image = [path for name, path in texts.items() if name not in images]
        if not pairs:
            raise UserError(
                f"{root} has {len(images)} pictures and {len(texts)} texts, and none of the same stem; expected: "
                f"{_EXPECTED}"
            )
        if alone or without_image:
            get_logger().warning(
                "%s: %d pairs; left out: %d pictures without text%s, %d texts without picture%s",
                root,
                len(pairs),
                *(len(alone), f" ({common_examples(alone)})" if alone else ""),
                *(len(without_image), f" ({common_examples(without_image)})" if without_image else ""),
            )
        self.samples = _Pairs(root, pairs)


class _Pairs(Sequence[Sample]):
    """Samples whose texts are read when they are asked for: a million small files would delay the start by minutes."""

    def __init__(self, root: str, pairs: List[Tuple[str, str]]) -> None:
        self._root = root
        self._pairs = pairs
        self.paths = [image for image, _ in pairs]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        image, text = (os.path.join(self._root, path) for path in self._pairs[index])
        return Sample(image, tuple(read_lines(text)))


def _by_stem(root: str, paths: List[str], kind: str) -> Dict[str, str]:
    found: Dict[str, str] = {}
    for path in paths:
        other = found.setdefault(stem(path), path)
        if other is not path:
            raise UserError(
                f"{root} has two {kind} of the same stem: {other} and {path}. The stem says which picture and text "
                "belong together, so it may stand only once below the folder; rename one of the two, with its partner"
            )
    return found
