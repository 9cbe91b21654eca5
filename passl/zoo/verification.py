"""How far the outputs of a model differ before and after a conversion.

Both are computed on the same random images and texts: by the library that the weights belong to (transformers,
open_clip) where it is installed, and by our own network otherwise. What computed them is part of the answer.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional

import numpy as np
import paddle

from passl.checkpoint import load_into
from passl.modeling.architectures import architecture_from_spec
from passl.utils.errors import UserError
from passl.utils.registry import ARCHITECTURES
from passl.zoo.foreign_configs import open_clip_files
from passl.zoo.reading import Checkpoint, read_checkpoint

# Absolute, for the entries of unit-length features in float32.
TOLERANCE = 1e-4

_WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)


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
    """Compares the model of `before` with what was written to `after` in the layout `family`.

    Raises:
        UserError: features that differ by more than `TOLERANCE`, or logits by more than that times their scale.
    """
    inputs = random_inputs(spec)
    one = _outputs(before, Path(before.path), before.family, spec, inputs)
    other = _outputs(None, after, family, spec, inputs)
    differences = {
        name: None if getattr(one, name) is None else float(np.abs(getattr(one, name) - getattr(other, name)).max())
        for name in ("image", "text", "logits")
    }
    agreement = Agreement(one.by, other.by, **differences)
    scale = 1.0 if one.logits is None else max(1.0, float(np.abs(one.logits).max()))
    for name, difference in differences.items():
        limit = TOLERANCE * (scale if name == "logits" else 1.0)
        if difference is not None and not difference <= limit:
            raise UserError(
                f"{name}: the outputs before ({one.by}) and after ({other.by}) differ by {difference:.1e}, more than "
                f"{limit:.1e}. The weights belong to a model that computes something else than what was taken for them "
                "(the activation, the number of heads); nothing was written"
            )
    return agreement


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
        ids[np.isin(ids, [pad, end])] = (pad + 1) % highest  # neither padding nor an end inside a text
        row[:count] = ids
        if end is not None:
            row[count - 1] = end
    return rows


def _outputs(
    read: Optional[Checkpoint], path: Path, family: str, spec: Mapping[str, Any], inputs: Mapping[str, np.ndarray]
) -> Outputs:
    """What the model at `path` says, by its own library where that is installed; `read` spares reading it again."""
    why_not = ""
    if family == "huggingface" and path.is_dir() and importlib.util.find_spec("transformers"):
        return transformers_outputs(path, inputs)
    if family in ("open_clip", "openai") and importlib.util.find_spec("open_clip"):
        if spec["architecture"]["text"] and spec["architecture"]["text"]["name"] == "BertEncoder":
            why_not = "; open_clip would need this text tower's config from its hub"
        else:
            return open_clip_outputs(path, spec, inputs)
    outputs = paddle_outputs(read if read is not None else read_checkpoint(path, family), spec, inputs)
    return outputs._replace(by=outputs.by + why_not)


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


def transformers_outputs(folder: Path, inputs: Mapping[str, np.ndarray]) -> Outputs:
    """What the model in a folder says when transformers loads it."""
    import torch
    import transformers

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    cls = getattr(transformers, config["architectures"][0])
    model, report = cls.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, output_loading_info=True, use_safetensors=None
    )
    left = {key: sorted(report[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[key]}
    if left:
        raise UserError(f"transformers does not load all of {folder}: {left}")
    model.eval()
    image = text = scale = None
    bias = 0.0
    with torch.no_grad():
        if "image" in inputs:
            image = _torch_features(model, "image", pixel_values=torch.from_numpy(inputs["image"]))
        if "text" in inputs:
            ids = torch.from_numpy(inputs["text"])
            marks = {}
            if config["model_type"] == "vision-text-dual-encoder":
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


def open_clip_outputs(path: Path, spec: Mapping[str, Any], inputs: Mapping[str, np.ndarray]) -> Outputs:
    """What open_clip says with the weights at `path`, in the model that its own config of `spec` describes."""
    import open_clip
    import torch
    from open_clip.factory import load_state_dict

    config = dict(open_clip_files(spec)["open_clip_config.json"]["model_cfg"])
    cls = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    model = cls(**config)
    file = path if path.is_file() else next(path / name for name in _WEIGHT_FILES if (path / name).is_file())
    state = {
        name: value.float() if value.is_floating_point() else value
        for name, value in load_state_dict(str(file)).items()
    }
    for name in ("input_resolution", "context_length", "vocab_size"):
        state.pop(name, None)
    model.load_state_dict(state, strict=True)
    model.eval()
    with torch.no_grad():
        image = model.encode_image(torch.from_numpy(inputs["image"])).numpy() if "image" in inputs else None
        text = model.encode_text(torch.from_numpy(inputs["text"])).numpy() if "text" in inputs else None
        bias = 0.0 if model.logit_bias is None else model.logit_bias.item()
        scale = model.logit_scale.exp().item()
    return _finished(f"open_clip {open_clip.__version__}", image, text, scale, bias)


def _finished(
    by: str, image: Optional[np.ndarray], text: Optional[np.ndarray], scale: Optional[float], bias: float
) -> Outputs:
    image, text = (
        None if rows is None else rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (image, text)
    )
    logits = None if image is None or text is None or scale is None else scale * image @ text.T + bias
    return Outputs(by, image, text, logits)
