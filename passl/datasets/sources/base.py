"""What every source of samples offers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence as AbstractSequence
from typing import List, NamedTuple, Optional, Sequence, Tuple


class Sample(NamedTuple):
    """One picture and what is said about it.

    Attributes:
        image: path of the picture.
        captions: its captions; training draws one of them each time. None may be blank, or there may be none at all:
            training counts such a sample as unusable.
        label: its class, an index into the source's `class_names`.
    """

    image: str
    captions: Tuple[str, ...] = ()
    label: Optional[int] = None


class LazySamples(AbstractSequence):
    """Samples that are read when they are asked for.

    Attributes:
        paths: the pictures' paths, known without reading a sample.
    """

    paths: List[str]


class Source:
    """The samples of a data set, in an order that depends on nothing but the files.

    Attributes:
        samples: a sequence; reading an item may raise `BadSample`.
        class_names: names of the classes, by label, if there are labels.
        has_captions: whether the layout knows captions at all.
    """

    samples: Sequence[Sample]
    class_names: Optional[List[str]] = None
    has_captions: bool = True

    def __len__(self) -> int:
        return len(self.samples)

    def fingerprint(self) -> str:
        """A SHA-256 of the pictures' file names in their order: what an index of a sample stands for."""
        paths = self.samples.paths if isinstance(self.samples, LazySamples) else [s.image for s in self.samples]
        names = "\n".join(os.path.basename(path) for path in paths)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
