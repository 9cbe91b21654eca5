"""The run folder: who may write to it, and the files whose lines must neither be lost nor stand twice."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from passl.checkpoint.training_state import list_states
from passl.evaluation.plots import plot_confusion, plot_curves
from passl.utils.errors import UserError
from passl.utils.files import atomic_file, clean_after_kill, write_json
from passl.utils.logging import get_logger


class RunFolder:
    """A folder that one run owns while it lives.

    Args:
        path: the folder; made when missing.
        resume: whether a run that stands there may be continued; otherwise it must not hold one.

    Raises:
        UserError: it is a file, cannot be written, is in use by another run, or holds a run already.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = Path(path)
        self._lock: Optional[IO[str]] = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        except (FileExistsError, NotADirectoryError):
            raise UserError(
                f"the output folder {self.path} (or a part of its path) is a file; give another --output-dir"
            ) from None
        except OSError as error:
            raise UserError(
                f"the output folder {self.path} cannot be written to ({error.strerror}); give another --output-dir"
            ) from None
        if not resume and (list_states(self.checkpoints) or read_lines(self.metrics)):
            self.close()
            raise UserError(
                f"{self.path} holds a run already; give --resume auto to continue it, or another --output-dir"
            )
        for folder in (self.path, self.checkpoints):
            clean_after_kill(folder)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def evaluations(self) -> Path:
        return self.path / "evaluations.jsonl"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def bad_samples(self) -> Path:
        return self.path / "bad_samples.jsonl"

    @property
    def best(self) -> Path:
        return self.path / "best"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    def _take_lock(self) -> None:
        # lockf, not flock: this lock belongs to the process alone, so a child that outlives a killed run cannot keep it.
        lock = open(self.path / ".lock", "a+", encoding="utf-8")
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            raise UserError(
                f"the output folder {self.path} is in use by another run (process {owner}); wait for it, or give another "
                "--output-dir"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def cut_back(self, step: int) -> None:
        """Drops from the line files what came after the state of `step`, so that no line stands twice on resume.

        Evaluations of `step` itself come after its state: they are measured again.
        """
        for path, last in ((self.metrics, step), (self.evaluations, step - 1)):
            if not path.exists():
                continue
            rows = [row for row in read_lines(path) if row["step"] <= last]
            with atomic_file(path) as file:
                for row in rows:
                    file.write((json.dumps(row) + "\n").encode("utf-8"))

    def append(self, path: Path, row: Dict[str, Any]) -> None:
        """Adds one line."""
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def sync_lines(self) -> None:
        """Makes the lines durable, so that no state on disk is ahead of them."""
        for path in (self.metrics, self.evaluations):
            if path.exists():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())

    def draw_curves(self) -> None:
        """Draws the curves of the run, and says where."""
        rows = read_lines(self.metrics)
        if rows:
            plot_curves(rows, read_lines(self.evaluations), self.plots / "curves.png")
            get_logger().info("curves: %s", self.plots / "curves.png")

    def draw_confusions(self, confusions: Mapping[str, Tuple[np.ndarray, List[str]]]) -> None:
        """Draws which classes were taken for which, for each evaluation by its label, and says where."""
        for label, (matrix, class_names) in confusions.items():
            path = self.plots / f"{label}-confusion.png"
            plot_confusion(matrix, class_names, path)
            get_logger().info("confusion: %s", path)

    def add_result(self, label: str, result: Dict[str, Any]) -> None:
        """Puts `result` under `label` into results.json, beside what stands there."""
        known = json.loads(self.results.read_text(encoding="utf-8")) if self.results.exists() else {}
        write_json(self.results, {**known, label: result})

    def close(self) -> None:
        """Gives the folder free."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def read_lines(path: Path) -> List[Dict[str, Any]]:
    """The rows of a file of JSON lines; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
