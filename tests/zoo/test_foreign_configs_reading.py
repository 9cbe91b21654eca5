from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from passl.modeling.architectures import architecture_from_spec
from passl.tokenizers import ClipTokenizer, FileTokenizer
from passl.utils.errors import UserError
from passl.zoo.foreign_configs import huggingface_files, open_clip_files, paddlemix_files, read_foreign_spec
from passl.zoo.reading import spec_of

FILES = Path(__file__).parent / "files"
HUGGINGFACE = json.loads((FILES / "huggingface_configs.json").read_text(encoding="utf-8"))
OPEN_CLIP = json.loads((FILES / "open_clip_configs.json").read_text(encoding="utf-8"))
PADDLEMIX = {"vision_cfg": {"embed_dim": 8}, "text_cfg": {"embed_dim": 8}, "model_type": "clip"}


def write(folder, **files):
    """Writes JSON files; `a__json` stands for a.json."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", HUGGINGFACE)
def test_a_folder_of_transformers_gives_the_whole_specification(tmp_path, name):
    write(tmp_path, config__json=HUGGINGFACE[name])
    spec, place = read_foreign_spec(tmp_path)
    assert place == str(tmp_path / "config.json")
    assert spec_of(architecture_from_spec(spec)) == spec
    (tmp_path / "again").mkdir()
    for file, content in huggingface_files(spec, spec["tokenizer"]).items():
        (tmp_path / "again" / file).write_text(json.dumps(content))
    assert read_foreign_spec(tmp_path / "again", "huggingface")[0] == spec


def test_a_folder_of_open_clip_gives_the_whole_specification(tmp_path):
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    config = {"model_cfg": OPEN_CLIP["ViT-B-16-SigLIP"], "preprocess_cfg": preprocessing}
    spec, place = read_foreign_spec(write(tmp_path, open_clip_config__json=config))
    assert place == str(tmp_path / "open_clip_config.json")
    assert spec_of(architecture_from_spec(spec)) == spec
    assert spec["preprocessing"] == {"size": 224, **preprocessing}
    assert spec["tokenizer"]["clean"] == "canonicalize"
    write(tmp_path, open_clip_config__json=open_clip_files(spec)["open_clip_config.json"])
    assert read_foreign_spec(tmp_path, "openai")[0] == spec


def test_a_folder_of_paddlemix_gives_the_whole_specification(tmp_path):
    spec, _ = read_foreign_spec(write(tmp_path, config__json=PADDLEMIX))
    assert spec_of(architecture_from_spec(spec)) == spec
    for file, content in paddlemix_files(spec).items():
        (tmp_path / file).write_text(json.dumps(content))
    assert read_foreign_spec(tmp_path, "paddlemix")[0] == spec


def test_a_bare_config_of_open_clip_is_told_from_paddlemix_s_by_its_name(tmp_path):
    write(tmp_path, **{"ViT-L-14-336__json": OPEN_CLIP["ViT-L-14-336"]})
    spec, _ = read_foreign_spec(tmp_path / "ViT-L-14-336.json")
    assert spec["architecture"]["image"]["image_size"] == 336
    (tmp_path / "ViT-L-14-336.json").rename(tmp_path / "config.json")
    assert read_foreign_spec(tmp_path / "config.json", "open_clip")[0] == spec


def test_the_processor_beside_the_config_says_how_images_are_prepared(tmp_path):
    processor = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 16, "width": 16}, "resample": 2}
    write(tmp_path, config__json=HUGGINGFACE["CLIPModel"], preprocessor_config__json=processor)
    assert read_foreign_spec(tmp_path)[0]["preprocessing"]["interpolation"] == "bilinear"


def test_the_joint_file_of_transformers_5_is_read_too(tmp_path):
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    write(tmp_path, config__json=HUGGINGFACE["CLIPModel"], processor_config__json={"image_processor": processor})
    assert read_foreign_spec(tmp_path)[0]["preprocessing"]["resize_mode"] == "squash"


@pytest.mark.parametrize(
    "name, resize_mode, interpolation",
    [
        ("CLIPModel", "shortest", "bicubic"),
        ("SiglipModel", "squash", "bicubic"),
        ("ViT and BERT", "squash", "bilinear"),
    ],
)
def test_without_a_processor_the_family_s_own_is_taken_and_said(tmp_path, caplog, name, resize_mode, interpolation):
    logging.getLogger("passl").propagate = True
    with caplog.at_level(logging.INFO):
        spec, _ = read_foreign_spec(write(tmp_path, config__json=HUGGINGFACE[name]))
    found = spec["preprocessing"]
    assert (found["resize_mode"], found["interpolation"]) == (resize_mode, interpolation)
    assert f"({resize_mode}, {interpolation})" in caplog.text


@pytest.mark.parametrize("limit, length", [(8, 8), (10**30, 12), (512, 12)])
def test_the_tokenizer_s_limit_is_the_length_of_bert_s_texts(tmp_path, limit, length):
    write(tmp_path, config__json=HUGGINGFACE["ViT and BERT"], tokenizer_config__json={"model_max_length": limit})
    spec, _ = read_foreign_spec(tmp_path)
    assert spec["architecture"]["text"]["context_length"] == spec["tokenizer"]["context_length"] == length


def test_a_tokenizer_beside_the_config_says_what_it_is(tmp_path):
    write(
        tmp_path, config__json=HUGGINGFACE["ViT and BERT"], tokenizer_config__json={"tokenizer_class": "BertTokenizer"}
    )
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    tokenizer = read_foreign_spec(tmp_path)[0]["tokenizer"]
    assert tokenizer == FileTokenizer(clean="none", context_length=12).spec
    ClipTokenizer(context_length=12).save_huggingface(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    assert read_foreign_spec(tmp_path)[0]["tokenizer"]["name"] == "ClipTokenizer"


def test_a_folder_without_such_a_config_gives_none(tmp_path):
    assert read_foreign_spec(tmp_path) is None
    assert read_foreign_spec(write(tmp_path, config__json={"format": "passl"})) is None
    assert read_foreign_spec(tmp_path, "open_clip") is None
    assert read_foreign_spec(tmp_path, "passl-2021") is None


def test_configs_of_two_toolkits_need_a_word(tmp_path):
    write(tmp_path, config__json=HUGGINGFACE["CLIPModel"], open_clip_config__json=OPEN_CLIP["ViT-B-32"])
    with pytest.raises(UserError, match="config.json and open_clip_config.json; say which"):
        read_foreign_spec(tmp_path)
    assert read_foreign_spec(tmp_path, "huggingface")[1].endswith("/config.json")
    assert read_foreign_spec(tmp_path, "open_clip")[1].endswith("/open_clip_config.json")


@pytest.mark.parametrize(
    "config, family, said",
    [
        (PADDLEMIX, "huggingface", "is a config of paddlemix, not of huggingface"),
        (HUGGINGFACE["CLIPModel"], "paddlemix", "is a config of huggingface, not of paddlemix"),
        ({"hidden_size": 3}, None, "is not a config that passl knows"),
        ({"modeltype": "clip"}, None, "Did you mean 'model_type'?"),
        ("{", None, "is not JSON"),
        ("[" * 100_000, None, "is not JSON"),
        ("[]", None, "holds no mapping of keys"),
    ],
)
def test_a_config_that_is_not_one_is_refused(tmp_path, config, family, said):
    with pytest.raises(UserError) as refused:
        read_foreign_spec(write(tmp_path, config__json=config), family)
    assert said in str(refused.value)
    assert str(tmp_path / "config.json") in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        read_foreign_spec(tmp_path / "config.json")


def test_configs_are_read_without_paddle():
    program = "import sys, passl.zoo.foreign_configs; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False).returncode == 0
