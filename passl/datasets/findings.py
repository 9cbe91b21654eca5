"""What is odd about a data set, before any time is spent on it."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from typing import Any, Dict, List

import numpy as np

from passl.datasets.images import BadSample
from passl.datasets.sources.base import Sample, Source

_MOST_SAMPLES = 2000


def describe(source: Source) -> Dict[str, Any]:
    """Counts, and findings in words.

    Captions are looked at in 2,000 samples evenly spread over the source. Pictures are compared by content if there are
    at most 2,000 files.

    Returns:
        `num_samples`; `captions`: `samples` looked at, `total`, `distinct`; `pictures`: `files` by path, `distinct`
        contents or None if they were not compared; `warnings`: sentences about what makes training pointless; `notes`:
        sentences about what is good to know.
    """
    samples = _spread(source)
    captions = _captions(samples)
    pictures = _pictures(source, samples)
    found: Dict[str, Any] = {
        "num_samples": len(source),
        "captions": captions,
        "pictures": pictures,
        "warnings": [],
        "notes": [],
    }
    if captions["total"] > 1 and captions["distinct"] == 1:
        found["warnings"].append(
            f"all captions are equal ({_shortened(captions['example'])!r}, {captions['samples']} samples looked at): nothing "
            "tells one pair from another, and the loss will stay at the logarithm of the batch size"
        )
    elif captions["distinct"] < captions["total"]:
        found["notes"].append(
            f"{captions['distinct']} distinct captions among {captions['total']} in {captions['samples']} samples; pairs of "
            "a batch that share one count as each other's negatives"
        )
    if len(samples) > 1 and pictures["distinct"] == 1:
        found["warnings"].append(
            f"all pictures are equal (the content of {samples[0].image}): nothing tells one pair from another, and the loss "
            "will stay at the logarithm of the batch size"
        )
    elif pictures["distinct"] is None:
        found["notes"].append(f"more than {_MOST_SAMPLES} pictures; they were not compared with each other")
    elif pictures["distinct"] < pictures["files"]:
        found["notes"].append(f"{pictures['distinct']} distinct pictures among {pictures['files']} files")
    return found


def _spread(source: Source) -> List[Sample]:
    """Up to 2,000 samples from the first to the last; those that cannot be read are left out."""
    samples = []
    for index in np.unique(np.linspace(0, len(source) - 1, min(len(source), _MOST_SAMPLES)).astype(int)):
        try:
            samples.append(source.samples[int(index)])
        except BadSample:
            continue
    return samples


def _captions(samples: List[Sample]) -> Dict[str, Any]:
    texts = [caption for sample in samples for caption in sample.captions if caption.strip()]
    return {
        "samples": len(samples),
        "total": len(texts),
        "distinct": len(set(texts)),
        "example": texts[0] if texts else None,
    }


def _pictures(source: Source, samples: List[Sample]) -> Dict[str, Any]:
    if len(source) > _MOST_SAMPLES:
        return {"files": None, "distinct": None}
    paths = {sample.image for sample in samples}
    by_size = defaultdict(list)
    for path in sorted(paths):
        by_size[os.path.getsize(path) if os.path.isfile(path) else -1].append(path)
    # Files of different sizes differ; only the others have to be read. Missing ones are none of this function's business.
    missing = len(by_size.pop(-1, []))
    distinct = sum(1 if len(same) == 1 else len({_digest(path) for path in same}) for same in by_size.values())
    return {"files": len(paths), "distinct": distinct + missing}


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.sha1(file.read(), usedforsecurity=False).digest()


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
