"""Measures how far named models are from open_clip's, with the same random weights, and writes docs/parity.json.

    python tools/measure_parity.py [PATTERN]

in an environment with requirements-peers.txt. Models above FULL_DEPTH parameters are measured with two blocks in each
transformer, at their real widths; a vocabulary above LARGEST_VOCABULARY is cut to that. The weights go through the
converter. `tools/make_model_docs.py` makes the table of docs/models.md from the result.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, Optional

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "zoo")]

from passl.utils.cpu import configure_cpu

configure_cpu()

import numpy as np
import open_clip_models
import paddle
import torch
from reference import disturb

from passl.checkpoint import from_family, load_into
from passl.modeling.architectures import DualEncoder
from passl.zoo.names import architecture_of, list_models

RECORD = ROOT / "docs" / "parity.json"
FULL_DEPTH = 450_000_000
LARGEST_VOCABULARY = 300_000
SEED = 0


def main() -> int:
    """Measures what matches the pattern, and keeps the other rows of the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of names")
    arguments = parser.parse_args()
    rows: Dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    counts = json.loads(open_clip_models.RECORD.read_text(encoding="utf-8"))
    for name in list_models(arguments.pattern):
        rows[name] = measure(name, None if counts[name][0] <= FULL_DEPTH else 2)
        print(name, rows[name], flush=True)
        lines = [f"  {json.dumps(key)}: {json.dumps(rows[key])}" for key in sorted(rows)]
        RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        gc.collect()
    return 0


def measure(name: str, num_layers: Optional[int]) -> Dict[str, Any]:
    """The largest absolute differences of normalised features and of logits, two images with four texts."""
    torch.manual_seed(SEED)
    node = architecture_of(name)
    vocab_size = min(node["text"]["vocab_size"], LARGEST_VOCABULARY)
    is_cut = vocab_size < node["text"]["vocab_size"]
    theirs = open_clip_models.build(name, num_layers, vocab_size if is_cut else None)
    disturb(theirs, SEED)
    node["text"]["vocab_size"] = vocab_size
    for tower in (node["image"], node["text"]):
        if num_layers is not None and "num_layers" in tower:
            tower["num_layers"] = num_layers
    ours = DualEncoder(**{key: value for key, value in node.items() if key != "name"})
    ours.eval()
    weights = {key: value.numpy() for key, value in theirs.state_dict().items()}
    load_into(ours, from_family(weights, "open_clip").arrays, source=name)
    image, text = _images(node["image"]["image_size"]), _texts(node["text"])
    expected, found = _reference(theirs, image, text), _ours(ours, image, text)
    return {
        **{key: float(f"{np.abs(expected[key] - found[key]).max():.1e}") for key in expected},
        "layers": "full" if num_layers is None else "two layers",
        **({"vocabulary": vocab_size} if is_cut else {}),
        "versions": ", ".join(
            f"{package} {version(package)}"
            for package in ("open_clip_torch", "timm", "transformers", "torch", "paddlepaddle")
        ),
    }


def _images(size: int) -> np.ndarray:
    return np.random.default_rng(SEED).standard_normal((2, 3, size, size), dtype=np.float32)


def _texts(text: Dict[str, Any]) -> np.ndarray:
    """Four rows that the tower's tokenizer could have made: one full, the others shorter, with marks and padding."""
    rng = np.random.default_rng(SEED)
    length, vocab_size = text["context_length"], text["vocab_size"]
    if text["name"] == "BertEncoder":
        start, end, pad, lowest, highest = 0, 2, text["pad_id"], 3, vocab_size
    elif text.get("pool") == "eos":
        start, end, pad, lowest, highest = 0, text["eos_id"], 1 - (text["eos_id"] == 1), 3, vocab_size
    else:  # the end mark of CLIP is the highest id; where the last place is read, any row will do
        start, end, pad, lowest, highest = vocab_size - 2, vocab_size - 1, 0, 1, vocab_size - 2
    ids = np.full((4, length), pad, dtype=np.int64)
    for row, count in zip(ids, (length, length // 2, 5, 3)):
        row[:count] = [start, *rng.integers(lowest, highest, count - 2), end]
    return ids


def _reference(model: torch.nn.Module, image: np.ndarray, text: np.ndarray) -> Dict[str, np.ndarray]:
    with torch.no_grad():
        features = model.encode_image(torch.from_numpy(image), normalize=True)
        text_features = model.encode_text(torch.from_numpy(text), normalize=True)
        logits = model.logit_scale.exp() * features @ text_features.T
        if model.logit_bias is not None:
            logits = logits + model.logit_bias
    return {"image": features.numpy(), "text": text_features.numpy(), "logits": logits.numpy()}


def _ours(model: paddle.nn.Layer, image: np.ndarray, text: np.ndarray) -> Dict[str, np.ndarray]:
    images, texts = paddle.to_tensor(image), paddle.to_tensor(text)
    with paddle.no_grad():
        features = model.encode_image(images, normalize=True)
        text_features = model.encode_text(texts, normalize=True)
        logits, _ = model(images, texts)
    return {"image": features.numpy(), "text": text_features.numpy(), "logits": logits.numpy()}


if __name__ == "__main__":
    sys.exit(main())
