"""Which family names belong to: prefixes taken off, models that are not supported yet named, marks compared."""

from __future__ import annotations

import re
from typing import Any, Collection, List, Mapping, Optional, Tuple

from passl.checkpoint.families.mapping import listed, misfit
from passl.checkpoint.families.rules import Family
from passl.utils.errors import UserError
from passl.utils.registry import nearest

# Prefixes that wrappers put before every name, and what a compiled module puts in the middle too.
_WRAPPERS = ("module.", "model.")
_COMPILED = re.compile(r"(?<![^.])_orig_mod\.")

# Models that are told by a name but not converted yet.
_UNSUPPORTED = (
    (r"text_decoder\.(resblocks|cross_attn)\.|text\.cls_emb$|visual\.attn_pool\.(query|attn|ln_[qk])\b", "CoCa"),
    (r"visual\.trunk\.embeds\.", "SigLIP2 for images of any size (NaFlex)"),
    (
        r"visual\.(cls_token$|(trunk\.)?(rope\.|blocks\.\d+\.(attn\.q_bias$|mlp\.fc1_g\.)))|visual\.blocks\.\d+\.mlp\.w\d\.",
        "EVA-CLIP",
    ),
    (r"visual\.trunk\.stages\.\d+\.blocks\.\d+\.conv_dw\.", "a model with a ConvNeXt"),
    (
        r"visual\.trunk\.(stem\.|stages\.|patch_embed\.backbone\.\d)|image_encoder\.model\.",
        "MobileCLIP or another model with convolutions",
    ),
    (r"visual\.trunk\.patch_embed\.backbone\.", "ViTamin"),
    (
        r"visual\.trunk\.(cls_token$|norm_pre\.)",
        "PE, MobileCLIP2-L or another model with such an image tower of timm's",
    ),
    (r"visual\.trunk\.layers\.", "a model with a Swin transformer"),
    (r"visual\.(head\.|trunk\.(fc_norm|conv1|layer\d)\.)", "a model with another image tower of timm's"),
    (r"(text\.transformer|text_model\.encoder)\.block\.\d+\.", "a model with mT5's text tower"),
    (r"text\.transformer\.layers\.\d+\.", "a model with NLLB's or ModernBERT's text tower"),
)


def unwrapped(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entries without what training wraps around names: an outer `state_dict`, `module.`, `_orig_mod.`, `model.`."""
    if isinstance(arrays.get("state_dict"), Mapping):
        arrays = arrays["state_dict"]
    named = {_COMPILED.sub("", name): value for name, value in arrays.items()}
    if len(named) < len(arrays):
        raise UserError(
            "the weights have names with and without `_orig_mod.` that are otherwise equal; keep one of each"
        )
    while named:
        wrapper = next((prefix for prefix in _WRAPPERS if all(name.startswith(prefix) for name in named)), None)
        if wrapper is None:
            break
        named = {name[len(wrapper) :]: value for name, value in named.items()}
    return named


def known_family(families: Mapping[str, Family], name: str) -> Family:
    """The family of this name. Raises `UserError` with the nearest name if there is none."""
    if name not in families:
        raise UserError(f"there is no family {name!r}.{nearest(name, families)} Accepted: {', '.join(families)}")
    return families[name]


def recognise(families: Mapping[str, Family], names: Collection[str], said: Optional[str]) -> Tuple[str, bool]:
    """The family that names belong to, and whether that is certain.

    Args:
        families: all of them, by name.
        names: the weights' own, without what wraps them.
        said: the family that the user says; it is checked.

    Raises:
        UserError: names of no family or of two, of a model that is not supported yet, or of another family than said.
    """
    if said is not None:
        known_family(families, said)
    _refuse_unsupported(names)
    marked = {
        family: found
        for family, entry in families.items()
        for found in [_first_match(entry.marks, names)]
        if found is not None
    }
    if len(marked) > 1:
        both = " and ".join(f"{families[family].title} ({name})" for family, name in marked.items())
        raise UserError(f"these weights mix {both}; take the file as it was written")
    if not marked and said is None:
        known = ", ".join(entry.title for entry in families.values())
        raise UserError(f"the layout of these weights is not known: {listed(list(names))}. Known: {known}")
    if not marked and said is not None:
        return said, True
    found, is_certain = _settled(families, next(iter(marked)), names)
    if said is None or said == found or (said == "passl" and found == "passl-2021"):
        return found, is_certain or said is not None
    if not is_certain and said in _twins(families, found):
        return said, True
    raise UserError(
        f"these weights look like {families[found].title} ({listed(list(names)[:3])}), not like "
        f"{families[said].title}; say {found}, or leave the family out"
    )


def _settled(families: Mapping[str, Family], family: str, names: Collection[str]) -> Tuple[str, bool]:
    """Of `family` and those with the same names, the one that names fit best; certain unless others fit as well."""
    twins = _twins(families, family)
    if not twins:
        return family, True
    misfits = {entry: misfit(families[entry], names) for entry in (family, *twins)}
    least = min(misfits.values())
    closest = [entry for entry in misfits if misfits[entry] == least]
    return closest[0], len(closest) == 1


def _twins(families: Mapping[str, Family], family: str) -> List[str]:
    return [name for name, entry in families.items() if entry.twin == family]


def _first_match(patterns: Collection[str], names: Collection[str]) -> Optional[str]:
    """The first name that starts as one of the patterns; None without one."""
    pattern = re.compile("|".join(f"(?:{entry})" for entry in patterns) or r"(?!)")
    return next((name for name in names if pattern.match(name)), None)


def _refuse_unsupported(names: Collection[str]) -> None:
    for pattern, what in _UNSUPPORTED:
        found = _first_match([pattern], names)
        if found is not None:
            raise UserError(f"these weights look like {what} ({found}), which is not supported yet")
