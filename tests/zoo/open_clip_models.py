"""open_clip's own models for its names, without network, and the record of their sizes.

    python tests/zoo/open_clip_models.py

in an environment with requirements-peers.txt writes `open_clip_names.json`: for every name that open_clip lists
the parameters [whole model, image tower, text tower], or null where passl does not have the model.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional
from unittest import mock

HERE = Path(__file__).parent
RECORD = HERE / "open_clip_names.json"

sys.path.insert(0, str(HERE.parent / "modeling"))

from reference import import_open_clip  # noqa: E402

# The published configurations of the text towers that open_clip takes from Hugging Face.
_ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
TEXT_TOWERS: Dict[str, Dict[str, Any]] = {
    "roberta-base": {"model_type": "roberta", "vocab_size": 50265, **_ROBERTA},
    "xlm-roberta-base": {"model_type": "xlm-roberta", "vocab_size": 250002, **_ROBERTA},
    "xlm-roberta-large": {"model_type": "xlm-roberta", "vocab_size": 250002, **_ROBERTA, **_LARGE},
}


def names() -> List[str]:
    """Every name that open_clip lists."""
    return sorted(import_open_clip().list_models())


def build(name: str, num_layers: Optional[int] = None, vocab_size: Optional[int] = None, device: str = "cpu"):
    """open_clip's model of that name, newly initialised, in evaluation mode.

    Args:
        name: as open_clip spells it.
        num_layers: blocks of each transformer in place of the real number; ResNets keep theirs.
        vocab_size: rows of the text tower's vocabulary in place of the real number.
        device: "meta" counts without allocating.
    """
    open_clip = import_open_clip()
    import torch
    from open_clip import model as models

    config = open_clip.get_model_config(name)
    is_custom = config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"]["hf_model_pretrained"] = False
    if vocab_size is not None:
        config["text_cfg"]["vocab_size"] = vocab_size
    if num_layers is not None:
        config["text_cfg"]["layers"] = num_layers
        if not isinstance(config["vision_cfg"].get("layers"), list):
            config["vision_cfg"]["layers"] = num_layers
    kind = models.CustomTextCLIP if is_custom else models.CLIP
    with torch.device(device), _offline(num_layers):
        return kind(**config).eval()


@contextlib.contextmanager
def _offline(num_layers: Optional[int]) -> Iterator[None]:
    """Inside, Hugging Face's configurations come from `TEXT_TOWERS`, and timm's towers have `num_layers` blocks."""
    import timm
    from open_clip import hf_model
    from transformers import AutoConfig

    def published(name: str):
        values = dict(TEXT_TOWERS[name])
        if num_layers is not None:
            values["num_hidden_layers"] = num_layers
        return AutoConfig.for_model(values.pop("model_type"), **values)

    depth = {} if num_layers is None else {"depth": num_layers}
    create = functools.partial(timm.create_model, **depth)
    with (
        mock.patch.object(hf_model.AutoConfig, "from_pretrained", published),
        mock.patch.object(timm, "create_model", create),
    ):
        yield


def count(name: str) -> List[int]:
    """Parameters of the whole model, its image tower and its text tower."""
    model = build(name, device="meta")
    total = sum(value.numel() for value in model.parameters())
    image = sum(value.numel() for value in model.visual.parameters())
    scalars = sum(value.numel() for key, value in model.named_parameters() if key in ("logit_scale", "logit_bias"))
    return [total, image, total - image - scalars]


def preprocessing(name: str) -> List[Dict[str, Any]]:
    """The ways in which the published weights of a name want images prepared, each once."""
    from open_clip.pretrained import _PRETRAINED

    keys = ("mean", "std", "interpolation", "resize_mode")
    found: List[Dict[str, Any]] = []
    for tag in _PRETRAINED.get(name, {}).values():
        wanted = {key: list(tag[key]) if key in ("mean", "std") else tag[key] for key in keys}
        if wanted not in found:
            found.append(wanted)
    return found


def main() -> None:
    """Writes the record."""
    sys.path.insert(0, str(HERE.parents[1]))
    from passl.zoo.names import list_models

    ours = set(list_models())
    rows = [f"  {json.dumps(name)}: {json.dumps(count(name) if name in ours else None)}" for name in names()]
    RECORD.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
