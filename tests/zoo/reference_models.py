"""Randomly initialised models of other toolkits, saved as their own libraries save them, and what they say.

Each builder takes an empty folder, puts its weights there and returns a `Saved`. Everything that needs torch is imported
inside functions.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

import numpy as np

TESTS = Path(__file__).parents[1]
IS_SAVED_IN_HALF = False


def _module(path: Path):
    name = f"beside_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


reference = _module(TESTS / "modeling" / "reference.py")


@dataclass
class Saved:
    """A saved reference.

    Attributes:
        path: the weights, a file or a folder.
        model: the reference itself.
        arguments: what the converter has to be told beside SOURCE and TARGET.
        inputs: for the reference and for ours alike.
        encode: tower name to what the reference gives for its input.
    """

    path: Path
    model: Any
    inputs: Dict[str, np.ndarray]
    encode: Mapping[str, Callable[[np.ndarray], Any]]
    arguments: List[str] = field(default_factory=list)

    def outputs(self) -> Dict[str, np.ndarray]:
        """Unit-length features of each tower, and logits where there are both."""
        import torch

        found = {}
        with torch.no_grad():
            for tower, encode in self.encode.items():
                rows = encode(torch.from_numpy(self.inputs[tower])).float().numpy()
                found[tower] = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
            if len(found) == 2:
                bias = getattr(self.model, "logit_bias", None)
                found["logits"] = self.model.logit_scale.exp().item() * found["image"] @ found["text"].T
                found["logits"] += 0.0 if bias is None else bias.item()
        return found


def _precise(model):
    """The model in the precision to save it in."""
    return model.half() if IS_SAVED_IN_HALF else model


def random_image(size: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 3, size, size)).astype(np.float32)


def random_text(length: int, vocab_size: int, end: Optional[int] = None, pad: int = 0) -> np.ndarray:
    """Three texts of different length; `end` closes each and `pad` fills up."""
    random = np.random.default_rng(2)
    rows = np.full((3, length), pad, dtype=np.int64)
    for row, count in zip(rows, (length // 2, length // 3 + 1, length)):
        row[:count] = random.integers(3, vocab_size - 4, size=count)
        if end is not None:
            row[count - 1] = end
    return rows


# ------------------------------------------------------------------------------------------------- open_clip, OpenAI


def open_clip_model(config: Mapping[str, Any], text_config: Any = None):
    """open_clip's class for one of its model configs; `text_config` stands for the config of a text tower on a hub."""
    open_clip = reference.import_open_clip()
    import torch
    from open_clip import model as models

    torch.manual_seed(0)
    config = dict(config)
    is_custom = config.pop("custom_text", False) or text_config is not None
    if text_config is None:
        model = (models.CustomTextCLIP if is_custom else models.CLIP)(**config)
    else:
        from unittest import mock

        text = {**config["text_cfg"], "hf_model_pretrained": False}
        with mock.patch("transformers.AutoConfig.from_pretrained", lambda name: text_config):
            model = open_clip.CustomTextCLIP(**{**config, "text_cfg": text})
    reference.disturb(model, seed=3)
    return model.eval()


def _encoders(model) -> Dict[str, Callable]:
    return {"image": model.encode_image, "text": model.encode_text}


def _words(end: bool = False) -> Dict[str, Any]:
    vocab_size = TEXT["vocab_size"]
    return {"length": TEXT["context_length"], "vocab_size": vocab_size, "end": vocab_size - 1 if end else None}


def _open_clip_saved(folder: Path, config: Mapping[str, Any], text_config: Any = None, **text: Any) -> Saved:
    """A file of weights and open_clip's own config beside it."""
    import json

    import torch

    model = open_clip_model(config, text_config)
    torch.save(_precise(model).state_dict(), folder / "open_clip_pytorch_model.bin")
    model.float()
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    size = config["vision_cfg"]["image_size"]
    return Saved(folder, model, {"image": random_image(size), "text": random_text(**text)}, _encoders(model))


TEXT = {"context_length": 16, "vocab_size": 200, "width": 64, "heads": 1, "layers": 2}
VIT = {"image_size": 48, "layers": 2, "width": 128, "patch_size": 16}
RESNET = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 16}
PLAIN = {"embed_dim": 32, "vision_cfg": VIT, "text_cfg": TEXT}


def openai_archive(folder: Path, vision: Mapping[str, Any] = VIT, text: Mapping[str, Any] = TEXT, embed_dim: int = 32):
    """A TorchScript archive in half precision, with OpenAI's names and its three numbers."""
    import torch

    model = open_clip_model({"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True})
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    state = {name: value for name, value in state.items() if name != "attn_mask"}
    numbers = {"input_resolution": vision["image_size"], "context_length": text["context_length"]}
    numbers["vocab_size"] = text["vocab_size"]
    torch.jit.save(torch.jit.script(_nested(state, numbers)), folder / "model.pt")
    model.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    inputs = {
        "image": random_image(vision["image_size"]),
        "text": random_text(text["context_length"], text["vocab_size"], end=text["vocab_size"] - 1),
    }
    return Saved(folder / "model.pt", model, inputs, _encoders(model))


def _nested(state: Mapping[str, Any], numbers: Mapping[str, int]):
    """A module whose parameters and buffers have these dotted names."""
    import torch

    class Part(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    root = Part()
    for name, value in state.items():
        *path, last = name.split(".")
        part = root
        for step in path:
            if step not in dict(part.named_children()):
                part.add_module(step, Part())
            part = getattr(part, step)
        if last in ("running_mean", "running_var", "num_batches_tracked"):
            part.register_buffer(last, value)
        else:
            part.register_parameter(last, torch.nn.Parameter(value, requires_grad=False))
    for name, number in numbers.items():
        root.register_buffer(name, torch.tensor(number))
    return root


def open_clip_training_checkpoint(folder: Path) -> Saved:
    """What a run of open_clip's trainer leaves, from a compiled model in a wrapper for several processes."""
    import torch

    model = open_clip_model(PLAIN)
    state = {f"module._orig_mod.{name}": value for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters())
    content = {"epoch": 3, "name": "run", "state_dict": state, "optimizer": optimizer.state_dict()}
    torch.save(content, folder / "epoch_3.pt")
    saved = _open_clip_saved(folder, PLAIN, **_words(end=True))
    (folder / "open_clip_pytorch_model.bin").unlink()
    return Saved(folder / "epoch_3.pt", saved.model, saved.inputs, saved.encode)


def open_clip_plain(folder: Path) -> Saved:
    return _open_clip_saved(folder, PLAIN, **_words(end=True))


def open_clip_resnet(folder: Path) -> Saved:
    config = {"embed_dim": 32, "vision_cfg": RESNET, "text_cfg": TEXT}
    return _open_clip_saved(folder, config, **_words(end=True))


def open_clip_layer_scale(folder: Path) -> Saved:
    config = {"embed_dim": 32, "vision_cfg": {**VIT, "ls_init_value": 1e-4, "mlp_ratio": 3.3}, "text_cfg": TEXT}
    return _open_clip_saved(folder, config, **_words(end=True))


def open_clip_clipa(folder: Path) -> Saved:
    vision = {**VIT, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}
    text = {**TEXT, "pool_type": "last", "no_causal_mask": True}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    return _open_clip_saved(folder, config, **_words())


def open_clip_siglip(folder: Path) -> Saved:
    """The smallest SigLIP that timm has, its text tower cut down."""
    text = {"context_length": 16, "vocab_size": 200, "width": 64, "heads": 4, "layers": 2, "no_causal_mask": True}
    text.update({"proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}})
    vision = {
        "image_size": 256,
        "timm_model_name": "vit_base_patch32_siglip_256",
        "timm_pool": "map",
        "timm_proj": "none",
    }
    config = {"embed_dim": 768, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision, "text_cfg": text}
    return _open_clip_saved(folder, config, **_words())


def open_clip_roberta(folder: Path) -> Saved:
    """roberta-base as a text tower, at its real size: open_clip reads its sizes from the hub by that name."""
    import transformers

    sizes = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "vocab_size": 50265}
    config = {"embed_dim": 512, "vision_cfg": {**VIT, "width": 128}, "text_cfg": {}}
    config["text_cfg"] = {"hf_model_name": "roberta-base", "hf_pooler_type": "mean_pooler"}
    text = {"length": 20, "vocab_size": 50265, "end": 2, "pad": 1}
    return _open_clip_saved(folder, config, transformers.RobertaConfig(**sizes), **text)


# ----------------------------------------------------------------------------------------------------- Hugging Face


def _huggingface_saved(
    folder: Path,
    model,
    inputs: Dict[str, np.ndarray],
    padding: Optional[int] = None,
    vocabulary: Optional[str] = None,
) -> Saved:
    reference.disturb(model.eval(), seed=4)
    _precise(model).save_pretrained(folder)
    model.float()
    if vocabulary is not None:
        shutil.copytree(TESTS / "tokenizers" / "vocabularies" / vocabulary, folder, dirs_exist_ok=True)

    def image(pixels):
        return _tensor(model.get_image_features(pixel_values=pixels), "image")

    def text(ids):
        marks = {} if padding is None else {"attention_mask": (ids != padding).long()}
        return _tensor(model.get_text_features(input_ids=ids, **marks), "text")

    encode = {"image": image, "text": text}
    if not hasattr(model, "get_text_features"):
        encode = {"image": lambda pixels: _tensor(model(pixel_values=pixels), "image")}
    if not hasattr(model, "get_image_features") and "text" in inputs:
        encode = {"text": lambda ids: _tensor(model(input_ids=ids), "text")}
    return Saved(folder, model, inputs, encode)


def _tensor(output: Any, tower: str):
    for name in (f"{tower}_embeds", "pooler_output"):
        output = getattr(output, name, output)
    return output


HF_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
HF_VISION = {**HF_TEXT, "image_size": 48, "patch_size": 16}
HF_WORDS = {"vocab_size": 200, "max_position_embeddings": 16}
CLIP_WORDS = {"vocab_size": 49408, "max_position_embeddings": 16}
MARKS = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 1}


def _clip_text() -> np.ndarray:
    vocab_size = CLIP_WORDS["vocab_size"]
    return random_text(CLIP_WORDS["max_position_embeddings"], vocab_size, end=vocab_size - 1, pad=1)


def huggingface_clip(folder: Path, **marks: int) -> Saved:
    import torch
    import transformers

    torch.manual_seed(0)
    text = {**HF_TEXT, **CLIP_WORDS, **(marks or MARKS)}
    config = transformers.CLIPConfig(text_config=text, vision_config=HF_VISION, projection_dim=32)
    inputs = {"image": random_image(HF_VISION["image_size"]), "text": _clip_text()}
    return _huggingface_saved(folder, transformers.CLIPModel(config), inputs)


def huggingface_clip_legacy(folder: Path) -> Saved:
    """Configs of before 2023 say 2 for the end mark, and the model then reads the highest id."""
    return huggingface_clip(folder, bos_token_id=0, eos_token_id=2, pad_token_id=1)


def huggingface_clip_vision(folder: Path) -> Saved:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(**HF_VISION, projection_dim=32, hidden_act="gelu")
    model = transformers.CLIPVisionModelWithProjection(config)
    return _huggingface_saved(folder, model, {"image": random_image(HF_VISION["image_size"])})


def huggingface_clip_text(folder: Path) -> Saved:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(**HF_TEXT, **CLIP_WORDS, **MARKS, projection_dim=32)
    model = transformers.CLIPTextModelWithProjection(config)
    return _huggingface_saved(folder, model, {"text": _clip_text()})


def huggingface_siglip(folder: Path) -> Saved:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.SiglipConfig(text_config={**HF_TEXT, **HF_WORDS}, vision_config=HF_VISION)
    inputs = {"image": random_image(HF_VISION["image_size"]), "text": random_text(16, HF_WORDS["vocab_size"], pad=1)}
    return _huggingface_saved(folder, transformers.SiglipModel(config), inputs, vocabulary="siglip")


def huggingface_clip_roberta(folder: Path) -> Saved:
    import torch
    import transformers

    torch.manual_seed(0)
    vision = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**HF_VISION))
    words = {"vocab_size": 400, "max_position_embeddings": 40, "type_vocab_size": 1, "pad_token_id": 1}
    text = transformers.RobertaModel(transformers.RobertaConfig(**HF_TEXT, **words))
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        vision.config, text.config, projection_dim=32
    )
    model = transformers.VisionTextDualEncoderModel(config, vision, text)
    inputs = {"image": random_image(HF_VISION["image_size"]), "text": random_text(38, 200, pad=1)}
    return _huggingface_saved(folder, model, inputs, padding=1, vocabulary="roberta")


def huggingface_vit_bert(folder: Path) -> Saved:
    import torch
    import transformers

    torch.manual_seed(0)
    vision = transformers.ViTModel(transformers.ViTConfig(**HF_VISION))
    words = {"vocab_size": HF_WORDS["vocab_size"], "max_position_embeddings": 40}
    text = transformers.BertModel(transformers.BertConfig(**HF_TEXT, **words))
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        vision.config, text.config, projection_dim=32
    )
    model = transformers.VisionTextDualEncoderModel(config, vision, text)
    inputs = {"image": random_image(HF_VISION["image_size"]), "text": random_text(40, words["vocab_size"], pad=0)}
    return _huggingface_saved(folder, model, inputs, padding=0, vocabulary="bert")


BUILDERS: Dict[str, Callable[[Path], Saved]] = {
    "OpenAI archive, ViT": openai_archive,
    "OpenAI archive, ResNet": lambda folder: openai_archive(folder, RESNET),
    "open_clip training checkpoint": open_clip_training_checkpoint,
    "open_clip ResNet": open_clip_resnet,
    "open_clip ViT with layer scale": open_clip_layer_scale,
    "open_clip CLIPA": open_clip_clipa,
    "open_clip SigLIP": open_clip_siglip,
    "open_clip with RoBERTa": open_clip_roberta,
    "CLIPModel": huggingface_clip,
    "CLIPModel of before 2023": huggingface_clip_legacy,
    "CLIPVisionModelWithProjection": huggingface_clip_vision,
    "CLIPTextModelWithProjection": huggingface_clip_text,
    "SiglipModel": huggingface_siglip,
    "VisionTextDualEncoderModel, CLIP and RoBERTa": huggingface_clip_roberta,
    "VisionTextDualEncoderModel, ViT and BERT": huggingface_vit_bert,
}

# Last parts of names that hold no learned number, and are made anew by the libraries that save them.
HARMLESS = {"num_batches_tracked", "position_ids", "input_resolution", "context_length", "vocab_size", "attn_mask"}
