"""The tokenizer that belongs to a model."""

from __future__ import annotations

import os

from passl.checkpoint import read_spec
from passl.tokenizers import ClipTokenizer, build_tokenizer
from passl.utils.files import PathLike
from passl.zoo.names import architecture_of, is_model_name


def get_tokenizer(name_or_folder: PathLike) -> ClipTokenizer:
    """The tokenizer of a model.

    Args:
        name_or_folder: a name of `passl.list_models()`, OpenAI's spelling of one, or a folder that `save_pretrained`
            wrote.

    Raises:
        UserError: neither of them.

    Example:
        >>> get_tokenizer("ViT-B-32").ids(["a cat"]).shape
        (1, 77)
    """
    name_or_folder = os.fspath(name_or_folder)
    if not is_model_name(name_or_folder) and os.path.isdir(name_or_folder):
        return build_tokenizer(read_spec(name_or_folder)["tokenizer"], folder=name_or_folder)
    return ClipTokenizer(context_length=architecture_of(name_or_folder)["context_length"])
