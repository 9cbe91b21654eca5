import json
import logging
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from passl.config.signatures import keys_of
from passl.tokenizers import ClipTokenizer, FileTokenizer, build_tokenizer, tokenizer_spec_from_huggingface
from passl.tokenizers.cleaning import CLEANING
from passl.utils.errors import UserError

HERE = Path(__file__).parent
VOCABULARIES = HERE / "vocabularies"
GOLDEN = json.loads((HERE / "golden_file_ids.json").read_text(encoding="utf-8"))
KINDS = {
    "bert": ["vocab.txt"],
    "roberta": ["vocab.json", "merges.txt"],
    "xlm_roberta": ["sentencepiece.bpe.model"],
    "siglip": ["spiece.model"],
    "gemma": ["tokenizer.json"],
}


def opened(kind, clean="whitespace", length=16, **settings):
    return FileTokenizer(clean, folder=str(VOCABULARIES / kind), context_length=length, **settings)


@pytest.fixture
def copy(tmp_path):
    """Copies the folder of a kind; further arguments change its tokenizer_config.json, None removes a key."""

    def make(kind, **changes):
        folder = tmp_path / kind
        shutil.copytree(VOCABULARIES / kind, folder)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config = {key: value for key, value in {**config, **changes}.items() if value is not None}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['vocabulary']}-{case['clean']}")
def test_ids_are_those_recorded_with_the_reference(case):
    tokenizer = opened(case["vocabulary"], case["clean"], GOLDEN["length"], strip_sep=case["strip_sep"])
    ids = tokenizer.ids(GOLDEN["texts"])
    assert ids.dtype == np.int64
    for text, ours, expected in zip(GOLDEN["texts"], ids.tolist(), case["ids"]):
        assert ours == expected, text


def test_gemma_has_the_same_ids_from_either_of_its_files(copy):
    folder = copy("gemma")
    from_json = FileTokenizer("canonicalize", folder=str(folder), context_length=16).ids(GOLDEN["texts"])
    (folder / "tokenizer.json").unlink()
    assert (
        FileTokenizer("canonicalize", folder=str(folder), context_length=16).ids(GOLDEN["texts"]) == from_json
    ).all()


def test_siglip_class_reads_its_own_file_first(copy):
    folder = copy("siglip")
    shutil.copy(VOCABULARIES / "gemma" / "tokenizer.json", folder)
    assert (
        FileTokenizer("siglip", folder=str(folder)).ids("a cat") == opened("siglip", "siglip", 77).ids("a cat")
    ).all()


@pytest.mark.parametrize(
    ("kind", "marks"),
    [
        ("bert", (2, 3, 0)),
        ("roberta", (0, 2, 1)),
        ("xlm_roberta", (0, 2, 1)),
        ("siglip", (None, 1, 1)),
        ("gemma", (None, 1, 0)),
    ],
)
def test_texts_stand_between_their_marks_and_are_cut_before_the_last(kind, marks, caplog):
    start, end, pad = marks
    tokenizer = opened(kind)
    with caplog.at_level(logging.WARNING, logger="passl"):
        empty, long, _ = tokenizer.ids(["", "a photo of a cat " * 20, "a photo of a dog " * 20]).tolist()
        tokenizer.ids(["a photo of a cat " * 20])
    assert [number for number in empty if number != pad] == [
        number for number in (start, end) if number not in (None, pad)
    ]
    assert len(long) == 16 and long[-1] == end and (start is None or long[0] == start)
    assert tokenizer.num_truncated == 3
    assert len(caplog.records) == 1 and "2 of 3 texts have more than 16 tokens" in caplog.text
    assert tokenizer.pad_id == pad


@pytest.mark.parametrize("kind", KINDS)
def test_decode_gives_the_text_back(kind):
    tokenizer = opened(kind, length=32)
    assert tokenizer.decode(tokenizer.ids("a photo of a red cat")[0]) == "a photo of a red cat"
    assert tokenizer.decode([]) == ""
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(UserError, match=f"there is no token {wrong}; the ids go from 0 to"):
            tokenizer.decode([wrong])


@pytest.mark.parametrize("kind", KINDS)
def test_ids_lie_within_the_vocabulary(kind):
    tokenizer = opened(kind)
    ids = tokenizer.ids(GOLDEN["texts"])
    assert 0 <= ids.min() and ids.max() < tokenizer.vocab_size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clean", CLEANING)
def test_no_text_is_too_odd(kind, clean):
    texts = [
        "\ud83d half a pair",
        "\x00\x07",
        "x" * 100_000,
        "cat " * 25_000,
        "</s> [SEP] <pad>",
        "\ufeff",
        "\U0010ffff",
    ]
    assert opened(kind, clean).ids(texts).shape == (7, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_tensor_holds_the_ids(kind):
    assert (opened(kind)(["a cat"]).numpy() == opened(kind).ids(["a cat"])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_pickled_tokenizer_is_small_and_equal(kind):
    tokenizer = opened(kind)
    expected = tokenizer.ids("a cat")
    pickled = pickle.dumps(tokenizer)
    assert len(pickled) < 1000
    assert (pickle.loads(pickled).ids("a cat") == expected).all()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_tokenizers_work_in_another_process(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        for kind in KINDS:
            tokenizer = opened(kind)
            expected = tokenizer.ids(["a cat"]).tolist()
            assert pool.apply_async(tokenizer.ids, (["a cat"],)).get(timeout=60).tolist() == expected


@pytest.mark.parametrize(("kind", "files"), KINDS.items())
def test_saved_tokenizer_is_built_again(kind, files, tmp_path):
    tokenizer = opened(kind, "canonicalize", strip_sep=False, pad_token=None, source="somebody/something")
    tokenizer.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*files, "tokenizer_config.json"])
    assert str(VOCABULARIES) not in json.dumps(tokenizer.spec)
    again = build_tokenizer(json.loads(json.dumps(tokenizer.spec)), tmp_path)
    assert again.spec == tokenizer.spec
    assert (again.ids(GOLDEN["texts"]) == tokenizer.ids(GOLDEN["texts"])).all()


def test_files_are_read_once():
    tokenizer = opened("roberta")
    tokenizer.ids("a cat")
    files = tokenizer.opened
    tokenizer.ids("a dog")
    assert tokenizer.opened is files


def test_tokenizer_may_be_saved_to_where_it_is(copy):
    folder = copy("bert")
    FileTokenizer(folder=str(folder)).save(folder)
    assert (FileTokenizer(folder=str(folder)).ids("a cat") == opened("bert", length=77).ids("a cat")).all()


def test_named_folder_counts_before_the_model_folder(tmp_path):
    spec = {**opened("bert").spec, "folder": str(VOCABULARIES / "bert")}
    assert (build_tokenizer(spec, tmp_path).ids("a cat") == opened("bert").ids("a cat")).all()


def test_tokenizer_without_files_is_made_and_says_what_it_lacks(tmp_path, caplog):
    tokenizer = build_tokenizer(
        {"name": "FileTokenizer", "context_length": 77, "source": "google-bert/bert-base-uncased"}
    )
    said = (
        "tokenizer.json; vocab.txt; vocab.json and merges.txt; .* published with google-bert/bert-base-uncased on the"
    )
    with pytest.raises(UserError, match=f"this tokenizer's files are not known. Looked for is one of these: {said}"):
        tokenizer.ids("a cat")
    with caplog.at_level(logging.WARNING, logger="passl"):
        tokenizer.save(tmp_path)
        tokenizer.save_huggingface(tmp_path)
    assert "gets no tokenizer: its files are not known" in caplog.text
    assert not list(tmp_path.iterdir())


def test_folder_without_a_vocabulary_is_refused(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")  # alone: its merges are missing
    with pytest.raises(UserError, match="holds no tokenizer. Looked for is one of these: tokenizer.json; vocab.txt"):
        FileTokenizer(folder=str(tmp_path)).ids("a cat")
    with pytest.raises(UserError, match="holds no tokenizer"):
        FileTokenizer(folder=str(tmp_path / "missing")).save(tmp_path)


@pytest.mark.parametrize(
    ("kind", "package"), [("bert", "tokenizers"), ("gemma", "tokenizers"), ("siglip", "sentencepiece")]
)
def test_missing_package_is_named(kind, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"is read with the package {package}, .*: pip install {package}"):
        opened(kind).ids("a cat")


@pytest.mark.parametrize(("kind", "files"), KINDS.items())
@pytest.mark.parametrize("damage", ["empty", "half", "binary", "other"])
def test_damaged_vocabulary_is_refused(kind, files, damage, copy):
    folder = copy(kind)
    for name in files:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(
            {"empty": b"", "half": content[: len(content) // 2], "binary": b"\x80\xff\x00" * 99, "other": b"[1, 2]\n"}[
                damage
            ]
        )
    if (kind, damage) == ("bert", "half"):  # a shorter list of words is still one: it lacks no mark
        content = b"\n".join(content.split(b"\n")[2:])
        (folder / "vocab.txt").write_bytes(content)
    with pytest.raises(
        UserError, match=r"cannot be read as|is not JSON|not UTF-8|lacks the special tokens|no JSON object"
    ):
        FileTokenizer(folder=str(folder)).ids("a cat")


def test_malformed_merge_is_named_with_its_line(copy):
    folder = copy("roberta")
    with open(folder / "merges.txt", "a", encoding="utf-8") as file:
        file.write("one two three\n")
    with pytest.raises(UserError, match=r"merges.txt, line \d+: a merge is two symbols"):
        FileTokenizer(folder=str(folder)).ids("a cat")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
def test_broken_settings_are_refused(copy, name):
    folder = copy("bert")
    (folder / name).write_text("{")
    with pytest.raises(UserError, match=f"{name} is not JSON"):
        FileTokenizer(folder=str(folder)).ids("a cat")


def test_class_that_numbers_its_tokens_in_its_own_way_is_refused(copy):
    folder = copy("xlm_roberta", tokenizer_class="NllbTokenizerFast")
    with pytest.raises(
        UserError, match="says NllbTokenizer, and sentencepiece.bpe.model alone .* Put its tokenizer.json"
    ):
        FileTokenizer(folder=str(folder)).ids("a cat")


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm_roberta", "gemma"])
def test_names_of_the_files_say_enough(kind, copy):
    folder = copy(kind)
    (folder / "tokenizer_config.json").unlink()
    assert (FileTokenizer(folder=str(folder), context_length=16).ids("a cat") == opened(kind).ids("a cat")).all()


def test_special_tokens_are_taken_from_either_file(copy):
    folder = copy("siglip", pad_token=None)
    assert FileTokenizer(folder=str(folder)).pad_id == 0
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "</s>", "lstrip": True}}))
    assert FileTokenizer(folder=str(folder)).pad_id == 1
    config = {"pad_token": "<unk>", "added_tokens_decoder": {}}  # a newer file, which the older one does not change
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert FileTokenizer(folder=str(folder)).pad_id == 2


def test_padding_can_be_named(copy):
    assert FileTokenizer(pad_token="<unk>", folder=str(VOCABULARIES / "siglip")).pad_id == 2
    with pytest.raises(UserError, match="the padding token '<nothing>' is not in the vocabulary. Set pad_token"):
        opened("siglip", pad_token="<nothing>").ids("a cat")
    folder = copy("gemma", pad_token="<missing>")
    with pytest.raises(UserError, match="the padding token '<missing>' is not in the vocabulary"):
        FileTokenizer(folder=str(folder)).ids("a cat")


def test_padding_side_is_what_the_files_say(copy):
    folder = copy("gemma", padding_side="left")
    row = FileTokenizer(folder=str(folder), context_length=16).ids("a cat")[0].tolist()
    right = opened("gemma").ids("a cat")[0].tolist()
    assert row == right[right.index(1) + 1 :] + right[: right.index(1) + 1] and row[-1] == 1


def test_end_mark_is_stripped_to_zero():
    with_mark, without = opened("bert").ids("a cat"), opened("bert", strip_sep=True).ids("a cat")
    assert (with_mark[0] == 3).sum() == 1
    assert without.tolist() == np.where(with_mark == 3, 0, with_mark).tolist()


def test_end_mark_cannot_be_stripped_where_there_is_none():
    with pytest.raises(UserError, match="no mark ends a text"):
        opened("gemma", strip_sep=True).ids("a cat")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clean": "lowr"}, "clean is one of none, whitespace, lower, .* not 'lowr'. Did you mean 'lower'"),
        ({"clean": 3}, "clean is one of"),
        ({"strip_sep": "yes"}, "strip_sep is true or false, not 'yes'"),
        ({"pad_token": 0}, "pad_token of a tokenizer is a text or null, not 0"),
        ({"folder": 3}, "folder of a tokenizer is a text or null"),
        ({"context_length": 1}, "context_length is a whole number of tokens"),
        ({"strip": True}, "FileTokenizer has no setting 'strip'. Did you mean 'strip_sep'. Accepted: clean, strip_sep"),
    ],
)
def test_bad_setting_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        build_tokenizer({"name": "FileTokenizer", **settings})


def test_context_length_is_no_config_key():
    assert list(keys_of(FileTokenizer)) == ["clean", "strip_sep", "pad_token", "source", "folder"]
    assert not keys_of(ClipTokenizer)
    with pytest.raises(TypeError):
        ClipTokenizer(77)


@pytest.mark.parametrize(
    ("clean", "expected"),
    [
        ("none", "  A_b &amp;  “Ça”\t, schÃ¶n!  "),
        ("whitespace", 'A_b & "Ça" , schön!'),
        ("lower", 'a_b & "ça" , schön!'),
        ("canonicalize", "a b ça schön"),
        ("siglip", "ab amp “ça” schã¶n"),
        ("siglip2", "  a_b &amp;  “ça”\t, schã¶n!  "),
    ],
)
def test_captions_are_cleaned_as_named(clean, expected):
    assert CLEANING[clean]("  A_b &amp;  “Ça”\t, schÃ¶n!  ") == expected


def test_import_leaves_the_packages_alone():
    code = "import sys, passl.tokenizers; sys.exit(len({'sentencepiece', 'tokenizers'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE.parents[1], check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "changes", "clean"),
    [
        ("bert", {}, "none"),
        ("roberta", {}, "none"),
        ("xlm_roberta", {}, "none"),
        ("siglip", {}, "siglip"),
        ("gemma", {}, "none"),
        ("gemma", {"tokenizer_class": "Siglip2Tokenizer"}, "siglip2"),
    ],
)
def test_folder_of_huggingface_tells_its_tokenizer(kind, changes, clean, copy):
    folder = copy(kind, **changes)
    spec = tokenizer_spec_from_huggingface(folder, 16)
    assert (spec["name"], spec["clean"], spec["context_length"]) == ("FileTokenizer", clean, 16)
    assert (build_tokenizer(spec, folder).ids(GOLDEN["texts"]) == opened(kind, clean).ids(GOLDEN["texts"])).all()


def test_config_of_the_model_tells_siglip2_from_gemma(copy, caplog):
    folder = copy("gemma")
    (folder / "config.json").write_text('{"model_type": "siglip2"}')
    assert tokenizer_spec_from_huggingface(folder, 64)["clean"] == "siglip2"
    (folder / "config.json").write_text('{"model_type": "siglip"}')
    with caplog.at_level(logging.WARNING, logger="passl"):
        assert tokenizer_spec_from_huggingface(folder, 64)["clean"] == "none"
    assert "SigLIP 2 was trained on lower case" in caplog.text


def test_folder_of_huggingface_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no tokenizer"):
        tokenizer_spec_from_huggingface(tmp_path, 77)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    ClipTokenizer(context_length=64).save_huggingface(folder)
    return folder


def test_clip_is_written_as_huggingface_files(clip_folder):
    assert sorted(path.name for path in clip_folder.iterdir()) == [
        "merges.txt",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    vocabulary = json.loads((clip_folder / "vocab.json").read_text())
    assert (len(vocabulary), vocabulary["!"], vocabulary["cat</w>"], vocabulary["<|endoftext|>"]) == (
        49408,
        0,
        2368,
        49407,
    )
    lines = (clip_folder / "merges.txt").read_text().splitlines()
    assert (len(lines), lines[:2]) == (48895, ["#version: 0.2", "i n"])
    config = json.loads((clip_folder / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 64 and config["pad_token"] == "<|endoftext|>"


def test_written_clip_is_known_again(clip_folder):
    assert tokenizer_spec_from_huggingface(clip_folder, 64) == {"name": "ClipTokenizer", "context_length": 64}


def test_clip_is_known_in_tokenizer_json(clip_folder, tmp_path):
    vocabulary = json.loads((clip_folder / "vocab.json").read_text())
    merges = (clip_folder / "merges.txt").read_text().splitlines()[1:]
    for form in (merges, [line.split(" ") for line in merges]):
        model = {"type": "BPE", "vocab": vocabulary, "merges": form}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
        assert tokenizer_spec_from_huggingface(tmp_path, 77)["name"] == "ClipTokenizer"


def test_clip_with_another_vocabulary_is_not_taken_for_it(clip_folder, tmp_path):
    shutil.copytree(clip_folder, tmp_path, dirs_exist_ok=True)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    vocabulary["cat</w>"], vocabulary["dog</w>"] = vocabulary["dog</w>"], vocabulary["cat</w>"]
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(UserError, match="says CLIPTokenizer, and vocab.json and merges.txt alone cannot tell"):
        tokenizer_spec_from_huggingface(tmp_path, 77)
