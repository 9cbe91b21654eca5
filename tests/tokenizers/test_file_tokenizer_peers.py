"""`FileTokenizer` beside open_clip's and transformers' tokenizers, on vocabularies trained on the spot."""

import json
import random
import shutil
import sys
from pathlib import Path

import pytest

from passl.tokenizers import ClipTokenizer, FileTokenizer, build_tokenizer, tokenizer_spec_from_huggingface
from passl.tokenizers.cleaning import basic_clean, whitespace_clean

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent
LENGTH = 20


@pytest.fixture(scope="module")
def recording():
    """The module that makes vocabularies and asks the references."""
    pytest.importorskip("transformers")
    sys.path.insert(0, str(HERE))
    import record_vocabularies

    return record_vocabularies


@pytest.fixture(scope="module")
def folders(recording, tmp_path_factory):
    """Larger vocabularies than the recorded ones, with the normalisation of the published sentencepiece models."""
    place = tmp_path_factory.mktemp("vocabularies")
    recording.make_bert(place / "bert", 400)
    recording.make_roberta(place / "roberta", 600)
    recording.make_xlm_roberta(place / "xlm_roberta", 300, "nmt_nfkc")
    recording.make_siglip(place / "siglip", 300, "nmt_nfkc")
    recording.make_gemma(place / "gemma", 600)
    recording.as_siglip2(place / "gemma", place / "siglip2")
    return place


@pytest.fixture(scope="module")
def texts(recording, nasty_text):
    rng = random.Random(3)
    odd = (nasty_text(rng) for _ in range(400))
    return recording.corpus() + recording.TEXTS + [text for text in odd if text.isprintable()]


def assert_equal_ids(tokenizer, texts, expected):
    for text, ours, theirs in zip(texts, tokenizer.ids(texts).tolist(), expected):
        assert ours == theirs, text


KINDS = ["bert", "roberta", "xlm_roberta", "siglip", "gemma", "siglip2"]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_transformers(kind, folders, texts, recording):
    folder = folders / kind
    # In a sentencepiece model a mark is text; transformers looks for marks first.
    texts = [text for text in texts if "<" not in text] if kind in ("xlm_roberta", "siglip") else texts
    tokenizer = build_tokenizer(tokenizer_spec_from_huggingface(folder, LENGTH), folder)
    assert_equal_ids(tokenizer, texts, recording.reference_ids(folder, "none", False, texts, LENGTH))


@pytest.mark.parametrize("clean", ["whitespace", "lower", "canonicalize"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm_roberta", "gemma"])
def test_ids_are_those_of_open_clip(kind, clean, folders, texts, recording):
    tokenizer = FileTokenizer(clean, folder=str(folders / kind), context_length=LENGTH)
    assert_equal_ids(tokenizer, texts, recording.reference_ids(folders / kind, clean, False, texts, LENGTH))


def test_stripped_ids_are_those_of_open_clip(folders, texts, recording):
    tokenizer = FileTokenizer(strip_sep=True, folder=str(folders / "bert"), context_length=32)
    assert_equal_ids(tokenizer, texts, recording.reference_ids(folders / "bert", "whitespace", True, texts, 32))


@pytest.mark.parametrize("has_json", [False, True])
def test_siglip_ids_are_those_of_open_clip(has_json, folders, texts, recording, tmp_path):
    """As open_clip publishes them: a T5 that fills rows up with its end mark."""
    from transformers import AutoTokenizer

    shutil.copy(folders / "siglip" / "spiece.model", tmp_path)
    tokens = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    recording.write(tmp_path / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, **tokens})
    if has_json:
        AutoTokenizer.from_pretrained(str(tmp_path)).save_pretrained(tmp_path)
        (tmp_path / "spiece.model").unlink()
    expected = recording.reference_ids(tmp_path, "canonicalize", False, texts, LENGTH)
    assert_equal_ids(FileTokenizer("canonicalize", folder=str(tmp_path), context_length=LENGTH), texts, expected)
    if not has_json:  # the model file alone, with the padding named
        (tmp_path / "tokenizer_config.json").unlink()
        alone = FileTokenizer("canonicalize", pad_token="</s>", folder=str(tmp_path), context_length=LENGTH)
        assert_equal_ids(alone, texts, expected)


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm_roberta"])
def test_tokenizer_json_of_transformers_gives_the_same_ids(kind, folders, texts, recording, tmp_path):
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(str(folders / kind)).save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    tokenizer = build_tokenizer(tokenizer_spec_from_huggingface(tmp_path, LENGTH), tmp_path)
    assert_equal_ids(tokenizer, texts, recording.reference_ids(tmp_path, "none", False, texts, LENGTH))


# The class alone tells SigLIP 2 from Gemma.
@pytest.mark.parametrize(
    ("kind", "has_config"), [(kind, True) for kind in KINDS] + [(kind, False) for kind in KINDS if kind != "siglip2"]
)
def test_written_folder_is_read_by_transformers(kind, has_config, folders, texts, recording, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(folders / kind, source)
    clean = tokenizer_spec_from_huggingface(source, LENGTH)["clean"]
    pad_token = "</s>" if kind == "siglip" else None
    if not has_config:
        (source / "tokenizer_config.json").unlink()
    tokenizer = FileTokenizer(clean, pad_token=pad_token, folder=str(source), context_length=LENGTH)
    tokenizer.save_huggingface(target)
    assert json.loads((target / "tokenizer_config.json").read_text())["model_max_length"] == LENGTH
    texts = [text for text in texts if "<" not in text]
    assert_equal_ids(tokenizer, texts, recording.reference_ids(target, "none", False, texts, LENGTH))


@pytest.mark.parametrize("name", ["CLIPTokenizer", "AutoTokenizer"])
def test_written_clip_is_read_by_transformers(name, texts, tmp_path):
    import transformers

    ours = ClipTokenizer(context_length=24)
    ours.save_huggingface(tmp_path)
    theirs = getattr(transformers, name).from_pretrained(str(tmp_path))
    assert type(theirs).__name__ == "CLIPTokenizer"
    assert (theirs.model_max_length, theirs.padding_side, theirs.pad_token_id) == (24, "right", 49407)
    # Clean text, which theirs leaves as it is; without the letter that Python lowers by its place in a word, and the one
    # that is an s when case is ignored.
    clean = [whitespace_clean(basic_clean(text)).replace("Σ", "").replace("ſ", "") for text in texts]
    clean = [text for text in clean if basic_clean(text) == text and "<|" not in text]
    assert len(clean) > 400
    for text, row in zip(clean, ours.ids(clean).tolist()):
        expected = theirs(text, padding="max_length", truncation=True)["input_ids"]
        end = row.index(49407)
        assert row[: end + 1] == expected[: end + 1], text
        assert set(row[end + 1 :]) <= {0} and set(expected[end + 1 :]) <= {49407}


def test_clip_saved_by_transformers_is_known(tmp_path):
    from transformers import CLIPTokenizer

    ClipTokenizer().save_huggingface(tmp_path / "ours")
    CLIPTokenizer.from_pretrained(str(tmp_path / "ours")).save_pretrained(tmp_path / "theirs")
    assert tokenizer_spec_from_huggingface(tmp_path / "theirs", 77) == {"name": "ClipTokenizer", "context_length": 77}


def test_recorded_ids_are_the_references(recording, tmp_path):
    golden = json.loads((HERE / "golden_file_ids.json").read_text(encoding="utf-8"))
    for number, case in enumerate(golden["cases"]):
        folder = HERE / "vocabularies" / case["vocabulary"]
        if case["clean"] == "siglip2":
            folder = recording.as_siglip2(folder, tmp_path / str(number))
        ids = recording.reference_ids(folder, case["clean"], case["strip_sep"], golden["texts"], golden["length"])
        assert ids == case["ids"]
