import logging
import multiprocessing
import pickle

import numpy as np
import pytest

from passl.tokenizers import ClipTokenizer, build_tokenizer, tokenize
from passl.utils import tokenizer as old_place
from passl.utils.errors import UserError

LONG = "word " * 100


def test_tokenize_frames_the_text_with_marks_and_zeros():
    ids = tokenize(["a cat", "a photo of a cat"], context_length=8)
    assert ids.numpy().dtype == np.int64
    assert ids.tolist() == [
        [49406, 320, 2368, 49407, 0, 0, 0, 0],
        [49406, 320, 1125, 539, 320, 2368, 49407, 0],
    ]


def test_tokenize_takes_one_string_as_one_caption():
    assert tokenize("a cat").shape == [1, 77]


def test_tokenize_takes_no_captions():
    assert tokenize([]).shape == [0, 77]


def test_tokenize_takes_a_text_that_just_fits():
    assert tokenize("a photo of a cat", context_length=7).tolist()[0][-1] == 49407


def test_tokenize_refuses_a_long_text_and_counts_tokens():
    with pytest.raises(UserError, match=r"text 1 has 102 tokens with .* context length is 77 tokens: 'word .*truncate"):
        tokenize(["short", LONG])


def test_tokenize_says_how_many_texts_are_too_long():
    with pytest.raises(UserError, match=r"\(2 of 3 texts are too long\)"):
        tokenize(iter(["short", LONG, LONG]))


def test_tokenize_cuts_a_long_text_on_demand_and_keeps_the_end_mark():
    row = tokenize(LONG, truncate=True).tolist()[0]
    assert (row[0], row[-2], row[-1]) == (49406, 2653, 49407)


@pytest.mark.parametrize("texts", [3, None, b"bytes", {"a": 1}, {"a set"}], ids=repr)
def test_texts_of_a_wrong_type_are_refused(texts):
    with pytest.raises(UserError, match="texts are a string or a list of strings, not"):
        tokenize(texts)


@pytest.mark.parametrize("texts", [["a", 3], ["a", None], ["a", ["b"]], ["a", float("nan")]], ids=repr)
def test_element_of_a_wrong_type_is_named(texts):
    with pytest.raises(UserError, match="text 1 is not a string but"):
        ClipTokenizer().ids(texts)


@pytest.mark.parametrize("length", [0, 1, -5, "77", 7.5, None, True], ids=repr)
def test_bad_context_length_is_refused(length):
    with pytest.raises(UserError, match="context_length is a whole number of tokens"):
        tokenize("a", context_length=length)
    with pytest.raises(UserError, match="context_length is a whole number of tokens"):
        ClipTokenizer(context_length=length)


def test_ids_are_what_the_call_gives():
    tokenizer = ClipTokenizer(context_length=16)
    texts = ["a cat", "", "<|endoftext|> twice"]
    ids = tokenizer.ids(texts)
    assert ids.dtype == np.int64 and ids.shape == (3, 16)
    assert (tokenizer(texts).numpy() == ids).all()


def test_ids_take_arrays_of_strings():
    assert ClipTokenizer(context_length=4).ids(np.array(["a", "b"])).tolist() == [
        [49406, 320, 49407, 0],
        [49406, 321, 49407, 0],
    ]


def test_long_texts_are_cut_counted_and_reported_once(caplog):
    tokenizer = ClipTokenizer()
    with caplog.at_level(logging.WARNING, logger="passl"):
        ids = tokenizer.ids(["a", LONG, LONG])
        tokenizer.ids([LONG])
    assert ids[1, 0] == 49406 and ids[1, -1] == 49407
    assert tokenizer.num_truncated == 3
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 3 texts have more than 77 tokens and were cut (the end mark is kept); "
        "further ones are counted but not reported"
    ]


def test_texts_that_fit_are_not_counted():
    tokenizer = ClipTokenizer(context_length=7)
    tokenizer.ids(["a photo of a cat"])
    assert tokenizer.num_truncated == 0


def test_decode_leaves_marks_and_padding_out():
    tokenizer = ClipTokenizer()
    assert tokenizer.decode(tokenizer.ids("A photo of cats")[0]) == "a photo of cats"
    assert tokenizer.decode([]) == ""


def test_pickled_tokenizer_is_small_and_equal():
    tokenizer = ClipTokenizer(context_length=9)
    tokenizer.ids("read the vocabulary")
    pickled = pickle.dumps(tokenizer)
    assert len(pickled) < 1000
    assert (pickle.loads(pickled).ids("a cat") == tokenizer.ids("a cat")).all()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_tokenizer_works_in_another_process(method):
    tokenizer = ClipTokenizer(context_length=6)
    expected = tokenizer.ids(["a cat"]).tolist()
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(tokenizer.ids, (["a cat"],)).get(timeout=60).tolist() == expected


def test_saved_tokenizer_is_built_again(tmp_path):
    tokenizer = ClipTokenizer(context_length=20)
    tokenizer.save(tmp_path)
    again = build_tokenizer(tokenizer.spec, tmp_path)
    assert again.spec == {"name": "ClipTokenizer", "context_length": 20}
    assert (again.ids("a tabby") == tokenizer.ids("a tabby")).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bpe_simple_vocab_16e6.LICENSE",
        "bpe_simple_vocab_16e6.txt.gz",
    ]


def test_another_vocabulary_in_the_model_folder_is_refused(tmp_path):
    (tmp_path / "bpe_simple_vocab_16e6.txt.gz").write_bytes(b"something else")
    with pytest.raises(UserError, match="is not the vocabulary of CLIP"):
        build_tokenizer({"name": "ClipTokenizer"}, tmp_path)


def test_build_without_a_folder_uses_the_bundled_vocabulary():
    assert build_tokenizer({"name": "ClipTokenizer", "context_length": 64}).vocab_size == 49408


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "ClipTokeniser"}, "no tokenizer named 'ClipTokeniser'. Did you mean 'ClipTokenizer'"),
        ({"context_length": 77}, "a tokenizer is a mapping with the key 'name'"),
        (
            {"name": "ClipTokenizer", "length": 77},
            "no setting 'length'. Did you mean 'context_length'. Accepted: context_length",
        ),
    ],
)
def test_bad_specification_is_refused(spec, message):
    with pytest.raises(UserError, match=message):
        build_tokenizer(spec)


def test_old_place_offers_the_old_names():
    import passl.tokenizers as home

    for name in ("SimpleTokenizer", "tokenize", "bytes_to_unicode", "get_pairs", "basic_clean", "whitespace_clean"):
        assert getattr(old_place, name) is getattr(home, name)
