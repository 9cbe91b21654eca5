"""CLIP's tokenizer: a case-insensitive byte-pair code of 49,408 ids.

Ids are equal to those of OpenAI's code on any text. What differs is the speed: plain text skips the cleaning that would
not change it, words are remembered (up to a bound), and long words are merged in n log n.
"""

from __future__ import annotations

import os
from typing import Any, Iterable, List, Optional, Union

import regex

from passl.tokenizers import cleaning
from passl.tokenizers.bpe import BUNDLED_VOCABULARY, bytes_to_unicode, merge, read_merges
from passl.utils.errors import UserError

START = "<|startoftext|>"
END = "<|endoftext|>"
END_OF_WORD = "</w>"

# A mark of the vocabulary, an English ending, a run of letters, one digit, or a run of anything else that is no space.
PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class WordCache(dict):
    """What is known of short words. It empties itself when full, so that it never holds more than about 20 MB."""

    max_words = 1 << 16
    max_letters = 64

    def keep(self, word: str, value: Any) -> None:
        """Remembers `value` for `word`, unless the word is so long that it will hardly come again."""
        if len(word) <= self.max_letters:
            if len(self) >= self.max_words:
                self.clear()
            self[word] = value


class SimpleTokenizer:
    """Text to ids and back.

    Args:
        bpe_path: a gzip-compressed vocabulary file; the bundled one of CLIP if left out.

    Attributes:
        encoder, decoder: symbol to id, id to symbol.
        bpe_ranks: each merge with its rank, lower first.
        byte_encoder, byte_decoder: byte to printable character and back.
    """

    def __init__(self, bpe_path: Optional[Union[str, os.PathLike[str]]] = None) -> None:
        merges = read_merges(BUNDLED_VOCABULARY if bpe_path is None else bpe_path)
        self.byte_encoder = bytes_to_unicode()
        self.byte_decoder = {character: byte for byte, character in self.byte_encoder.items()}
        characters = list(self.byte_encoder.values())
        symbols = [*characters, *(c + END_OF_WORD for c in characters), *map("".join, merges), START, END]
        self.encoder = {symbol: number for number, symbol in enumerate(symbols)}
        self.decoder = {number: symbol for symbol, number in self.encoder.items()}
        self.bpe_ranks = {pair: rank for rank, pair in enumerate(merges)}
        # In CLIP's vocabulary the merges of every whole word lead to its one symbol (a test tries all 34,483), so they
        # need not be walked. Another vocabulary may hold words that its merges never reach.
        self._words_are_final = bpe_path is None
        self.pat = regex.compile(PIECES, regex.IGNORECASE)
        self.cache = WordCache()
        self._word_ids = WordCache()
        self._printable = str.maketrans(dict(self.byte_encoder))

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        return len(self.encoder)

    def bpe(self, token: str) -> str:
        """The symbols of one piece of text (its bytes written as printable characters), with spaces between."""
        if token in (START, END):
            return token
        if self._words_are_final and token + END_OF_WORD in self.encoder:
            return token + END_OF_WORD
        symbols = self.cache.get(token)
        if symbols is None:
            symbols = " ".join(merge([*token[:-1], token[-1:] + END_OF_WORD], self.bpe_ranks))
            self.cache.keep(token, symbols)
        return symbols

    def encode(self, text: str) -> List[int]:
        """The ids of `text`, without start and end marks; `<|endoftext|>` written out is the end mark's one id."""
        if not isinstance(text, str):
            raise UserError(f"a text to encode is a string, not {type(text).__name__}: {text!r:.80}")
        ids: List[int] = []
        for word in cleaning.words(text):
            known = self._word_ids.get(word)
            ids.extend(self._encode_word(word) if known is None else known)
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`, with a space after each word; marks are written out."""
        try:
            symbols = "".join([self.decoder[int(token)] for token in tokens])
        except KeyError as error:
            raise UserError(f"there is no token {error}; the ids go from 0 to {len(self.decoder) - 1}") from error
        text = bytes([self.byte_decoder[character] for character in symbols]).decode("utf-8", errors="replace")
        return text.replace(END_OF_WORD, " ")

    def _encode_word(self, word: str) -> List[int]:
        """The ids of one word between spaces, which may be several pieces ("it's" is two)."""
        ids: List[int] = []
        for piece in self.pat.findall(word):
            # Latin-1 turns bytes into the characters of the same numbers, which the table then makes printable.
            token = piece.encode("utf-8").decode("latin-1").translate(self._printable)
            ids.extend(self.encoder[symbol] for symbol in self.bpe(token).split(" "))
        self._word_ids.keep(word, ids)
        return ids
