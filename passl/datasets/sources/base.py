"""What every source of samples offers."""

from __future__ import annotations

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
