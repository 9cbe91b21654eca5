"""The byte-pair code: bytes as printable characters, the merges of a vocabulary file, and their application to a word.

Method: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (2016), on bytes as
GPT-2 has it.
"""

from __future__ import annotations

import gzip
import heapq
import itertools
import os
import zlib
from pathlib import Path
from typing import Mapping, Sequence, Union

from passl.utils.errors import UserError

BUNDLED_VOCABULARY = Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
VOCABULARY_NOTICE = Path(__file__).with_name("bpe_simple_vocab_16e6.LICENSE")

# CLIP uses the first merges of the file only: 49,408 ids less 2 · 256 single bytes and two marks.
NUM_MERGES = 49408 - 2 * 256 - 2


def bytes_to_unicode() -> dict[int, str]:
    """A printable character for each of the 256 bytes, so that any UTF-8 text can be written in them and read back.

    Printable Latin-1 characters stand for themselves and come first, the other bytes get the characters from U+0100 on.
    The order is that of the first 256 ids of the vocabulary.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {
        **{byte: chr(byte) for byte in printable},
        **{byte: chr(256 + position) for position, byte in enumerate(others)},
    }


def get_pairs(word: Sequence[str]) -> set[tuple[str, str]]:
    """The distinct pairs of neighbouring symbols in `word`."""
    return set(zip(word, word[1:]))


def read_merges(path: Union[str, os.PathLike[str]]) -> list[tuple[str, str]]:
    """Reads the merges of a gzip-compressed vocabulary file: a heading line, then two symbols a line.

    Raises `UserError` if the file is missing or is not such a file.
    """
    merges = []
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(itertools.islice(file, 1, 1 + NUM_MERGES), start=2):
                pair = tuple(line.split())
                if len(pair) != 2:
                    raise UserError(f"{path}, line {number}: a merge is two symbols with a space between, not {line!r}")
                merges.append(pair)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no vocabulary file at {path}; without bpe_path the bundled vocabulary of CLIP is used"
        ) from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as a vocabulary: {error}. Expected is a gzip-compressed text file like CLIP's "
            f"{BUNDLED_VOCABULARY.name}: a heading line, then one merge a line"
        ) from error
    if not merges:
        raise UserError(f"{path} holds no merges")
    return merges


def merge(symbols: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Joins neighbouring symbols until no pair of neighbours has a rank.

    Always the pair of the lowest rank is next, and all its occurrences are joined from left to right before the pairs
    that this made are looked at. The usual loop searches the whole word again for each pair; here the positions of each
    pair are kept in a list by rank, so the time grows with n log n and a word of a million letters takes a second.

    Args:
        symbols: the characters of the word; the list is changed.
        ranks: the merges, lower first.
    """
    end = len(symbols)
    following = list(range(1, end + 1))  # of each symbol that is left, its neighbours
    preceding = list(range(-1, end - 1))
    positions: dict[int, list[int]] = {}  # by rank, where such a pair began when it was noted

    for position, pair in enumerate(zip(symbols, symbols[1:])):
        rank = ranks.get(pair)
        if rank is not None:
            positions.setdefault(rank, []).append(position)
    queue = list(positions)
    heapq.heapify(queue)

    while queue:
        rank = heapq.heappop(queue)
        changed = []
        for left in sorted(positions.pop(rank)):
            right = following[left]
            if not symbols[left] or right == end or ranks.get((symbols[left], symbols[right])) != rank:
                continue  # an earlier merge took one of the two
            symbols[left] += symbols[right]
            symbols[right] = ""
            following[left] = following[right]
            if following[left] < end:
                preceding[following[left]] = left
            if preceding[left] >= 0:
                changed.append(preceding[left])
            changed.append(left)
        for left in changed:
            right = following[left]
            if not symbols[left] or right == end:
                continue
            rank = ranks.get((symbols[left], symbols[right]))
            if rank is None:
                continue
            if rank not in positions:
                positions[rank] = []
                heapq.heappush(queue, rank)
            positions[rank].append(left)

    return [symbol for symbol in symbols if symbol]
