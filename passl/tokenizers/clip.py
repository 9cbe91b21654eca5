"""Batches of captions as rows of ids: start mark, text, end mark, zeros."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Union

import numpy as np

from passl.tokenizers.bpe import BUNDLED_VOCABULARY, VOCABULARY_NOTICE
from passl.tokenizers.simple import END, START, SimpleTokenizer
from passl.utils.errors import UserError
from passl.utils.files import PathLike, atomic_file
from passl.utils.logging import get_logger
from passl.utils.registry import nearest

if TYPE_CHECKING:
    import paddle


@functools.cache
def bundled_tokenizer() -> SimpleTokenizer:
    """The tokenizer with CLIP's vocabulary, read once in each process."""
    return SimpleTokenizer()


def tokenize(texts: Union[str, Sequence[str]], context_length: int = 77, truncate: bool = False) -> paddle.Tensor:
    """Captions as ids, int64 [N, L]: start mark, text, end mark, zeros.

    Args:
        texts: N captions; a single string is one caption.
        context_length: L, marks included.
        truncate: cut long captions (the end mark is kept) instead of raising.

    Raises:
        UserError: a caption needs more than `context_length` tokens and `truncate` is false.
    """
    texts, context_length = _as_texts(texts), _checked_length(context_length)
    rows = _encode(texts)
    too_long = [index for index, row in enumerate(rows) if len(row) > context_length]
    if too_long and not truncate:
        index = too_long[0]
        more = f" ({len(too_long)} of {len(rows)} texts are too long)" if len(too_long) > 1 else ""
        raise UserError(
            f"text {index} has {len(rows[index])} tokens with its start and end marks, and the context length is "
            f"{context_length} tokens{more}: {texts[index]!r:.80}. Tokens are pieces of words, not letters. "
            "Shorten it, or pass truncate=True to cut it"
        )
    return _tensor(_padded(rows, context_length))


class ClipTokenizer:
    """The tokenizer of a CLIP model: captions to int64 ids [N, L].

    Long captions are cut and keep their end mark; the first such batch is reported once, and all are counted in
    `num_truncated`. The object is small and can be sent to other processes: the vocabulary is read on first use there.

    Args:
        context_length: L, marks included.

    Example:
        >>> ClipTokenizer(context_length=8).ids(["a cat"])
        array([[49406,   320,  2368, 49407,     0,     0,     0,     0]])
    """

    def __init__(self, context_length: int = 77) -> None:
        self.context_length = _checked_length(context_length)
        self.num_truncated = 0

    def __call__(self, texts: Union[str, Sequence[str]]) -> paddle.Tensor:
        """The ids as a Paddle tensor, int64 [N, L]."""
        return _tensor(self.ids(texts))

    def ids(self, texts: Union[str, Sequence[str]]) -> np.ndarray:
        """The ids as a NumPy array, int64 [N, L]; works without Paddle, in the workers of a loader for instance."""
        rows = _encode(_as_texts(texts))
        too_long = sum(len(row) > self.context_length for row in rows)
        if too_long and not self.num_truncated:
            get_logger().warning(
                "%d of %d texts have more than %d tokens and were cut (the end mark is kept); "
                "further ones are counted but not reported",
                too_long,
                len(rows),
                self.context_length,
            )
        self.num_truncated += too_long
        return _padded(rows, self.context_length)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of one row of ids, marks and padding left out."""
        simple = bundled_tokenizer()
        numbers = [int(number) for number in ids]
        start, end = simple.encoder[START], simple.encoder[END]
        if numbers[:1] == [start]:
            numbers = numbers[1:]
        if end in numbers:
            numbers = numbers[: numbers.index(end)]
        return simple.decode(numbers).strip()

    @property
    def vocab_size(self) -> int:
        """The number of ids, which a text tower's `vocab_size` must not be below."""
        return bundled_tokenizer().vocab_size

    @property
    def spec(self) -> dict:
        """What `build_tokenizer` needs to make this tokenizer again."""
        return {"name": "ClipTokenizer", "context_length": self.context_length}

    def save(self, folder: PathLike) -> None:
        """Puts the vocabulary and its licence into `folder`, so that a model folder holds all a program needs."""
        for source in (BUNDLED_VOCABULARY, VOCABULARY_NOTICE):
            with atomic_file(Path(folder) / source.name) as file:
                file.write(source.read_bytes())

    def __repr__(self) -> str:
        return f"ClipTokenizer(context_length={self.context_length})"


def build_tokenizer(spec: Mapping[str, Any], folder: Optional[PathLike] = None) -> ClipTokenizer:
    """The tokenizer that a model's specification names.

    Args:
        spec: `{"name": "ClipTokenizer", "context_length": 77}`.
        folder: the model folder it comes with. A vocabulary in it must be CLIP's own.
    """
    if not isinstance(spec, Mapping) or "name" not in spec:
        raise UserError(f"a tokenizer is a mapping with the key 'name', not {spec!r}")
    if spec["name"] != "ClipTokenizer":
        hint = nearest(spec["name"], ["ClipTokenizer"])
        raise UserError(f"there is no tokenizer named {spec['name']!r}.{hint} Accepted: ClipTokenizer")
    unknown = sorted(set(spec) - {"name", "context_length"})
    if unknown:
        raise UserError(f"ClipTokenizer has no setting {unknown[0]!r}. Accepted: context_length")
    if folder is not None:
        vocabulary = Path(folder) / BUNDLED_VOCABULARY.name
        if vocabulary.exists() and vocabulary.read_bytes() != BUNDLED_VOCABULARY.read_bytes():
            raise UserError(
                f"{vocabulary} is not the vocabulary of CLIP: it is damaged or another tokenizer's, and the model "
                "would be given wrong ids. Restore the file, or delete it to use the bundled one"
            )
    return ClipTokenizer(**{key: value for key, value in spec.items() if key != "name"})


def _encode(texts: List[str]) -> List[List[int]]:
    """Each text's ids between start and end mark, of whatever length."""
    simple = bundled_tokenizer()
    start, end = simple.encoder[START], simple.encoder[END]
    return [[start, *simple.encode(text), end] for text in texts]


def _as_texts(texts: Any) -> List[str]:
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, Iterable) or isinstance(texts, (bytes, Mapping, Set)):
        raise UserError(f"texts are a string or a list of strings, not {type(texts).__name__}: {texts!r:.80}")
    texts = list(texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"text {index} is not a string but {type(text).__name__}: {text!r:.80}")
    return texts


def _padded(rows: List[List[int]], context_length: int) -> np.ndarray:
    """The rows as int64 [N, L]: shorter ones end in zeros, longer ones in their end mark."""
    ids = np.zeros((len(rows), context_length), dtype=np.int64)
    for index, row in enumerate(rows):
        if len(row) > context_length:
            row = [*row[: context_length - 1], row[-1]]
        ids[index, : len(row)] = row
    return ids


def _checked_length(context_length: Any) -> int:
    if isinstance(context_length, bool) or not isinstance(context_length, (int, np.integer)) or context_length < 2:
        raise UserError(
            f"context_length is a whole number of tokens, at least 2 for the two marks, not {context_length!r}"
        )
    return int(context_length)


def _tensor(ids: np.ndarray) -> paddle.Tensor:
    import paddle  # here, so that loader workers and tools that only need `ids` do not load it

    return paddle.to_tensor(ids)
