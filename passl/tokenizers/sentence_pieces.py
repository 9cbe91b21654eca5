"""Vocabularies that the `sentencepiece` package runs: SigLIP's (T5's and Gemma's), and XLM-R's with fairseq's ids.

A mark that is written out in a caption, such as "</s>", is plain text to this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

from passl.tokenizers.base import cut
from passl.tokenizers.settings import MEND, Settings, library
from passl.utils.errors import UserError


class SentencePieces:
    """Each text is its pieces and an end mark; ids are the numbers in the model file, as in T5, SigLIP and Gemma.

    Args:
        paths: the model file.
        settings: what the files beside it say.
    """

    def __init__(self, paths: Sequence[Path], settings: Settings) -> None:
        (path,) = paths
        self._model = _read_model(path)
        self.vocab_size: int = self._model.get_piece_size()
        self._end: int = self._model.eos_id()
        if self._end < 0:
            raise UserError(f"{path} names no end mark, and every text must have one: {MEND}")
        pad_id = self._model.pad_id()
        self.pad_token = settings.token("pad_token") or (self._model.id_to_piece(pad_id) if pad_id >= 0 else None)
        self.separator_id = self.id_of(settings.token("sep_token"))

    def id_of(self, token: Optional[str]) -> Optional[int]:
        """The id of a token; None if the vocabulary does not have it."""
        if token is None:
            return None
        number = self._model.piece_to_id(token)
        return number if self._model.id_to_piece(number) == token else None

    def encode(self, text: str, length: int) -> Tuple[List[int], bool]:
        """The ids of one text with its marks, at most `length`, and whether it was cut to that."""
        return cut([*self._model.encode(text), self._end], length)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, marks left out."""
        return self._model.decode([number for number in ids if not self._model.is_control(number)])


class FairseqPieces(SentencePieces):
    """XLM-R's: fairseq put four marks of its own in front of the pieces and a fifth behind them."""

    _MARKS = ("<s>", "<pad>", "</s>", "<unk>")

    def __init__(self, paths: Sequence[Path], settings: Settings) -> None:
        (path,) = paths
        self._model = _read_model(path)
        # The model file has three marks (unknown, start, end), so a piece's id is its number and one more.
        self.vocab_size = self._model.get_piece_size() + 2
        self.pad_token = settings.token("pad_token") or "<pad>"
        self.separator_id = self.id_of(settings.token("sep_token") or "</s>")

    def id_of(self, token: Optional[str]) -> Optional[int]:
        """The id of a token; None if the vocabulary does not have it."""
        if token in self._MARKS:
            return self._MARKS.index(token)
        if token == "<mask>":
            return self.vocab_size - 1
        number = super().id_of(token)
        return None if number is None else number + 1

    def encode(self, text: str, length: int) -> Tuple[List[int], bool]:
        """The ids of one text with its marks, at most `length`, and whether it was cut to that."""
        unknown = self._model.unk_id()
        pieces = (3 if number == unknown else number + 1 for number in self._model.encode(text))
        return cut([0, *pieces, 2], length)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, marks left out."""
        return self._model.decode([number - 1 for number in ids if 3 < number < self.vocab_size - 1])


def _read_model(path: Path) -> Any:
    package = library("sentencepiece", path)
    try:
        return package.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a sentencepiece model ({str(error)[:200]}): {MEND}") from None
