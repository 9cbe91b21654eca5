"""How far the outputs of a model differ before and after a conversion.

Both are computed on the same random images and texts: by the library that the weights belong to (transformers,
open_clip) where it is installed, and by our own network otherwise. What computed them is part of the answer.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, Mapping, NamedTuple, Optional

import numpy as np
import paddle

from passl.checkpoint import layout_name, load_into, to_family
from passl.modeling.architectures import architecture_from_spec
from passl.utils.errors import UserError
from passl.utils.registry import ARCHITECTURES
from passl.zoo.foreign_configs import open_clip_files
from passl.zoo.foreign_configs.open_clip import CONFIG_FILE as OPEN_CLIP_CONFIG
from passl.zoo.reading import Checkpoint, read_checkpoint

# Absolute, for the entries of unit-length features in float32.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Agreement:
    """The largest absolute difference of unit-length features and of logits; None where a tower is missing.

    Attributes:
        before, after: what computed the two.
    """

    before: str
    after: str
    image: Optional[float]
    text: Optional[float]
    logits: Optional[float]


class Outputs(NamedTuple):
    """What a model says: unit-length features [B, E], the logits of images with texts [B, B], and who computed them."""

    by: str
    image: Optional[np.ndarray]
    text: Optional[np.ndarray]
    logits: Optional[np.ndarray]


def compare(before: Checkpoint, after: Path, family: str, spec: Mapping[str, Any]) -> Agreement:
    """Compares the model of `before` with the one that was written to `after` in the layout `family`.

    The second is what stands there: its own record says what it computes. Only forms that have none, plain files of
    other toolkits' names, are taken to be the model of `spec`.

    Args:
        before: the weights that were converted.
        after: what was written.
        family: its layout.
        spec: what `before` computes.

    Raises:
        UserError: features that differ by more than `TOLERANCE`, or logits by more than that times their scale.
    """
    inputs = random_inputs(spec)
    written = read_checkpoint(after, family)
    one = _outputs(before, spec, inputs)
    other = _outputs(written, written.spec or spec, inputs)
    differences = {
        name: None if getattr(one, name) is None else float(np.abs(getattr(one, name) - getattr(other, name)).max())
        for name in ("image", "text", "logits")
    }
    scale = 1.0 if one.logits is None else max(1.0, float(np.abs(one.logits).max()))
    for name, difference in differences.items():
        limit = TOLERANCE * (scale if name == "logits" else 1.0)
        if difference is not None and not difference <= limit:
            raise UserError(
                f"{name}: the outputs before ({one.by}) and after ({other.by}) differ by {difference:.1e}, more than "
                f"{limit:.1e}; nothing was written. Either the weights belong to a model that computes something else than "
                "what was taken for them (see the line about the model without --verify), or this is a defect of passl"
            )
    return Agreement(one.by, other.by, **differences)


def random_inputs(spec: Mapping[str, Any], seed: int = 0) -> Dict[str, np.ndarray]:
    """Images [2, 3, H, W] float32 and token ids [3, L] int64 that the model takes; for a tower that it has."""
    random = np.random.default_rng(seed)
    image, text = spec["architecture"]["image"], spec["architecture"]["text"]
    inputs = {}
    if image is not None:
        size = image["image_size"]
        inputs["image"] = random.normal(size=(2, 3, size, size)).astype(np.float32)
    if text is not None:
        inputs["text"] = _random_ids(text, random)
    return inputs


def _random_ids(text: Mapping[str, Any], random: np.random.Generator) -> np.ndarray:
    """Rows of different length, with the marks that the tower looks for."""
    length, highest = text["context_length"], text["vocab_size"] - 1
    pad = text.get("pad_id", 0)
    rows = np.full((3, length), pad, dtype=np.int64)
    end = {"eos": text.get("eos_id"), "argmax": highest}.get(text["pool"])
    for row, count in zip(rows, (max(2, length // 2), max(2, length // 4), length)):
        ids = random.integers(0, highest, size=count)
        while (marks := np.isin(ids, [pad, end])).any():  # neither padding nor an end inside a text
            ids[marks] = random.integers(0, highest, size=marks.sum())
        row[:count] = ids
        if end is not None:
            row[count - 1] = end
    return rows


def _outputs(checkpoint: Checkpoint, spec: Mapping[str, Any], inputs: Mapping[str, np.ndarray]) -> Outputs:
    """What the model of `checkpoint` says, by the library of its family where that is installed and can load it."""
    try:
        outputs = _outputs_of_library(checkpoint, spec, inputs)
        why_not = ""
    except _NotAsked as reason:
        outputs, why_not = None, f"; {reason}"
    if outputs is None:
        outputs = paddle_outputs(checkpoint, spec, inputs)
    for name in ("image", "text"):
        rows = getattr(outputs, name)
        if rows is not None and not np.isfinite(rows).all():
            raise UserError(
                f"the {name} features of {checkpoint.path} are not finite: its weights hold NaN or infinities"
            )
    return outputs._replace(by=outputs.by + why_not)


class _NotAsked(Exception):
    """Why the library of a family does not compute a model of it."""


def _outputs_of_library(
    checkpoint: Checkpoint, spec: Mapping[str, Any], inputs: Mapping[str, np.ndarray]
) -> Optional[Outputs]:
    if checkpoint.family == "huggingface" and importlib.util.find_spec("transformers"):
        return transformers_outputs(checkpoint, inputs)
    if checkpoint.family in ("open_clip", "openai") and importlib.util.find_spec("open_clip"):
        text = spec["architecture"]["text"]
        if text is None or spec["architecture"]["image"] is None:
            raise _NotAsked("open_clip has no models of one tower")
        if text["name"] == "BertEncoder":
            raise _NotAsked("open_clip would need this text tower's config from its hub")
        return open_clip_outputs(checkpoint, spec, inputs)
    return None


def paddle_outputs(checkpoint: Checkpoint, spec: Mapping[str, Any], inputs: Mapping[str, np.ndarray]) -> Outputs:
    """What our network says with the arrays of `checkpoint`."""
    model = ARCHITECTURES.build(architecture_from_spec(spec))
    load_into(model, checkpoint.arrays, source=checkpoint.path)
    model.eval()
    with paddle.no_grad():
        image = model.encode_image(paddle.to_tensor(inputs["image"])).numpy() if "image" in inputs else None
        text = model.encode_text(paddle.to_tensor(inputs["text"])).numpy() if "text" in inputs else None
        bias = 0.0 if getattr(model, "logit_bias", None) is None else model.logit_bias.item()
        scale = model.logit_scale.exp().item() if len(inputs) == 2 else None
    return _finished(f"passl, PaddlePaddle {paddle.__version__}", image, text, scale, bias)


def transformers_outputs(checkpoint: Checkpoint, inputs: Mapping[str, np.ndarray]) -> Outputs:
    """What transformers says, by the config beside the weights. Weights in one safetensors file it reads itself.

    Raises:
        UserError: transformers does not load all of the weights.
    """
    if not checkpoint.recorded_in:
        raise _NotAsked("transformers needs a config.json beside the weights")
    transformers, torch = _library("transformers"), _library("torch")
    arrays = to_family(checkpoint.arrays, "huggingface")
    cls = _class(transformers, str(layout_name(checkpoint.arrays, "huggingface")))
    path = Path(checkpoint.path)
    if (path / "model.safetensors").is_file():
        where: Dict[str, Any] = {"pretrained_model_name_or_path": path, "use_safetensors": True}
    else:
        state = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in arrays.items()}
        config = cls.config_class.from_pretrained(Path(checkpoint.recorded_in).parent, local_files_only=True)
        where = {"pretrained_model_name_or_path": None, "config": config, "state_dict": state}
    model, report = cls.from_pretrained(**where, local_files_only=True, dtype=torch.float32, output_loading_info=True)
    left = {key: sorted(report[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[key]}
    if left:
        raise UserError(f"transformers does not load all of {checkpoint.path}: {left}")
    model.eval()
    image = text = scale = None
    bias = 0.0
    with torch.no_grad():
        if "image" in inputs:
            image = _torch_features(model, "image", pixel_values=torch.from_numpy(inputs["image"]))
        if "text" in inputs:
            ids = torch.from_numpy(inputs["text"])
            marks = {}
            if hasattr(model, "text_model") and cls.__name__ == "VisionTextDualEncoderModel":
                marks["attention_mask"] = (ids != model.config.text_config.pad_token_id).long()
            text = _torch_features(model, "text", input_ids=ids, **marks)
        if len(inputs) == 2:
            scale = model.logit_scale.exp().item()
            bias = model.logit_bias.item() if hasattr(model, "logit_bias") else 0.0
    return _finished(f"{cls.__name__} of transformers {transformers.__version__}", image, text, scale, bias)


def _torch_features(model: Any, tower: str, **inputs: Any) -> np.ndarray:
    """The embeddings of one tower; the classes of one tower alone have them in their output."""
    method = getattr(model, f"get_{tower}_features", None)
    output = model(**inputs) if method is None else method(**inputs)
    for name in (f"{tower}_embeds", "pooler_output"):
        output = getattr(output, name, output)
    return output.numpy()


def open_clip_outputs(checkpoint: Checkpoint, spec: Mapping[str, Any], inputs: Mapping[str, np.ndarray]) -> Outputs:
    """What open_clip's own model says, built from the config beside the weights; without one, from its config of `spec`."""
    open_clip, torch = _library("open_clip"), _library("torch")
    if checkpoint.recorded_in.endswith(OPEN_CLIP_CONFIG):
        config = json.loads(Path(checkpoint.recorded_in).read_text(encoding="utf-8"))
    else:
        config = open_clip_files(spec)[OPEN_CLIP_CONFIG]
    config = dict(config.get("model_cfg", config))
    model = (open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP)(**config)
    arrays = to_family(checkpoint.arrays, "open_clip", layout=type(model).__name__)
    state = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in arrays.items()}
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict({**counters, **state}, strict=True)
    model.eval()
    with torch.no_grad():
        image = model.encode_image(torch.from_numpy(inputs["image"])).numpy()
        text = model.encode_text(torch.from_numpy(inputs["text"])).numpy()
        bias = 0.0 if model.logit_bias is None else model.logit_bias.item()
        scale = model.logit_scale.exp().item()
    return _finished(f"open_clip {open_clip.__version__}", image, text, scale, bias)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # RuntimeError: compiled parts that were built for another version
        raise _NotAsked(f"{name} is installed and cannot be imported: {str(error)[:200]}") from error


def _class(library: ModuleType, name: str) -> Any:
    """A class of transformers, which imports its modules when they are asked for."""
    try:
        return getattr(library, name)
    except (ImportError, RuntimeError) as error:
        raise _NotAsked(f"{name} of {library.__name__} cannot be imported: {str(error)[:200]}") from error


def _finished(
    by: str, image: Optional[np.ndarray], text: Optional[np.ndarray], scale: Optional[float], bias: float
) -> Outputs:
    image, text = (
        None if rows is None else rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (image, text)
    )
    logits = None if image is None or text is None or scale is None else scale * image @ text.T + bias
    return Outputs(by, image, text, logits)
