"""The tokenizer that belongs to a model."""

from __future__ import annotations

import os
from typing import Optional

from passl.tokenizers import Tokenizer, build_tokenizer
from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.zoo.hub import tokenizer_folder
from passl.zoo.names import architecture_of
from passl.zoo.records import local_path, require_record


def get_tokenizer(name_or_path: PathLike, folder: Optional[PathLike] = None) -> Tokenizer:
    """The tokenizer of a model.

    Args:
        name_or_path: what `passl.create_model` takes: a name, a model folder, or `hf-hub:organisation/name`.
        folder: where the tokenizer's files are. Without it they are looked for in the model's folder, and those of a
            named model are downloaded. CLIP's own vocabulary comes with passl.

    Raises:
        UserError: no such model, a model without texts, or files that are missing and cannot be downloaded.

    Example:
        >>> get_tokenizer("ViT-B-32").ids(["a cat"]).shape
        (1, 77)
    """
    path = local_path(name_or_path, with_weights=False)
    if path is not None:
        spec = require_record(path)[0]["tokenizer"]
        if spec is None:
            raise UserError(f"{path} holds a model without a text tower, so it has no tokenizer")
        return build_tokenizer(spec, folder=folder or (path if path.is_dir() else path.parent))
    node = architecture_of(os.fspath(name_or_path))
    spec = {**(node.get("tokenizer") or {"name": "ClipTokenizer"}), "context_length": node["text"]["context_length"]}
    if folder is None and spec.get("source"):
        folder = tokenizer_folder(spec["source"])
    return build_tokenizer(spec, folder=folder)
