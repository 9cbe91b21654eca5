"""Each family of checkpoints against its own library: built at random, saved as the library saves, converted by the real
command, and compared. Prints the errors (`pytest -s`)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

import passl
from passl.checkpoint import read_weights
from passl.cli.main import main

pytestmark = pytest.mark.peers

spec = importlib.util.spec_from_file_location("reference_models", Path(__file__).with_name("reference_models.py"))
references = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(references)


def ours(path: Path, inputs) -> dict:
    """Unit-length features and logits of our model at `path`."""
    model = passl.create_model(path)
    found = {}
    with paddle.no_grad():
        if "image" in inputs:
            found["image"] = model.encode_image(paddle.to_tensor(inputs["image"]), normalize=True).numpy()
        if "text" in inputs:
            found["text"] = model.encode_text(paddle.to_tensor(inputs["text"]), normalize=True).numpy()
        if len(found) == 2:
            bias = 0.0 if model.logit_bias is None else model.logit_bias.item()
            found["logits"] = model.logit_scale.exp().item() * found["image"] @ found["text"].T + bias
    return found


@pytest.fixture(scope="module")
def saved(request, tmp_path_factory):
    """The reference that the test's parameter names, saved, and what it says."""
    references.reference.import_open_clip()  # before transformers: it sees to operators that do not load
    folder = tmp_path_factory.mktemp("reference")
    built = references.BUILDERS[request.param](folder)
    return request.param, built, built.outputs()


every_family = pytest.mark.parametrize("saved", list(references.BUILDERS), indirect=True)


@every_family
def test_converted_weights_give_the_outputs_of_the_reference(saved, tmp_path):
    title, built, wanted = saved
    target = tmp_path / "converted.safetensors"
    assert main(["convert", str(built.path), str(target), *built.arguments]) == 0
    found = ours(target, built.inputs)
    errors = {name: float(np.abs(found[name] - wanted[name]).max()) for name in wanted}
    print(f"\n{title}: " + ", ".join(f"{name} {error:.1e}" for name, error in errors.items()))
    assert set(found) == set(wanted)
    assert all(error < (1e-5 if name != "logits" else 1e-4) for name, error in errors.items()), errors


# The family that each reference came in, and the form it is written in again.
ROUND_TRIPS = {
    "OpenAI archive, ViT": ("openai", "back.safetensors"),
    "OpenAI archive, ResNet": ("openai", "back.safetensors"),
    "open_clip ResNet": ("open_clip", "back"),
    "open_clip ViT with layer scale": ("open_clip", "back"),
    "open_clip CLIPA": ("open_clip", "back"),
    "open_clip SigLIP": ("open_clip", "back.safetensors"),
    "open_clip with RoBERTa": ("open_clip", "back.safetensors"),
    "CLIPModel": ("huggingface", "back"),
    "CLIPModel of before 2023": ("huggingface", "back"),
    "CLIPVisionModelWithProjection": ("huggingface", "back"),
    "CLIPTextModelWithProjection": ("huggingface", "back"),
    "SiglipModel": ("huggingface", "back"),
    "VisionTextDualEncoderModel, CLIP and RoBERTa": ("huggingface", "back"),
    "VisionTextDualEncoderModel, ViT and BERT": ("huggingface", "back"),
}
HUGGINGFACE = [title for title, (family, _) in ROUND_TRIPS.items() if family == "huggingface"]


@pytest.mark.parametrize("saved", list(ROUND_TRIPS), indirect=True)
def test_there_and_back_gives_the_same_bits(saved, tmp_path):
    title, built, _ = saved
    family, name = ROUND_TRIPS[title]
    between, back = tmp_path / ("between.safetensors" if family != "huggingface" else "between"), tmp_path / name
    assert main(["convert", str(built.path), str(between), *built.arguments]) == 0
    assert main(["convert", str(between), str(back), "--to", family]) == 0
    before, after = read_weights(built.path), read_weights(back)
    dropped = {name for name in before if name not in after}
    assert all(name.rpartition(".")[2] in references.HARMLESS and "proj" not in name for name in dropped), dropped
    assert set(after) <= set(before)
    for name, array in after.items():
        assert array.dtype == before[name].dtype and np.array_equal(array, before[name]), name


@pytest.mark.parametrize("saved", HUGGINGFACE, indirect=True)
def test_huggingface_folder_is_verified_by_transformers(saved, tmp_path, capsys):
    title, built, _ = saved
    cls = title.partition(" ")[0].rstrip(",")
    assert main(["convert", str(built.path), str(tmp_path / "ours"), "--verify"]) == 0
    said = capsys.readouterr().out
    assert f"before: {cls} of transformers" in said and "after: passl" in said
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "theirs"), "--to", "huggingface", "--verify"]) == 0
    said = capsys.readouterr().out
    assert "before: passl" in said and f"after: {cls} of transformers" in said


OPEN_CLIP = ["OpenAI archive, ViT", "OpenAI archive, ResNet", "open_clip ResNet", "open_clip CLIPA", "open_clip SigLIP"]


@pytest.mark.parametrize("saved", OPEN_CLIP, indirect=True)
def test_open_clip_weights_are_verified_by_open_clip(saved, tmp_path, capsys):
    _, built, _ = saved
    target = tmp_path / "theirs.safetensors"
    assert main(["convert", str(built.path), str(target), "--to", "open_clip", "--verify"]) == 0
    said = capsys.readouterr().out
    assert said.count("open_clip 3") == 2
