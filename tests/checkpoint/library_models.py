"""Tiny models of the libraries whose checkpoints are converted, and the names and shapes they save.

    python tests/checkpoint/library_models.py

in an environment with requirements-peers.txt writes `library_names.json`, which the default suite reads. Everything that
needs torch is imported inside functions.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any, Dict, Mapping
from unittest import mock

import numpy as np

NAMES = Path(__file__).with_name("library_names.json")

EMBED = 6
IMAGE = {"layers": 1, "width": 8, "head_width": 4, "patch_size": 4, "image_size": 8}
RESNET = {"layers": [2, 1, 1, 1], "width": 4, "head_width": 32, "image_size": 32}
TEXT = {"context_length": 7, "vocab_size": 20, "width": 10, "heads": 2, "layers": 2}
TOWER = {"num_hidden_layers": 1, "num_attention_heads": 2}
BERT = {**TOWER, "hidden_size": 10, "intermediate_size": 14, "vocab_size": 20, "max_position_embeddings": 9}


def _open_clip():
    for name in ("_meta_registrations", "_autograd_registrations"):
        # Both only register operators of torchvision, which may be built for another torch; the models use none.
        sys.modules.setdefault(f"torchvision.{name}", types.ModuleType(name))
    import open_clip

    return open_clip


def plain(image=None, text=None, **arguments):
    return _open_clip().model.CLIP(EMBED, {**IMAGE, **(image or {})}, {**TEXT, **(text or {})}, **arguments)


def _custom(image=None, text=None, **arguments):
    model = _open_clip().model.CustomTextCLIP
    return model(EMBED, {**IMAGE, **(image or {})}, {**TEXT, **(text or {})}, **arguments)


def _options(build):
    image = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True, "ls_init_value": 0.1}
    return build(image, {"proj_bias": True, "pool_type": "last", "ls_init_value": 0.1}, init_logit_bias=-10.0)


def _siglip():
    timm_model = _open_clip().timm_model
    sizes = {"embed_dim": 8, "depth": 1, "num_heads": 2, "img_size": 8, "patch_size": 4}
    create = functools.partial(timm_model.timm.create_model, **sizes)
    with mock.patch.object(timm_model.timm, "create_model", create):
        return _open_clip().model.CustomTextCLIP(
            8,
            {
                "timm_model_name": "vit_base_patch16_siglip_224",
                "timm_pool": "map",
                "timm_proj": "none",
                "image_size": 8,
            },
            {**TEXT, "width": 8, "layers": 1, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
            init_logit_bias=-10.0,
        )


def _with_huggingface_text(name: str, pooler: str, proj: str):
    with tempfile.TemporaryDirectory() as folder:
        _transformers(f"{name}Config")(**BERT).save_pretrained(folder)
        text = {"hf_model_name": folder, "hf_model_pretrained": False, "hf_pooler_type": pooler, "hf_proj_type": proj}
        return _custom(text=text)


def _transformers(name: str):
    _open_clip()  # makes torchvision importable
    import transformers

    return getattr(transformers, name)


def _clip_vision():
    return _transformers("CLIPVisionConfig")(
        **TOWER, hidden_size=8, intermediate_size=12, image_size=8, patch_size=4, projection_dim=EMBED
    )


def _clip_text():
    return _transformers("CLIPTextConfig")(
        **TOWER,
        hidden_size=10,
        intermediate_size=14,
        vocab_size=20,
        max_position_embeddings=7,
        projection_dim=EMBED,
        bos_token_id=18,
        eos_token_id=19,
    )


def _siglip_vision():
    return _transformers("SiglipVisionConfig")(**TOWER, hidden_size=8, intermediate_size=12, image_size=8, patch_size=4)


def _siglip_text():
    return _transformers("SiglipTextConfig")(
        **TOWER,
        hidden_size=8,
        intermediate_size=14,
        vocab_size=20,
        max_position_embeddings=7,
        projection_size=8,
        bos_token_id=18,
        eos_token_id=19,
    )


def _vit():
    return _transformers("ViTConfig")(**TOWER, hidden_size=8, intermediate_size=12, image_size=8, patch_size=4)


def _both(name: str, text, vision, **arguments):
    config = _transformers(f"{name}Config")
    return _transformers(f"{name}Model")(
        config(text_config=text.to_dict(), vision_config=vision.to_dict(), **arguments)
    )


def _dual(vision, text):
    config = _transformers("VisionTextDualEncoderConfig")
    model = _transformers("VisionTextDualEncoderModel")
    return model(config.from_vision_text_configs(vision, text, projection_dim=EMBED))


# Kind of model: the family, the class, and what builds it.
KINDS: Dict[str, Any] = {
    "open_clip vit": ("open_clip", "CLIP", plain),
    "open_clip vit with options": ("open_clip", "CLIP", lambda: _options(plain)),
    "open_clip resnet": ("open_clip", "CLIP", lambda: plain(RESNET)),
    "open_clip custom vit": ("open_clip", "CustomTextCLIP", _custom),
    "open_clip custom vit with options": ("open_clip", "CustomTextCLIP", lambda: _options(_custom)),
    "open_clip siglip": ("open_clip", "CustomTextCLIP", _siglip),
    "open_clip roberta": (
        "open_clip",
        "CustomTextCLIP",
        lambda: _with_huggingface_text("Roberta", "mean_pooler", "mlp"),
    ),
    "open_clip xlm-roberta": (
        "open_clip",
        "CustomTextCLIP",
        lambda: _with_huggingface_text("XLMRoberta", "mean_pooler", "linear"),
    ),
    "open_clip bert": ("open_clip", "CustomTextCLIP", lambda: _with_huggingface_text("Bert", "cls_pooler", "linear")),
    "clip": ("huggingface", "CLIPModel", lambda: _both("CLIP", _clip_text(), _clip_vision(), projection_dim=EMBED)),
    "clip image projected": (
        "huggingface",
        "CLIPVisionModelWithProjection",
        lambda: _transformers("CLIPVisionModelWithProjection")(_clip_vision()),
    ),
    "clip text projected": (
        "huggingface",
        "CLIPTextModelWithProjection",
        lambda: _transformers("CLIPTextModelWithProjection")(_clip_text()),
    ),
    "clip image": ("huggingface", "CLIPVisionModel", lambda: _transformers("CLIPVisionModel")(_clip_vision())),
    "clip text": ("huggingface", "CLIPTextModel", lambda: _transformers("CLIPTextModel")(_clip_text())),
    "siglip": ("huggingface", "SiglipModel", lambda: _both("Siglip", _siglip_text(), _siglip_vision())),
    "siglip image": ("huggingface", "SiglipVisionModel", lambda: _transformers("SiglipVisionModel")(_siglip_vision())),
    "siglip text": ("huggingface", "SiglipTextModel", lambda: _transformers("SiglipTextModel")(_siglip_text())),
    "dual clip roberta": (
        "huggingface",
        "VisionTextDualEncoderModel",
        lambda: _dual(_clip_vision(), _transformers("RobertaConfig")(**BERT)),
    ),
    "dual vit bert": (
        "huggingface",
        "VisionTextDualEncoderModel",
        lambda: _dual(_vit(), _transformers("BertConfig")(**BERT)),
    ),
    "dual vit xlm-roberta": (
        "huggingface",
        "VisionTextDualEncoderModel",
        lambda: _dual(_vit(), _transformers("XLMRobertaConfig")(**BERT)),
    ),
    "dual vit clip": ("huggingface", "VisionTextDualEncoderModel", lambda: _dual(_vit(), _clip_text())),
}


def build(kind: str):
    """A tiny random model of one kind."""
    _, _, make = KINDS[kind]
    return make().eval()


def saved(model, kind: str) -> Dict[str, np.ndarray]:
    """The arrays that the library writes for `model`."""
    if KINDS[kind][0] == "open_clip":
        return {name: value.numpy() for name, value in model.state_dict().items()}
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder, "model.safetensors"))


def loaded(kind: str, model, arrays: Mapping[str, np.ndarray]):
    """`model`, or another like it, with `arrays`, loaded strictly as its library does."""
    import torch

    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    if KINDS[kind][0] == "open_clip":
        model.load_state_dict(tensors, strict=True)
        return model
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        save_file({name: value.contiguous() for name, value in tensors.items()}, Path(folder, "model.safetensors"))
        model, report = type(model).from_pretrained(folder, output_loading_info=True)
    wrong = {what: report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[what]}
    assert not wrong, wrong
    return model


if __name__ == "__main__":
    recorded = []
    for kind in KINDS:
        arrays = sorted(saved(build(kind), kind).items())
        rows = ",\n".join(f"  {json.dumps(name)}: {list(array.shape)}" for name, array in arrays)
        recorded.append(f"{json.dumps(kind)}: {{\n{rows}\n}}")
    NAMES.write_text("{\n" + ",\n".join(recorded) + "\n}\n")
