"""Weights from anywhere, together with what is known about the model they belong to.

What a model computes is said, in this order, by the weights' own record (a model folder of ours, the header of a file of
ours), by another toolkit's config beside them, by the name the user gives, by the family where it fixes what shapes do
not show (OpenAI's archives and PASSL's files have QuickGELU), and by the shapes if just one named model has them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Collection, Dict, Iterator, Mapping, Optional, Sequence, Set, Tuple

import numpy as np
import paddle

from passl.checkpoint import from_family, implied_activation, read_weights
from passl.config import build
from passl.modeling.architectures import architecture_from_spec, shapes_of
from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.utils.registry import ARCHITECTURES
from passl.zoo.names import architecture_of
from passl.zoo.recognition import describe, names_of, openai_architecture
from passl.zoo.records import find_record

# Only what weights start from; once they are loaded it says nothing about what is computed.
_INITIAL = ("init_logit_scale", "init_logit_bias", "image.layer_scale", "text.layer_scale")


@dataclass(frozen=True)
class Checkpoint:
    """Weights under our names, and what is known of their model.

    Attributes:
        path: where they were found.
        family: the layout they were in.
        is_certain: whether the layout could be told from another one with the same names.
        arrays: the weights; some may be read-only maps of the file.
        dropped: names of buffers without learned numbers, which were left out.
        spec: what the model computes, where that is written beside the weights.
        recorded_in: the file that says so; empty without one.
        published_activation: what they were trained with, where their publisher says it.
    """

    path: str
    family: str
    is_certain: bool
    arrays: Dict[str, np.ndarray]
    dropped: Tuple[str, ...]
    spec: Optional[Dict[str, Any]]
    recorded_in: str
    published_activation: Optional[str] = None

    @property
    def shapes(self) -> Dict[str, Tuple[int, ...]]:
        """The shape of each array."""
        return {name: tuple(array.shape) for name, array in self.arrays.items()}

    @property
    def activation(self) -> Optional[str]:
        """The activation that is known without a record: the publisher's word, or what the layout implies."""
        return self.published_activation or (implied_activation(self.family) if self.is_certain else None)


@dataclass(frozen=True)
class _Checked:
    """Holds an architecture while it is checked as one in a config is."""

    architecture: Annotated[dict, ARCHITECTURES]


def checked_architecture(node: Mapping[str, Any]) -> Dict[str, Any]:
    """The `architecture` section with every key filled in. Raises `UserError` for what is unknown or mistyped."""
    return build(_Checked, {"architecture": dict(node)}).architecture


def spec_of(node: Mapping[str, Any]) -> Dict[str, Any]:
    """The specification of the model that an `architecture` section describes; nothing is allocated for it."""
    with paddle.LazyGuard():
        return ARCHITECTURES.build(checked_architecture(node)).spec


def read_checkpoint(path: PathLike, family: Optional[str] = None, activation: Optional[str] = None) -> Checkpoint:
    """Reads weights of any family and what is written beside them.

    Args:
        path: a weight file, a folder with weights, or a training checkpoint.
        family: the layout, where the user says it; else it is recognised from the names.
        activation: what they were trained with, where that was published.

    Raises:
        UserError: no such file, a damaged or malicious one, a layout that is not known or not the one said, or a config
            beside the weights that contradicts them.
    """
    source = os.fspath(path)
    recognised = from_family(read_weights(path), family)
    record = find_record(Path(path), recognised.family)
    spec, recorded_in = (None, "") if record is None else (canonical_spec(record[0]), record[1])
    checkpoint = Checkpoint(
        path=source,
        family=recognised.family,
        is_certain=recognised.is_certain,
        arrays=recognised.arrays,
        dropped=recognised.dropped,
        spec=spec,
        recorded_in=recorded_in,
        published_activation=activation,
    )
    _check_numbers(checkpoint)
    if spec is not None:
        _check_shapes(checkpoint, spec, f"the model of {recorded_in}")
    return checkpoint


def identify(checkpoint: Checkpoint, model: Optional[str] = None) -> Tuple[Dict[str, Any], str]:
    """The specification of the model that the weights belong to, and what says so.

    Args:
        checkpoint: the weights.
        model: its name, where the user gives it.

    Raises:
        UserError: a name that contradicts the weights or their record, or nothing that tells between several models.
    """
    if model is not None:
        spec = spec_of(architecture_of(model))
        _check_shapes(checkpoint, spec, f"the model {model}")
        refuse_other_activation(checkpoint, spec, f"the model {model}")
        refuse_differences(checkpoint, spec, f"the model {model}")
        return spec, f"the name {model}"
    if checkpoint.spec is not None:
        return checkpoint.spec, checkpoint.recorded_in
    names = names_of(checkpoint.shapes)
    if checkpoint.activation is not None:
        names = [name for name in names if _activations(architecture_of(name)) == {checkpoint.activation}]
    if len(names) == 1:
        return spec_of(architecture_of(names[0])), f"the shapes of {names[0]}"
    if checkpoint.activation is not None:
        node = openai_architecture(checkpoint.shapes)
        return spec_of(node), f"the shapes and the layout {checkpoint.family}"
    said = ", say where the weights come from (--from openai)" if checkpoint.family == "open_clip" else ""
    looks = f"fit {', '.join(names)}" if names else f"show {describe(checkpoint.shapes)}"
    raise UserError(
        f"{checkpoint.path}: nothing says which model these weights (layout {checkpoint.family}) belong to. Their shapes "
        f"{looks}, but not the activation, the heads or the preprocessing. Name the model (--model NAME; "
        f"names that end in -quickgelu have QuickGELU, as OpenAI's weights need it){said}, or put the config that was "
        "published with them beside them (config.json or open_clip_config.json)"
    )


def refuse_differences(
    checkpoint: Checkpoint, spec: Mapping[str, Any], what: str, besides: Collection[str] = ()
) -> None:
    """Raises `UserError` if the weights' record contradicts the specification of `what`.

    Args:
        checkpoint: the weights.
        spec: what is to be computed with them.
        what: has this specification; for messages.
        besides: keys that may differ.
    """
    differences = [entry for entry in differing(checkpoint.spec or {}, spec) if entry[0] not in besides]
    if differences:
        raise UserError(
            f"{checkpoint.path} belongs to a model that computes something else than {what} "
            f"(it says so in {checkpoint.recorded_in}):\n"
            + "\n".join(f"  {key}: {theirs!r} there, {ours!r} here" for key, theirs, ours in differences)
            + "\nBuild the model that the weights belong to"
        )


def refuse_other_activation(checkpoint: Checkpoint, spec: Mapping[str, Any], what: str) -> None:
    """Raises `UserError` if the weights are known to have been trained with another activation than `what` has.

    Shapes and names do not show it, so this holds also where only a part of the weights is taken over.
    """
    for tower in ("image", "text"):
        recorded = ((checkpoint.spec or {}).get("architecture", {}).get(tower) or {}).get("activation")
        theirs = checkpoint.published_activation or recorded or checkpoint.activation
        ours = (spec["architecture"][tower] or {}).get("activation")
        if None not in (theirs, ours) and theirs != ours:
            raise UserError(
                f"{checkpoint.path} (layout {checkpoint.family}) was trained with activation {theirs!r} and {what} has "
                f"{ours!r} ({tower} tower): it would run and give worse features. Take the model that the weights belong to "
                "(names that end in -quickgelu have 'quick_gelu', the others 'gelu')"
            )


def said_activation(spec: Mapping[str, Any]) -> str:
    """The activations of a model's towers in a word or two, for the line that every load prints."""
    return " and ".join(sorted(_activations(spec["architecture"]))) or "relu"


def _activations(architecture: Mapping[str, Any]) -> Set[str]:
    """The activations of the towers that have a choice; a ResNet has none."""
    filled = checked_architecture(architecture)
    return {tower["activation"] for tower in (filled["image"], filled["text"]) if tower and "activation" in tower}


def canonical_spec(spec: Mapping[str, Any]) -> Dict[str, Any]:
    """A recorded specification with every key filled in, in today's form."""
    return spec_of(architecture_from_spec(spec))


def _check_shapes(checkpoint: Checkpoint, spec: Mapping[str, Any], what: str) -> None:
    """Raises `UserError` unless the weights are exactly the arrays of the model that `spec` describes."""
    expected, found = shapes_of(spec["architecture"]), checkpoint.shapes
    if expected == found:
        return
    rows = [
        f"  {name}: {_said(expected.get(name))} in {what}, {_said(found.get(name))} in the weights"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]
    more = f"\n  and {len(rows) - 10} more" if len(rows) > 10 else ""
    raise UserError(
        f"{checkpoint.path} (layout {checkpoint.family}) does not fit {what}; it looks like {describe(found)}:\n"
        + "\n".join(rows[:10])
        + more
    )


def _check_numbers(checkpoint: Checkpoint) -> None:
    """Raises `UserError` for weights that are no floating-point numbers: quantised ones need their scales, for instance."""
    others = [f"{name} ({array.dtype.name})" for name, array in checkpoint.arrays.items() if array.dtype.kind != "f"]
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        raise UserError(
            f"{checkpoint.path}: weights are floating-point numbers, and these are not: {', '.join(others[:5])}{more}. "
            "Quantised weights are not read; get the ones they were made from"
        )


def _said(shape: Optional[Tuple[int, ...]]) -> str:
    return "missing" if shape is None else str(list(shape))


def differing(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], sections: Sequence[str] = ("architecture", "preprocessing")
) -> Iterator[Tuple[str, Any, Any]]:
    """What differs between two specifications, key by key, but for what weights start from."""
    for section in sections:
        for key, value in _flat(theirs.get(section, {})).items():
            other = _flat(ours[section]).get(key)
            if value != other and key not in _INITIAL:
                yield f"{section}.{key}", value, other


def _flat(section: Mapping[str, Any]) -> Dict[str, Any]:
    """The keys of a section and of the towers in it, joined with dots."""
    flat: Dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}.{name}": entry for name, entry in value.items()})
        else:
            flat[key] = value
    return flat
