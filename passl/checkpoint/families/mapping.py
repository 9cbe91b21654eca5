"""The rules of a family applied to weights, both ways, strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from passl.checkpoint.dtypes import as_array
from passl.checkpoint.families.rules import Family, Layout, Numbers, Rule, filled
from passl.utils.errors import UserError
from passl.utils.logging import get_logger
from passl.utils.registry import nearest

# What messages call a part of a model that not every family has, by one of its names.
_PARTS = {
    "text.norm_embedding.weight": "a BERT text tower",
    "visual.attn_pool.latent": "an image tower with attention pooling",
    "visual.pooler.weight": "an image tower with a pooler",
    "visual.layer1.0.conv1.weight": "a ResNet",
    "text.projection_bias": "a bias of the text projection",
    "logit_bias": "a bias of the logits",
}


@dataclass(frozen=True)
class _Fit:
    """How names fit a layout.

    Attributes:
        layout: the layout.
        found: the names for each rule and its numbers, in the rule's order; None where one is not there.
        unknown: names that no rule fits.
        missing: rules, with numbers, that a model of this layout always has, and that are not or not fully there.
    """

    layout: Layout
    found: Dict[Tuple[Rule, Numbers], List[Optional[str]]]
    unknown: List[str]
    missing: List[Tuple[Rule, Numbers]]


def to_ours(family: Family, named: Mapping[str, Any]) -> Tuple[Dict[str, np.ndarray], List[str]]:
    """Weights of a family under our names, views of the given arrays; and the names of harmless buffers that were dropped.

    Raises:
        UserError: names that the family does not have, or an array of another form.
    """
    if family.layouts is None:
        return {name: as_array(value, name) for name, value in named.items()}, []
    fit, dropped = _closest(family, named)
    if fit.unknown:
        raise UserError(
            f"these weights look like {family.title}, but it has no such names: {listed(fit.unknown)}. "
            "They belong to another model or to a later version; nothing was loaded"
        )
    converted: Dict[str, np.ndarray] = {}
    for (rule, numbers), (name,) in fit.found.items():
        assert name is not None
        array = as_array(named[name], name)
        parts = rule.change.to_ours(array)
        if parts is None:
            raise UserError(f"{name} has the shape {list(array.shape)}; {family.title} has {rule.change.form}")
        converted.update(zip((filled(ours, numbers) for ours in rule.ours), parts))
    never_saved = [name for name in fit.layout.never_saved if name not in converted]
    if never_saved:
        get_logger().warning(
            "%s never has %s, so a strict load will miss them; with --partial the model keeps fresh ones, which have to "
            "be trained",
            family.title,
            listed(never_saved),
        )
    return converted, list(dropped)


def to_theirs(family: Family, arrays: Mapping[str, np.ndarray], layout: Optional[str]) -> Dict[str, np.ndarray]:
    """Weights under our names in a family's layout; views, but for what the family keeps in one array.

    Raises:
        UserError: a model that the family, or the layout of this name, cannot hold.
    """
    if family.layouts is None:
        return dict(arrays)
    fit = _holding(family, arrays, layout)
    converted: Dict[str, np.ndarray] = {}
    for (rule, numbers), names in fit.found.items():
        parts = [arrays[name] for name in names if name is not None]
        if len({part.shape for part in parts}) > 1:
            shapes = ", ".join(f"{name} {list(part.shape)}" for name, part in zip(names, parts))
            raise UserError(f"{family.title} joins arrays of one shape, not {shapes}")
        converted[filled(rule.theirs, numbers)] = rule.change.to_theirs(parts)
    return converted


def misfit(family: Family, names: Iterable[str]) -> Tuple[int, int]:
    """How many names the family does not have, and how many more a whole model of it would have."""
    fit, _ = _closest(family, names)
    return len(fit.unknown), len(fit.missing)


def layout_name(family: Family, arrays: Mapping[str, np.ndarray]) -> str:
    """The class of the family's library that holds these weights (our names); see `to_theirs`."""
    return _holding(family, arrays, None).layout.name


def listed(names: Sequence[str]) -> str:
    """The first ten names, and how many there are beyond."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _closest(family: Family, names: Iterable[str]) -> Tuple[_Fit, List[str]]:
    """The layout that names of a family fit best, and the names that were left out as harmless."""
    harmless = re.compile("|".join(family.harmless) or r"(?!)")
    dropped: List[str] = []
    kept: List[str] = []
    for name in names:
        (dropped if harmless.fullmatch(name) else kept).append(name)
    fits = (_fit(layout, kept, reads_theirs=True) for layout in family.layouts or ())
    return min(fits, key=lambda fit: (len(fit.unknown), len(fit.missing))), dropped


def _holding(family: Family, arrays: Mapping[str, np.ndarray], layout: Optional[str]) -> _Fit:
    """The first layout that can hold the weights. Raises `UserError` with the reason if there is none."""
    written = [entry for entry in family.layouts or () if entry.is_written]
    chosen = [entry for entry in written if layout in (None, entry.name)]
    if not chosen:
        names = list(dict.fromkeys(entry.name for entry in written))
        raise UserError(
            f"{family.title} has no layout {layout!r}.{nearest(str(layout), names)} Accepted: {', '.join(names)}"
        )
    fits = [_fit(entry, arrays, reads_theirs=False) for entry in chosen]
    best = min(fits, key=lambda fit: len(fit.unknown) + len(fit.missing))
    reasons = []
    if best.unknown:
        parts = [words for name, words in _PARTS.items() if name in best.unknown]
        reasons.append(f"it has no place for {' and '.join([*parts, ''])}{listed(best.unknown)}")
    if best.missing:
        lacking = [name for entry in best.missing for name in _lacking(best, *entry)]
        theirs = [filled(rule.theirs, numbers) for rule, numbers in best.missing]
        reasons.append(f"its {best.layout.name} always has {listed(theirs)}, made of {listed(lacking)}, not there here")
    if reasons:
        raise UserError(f"{family.title} cannot hold this model: {'; '.join(reasons)}")
    return best


def _lacking(fit: _Fit, rule: Rule, numbers: Numbers) -> List[str]:
    """Our names of a rule that are not there."""
    found = fit.found.get((rule, numbers), [None] * len(rule.ours))
    return [filled(ours, numbers) for ours, name in zip(rule.ours, found) if name is None]


def _fit(layout: Layout, names: Iterable[str], reads_theirs: bool) -> _Fit:
    index = layout.by_theirs if reads_theirs else layout.by_ours
    found: Dict[Tuple[Rule, Numbers], List[Optional[str]]] = {}
    unknown = []
    numbers_of: Dict[str, Dict[Numbers, None]] = {"": {(): None}}
    for name in names:
        match = index.find(name)
        if match is None:
            unknown.append(name)
            continue
        rule, place, numbers = match
        entry = found.setdefault((rule, numbers), [None] * (1 if reads_theirs else len(rule.ours)))
        entry[place] = name
        numbers_of.setdefault(rule.stem, {})[numbers] = None
    missing = [
        (rule, numbers)
        for rule in layout.rules
        for numbers in numbers_of.get(rule.stem, ())
        if None in found.get((rule, numbers), [] if rule.is_optional else [None])
    ]
    return _Fit(layout, found, unknown, missing)
