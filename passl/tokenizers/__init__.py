"""Text to token ids: CLIP's byte-pair tokenizer with its vocabulary.

Imports `utils` alone. The vocabulary is read when a tokenizer is first used, Paddle when a tensor is first asked for.
"""

from passl.tokenizers.bpe import bytes_to_unicode, get_pairs
from passl.tokenizers.cleaning import basic_clean, whitespace_clean
from passl.tokenizers.clip import ClipTokenizer, build_tokenizer, tokenize
from passl.tokenizers.simple import SimpleTokenizer

__all__ = [
    "ClipTokenizer",
    "SimpleTokenizer",
    "basic_clean",
    "build_tokenizer",
    "bytes_to_unicode",
    "get_pairs",
    "tokenize",
    "whitespace_clean",
]
