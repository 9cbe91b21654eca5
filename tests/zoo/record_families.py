"""Records tiny references with their outputs, so that the default suite compares without other frameworks.

    python tests/zoo/record_families.py

in an environment with requirements-peers.txt writes `recorded/<case>/`: what the reference's library saves (in half
precision, to be small) and `outputs.npz`: inputs, unit-length features and logits.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import reference_models as references  # noqa: E402

RECORDED = HERE / "recorded"
CASES = {
    "open_clip": references.open_clip_plain,
    "open_clip_clipa": references.open_clip_clipa,
    "huggingface_clip": lambda folder: references.huggingface_clip(folder, bos_token_id=1, eos_token_id=2),
    "huggingface_siglip": references.huggingface_siglip,
    "huggingface_vit_bert": references.huggingface_vit_bert,
}


def main() -> None:
    """Writes all cases anew."""
    references.TEXT.update(width=16, heads=2, layers=1, vocab_size=60)
    references.VIT.update(width=16, head_width=8, layers=1, image_size=16, patch_size=8)
    references.HF_TEXT.update(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    references.HF_VISION.update(references.HF_TEXT, image_size=16, patch_size=8)
    references.HF_WORDS.update(vocab_size=60)
    references.CLIP_WORDS.update(vocab_size=60)
    references.IS_SAVED_IN_HALF = True
    shutil.rmtree(RECORDED, ignore_errors=True)
    for name, build in CASES.items():
        folder = RECORDED / name
        folder.mkdir(parents=True)
        saved = build(folder)
        inputs = {f"input_{tower}": value for tower, value in saved.inputs.items()}
        np.savez_compressed(folder / "outputs.npz", **inputs, **saved.outputs())
        print(name, sum(path.stat().st_size for path in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main()
