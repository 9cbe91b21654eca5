"""What a person sees while training: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any, Dict

from tqdm import tqdm

from passl.utils.logging import get_logger


class Progress:
    """Shows each step's numbers.

    Args:
        total_steps, first_step: the run's length and where it starts or continues.
        steps_per_epoch: to say the epoch.
        silent: show nothing (processes other than the first).
    """

    def __init__(self, total_steps: int, first_step: int, steps_per_epoch: int, silent: bool) -> None:
        self.total_steps, self.steps_per_epoch, self.silent = total_steps, steps_per_epoch, silent
        self._start, self._first_step = time.monotonic(), first_step
        self._bar = tqdm(
            total=total_steps,
            initial=first_step,
            disable=silent or not sys.stderr.isatty(),
            bar_format="{n_fmt}/{total_fmt} {desc} {remaining} left {bar}",  # the bar takes what a wide terminal has left
            ncols=shutil.get_terminal_size((120, 20)).columns,  # tqdm shows nothing where the width is unknown
            leave=False,
        )

    def show(self, row: Dict[str, Any], is_logged: bool) -> None:
        """Takes a row of metrics.jsonl after its step; lines are printed for logged steps only."""
        text = (
            f"epoch {row['epoch']:.2f} · loss {row['loss']:.3f}"
            + (f" · acc {row['batch_accuracy']:.0%}" if "batch_accuracy" in row else "")
            + f" · lr {row['lr']:.2g}"
            + (f" · temp {row['logit_scale']:.1f}" if "logit_scale" in row else "")
            + f" · {row['samples_per_second']:.0f} img/s · data {row['data_wait']:.0%}"
        )
        # Without the marks between them the numbers fit into 80 columns.
        short = text.partition(" · ")[2].replace(" · ", " ").replace(" img/s", "/s")
        self._bar.set_description_str(short, refresh=False)
        self._bar.update(1)
        if is_logged and self._bar.disable and not self.silent:
            done = row["step"] - self._first_step
            left = (time.monotonic() - self._start) / done * (self.total_steps - row["step"])
            get_logger().info("step %d/%d · %s · %s left", row["step"], self.total_steps, text, _clock(left))

    def pause(self) -> None:
        """Clears the bar so that other lines can be printed; it comes back with the next step."""
        self._bar.clear()

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
