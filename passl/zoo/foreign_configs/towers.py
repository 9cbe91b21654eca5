"""Towers as nodes with every key said, and what of them another toolkit cannot express."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Tuple

from passl.utils.errors import UserError

# The values of a tower's keys that another toolkit's class can express; a tuple holds several.
Abilities = Mapping[str, Any]


def mlp_ratio(tower: Mapping[str, Any]) -> float:
    """The shortest decimal number r with int(width · r) units in the MLP of a tower's blocks."""
    width, hidden = tower["width"], tower["mlp_width"]
    for digits in range(1, 17):
        ratio = math.ceil(hidden / width * 10**digits) / 10**digits
        if int(width * ratio) == hidden:
            return ratio
    raise UserError(f"no ratio makes an MLP of {hidden} units from a width of {width}")


def lacking(tower: Optional[Mapping[str, Any]], title: str, abilities: Optional[Abilities]) -> Iterator[str]:
    """What of a tower a class with these abilities cannot express, in words: "image.layer_scale is 0.0001".

    Args:
        tower: the tower's node, or None for a tower that is missing.
        title: "image" or "text".
        abilities: the values that the class can express; None if it has no such tower.
    """
    if (tower is None) != (abilities is None):
        yield f"{title} is missing" if tower is None else f"{title} is there"
    if tower is None or abilities is None:
        return
    if tower["name"] != abilities["name"]:
        yield f"{title}.name is {tower['name']}"
        return
    for key, accepted in abilities.items():
        choices: Tuple[Any, ...] = accepted if isinstance(accepted, tuple) else (accepted,)
        if tower[key] not in choices:
            yield f"{title}.{key} is {tower[key]!r}"


def dual_encoder(
    embed_dim: int,
    image: Optional[Mapping[str, Any]],
    text: Optional[Mapping[str, Any]],
    init_logit_scale: float,
    init_logit_bias: Optional[float] = None,
) -> Dict[str, Any]:
    """The canonical node of two towers."""
    return {
        "name": "DualEncoder",
        "embed_dim": embed_dim,
        "image": image,
        "text": text,
        "init_logit_scale": init_logit_scale,
        "init_logit_bias": init_logit_bias,
    }


def vision_transformer(
    *,
    image_size: int,
    patch_size: int,
    width: int,
    num_layers: int,
    num_heads: int,
    mlp_width: int,
    activation: str,
    qkv_bias: bool,
    pre_norm: bool,
    class_token: bool,
    pool: str,
    proj: bool,
    patch_bias: bool,
    norm_epsilon: float,
    layer_scale: Optional[float],
    pooler: bool,
) -> Dict[str, Any]:
    """The node of a vision transformer, every key said."""
    return {"name": "VisionTransformer", **locals()}


def residual_network(
    *, image_size: int, layers: Sequence[int], width: int, num_heads: int, qkv_bias: bool
) -> Dict[str, Any]:
    """The node of a ResNet, every key said."""
    return {"name": "ModifiedResNet", **locals()}


def text_transformer(
    *,
    context_length: int,
    vocab_size: int,
    width: int,
    num_layers: int,
    num_heads: int,
    mlp_width: int,
    activation: str,
    qkv_bias: bool,
    is_causal: bool,
    pool: str,
    eos_id: Optional[int],
    proj: bool,
    proj_bias: bool,
    norm_epsilon: float,
    layer_scale: Optional[float],
) -> Dict[str, Any]:
    """The node of a text transformer, every key said."""
    return {"name": "TextTransformer", **locals()}


def bert_encoder(
    *,
    context_length: int,
    vocab_size: int,
    width: int,
    num_layers: int,
    num_heads: int,
    mlp_width: int,
    activation: str,
    num_positions: int,
    pad_id: int,
    position_offset: int,
    num_token_types: int,
    pool: str,
    proj: str,
    norm_epsilon: float,
) -> Dict[str, Any]:
    """The node of a BERT or RoBERTa, every key said."""
    return {"name": "BertEncoder", **locals()}
