import gzip
import importlib.util
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

from passl.tokenizers import SimpleTokenizer, basic_clean, bytes_to_unicode, cleaning, get_pairs, whitespace_clean
from passl.tokenizers.bpe import BUNDLED_VOCABULARY, merge
from passl.tokenizers.simple import WordCache
from passl.utils.errors import UserError

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden_ids.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer():
    return SimpleTokenizer()


@pytest.mark.parametrize("row", GOLDEN, ids=[f"{n}-{row['text'][:12]!a}" for n, row in enumerate(GOLDEN)])
def test_encode_gives_the_ids_recorded_with_the_original_code(row, tokenizer):
    assert tokenizer.encode(row["text"]) == row["ids"]


def test_reference_gives_the_ids_recorded_with_the_original_code(reference):
    assert [reference.encode(row["text"]) for row in GOLDEN] == [row["ids"] for row in GOLDEN]


@pytest.mark.parametrize("seed", range(4))
def test_encode_equals_the_reference_on_random_texts(seed, tokenizer, reference, nasty_text):
    rng = random.Random(seed)
    texts = [nasty_text(rng) for _ in range(1500)]
    assert [text for text in texts if tokenizer.encode(text) != reference.encode(text)] == []


def test_encode_equals_the_reference_on_long_words(tokenizer, reference):
    rng = random.Random(0)
    texts = ["".join(rng.choices(letters, k=1500)) for letters in ("ab", "etaoinshrdlu", "日本語", "é😀", "!?.")]
    texts += ["a" * 1024, "ha" * 700]
    assert [text[:20] for text in texts if tokenizer.encode(text) != reference.encode(text)] == []


def test_encode_equals_the_reference_where_words_meet_other_characters(tokenizer, reference):
    rng = random.Random(1)
    texts = ["".join(rng.choices("ab'sSt1. \t\n&<|>;é", k=rng.randrange(30))) for _ in range(3000)]
    assert [text for text in texts if tokenizer.encode(text) != reference.encode(text)] == []


def test_plain_text_needs_no_cleaning():
    rng = random.Random(2)
    characters = "".join(map(chr, range(0x80))) + "& &\t&\n&" + "amp;lt#39 " * 3
    plain = 0
    for _ in range(20000):
        text = "".join(rng.choices(characters, k=rng.randrange(1, 6)))
        plain += cleaning._NEEDS_FIXING.search(text) is None
        assert " ".join(cleaning.words(text)) == whitespace_clean(basic_clean(text)).lower()
    assert plain > 2000


def test_every_whole_word_of_the_vocabulary_is_reached_by_its_merges(tokenizer):
    words = [symbol[: -len("</w>")] for symbol in tokenizer.encoder if symbol.endswith("</w>")]
    assert len(words) == 34483
    assert [w for w in words if merge([*w[:-1], w[-1] + "</w>"], tokenizer.bpe_ranks) != [w + "</w>"]] == []


def test_merge_equals_rounds_with_any_order_of_merges(reference_merge):
    # Merges of a trained vocabulary only build on earlier ones; these are random, so later pairs may come first.
    for seed in range(400):
        rng = random.Random(seed)
        symbols = list("abc")
        ranks = {}
        for _ in range(25):
            pair = (rng.choice(symbols), rng.choice(symbols))
            symbols.append("".join(pair))
            ranks[pair] = rng.randrange(10**6)
        ranks = {pair: rank for rank, pair in enumerate(sorted(ranks, key=ranks.get))}
        for length in (1, 2, 3, 10, 100):
            word = rng.choices("abcd", k=length)
            assert merge(list(word), ranks) == reference_merge(word, ranks), (seed, word)


def test_a_megabyte_of_one_word_is_merged_like_its_parts(tokenizer, reference):
    # No merge crosses the last letter of the part, so the megabyte is the same few ids again and again.
    part = "thequickbrownfox" * 4 + "\N{CJK UNIFIED IDEOGRAPH-9F98}"
    once, twice = reference.encode(part), reference.encode(part * 2)
    repeated = twice[: len(twice) - len(once)]
    count = 1_000_000 // len(part)
    assert tokenizer.encode(part * count) == repeated * (count - 1) + once


def test_a_megabyte_of_text_is_encoded_like_its_parts(tokenizer):
    part = 'A "small" café & 3 dogs \N{GRINNING FACE}. '
    assert tokenizer.encode(part * 30_000) == tokenizer.encode(part) * 30_000


def test_end_mark_written_out_is_one_id(tokenizer):
    assert tokenizer.encode("<|endoftext|>") == [49407]
    assert tokenizer.encode("a <|ENDOFTEXT|> b") == [320, 49407, 321]


def test_empty_text_has_no_ids(tokenizer):
    assert [tokenizer.encode(text) for text in ("", " \n", "\x00", "&nbsp;")] == [[]] * 4


def test_decode_equals_the_reference_on_random_ids(tokenizer, reference):
    rng = random.Random(3)
    rows = [[rng.randrange(49408) for _ in range(rng.randrange(12))] for _ in range(30)]
    assert [tokenizer.decode(row) for row in rows] == [reference.decode(row) for row in rows]


def test_decode_gives_the_text_back(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a photo of a café, 日本語 😀")) == "a photo of a café , 日本語 😀 "


def test_decode_writes_the_marks_out(tokenizer):
    assert tokenizer.decode([49406, 320, 49407]) == "<|startoftext|>a <|endoftext|>"


def test_decode_refuses_an_id_that_is_not_in_the_vocabulary(tokenizer):
    with pytest.raises(UserError, match="no token 49408; the ids go from 0 to 49407"):
        tokenizer.decode([320, 49408])


def test_encode_refuses_what_is_no_text(tokenizer):
    with pytest.raises(UserError, match="a text to encode is a string, not int: 3"):
        tokenizer.encode(3)


def test_bpe_joins_the_symbols_of_a_word_with_spaces(tokenizer):
    assert tokenizer.bpe("tabbycat") == "tab by cat</w>"
    assert tokenizer.bpe("cat") == "cat</w>"
    assert tokenizer.bpe("x") == "x</w>"
    assert tokenizer.bpe("<|startoftext|>") == "<|startoftext|>"


def test_vocabulary_has_the_ids_of_clip(tokenizer):
    assert tokenizer.vocab_size == len(tokenizer.encoder) == len(tokenizer.decoder) == 49408
    assert tokenizer.encoder["<|startoftext|>"] == 49406
    assert tokenizer.encoder["<|endoftext|>"] == 49407
    assert tokenizer.decoder[320] == "a</w>"
    assert len(tokenizer.bpe_ranks) == 48894
    assert tokenizer.bpe_ranks[("i", "n")] == 0


def test_byte_tables_are_inverse_and_cover_all_bytes(tokenizer):
    assert [tokenizer.byte_decoder[tokenizer.byte_encoder[byte]] for byte in range(256)] == list(range(256))
    assert bytes_to_unicode()[ord("a")] == "a"
    assert bytes_to_unicode()[0] == "\u0100"


def test_get_pairs_gives_distinct_neighbours():
    assert get_pairs("aab") == {("a", "a"), ("a", "b")}


def test_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(WordCache, "max_words", 10)
    tokenizer = SimpleTokenizer()
    expected = SimpleTokenizer().encode("word1 word2")
    for number in range(100):
        tokenizer.encode(f"qx{'abcdefghij'[number % 10] * (number // 10 + 1)}zv")
        assert len(tokenizer.cache) <= 10 and len(tokenizer._word_ids) <= 10
    assert tokenizer.encode("word1 word2") == expected


def test_cache_does_not_keep_long_words(tokenizer):
    tokenizer.encode("q" * 100_000)
    assert max(map(len, tokenizer.cache)) <= 64 and max(map(len, tokenizer._word_ids)) <= 64


def test_returned_ids_are_the_callers_own(tokenizer):
    tokenizer.encode("photo").append(7)
    assert tokenizer.encode("photo") == [1125]


def test_tokenizer_can_be_pickled(tokenizer):
    assert pickle.loads(pickle.dumps(tokenizer)).encode("a tabby cat") == tokenizer.encode("a tabby cat")


def test_vocabulary_is_found_from_any_working_directory(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(HERE.parents[1])!r}); " + (
        "from passl.utils.tokenizer import SimpleTokenizer; print(SimpleTokenizer().encode('a cat')); "
        "assert 'paddle' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[320, 2368]\n", "")


def test_another_vocabulary_file_can_be_given(tmp_path, tokenizer):
    path = tmp_path / "vocabulary.gz"
    path.write_bytes(BUNDLED_VOCABULARY.read_bytes())
    assert SimpleTokenizer(bpe_path=str(path)).encode("tabby cats") == tokenizer.encode("tabby cats")


def test_missing_vocabulary_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no vocabulary file at .*missing.gz; without bpe_path the bundled"):
        SimpleTokenizer(bpe_path=tmp_path / "missing.gz")


@pytest.mark.parametrize(
    "content", [b"in t\n", b"", BUNDLED_VOCABULARY.read_bytes()[:5000]], ids=["text", "empty", "cut"]
)
def test_damaged_vocabulary_file_is_refused(content, tmp_path):
    path = tmp_path / "vocabulary.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="vocabulary.gz"):
        SimpleTokenizer(bpe_path=path)


def test_malformed_merge_is_named_with_its_line(tmp_path):
    path = tmp_path / "vocabulary.gz"
    path.write_bytes(gzip.compress(b"heading\ni n\nbroken\n"))
    with pytest.raises(UserError, match=r"vocabulary.gz, line 3: a merge is two symbols"):
        SimpleTokenizer(bpe_path=path)


def test_licence_of_the_vocabulary_lies_beside_it():
    notice = BUNDLED_VOCABULARY.with_name("bpe_simple_vocab_16e6.LICENSE").read_text(encoding="utf-8")
    assert "Copyright (c) 2021 OpenAI" in notice and "MIT License" in notice


@pytest.mark.peers
def test_encode_equals_open_clip(tokenizer, nasty_text):
    # Loaded by file: the package itself needs torchvision. Its marks have other names and are left out.
    package = importlib.util.find_spec("open_clip")
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", Path(package.origin).with_name("tokenizer.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    other = module.SimpleTokenizer()
    rng = random.Random(4)
    texts = [row["text"] for row in GOLDEN] + [nasty_text(rng) for _ in range(5000)]
    texts = [text for text in texts if "text" not in text.lower()]
    assert [text for text in texts if tokenizer.encode(text) != other.encode(text)] == []
