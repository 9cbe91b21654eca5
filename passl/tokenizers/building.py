"""The tokenizer that a model's specification names."""

from __future__ import annotations

import inspect
from typing import Any, Mapping, Optional

from passl.tokenizers.base import Tokenizer
from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.utils.registry import TOKENIZERS, nearest


def build_tokenizer(spec: Mapping[str, Any], folder: Optional[PathLike] = None) -> Tokenizer:
    """The tokenizer that a model's specification names.

    Args:
        spec: `{"name": "ClipTokenizer", "context_length": 77}`, or another registered class and its settings.
        folder: the model folder it comes with, where its files are looked for.

    Raises:
        UserError: an unknown name or setting, or a value that the setting does not take.
    """
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise UserError(f"a tokenizer is a mapping with the key 'name', not {spec!r}")
    accepted = inspect.signature(TOKENIZERS.get(spec["name"])).parameters
    for key in spec:
        if key != "name" and key not in accepted:
            raise UserError(
                f"{spec['name']} has no setting {key!r}.{nearest(key, accepted)} Accepted: {', '.join(accepted)}"
            )
    tokenizer = TOKENIZERS.build(spec)
    if folder is not None:
        tokenizer.attach(folder)
    return tokenizer
