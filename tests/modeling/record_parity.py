"""Records what the references compute for tiny models and towers (`test_parity.py`, `test_tower_parity.py`) and how they
initialise (`test_initial.py`).

    python tests/modeling/record_parity.py

in an environment with requirements-peers.txt (Paddle is not needed). Weights are rounded to float16 before the
reference runs, so that the files hold them exactly in half the space.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import reference
import torch
import tower_references

GOLDEN = Path(__file__).parent / "golden"

TEXT = {
    "context_length": 12,
    "vocab_size": 60,
    "transformer_width": 32,
    "transformer_heads": 2,
    "transformer_layers": 2,
}
TINY = {
    "vit": {
        "embed_dim": 24,
        "image_resolution": 32,
        "vision_layers": 2,
        "vision_width": 48,
        "vision_patch_size": 8,
        "vision_heads": 3,
        **TEXT,
    },
    "resnet": {
        "embed_dim": 24,
        "image_resolution": 64,
        "vision_layers": [2, 1, 1, 1],
        "vision_width": 4,
        "vision_heads": 4,
        **TEXT,
        "transformer_layers": 1,
    },
}
# Real widths, so that a scale by width shows; two layers, so that one by depth does.
REAL_WIDTH = {
    "vit": {
        "embed_dim": 512,
        "image_resolution": 224,
        "vision_layers": 2,
        "vision_width": 768,
        "vision_patch_size": 32,
        "context_length": 77,
        "vocab_size": 2000,
        "transformer_width": 512,
        "transformer_heads": 8,
        "transformer_layers": 3,
    },
    "resnet": {
        "embed_dim": 128,
        "image_resolution": 64,
        "vision_layers": [2, 1, 1, 1],
        "vision_width": 16,
        "context_length": 8,
        "vocab_size": 100,
        "transformer_width": 64,
        "transformer_heads": 1,
        "transformer_layers": 1,
    },
}


# Towers that start from something else than those of the paper do.
NEW_INITIAL = (
    "layer scale image",
    "SigLIP image (timm)",
    "SigLIP 2 text (open_clip)",
    "BERT, pooler",
    "RoBERTa, mean",
)


def inputs(architecture: dict, seed: int) -> dict:
    """Two images, and three texts whose end marks (the highest id) stand early, twice, and last."""
    rng = np.random.default_rng(seed)
    size, length, end = architecture["image_resolution"], architecture["context_length"], architecture["vocab_size"] - 1
    text = rng.integers(1, end, [3, length])
    text[0, 4:] = 0
    text[0, 3] = end
    text[1, [5, 8]] = end
    text[2, -1] = end
    return {"image": rng.normal(size=[2, 3, size, size]).astype("float16"), "text": text}


def record_parity(name: str) -> None:
    architecture = TINY[name]
    torch.manual_seed(0)
    model = reference.build({**architecture, "activation": "quick_gelu"})
    reference.disturb(model, seed=1)
    weights = {key: value.numpy().astype("float16") for key, value in model.state_dict().items() if key != "attn_mask"}
    given = inputs(architecture, seed=2)
    outputs = {}
    for activation in ("quick_gelu", "gelu"):
        model = reference.build({**architecture, "activation": activation})
        model.load_state_dict({key: torch.from_numpy(value).float() for key, value in weights.items()}, strict=False)
        outputs.update(run(model, given, suffix=f".{activation}"))
    arrays = {f"weights/{key}": value for key, value in weights.items()}
    np.savez_compressed(
        GOLDEN / f"parity_{name}.npz", architecture=json.dumps(architecture), **arrays, **given, **outputs
    )


def run(model, given: dict, suffix: str = "") -> dict:
    """Features and logits of the reference, as float32 arrays."""
    with torch.no_grad():
        image = model.encode_image(torch.from_numpy(given["image"]).float())
        text = model.encode_text(torch.from_numpy(given["text"]))
        unit_image, unit_text = (x / x.norm(dim=-1, keepdim=True) for x in (image, text))
        logits = model.logit_scale.exp() * unit_image @ unit_text.T
    named = {"image_features": image, "text_features": text, "logits_per_image": logits}
    return {f"{key}{suffix}": value.numpy() for key, value in named.items()}


def record_towers() -> None:
    """For every kind of tower its node, weights under our names (one after the other), an input and its embeddings."""
    arrays = {}
    for name in tower_references.TOWERS:
        node, model = tower_references.build(name, tower_references.TINY, seed=0)
        with torch.no_grad():
            for value in model.state_dict().values():
                if value.dtype.is_floating_point:
                    value.copy_(value.half().float())
        given = tower_references.inputs(node, seed=2)
        weights = tower_references.weights(name, model)
        entry = {
            "node": json.dumps(node),
            "shapes": json.dumps({key: value.shape for key, value in weights.items()}),
            "weights": np.concatenate([value.ravel() for value in weights.values()]).astype("float16"),
            "input": given,
            "output": tower_references.run(name, model, given),
        }
        arrays.update({f"{name}/{key}": value for key, value in entry.items()})
    np.savez_compressed(GOLDEN / "towers.npz", **arrays)


def record_initial() -> None:
    """Mean, standard deviation and largest magnitude of every parameter of newly built models."""
    measured = {}
    for name, architecture in REAL_WIDTH.items():
        torch.manual_seed(0)
        model = reference.build({**architecture, "activation": "quick_gelu"})
        arrays = reference.to_our_names({key: value.detach().numpy() for key, value in model.named_parameters()})
        rows = {key: [float(f"{x:.5g}") for x in measure(value)] for key, value in arrays.items()}
        measured[name] = {"architecture": architecture, "parameters": rows}
    for kind in NEW_INITIAL:
        node, model = tower_references.new(kind, tower_references.WIDE, seed=0)
        arrays = tower_references.weights(kind, model)
        rows = {key: [float(f"{x:.5g}") for x in measure(value)] for key, value in arrays.items()}
        measured[kind] = {"node": node, "parameters": rows}
    text = json.dumps(measured).replace('], "', '],\n"')
    (GOLDEN / "initial.json").write_text(text + "\n")


def measure(array: np.ndarray) -> tuple:
    return array.mean(), array.std(), abs(array).max()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in TINY:
        record_parity(each)
    record_towers()
    record_initial()
