"""Live comparison with open_clip, timm and transformers on random weights, at real sizes too. Prints the errors
(`pytest -s`)."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from passl.checkpoint import load_into
from passl.modeling.architectures import CLIP
from passl.utils.registry import BACKBONES

pytestmark = pytest.mark.peers

TEXT = {
    "context_length": 20,
    "vocab_size": 500,
    "transformer_width": 64,
    "transformer_heads": 4,
    "transformer_layers": 3,
}
SMALL_VIT = {
    "embed_dim": 48,
    "image_resolution": 64,
    "vision_layers": 3,
    "vision_width": 128,
    "vision_patch_size": 16,
    "vision_heads": 4,
    **TEXT,
}
SMALL_RESNET = {"embed_dim": 48, "image_resolution": 96, "vision_layers": [1, 2, 1, 2], "vision_width": 16, **TEXT}

REAL_TEXT = {"transformer_width": 512, "transformer_heads": 8, "transformer_layers": 12}
VIT_B_32 = {
    "embed_dim": 512,
    "image_resolution": 224,
    "vision_layers": 12,
    "vision_width": 768,
    "vision_patch_size": 32,
    **REAL_TEXT,
}
RN50 = {"embed_dim": 1024, "image_resolution": 224, "vision_layers": [3, 4, 6, 3], "vision_width": 64, **REAL_TEXT}

CASES = {
    "small ViT, QuickGELU": {**SMALL_VIT, "activation": "quick_gelu"},
    "small ViT, GELU": {**SMALL_VIT, "activation": "gelu"},
    "small ResNet, QuickGELU": {**SMALL_RESNET, "activation": "quick_gelu"},
    "ViT-B-32-quickgelu": {**VIT_B_32, "activation": "quick_gelu"},
    "ViT-B-32": {**VIT_B_32, "activation": "gelu"},
    "RN50-quickgelu": {**RN50, "activation": "quick_gelu"},
}


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("case", CASES)
def test_features_and_logits_equal_open_clip(case, reference):
    import torch

    architecture = CASES[case]
    torch.manual_seed(0)
    theirs = reference.build(architecture)
    reference.disturb(theirs, seed=1)
    ours = CLIP(**architecture)
    ours.set_state_dict(reference.to_our_names({name: value.numpy() for name, value in theirs.state_dict().items()}))
    ours.eval()

    rng = np.random.default_rng(2)
    size, length, end = ours.visual.image_size, ours.text.context_length, ours.text.vocab_size - 1
    image = rng.normal(size=[4, 3, size, size]).astype("float32")
    text = rng.integers(1, end, [5, length])
    for row, place in enumerate([2, 5, length // 2, length - 2, length - 1]):
        text[row, place] = end
        text[row, place + 1 :] = 0
    with torch.no_grad():
        image_features = theirs.encode_image(torch.from_numpy(image))
        text_features = theirs.encode_text(torch.from_numpy(text))
        unit_image = theirs.encode_image(torch.from_numpy(image), normalize=True)
        unit_text = theirs.encode_text(torch.from_numpy(text), normalize=True)
        logits = theirs.get_logits(torch.from_numpy(image), torch.from_numpy(text))[0]
    with paddle.no_grad():
        given = paddle.to_tensor(image), paddle.to_tensor(text)
        errors = {
            "image": relative(ours.encode_image(given[0]).numpy(), image_features.numpy()),
            "text": relative(ours.encode_text(given[1]).numpy(), text_features.numpy()),
            "unit image": float(np.abs(ours.encode_image(given[0], normalize=True).numpy() - unit_image.numpy()).max()),
            "unit text": float(np.abs(ours.encode_text(given[1], normalize=True).numpy() - unit_text.numpy()).max()),
            "logits": float(np.abs(ours(*given)[0].numpy() - logits.numpy()).max()),
        }
    print(f"\n{case}: " + ", ".join(f"{name} {error:.1e}" for name, error in errors.items()))
    assert max(errors.values()) <= 1e-4
    assert np.abs(logits.numpy() - logits.numpy().mean()).max() > 1e-2  # there is something to compare


def test_every_kind_of_tower_equals_its_reference(tower_references):
    errors = {}
    for kind in tower_references.TOWERS:
        node, theirs = tower_references.build(kind, tower_references.SMALL, seed=3)
        keys, output_dim = tower_references.plain(node)
        ours = BACKBONES.build(keys, output_dim)
        load_into(ours, tower_references.weights(kind, theirs))
        ours.eval()
        given = tower_references.inputs(node, seed=4)
        expected = tower_references.run(kind, theirs, given)
        with paddle.no_grad():
            found = ours(paddle.to_tensor(given.astype("float32") if given.dtype.kind == "f" else given)).numpy()
        errors[kind] = relative(found, expected)
    print("\n" + "\n".join(f"{kind}: {error:.1e}" for kind, error in errors.items()))
    assert max(errors.values()) <= 1e-5
