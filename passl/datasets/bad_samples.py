"""Which samples could not be used, and when there are too many of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Dict, Iterable

from passl.datasets.samples import Fault
from passl.utils.errors import UserError

_MOST_REASONS = 10


class BadSampleLog:
    """Keeps `bad_samples.jsonl`: an object a line with `index`, `path` and `reason`, each sample once.

    An existing file is continued; a line that a kill left unfinished is cut off.

    Args:
        path: the file; it is made when there is something to write.
        num_samples: samples in the source.
        max_bad_fraction: share of them that may be bad.
        writes: false only counts, for all processes but one.
    """

    def __init__(self, path: os.PathLike, num_samples: int, max_bad_fraction: float, writes: bool = True) -> None:
        self.path = Path(path)
        self.num_samples = num_samples
        self.max_bad_fraction = max_bad_fraction
        self.writes = writes
        self._faults: Dict[int, Fault] = {}
        if self.path.exists():
            self._continue()

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, faults: Iterable[Fault]) -> None:
        """Notes bad samples; those known already change nothing.

        Raises:
            UserError: there are more than `max_bad_fraction` allows.
        """
        new: Dict[int, Fault] = {}
        for fault in faults:
            if fault["index"] not in self._faults:
                new.setdefault(fault["index"], fault)
        if not new:
            return
        self._faults.update(new)
        if self.writes:
            with open(self.path, "ab") as file:
                file.write(b"".join(_line(fault) for fault in new.values()))
        if len(self) > self.max_bad_fraction * self.num_samples:
            raise UserError(self._too_many())

    def _continue(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if self.writes and len(whole) < len(content):
            os.truncate(self.path, len(whole))
        for line in whole.decode("utf-8", "surrogateescape").split("\n")[:-1]:
            fault = json.loads(line)
            self._faults[fault["index"]] = fault

    def _too_many(self) -> str:
        reasons = Counter(fault["reason"] for fault in self._faults.values()).most_common(_MOST_REASONS)
        examples = {fault["reason"]: fault["path"] for fault in reversed(list(self._faults.values()))}
        listed = "\n".join(f"  {count} x {reason}, such as {examples[reason]}" for reason, count in reasons)
        return (
            f"{len(self)} of {self.num_samples} samples cannot be used, more than max_bad_fraction = "
            f"{self.max_bad_fraction} allows:\n{listed}\nAll of them stand in {self.path}. Mend or remove them, or allow "
            f"more: -o data.train.max_bad_fraction={_rounded_up(len(self) / self.num_samples)}"
        )


def _line(fault: Fault) -> bytes:
    # A path need not be UTF-8.
    return (json.dumps(fault, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")


def _rounded_up(share: float) -> float:
    """A little more than `share`, with two figures after the point."""
    return min(1.0, (int(share * 100) + 2) / 100)
