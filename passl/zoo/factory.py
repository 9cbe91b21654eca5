"""Building models by name or from a folder, with weights or without."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Callable, Dict, Iterator, Mapping, Optional, Tuple

from passl.checkpoint import LoadReport, is_model_folder, read_metadata, read_spec, read_weights
from passl.config import build
from passl.datasets.preprocess.transforms import eval_transform, train_transform
from passl.modeling.architectures import DualEncoder, architecture_from_spec
from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.utils.logging import get_logger
from passl.utils.registry import ARCHITECTURES
from passl.zoo.names import architecture_of, is_model_name


@dataclass(frozen=True)
class _Checked:
    """Holds an architecture while it is checked as one in a config is."""

    architecture: Annotated[dict, ARCHITECTURES]


def create_model(name_or_folder: PathLike, pretrained: Optional[PathLike] = None, **overrides: Any) -> DualEncoder:
    """A model, in evaluation mode; call `.train()` to train it.

    Args:
        name_or_folder: a name of `passl.list_models()`, OpenAI's spelling of one, or a folder that `save_pretrained`
            wrote (start it with `./` if a model has the same name).
        pretrained: weights: a file or a model folder. Without it a folder's own weights are loaded, and a named model
            is newly initialised.
        overrides: keys of the model's `architecture` section to build it with instead of its own.

    Raises:
        UserError: an unknown name, override or file; weights that do not fit, or that belong to another activation.

    Example:
        >>> model = create_model("ViT-B/32", pretrained="ViT-B-32.pdparams")  # doctest: +SKIP
    """
    name_or_folder = os.fspath(name_or_folder)
    is_folder = not is_model_name(name_or_folder) and os.path.isdir(name_or_folder)
    node = architecture_from_spec(read_spec(name_or_folder)) if is_folder else architecture_of(name_or_folder)
    checked = build(_Checked, {"architecture": {**node, **overrides}})
    model = ARCHITECTURES.build(checked.architecture)
    weights = name_or_folder if is_folder and pretrained is None else pretrained
    if weights is not None:
        load_pretrained(model, weights)
    model.eval()
    return model


def create_model_and_transforms(
    name_or_folder: PathLike, pretrained: Optional[PathLike] = None, **overrides: Any
) -> Tuple[DualEncoder, Callable, Callable]:
    """`create_model` together with the transforms of images for training and for evaluation.

    Returns:
        the model, the transform for training and the transform for evaluation; both take a PIL image and return
        [3, height, width] float32.
    """
    model = create_model(name_or_folder, pretrained, **overrides)
    preprocessing = model.spec["preprocessing"]
    return model, train_transform(preprocessing), eval_transform(preprocessing)


def load_pretrained(model: DualEncoder, path: PathLike, partial: bool = False) -> LoadReport:
    """Loads weights into a model and says so in one line: source, layout, activation.

    Args:
        model: the network.
        path: a weight file, a model folder or a training checkpoint.
        partial: load what fits, and list the rest in the log.

    Raises:
        UserError: no such file, or weights that do not fit, or that belong to another activation.
    """
    if not os.path.exists(path):
        raise UserError(
            f"pretrained weights {os.fspath(path)!r}: there is no such file or folder. Accepted: a .safetensors or "
            ".pdparams file, a folder that save_pretrained wrote, a training checkpoint; published weights are not "
            "downloaded by name yet"
        )
    recorded = _recorded_spec(Path(path))
    differences = [] if partial else list(_differences(recorded, model.spec))
    if differences:
        raise UserError(
            f"{path} was saved by a model that computes something else:\n"
            + "\n".join(f"  {key}: {theirs!r} there, {ours!r} in this model" for key, theirs, ours in differences)
            + "\nBuild the model that the weights belong to, or take over what fits with --partial (partial=True)"
        )
    report, family = model.load_weights(
        read_weights(path), source=os.fspath(path), partial=partial, activation=recorded.get("activation")
    )
    get_logger().info("loaded %s (layout %s, activation %s)", path, family, model.activation)
    if partial:
        get_logger().info("%s", report.table())
    return report


def _recorded_spec(path: Path) -> Dict[str, Any]:
    """The specification written down with our own weights, in their model folder or the header of the file; else {}."""
    for folder in (path, path.parent):
        if folder.is_dir() and is_model_folder(folder):
            return read_spec(folder)
    metadata = read_metadata(path) if path.is_dir() or path.suffix == ".safetensors" else {}
    if "spec" in metadata:
        return json.loads(metadata["spec"])
    return {"activation": metadata["activation"]} if "activation" in metadata else {}


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[Tuple[str, Any, Any]]:
    """What differs in architecture and preprocessing, beyond the shapes that strict loading compares anyway."""
    for section in ("architecture", "preprocessing"):
        known, expected = _flat(theirs.get(section, {})), _flat(ours[section])
        for key, value in known.items():
            if value != expected.get(key):
                yield f"{section}.{key}", value, expected.get(key)


def _flat(section: Mapping[str, Any]) -> Dict[str, Any]:
    """The keys of a section and of the towers in it, joined with dots."""
    flat: Dict[str, Any] = {}
    for key, value in section.items():
        flat.update(
            {f"{key}.{name}": entry for name, entry in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    return flat
