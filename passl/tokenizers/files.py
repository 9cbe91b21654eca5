"""Tokenizers whose vocabulary comes in files: BERT's, RoBERTa's, XLM-R's, SigLIP's, and what tokenizer.json describes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Literal, NamedTuple, Optional, Protocol, Sequence, Tuple, Union

import numpy as np

from passl.tokenizers.base import Tokenizer
from passl.tokenizers.cleaning import CLEANING
from passl.tokenizers.pipelines import byte_pairs, serialized, word_pieces
from passl.tokenizers.sentence_pieces import FairseqPieces, SentencePieces
from passl.tokenizers.settings import CONFIG_FILE, SETTINGS_FILES, SPECIAL_TOKENS_FILE, Settings, read_settings
from passl.utils.errors import UserError
from passl.utils.files import PathLike, atomic_file, write_json
from passl.utils.logging import get_logger
from passl.utils.registry import TOKENIZERS, nearest


class Engine(Protocol):
    """A vocabulary in memory.

    Attributes:
        pad_token: what rows are filled up with; None if no file says it.
        separator_id: the mark that ends a text; None if no file names it.
        vocab_size: the number of ids.
    """

    pad_token: Optional[str]
    separator_id: Optional[int]
    vocab_size: int

    def id_of(self, token: Optional[str]) -> Optional[int]:
        """The id of a token; None if the vocabulary does not have it."""

    def encode(self, text: str, length: int) -> Tuple[List[int], bool]:
        """The ids of one text with its marks, at most `length`, and whether it was cut to that."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, marks left out."""


class Vocabulary(NamedTuple):
    """A kind of vocabulary.

    Attributes:
        files: the files it consists of.
        read: makes it ready for use.
        classes: the tokenizer classes of transformers that have such files; the first is the usual one.
    """

    files: Tuple[str, ...]
    read: Callable[[Sequence[Path], Settings], Engine]
    classes: Tuple[str, ...]


_SIGLIP = ("SiglipTokenizer", "T5Tokenizer", "MT5Tokenizer")
_GEMMA = ("GemmaTokenizer", "Siglip2Tokenizer")

# The classes that say nothing about how pieces are numbered and framed.
_GENERAL = ("", "PreTrainedTokenizer", "TokenizersBackend")

# The first kind whose files are all there is the one that is read, but for SiglipTokenizer, which wants its own file.
VOCABULARIES = (
    Vocabulary(("tokenizer.json",), serialized, ("PreTrainedTokenizerFast",)),
    Vocabulary(("vocab.txt",), word_pieces, ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")),
    Vocabulary(("vocab.json", "merges.txt"), byte_pairs, ("RobertaTokenizer",)),
    Vocabulary(("sentencepiece.bpe.model",), FairseqPieces, ("XLMRobertaTokenizer",)),
    Vocabulary(("spiece.model",), SentencePieces, _SIGLIP),
    Vocabulary(("tokenizer.model",), SentencePieces, _GEMMA),
    Vocabulary(("sentencepiece.model",), SentencePieces, (*_SIGLIP, *_GEMMA)),
)


@TOKENIZERS.register()
class FileTokenizer(Tokenizer):
    """A tokenizer whose vocabulary comes in files, with the names they are published under.

    Long captions are cut as the published tokenizer cuts them: in front of the end mark.

    Args:
        clean: what is done to a caption first. none: nothing; whitespace: broken encodings and HTML entities are mended,
            white space becomes single; lower: that, in lower case; canonicalize: that, without ASCII punctuation;
            siglip, siglip2: as the tokenizers of these names in transformers do it.
        strip_sep: whether the mark that ends a text becomes 0, as in CLIPA.
        pad_token: what rows are filled up with; null takes what the files say.
        source: whose vocabulary it is, such as google-bert/bert-base-uncased; said when the files are missing.
        folder: where the files are; a model folder has its own.

    Example:
        >>> FileTokenizer(clean="canonicalize", folder="siglip", context_length=16).spec["clean"]
        'canonicalize'
    """

    def __init__(
        self,
        clean: Literal["none", "whitespace", "lower", "canonicalize", "siglip", "siglip2"] = "whitespace",
        strip_sep: bool = False,
        pad_token: Optional[str] = None,
        source: Optional[str] = None,
        folder: Optional[str] = None,
        *,
        context_length: int = 77,
    ) -> None:
        super().__init__(context_length=context_length)
        if clean not in CLEANING:
            hint = nearest(clean, CLEANING)
            raise UserError(f"clean is one of {', '.join(CLEANING)}, not {clean!r}.{hint}")
        if not isinstance(strip_sep, bool):
            raise UserError(f"strip_sep is true or false, not {strip_sep!r}")
        for key, value in {"pad_token": pad_token, "source": source, "folder": folder}.items():
            if value is not None and not isinstance(value, str):
                raise UserError(f"{key} of a tokenizer is a text or null, not {value!r}")
        self.clean = clean
        self.strip_sep = strip_sep
        self.pad_token = pad_token
        self.source = source
        self.folder = folder
        self._opened: Optional[_Opened] = None

    def ids(self, texts: Union[str, Sequence[str]]) -> np.ndarray:
        """The ids as a NumPy array, int64 [N, L]. Raises `UserError` for what is no text, and for files as `opened`."""
        ids = super().ids(texts)
        if self.strip_sep:
            separator = self.opened.engine.separator_id
            if separator is None:
                raise UserError(
                    f"{self.opened.folder}: no mark ends a text (sep_token), so strip_sep has nothing to do"
                )
            ids[ids == separator] = 0
        return ids

    def _encode(self, text: str) -> Tuple[List[int], bool]:
        text = CLEANING[self.clean](text)
        if not text.isascii():  # halves of surrogate pairs, which only Python's strings can hold, become U+FFFD
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self.opened.engine.encode(text, self.context_length)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of one row of ids, marks and padding left out; what cleaning changed stays changed."""
        engine = self.opened.engine
        numbers = [int(number) for number in ids]
        for number in numbers:
            if not 0 <= number < engine.vocab_size:
                raise UserError(f"there is no token {number}; the ids go from 0 to {engine.vocab_size - 1}")
        return engine.decode([number for number in numbers if number != self.pad_id]).strip()

    @property
    def vocab_size(self) -> int:
        """The number of ids in the files; a few may be in no text (T5's extra ones), so a model can have fewer."""
        return self.opened.engine.vocab_size

    @property
    def pad_id(self) -> int:
        """What rows are filled up with."""
        return self.opened.pad_id

    @property
    def padding_side(self) -> Literal["right", "left"]:
        """Where rows are filled up."""
        return "left" if self.opened.settings.is_padded_left else "right"

    @property
    def spec(self) -> Dict[str, Any]:
        """What `build_tokenizer` needs to make this tokenizer again in a folder with its files."""
        return {
            "name": "FileTokenizer",
            "context_length": self.context_length,
            "clean": self.clean,
            "strip_sep": self.strip_sep,
            "pad_token": self.pad_token,
            "source": self.source,
        }

    def attach(self, folder: PathLike) -> None:
        """Takes the files from `folder`, unless another one was named."""
        if self.folder is None:
            self.folder = str(folder)

    def save(self, folder: PathLike) -> None:
        """Copies the files into `folder`. A tokenizer whose files are not known copies nothing and says so."""
        self._copy(folder, SETTINGS_FILES)

    def save_huggingface(self, folder: PathLike) -> None:
        """Copies the vocabulary into `folder` and writes what transformers' AutoTokenizer needs to know beside it.

        Transformers does not clean captions as `clean` says (siglip and siglip2 are its own ways), nor does it strip
        marks: whoever uses the folder there does that first.
        """
        vocabulary = self._copy(folder, ())
        if vocabulary is None:
            return
        values = {key: _typed(value) for key, value in read_settings(Path(str(self.folder))).values.items()}
        values.setdefault("tokenizer_class", vocabulary.classes[0])
        values.update(model_max_length=self.context_length, padding_side=self.padding_side)
        values["pad_token"] = self.opened.pad_token
        if values["tokenizer_class"] in ("T5Tokenizer", "T5TokenizerFast"):
            values.setdefault("extra_ids", 0)
        write_json(Path(folder) / CONFIG_FILE, values)

    def _copy(self, folder: PathLike, others: Sequence[str]) -> Optional[Vocabulary]:
        """Copies the vocabulary and, where they exist, `others`; returns the vocabulary's kind, or None without any."""
        if self.folder is None:
            get_logger().warning("%s gets no tokenizer: its files are not known. %s", folder, self._how_to_get_files())
            return None
        vocabulary = self._vocabulary(read_settings(Path(self.folder)))
        for name in (*vocabulary.files, *others):
            source = Path(self.folder) / name
            if source.is_file():
                with open(source, "rb") as original, atomic_file(Path(folder) / name) as copy:
                    shutil.copyfileobj(original, copy)
        return vocabulary

    @property
    def opened(self) -> _Opened:
        """The files, read on first use in each process.

        Raises:
            UserError: no files, a package missing that reads them, or files that are damaged or of another tokenizer.
        """
        if self._opened is None:
            if self.folder is None:
                raise UserError(f"this tokenizer's files are not known. {self._how_to_get_files()}")
            folder = Path(self.folder)
            settings = read_settings(folder)
            vocabulary = self._vocabulary(settings)
            engine = vocabulary.read([folder / name for name in vocabulary.files], settings)
            pad_token = self.pad_token or engine.pad_token
            pad_id = engine.id_of(pad_token)
            if pad_token is None or pad_id is None:
                problem = (
                    f"the padding token {pad_token!r} is not in the vocabulary"
                    if pad_token
                    else "no padding token is named"
                )
                raise UserError(f"{folder}: {problem}. Set pad_token to a token of {' and '.join(vocabulary.files)}")
            self._opened = _Opened(folder, settings, engine, pad_token, pad_id)
        return self._opened

    def _vocabulary(self, settings: Settings) -> Vocabulary:
        """The kind of vocabulary that lies in the folder."""
        folder = Path(str(self.folder))
        found = [kind for kind in VOCABULARIES if all((folder / name).is_file() for name in kind.files)]
        if not found:
            raise UserError(f"{folder} holds no tokenizer. {self._how_to_get_files()}")
        said = settings.tokenizer_class
        if said == "SiglipTokenizer":
            found.sort(key=lambda kind: said not in kind.classes)
        kind = found[0]
        if kind.files != ("tokenizer.json",) and said not in (*_GENERAL, *kind.classes):
            raise UserError(
                f"{folder}: {CONFIG_FILE} says {said}, and {' and '.join(kind.files)} alone cannot tell how that one "
                "numbers and frames its tokens. Put its tokenizer.json there, which "
                "transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes"
            )
        return kind

    def _how_to_get_files(self) -> str:
        kinds = "; ".join(" and ".join(kind.files) for kind in VOCABULARIES)
        whose = f"{self.source} on the Hugging Face hub" if self.source else "the model or text tower it was made for"
        return (
            f"Looked for is one of these: {kinds}; with {CONFIG_FILE} and {SPECIAL_TOKENS_FILE} beside it. They are "
            f"published with {whose}: put them into one folder, and name it as the tokenizer's folder"
        )

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class _Opened(NamedTuple):
    """The files of a tokenizer in memory."""

    folder: Path
    settings: Settings
    engine: Engine
    pad_token: str
    pad_id: int


def _typed(value: Any) -> Any:
    """A token's fields with the word by which transformers knows them in tokenizer_config.json."""
    return {**value, "__type": "AddedToken"} if isinstance(value, dict) and "content" in value else value
