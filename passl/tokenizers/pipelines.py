"""Vocabularies that the `tokenizers` package runs: tokenizer.json, and the older files of BERT and RoBERTa.

The older files hold a vocabulary alone; how text is cut and framed is known from the kind of file, as transformers does
it. tokenizer.json says all of that itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from passl.tokenizers.settings import MEND, Settings, library, read_object
from passl.utils.errors import UserError

# What the special tokens are called where no file says it.
BERT_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ROBERTA_TOKENS = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


class Pipeline:
    """A vocabulary of the `tokenizers` package with all that is done to a text.

    Args:
        tokenizer: a `tokenizers.Tokenizer`; what it says of truncation and padding is dropped.
        pad_token: what rows are filled up with; None if no file says it.
        separator: the token that ends a text; None if it has none.
    """

    def __init__(self, tokenizer: Any, pad_token: Optional[str], separator: Optional[str]) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._length: Optional[int] = None
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self.pad_token = pad_token
        self.separator_id = self.id_of(separator)

    def id_of(self, token: Optional[str]) -> Optional[int]:
        """The id of a token; None if the vocabulary does not have it."""
        return None if token is None else self._tokenizer.token_to_id(token)

    def encode(self, text: str, length: int) -> Tuple[List[int], bool]:
        """The ids of one text with its marks, at most `length`, and whether it was cut to that."""
        if length != self._length:
            self._tokenizer.enable_truncation(length)
            self._length = length
        # One text at a time: encoding batches starts threads, which do not survive the fork of a loader's workers.
        encoding = self._tokenizer.encode(text)
        return encoding.ids, bool(encoding.overflowing)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return self._tokenizer.decode(ids, skip_special_tokens=True)


def serialized(paths: Sequence[Path], settings: Settings) -> Pipeline:
    """The tokenizer that tokenizer.json describes."""
    (path,) = paths
    tokenizer = _made(path, library("tokenizers", path).Tokenizer.from_file, str(path))
    padding = tokenizer.padding or {}
    pad_token = settings.token("pad_token") or padding.get("pad_token") or _first(tokenizer, "[PAD]", "<pad>")
    return Pipeline(tokenizer, pad_token, settings.token("sep_token") or _first(tokenizer, "[SEP]", "</s>"))


def word_pieces(paths: Sequence[Path], settings: Settings) -> Pipeline:
    """BERT's tokenizer with the vocabulary of vocab.txt, one token a line."""
    (path,) = paths
    package = library("tokenizers", path)
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}): {MEND}") from None
    tokens = _special_tokens(settings, BERT_TOKENS)
    vocabulary = {token: number for number, token in enumerate(lines)}
    model = package.models.WordPiece(vocabulary, unk_token=tokens["unk_token"])
    tokenizer = package.Tokenizer(model)
    tokenizer.normalizer = package.normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.values.get("tokenize_chinese_chars", True),
        strip_accents=settings.values.get("strip_accents"),
        lowercase=settings.values.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = package.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = package.decoders.WordPiece(prefix="##")
    _mark(package, tokenizer, path, tokens, settings)
    first, last = tokens["cls_token"], tokens["sep_token"]
    tokenizer.post_processor = package.processors.TemplateProcessing(
        single=[first, "$A", last],
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)],
    )
    return Pipeline(tokenizer, tokens["pad_token"], last)


def byte_pairs(paths: Sequence[Path], settings: Settings) -> Pipeline:
    """RoBERTa's tokenizer with the vocabulary of vocab.json and the merges of merges.txt."""
    vocabulary_path, merges_path = paths
    package = library("tokenizers", vocabulary_path)
    tokens = _special_tokens(settings, ROBERTA_TOKENS)
    model = _made(
        merges_path,
        lambda: package.models.BPE(
            vocab=read_object(vocabulary_path),
            merges=read_merges(merges_path),
            continuing_subword_prefix="",
            end_of_word_suffix="",
        ),
    )
    tokenizer = package.Tokenizer(model)
    add_prefix_space = bool(settings.values.get("add_prefix_space", False))
    tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = package.decoders.ByteLevel()
    _mark(package, tokenizer, vocabulary_path, tokens, settings)
    last, first = ((tokens[kind], tokenizer.token_to_id(tokens[kind])) for kind in ("sep_token", "cls_token"))
    tokenizer.post_processor = package.processors.RobertaProcessing(last, first, add_prefix_space=add_prefix_space)
    return Pipeline(tokenizer, tokens["pad_token"], tokens["sep_token"])


def _made(path: Path, make: Callable[..., Any], *arguments: Any) -> Any:
    """What `make` makes of the file at `path`, or a `UserError` with the package's reason why it cannot."""
    try:
        return make(*arguments)
    except UserError:
        raise
    except Exception as error:  # the package raises no narrower class
        raise UserError(f"{path} cannot be read as a tokenizer ({str(error)[:200]}): {MEND}") from None


def _special_tokens(settings: Settings, defaults: Mapping[str, str]) -> Dict[str, str]:
    return {kind: settings.token(kind) or default for kind, default in defaults.items()}


def _mark(package: Any, tokenizer: Any, path: Path, tokens: Mapping[str, str], settings: Settings) -> None:
    """Makes special tokens be found in texts as a whole. Raises `UserError` if the vocabulary lacks one."""
    missing = [token for kind, token in tokens.items() if kind != "mask_token" and tokenizer.token_to_id(token) is None]
    if missing:
        raise UserError(f"{path} lacks the special tokens {', '.join(missing)}: {MEND}")
    present = {kind: token for kind, token in tokens.items() if tokenizer.token_to_id(token) is not None}
    tokenizer.add_special_tokens(
        [
            package.AddedToken(token, special=True, normalized=False, **settings.token_fields(kind))
            for kind, token in present.items()
        ]
    )


def _first(tokenizer: Any, *tokens: str) -> Optional[str]:
    """The first of `tokens` that the vocabulary has."""
    return next((token for token in tokens if tokenizer.token_to_id(token) is not None), None)


def read_merges(path: Path) -> List[Tuple[str, str]]:
    """The merges of a text file: a heading that starts with "#version", then two symbols a line."""
    merges = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split(" ")
        if len(pair) != 2:
            raise UserError(f"{path}, line {number}: a merge is two symbols with a space between, not {line!r:.80}")
        merges.append((pair[0], pair[1]))
    return merges
