"""Records configs as other toolkits write them, for tests that need no other toolkit.

    python tests/zoo/record_foreign_configs.py

in an environment with requirements-peers.txt writes into `files/`:
    open_clip_configs.json     the model configs of some names, as open_clip 3.3.0 keeps them
    huggingface_configs.json   the config.json that transformers 5.23 saves for a small model of every class
"""

from __future__ import annotations

import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any, Dict

HERE = Path(__file__).parent
FILES = HERE / "files"
OPEN_CLIP, HUGGINGFACE = FILES / "open_clip_configs.json", FILES / "huggingface_configs.json"

# One of every kind of tower and of every key.
NAMES = (
    *("RN50x4-quickgelu", "ViT-B-32", "ViT-B-32-quickgelu", "ViT-M-16-alt", "ViT-L-14-336", "ViT-g-14", "ViT-e-14"),
    *("ViT-L-14-CLIPA", "ViT-H-14-worldwide-quickgelu", "ViT-B-16-SigLIP", "ViT-SO400M-14-SigLIP-384"),
    *("ViT-SO400M-16-SigLIP-i18n-256", "ViT-gopt-16-SigLIP2-256", "roberta-ViT-B-32", "xlm-roberta-large-ViT-H-14"),
)
BLOCKS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {**BLOCKS, "image_size": 16, "patch_size": 8}
TEXT = {**BLOCKS, "vocab_size": 99, "max_position_embeddings": 12, "eos_token_id": 97}


def import_transformers():
    """transformers, also beside a torchvision whose compiled operators do not load (built for another torch)."""
    for name in ("_meta_registrations", "_autograd_registrations"):
        sys.modules.setdefault(f"torchvision.{name}", types.ModuleType(name))
    import transformers

    return transformers


def small_models() -> Dict[str, Any]:
    """A small model of every class and of every pair of towers, by a name for the test."""
    t = import_transformers()

    def dual(vision, text):
        configs = {"vision_config": vision.to_dict(), "text_config": text.to_dict()}
        return t.VisionTextDualEncoderModel(t.VisionTextDualEncoderConfig(**configs, projection_dim=24))

    legacy = {**TEXT, "eos_token_id": 2, "hidden_act": "gelu"}
    roberta = {**TEXT, "max_position_embeddings": 14, "type_vocab_size": 1}
    return {
        "CLIPModel": t.CLIPModel(t.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=24)),
        "CLIPModel, old end mark": t.CLIPModel(
            t.CLIPConfig(vision_config=VISION, text_config=legacy, projection_dim=24)
        ),
        "CLIPVisionModelWithProjection": t.CLIPVisionModelWithProjection(
            t.CLIPVisionConfig(**VISION, projection_dim=24)
        ),
        "CLIPVisionModel": t.CLIPVisionModel(t.CLIPVisionConfig(**VISION)),
        "CLIPTextModelWithProjection": t.CLIPTextModelWithProjection(t.CLIPTextConfig(**TEXT, projection_dim=24)),
        "CLIPTextModel": t.CLIPTextModel(t.CLIPTextConfig(**TEXT)),
        "SiglipModel": t.SiglipModel(t.SiglipConfig(vision_config=VISION, text_config=TEXT)),
        "SiglipVisionModel": t.SiglipVisionModel(t.SiglipVisionConfig(**VISION)),
        "SiglipTextModel": t.SiglipTextModel(t.SiglipTextConfig(**TEXT, projection_size=24)),
        "ViT and BERT": dual(t.ViTConfig(**VISION, qkv_bias=False), t.BertConfig(**TEXT)),
        "CLIP and RoBERTa": dual(t.CLIPVisionConfig(**VISION), t.RobertaConfig(**roberta)),
        "ViT and XLM-RoBERTa": dual(t.ViTConfig(**VISION), t.XLMRobertaConfig(**{**roberta, "vocab_size": 250002})),
        "ViT and CLIP": dual(t.ViTConfig(**VISION), t.CLIPTextConfig(**TEXT)),
    }


def main() -> None:
    sys.path.insert(0, str(HERE.parent / "modeling"))
    from reference import import_open_clip

    folder = Path(import_open_clip().__file__).parent / "model_configs"
    configs = {name: json.loads((folder / f"{name}.json").read_text()) for name in NAMES}
    FILES.mkdir(exist_ok=True)
    _write(OPEN_CLIP, configs)
    saved = {}
    for name, model in small_models().items():
        with tempfile.TemporaryDirectory() as target:
            model.save_pretrained(target)
            saved[name] = json.loads((Path(target) / "config.json").read_text())
    _write(HUGGINGFACE, saved)


def _write(path: Path, configs: Dict[str, Any]) -> None:
    rows = [f"  {json.dumps(name)}: {json.dumps(config)}" for name, config in configs.items()]
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
