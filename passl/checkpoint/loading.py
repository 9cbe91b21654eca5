"""Arrays into a layer, strictly: everything is checked before anything is assigned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Tuple

import numpy as np

from passl.checkpoint.dtypes import as_array, describe, dtype_name, round_to_bfloat16
from passl.utils.errors import UserError

if TYPE_CHECKING:
    import paddle

_SHOWN = 10


@dataclass(frozen=True)
class LoadReport:
    """What became of each name; shapes and number formats are in words.

    Attributes:
        source: where the arrays came from.
        loaded: names whose values were assigned.
        missing: names of the model that the source lacks, with what was expected.
        unexpected: names of the source that the model lacks, with what was found.
        mismatched: names in both that do not fit, with what was expected and what was found.
    """

    source: str
    loaded: Tuple[str, ...]
    missing: Dict[str, str]
    unexpected: Dict[str, str]
    mismatched: Dict[str, Tuple[str, str]]

    @property
    def is_complete(self) -> bool:
        """Whether every name of the model was loaded and every name of the source used."""
        return not (self.missing or self.unexpected or self.mismatched)

    def table(self) -> str:
        """The names that were not loaded, as lines of text, each with what was expected and found."""
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        title = f"{self.source}: {len(self.loaded)} of {total} arrays of the model loaded"
        rows = [(name, *both, "kept as it was") for name, both in self.mismatched.items()]
        rows += [(name, expected, "-", "kept as it was") for name, expected in self.missing.items()]
        rows += [(name, "-", found, "not used") for name, found in self.unexpected.items()]
        if not rows:
            return title
        rows.insert(0, ("name", "in the model", "in the source", "so it is"))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return "\n".join([title, *lines])


def load_into(
    layer: paddle.nn.Layer, arrays: Mapping[str, Any], partial: bool = False, source: str = "the weights"
) -> LoadReport:
    """Assigns `arrays` to the parameters and buffers of `layer` of the same structured names.

    Floating numbers are cast to the parameter's format, and whole numbers to another width if that loses nothing. A
    scalar may be of shape [] or [1]. Everything else must fit, and nothing is assigned unless everything was checked.

    Args:
        layer: any layer.
        arrays: arrays or Paddle tensors by name.
        partial: load what fits and report the rest, instead of raising.
        source: what to call the origin of the arrays in messages, a path for instance.

    Raises:
        UserError: names missing, unexpected or wrongly shaped; with `partial`, no name fits at all.
    """
    parameters = layer.state_dict()
    ready: Dict[str, np.ndarray] = {}
    mismatched: Dict[str, Tuple[str, str]] = {}
    for name in parameters.keys() & arrays.keys():
        array = as_array(arrays[name], name)
        value = _fitted(array, parameters[name])
        if value is None:
            mismatched[name] = (describe(parameters[name]), describe(array))
        else:
            ready[name] = value
    report = LoadReport(
        source=source,
        loaded=tuple(name for name in parameters if name in ready),
        missing={name: describe(value) for name, value in parameters.items() if name not in arrays},
        unexpected={name: describe(as_array(arrays[name], name)) for name in arrays if name not in parameters},
        mismatched={name: mismatched[name] for name in parameters if name in mismatched},
    )
    if not report.is_complete and not partial:
        raise UserError(_differences(report))
    if not report.loaded and parameters:
        raise UserError(f"nothing could be loaded: no array of {source} fits the model.\n{_differences(report)}")
    for name, value in ready.items():
        parameters[name].set_value(value)
    return report


def layer_arrays(layer: paddle.nn.Layer) -> Dict[str, np.ndarray]:
    """Copies of the parameters and buffers of `layer` by structured name; bfloat16 as float32."""
    return {name: as_array(value, name) for name, value in layer.state_dict().items()}


def _fitted(array: np.ndarray, parameter: paddle.Tensor) -> Optional[np.ndarray]:
    """`array` in the shape and number format of `parameter`, ready for `set_value`; None if it does not fit."""
    shape = tuple(parameter.shape)
    if array.shape != shape and {array.shape, shape} != {(), (1,)}:
        return None
    array = array.reshape(shape)
    target = dtype_name(parameter)
    if target == "bfloat16" or target.startswith("float"):
        if array.dtype.kind != "f":
            return None
        with np.errstate(over="ignore"):
            value = array.astype("float32" if target == "bfloat16" else target, copy=False)
        if value.itemsize < array.itemsize and not np.array_equal(np.isfinite(value), np.isfinite(array)):
            return None  # a number too large for the narrower format
        return round_to_bfloat16(value) if target == "bfloat16" else value
    if array.dtype.name == target:
        return array
    if array.dtype.kind not in "iu" or not target.startswith(("int", "uint")):
        return None
    value = array.astype(target)
    return value if np.array_equal(value, array) else None


def _differences(report: LoadReport) -> str:
    """The message of a strict load: up to ten names of each kind."""
    parts = [f"{report.source} does not fit the model:"]
    both = report.mismatched.items()
    parts += _listed(
        "of another shape or number format",
        (f"{name}: expected {expected}, found {found}" for name, (expected, found) in both),
    )
    parts += _listed("missing", (f"{name}: expected {expected}" for name, expected in report.missing.items()))
    parts += _listed("not in the model", (f"{name}: {found}" for name, found in report.unexpected.items()))
    hint = _prefix_hint(report.missing, report.unexpected)
    parts.append(hint or "Choose the model the weights belong to, or load what fits with --partial (partial=True).")
    return "\n".join(parts)


def _listed(what: str, entries: Iterable[str]) -> List[str]:
    lines = [f"    {entry}" for entry in entries]
    if not lines:
        return []
    more = [f"    and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [f"  {what} ({len(lines)}):", *lines[:_SHOWN], *more]


def _prefix_hint(missing: Mapping[str, str], unexpected: Mapping[str, str]) -> str:
    """A hint where all names differ by one prefix alone, as those of a wrapped model do."""
    for longer, shorter, what in ((unexpected, missing, "carry"), (missing, unexpected, "lack")):
        first = min(shorter, default="")
        prefixes = {name[: -len(first)] for name in longer if first and name.endswith(f".{first}")}
        for prefix in prefixes:
            if {prefix + name for name in shorter} == set(longer):
                return f"Its names {what} the prefix {prefix!r}: load into the layer they were saved from, or rename."
    return ""
