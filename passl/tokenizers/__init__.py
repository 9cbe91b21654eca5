"""Text to token ids: CLIP's byte-pair tokenizer with its vocabulary, and tokenizers whose vocabulary comes in files.

Imports `utils` alone. Vocabularies are read when a tokenizer is first used, the packages `tokenizers` and
`sentencepiece` when a file needs them, Paddle when a tensor is first asked for.
"""

from passl.tokenizers.base import Tokenizer
from passl.tokenizers.bpe import bytes_to_unicode, get_pairs
from passl.tokenizers.building import build_tokenizer
from passl.tokenizers.cleaning import basic_clean, whitespace_clean
from passl.tokenizers.clip import ClipTokenizer, tokenize
from passl.tokenizers.files import FileTokenizer
from passl.tokenizers.huggingface import tokenizer_spec_from_huggingface
from passl.tokenizers.simple import SimpleTokenizer

__all__ = [
    "ClipTokenizer",
    "FileTokenizer",
    "SimpleTokenizer",
    "Tokenizer",
    "basic_clean",
    "build_tokenizer",
    "bytes_to_unicode",
    "get_pairs",
    "tokenize",
    "tokenizer_spec_from_huggingface",
    "whitespace_clean",
]
