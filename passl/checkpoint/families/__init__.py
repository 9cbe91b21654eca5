"""Families of checkpoints: whose names and shapes weights have, and what these become in ours, both ways.

A family is a file here: its layouts as tables of rules (`rules.py` says what they are made of, `mapping.py` applies them,
`recognition.py` tells families apart). A new one is such a file and a line in `FAMILIES`.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from passl.checkpoint.families import huggingface, mapping, open_clip, openai, paddlemix, passl, passl_2021
from passl.checkpoint.families.recognition import known_family, recognise, unwrapped
from passl.checkpoint.families.rules import Family

FAMILIES: Dict[str, Family] = {
    "passl": passl.FAMILY,
    "passl-2021": passl_2021.FAMILY,
    "openai": openai.FAMILY,
    "open_clip": open_clip.FAMILY,
    "huggingface": huggingface.FAMILY,
    "paddlemix": paddlemix.FAMILY,
}


class Recognised(NamedTuple):
    """Weights under our names, and where they come from.

    Attributes:
        arrays: views of the given ones, in their number format.
        family: whose layout they had.
        is_certain: False where the weights may as well be another family's (OpenAI's and open_clip's names are the same
            for the same model, but for three numbers in OpenAI's archives); then `family` is the one that implies less.
        dropped: names of buffers that hold nothing learned, which were left out.
    """

    arrays: Dict[str, np.ndarray]
    family: str
    is_certain: bool
    dropped: Tuple[str, ...]


def from_family(arrays: Mapping[str, Any], family: Optional[str] = None) -> Recognised:
    """Weights of any family under our names.

    Args:
        arrays: arrays or tensors by name; also {"state_dict": such a mapping}, and with what training puts before names
            (`model.`, `module.`, `_orig_mod.`).
        family: whose they are; recognised from the names unless given. "passl" takes PASSL's layout of 2021 too.

    Raises:
        UserError: a family that is not known, not the one said or not supported yet, a name that it does not have, or an
            array of another form.
    """
    named = unwrapped(arrays)
    found, is_certain = recognise(FAMILIES, named, family)
    converted, dropped = mapping.to_ours(FAMILIES[found], named)
    return Recognised(converted, found, is_certain, tuple(dropped))


def to_family(
    arrays: Mapping[str, np.ndarray], family: str, layout: Optional[str] = None, prefix: Optional[str] = None
) -> Dict[str, np.ndarray]:
    """Weights under our names in the layout of a family, exactly the arrays that its library loads strictly.

    Args:
        arrays: under our names.
        family: a name in `FAMILIES`.
        layout: the class to write for, such as "CustomTextCLIP"; unless given, the first that can hold the weights.
        prefix: put before every name; unless given, the one that the family's files have.

    Returns:
        views of the given arrays, not contiguous where they are transposed; new are only those that the family keeps in
        one array (queries, keys and values).

    Raises:
        UserError: a model that the family cannot hold, with the reason.
    """
    entry = known_family(FAMILIES, family)
    prefix = entry.prefix if prefix is None else prefix
    return {prefix + name: array for name, array in mapping.to_theirs(entry, arrays, layout).items()}


def layout_name(arrays: Mapping[str, np.ndarray], family: str) -> Optional[str]:
    """The class of a family's library that `to_family` writes these weights for ("CLIPModel"); None for our own.

    Raises:
        UserError: a model that the family cannot hold, with the reason.
    """
    entry = known_family(FAMILIES, family)
    return None if entry.layouts is None else mapping.layout_name(entry, arrays)


def implied_activation(family: str) -> Optional[str]:
    """The activation that weights of this family were trained with; None where the layout says nothing about it."""
    return known_family(FAMILIES, family).activation
