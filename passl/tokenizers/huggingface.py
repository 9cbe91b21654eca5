"""Which tokenizer a folder of Hugging Face's form holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Literal

from passl.tokenizers.clip import ClipTokenizer, bundled_tokenizer
from passl.tokenizers.files import FileTokenizer
from passl.tokenizers.pipelines import read_merges
from passl.tokenizers.settings import read_object, read_settings
from passl.utils.files import PathLike
from passl.utils.logging import get_logger


def tokenizer_spec_from_huggingface(folder: PathLike, context_length: int) -> Dict[str, Any]:
    """The specification of the tokenizer in a folder that transformers wrote or reads.

    CLIP's vocabulary is the bundled one and needs no files; any other is a `FileTokenizer`, whose files
    `build_tokenizer(spec, folder)` finds there. Ids are those of transformers' AutoTokenizer for the same folder.

    Args:
        folder: what holds the tokenizer's files; config.json beside them tells SigLIP2 from Gemma.
        context_length: the number of tokens that the text tower takes.

    Raises:
        UserError: no tokenizer there, or one that cannot be read.
    """
    folder = Path(folder)
    if _is_clip(folder):
        return ClipTokenizer(context_length=context_length).spec
    tokenizer = FileTokenizer(clean=_cleaning(folder), folder=str(folder), context_length=context_length)
    _ = tokenizer.opened  # what cannot be read is refused now, not at the first caption
    return tokenizer.spec


def _cleaning(folder: Path) -> Literal["none", "siglip", "siglip2"]:
    """How transformers cleans captions for the tokenizer in `folder`."""
    said = read_settings(folder).tokenizer_class
    config = folder / "config.json"
    model = read_object(config).get("model_type") if config.is_file() else None
    if said == "SiglipTokenizer":
        return "siglip"
    if said == "Siglip2Tokenizer" or model == "siglip2":
        return "siglip2"
    if said == "GemmaTokenizer" and model == "siglip":
        get_logger().warning(
            "%s: transformers keeps capitals with this tokenizer, and so does passl, but SigLIP 2 was trained on lower case; "
            "give lower-case captions, or set clean: siglip2",
            folder,
        )
    return "none"


def _is_clip(folder: Path) -> bool:
    """Whether the vocabulary in `folder` is the bundled one, in the older form or in tokenizer.json."""
    vocabulary, merges, whole = (folder / name for name in ("vocab.json", "merges.txt", "tokenizer.json"))
    ours = bundled_tokenizer()
    if vocabulary.is_file() and merges.is_file():
        return read_object(vocabulary) == ours.encoder and read_merges(merges) == list(ours.bpe_ranks)
    model = read_object(whole).get("model") if whole.is_file() else None
    if not isinstance(model, dict) or model.get("vocab") != ours.encoder:
        return False
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges", ())]
    return pairs == [list(pair) for pair in ours.bpe_ranks]
