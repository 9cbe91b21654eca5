"""Whether a saved state belongs to the run that wants to continue it."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Tuple

from passl.utils.errors import UserError
from passl.utils.logging import get_logger

# Keys that change what is written or how fast, never a number of the training. `data.train.batch_size` is judged by the
# global batch: the same samples over another number of processes are the same run (see `_SIZES` for the exceptions).
_FREE_KEYS = (
    "output_dir",
    "log",
    "checkpoint",
    "evaluate",
    "expect",
    "data.eval",
    "data.train.num_workers",
    "data.train.batch_size",
    "data.train.max_bad_fraction",
)

# What stands beside the config and must be equal too.
_SIZES = ("global_batch_size", "num_samples", "data_fingerprint", "num_processes")


def check_same_run(saved: Mapping[str, Any], current: Mapping[str, Any], allow_change: bool) -> None:
    """Compares what a state was saved with and what the run has now.

    Raises:
        UserError: they differ in something that changes the training, and `allow_change` is not given; lists each key.
    """
    differences = list(_differences(saved["config"], current["config"]))
    differences += [(key, saved[key], current[key]) for key in _SIZES if saved[key] != current[key]]
    if not differences:
        return
    listed = "\n".join(f"  {key}: {before!r} in the checkpoint, {now!r} now" for key, before, now in differences)
    if not allow_change:
        raise UserError(
            f"this run differs from the one that the checkpoint belongs to:\n{listed}\nPut the values back, or give "
            "--allow-config-change to continue with the new ones (the run is then no longer the one it was)"
        )
    get_logger().warning("continuing with a changed config:\n%s", listed)


def _differences(saved: Any, current: Any, path: str = "") -> Iterator[Tuple[str, Any, Any]]:
    if path in _FREE_KEYS:
        return
    if isinstance(saved, Mapping) and isinstance(current, Mapping):
        for key in sorted({*saved, *current}):
            yield from _differences(saved.get(key), current.get(key), f"{path}.{key}" if path else key)
    elif saved != current:
        yield path, saved, current
