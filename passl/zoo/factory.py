"""Building models by name or from a folder, with weights or without."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from passl.checkpoint import LoadReport, load_into
from passl.checkpoint.positions import resize_positions as resampled
from passl.datasets.preprocess.transforms import eval_transform, train_transform
from passl.modeling.architectures import DualEncoder, architecture_from_spec
from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.utils.logging import get_logger
from passl.utils.registry import ARCHITECTURES
from passl.zoo.names import architecture_of
from passl.zoo.pretrained import Located, locate
from passl.zoo.reading import (
    Checkpoint,
    checked_architecture,
    read_checkpoint,
    refuse_differences,
    refuse_other_activation,
)
from passl.zoo.recognition import describe
from passl.zoo.records import local_path, require_record

# What differs between weights and model while tables of positions are resampled.
_POSITIONS = ("architecture.image.image_size", "architecture.text.context_length", "preprocessing.size")


def create_model(
    name_or_path: PathLike,
    pretrained: Optional[PathLike] = None,
    *,
    resize_positions: bool = False,
    **overrides: Any,
) -> DualEncoder:
    """An image-text model, in evaluation mode; call `.train()` to train it.

    Args:
        name_or_path: a name of `passl.list_models()`; OpenAI's spelling of one; a model folder, of `save_pretrained`, of
            Hugging Face or of open_clip (start it with `./` if a model has the same name); a .safetensors file that
            `passl convert` wrote; or `hf-hub:organisation/name`.
        pretrained: weights: a file, a folder, a tag of `passl.list_pretrained()`, or an address. Without it, a folder's
            own weights are loaded and a named model is newly initialised.
        resize_positions: resample the tables of positions where the model has another image size or context length than
            the weights.
        overrides: arguments of `passl.modeling.architectures.DualEncoder` in place of the model's own; mappings for
            `image` and `text` replace single settings of a tower.

    Raises:
        UserError: an unknown name, override, tag or file; a download that failed; weights that do not fit, or that belong
            to a model which computes something else.

    Example:
        >>> model = create_model("ViT-B/32", pretrained="ViT-B-32.pdparams")  # doctest: +SKIP
        >>> larger = create_model("ViT-B-32", "weights.safetensors", resize_positions=True, image={"image_size": 384})
        ... # doctest: +SKIP
    """
    path = local_path(name_or_path, with_weights=pretrained is None)
    node = architecture_of(os.fspath(name_or_path)) if path is None else architecture_from_spec(require_record(path)[0])
    located = Located(path, label=os.fspath(name_or_path))
    if pretrained is not None:
        located = locate(os.fspath(name_or_path) if path is None else None, pretrained)
        node = {**node, **{f"image_{key}": value for key, value in (located.preprocessing or {}).items()}}
    model: DualEncoder = ARCHITECTURES.build(checked_architecture(_overridden(node, overrides)))
    if path is not None and model.tokenizer_folder is None:
        model.tokenizer_folder = str(path if path.is_dir() else path.parent)
    if located.path is not None:
        _load(model, located, resize_positions=resize_positions)
    model.eval()
    return model


def create_model_and_transforms(
    name_or_path: PathLike,
    pretrained: Optional[PathLike] = None,
    *,
    resize_positions: bool = False,
    **overrides: Any,
) -> Tuple[DualEncoder, Callable, Callable]:
    """`create_model` together with the transforms of images for training and for evaluation.

    Returns:
        the model, the transform for training and the transform for evaluation; both take a PIL image and return
        [3, height, width] float32.
    """
    model = create_model(name_or_path, pretrained, resize_positions=resize_positions, **overrides)
    preprocessing = model.spec["preprocessing"]
    return model, train_transform(preprocessing), eval_transform(preprocessing)


def load_pretrained(
    model: DualEncoder, pretrained: PathLike, partial: bool = False, resize_positions: bool = False
) -> LoadReport:
    """Loads weights into a model and says so in one line: source, layout, activation.

    Args:
        model: the network.
        pretrained: a weight file of any family, a folder, a training checkpoint, an address or `hf-hub:…`.
        partial: load what fits, and list the rest in the log.
        resize_positions: resample the tables of positions where the model has another image size or context length.

    Raises:
        UserError: no such file, or weights that do not fit, or that belong to a model which computes something else.
    """
    return _load(model, locate(None, pretrained), partial=partial, resize_positions=resize_positions)


def _load(model: DualEncoder, located: Located, partial: bool = False, resize_positions: bool = False) -> LoadReport:
    checkpoint, label = _read(located), located.label
    arrays = checkpoint.arrays
    if resize_positions:
        arrays, lines = resampled(arrays, _shapes(model.state_dict()))
        for line in lines:
            get_logger().info("resampled %s", line)
    refuse_other_activation(checkpoint, model.spec, "this model")
    if not partial:
        refuse_differences(checkpoint, model.spec, "this model", besides=_POSITIONS if resize_positions else ())
    fits = _shapes(arrays) == _shapes(model.state_dict())
    report = load_into(
        model, arrays, partial, label if fits else f"{label} ({_misfit(model, arrays, checkpoint.family)})"
    )
    get_logger().info("loaded %s (%s)", label, _said_model(checkpoint, model))
    if partial:
        get_logger().info("%s", report.table())
    return report


def _read(located: Located) -> Checkpoint:
    """The weights; a download that nobody published a hash of and that turns out to be no weights does not stay."""
    try:
        return read_checkpoint(located.path, located.family, located.activation)
    except UserError as error:
        if not located.is_unverified or located.path is None:
            raise
        located.path.unlink()
        raise UserError(f"{error}. The file came from the net without a published hash, and was removed") from error


def _misfit(model: DualEncoder, arrays: Mapping[str, Any], family: str) -> str:
    """What weights look like that do not fit a model, and what to do if only their positions differ."""
    expected, found = _shapes(model.state_dict()), _shapes(arrays)
    said = f"layout {family}; it looks like {describe(found)}"
    differing = {name for name in {*expected, *found} if expected.get(name) != found.get(name)}
    if all(name.endswith("positional_embedding") and name in expected and name in found for name in differing):
        said += (
            "; only the tables of positions differ, so it is for another image size or context length: "
            "resize_positions=True (--resize-positions) resamples them"
        )
    return said


def _shapes(arrays: Mapping[str, Any]) -> Dict[str, Tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items()}


def _said_model(checkpoint: Checkpoint, model: DualEncoder) -> str:
    """Layout and activation; and that the model's name decided where nothing in the weights tells."""
    layout = checkpoint.family if checkpoint.is_certain else f"{checkpoint.family} or openai"
    activation = " and ".join(model.activations) or "relu"
    if checkpoint.spec is None and checkpoint.activation is None:
        activation += " by the model's name, as nothing in the weights says it"
    return f"layout {layout}, activation {activation}"


def _overridden(node: Mapping[str, Any], overrides: Mapping[str, Any]) -> Dict[str, Any]:
    """The section with some settings replaced; those of a tower one by one, unless another tower is named."""
    merged = {**node, **overrides}
    for key in overrides:
        towers = [tower for tower in ("image", "text") if key in (node[tower] or {}) and key not in node]
        if towers:
            raise UserError(f"{key} is a setting of a tower: give {towers[0]}={{{key!r}: {overrides[key]!r}}}")
    for tower in ("image", "text"):
        given = overrides.get(tower)
        if (
            isinstance(given, Mapping)
            and node[tower] is not None
            and given.get("name", node[tower]["name"]) == node[tower]["name"]
        ):
            merged[tower] = {**node[tower], **given}
    return merged
