"""What the small files beside a vocabulary say: special tokens, the class that transformers uses, the side of padding."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, Mapping, NoReturn, Optional

from passl.utils.errors import UserError
from passl.utils.strict_json import MAX_VOCABULARY, read_mapping

CONFIG_FILE, SPECIAL_TOKENS_FILE = "tokenizer_config.json", "special_tokens_map.json"
SETTINGS_FILES = (CONFIG_FILE, SPECIAL_TOKENS_FILE)


class Settings:
    """The entries of tokenizer_config.json and special_tokens_map.json."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    @property
    def tokenizer_class(self) -> str:
        """The class of transformers, without the ending of its quicker variant; empty if it is not said."""
        return str(self.values.get("tokenizer_class") or "").removesuffix("Fast")

    @property
    def is_padded_left(self) -> bool:
        """Whether rows are filled up in front of the text."""
        return self.values.get("padding_side") == "left"

    def token(self, kind: str) -> Optional[str]:
        """A special token's text, such as that of "pad_token"; None if the files do not name it."""
        token = self.values.get(kind)
        if isinstance(token, Mapping):
            token = token.get("content")
        return token if isinstance(token, str) else None

    def token_fields(self, kind: str) -> Dict[str, bool]:
        """How a special token is found in a text, as far as the files say it: `lstrip`, `rstrip`, `single_word`."""
        token = self.values.get(kind)
        fields = token if isinstance(token, Mapping) else {}
        return {key: bool(fields[key]) for key in ("lstrip", "rstrip", "single_word") if key in fields}


def read_settings(folder: Path) -> Settings:
    """The settings in a folder; nothing is said where the files are missing. Raises `UserError` for broken ones.

    Where both files name a token, tokenizer_config.json counts if it also lists the added tokens: newer programs, which
    write that list, leave an old special_tokens_map.json behind.
    """
    config, tokens = (read_object(folder / name) if (folder / name).is_file() else {} for name in SETTINGS_FILES)
    return Settings({**tokens, **config} if "added_tokens_decoder" in config else {**config, **tokens})


def read_object(path: Path) -> Dict[str, Any]:
    """The JSON object in a file. Raises `UserError` if there is none."""
    return read_mapping(path, str(path), _refuse, MAX_VOCABULARY)


def _refuse(reason: str) -> NoReturn:
    raise UserError(f"{reason}: {MEND}") from None


MEND = "it is damaged or another file; copy it again from where the tokenizer was published"


def library(name: str, file: Path) -> ModuleType:
    """The package that reads `file`. Raises `UserError` if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{file} is read with the package {name}, which cannot be imported ({error}): pip install {name}"
        ) from None
