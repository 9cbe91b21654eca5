from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest

import passl
from passl.checkpoint import layer_arrays, read_weights, write_weights
from passl.cli.main import main
from passl.modeling.architectures import shapes_of
from passl.utils.errors import UserError
from passl.zoo import architecture_of
from passl.zoo.conversion import convert
from passl.zoo.foreign_configs import huggingface_files
from passl.zoo.reading import identify, read_checkpoint
from passl.zoo.recognition import describe, names_of

RECORDED = Path(__file__).with_name("recorded")
CASES = sorted(folder.name for folder in RECORDED.iterdir())
SMALL = {
    "embed_dim": 16,
    "image": {"image_size": 32, "patch_size": 16, "width": 64, "num_layers": 1, "num_heads": 1},
    "text": {"context_length": 12, "width": 64, "num_layers": 1, "num_heads": 1},
}
FOLDERS = ("passl", "huggingface", "open_clip", "paddlemix")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with a small model that every family can hold."""
    folder = tmp_path_factory.mktemp("conversion") / "original"
    passl.create_model("ViT-B-32-quickgelu", **SMALL).save_pretrained(folder)
    return folder


def all_names(folder: Path) -> set:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# ------------------------------------------------------------------------------------------- numbers of the references


@pytest.mark.parametrize("case", CASES)
def test_converted_model_gives_the_recorded_outputs(case, tmp_path):
    recorded = np.load(RECORDED / case / "outputs.npz")
    assert main(["convert", str(RECORDED / case), str(tmp_path / "ours.safetensors")]) == 0
    model = passl.create_model(tmp_path / "ours.safetensors")
    with paddle.no_grad():
        image = model.encode_image(paddle.to_tensor(recorded["input_image"]), normalize=True).numpy()
        text = model.encode_text(paddle.to_tensor(recorded["input_text"]), normalize=True).numpy()
        logits, _ = model(paddle.to_tensor(recorded["input_image"]), paddle.to_tensor(recorded["input_text"]))
    assert np.abs(image - recorded["image"]).max() < 1e-5
    assert np.abs(text - recorded["text"]).max() < 1e-5
    assert np.abs(logits.numpy() - recorded["logits"]).max() < 1e-4


# --------------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("family", FOLDERS)
def test_folder_of_a_family_comes_back_bit_for_bit(original, family, tmp_path):
    if family == "paddlemix":  # its models have GELU
        original = tmp_path / "gelu"
        passl.create_model("ViT-B-32", **SMALL).save_pretrained(original)
    convert(original, tmp_path / "theirs", to=family)
    again = convert(tmp_path / "theirs", tmp_path / "ours")
    assert again.family == family
    before, after = read_weights(original), read_weights(tmp_path / "ours")
    assert set(before) == set(after)
    assert all(
        after[name].dtype == value.dtype and np.array_equal(after[name], value) for name, value in before.items()
    )
    assert passl.create_model(tmp_path / "ours").spec == passl.create_model(original).spec


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("passl", "model.safetensors"),
        ("passl", "model.pdparams"),
        ("passl-2021", "model.pdparams"),
        ("openai", "model.safetensors"),
        ("open_clip", "model.safetensors"),
    ],
)
def test_file_of_a_family_loads_into_the_model_by_its_name(original, family, name, tmp_path):
    convert(original, tmp_path / name, to=family)
    model = passl.create_model("ViT-B-32-quickgelu", pretrained=tmp_path / name, **SMALL)
    before, after = read_weights(original), layer_arrays(model)
    assert all(np.array_equal(value, after[name]) for name, value in before.items())


def test_half_precision_stays(original, tmp_path):
    arrays = {name: value.astype("float16") for name, value in read_weights(original).items()}
    spec = json.loads((original / "config.json").read_text())["spec"]
    write_weights(tmp_path / "half.safetensors", arrays, {"spec": json.dumps(spec)})
    convert(tmp_path / "half.safetensors", tmp_path / "theirs", to="huggingface")
    assert {value.dtype.name for value in read_weights(tmp_path / "theirs").values()} == {"float16"}
    assert json.loads((tmp_path / "theirs" / "config.json").read_text())["torch_dtype"] == "float16"


def test_folder_for_transformers_is_whole(original, tmp_path):
    convert(original, tmp_path / "theirs", to="huggingface")
    expected = {"config.json", "model.safetensors", "preprocessor_config.json", "vocab.json", "merges.txt"}
    assert expected <= all_names(tmp_path / "theirs")


def test_verification_says_what_computed_both_sides(original, tmp_path, capsys):
    assert main(["convert", str(original), str(tmp_path / "ours.safetensors"), "--verify"]) == 0
    said = capsys.readouterr().out
    assert "verified  before: passl" in said and "image 0.0e+00, text 0.0e+00, logits 0.0e+00" in said


def test_verification_that_fails_leaves_nothing(original, tmp_path, monkeypatch):
    monkeypatch.setattr("passl.zoo.verification.TOLERANCE", -1.0)
    with pytest.raises(UserError, match="image: the outputs before .* and after .* differ"):
        convert(original, tmp_path / "ours.safetensors", verify=True)
    assert list(tmp_path.iterdir()) == []


def test_verification_computes_what_the_written_config_says(original, tmp_path, capsys, monkeypatch):
    from passl.zoo import conversion

    def wrong(spec, **options):
        files = huggingface_files(spec, **options)
        files["config.json"]["vision_config"]["hidden_act"] = "gelu"
        return files

    monkeypatch.setattr(conversion, "huggingface_files", wrong)
    said = refused(capsys, original, tmp_path / "theirs", "--to", "huggingface", "--verify")
    assert "image: the outputs before" in said
    assert list(tmp_path.iterdir()) == []


def test_target_that_comes_meanwhile_is_not_replaced(original, tmp_path, monkeypatch):
    from passl.zoo import conversion

    def slow(*arguments):
        (tmp_path / "ours.safetensors").write_text("somebody else's")
        return write_file(*arguments)

    write_file = conversion._write_file
    monkeypatch.setattr(conversion, "_write_file", slow)
    with pytest.raises(UserError, match="is there already"):
        convert(original, tmp_path / "ours.safetensors")
    assert (tmp_path / "ours.safetensors").read_text() == "somebody else's"
    assert all_names(tmp_path) == {"ours.safetensors"}


# ------------------------------------------------------------------------------------------------ which model it is


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16-SigLIP", "ViT-H-14", "roberta-ViT-B-32", "ViT-L-14-CLIPA"])
def test_model_is_found_by_the_shapes_of_its_arrays(name):
    assert name in names_of(shapes_of(architecture_of(name)))


def test_one_tower_is_found_too():
    shapes = shapes_of(architecture_of("ViT-B-16-SigLIP"))
    image = {name: shape for name, shape in shapes.items() if name.startswith("visual.")}
    assert "ViT-B-16-SigLIP" in names_of(image)


def test_other_sizes_are_described():
    shapes = shapes_of({**architecture_of("ViT-B-32"), "embed_dim": 7})
    assert describe(shapes) == (
        "an image tower with 12 blocks of width 768 and a text tower with 12 blocks of width 512, which no named model has"
    )


def without_record(original, tmp_path, family="open_clip"):
    """The model's weights in a file that says nothing of the model."""
    convert(original, tmp_path / "plain.safetensors", to=family)
    return tmp_path / "plain.safetensors"


def test_weights_that_nothing_describes_are_not_guessed(original, tmp_path):
    with pytest.raises(UserError, match=r"nothing says which model.*--model NAME.*--from openai"):
        identify(read_checkpoint(without_record(original, tmp_path)))


def test_layout_of_openai_says_the_rest(original, tmp_path):
    spec, said_by = identify(read_checkpoint(without_record(original, tmp_path), "openai"))
    assert spec["architecture"] == passl.create_model(original).spec["architecture"]
    assert said_by == "the shapes and the layout openai"


def test_load_line_says_that_the_name_decided(original, tmp_path, caplog):
    weights = without_record(original, tmp_path)
    with caplog.at_level("INFO", logger="passl"):
        passl.create_model("ViT-B-32", pretrained=weights, **SMALL)
    said = "(layout open_clip or openai, activation gelu by the model's name, as nothing in the weights says it)"
    assert said in caplog.text


def test_load_line_of_a_paddle_file_says_that_the_name_decided(original, tmp_path, caplog):
    convert(original, tmp_path / "weights.pdparams")
    with caplog.at_level("INFO", logger="passl"):
        passl.create_model("ViT-B-32", pretrained=tmp_path / "weights.pdparams", **SMALL)
    assert "(layout passl, activation gelu by the model's name, as nothing in the weights says it)" in caplog.text


def test_folder_of_another_toolkit_is_a_model(original, tmp_path):
    convert(original, tmp_path / "theirs", to="huggingface")
    model = passl.create_model(tmp_path / "theirs")
    assert model.spec == passl.create_model(original).spec
    assert passl.get_tokenizer(tmp_path / "theirs").spec == model.spec["tokenizer"]


# -------------------------------------------------------------------------------------------------------- positions


def test_other_image_size_is_refused_and_says_how_to_resample(original):
    image = {**SMALL["image"], "image_size": 64}
    with pytest.raises(UserError, match="image.image_size"):
        passl.create_model("ViT-B-32-quickgelu", pretrained=original, **{**SMALL, "image": image})


def test_unrecorded_weights_of_another_image_size_say_how_to_resample(original, tmp_path):
    image = {**SMALL["image"], "image_size": 64}
    weights = without_record(original, tmp_path)
    with pytest.raises(UserError, match="only the tables of positions differ.*resize_positions=True"):
        passl.create_model("ViT-B-32-quickgelu", pretrained=weights, **{**SMALL, "image": image})


def test_positions_are_resampled_when_asked(original, caplog):
    sizes = {**SMALL, "image": {**SMALL["image"], "image_size": 64}, "text": {**SMALL["text"], "context_length": 20}}
    with caplog.at_level("INFO", logger="passl"):
        model = passl.create_model("ViT-B-32-quickgelu", pretrained=original, resize_positions=True, **sizes)
    assert "visual.positional_embedding: 2 x 2 to 4 x 4 squares" in caplog.text
    assert "text.positional_embedding: 12 to 20 tokens" in caplog.text
    assert model.encode_image(paddle.zeros([1, 3, 64, 64])).shape == [1, 16]


# -------------------------------------------------------------------------------------------------------- bad input


def refused(capsys, *arguments) -> str:
    """The one message of a conversion that must fail."""
    capsys.readouterr()
    assert main(["convert", *map(str, arguments)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") or "\nerror: " in said
    return said


def test_weights_of_another_model_say_what_they_look_like(original, tmp_path, capsys):
    said = refused(capsys, without_record(original, tmp_path), tmp_path / "ours", "--model", "ViT-L-14")
    assert "does not fit the model ViT-L-14; it looks like an image tower with 1 blocks of width 64" in said
    assert not (tmp_path / "ours").exists()


def test_wrong_family_says_what_the_weights_look_like(original, tmp_path, capsys):
    said = refused(capsys, original, tmp_path / "ours.safetensors", "--from", "huggingface")
    assert "look like passl's own layout" in said and "not like Hugging Face's" in said


def test_unknown_family_is_refused_with_the_nearest(original, tmp_path, capsys):
    assert "Did you mean 'open_clip'" in refused(capsys, original, tmp_path / "ours", "--to", "openclip")
    assert "Did you mean 'huggingface'" in refused(capsys, original, tmp_path / "ours", "--from", "hugingface")


def test_config_that_contradicts_the_weights_is_refused(original, tmp_path, capsys):
    convert(original, tmp_path / "theirs", to="huggingface")
    path = tmp_path / "theirs" / "config.json"
    config = json.loads(path.read_text())
    config["vision_config"]["hidden_size"] = 128
    path.write_text(json.dumps(config))
    said = refused(capsys, tmp_path / "theirs", tmp_path / "ours")
    assert "does not fit the model of" in said and "config.json" in said and "[128" in said


def test_name_that_contradicts_the_config_is_refused(original, tmp_path, capsys):
    said = refused(capsys, original, tmp_path / "ours", "--model", "ViT-B-32")
    assert "ViT-B-32" in said


def test_activation_that_contradicts_the_layout_is_refused(original, tmp_path):
    weights = tmp_path / "old.pdparams"
    convert(original, weights, to="passl-2021")
    with pytest.raises(UserError, match="trained with activation 'quick_gelu' and this model has 'gelu'"):
        passl.create_model("ViT-B-32", pretrained=weights, **SMALL)


def test_target_that_is_there_needs_force(original, tmp_path, capsys):
    target = tmp_path / "there.safetensors"
    target.write_text("old")
    assert "is there already; give another name, or --force" in refused(capsys, original, target)
    assert target.read_text() == "old"
    assert main(["convert", str(original), str(target), "--force"]) == 0
    assert set(read_weights(target)) == set(read_weights(original))


@pytest.mark.parametrize("family", FOLDERS[:3])
def test_force_replaces_what_another_conversion_wrote(original, tmp_path, family):
    convert(original, tmp_path / "there", to=family)
    for other in FOLDERS[:3]:
        convert(original, tmp_path / "there", to=other, force=True)
        assert convert(tmp_path / "there", tmp_path / "again", force=True).family == other


def test_empty_folder_is_a_free_target(original, tmp_path):
    (tmp_path / "empty").mkdir()
    convert(original, tmp_path / "empty")
    assert passl.create_model(tmp_path / "empty").spec == passl.create_model(original).spec


def test_target_below_a_file_or_behind_a_broken_link_is_refused(original, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "is a file, and nothing can be written below" in refused(capsys, original, tmp_path / "file" / "ours")
    assert "is a link to something that does not exist" in refused(capsys, original, tmp_path / "link", "--force")


def test_quantised_weights_are_refused(original, tmp_path, capsys):
    arrays = read_weights(original)
    arrays["text.projection"] = arrays["text.projection"].astype("int8")
    write_weights(tmp_path / "int8.safetensors", arrays)
    said = refused(capsys, tmp_path / "int8.safetensors", tmp_path / "ours", "--model", "ViT-B-32")
    assert "text.projection (int8)" in said and "Quantised weights are not read" in said


def test_weights_that_are_not_finite_are_said_when_verified(original, tmp_path, capsys):
    spec = (original / "config.json").read_text()
    arrays = read_weights(original)
    arrays["text.projection"] = np.full_like(arrays["text.projection"], np.nan)
    write_weights(tmp_path / "nan.safetensors", arrays, {"spec": json.dumps(json.loads(spec)["spec"])})
    said = refused(capsys, tmp_path / "nan.safetensors", tmp_path / "ours.safetensors", "--verify")
    assert "the text features of" in said and "not finite" in said


def test_buffers_that_were_left_out_are_said(original, tmp_path, capsys):
    convert(original, tmp_path / "openai.safetensors", to="openai")
    assert main(["convert", str(tmp_path / "openai.safetensors"), str(tmp_path / "ours")]) == 0
    said = capsys.readouterr().out
    assert "layout openai" in said and "left out  3 buffers that hold nothing learned" in said


def test_force_does_not_remove_other_files(original, tmp_path, capsys):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    assert "letter.txt" in refused(capsys, original, tmp_path / "home", "--force")
    assert all_names(tmp_path) == {"home", "home/letter.txt"}


def test_unknown_model_is_refused_with_the_nearest(original, tmp_path, capsys):
    assert "Did you mean 'ViT-L-14-280'" in refused(capsys, original, tmp_path / "ours", "--model", "ViT-L_14-280")


def test_ending_that_the_layout_does_not_have_is_refused(original, tmp_path, capsys):
    said = refused(capsys, original, tmp_path / "model.pt", "--to", "openai")
    assert "openai is not written as .pt, but as .safetensors" in said


def test_model_that_the_family_cannot_hold_is_refused(tmp_path, capsys):
    convert(RECORDED / "open_clip_clipa", tmp_path / "clipa.safetensors")
    said = refused(capsys, tmp_path / "clipa.safetensors", tmp_path / "theirs", "--to", "huggingface")
    assert "transformers has no class that computes this" in said
    assert all_names(tmp_path) == {"clipa.safetensors"}


@pytest.mark.parametrize("family", ["openai", "passl-2021"])
def test_layout_that_implies_other_settings_is_refused(tmp_path, capsys, family):
    ending = {"openai": "safetensors", "passl-2021": "pdparams"}[family]
    passl.create_model("ViT-B-32", **SMALL).save_pretrained(tmp_path / "gelu")
    said = refused(capsys, tmp_path / "gelu", tmp_path / f"theirs.{ending}", "--to", family)
    assert "architecture.image.activation: 'gelu' (not 'quick_gelu')" in said
    heads = {**SMALL, "text": {**SMALL["text"], "num_heads": 2}}
    passl.create_model("ViT-B-32-quickgelu", **heads).save_pretrained(tmp_path / "heads")
    said = refused(capsys, tmp_path / "heads", tmp_path / f"theirs.{ending}", "--to", family)
    assert "architecture.text.num_heads: 2 (not 1)" in said


def test_missing_source_is_refused(tmp_path, capsys):
    assert "there is no weight file" in refused(capsys, tmp_path / "none.pt", tmp_path / "ours")


@pytest.mark.parametrize(
    "record", ["[", "[" * 100_000, "[]", "{}", '{"architecture": {}, "preprocessing": {}, "tokenizer": null}']
)
def test_damaged_record_in_a_header_is_refused(original, tmp_path, capsys, record):
    write_weights(tmp_path / "odd.safetensors", read_weights(original), {"spec": record})
    assert "odd.safetensors" in refused(capsys, tmp_path / "odd.safetensors", tmp_path / "ours")


def test_record_of_a_million_blocks_is_refused_before_they_are_built(original, tmp_path, capsys):
    spec = json.loads((original / "config.json").read_text())["spec"]
    spec["architecture"]["text"]["num_layers"] = 1_000_000
    write_weights(tmp_path / "odd.safetensors", read_weights(original), {"spec": json.dumps(spec)})
    assert "num_layers is 1,000,000" in refused(capsys, tmp_path / "odd.safetensors", tmp_path / "ours")


def test_half_of_a_sharded_set_is_refused(original, tmp_path, capsys):
    convert(original, tmp_path / "theirs", to="huggingface")
    folder = tmp_path / "theirs"
    names = list(read_weights(folder))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    where = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert "model-00002-of-00002.safetensors" in refused(capsys, folder, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_full_disk_leaves_nothing_half_written(original, tmp_path, capsys, monkeypatch):
    real = os.fsync

    def full(descriptor):
        if "target" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "target").mkdir()
    for target in ("file.safetensors", "folder"):
        said = refused(capsys, original, tmp_path / "target" / target)
        assert "No space left" in said and "Free some space" in said
    assert all_names(tmp_path) == {"target"}


def test_tokenizer_without_files_is_refused_and_says_how_to_give_them(tmp_path, capsys):
    shutil.copytree(RECORDED / "huggingface_siglip", tmp_path / "theirs")
    (tmp_path / "theirs" / "spiece.model").rename(tmp_path / "spiece.model")
    said = refused(capsys, tmp_path / "theirs", tmp_path / "ours")
    assert "--tokenizer FOLDER" in said
    shutil.move(tmp_path / "spiece.model", tmp_path / "theirs" / "spiece.model")
    assert main(["convert", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    assert "spiece.model" in all_names(tmp_path / "ours")
