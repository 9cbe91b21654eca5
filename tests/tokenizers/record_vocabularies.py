"""Tiny vocabularies of every kind that `FileTokenizer` reads, trained on the spot, and the ids the references give.

`python tests/tokenizers/record_vocabularies.py`, in an environment with transformers and open_clip, writes vocabularies/
and golden_file_ids.json anew. The peers tests make larger ones with the same functions.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
ADJECTIVES = "red blue small big old new black white happy wooden quiet bright broken golden empty".split()
NOUNS = "cat dog house tree car bird boat river mountain bridge flower market child street apple train".split()
PLACES = "near the|on top of a|behind the|inside an old|in front of the|far from any".split("|")
OTHERS = [
    "It's 3.14, isn't it? Don't shout -- HELLO!",
    "A_b-c (d) [e] {f} <g> #1 @you & co.; 50% off: $9.99",
    "Ein schöner Hund läuft über die Straße.",
    "Le café est très agréable à l'été !",
    "фото кошки на столе",
    "一只猫的照片 and 日本語のテキスト",
    "صورة قطة",
    "ENTIRELY IN CAPITALS",
    "smile 😀 and 👍",
]
# What tokenizers stumble over: nothing, spaces, marks written out, entities, broken encodings, odd and many letters.
TEXTS = [
    "",
    " ",
    "a",
    "a photo of a cat",
    "A Photo of THE Cat.",
    "a   photo\tof\na cat",
    "photo: a cat, a dog & a bird!",
    "it's we're I'd they'll -- 'quoted'",
    "snake_case and kebab-case",
    "fish &amp; chips &lt;b&gt;",
    "schÃ¶n â€œquotedâ€\x9d",
    "café naïve Ångström straße İstanbul ΟΔΥΣΣΕΥΣ",
    "cafe\u0301 e\u0301",
    "一只猫的照片",
    "日本語のテキスト",
    "фото кошки",
    "صورة قطة",
    "😀 👍🏽 👨‍👩‍👧",
    "!?!?...",
    "1234567890 3.14",
    "supercalifragilisticexpialidocious",
    "zero\u200bwidth soft\xadhyphen non\xa0breaking",
    "a cat and a dog " * 20,
    "x" * 300,
]


def corpus(num_sentences: int = 400):
    """Captions about nothing in particular, and a few with other letters."""
    rng = random.Random(0)
    return OTHERS * 4 + [
        f"a photo of a {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} {rng.choice(PLACES)} {rng.choice(NOUNS)}"
        for _ in range(num_sentences)
    ]


def make_bert(folder: Path, size: int = 160) -> None:
    """vocab.txt of an uncased BERT."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=size, special_tokens=marks))
    ordered = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    write(folder / "vocab.txt", "".join(f"{token}\n" for token, _ in ordered))
    write(folder / "tokenizer_config.json", {"do_lower_case": True, "tokenizer_class": "BertTokenizer"})


def make_roberta(folder: Path, size: int = 380) -> None:
    """vocab.json and merges.txt of a RoBERTa."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    folder.mkdir(parents=True)
    tokenizer.model.save(str(folder))
    write(folder / "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer"})


def make_xlm_roberta(folder: Path, size: int = 180, rule: str = "identity") -> None:
    """sentencepiece.bpe.model of an XLM-R."""
    train_pieces(folder / "sentencepiece.bpe.model", vocab_size=size, normalization_rule_name=rule)
    write(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})


def make_siglip(folder: Path, size: int = 180, rule: str = "identity") -> None:
    """spiece.model of a SigLIP (a T5), as transformers' SigLIP models have it."""
    train_pieces(
        folder / "spiece.model",
        vocab_size=size,
        normalization_rule_name=rule,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
    tokens = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    settings = {"do_lower_case": True, "model_max_length": 64, "sp_model_kwargs": {}}
    write(folder / "tokenizer_config.json", {"tokenizer_class": "SiglipTokenizer", **tokens, **settings})


def make_gemma(folder: Path, size: int = 480) -> None:
    """tokenizer.model and tokenizer.json of a SigLIP 2 (a Gemma with the end mark behind the text)."""
    train_pieces(
        folder / "tokenizer.model",
        vocab_size=size,
        model_type="bpe",
        normalization_rule_name="identity",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols="<mask>",
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    pieces = [model.id_to_piece(number) for number in range(model.get_piece_size())]
    ids = {piece: number for number, piece in enumerate(pieces)}
    merges = []
    for piece in pieces:  # in the order of the merges, which is that of their results
        splits = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        merges += sorted(
            (pair for pair in splits if pair[0] in ids and pair[1] in ids), key=lambda p: [ids[s] for s in p]
        )
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"])
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "<eos>"], special_tokens=[("<eos>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write(folder / "tokenizer_config.json", {"tokenizer_class": "GemmaTokenizer", "padding_side": "right", **tokens})


def train_pieces(path: Path, **settings) -> None:
    """Trains a sentencepiece model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "corpus.txt"
        text.write_text("\n".join(corpus()), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=f"{folder}/model", hard_vocab_limit=False, minloglevel=2, **settings
        )
        shutil.copy(f"{folder}/model.model", path)


def write(path: Path, content) -> None:
    """Writes text, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, indent=2) + "\n"
    path.write_text(text, encoding="utf-8")


MAKERS = {
    "bert": make_bert,
    "roberta": make_roberta,
    "xlm_roberta": make_xlm_roberta,
    "siglip": make_siglip,
    "gemma": make_gemma,
}

# Recorded: which vocabulary, how captions are cleaned, whether the mark that ends a text is stripped.
CASES = [
    ("bert", "whitespace", True),
    ("bert", "none", False),
    ("roberta", "whitespace", False),
    ("xlm_roberta", "whitespace", False),
    ("siglip", "siglip", False),
    ("siglip", "canonicalize", False),
    ("gemma", "siglip2", False),
    ("gemma", "canonicalize", False),
    ("gemma", "lower", False),
]
LENGTH = 16


def reference_ids(folder: Path, clean: str, strip_sep: bool, texts, length: int):
    """The ids of open_clip's tokenizer, or of transformers' where that cleans as it likes."""
    if clean in ("none", "siglip", "siglip2"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        return [tokenizer(t, max_length=length, padding="max_length", truncation=True)["input_ids"] for t in texts]
    sys.path.insert(0, str(HERE.parent / "modeling"))
    from reference import import_open_clip

    import_open_clip()
    from open_clip.tokenizer import HFTokenizer

    tokenizer = HFTokenizer(str(folder), length, clean=clean, strip_sep_token=strip_sep)
    return tokenizer(list(texts)).tolist()


def as_siglip2(folder: Path, target: Path) -> Path:
    """A copy of a folder in which transformers sees SigLIP 2, and so lowers the case."""
    shutil.copytree(folder, target)
    settings = json.loads((target / "tokenizer_config.json").read_text())
    write(target / "tokenizer_config.json", {**settings, "tokenizer_class": "Siglip2Tokenizer"})
    return target


def main() -> None:
    """Writes vocabularies and ids anew."""
    shutil.rmtree(HERE / "vocabularies", ignore_errors=True)
    for name, make in MAKERS.items():
        make(HERE / "vocabularies" / name)
    golden = []
    for name, clean, strip_sep in CASES:
        folder = HERE / "vocabularies" / name
        with tempfile.TemporaryDirectory() as place:
            if clean == "siglip2":
                folder = as_siglip2(folder, Path(place) / "siglip2")
            ids = reference_ids(folder, clean, strip_sep, TEXTS, LENGTH)
        golden.append({"vocabulary": name, "clean": clean, "strip_sep": strip_sep, "ids": ids})
    rows = ",\n".join(json.dumps(case) for case in golden)
    head = f'"length": {LENGTH}, "texts": {json.dumps(TEXTS)}'
    write(HERE / "golden_file_ids.json", f'{{{head}, "cases": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
