"""CLIP's tokenizer: rows of start mark, text, end mark, zeros."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Sequence, Tuple, Union

from passl.tokenizers.base import Tokenizer, as_tensor, as_texts, checked_length, cut, padded
from passl.tokenizers.bpe import BUNDLED_VOCABULARY, VOCABULARY_NOTICE
from passl.tokenizers.simple import END, START, SimpleTokenizer
from passl.utils.errors import UserError
from passl.utils.files import PathLike, atomic_file, write_json, write_text
from passl.utils.registry import TOKENIZERS

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
    texts, context_length = as_texts(texts), checked_length(context_length)
    rows = [_framed(text) for text in texts]
    too_long = [index for index, row in enumerate(rows) if len(row) > context_length]
    if too_long and not truncate:
        index = too_long[0]
        more = f" ({len(too_long)} of {len(rows)} texts are too long)" if len(too_long) > 1 else ""
        raise UserError(
            f"text {index} has {len(rows[index])} tokens with its start and end marks, and the context length is "
            f"{context_length} tokens{more}: {texts[index]!r:.80}. Tokens are pieces of words, not letters. "
            "Shorten it, or pass truncate=True to cut it"
        )
    return as_tensor(padded([cut(row, context_length)[0] for row in rows], context_length))


@TOKENIZERS.register()
class ClipTokenizer(Tokenizer):
    """The tokenizer of OpenAI's CLIP and of most models after it, with the bundled vocabulary.

    Long captions are cut and keep their end mark.

    Example:
        >>> ClipTokenizer(context_length=8).ids(["a cat"])
        array([[49406,   320,  2368, 49407,     0,     0,     0,     0]])
    """

    def _encode(self, text: str) -> Tuple[List[int], bool]:
        return cut(_framed(text), self.context_length)

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
    def spec(self) -> Dict[str, Any]:
        """What `build_tokenizer` needs to make this tokenizer again."""
        return {"name": "ClipTokenizer", "context_length": self.context_length}

    def attach(self, folder: PathLike) -> None:
        """Takes note of the model folder it comes with: a vocabulary in it must be CLIP's own.

        Raises:
            UserError: it is another one.
        """
        vocabulary = Path(folder) / BUNDLED_VOCABULARY.name
        if vocabulary.exists() and vocabulary.read_bytes() != BUNDLED_VOCABULARY.read_bytes():
            raise UserError(
                f"{vocabulary} is not the vocabulary of CLIP: it is damaged or another tokenizer's, and the model "
                "would be given wrong ids. Restore the file, or delete it to use the bundled one"
            )

    def save(self, folder: PathLike) -> None:
        """Puts the vocabulary and its licence into `folder`, so that a model folder holds all a program needs."""
        for source in (BUNDLED_VOCABULARY, VOCABULARY_NOTICE):
            with atomic_file(Path(folder) / source.name) as file:
                file.write(source.read_bytes())

    def save_huggingface(self, folder: PathLike) -> None:
        """Puts into `folder` the files from which transformers makes its CLIPTokenizer.

        Its ids are equal to ours on clean text: transformers neither mends broken encodings nor resolves HTML entities.
        Its rows are filled up with the end mark, as those of OpenAI's published folders are, where ours have zeros; a
        model reads its features at the first end mark, so both give the same.
        """
        simple = bundled_tokenizer()
        folder = Path(folder)
        write_json(folder / "vocab.json", simple.encoder)
        merges = "\n".join(" ".join(pair) for pair in simple.bpe_ranks)
        write_text(folder / "merges.txt", f"#version: 0.2\n{merges}\n")
        tokens = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
        write_json(folder / "special_tokens_map.json", tokens)
        settings = {"model_max_length": self.context_length, "padding_side": "right", "do_lower_case": True}
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", **settings, **tokens})


def _framed(text: str) -> List[int]:
    """The text's ids between start and end mark, however many."""
    simple = bundled_tokenizer()
    return [simple.encoder[START], *simple.encode(text), simple.encoder[END]]
