"""The old place of the tokenizer, kept for notebooks that import it from here; its home is `passl.tokenizers`."""

from passl.tokenizers import (
    SimpleTokenizer,
    basic_clean,
    bytes_to_unicode,
    get_pairs,
    tokenize,
    whitespace_clean,
)

__all__ = ["SimpleTokenizer", "basic_clean", "bytes_to_unicode", "get_pairs", "tokenize", "whitespace_clean"]
