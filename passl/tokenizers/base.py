"""What all tokenizers of models share: captions in, rows of one length out, and a count of the captions that were cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any, Dict, List, Literal, Sequence, Tuple, Union

import numpy as np

from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.utils.logging import get_logger

if TYPE_CHECKING:
    import paddle


class Tokenizer:
    """Captions to int64 ids [N, L].

    A subclass says how one caption is encoded, what rows are filled up with, and which files it needs. Its objects are
    small and can be sent to other processes: files are read on first use there.

    Args:
        context_length: L, marks included.

    Attributes:
        num_truncated: how many captions were cut so far; the first batch with any is reported.
    """

    def __init__(self, *, context_length: int = 77) -> None:
        self.context_length = checked_length(context_length)
        self.num_truncated = 0

    def __call__(self, texts: Union[str, Sequence[str]]) -> paddle.Tensor:
        """The ids as a Paddle tensor, int64 [N, L]."""
        return as_tensor(self.ids(texts))

    def ids(self, texts: Union[str, Sequence[str]]) -> np.ndarray:
        """The ids as a NumPy array, int64 [N, L]; works without Paddle, in the workers of a loader for instance.

        Args:
            texts: N captions; a single string is one caption.

        Raises:
            UserError: no strings; or the tokenizer's files are missing or damaged.
        """
        encoded = [self._encode(text) for text in as_texts(texts)]
        num_cut = sum(is_cut for _, is_cut in encoded)
        if num_cut and not self.num_truncated:
            get_logger().warning(
                "%d of %d texts have more than %d tokens and were cut (the end mark is kept); "
                "further ones are counted but not reported",
                num_cut,
                len(encoded),
                self.context_length,
            )
        self.num_truncated += num_cut
        return padded([row for row, _ in encoded], self.context_length, self.pad_id, self.padding_side)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of one row of ids, marks and padding left out."""
        raise NotImplementedError

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        raise NotImplementedError

    @property
    def pad_id(self) -> int:
        """What rows are filled up with."""
        return 0

    @property
    def padding_side(self) -> Literal["right", "left"]:
        """Where rows are filled up."""
        return "right"

    @property
    def spec(self) -> Dict[str, Any]:
        """What `build_tokenizer` needs to make this tokenizer again, where its files are; plain data."""
        raise NotImplementedError

    def attach(self, folder: PathLike) -> None:
        """Takes note of the model folder it comes with."""
        raise NotImplementedError

    def save(self, folder: PathLike) -> None:
        """Puts the tokenizer's files into `folder`, so that a model folder holds all a program needs."""
        raise NotImplementedError

    def save_huggingface(self, folder: PathLike) -> None:
        """Puts into `folder` the files from which transformers makes this tokenizer."""
        raise NotImplementedError

    def _encode(self, text: str) -> Tuple[List[int], bool]:
        """The ids of one caption with its marks, at most `context_length`, and whether it was cut to that."""
        raise NotImplementedError

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in self.spec.items() if key != "name")
        return f"{type(self).__name__}({settings})"


def as_texts(texts: Any) -> List[str]:
    """A list of strings from what a user gave: one string, or any iterable of strings."""
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, Iterable) or isinstance(texts, (bytes, Mapping, Set)):
        raise UserError(f"texts are a string or a list of strings, not {type(texts).__name__}: {texts!r:.80}")
    texts = list(texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"text {index} is not a string but {type(text).__name__}: {text!r:.80}")
    return texts


def cut(row: List[int], length: int) -> Tuple[List[int], bool]:
    """The row, shortened to `length` in front of its end mark, and whether that was needed."""
    return (row, False) if len(row) <= length else ([*row[: length - 1], row[-1]], True)


def padded(rows: Sequence[List[int]], length: int, pad_id: int = 0, side: str = "right") -> np.ndarray:
    """The rows as int64 [N, L], filled up with `pad_id`."""
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, slice(len(row)) if side == "right" else slice(length - len(row), length)] = row
    return ids


def checked_length(context_length: Any) -> int:
    """The context length as an int. Raises `UserError` if it is none."""
    if isinstance(context_length, bool) or not isinstance(context_length, (int, np.integer)) or context_length < 2:
        raise UserError(
            f"context_length is a whole number of tokens, at least 2 for the two marks, not {context_length!r}"
        )
    return int(context_length)


def as_tensor(ids: np.ndarray) -> paddle.Tensor:
    """The ids as a Paddle tensor."""
    import paddle  # here, so that loader workers and tools that only need `ids` do not load it

    return paddle.to_tensor(ids)
