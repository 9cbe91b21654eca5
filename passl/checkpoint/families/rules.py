"""What the layout of a family of checkpoints is written down with: rules, as data.

A rule says what one array of a family becomes in ours: its names, and how the array changes on the way. `{i}` and `{j}`
in names stand for numbers. A rule with several names of ours splits the array. Rules are read in both directions. A
layout is the rules for one class of the family's library; a family has one layout per class, or per kind of tower.

To ours, arrays are never copied: what changes is a view. Back, only what the family keeps in one array is joined.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Pattern, Sequence, Tuple

import numpy as np

Numbers = Tuple[str, ...]


class Change(NamedTuple):
    """How an array changes: from the family's form to ours (one array per name of ours), and back.

    `to_ours` returns None where the array does not have the family's form, which `form` says in words.
    """

    to_ours: Callable[[np.ndarray], Optional[Sequence[np.ndarray]]]
    to_theirs: Callable[[Sequence[np.ndarray]], np.ndarray]
    form: str


def joined(count: int, axis: int, form: str, transpose: bool = False) -> Change:
    """`count` arrays of ours in one of theirs, one after the other along `axis`."""

    def to_ours(array: np.ndarray) -> Optional[List[np.ndarray]]:
        if array.ndim == 0 or array.shape[axis] % count:
            return None
        parts = np.split(array, count, axis=axis)
        return [part.T for part in parts] if transpose else parts

    def to_theirs(arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([array.T for array in arrays] if transpose else arrays, axis=axis)

    return Change(to_ours, to_theirs, form)


def after_ones(count: int, ndim: int, form: str) -> Change:
    """An array of `ndim` axes after `count` more of length 1, which ours lacks."""
    ones = (1,) * count

    def to_ours(array: np.ndarray) -> Optional[List[np.ndarray]]:
        fits = array.ndim == count + ndim and array.shape[:count] == ones
        return [array.reshape(array.shape[count:])] if fits else None

    return Change(to_ours, lambda arrays: arrays[0].reshape(ones + arrays[0].shape), form)


def _number(shape: Tuple[int, ...], form: str) -> Change:
    return Change(
        lambda array: [array.reshape(())] if array.size == 1 else None, lambda arrays: arrays[0].reshape(shape), form
    )


def _checked(ndim: int, form: str) -> Change:
    return Change(lambda array: [array] if array.ndim == ndim else None, lambda arrays: arrays[0], form)


KEEP = Change(lambda array: [array], lambda arrays: arrays[0], "any")
TRANSPOSED = Change(lambda array: [array.T] if array.ndim == 2 else None, lambda arrays: arrays[0].T, "[out, in]")
NUMBER = _number((), "a single number")
NUMBER_IN_VECTOR = _number((1,), "[1]")
ONE_VECTOR = after_ones(2, 1, "[1, 1, D]")
ONE_MATRIX = after_ones(1, 2, "[1, N, D]")
PATCHES = _checked(
    4, "[D, 3, P, P] (a matrix there belongs to models for any image size, as SigLIP2's, which are not supported yet)"
)
MATRIX = _checked(2, "[D, E]")


@dataclass(frozen=True)
class Rule:
    """One array of a family.

    Attributes:
        theirs: the pattern of its name.
        ours: the patterns of what it becomes.
        change: how the array changes.
        is_optional: whether a model of this layout can lack it.
    """

    theirs: str
    ours: Tuple[str, ...]
    change: Change = KEEP
    is_optional: bool = False

    @property
    def stem(self) -> str:
        """Our pattern up to its last number: rules with the same stem have the same numbers in a model."""
        return self.ours[0][: self.ours[0].rfind("}") + 1]


Rules = Tuple[Rule, ...]


@dataclass(frozen=True)
class Layout:
    """The rules for one class of a family's library.

    Attributes:
        name: the class.
        rules: all arrays it can have.
        is_written: whether weights are written so; the others are only read, in the names of other versions.
        never_saved: names of ours that files of this layout lack, although the model has them.
    """

    name: str
    rules: Rules
    is_written: bool = True
    never_saved: Tuple[str, ...] = ()

    @functools.cached_property
    def by_theirs(self) -> _Index:
        """Finds the rule that a name of theirs fits."""
        return _Index((rule.theirs, (rule, 0)) for rule in self.rules)

    @functools.cached_property
    def by_ours(self) -> _Index:
        """Finds the rule that a name of ours fits, and its place in the rule."""
        return _Index((name, (rule, place)) for rule in self.rules for place, name in enumerate(rule.ours))


@dataclass(frozen=True)
class Family:
    """Checkpoints of one origin.

    Attributes:
        title: how messages call it.
        marks: patterns that only names of this family start with; none if its names are those of `twin`.
        layouts: one per class; the first that can hold a model is written. None: names stay as they are.
        harmless: patterns of whole names that carry nothing of a model; dropped when read.
        activation: what its models use, where the origin implies that.
        prefix: what files of this family put before every name.
        twin: the family that has the same names for the same models; what only one of the two can hold tells them apart.
    """

    title: str
    marks: Tuple[str, ...] = ()
    layouts: Optional[Tuple[Layout, ...]] = None
    harmless: Tuple[str, ...] = ()
    activation: Optional[str] = None
    prefix: str = ""
    twin: Optional[str] = None


def array(theirs: str, ours: str, change: Change = KEEP, optional: bool = False) -> Rules:
    """One array under one name."""
    return (Rule(theirs, (ours,), change, optional),)


def norm(theirs: str, ours: str, optional: bool = False) -> Rules:
    """Weight and bias as they are: norms."""
    return tuple(Rule(f"{theirs}.{part}", (f"{ours}.{part}",), KEEP, optional) for part in ("weight", "bias"))


def linear(
    theirs: str, ours: str, transpose: bool = True, optional: bool = False, optional_bias: bool = False
) -> Rules:
    """Weight [out, in] (ours is [in, out]) and bias; `transpose` is off where theirs is [in, out] too."""
    weight = Rule(f"{theirs}.weight", (f"{ours}.weight",), TRANSPOSED if transpose else KEEP, optional)
    return weight, Rule(f"{theirs}.bias", (f"{ours}.bias",), KEEP, optional or optional_bias)


def patches(
    theirs: str, ours: str = "visual.patch_embed.proj", optional_bias: bool = False, bias: bool = True
) -> Rules:
    """The projection of an image's squares, a convolution."""
    weight = Rule(f"{theirs}.weight", (f"{ours}.weight",), PATCHES)
    return (weight, Rule(f"{theirs}.bias", (f"{ours}.bias",), KEEP, optional_bias)) if bias else (weight,)


def fused(weight: str, bias: str, ours: str, parts: str = "qkv") -> Rules:
    """Projections to queries, keys and values in one matrix [n · D, D], and their biases [n · D]."""
    n = len(parts)
    weights, biases = (tuple(f"{ours}.{part}_proj.{kind}" for part in parts) for kind in ("weight", "bias"))
    return (
        Rule(weight, weights, joined(n, 0, f"[{n}D, D]", transpose=True)),
        Rule(bias, biases, joined(n, 0, f"[{n}D]")),
    )


class _Index:
    """Finds patterns by the names they fit: first by everything but the numbers, then by the pattern itself."""

    def __init__(self, entries: Iterable[Tuple[str, Tuple[Rule, int]]]) -> None:
        self._entries: Dict[str, List[Tuple[Pattern[str], Tuple[Rule, int]]]] = {}
        for template, entry in entries:
            self._entries.setdefault(_without_numbers(template), []).append((_pattern(template), entry))

    def find(self, name: str) -> Optional[Tuple[Rule, int, Numbers]]:
        """The rule that fits `name`, the place among its names, and the numbers in it; None without one."""
        for pattern, (rule, place) in self._entries.get(_without_numbers(name), ()):
            match = pattern.fullmatch(name)
            if match:
                return rule, place, match.groups()
        return None


def filled(template: str, numbers: Numbers) -> str:
    """The name that `template` stands for with these numbers."""
    return template.format(**dict(zip("ij", numbers)))


def _without_numbers(name: str) -> str:
    return re.sub(r"\{[ij]\}|\d+", "#", name)


def _pattern(template: str) -> Pattern[str]:
    return re.compile(re.sub(r"\\\{[ij]\\\}", r"(\\d+)", re.escape(template)))
