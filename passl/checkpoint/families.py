"""Names and shapes of CLIP weights in other layouts, to and from ours, as data: one table of rules per family.

A rule says what one name in the family's layout becomes in ours. `{i}`, `{j}`, `{k}` stand for numbers, `{p}` for
weight or bias, `{s}` also for the running statistics of a batch norm. A rule with several names of ours splits the
array. Rules are read in both directions, and strictly: a name that no rule fits stops the conversion.

PASSL (2021, `ViT-B-32.pdparams`): fused query, key and value [D, 3D]; image embeddings with leading ones [1, 1, D] and
[1, N, D]; the temperature as [1]; text tower at top level; names below `model.` in a file {"state_dict": ...}. Its
ResNets lack the positions of the attention pool, which PASSL never saved. Its models use QuickGELU.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Pattern, Sequence, Tuple

import numpy as np

from passl.checkpoint.dtypes import as_array
from passl.utils.errors import UserError
from passl.utils.logging import get_logger


class _Change(NamedTuple):
    """How an array changes: from the family's form to ours (one array per name of ours), and back.

    `to_ours` returns None where the array does not have the family's form, which `form` says in words.
    """

    to_ours: Callable[[np.ndarray], Optional[Sequence[np.ndarray]]]
    to_theirs: Callable[[Sequence[np.ndarray]], np.ndarray]
    form: str


def _after_ones(count: int, form: str) -> _Change:
    """An array of three axes whose first `count` have the length 1, which ours lacks."""
    ones = (1,) * count

    def to_ours(array: np.ndarray) -> Optional[List[np.ndarray]]:
        fits = array.ndim == 3 and array.shape[:count] == ones
        return [array.reshape(array.shape[count:])] if fits else None

    return _Change(to_ours, lambda arrays: arrays[0].reshape(ones + arrays[0].shape), form)


def _thirds(array: np.ndarray) -> Optional[List[np.ndarray]]:
    if array.ndim == 0 or array.shape[-1] % 3:
        return None
    return [np.ascontiguousarray(part) for part in np.split(array, 3, axis=-1)]


_KEEP = _Change(lambda array: [array], lambda arrays: arrays[0], "any")
_FUSED = _Change(_thirds, lambda arrays: np.concatenate(arrays, axis=-1), "[..., 3D]")
_SCALAR = _Change(
    lambda array: [array.reshape(())] if array.size == 1 else None,
    lambda arrays: arrays[0].reshape(1),
    "[1]",
)
_ONE_VECTOR = _after_ones(2, "[1, 1, D]")
_ONE_MATRIX = _after_ones(1, "[1, N, D]")

_PLACEHOLDERS = {
    **dict.fromkeys("ijk", r"\d+"),
    "p": "weight|bias",
    "s": "weight|bias|_mean|_variance",
    "any": ".+",
}


@dataclass(frozen=True)
class Rule:
    """One name pattern of a family, what it becomes in ours, and how the array changes on the way."""

    theirs: str
    ours: Tuple[str, ...]
    change: _Change = _KEEP


@dataclass(frozen=True)
class Family:
    """A layout of CLIP weights.

    Attributes:
        title: how messages call it.
        marks: patterns that only names of this layout match.
        rules: how to convert it; None while it is only recognised.
        activation: what its models use, where the layout implies that.
    """

    title: str
    marks: Tuple[str, ...]
    rules: Optional[Tuple[Rule, ...]] = None
    activation: Optional[str] = None


def _passl_blocks(theirs: str, ours: str) -> List[Rule]:
    qkv = tuple(f"{ours}.blocks.{{i}}.attn.{part}_proj.{{p}}" for part in "qkv")
    same = ("norm1", "norm2", "mlp.fc1", "mlp.fc2")
    return [
        *(Rule(f"{theirs}.blocks.{{i}}.{name}.{{p}}", (f"{ours}.blocks.{{i}}.{name}.{{p}}",)) for name in same),
        Rule(f"{theirs}.blocks.{{i}}.attn.qkv.{{p}}", qkv, _FUSED),
        Rule(f"{theirs}.blocks.{{i}}.attn.proj.{{p}}", (f"{ours}.blocks.{{i}}.attn.out_proj.{{p}}",)),
    ]


def _unchanged(*names: str) -> List[Rule]:
    return [Rule(name, (name,)) for name in names]


_PASSL_VIT = [
    *_unchanged("visual.patch_embed.proj.{p}", "visual.norm_pre.{p}", "visual.norm_post.{p}", "visual.proj"),
    Rule("visual.class_embedding", ("visual.class_embedding",), _ONE_VECTOR),
    Rule("visual.positional_embedding", ("visual.positional_embedding",), _ONE_MATRIX),
    *_passl_blocks("visual", "visual"),
]
_PASSL_RESNET = [
    *_unchanged("visual.conv{k}.weight", "visual.bn{k}.{s}"),
    *_unchanged("visual.layer{i}.{j}.conv{k}.weight", "visual.layer{i}.{j}.bn{k}.{s}"),
    Rule("visual.layer{i}.{j}.downsample.0.weight", ("visual.layer{i}.{j}.downsample.conv.weight",)),
    Rule("visual.layer{i}.{j}.downsample.1.{s}", ("visual.layer{i}.{j}.downsample.bn.{s}",)),
    *_unchanged(*(f"visual.attnpool.{part}_proj.{{p}}" for part in "qkv"), "visual.attnpool.positional_embedding"),
    Rule("visual.attnpool.out_proj.{p}", ("visual.attnpool.c_proj.{p}",)),
]
_PASSL_TEXT = [
    Rule("token_embedding.weight", ("text.token_embedding.weight",)),
    Rule("positional_embedding", ("text.positional_embedding",)),
    *_passl_blocks("transformer", "text"),
    Rule("ln_final.{p}", ("text.norm_final.{p}",)),
    Rule("text_projection", ("text.projection",)),
]

FAMILIES: Dict[str, Family] = {
    "ours": Family(
        "passl's own layout",
        marks=(r"text\.blocks\.\d+\.", r"visual\.blocks\.\d+\.attn\.q_proj\."),
        rules=(Rule("{any}", ("{any}",)),),
    ),
    "passl": Family(
        "the layout of PASSL (2021)",
        marks=(r"transformer\.blocks\.\d+\.", r"visual\.blocks\.\d+\.attn\.qkv\."),
        rules=(Rule("logit_scale", ("logit_scale",), _SCALAR), *_PASSL_VIT, *_PASSL_RESNET, *_PASSL_TEXT),
        activation="quick_gelu",
    ),
    "openai": Family(
        "the layout of OpenAI and open_clip",
        marks=(r"(visual\.|text\.|module\.)*transformer\.resblocks\.\d+\.", r"visual\.trunk\."),
    ),
    "huggingface": Family(
        "the layout of Hugging Face's CLIPModel",
        marks=(r"(text|vision)_model\.",),
    ),
}


def from_family(arrays: Mapping[str, Any]) -> Tuple[Dict[str, np.ndarray], str]:
    """Weights of any readable family under our names, and the name of the family.

    Args:
        arrays: arrays or tensors by name; also {"state_dict": such a mapping}, and with a prefix `model.` throughout.

    Raises:
        UserError: a layout that is not known or not yet read, a name that no rule fits, or an array of another form.
    """
    named = _unwrapped(arrays)
    family = _recognise(named)
    rules = FAMILIES[family].rules
    if rules is None:
        raise UserError(
            f"these weights look like {FAMILIES[family].title} ({_first(named)}); its conversion comes with "
            f"`passl convert`. Read now: {', '.join(entry.title for entry in FAMILIES.values() if entry.rules)}"
        )
    converted: Dict[str, np.ndarray] = {}
    unknown = []
    for name, value in named.items():
        found = _first_match(rules, name)
        if found is None:
            unknown.append(name)
            continue
        rule, fills = found
        array = as_array(value, name)
        parts = rule.change.to_ours(array)
        if parts is None:
            raise UserError(
                f"{name} has the shape {list(array.shape)}; {FAMILIES[family].title} has {rule.change.form}"
            )
        for target, part in zip(rule.ours, parts):
            converted[target.format(**fills)] = part
    if unknown:
        raise UserError(
            f"these weights look like {FAMILIES[family].title}, but it has no such names: {_first(unknown)}. "
            "They belong to another model or to a later version; nothing was loaded"
        )
    if family == "passl" and "visual.attnpool.c_proj.weight" in converted:
        _warn_without_positions(converted)
    return converted, family


def to_passl(arrays: Mapping[str, np.ndarray], prefix: str = "model.") -> Dict[str, np.ndarray]:
    """Weights under our names in PASSL's layout; `paddle.save({"state_dict": ...})` of it is a file as PASSL's were.

    Raises:
        UserError: a name that PASSL's layout has no place for.
    """
    left = dict(arrays)
    converted: Dict[str, np.ndarray] = {}
    for rule in FAMILIES["passl"].rules or ():
        for name in list(left):
            fills = _match(rule.ours[0], name)
            if fills is None or name not in left:
                continue
            names = [target.format(**fills) for target in rule.ours]
            missing = [target for target in names if target not in left]
            if missing:
                raise UserError(f"{name} is there, but {', '.join(missing)} is not; PASSL's layout joins them")
            parts = [left.pop(target) for target in names]
            converted[prefix + rule.theirs.format(**fills)] = rule.change.to_theirs(parts)
    if left:
        raise UserError(f"PASSL's layout has no place for {_first(left)}")
    return converted


def implied_activation(family: str) -> Optional[str]:
    """The activation that weights of this family were trained with; None where the layout says nothing about it."""
    return FAMILIES[family].activation


def _unwrapped(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(arrays.get("state_dict"), Mapping):
        arrays = arrays["state_dict"]
    if arrays and all(name.startswith("model.") for name in arrays):
        return {name[len("model.") :]: value for name, value in arrays.items()}
    return arrays


def _recognise(named: Mapping[str, Any]) -> str:
    """The one family whose marks the names carry."""
    marked: Dict[str, str] = {}
    for family, entry in FAMILIES.items():
        pattern = re.compile("|".join(f"(?:{mark})" for mark in entry.marks))
        name = next((name for name in named if pattern.match(name)), None)
        if name is not None:
            marked[family] = name
    if len(marked) == 1:
        return next(iter(marked))
    known = ", ".join(entry.title for entry in FAMILIES.values())
    if not marked:
        raise UserError(f"the layout of these weights is not known: {_first(named)}. Known: {known}")
    both = " and ".join(f"{FAMILIES[family].title} ({name})" for family, name in marked.items())
    raise UserError(f"these weights mix {both}; take the file as it was written")


def _first_match(rules: Sequence[Rule], name: str) -> Optional[Tuple[Rule, Dict[str, str]]]:
    for rule in rules:
        fills = _match(rule.theirs, name)
        if fills is not None:
            return rule, fills
    return None


def _match(template: str, name: str) -> Optional[Dict[str, str]]:
    """What stands at the placeholders of `template` in `name`; None if it is another name."""
    match = _pattern(template).fullmatch(name)
    return match.groupdict() if match else None


@functools.cache
def _pattern(template: str) -> Pattern[str]:
    text = re.escape(template)
    for placeholder, pattern in _PLACEHOLDERS.items():
        text = text.replace(re.escape(f"{{{placeholder}}}"), f"(?P<{placeholder}>{pattern})")
    return re.compile(text)


def _first(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _warn_without_positions(converted: Mapping[str, np.ndarray]) -> None:
    if "visual.attnpool.positional_embedding" not in converted:
        get_logger().warning(
            "PASSL never saved the positions of a ResNet's attention pool (visual.attnpool.positional_embedding), so a "
            "strict load will miss them; with --partial the model keeps fresh ones, which have to be trained"
        )
