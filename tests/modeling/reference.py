"""The reference implementation (open_clip, which runs the original code's models) and what compares it with ours.

Everything that needs torch is imported inside functions: the default suite uses the name map alone.
"""

from __future__ import annotations

import sys
import types
from typing import Any, Dict, Mapping

import numpy as np


def import_open_clip():
    """open_clip, also beside a torchvision whose compiled operators do not load (built for another torch)."""
    for name in ("_meta_registrations", "_autograd_registrations"):
        # Both only register those operators; open_clip's models use none of them.
        sys.modules.setdefault(f"torchvision.{name}", types.ModuleType(name))
    import open_clip

    return open_clip


def build(architecture: Mapping[str, Any]):
    """open_clip's model with the sizes of one of our `architecture` sections, on the CPU, in evaluation mode."""
    import_open_clip()
    from open_clip.model import CLIP

    vision = {
        "layers": architecture["vision_layers"],
        "width": architecture["vision_width"],
        "patch_size": architecture.get("vision_patch_size"),
        "image_size": architecture["image_resolution"],
    }
    if architecture.get("vision_heads") is not None:
        total = vision["width"] * (1 if isinstance(vision["layers"], int) else 32)
        vision["head_width"] = total // architecture["vision_heads"]
    text = {
        "context_length": architecture.get("context_length", 77),
        "vocab_size": architecture.get("vocab_size", 49408),
        "width": architecture["transformer_width"],
        "heads": architecture["transformer_heads"],
        "layers": architecture["transformer_layers"],
    }
    quick_gelu = architecture.get("activation", "quick_gelu") == "quick_gelu"
    return CLIP(architecture["embed_dim"], vision, text, quick_gelu=quick_gelu).eval()


def disturb(model, seed: int) -> None:
    """Moves every parameter and statistic off its initial value, so that a zero, a one or a forgotten bias shows."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name == "logit_scale" or not value.dtype.is_floating_point:
                continue
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.ndim == 1 and name.endswith("weight"):
                value.copy_(1 + 0.2 * torch.randn(value.shape, generator=generator))
            elif value.ndim == 1:
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
            else:
                value.mul_(1 + 0.5 * torch.rand(value.shape, generator=generator))


def to_our_names(arrays: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """OpenAI's names and layout to ours. Only for these tests; the converter for users is in `passl.checkpoint`."""
    named = {}
    for name, array in arrays.items():
        if name.endswith("num_batches_tracked") or name == "attn_mask":
            continue
        is_patch_projection = name == "visual.conv1.weight" and "visual.class_embedding" in arrays
        named["visual.patch_embed.proj.weight" if is_patch_projection else _renamed(name)] = array
    return to_our_layout(named)


def to_our_layout(named: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """PyTorch's layout to ours: matrices that were fused are split, linear weights become [in, out].

    So do the arrays whose name ends in ".T", which it loses.
    """
    ours: Dict[str, np.ndarray] = {}
    for name, array in named.items():
        fused = next((word for word in ("in_proj_", "kv_proj_") if word in name), None)
        if fused is not None:
            stem, kind = name.rsplit(fused, 1)
            letters = "qkv" if fused == "in_proj_" else "kv"
            for letter, part in zip(letters, np.split(array, len(letters))):
                ours[f"{stem}{letter}_proj.{kind}"] = part.T
        elif name.endswith(("_proj.weight", "fc1.weight", "fc2.weight", ".T")):
            ours[name[:-2] if name.endswith(".T") else name] = array.T
        else:
            ours[name] = array
    return {name: np.ascontiguousarray(array) if array.ndim else array for name, array in ours.items()}


_PARTS = {
    "ln_pre": "norm_pre",
    "ln_post": "norm_post",
    "ln_final": "norm_final",
    "text_projection": "projection",
    "transformer.resblocks": "blocks",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "ls_1": "scale1",
    "ls_2": "scale2",
    "downsample.0": "downsample.conv",
    "downsample.1": "downsample.bn",
    "running_mean": "_mean",
    "running_var": "_variance",
}


def _renamed(name: str) -> str:
    if name == "logit_scale":
        return name
    tower, name = ("visual.", name[len("visual.") :]) if name.startswith("visual.") else ("text.", name)
    for theirs, ours in _PARTS.items():
        name = name.replace(theirs, ours)
    return tower + name
